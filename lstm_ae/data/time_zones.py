"""Convert the times of a table to UTC, and format them in the notation of the table."""

import datetime
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, BoolArray, Int64Array, StringArray
from lstm_ae.config import Reading
from lstm_ae.config.reading import UNITS
from lstm_ae.data.columns import Layout
from lstm_ae.data.timestamps import EPOCH
from lstm_ae.errors import Code, DataError

# Length of a time without its offset, and rows to format at a time.
TIME_WIDTHS = {"s": 19, "ns": 29}

BLOCK_ROWS = 500_000

# Since 1970, offsets and their changes are multiples of this.
QUARTER_HOUR = 15 * UNITS["min"]

MINUTE = datetime.timedelta(minutes=1)

DAY = UNITS["d"]


class Elapsed(NamedTuple):
    """Times that count from a start whose date is unknown.

    Args:
        size: nanoseconds per unit, or 1 for a counter of steps.
    """

    size: int

    def numbers(self, times: Int64Array) -> Array:
        """Return times as written in the table, `(rows,)`: integers if all are, else floats."""
        return times / self.size if (times % self.size).any() else times // self.size

    def number(self, time: int) -> int | float:
        """Return a time as written in the table.

        An integer keeps all digits, including those that a float cannot hold.
        """
        whole, rest = divmod(int(time), self.size)
        return int(time) / self.size if rest else whole


# Notation of times: in a time zone, as elapsed, or as written, without a zone.
Zone = datetime.tzinfo | Elapsed | None


def format_time(nanoseconds: int, zone: Zone = None) -> str:
    """Return a time in UTC as briefly as possible, or in a time zone with its offset.

    >>> format_time(0), format_time(1_500_000_000, datetime.UTC)
    ('1970-01-01', '1970-01-01 00:00:01.5+00:00')
    """
    (text,) = map(str, format_each_time(np.array([nanoseconds]), zone))
    return text.replace("T", " ") if zone else text.replace("T", " ").removesuffix(" 00:00:00")


def format_times(nanoseconds: Int64Array, zone: Zone = None) -> Array:
    """Return times for a file, `(rows,)`: in UTC, in a time zone with the offset, or as numbers if elapsed.

    All times have seconds, or all have nanoseconds if one of them needs it.
    """
    if isinstance(zone, Elapsed):
        return zone.numbers(nanoseconds)
    unit: Literal["s", "ns"] = "ns" if (nanoseconds % UNITS["s"]).any() else "s"
    if zone is None:
        return np.datetime_as_string(nanoseconds.view("datetime64[ns]"), unit)
    texts: StringArray = np.empty(len(nanoseconds), f"U{TIME_WIDTHS[unit] + len(_format_offset(0))}")
    # Blocks limit memory usage, because intermediate results of NumPy are twice as long.
    for start in range(0, len(texts), BLOCK_ROWS):
        some = nanoseconds[start : start + BLOCK_ROWS]
        found = utc_offsets(some, zone)
        local = np.datetime_as_string((some + found * UNITS["min"]).view("datetime64[ns]"), unit)
        different, place = np.unique(found, return_inverse=True)
        ends = np.array([_format_offset(minutes) for minutes in different.tolist()])
        texts[start : start + BLOCK_ROWS] = np.char.add(local, ends[place])
    return texts


def format_each_time(nanoseconds: Int64Array, zone: Zone = None) -> list[str] | list[int] | list[float]:
    """Return times as in `format_times`, but each with only as many decimals as it needs."""
    if isinstance(zone, Elapsed):
        return [zone.number(time) for time in nanoseconds.tolist()]
    texts: list[str] = format_times(nanoseconds, zone).tolist()
    parts = [text.partition(".") for text in texts]
    # Nine digits of a fraction are followed by the offset.
    return [time + (point + rest[:9]).rstrip("0").rstrip(".") + rest[9:] for time, point, rest in parts]


def utc_offsets(nanoseconds: Int64Array, zone: datetime.tzinfo) -> Int64Array:
    """Return the offset of a time zone from UTC at each time, `(rows,)` int64 in minutes."""
    return _find_offsets(nanoseconds, lambda time: time.replace(tzinfo=datetime.UTC).astimezone(zone)) // UNITS["min"]


def _find_offsets(times: Int64Array, localize: Callable[[datetime.datetime], datetime.datetime]) -> Int64Array:
    """Return the offsets from UTC of times in nanoseconds, `(rows,)`; `localize` adds the zone to one of them."""
    quarters, place = np.unique(times // QUARTER_HOUR, return_inverse=True)
    offsets = [localize(EPOCH + 15 * quarter * MINUTE).utcoffset() for quarter in quarters.tolist()]
    found = [(offset or 0 * MINUTE) // datetime.timedelta(microseconds=1) * 1000 for offset in offsets]
    return np.array(found, np.int64)[place]


def to_local_times(times: Int64Array, zone: datetime.tzinfo | None) -> Int64Array:
    """Return the local times of a zone; unchanged without a zone."""
    return times if zone is None else times + utc_offsets(times, zone) * UNITS["min"]


def is_autumn_night(times: Int64Array) -> BoolArray:
    """Return a mask of the times before four o'clock on a Sunday from September to November."""
    moments = times.astype("datetime64[ns]")
    days = moments.astype("datetime64[D]")
    month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    sunday = (days.astype(np.int64) + 3) % 7 == 6
    early = (moments - days) < np.timedelta64(4, "h")
    found: BoolArray = sunday & early & (month >= 9) & (month <= 11)
    return found


def _format_offset(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"


def infer_zone(layout: Layout, config: Reading) -> Zone:
    """Return the zone in which times are formatted.

    It is `Elapsed` for elapsed times, else `--time-zone`, else UTC for cells with offsets, else None.
    """
    if layout.form and layout.form.elapsed:
        return Elapsed(UNITS.get(layout.form.unit, 1))
    if config.time_zone is not None:
        return config.zone
    return datetime.UTC if layout.aware and not (layout.form and layout.form.unit) else None


def table_times_to_utc(
    times: Int64Array,
    series: NDArray[np.int32],
    layout: Layout,
    lines: NDArray[np.int32],
    name: str,
    place: str,
    config: Reading,
) -> Int64Array:
    """Return the times of a table in UTC; rows must be in the order of the file, see `to_utc`.

    Args:
        lines, name, place: line or row numbers, the file, and "line" or "row", for errors.

    Raises:
        DataError: if a time does not exist in the time zone, or a series with times in a repeated hour is not in order.
    """
    if config.time_zone is None or config.zone is None or layout.aware:
        return times
    utc, nowhere = to_utc(times, config.zone, series)
    if len(nowhere):
        moment = str(times[nowhere[0]].astype("datetime64[ns]").astype("datetime64[s]")).replace("T", " ")
        raise DataError(
            f"{name}, {place} {lines[nowhere[0]]}, column {layout.time!r}: {moment} does not exist in "
            f"{config.time_zone}: daylight saving time skips this hour. Pass another --time-zone, or none for UTC",
            code=Code.TIME_VALUE,
        )
    order = np.argsort(series, kind="stable")
    back = (np.diff(utc[order]) < 0) & (np.diff(series[order]) == 0)
    if back.any():
        first, second = _zone_offsets(times, config.zone)
        back &= np.isin(series[order][1:], series[first > second])
    if back.any():
        row = order[int(back.argmax()) + 1]
        raise DataError(
            f"{name}, {place} {lines[row]}, column {layout.time!r}: the row is earlier than the one before, and others "
            f"are in an hour that {config.time_zone} repeats, which needs rows in order of time. If the newest row is "
            "first, reverse them, frame[::-1]; or write times with their offset from UTC",
            code=Code.TIME_ORDER,
        )
    return utc


def to_utc(
    local: Int64Array, zone: datetime.tzinfo, series: NDArray[np.int32] | None = None
) -> tuple[Int64Array, Int64Array]:
    """Convert local times of a zone to UTC.

    The repeated hour at the end of daylight saving time is resolved by the order of the rows: its second pass begins
    where times step back or, if they never do and rows are not closer than the hour, where a time is that of the row
    before.

    Args:
        local: `(rows,)` local nanoseconds in the order of the file.
        series: `(rows,)` series of each row; None for a single series.

    Returns:
        `(rows,)` times in UTC, and the indices of the rows whose local time does not exist.
    """
    offsets = _zone_offsets(local, zone)
    second = np.zeros(len(local), bool)
    twice = np.flatnonzero(offsets[0] > offsets[1])
    if len(twice):
        of = np.zeros(len(local), np.int32) if series is None else series
        twice = twice[np.argsort(of[twice], kind="stable")]
        own = of[twice]
        change = np.diff(local[twice])
        begins = np.r_[True, (own[1:] != own[:-1]) | (abs(change) > DAY)]
        run, firsts = np.cumsum(begins) - 1, np.flatnonzero(begins)
        back = np.r_[False, (change < 0) & ~begins[1:]]
        equal = np.r_[False, (change == 0) & ~begins[1:]]
        # Among rows that step back, or are closer than the repeated hour, equal times are duplicates.
        change = np.where(begins, _steps_before(local, of)[twice], np.r_[0, change])
        closer = (change > 0) & (change < (offsets[0] - offsets[1])[twice])
        back |= equal & ~np.logical_or.reduceat(back | closer, firsts)[run]
        # Number of steps back since the beginning of the run.
        steps = np.cumsum(back)
        second[twice] = steps > steps[firsts][run]
    nowhere = np.flatnonzero(offsets[0] < offsets[1])
    utc: Int64Array = local - np.where(second, offsets[1], offsets[0])
    return utc, nowhere


def _steps_before(local: Int64Array, series: NDArray[np.int32]) -> Int64Array:
    """Return the time from the row before to each row of its series; 0 for the first row."""
    order = np.argsort(series, kind="stable")
    steps = np.zeros(len(local), np.int64)
    steps[order[1:]] = np.where(np.diff(series[order]) == 0, np.diff(local[order]), 0)
    return steps


def context_before(local: Int64Array, utc: Int64Array, zone: datetime.tzinfo) -> Int64Array:
    """Return the local times that `to_utc` must see before the rows that follow these rows of one series.

    Returns:
        The last time; before it, if it is another one, the last time in a repeated hour, after a later one if it was in
        the second pass, or else after the time before it, which says how close rows are.
    """
    offsets = _zone_offsets(local, zone)
    twice = np.flatnonzero(offsets[0] > offsets[1])
    if not len(twice):
        return local[-1:]
    place = int(twice[-1])
    last, rest = local[place : place + 1], local[place + 1 :][-1:]
    if local[place] - utc[place] == offsets[1][place]:
        return np.concatenate([last + 1, last, rest])
    before = local[:place]
    return np.concatenate([before[before < local[place]][-1:], last, rest])


def _zone_offsets(local: Int64Array, zone: datetime.tzinfo) -> Int64Array:
    """Return the offsets of a zone at local times in nanoseconds, `(2, rows)`, for the first and second occurrence."""
    localize = datetime.datetime.replace
    return np.array([_find_offsets(local, partial(localize, tzinfo=zone, fold=fold)) for fold in (0, 1)])
