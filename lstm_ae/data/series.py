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
from lstm_ae.data.cadence import common_step, starts_of
from lstm_ae.data.classes import drawn
from lstm_ae.data.forms import form_of
from lstm_ae.data.grid import Grid, held_by, on_grid
from lstm_ae.data.instants import BadCell, read_moments
from lstm_ae.data.measurements import Measurements
from lstm_ae.data.scales import lines_of, scale_of_training
from lstm_ae.data.season import usual_steps
from lstm_ae.data.selection import count
from lstm_ae.data.windows import Data, Source, Split, fingerprint, require_samples, window_starts
from lstm_ae.data.zones import to_utc
from lstm_ae.errors import ConfigError, DataError

PARTS = ("training", "validation", "test")
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
    grid = on_grid(table, step, max_gap, config)
    part = parts(grid) if parts else _parts(config, table, grid)
    room = _room(grid, part)
    if "horizon" in lengths and horizon > room // 2:
        horizon = max(room // 2, 1)
        lengths["horizon"] = f"{count(horizon, 'step')}, a quarter of the longest run of rows that every part has"
    if "window" in lengths and window > room - horizon:
        window = max(room - horizon, 2)
        less = " less the horizon" if horizon else ""
        lengths["window"] = f"{window} steps, half the longest run of rows that every part has{less}"
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
            window = max(usual.strongest + usual.season, horizon)
            said["window"] = f"{window} steps, so that it holds those {usual.strongest} after which values repeat most"
    return window, horizon or 0, said


def windows_of(prepared: Prepared, config: Reading) -> tuple[Split, Split, Split]:
    """The three parts, cut into windows; a part may be empty."""
    return tuple(_split(prepared, config, place) for place in range(len(PARTS)))  # type: ignore[return-value]


def load_series(config: Reading, prepared: Prepared) -> Data:
    """What a model trains on.

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
    several = len(table.ids) >= len(PARTS) and config.split_by != "series"
    whole = ", --split-by series" if several else ""
    shorter = f"--window than {prepared.window}"
    if prepared.horizon:
        shorter = f"--horizon than {prepared.horizon}, or {shorter}"
    give, stretches = "Give", int((starts_of(prepared.grid.segment) & prepared.grid.valued).sum())
    if stretches > len(table.ids):
        gaps = f"Gaps part the rows into {stretches:,} stretches"
        give = f"{gaps}: give a longer --max-gap (now {prepared.max_gap}), --freq rows,"
    return require_samples(data, f"{give} a shorter {shorter}, another --split{whole}, or more rows")


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


def _parts(config: Reading, table: Measurements, grid: Grid) -> NDArray[np.int8]:
    """The part of each row of the grid."""
    normal = _normal(config, table, grid)
    shares = np.array(config.shares)
    if normal is None:
        inside = np.ones(len(grid.series), bool)
    else:
        # Training and validation share what is normal; the rest is the test.
        inside, shares = normal, np.r_[shares[:2] / shares[:2].sum(), 0]
    cuts = np.cumsum(shares)[:2]
    if config.split_by == "series":
        placed = drawn(table)[grid.series]
    else:
        counted = np.cumsum(inside)
        first = starts_of(grid.series)
        before = (counted - inside)[first][np.cumsum(first) - 1]
        rows = np.bincount(grid.series, weights=inside, minlength=len(table.ids))[grid.series]
        placed = (counted - before - 0.5) / np.maximum(rows, 1)
    part = np.searchsorted(cuts, placed, side="right").astype(np.int8)
    if normal is not None:
        part = np.minimum(part, 1)
        part[~inside] = 2
    return part


def _normal(config: Reading, table: Measurements, grid: Grid) -> NDArray[np.bool_] | None:
    """The rows within the ranges known to be normal; None where all are."""
    if not config.normal:
        return None
    inside = np.zeros(len(grid.times), bool)
    for text in config.normal:
        start, _, end = (piece.strip() for piece in text.partition(".."))
        low = _bound(start, text, config, table) if start else np.iinfo(np.int64).min
        high = _bound(end, text, config, table) if end else np.iinfo(np.int64).max
        if low >= high:
            raise ConfigError(f"--normal {text} ends before it starts. Give START..END with START first")
        inside |= (grid.times >= low) & (grid.times < high)
    if not inside.any():
        raise ConfigError(
            f"--normal {', '.join(config.normal)} holds no row of {table.name}. Give times within its own"
        )
    return inside


def _bound(text: str, whole: str, config: Reading, table: Measurements) -> int:
    if table.layout.time is None:
        if not text.isdigit():
            raise ConfigError(f"--normal must name rows, as in 0..5000, as the table has no times. Received: {whole}")
        return int(text)
    order = table.layout.form.order if table.layout.form else None
    try:
        form = form_of([text], "--normal", order=config.date_order or order or "dmy")
        if form is None or form.unit:
            raise BadCell(0, "")
        moment = read_moments([text], form)
    except (BadCell, DataError):
        raise ConfigError(f"--normal must be times, as in 2014-04-01..2014-04-10 12:00. Received: {whole}") from None
    if config.zone is not None and config.time_zone is not None and not form.aware:
        moment, _ = to_utc(moment, config.zone)
    return int(moment[0])


def _runs(grid: Grid, part: NDArray[np.int8]) -> NDArray[np.int32]:
    """A number for each run of rows in one segment and one part, `(rows,)`."""
    begins = np.r_[True, (grid.segment[1:] != grid.segment[:-1]) | (part[1:] != part[:-1])]
    return np.cumsum(begins, dtype=np.int32) - 1


def _room(grid: Grid, part: NDArray[np.int8]) -> int:
    """Half the longest run of rows that every part has without a long gap."""
    runs = _runs(grid, part)
    lengths = np.bincount(runs)
    first = starts_of(runs)
    of, held = part[first], grid.valued[first]
    longest = [int(lengths[held & (of == place)].max(initial=0)) for place in range(len(PARTS))]
    return min(longest) // 2


def _split(prepared: Prepared, config: Reading, place: int) -> Split:
    grid, span = prepared.grid, prepared.window + prepared.horizon
    rows = np.flatnonzero(prepared.part == place)
    segment = _runs(grid, prepared.part)[rows]
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
