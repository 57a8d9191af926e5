"""Time zones: convert a table's times to UTC, and write them in the table's own form."""

import datetime
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.config.reading import UNITS
from lstm_ae.data.columns import Layout
from lstm_ae.data.timestamps import EPOCH, Times
from lstm_ae.errors import DataError

Texts = NDArray[np.str_]

# Characters of a time without its offset; rows that are told at once.
TIME_WIDTHS = {"s": 19, "ns": 29}

BLOCK_ROWS = 500_000

OFFSET_STEP = 15 * UNITS["min"]  # no clock changes its offset between


class Elapsed(NamedTuple):
    """Times that count from a start that nobody dated: `size` nanoseconds each, or 1 where they count steps."""

    size: int

    def numbers(self, times: Times) -> NDArray[Any]:
        """Times as they were written, `(rows,)`: whole numbers where all are."""
        return times / self.size if (times % self.size).any() else times // self.size

    def number(self, time: int) -> int | float:
        """Return a time as it was written; a whole number has all its digits, also those that a float has not."""
        whole, rest = divmod(int(time), self.size)
        return int(time) / self.size if rest else whole


Zone = datetime.tzinfo | Elapsed | None

"""How times are told: by the clocks of a zone, as elapsed, or as they were written, without any zone."""


def format_time(nanoseconds: int, zone: Zone = None) -> str:
    """A time in UTC in as few characters as it has, or by the clocks of a zone with their offset."""
    if isinstance(zone, Elapsed):
        number = zone.number(nanoseconds)
        return str(number) if isinstance(number, int) else f"{number:.15g}"
    offset = int(utc_offsets(np.array([nanoseconds]), zone)[0]) if zone else 0
    text = str(np.datetime64(nanoseconds + offset * UNITS["min"], "ns")).replace("T", " ")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text + _format_offset(offset) if zone else text.removesuffix(" 00:00:00")


def format_times(nanoseconds: Times, zone: Zone = None) -> NDArray[Any]:
    """Times for a file, in UTC or by the clocks of a zone with their offset, `(rows,)`; numbers where elapsed.

    All to the second, or all to the nanosecond where one needs it.
    """
    if isinstance(zone, Elapsed):
        return zone.numbers(nanoseconds)
    unit: Literal["s", "ns"] = "ns" if (nanoseconds % UNITS["s"]).any() else "s"
    if zone is None:
        return np.datetime_as_string(nanoseconds.view("datetime64[ns]"), unit)
    texts: Texts = np.empty(len(nanoseconds), f"U{TIME_WIDTHS[unit] + len(_format_offset(0))}")
    # In blocks, since numpy's texts are twice as long on the way.
    for start in range(0, len(texts), BLOCK_ROWS):
        some = nanoseconds[start : start + BLOCK_ROWS]
        found = utc_offsets(some, zone)
        told_so = np.datetime_as_string((some + found * UNITS["min"]).view("datetime64[ns]"), unit)
        different, place = np.unique(found, return_inverse=True)
        ends = np.array([_format_offset(minutes) for minutes in different.tolist()])
        texts[start : start + BLOCK_ROWS] = np.char.add(told_so, ends[place])
    return texts


def format_each_time(nanoseconds: Times, zone: Zone = None) -> list[Any]:
    """The same of rows that come one by one: each to the second, or as far as it goes."""
    if isinstance(zone, Elapsed):
        return [zone.number(time) for time in nanoseconds.tolist()]
    found = utc_offsets(nanoseconds, zone) if zone else np.zeros(len(nanoseconds), np.int64)
    texts = np.datetime_as_string((nanoseconds + found * UNITS["min"]).view("datetime64[ns]"), "ns").tolist()
    return [
        text.rstrip("0").rstrip(".") + (_format_offset(minutes) if zone else "")
        for text, minutes in zip(texts, found.tolist(), strict=True)
    ]


def utc_offsets(nanoseconds: Times, zone: datetime.tzinfo) -> Times:
    """Whole minutes by which the clocks of a zone are ahead of UTC at these moments, `(rows,)`."""
    quarters, place = np.unique(nanoseconds // OFFSET_STEP, return_inverse=True)
    start, minute = EPOCH.replace(tzinfo=datetime.UTC), datetime.timedelta(minutes=1)
    found = [
        ((start + 15 * quarter * minute).astimezone(zone).utcoffset() or 0 * minute) // minute
        for quarter in quarters.tolist()
    ]
    return np.array(found, np.int64)[place]


def _format_offset(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"


QUARTER_HOUR = 15 * UNITS["min"]  # what zones' offsets and changes are multiples of, since 1970

DAY = UNITS["d"]


def infer_zone(layout: Layout, config: Reading) -> Zone:
    """How times are told: by the clocks of `--time-zone`, else in UTC where cells have offsets, or as elapsed."""
    if layout.form and layout.form.elapsed:
        return Elapsed(UNITS.get(layout.form.unit, 1))
    if config.time_zone is not None:
        return config.zone
    return datetime.UTC if layout.aware and not (layout.form and layout.form.unit) else None


def table_times_to_utc(
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
    offsets = _zone_offsets(local, zone)
    second = np.zeros(len(local), bool)
    twice = np.flatnonzero(offsets[0] > offsets[1])
    if len(twice):
        of = np.zeros(len(local), np.int32) if series is None else series
        forward = np.where(_is_newest_first(local, of)[of[twice]], -twice, twice)
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


def _is_newest_first(local: Times, series: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether more steps of a series go back than on, `(series,)`; one or two that do may be the autumn's."""
    order = np.argsort(series, kind="stable")
    change, of = np.diff(local[order]), series[order]
    same = of[1:] == of[:-1]
    back, on = (np.bincount(of[1:][same & steps], minlength=int(of[-1]) + 1) for steps in (change < 0, change > 0))
    found: NDArray[np.bool_] = (back > on) & (back > 2)
    return found


def context_before(local: Times, utc: Times, zone: datetime.tzinfo) -> Times:
    """What `to_utc` must see of these rows, one series in the order of the file, before the rows that come after them.

    The last row in an hour that is repeated, twice where it was in the second one; nothing where there is none.
    """
    offsets = _zone_offsets(local, zone)
    twice = np.flatnonzero(offsets[0] > offsets[1])[-1:]
    second = local[twice] - utc[twice] == offsets[1][twice]
    return np.repeat(local[twice], 1 + second)


def _zone_offsets(local: Times, zone: datetime.tzinfo) -> Times:
    """The zone's offset when its clock shows these times for the first and for the second time, `(2, rows)`."""
    quarters, at = np.unique(local // QUARTER_HOUR, return_inverse=True)
    clock = [EPOCH + int(quarter) * datetime.timedelta(minutes=15) for quarter in quarters]
    offsets = [[_offset_nanoseconds(moment.replace(tzinfo=zone, fold=fold)) for moment in clock] for fold in (0, 1)]
    return np.array(offsets, np.int64).reshape(2, -1)[:, at]


def _offset_nanoseconds(moment: datetime.datetime) -> int:
    return int((moment.utcoffset() or datetime.timedelta()) / datetime.timedelta(microseconds=1)) * 1000
