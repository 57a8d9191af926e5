"""Build the regular time grid of a table: its sampling interval, gaps, and rows, and the times after it."""

import datetime
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.config import Reading
from lstm_ae.config.options import flag_name
from lstm_ae.config.reading import UNITS, TimeStep
from lstm_ae.data.calendar import add_calendar
from lstm_ae.data.panel import ANOMALY_CLASSES, Panel, first_rows, number_runs, run_starts
from lstm_ae.data.time_zones import DAY, Elapsed, Zone, format_time, local_to_utc, to_local_times
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import format_count, format_heading, quote

_Elapsed = TypeVar("_Elapsed", int, Int64Array)

# Largest share of a grid that may be missing.
MAX_MISSING_SHARE = 0.5

# Share of rows with duplicate times from which such rows are the rule, and how to tell them apart.
MAX_DUPLICATE_SHARE = 0.5
DATES_ADVICE = (
    "Add --id-col with the column of the series, or join the column of the time of day to the dates: "
    "frame['time'] = frame.pop('date').astype(str) + ' ' + frame.pop('hour').astype(str)"
)

# Numbers of months that a step may have, and the mean length of a month.
MONTH_STEPS, MONTH = (1, 2, 3, 4, 6, 12), round(365.2425 / 12 * DAY)

# Largest difference between the median step and the mean length of its months: rows may be on business days.
MONTH_SHIFT = 6 * DAY

# Smallest share of the steps that lead to the next position of a grid of months.
MONTHLY_SHARE = 0.8


def common_step(table: Panel) -> TimeStep:
    """Return the most common step between rows of a series, as calendar months if it is about a month.

    If fewer than half of the steps are equal, the result is their median, rounded to a unit of at most a twentieth of
    it. The step of a counter is a number of counts, and that of a table without times is `TimeStep()`.
    """
    steps = _forward_steps(table, table.times)
    if table.layout.time is None or not len(steps):
        return TimeStep()
    exact, counts = np.unique(steps, return_counts=True)
    size, middle = int(exact[counts.argmax()]), float(np.median(steps))
    if counts.max() * 2 < len(steps):
        unit = max(size for size in UNITS.values() if size == 1 or size * 20 <= middle)
        size = round(middle / unit) * unit
    if table.layout.counts:
        return TimeStep(steps=size)
    return _common_months(table, steps) or TimeStep(size)


def _common_months(table: Panel, steps: Int64Array) -> TimeStep | None:
    """Return the step in calendar months if rows follow months, on any day; None otherwise.

    Args:
        steps: positive steps between rows of a series.
    """
    middle = float(np.median(steps))
    step = TimeStep(months=min(MONTH_STEPS, key=lambda number: abs(number * MONTH - middle)))
    if abs(step.months * MONTH - middle) > MONTH_SHIFT:
        return None
    places = grid_slots(table, step)
    clash = find_duplicate_times(table, places)
    if (clash and not clash.same_time) or consecutive_share(table, places) <= MONTHLY_SHARE:
        return None
    # Steps of equal length, such as 30 days, are months only if they keep the day of the month.
    equal = np.unique(steps // DAY, return_counts=True)[1].max() > MONTHLY_SHARE * len(steps)
    return step if not equal or _days_of_month(table, step).all() else None


def grid_slots(table: Panel, step: TimeStep, *, merge: bool = False) -> Int64Array:
    """Return the grid position of each row, counted from 0 in each series, see `next_positions`.

    Args:
        step: the step of the grid.
        merge: whether positions are those of a fixed grid, which rows may share.

    Returns:
        `(rows,)` int64.
    """
    first = first_rows(table.series)
    if step == TimeStep():
        return np.arange(len(first)) - first
    origins = table.times[first]
    if merge or step.months:
        return grid_positions(table.times, origins, step, table.zone)
    along = np.cumsum(next_positions(table.times, table.times[:1], step))
    places: Int64Array = np.minimum(along - along[first], max_position(table.times - origins, step))
    return places


def next_positions(times: Int64Array, before: Int64Array, step: TimeStep) -> Int64Array:
    """Return the distance of each row from the row before it, rounded to steps.

    The grid follows the rows, so that a clock that runs slightly fast or slow causes neither duplicates nor gaps. A
    row less than half a step after the row before it has the same position.

    Args:
        times: `(rows,)` ascending times.
        before: `(1,)` time of the row before the first one.
        step: step of a fixed length, not of months.
    """
    return (np.diff(times, prepend=before) + step.size // 2) // step.size


def max_position(elapsed: _Elapsed, step: TimeStep) -> _Elapsed:
    """Return the largest position of a row some time after the first row.

    Rows that would exceed it are closer than the step of the grid, and share positions instead.
    """
    return elapsed // step.size * 11 // 10 + 10


def missing_share(table: Panel, places: Int64Array) -> float:
    """Return the share of the grid positions without a row, from the first to the last row of each series.

    The share is 0 if at most half of the steps between occupied positions span a gap: such gaps are nights, weekends,
    or outages of a table whose step is correct.

    Args:
        places: `(rows,)` positions as returned by `grid_slots`.
    """
    steps = _forward_steps(table, places)
    return 1 - len(steps) / float(steps.sum(dtype=np.float64)) if (steps > 1).sum() * 2 > len(steps) else 0.0


def consecutive_share(table: Panel, places: Int64Array) -> float:
    """Return the share of the steps between occupied grid positions that span no gap; 1 without a step."""
    steps = _forward_steps(table, places)
    return float((steps == 1).mean()) if len(steps) else 1.0


def mean_drift(table: Panel, step: TimeStep) -> float:
    """Return by how many steps the position of a row drifts from its time on average; 0 for a step of months."""
    steps = _forward_steps(table, table.times) / (step.size or 1)
    return abs(float((steps - np.rint(steps)).mean())) if len(steps) else 0.0


def _forward_steps(table: Panel, along: Int64Array) -> Int64Array:
    """Return the positive differences between consecutive rows of a series in `along` (times or positions)."""
    steps = np.diff(along)
    return steps[(steps > 0) & ~run_starts(table.series)[1:]]


def grid_positions(times: Int64Array, origin: Int64Array, step: TimeStep, zone: Zone) -> Int64Array:
    """Return the nearest position of each time on a grid that begins at `origin`, in the shape of `times`.

    Args:
        zone: time zone of the table. Months are those of its clocks.
    """
    if step.months:
        month, start = (
            to_local_times(moments, _clock_zone(step, zone))
            .astype("datetime64[ns]")
            .astype("datetime64[M]")
            .astype(np.int64)
            for moments in (times, origin)
        )
        places: Int64Array = (month - start) // step.months
    else:
        places = (times - origin + step.size // 2) // step.size
    return places


class DuplicateTimes(NamedTuple):
    """Rows that share a grid position with the row before them.

    Args:
        rows: number of these rows.
        first, second: indices of the first two rows that share a position.
        distance: time between these two, in nanoseconds or counts.
    """

    rows: int
    first: int
    second: int
    distance: int

    @property
    def same_time(self) -> bool:
        """True if the times of the two rows are equal."""
        return self.distance == 0


def find_duplicate_times(table: Panel, places: Int64Array) -> DuplicateTimes | None:
    """Return the rows that share a grid position, or None if there are none."""
    rows = np.flatnonzero(~run_starts(table.series, places))
    if not len(rows):
        return None
    second = int(rows[0])
    return DuplicateTimes(len(rows), second - 1, second, int(table.times[second] - table.times[second - 1]))


def describe_duplicates(table: Panel, step: TimeStep, clash: DuplicateTimes) -> str:
    """Return a description of the rows that share a position, with the first two of them."""
    first, second = (f"{table.place} {table.lines[row]}" for row in (clash.first, clash.second))
    rows = format_count(clash.rows, "row")
    time = format_time(int(table.times[clash.second]), table.zone if isinstance(table.zone, Elapsed) else None)
    if clash.same_time:
        return f"{rows} with a duplicate timestamp: {first} and {second} are both at {time}"
    return (
        f"{rows} too close for a step of {step.text}: {second} at {time} is only {step.resized(clash.distance).text} "
        f"after {first}"
    )


def refuse_duplicates(table: Panel, step: TimeStep, places: Int64Array) -> None:
    """Raise `DataError` if rows share a grid position, with the options that tell them apart or merge them."""
    clash = find_duplicate_times(table, places)
    if clash is None:
        return
    ways = "Add --id-col with the column that identifies the series, or --duplicates first (or last, mean)"
    if clash.same_time and clash.rows >= MAX_DUPLICATE_SHARE * len(table.times):
        ways = DATES_ADVICE
    for ids in table.layout.id_candidates[:1]:
        # Rows of different series must not be merged.
        ways = f"Add --id-col {','.join(map(format_heading, ids))}"
    raise DataError(f"{table.name}: {describe_duplicates(table, step, clash)}. {ways}", code=Code.TIME_ORDER)


class Gaps(NamedTuple):
    """Gaps of a table: consecutive steps without a row or a value, between two rows with a value.

    Args:
        number: number of gaps.
        steps: total number of their steps.
        longest: length of the longest gap in steps.
        long: number of gaps that no window crosses.
    """

    number: int
    steps: int
    longest: int
    long: int


def find_gaps(table: Panel, places: Int64Array, max_gap: int) -> Gaps:
    """Return the gaps within series.

    Args:
        places: `(rows,)` positions as returned by `grid_slots`.
        max_gap: length in steps of the longest gap that a window may cross.
    """
    observed = np.flatnonzero(table.is_observed)
    steps = np.diff(places[observed])[~run_starts(table.series[observed])[1:]] - 1
    steps = steps[steps > 0]
    return Gaps(len(steps), int(steps.sum()), int(steps.max(initial=0)), int((steps > max_gap).sum()))


# Largest factor by which filling gaps may lengthen a table.
MAX_GROWTH = 20


def regularize(table: Panel, step: TimeStep, max_gap: int, config: Reading) -> Panel:
    """Return the rows of a table at a regular step, divided into segments.

    The rows of a segment are one step apart. Rows without a value in a long gap have a segment of their own.

    Args:
        max_gap: longest run of rows that are missing or hold no value and are filled with NaN; longer gaps divide the
            series into segments.

    Raises:
        DataError: if rows share a position and `duplicates` is "error", or if the grid is far too fine.
    """
    places = grid_slots(table, step, merge=config.duplicates != "error")
    if config.duplicates == "error":
        refuse_duplicates(table, step, places)
    merged, places = merge_duplicates(table, places, config.duplicates)
    rows = lay_out_rows(places, merged.times, merged.is_observed, run_starts(merged.series), max_gap, step, table.zone)
    if len(rows.source) > MAX_GROWTH * max(len(places), 1000):
        raise DataError(
            f"{table.name}: a grid of {step} with gaps up to {max_gap:,} steps filled would have {len(rows.source):,} "
            f"rows for {len(places):,}. Pass a longer --freq, a smaller {flag_name('max_gap')}, or --freq rows",
            code=Code.TIME_ORDER,
        )
    merged = merged._replace(segment=np.cumsum(rows.begins[rows.known], dtype=np.int32) - 1)
    grid = merged.spread(rows.source, rows.known, rows.times)
    # A lenient reading leaves out columns without numbers.
    grid = _fill_static(grid, [name for name in config.static_cols if name in grid.layout.known])
    return add_calendar(grid, config.calendar)


def require_static(grid: Panel, columns: Sequence[str]) -> None:
    """Raise `DataError` if a series has no value in a static column.

    Args:
        grid: rows, each with the value of its series.
        columns: the static columns.
    """
    for name in columns:
        missing = np.isnan(grid.values[:, grid.layout.values.index(name)])
        if missing.any():
            series = grid.ids[grid.series[missing.argmax()]]
            raise DataError(
                f"{grid.name}, series {quote(series)}: {quote(name)} has no value. Fill it, or leave it out of "
                "--static-cols",
                code=Code.MISSING_VALUES,
            )


def _fill_static(grid: Panel, columns: Sequence[str]) -> Panel:
    """Return the grid with the value of its series in each row of columns that are constant.

    Raises:
        DataError: if a series has several values or none.
    """
    if not columns:
        return grid
    values, first = grid.values.copy(), run_starts(grid.series)
    for name in columns:
        column = values[:, grid.layout.values.index(name)]
        low, high = (bound.reduceat(column, np.flatnonzero(first)) for bound in (np.fmin, np.fmax))
        if (low < high).any():
            row = int((low < high).argmax())
            raise DataError(
                f"{grid.name}, series {quote(grid.ids[grid.series[first][row]])}: {quote(name)} is {low[row]:.9g} and "
                f"{high[row]:.9g}, but --static-cols needs one value per series. Use --past-cols or --known-future",
                code=Code.CELL_VALUE,
            )
        column[:] = low[number_runs(grid.series)]
    grid = grid._replace(values=values)
    require_static(grid, columns)
    return grid


class GridRows(NamedTuple):
    """Rows one step apart, divided into segments, with the missing rows among them, `(rows,)` each.

    Args:
        source: index of the known row that each row is; for a missing row, of the known row before it.
        known: False for a missing row.
        times: times; for a missing row, the time at which it was due.
        begins: whether a row begins a segment.
        in_long_gap: whether a row lies in a long gap and has no value.
    """

    source: Int64Array
    known: BoolArray
    times: Int64Array
    begins: BoolArray
    in_long_gap: BoolArray


def lay_out_rows(
    places: Int64Array,
    times: Int64Array,
    observed: BoolArray,
    first: BoolArray,
    max_gap: int,
    step: TimeStep,
    zone: Zone,
) -> GridRows:
    """Divide the rows of series into segments, and insert the missing rows within each.

    Args:
        places: `(known rows,)` positions, ascending within a series.
        times: `(known rows,)` times.
        observed: `(known rows,)` whether a row holds a value.
        first: `(known rows,)` whether a row is the first of a series.
        max_gap: length of the longest gap within a segment.
        step: step of the grid.
        zone: time zone of the table, see `later_times`.
    """
    in_long_gap = np.zeros(len(places), bool)
    if not observed.all():
        # Runs of rows of a series that all hold a value or all hold none, and the positions next to each run. A run
        # without values at the start or the end of a series ends there.
        begin = np.flatnonzero(run_starts(np.cumsum(first), observed))
        end = np.r_[begin, len(places)][1:]
        low = np.where(first[begin], places[begin] - 1, places[begin - 1])
        high = np.where(np.r_[first, True][end], places[end - 1] + 1, np.r_[places, 0][end])
        in_long_gap = np.repeat(~observed[begin] & (high - low - 1 > max_gap), end - begin)
    advance = np.where(first, 1, np.diff(places, prepend=0))
    begins = first | (advance - 1 > max_gap) | np.diff(in_long_gap, prepend=False) | (in_long_gap & (advance > 1))
    at = np.cumsum(np.where(begins, 1, advance)) - 1
    known = np.zeros(int(at[-1]) + 1 if len(at) else 0, bool)
    known[at] = True
    source = np.cumsum(known) - 1
    behind = np.arange(len(known)) - at[source]
    times, filled = times[source], ~known
    times[filled] = later_times(times[filled], behind[filled], step, zone)
    return GridRows(source, known, times, known & begins[source], in_long_gap[source])


def map_to_grid_rows(table: Panel, grid: Panel, step: TimeStep) -> Int64Array:
    """Return the index of the grid row that holds each row of the table, `(rows,)` int64."""
    rows: Int64Array = np.flatnonzero(grid.known)
    if len(rows) < len(table.times):  # some rows were merged
        rows = rows[number_runs(table.series, grid_slots(table, step, merge=True))]
    return rows


def merge_duplicates(table: Panel, places: Int64Array, rule: str) -> tuple[Panel, Int64Array]:
    """Merge the rows that share a position according to the rule of `--duplicates`.

    A merged row of "mean" has the time of the first one, and the highest label if labels mark anomalies.

    Args:
        rule: "first", "last", or "mean"; used only if rows share a position.

    Returns:
        The merged rows and their positions.
    """
    begins = run_starts(table.series, places)
    first = np.flatnonzero(begins)
    if len(first) == len(places):
        return table, places
    rows = np.append(first[1:], len(places)) - 1 if rule == "last" else first
    merged = table.take(rows)
    if rule == "mean":
        import pandas as pd

        groups = pd.DataFrame(table.values.astype(np.float64)).groupby(np.cumsum(begins))
        merged = merged._replace(values=groups.mean().to_numpy(np.float32))
        if table.labels is not None and table.classes == ANOMALY_CLASSES:
            merged = merged._replace(labels=np.maximum.reduceat(table.labels, first))
    return merged, places[rows]


def future_times(table: Panel, series: Array, last: Int64Array, step: TimeStep, horizon: int) -> Int64Array:
    """Return the times of the steps after the given rows, `(n, horizon)`, see `later_times`.

    Args:
        series: `(n,)` indices of the table's ids.
        last: `(n,)` times of the rows.
    """
    days = _days_of_month(table, step)[series] if step.months else np.zeros_like(last)
    begin, count, days = (
        values.ravel() for values in np.broadcast_arrays(last[:, None], np.arange(1, horizon + 1), days[:, None])
    )
    return later_times(begin, count, step, table.zone, days).reshape(len(last), horizon)


def later_times(
    times: Int64Array, count: Int64Array, step: TimeStep, zone: Zone, days: Int64Array | None = None
) -> Int64Array:
    """Return the times some steps later, `(n,)`.

    Steps of whole days or months keep the local time of day across daylight-saving changes.

    Args:
        times: `(n,)` times in UTC.
        count: `(n,)` numbers of steps.
        zone: time zone of the table.
        days: `(n,)` days of the month for a step of months, 0 to keep that of the time; None to keep all.
    """
    clocks = _clock_zone(step, zone)
    local = to_local_times(times, clocks)
    if step.months:
        later = _add_months(local, count * step.months, np.zeros_like(times) if days is None else days)
    else:
        later = local + count * step.size
    return later if clocks is None else local_to_utc(later, clocks)


def _clock_zone(step: TimeStep, zone: Zone) -> datetime.tzinfo | None:
    """Return the time zone whose clocks a step follows; None if the step is no number of days, or there is no zone."""
    follows = step.months or (step.nanoseconds and step.nanoseconds % DAY == 0)
    return zone if follows and isinstance(zone, datetime.tzinfo) else None


def _days_of_month(table: Panel, step: TimeStep) -> Int64Array:
    """Return the day of the month that all rows of each series share, `(series,)` int64.

    Rows of a shorter month may be on its last day instead. The day is 31 if every row is on the last day of its month,
    and 0 if the rows share no day.
    """
    import pandas as pd

    moments = pd.DatetimeIndex(to_local_times(table.times, _clock_zone(step, table.zone)).view("datetime64[ns]"))
    day = pd.Series(moments.day)
    highest = day.groupby(table.series).transform("max")
    last, shared = moments.is_month_end, day == np.minimum(highest, moments.days_in_month)
    by_series = pd.DataFrame({"last": last, "shared": shared, "day": highest}).groupby(table.series).min()
    days = np.zeros(len(table.ids), np.int64)
    days[by_series.index] = np.where(by_series["last"], 31, by_series["day"] * by_series["shared"])
    return days


def _add_months(times: Int64Array, months: Int64Array, days: Int64Array) -> Int64Array:
    """Return the times some months later, `(n,)`.

    The day of the month is that of `days`, or that of the time where `days` is 0; in a shorter month, the last day.
    """
    import pandas as pd

    moments = pd.DatetimeIndex(times.view("datetime64[ns]"))
    later = moments.to_period("M") + months
    day = np.minimum(np.where(days, days, moments.day), later.days_in_month.to_numpy()) - 1
    starts = later.to_timestamp().as_unit("ns").asi8
    ahead: Int64Array = starts + day * DAY + times % DAY
    return ahead
