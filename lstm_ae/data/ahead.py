"""The times of the steps that follow a table: by its own clocks, and by the calendar where the step is."""

import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config.reading import UNITS, Step
from lstm_ae.data.cadence import starts_of
from lstm_ae.data.instants import Times
from lstm_ae.data.measurements import Measurements
from lstm_ae.data.telling import offsets
from lstm_ae.data.zones import to_utc

DAY = UNITS["d"]
MONTH = np.timedelta64(1, "M")


def times_ahead(table: Measurements, series: NDArray[Any], last: Times, step: Step, horizon: int) -> Times:
    """The times of the steps behind some rows, `(n, horizon)`.

    A day or a month later the clocks of the table's zone show the same hour, whether or not they were put back.

    Args:
        series: `(n,)` places in the table's ids.
        last: `(n,)` the times of the rows.
    """
    count = np.arange(1, horizon + 1)
    zone = table.zone if isinstance(table.zone, datetime.tzinfo) else None
    if not step.months and step.size % DAY:
        zone = None
    local = _local(last, zone)
    if step.months:
        ahead = _months_ahead(local, count * step.months, _days(table, zone)[series])
    else:
        ahead = local[:, None] + count * step.size
    if zone is None:
        return ahead
    utc, _ = to_utc(ahead.ravel(), zone, np.repeat(np.arange(len(last), dtype=np.int32), horizon))
    return utc.reshape(ahead.shape)


def _local(times: Times, zone: datetime.tzinfo | None) -> Times:
    """What the clocks of a zone show."""
    return times if zone is None else times + offsets(times, zone) * UNITS["min"]


def _days(table: Measurements, zone: datetime.tzinfo | None) -> NDArray[np.int64]:
    """The day of the month on which all rows of a series are, as far as their months have it, `(series,)`.

    31 where each is the last day of its month; 0 where they have no day in common.
    """
    days = _local(table.times, zone).view("datetime64[ns]").astype("datetime64[D]")
    month = days.astype("datetime64[M]")
    day = (days - month.astype("datetime64[D]")).astype(np.int64) + 1
    length = ((month + MONTH).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    first = np.flatnonzero(starts_of(table.series))
    highest = np.maximum.reduceat(day, first)
    of = np.repeat(highest, np.diff(np.r_[first, len(day)]))
    found = np.where(np.logical_and.reduceat(day == np.minimum(of, length), first), highest, 0)
    found = np.where(np.logical_and.reduceat(day == length, first), 31, found)
    by_series = np.zeros(len(table.ids), np.int64)
    by_series[table.series[first]] = found
    return by_series


def _months_ahead(last: Times, months: NDArray[np.int64], days: NDArray[np.int64]) -> Times:
    """The same day of later months, as far as these have it, `(n, steps)`; the last row's own where `days` is 0."""
    month = last.view("datetime64[ns]").astype("datetime64[M]")
    own = (last.view("datetime64[ns]").astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64) + 1
    later = month[:, None] + months.astype("timedelta64[M]")
    start, end = (found.astype("datetime64[D]").astype(np.int64) for found in (later, later + MONTH))
    day = np.minimum(start + np.where(days, days, own)[:, None] - 1, end - 1)
    ahead: Times = day * DAY + (last % DAY)[:, None]
    return ahead
