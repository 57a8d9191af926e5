"""Convert the times of a table to UTC, and format them in the notation of the table."""

import datetime
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Int64Array, StringArray
from lstm_ae.config import Reading
from lstm_ae.config.reading import UNITS
from lstm_ae.data.columns import Layout
from lstm_ae.data.timestamps import EPOCH, MINUTE, BadTime

# Length of a time without its offset, and rows to format at a time.
TIME_WIDTHS = {"s": 19, "ns": 29}

BLOCK_ROWS = 500_000

# Since 1970, offsets and their changes are multiples of this.
QUARTER_HOUR = 15 * UNITS["min"]

DAY = UNITS["d"]

# How to distinguish the two passes of an hour that daylight saving time repeats.
AUTUMN_ADVICE = (
    "Write the times with their offset from UTC: frame[column].dt.tz_localize('Europe/Berlin', ambiguous='infer')"
)


class Elapsed(NamedTuple):
    """Times that count from a start whose date is unknown.

    Args:
        size: nanoseconds per unit, or 1 for a counter of steps.
    """

    size: int

    def numbers(self, times: Int64Array) -> Array:
        """Return times as written in the table, `(rows,)`: integers if all are, else floats."""
        return times / self.size if (times % self.size).any() else times // self.size


# Notation of times: in a time zone, as elapsed, or as written, without a zone.
Zone = datetime.tzinfo | Elapsed | None


def format_time(nanoseconds: int, zone: Zone = None) -> str:
    """Return a time in its shortest notation, in UTC, or in a time zone with its offset.

    >>> format_time(0), format_time(1_500_000_000, datetime.UTC)
    ('1970-01-01', '1970-01-01 00:00:01.5+00:00')
    """
    (text,) = map(str, format_each_time(np.array([nanoseconds]), zone))
    return text.replace("T", " ") if zone else text.replace("T", " ").removesuffix(" 00:00:00")


def format_times(nanoseconds: Int64Array, zone: Zone) -> Array:
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
        block = nanoseconds[start : start + BLOCK_ROWS]
        # Offsets are written in minutes. The local time drops the seconds of an offset too, so it is the same instant.
        minutes = (to_local_times(block, zone) - block) // UNITS["min"]
        different, place = np.unique(minutes, return_inverse=True)
        ends = np.array([_format_offset(offset) for offset in different.tolist()])
        clocks = np.datetime_as_string((block + minutes * UNITS["min"]).view("datetime64[ns]"), unit)
        texts[start : start + BLOCK_ROWS] = np.char.add(clocks, ends[place])
    return texts


def format_each_time(nanoseconds: Int64Array, zone: Zone) -> list[str] | list[int] | list[float]:
    """Return times as in `format_times`, but each with only as many decimals as it needs."""
    if isinstance(zone, Elapsed):
        # An integer keeps all digits, including those that a float cannot hold.
        return [time / zone.size if time % zone.size else time // zone.size for time in nanoseconds.tolist()]
    texts: list[str] = format_times(nanoseconds, zone).tolist()
    parts = [text.partition(".") for text in texts]
    # Nine digits of a fraction are followed by the offset.
    return [time + (point + decimals[:9]).rstrip("0").rstrip(".") + decimals[9:] for time, point, decimals in parts]


def _find_offsets(times: Int64Array, localize: Callable[[datetime.datetime], datetime.datetime]) -> Int64Array:
    """Return the offsets from UTC of times in nanoseconds, `(rows,)`; `localize` adds the zone to one of them."""
    quarters, place = np.unique(times // QUARTER_HOUR, return_inverse=True)
    offsets = [localize(EPOCH + 15 * quarter * MINUTE).utcoffset() for quarter in quarters.tolist()]
    nanoseconds = [(offset or 0 * MINUTE) // datetime.timedelta(microseconds=1) * 1000 for offset in offsets]
    return np.array(nanoseconds, np.int64)[place]


def to_local_times(times: Int64Array, zone: datetime.tzinfo | None) -> Int64Array:
    """Return the local times of a zone; unchanged without a zone."""
    if zone is None:
        return times
    return times + _find_offsets(times, lambda time: time.replace(tzinfo=datetime.UTC).astimezone(zone))


def _format_offset(minutes: int) -> str:
    hours, minute = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{minute:02}"


def infer_zone(layout: Layout, config: Reading) -> Zone:
    """Return the zone in which times are formatted.

    It is `Elapsed` for elapsed times, else `--time-zone`, else UTC for cells with offsets, else None.
    """
    if layout.form and layout.form.elapsed:
        return Elapsed(layout.form.size)
    if config.time_zone is not None:
        return config.zone
    return datetime.UTC if layout.aware and not (layout.form and layout.form.unit) else None


def local_to_utc(local: Int64Array, zone: datetime.tzinfo) -> Int64Array:
    """Return local times in UTC, `(rows,)`; a repeated hour is its first pass."""
    return local - _find_offsets(local, lambda time: time.replace(tzinfo=zone))


def localize_times(times: Int64Array, aware: bool, config: Reading) -> Int64Array:
    """Return the times of a table in UTC, `(rows,)`; unchanged unless they are those of `--time-zone`.

    Args:
        times: local times.
        aware: whether the times are in UTC already.

    Raises:
        BadTime: if a time does not exist, or may be one of two.
    """
    if config.time_zone is None or aware:
        return times
    import pandas as pd

    local = pd.DatetimeIndex(times.view("datetime64[ns]"))
    zoned = local.tz_localize(config.time_zone, ambiguous="NaT", nonexistent="NaT")
    unknown = np.array(zoned.isna())
    if unknown.any():
        place = int(unknown.argmax())
        moment = str(local[place].floor("s")).replace("T", " ")
        raise BadTime(
            place, f"{moment} is skipped or repeated in {config.time_zone} by daylight saving time. {AUTUMN_ADVICE}"
        )
    return zoned.as_unit("ns").asi8.copy()
