"""From a table of measurements to training, validation and test: on a grid, divided, scaled, and cut into windows.

Divided first, in time within each series, or by whole series; then the scale is fitted to the training rows; then
windows are cut, none across two parts, two series or a long gap.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.config.reading import Step
from lstm_ae.data.cadence import common_gaps, common_step, slots, starts_of
from lstm_ae.data.dividing import PARTS, longest_run, parts_of, runs_of
from lstm_ae.data.grid import Grid, held_by, on_grid
from lstm_ae.data.measurements import Measurements
from lstm_ae.data.scales import lines_of, scale_of_training
from lstm_ae.data.season import usual_steps
from lstm_ae.data.selection import count
from lstm_ae.data.windows import Data, Source, Split, fingerprint, require_samples, window_starts
from lstm_ae.errors import ConfigError

# From a grid to the part of each of its rows, places in `PARTS`.
Parts = Callable[[Grid], NDArray[np.int8]]


class Prepared(NamedTuple):
    """A table that is ready to be cut.

    Args:
        table: as it was read.
        grid: its rows at a regular step.
        part: `(rows,)` int8 of the grid's rows, places in `PARTS`.
        window: steps that the model reads.
        horizon: steps that it forecasts; 0 where it forecasts none.
        max_gap: missing rows in a row that were filled.
        inferred: what nobody told, by field of the config, in words.
    """

    table: Measurements
    grid: Grid
    part: NDArray[np.int8]
    window: int
    horizon: int
    max_gap: int
    inferred: Mapping[str, str]


def prepare(config: Reading, table: Measurements, parts: Parts | None = None) -> Prepared:
    """Put a table on its grid and divide it; what the config leaves open is found.

    Args:
        parts: divides the rows; None where the config says how.

    Raises:
        ConfigError: `normal` or `freq` does not fit the table.
        DataError: rows that meet, or a grid far too fine, as `on_grid` says.
    """
    inferred = dict(table.layout.inferred)
    step = config.step
    if step not in (None, Step()) and table.layout.time is None:
        raise ConfigError("--freq needs a column of times; name it with --time-col, or leave --freq out")
    if step is None:
        step = common_step(table)
        if table.layout.time is not None:
            inferred["freq"] = f"{step}, " + ("the most common step" if step != Step() else "as no two times differ")
    window, horizon, lengths = _lengths(config, table, step)
    max_gap = config.max_gap
    if max_gap is None:
        max_gap = max(1, window // 10)
        if table.layout.time is not None or not held_by(table.values).all():
            inferred["max_gap"] = count(max_gap, "step")

    def laid(max_gap: int) -> tuple[Grid, NDArray[np.int8], int]:
        grid = on_grid(table, step, max_gap, config)
        part = parts(grid) if parts else parts_of(config, table, grid)
        # A usual window is to come more than once in each part; one that was asked for needs but to fit.
        return grid, part, longest_run(grid, part) // (2 if lengths else 1)

    grid, part, room = laid(max_gap)
    if config.max_gap is None and window + horizon > room:
        for gap in common_gaps(table, slots(table, step), max_gap):
            if window + horizon <= room:
                break
            wider = laid(gap)
            if wider[2] > room:
                max_gap, (grid, part, room) = gap, wider
                inferred["max_gap"] = f"{count(gap, 'step')}, as gaps of that length come again and again"
    run = "the longest run of rows that every part has"
    if (gaps := int((starts_of(grid.segment) & grid.valued).sum()) - len(table.ids)) > 0:
        run += f", as {count(gaps, 'gap')} of more than {count(max_gap, 'step')} part{'s' * (gaps == 1)} them"
    if "horizon" in lengths and horizon > room // 2:
        horizon = max(room // 2, 1)
        lengths["horizon"] = f"{count(horizon, 'step')}, a quarter of {run}"
    if "window" in lengths and window > room - horizon:
        window = max(room - horizon, 2)
        lengths["window"] = f"{window} steps, {'what the horizon leaves of ' * bool(horizon)}half {run}"
    return Prepared(table, grid, part, window, horizon, max_gap, inferred | lengths)


def _lengths(config: Reading, table: Measurements, step: Step) -> tuple[int, int, dict[str, str]]:
    """Steps of the window and of the horizon, and what nobody told of them, in words."""
    window, horizon = config.window, config.horizon
    if window is not None and (horizon is not None or not config.forecasts):
        return window, horizon or 0, {}
    usual = usual_steps(table, step, config.shares[0])
    said = {}
    if horizon is None and config.forecasts:
        horizon, said["horizon"] = usual.season, usual.why
    if window is None:
        window, said["window"] = usual.season, usual.why
        if horizon:
            window = usual.strongest + usual.season
            said["window"] = f"{window} steps, twice {usual.why.replace(' steps', '', 1)}"
            if usual.found:
                said["window"] = (
                    f"{window} steps, so that it holds those {usual.strongest} after which values repeat most"
                )
            if horizon > window:
                window = horizon
                said["window"] = f"{window} steps, as many as the horizon"
    return window, horizon or 0, said


def windows_of(prepared: Prepared, config: Reading) -> tuple[Split, Split, Split]:
    """The three parts, cut into windows; a part may be empty."""
    return tuple(_split(prepared, config, place) for place in range(len(PARTS)))  # type: ignore[return-value]


def load_series(config: Reading, prepared: Prepared, *, folds: bool = False) -> Data:
    """What a model trains on.

    Args:
        folds: whether folds divide the rows, so that no --split does.

    Raises:
        DataError: a part without a window, or a column without a value in the training part.
    """
    train, validation, test = windows_of(prepared, config)
    table = prepared.table
    of = f" of {len(table.ids):,} series" if len(table.ids) > 1 else ""
    names = np.frombuffer("\n".join((*table.ids, *table.layout.values)).encode(), np.uint8)
    source = Source(
        f"{table.name}: {count(len(table.lines), 'row')}{of}",
        fingerprint(names, table.series, table.times, table.values),
        "as given by the file's owner",
        tuple(f"{name}: {words}" for name, words in prepared.inferred.items()),
    )
    symbols = names_of(config, prepared)
    scale = scale_of_training(config, train, table, prepared.window, len(symbols))
    data = Data(train, validation, test, scale, source, symbols, feature_names=table.layout.values)
    several = len(table.ids) >= len(PARTS) and "series" not in (config.split_by, config.scale)
    other = f", another --split{', --split-by series' if several else ''}"
    if folds:
        other = "" if test.samples else ", fewer --folds"
    shorter = f"--window than {prepared.window}"
    if prepared.horizon:
        shorter = f"--horizon than {prepared.horizon}, or {shorter}"
    why, longer = [], ""
    if known := prepared.inferred.get("label_col"):
        why.append(known)
    stretches = int((starts_of(prepared.grid.segment) & prepared.grid.valued).sum())
    if stretches > len(table.ids):
        why.append(f"gaps part the rows into {stretches:,} stretches")
        longer = f"a longer --max-gap (now {prepared.max_gap}), --freq rows, "
    hint = f"{'; '.join(why)}{': ' * bool(why)}give {longer}a shorter {shorter}{other}, or more rows"
    return require_samples(data, hint[0].upper() + hint[1:])


def names_of(config: Reading, prepared: Prepared) -> tuple[str, ...]:
    """The names of the lines of a scale by series, "" the first; empty where another scale is asked for.

    A series has a line where a column of it holds as many training values as a window has steps.
    """
    if config.scale != "series":
        return ()
    grid, ids = prepared.grid, prepared.table.ids
    train = prepared.part == 0
    series, there = grid.series[train], ~np.isnan(grid.values[train])
    most = np.max([np.bincount(series, column, len(ids)) for column in there.T], axis=0)
    return ("", *(name for name, values in zip(ids, most, strict=True) if values >= prepared.window))


def _split(prepared: Prepared, config: Reading, place: int) -> Split:
    grid, span = prepared.grid, prepared.window + prepared.horizon
    rows = np.flatnonzero(prepared.part == place)
    segment = runs_of(grid, prepared.part)[rows]
    values = grid.values[rows]
    starts = window_starts(segment, span, config.stride if place == 0 else 1)
    # A window without any value tells nothing.
    held = np.r_[0, np.cumsum(~np.isnan(values).all(axis=1))]
    starts = starts[held[starts + span] > held[starts]]
    labels = None if grid.labels is None else grid.labels[rows][starts + prepared.window - 1]
    times = None if prepared.table.layout.time is None else grid.times[rows].view("datetime64[ns]")
    symbols = names_of(config, prepared)
    lines = lines_of(symbols, prepared.table.ids)[grid.series[rows]] if symbols else None
    return Split(values, starts, span, segment, lines, times, labels)
