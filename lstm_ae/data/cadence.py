"""The steps that a table's rows take in time: the usual one, the gaps between them, and rows that meet."""

import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config.reading import UNITS, Step
from lstm_ae.data.instants import Times
from lstm_ae.data.measurements import Measurements
from lstm_ae.data.telling import Elapsed, offsets, told

Flags = NDArray[np.bool_]

# A gap's length comes again and again where so many gaps in a series have it, and so large a share of the long ones.
OFTEN, COMMON = 3, 0.1
# Numbers of each unit that people use as a step, and the same as nanoseconds, ascending.
ROUND = {
    **dict.fromkeys(("ns", "us", "ms"), (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    **dict.fromkeys(("s", "min"), (1, 2, 5, 10, 15, 20, 30)),
    "h": (1, 2, 3, 4, 6, 8, 12),
    "d": (1, 2, 5, 10, 30),
    "w": (1, 2),
}
SIZES = tuple(sorted(UNITS[unit] * number for unit, numbers in ROUND.items() for number in numbers))
# An even step is at least and at most so many median steps; at least this share of at least so many places that are
# taken follow one another.
LEAST, MOST, EVEN, FEWEST = 0.5, 100, 0.9, 20
# The largest share of a grid that may be missing.
MOST_MISSING = 0.5
# Days of one, three and twelve months of the calendar.
MONTHS = {1: (28, 31), 3: (90, 92), 12: (365, 366)}


def starts_of(series: NDArray[np.int32]) -> Flags:
    """Where a run of equal numbers begins."""
    begins: Flags = np.r_[True, series[1:] != series[:-1]]
    return begins


def common_step(table: Measurements) -> Step:
    """The most common time from one row to the next, within series; by the calendar where it is about a month.

    Times that jitter are counted in a unit about a twentieth of their step. A counter's step is one of steps.
    """
    if table.layout.time is None:
        return Step()
    steps = _advances(table, table.times)
    if not len(steps):
        return Step()
    middle = int(np.median(steps))
    unit = max(size for size in UNITS.values() if size == 1 or size * 20 <= middle)
    found, counts = np.unique((steps + unit // 2) // unit, return_counts=True)
    most = int(counts.argmax())
    size = int(found[most] if counts[most] * 2 >= len(steps) else round(middle / unit)) * unit
    if counts[most] * 2 >= len(steps):
        exact, times = np.unique(steps[(steps + unit // 2) // unit == found[most]], return_counts=True)
        if times.max() * 2 >= times.sum():
            size = int(exact[times.argmax()])
    if table.layout.counts:
        return Step(steps=size)
    for months, (low, high) in MONTHS.items():
        if (
            low <= middle / UNITS["d"] <= high
            and ((steps / UNITS["d"] >= low) & (steps / UNITS["d"] <= high)).mean() > 0.8
        ):
            months_of = slots(table, Step(months=months))
            again = (np.diff(months_of) == 0) & ~starts_of(table.series)[1:] & (np.diff(table.times) > 0)
            if not again.any():
                return Step(months=months)
    return Step(size)


def slots(table: Measurements, step: Step, *, follow: bool = False) -> Times:
    """The place of each row on the grid of its series, `(rows,)`, from 0: the nearest one.

    Args:
        follow: the grid of a series moves with rows that come a little faster than the step, see `followed`; not where
            they are far faster.
    """
    first = starts_of(table.series)
    if step == Step():
        counted: Times = np.arange(len(first)) - np.flatnonzero(first)[np.cumsum(first) - 1]
        return counted
    places = places_of(table.times, table.times[first][np.cumsum(first) - 1], step)
    if not follow or step.months:
        return places
    meet = (np.diff(places, prepend=-1) == 0) & (np.diff(table.times, prepend=0) * 2 >= step.size) & ~first
    moved = places.copy()
    begins = np.r_[np.flatnonzero(first), len(first)]
    for number in np.unique(np.searchsorted(begins, np.flatnonzero(meet), side="right") - 1):
        own = slice(begins[number], begins[number + 1])
        times = table.times[own]
        begun = int(times[0])
        found = followed(times, step, begun=begun, origin=begun, place=-1, before=begun)
        if found.too_fast is not None:
            return places
        moved[own] = found.places
    return moved


def missing_share(table: Measurements, places: Times) -> float:
    """Return the share of a grid's places that no row takes, from the first to the last of each series.

    It is 0 where at most half of the places that are taken have a gap before them: what is missing then are nights,
    weekends, or outages of a table whose step is right.

    Args:
        places: `(rows,)` as of `slots`.
    """
    steps = _advances(table, places)
    return 1 - len(steps) / float(steps.sum(dtype=np.float64)) if (steps > 1).sum() * 2 > len(steps) else 0.0


def even_step(table: Measurements) -> Step | None:
    """Return the shortest usual step at which nearly all places that are taken follow one another.

    Rows that meet at this step must be merged.

    Returns:
        None where no step from half the median to a hundred medians is so.
    """
    times = _advances(table, table.times)
    if table.layout.time is None or not len(times):
        return None
    middle = float(np.median(times))
    sizes = [n * 10**power for power in range(19) for n in (1, 2, 5)] if table.layout.counts else SIZES
    for size in sizes:
        if LEAST * middle <= size <= MOST * middle:
            step = Step(steps=size) if table.layout.counts else Step(size)
            steps = _advances(table, slots(table, step))
            if len(steps) >= FEWEST and (steps == 1).mean() >= EVEN:
                return step
    return None


def _advances(table: Measurements, along: Times) -> Times:
    """Return by how much times or places rise from row to row within series, where they do."""
    steps = np.diff(along)
    return steps[(steps > 0) & ~starts_of(table.series)[1:]]


class Followed(NamedTuple):
    """Places of rows on a grid that follows them, `(rows,)`, its origin after them, and the row that was too fast."""

    places: Times
    origin: int
    too_fast: int | None = None


def followed(times: Times, step: Step, *, begun: int, origin: int, place: int, before: int) -> Followed:
    """The next rows of a series on a grid that follows them.

    A row in the place of the one before, though half a step or more after it, has the next place, and the grid moves
    so that the row stands right there: clocks that run a little fast never catch up with the grid. Where rows have
    taken so many more places than their time holds steps that their step is another one, it ends there.

    Args:
        times: `(rows,)` ascending.
        step: not of months.
        begun: the time of the series' first row.
        origin: where place 0 is.
        place, before: of the row before these, and its time; -1 and any where there is none.
    """
    size, start, width = step.size, 0, 256
    places = np.empty(len(times), np.int64)
    while start < len(times):
        block = times[start : start + width]
        found = places_of(block, np.full_like(block, origin), step)
        meet = (np.diff(found, prepend=place) <= 0) & (np.diff(block, prepend=before) * 2 >= size)
        count = int(meet.argmax()) + 1 if meet.any() else len(block)
        places[start : start + count] = found[:count]
        if meet.any():
            places[start + count - 1] = (found[count - 2] if count > 1 else place) + 1
            origin = int(block[count - 1] - places[start + count - 1] * size)
            if int(places[start + count - 1]) * size > 1.1 * (int(block[count - 1]) - begun) + 10 * size:
                return Followed(places, origin, start + count - 1)
            width = 256
        else:
            width *= 2
        start += count
        place, before = int(places[start - 1]), int(times[start - 1])
    return Followed(places, origin)


def places_of(times: Times, origin: Times, step: Step) -> Times:
    """The place of each moment on a grid that begins at `origin`, the nearest one; alike in shape."""
    if step.months:
        month, start = (
            moments.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64) for moments in (times, origin)
        )
        places: Times = (month - start) // step.months
    else:
        places = (times - origin + step.size // 2) // step.size
    return places


class Clash(NamedTuple):
    """Rows that meet in one place of the grid: how many are too many, two of them, and the nanoseconds between."""

    rows: int
    first: int
    second: int
    apart: int

    @property
    def same_time(self) -> bool:
        """Whether their times agree."""
        return self.apart == 0


def clash_of(table: Measurements, places: Times) -> Clash | None:
    """What meets in one place; None where nothing does."""
    again = np.r_[False, places[1:] == places[:-1]] & ~starts_of(table.series)
    rows = np.flatnonzero(again)
    if not len(rows):
        return None
    second = int(rows[0])
    return Clash(len(rows), second - 1, second, int(table.times[second] - table.times[second - 1]))


def repeats_hour(table: Measurements, places: Times) -> bool:
    """Whether all rows that meet may be those of the hour that daylight saving repeats, by clocks whose zone is not
    known, or another one than was told."""
    again = np.r_[False, places[1:] == places[:-1]] & ~starts_of(table.series)
    times = table.times[again]
    if isinstance(table.zone, datetime.tzinfo):
        times = times + offsets(times, table.zone) * UNITS["min"]
    return not table.layout.aware and bool(of_autumn(times).all())


def of_autumn(times: Times) -> Flags:
    """Which times are before four o'clock on a Sunday of September to November."""
    moments = times.astype("datetime64[ns]")
    days = moments.astype("datetime64[D]")
    month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    sunday = (days.astype(np.int64) + 3) % 7 == 6
    early = (moments - days) < np.timedelta64(4, "h")
    found: Flags = sunday & early & (month >= 9) & (month <= 11)
    return found


def moment(table: Measurements, row: int) -> str:
    """A row's time in UTC, for people, or as it was written; its number without a column of times."""
    if table.layout.time is None:
        return f"row {table.times[row]}"
    return told(int(table.times[row]), table.zone if isinstance(table.zone, Elapsed) else None)


class Gaps(NamedTuple):
    """What is missing between rows that hold a value.

    Args:
        places: in how many places there is a gap: rows are missing, or too many in a row hold no value.
        rows: that are missing, in all.
        longest: steps of the longest gap.
        before: the row before it.
        long: gaps that no window crosses.
        empty: rows in these that hold no value.
    """

    places: int
    rows: int
    longest: int
    before: int
    long: int
    empty: int


def gaps_of(table: Measurements, places: Times, max_gap: int) -> Gaps:
    """The gaps within series between rows at these `slots`.

    Args:
        max_gap: steps of the longest one that a window may cross.
    """
    missing = np.where(starts_of(table.series), 0, np.diff(places, prepend=0) - 1)
    held = np.flatnonzero(~np.isnan(table.values).all(axis=1))
    steps, empty = np.diff(places[held]) - 1, np.diff(held) - 1
    inside = table.series[held[1:]] == table.series[held[:-1]]
    long = inside & (steps > max_gap)
    steps = np.where(inside & (long | (steps > empty)), steps, 0)
    longest = int(steps.argmax()) if len(steps) else 0
    return Gaps(
        int((steps > 0).sum()),
        int(np.maximum(missing, 0).sum()),
        int(steps.max(initial=0)),
        int(held[longest]) if len(held) else 0,
        int(long.sum()),
        int(empty[long].sum()),
    )


def common_gaps(table: Measurements, places: Times, max_gap: int) -> list[int]:
    """The lengths of gaps that come again and again, as of weekends or nights, ascending, beyond `max_gap`.

    Those are left out with which, and all shorter ones, more of the grid would be missing than is there.
    """
    held = np.flatnonzero(~np.isnan(table.values).all(axis=1))
    steps = (np.diff(places[held]) - 1)[np.diff(table.series[held]) == 0]
    lengths, counts = np.unique(steps[steps > max_gap], return_counts=True)
    often = lengths[(counts >= OFTEN * len(table.ids)) & (counts >= COMMON * counts.sum())]
    return [int(length) for length in often if steps[(steps > 0) & (steps <= length)].sum() <= len(held)]
