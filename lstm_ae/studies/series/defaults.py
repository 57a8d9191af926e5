"""Choose the options that a config leaves open from the data, so that a run's config is complete."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lstm_ae.config import Reading, Series
from lstm_ae.config.threshold import parse_threshold, rows_of_unit
from lstm_ae.data.checks import (
    check_duplicates,
    check_sparse_grid,
    collect_table_warnings,
    describe_lookahead,
)
from lstm_ae.data.class_labels import choose_classes, drop_unlabeled_windows
from lstm_ae.data.findings import format_options
from lstm_ae.data.grid import find_duplicate_times, grid_slots, map_to_grid_rows
from lstm_ae.data.leakage import describe_lags, describe_leaks, find_leaks
from lstm_ae.data.measurements import Measurements, Progress, read_measurements
from lstm_ae.data.padding import pad_segments
from lstm_ae.data.preparation import PreparedTable, choose_step, load_series, prepare_for_detection, prepare_table
from lstm_ae.data.season import find_column_seasons
from lstm_ae.data.windows import Data
from lstm_ae.detection.calibration import default_smooth
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.forecasting.baselines import choose_seasons
from lstm_ae.formatting import format_count, format_heading

# Numbers of a code, and the share of a window's that it may be at most.
CODE, SHARE = 16, 1 / 3

# Samples in a training step, at most and at least, and the steps that an epoch has.
MOST, LEAST, STEPS = 128, 8, 40

# Rows that the windows of an epoch hold together, at most.
ROWS = 4_000_000


def default_code(config: Series, prepared: PreparedTable) -> tuple[int | None, dict[str, str]]:
    """Numbers of the code, and what is to be said of them, as `Prepared.inferred` has it.

    What is as large as the window gives everything back, also what is unusual.
    """
    if config.task not in ("anomaly", "reconstruct"):
        return None, {}
    numbers = prepared.window * len(prepared.table.layout.values)
    if config.code is None:
        code = min(CODE, max(1, int(numbers * SHARE)))
        few = {"code": f"{format_count(code, 'number')}, a third of the {numbers} of a window"}
        return code, few if code < CODE else {}
    if config.code < numbers:
        return config.code, {}
    words = f"{config.code} are no fewer numbers than the {numbers} of a window, which can give back anything unusual"
    return config.code, {"code": f"{words}; give a smaller --code or a longer --window"}


def default_batch_size(config: Series, windows: int) -> tuple[int, tuple[str, ...]]:
    """Samples in a training step, and a note on them.

    The largest power of 2 that leaves an epoch of so many training windows its steps: in a few large steps a network
    learns less than as many principal components tell.
    """
    if config.batch_size is not None:
        return config.batch_size, ()
    size = MOST
    while size > LEAST and size * STEPS > windows:
        size //= 2
    few = f"batch_size: {size}, as there are {format_count(windows, 'window')} to train on"
    return size, (few,) if size < MOST else ()


def default_epoch_steps(config: Series, batch_size: int, windows: int, span: int) -> tuple[int | None, tuple[str, ...]]:
    """Return the training steps of an epoch, None for all windows, and a note on them.

    Windows that begin a row apart hold nearly the same rows: an epoch of a large table takes some of them, and the next
    epoch others, so that a training does not take hours.

    Args:
        windows: training windows.
        span: rows of a window and what follows it.
    """
    if config.steps_per_epoch is not None or windows * span <= ROWS:
        return config.steps_per_epoch, ()
    steps = max(ROWS // (batch_size * span), 1)
    return steps, (f"steps_per_epoch: {steps:,}, so that an epoch draws {steps * batch_size:,} of {windows:,} windows",)


class CompletedConfig(NamedTuple):
    """A config that leaves nothing to be found out, and the data it makes of its table."""

    config: Series
    data: Data


def load_complete(config: Series, progress: Progress | None = None) -> CompletedConfig:
    """Read the table and settle what the config leaves open.

    Raises:
        ConfigError, DataError: as `read_measurements` and `complete_from_table` say.
    """
    return complete_from_table(config, read_measurements(config, progress))


def complete_from_table(config: Series, table: Measurements) -> CompletedConfig:
    """What the config leaves open is found in the table and written into it, so that it means the same for others.

    Raises:
        ConfigError, DataError: as `require_even`, `prepare` and `load_series` say.
    """
    require_even(config, table)
    inferred: Mapping[str, str] = {}
    if config.task == "classify":
        config, table, inferred = choose_classes(config, table)
    finds = config.task in ("anomaly", "reconstruct")
    prepared = prepare_for_detection(config, table) if finds else prepare_table(config, table)
    return complete_config(config, prepared._replace(inferred={**prepared.inferred, **inferred}))


def complete_config(config: Series, prepared: PreparedTable, *, folds: bool = False) -> CompletedConfig:
    """The same of a table that is on its grid and divided; by `folds` as `load_series` says.

    Raises:
        ConfigError, DataError: as `load_series` says.
    """
    code, said = default_code(config, prepared)
    prepared = prepared._replace(inferred={**prepared.inferred, **said, **collect_table_warnings(config, prepared)})
    short = config.short
    if short and config.split_by != "series":
        raise ConfigError("--short is for whole series; add --split-by series and --id-col, or leave it out")
    if config.task == "classify":
        if config.split_by == "series" and short != "drop":
            prepared = pad_segments(prepared)
    elif config.may_pad:
        whole_rows = len(prepared.part)
        prepared = pad_segments(prepared, "segments")
        # Another table's short series are as unknown to a model that has seen none as any other novelty.
        short = short or ("pad" if len(prepared.part) > whole_rows else "drop")
    layout = prepared.table.layout
    found = dataclasses.replace(
        config,
        **layout.settings,
        time_col=layout.time,
        clock_col=layout.clock,
        value_cols=layout.values,
        code=code,
        id_col=layout.ids,
        label_col=layout.label,
        freq=str(prepared.grid.step),
        window=prepared.window,
        short=short,
        horizon=prepared.horizon or None,
        max_gap=prepared.max_gap,
        smooth=(config.smooth or default_smooth(prepared.window)) if config.task == "anomaly" else None,
    )
    require_complete_windows(config, prepared)
    step = prepared.grid.step.nanoseconds
    if config.task == "anomaly" and config.threshold and (rule := parse_threshold(config.threshold)).kind == "budget":
        # Before a training, not after it.
        rows_of_unit(rule.unit, np.timedelta64(step, "ns") if step else None)
    data = load_series(found, prepared, folds=folds)
    batch_size, words = default_batch_size(config, data.train.samples)
    steps, more = default_epoch_steps(config, batch_size, data.train.samples, data.train.span)
    found = dataclasses.replace(found, batch_size=batch_size, steps_per_epoch=steps)
    data = data._replace(source=data.source._replace(notes=(*data.source.notes, *words, *more)))
    if config.task == "forecast":
        if config.season and config.season > prepared.window:
            raise ConfigError(
                f"--season must fit into the window of {prepared.window} steps. Received: {config.season}"
            )
        seasons: tuple[int | None, ...] = (config.season,) * data.train.features
        if not config.season:
            table, grid = prepared.table, prepared.grid
            training = (prepared.part == 0)[map_to_grid_rows(table, grid)]
            seasons = choose_seasons(data, prepared.window, find_column_seasons(table, grid.step, training))
        # Where columns differ in it the option cannot say so: it stays open, and is found again.
        found = dataclasses.replace(found, season=seasons[0] if len(set(seasons)) == 1 else None)
        data = data._replace(seasons=seasons)
        leaks, names = find_leaks(data, prepared.window), list(map(format_heading, data.feature_names))
        future = describe_leaks([leak for leak in leaks if not leak.lag], names)
        later = describe_lags([leak for leak in leaks if leak.lag], names)
        ahead = "" if config.split_by == "series" else describe_lookahead(data, prepared.window)
        notes = (*data.source.notes, *([f"lags: {later}"] if later else []))
        data = data._replace(source=data.source._replace(notes=notes, leaky="; ".join(filter(None, (ahead, future)))))
    if config.task == "classify":
        data = drop_unlabeled_windows(data, found)
    return CompletedConfig(found, data)


def require_even(config: Reading, table: Measurements) -> None:
    """Refuse to train on a grid that is mostly missing, or on which rows that are apart in time meet.

    Raises:
        ConfigError: `freq` does not fit the table.
        DataError: rows have no regular step, or a far longer or shorter one.
    """
    step = choose_step(config, table)
    places = grid_slots(table, step, follow=config.duplicates == "error")
    found = check_sparse_grid(table, step, places, config)
    clash = find_duplicate_times(table, places) if config.duplicates == "error" else None
    if clash and not clash.same_time:
        found += check_duplicates(table, step, clash, config)
    for finding in found[:1]:
        ways = ", or ".join(map(format_options, finding.fixes))
        raise DataError(f"{table.name}: {finding.text}" + (f". Add {ways}" if ways else ""))


def require_complete_windows(config: Reading, prepared: PreparedTable) -> None:
    """A window that is scaled by its own minimum must have one."""
    if config.scale == "window" and np.isnan(prepared.grid.values).any():
        raise ConfigError("--scale window needs values without gaps; give --scale standard, or fill them first")


def load(config: Series) -> Data:
    """Training, validation and test windows of the table."""
    return load_complete(config).data
