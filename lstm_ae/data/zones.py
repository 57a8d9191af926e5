"""Whose clocks a table has, and from them to UTC, over the hours that daylight saving repeats and leaves out."""

import datetime

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.config.reading import UNITS
from lstm_ae.data.columns import Layout
from lstm_ae.data.instants import EPOCH, Times
from lstm_ae.data.telling import Elapsed, Zone
from lstm_ae.errors import DataError

QUARTER = 15 * UNITS["min"]  # what zones' offsets and changes are multiples of, since 1970
DAY = UNITS["d"]


def zone_of(layout: Layout, config: Reading) -> Zone:
    """How times are told: by the clocks of `--time-zone`, else in UTC where cells have offsets, or as elapsed."""
    if layout.form and layout.form.elapsed:
        return Elapsed(UNITS.get(layout.form.unit, 1))
    if config.time_zone is not None:
        return config.zone
    return datetime.UTC if layout.aware and not (layout.form and layout.form.unit) else None


def in_utc(
    times: Times,
    series: NDArray[np.int32],
    layout: Layout,
    lines: NDArray[np.int32],
    name: str,
    place: str,
    config: Reading,
) -> Times:
    """Times as read, in UTC; rows stand as in the file, see `to_utc`.

    Raises:
        DataError: a time that the clocks of the zone leave out.
    """
    if config.time_zone is None or config.zone is None or layout.aware:
        return times
    utc, nowhere = to_utc(times, config.zone, series)
    if len(nowhere):
        moment = str(times[nowhere[0]].astype("datetime64[ns]").astype("datetime64[s]")).replace("T", " ")
        raise DataError(
            f"{name}, {place} {lines[nowhere[0]]}, column {layout.time!r}: {moment} is left out by the clocks of "
            f"{config.time_zone}, in the hour that spring skips. Give another --time-zone, or none for UTC"
        )
    return utc


def to_utc(local: Times, zone: datetime.tzinfo, series: NDArray[np.int32] | None = None) -> tuple[Times, Times]:
    """What a clock of the zone showed, as UTC; and the rows, if any, at which no clock of the zone shows that.

    The hour that autumn repeats is told by the order of the rows: where its times step back, the second one begins. A
    series most of whose steps go back is read from its end. Rows must stand as in the file; `series` `(rows,)` tells
    several that are mixed apart.
    """
    offsets = _offsets(local, zone)
    second = np.zeros(len(local), bool)
    twice = np.flatnonzero(offsets[0] > offsets[1])
    if len(twice):
        of = np.zeros(len(local), np.int32) if series is None else series
        forward = np.where(_newest_first(local, of)[of[twice]], -twice, twice)
        order = np.lexsort((forward, of[twice]))
        twice = twice[order]
        own = of[twice]
        change = np.diff(local[twice])
        begins = np.r_[True, (own[1:] != own[:-1]) | (abs(change) > DAY)]
        back = np.cumsum(np.r_[False, (change <= 0) & ~begins[1:]])
        # Steps back since the run began.
        run = np.maximum.accumulate(np.where(begins, np.arange(len(twice)), 0))
        second[twice] = back > back[run]
    nowhere = np.flatnonzero(offsets[0] < offsets[1])
    utc: Times = local - np.where(second, offsets[1], offsets[0])
    return utc, nowhere


def _newest_first(local: Times, series: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether more steps of a series go back than on, `(series,)`; one or two that do may be the autumn's."""
    order = np.argsort(series, kind="stable")
    change, of = np.diff(local[order]), series[order]
    same = of[1:] == of[:-1]
    back, on = (np.bincount(of[1:][same & steps], minlength=int(of[-1]) + 1) for steps in (change < 0, change > 0))
    found: NDArray[np.bool_] = (back > on) & (back > 2)
    return found


def before_them(local: Times, utc: Times, zone: datetime.tzinfo) -> Times:
    """What `to_utc` must see of these rows, one series in the order of the file, before the rows that come after them.

    The last row in an hour that is repeated, twice where it was in the second one; nothing where there is none.
    """
    offsets = _offsets(local, zone)
    twice = np.flatnonzero(offsets[0] > offsets[1])[-1:]
    second = local[twice] - utc[twice] == offsets[1][twice]
    return np.repeat(local[twice], 1 + second)


def _offsets(local: Times, zone: datetime.tzinfo) -> Times:
    """The zone's offset when its clock shows these times for the first and for the second time, `(2, rows)`."""
    quarters, at = np.unique(local // QUARTER, return_inverse=True)
    clock = [EPOCH + int(quarter) * datetime.timedelta(minutes=15) for quarter in quarters]
    offsets = [[_offset(moment.replace(tzinfo=zone, fold=fold)) for moment in clock] for fold in (0, 1)]
    return np.array(offsets, np.int64).reshape(2, -1)[:, at]


def _offset(moment: datetime.datetime) -> int:
    return int((moment.utcoffset() or datetime.timedelta()) / datetime.timedelta(microseconds=1)) * 1000
