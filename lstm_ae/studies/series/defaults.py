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
from lstm_ae.data.padding import pad_segments
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import PreparedTable, choose_step, load_series, prepare_for_detection, prepare_table
from lstm_ae.data.season import find_column_seasons
from lstm_ae.data.table_reader import Progress, read_panel
from lstm_ae.data.windows import Data
from lstm_ae.detection.calibration import default_smooth
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.forecasting.baselines import choose_seasons
from lstm_ae.formatting import format_count, format_heading

# Default size of a code, and its largest share of the values of a window.
CODE_SIZE, CODE_SHARE = 16, 1 / 3

# Largest and smallest default batch size, and the training steps that an epoch should have.
MAX_BATCH_SIZE, MIN_BATCH_SIZE, EPOCH_STEPS = 128, 8, 40

# Largest number of rows in all windows of an epoch.
MAX_EPOCH_ROWS = 4_000_000


def default_code_size(values: int) -> int:
    """Return the default size of a code for windows of this number of values."""
    return min(CODE_SIZE, max(1, int(values * CODE_SHARE)))


def default_code(config: Series, prepared: PreparedTable) -> tuple[int | None, dict[str, str]]:
    """Return the size of the code and notes on it by option; None for tasks without a code.

    A code as large as the window would reconstruct everything, including anomalies.
    """
    if config.task not in ("anomaly", "reconstruct"):
        return None, {}
    values = prepared.window * len(prepared.table.layout.values)
    if config.code is None:
        code = default_code_size(values)
        few = {"code": f"{format_count(code, 'number')}, a third of the {values} of a window"}
        return code, few if code < CODE_SIZE else {}
    if config.code < values:
        return config.code, {}
    words = f"{config.code} are no fewer numbers than the {values} of a window, which can give back anything unusual"
    return config.code, {"code": f"{words}. Pass a smaller --code or a longer --window"}


def default_batch_size(config: Series, windows: int) -> tuple[int, tuple[str, ...]]:
    """Return the batch size and notes on it.

    It is the largest power of 2 with which an epoch has `EPOCH_STEPS` steps. With fewer and larger steps, a network
    learns less than principal components of the same code size.
    """
    if config.batch_size is not None:
        return config.batch_size, ()
    size = MAX_BATCH_SIZE
    while size > MIN_BATCH_SIZE and size * EPOCH_STEPS > windows:
        size //= 2
    few = f"batch_size: {size}, as there are {format_count(windows, 'window')} to train on"
    return size, (few,) if size < MAX_BATCH_SIZE else ()


def default_epoch_steps(config: Series, batch_size: int, windows: int, span: int) -> tuple[int | None, tuple[str, ...]]:
    """Return the training steps of an epoch, None for all windows, and notes on them.

    Consecutive windows share nearly all of their rows. Each epoch of a large table therefore uses a random part of
    them, so that a training does not take hours.

    Args:
        config: config of the training.
        batch_size: batch size.
        windows: number of training windows.
        span: rows of a window and of the horizon after it.
    """
    if config.steps_per_epoch is not None or windows * span <= MAX_EPOCH_ROWS:
        return config.steps_per_epoch, ()
    steps = max(MAX_EPOCH_ROWS // (batch_size * span), 1)
    return steps, (f"steps_per_epoch: {steps:,}, so that an epoch draws {steps * batch_size:,} of {windows:,} windows",)


class CompletedConfig(NamedTuple):
    """A config without open options, and the data that it makes of its table."""

    config: Series
    data: Data


def load_complete(config: Series, progress: Progress | None = None) -> CompletedConfig:
    """Read the table and choose the options that the config leaves open.

    Raises:
        ConfigError, DataError: as in `read_panel` and `complete_from_table`.
    """
    return complete_from_table(config, read_panel(config, progress))


def complete_from_table(config: Series, table: Panel) -> CompletedConfig:
    """Choose the options that the config leaves open from the table, so that the config alone determines a training.

    Raises:
        ConfigError, DataError: as in `require_regular`, `prepare_table`, and `load_series`.
    """
    require_regular(config, table)
    inferred: Mapping[str, str] = {}
    if config.task == "classify":
        config, table, inferred = choose_classes(config, table)
    reconstructs = config.task in ("anomaly", "reconstruct")
    prepared = prepare_for_detection(config, table) if reconstructs else prepare_table(config, table)
    return complete_config(config, prepared._replace(inferred={**prepared.inferred, **inferred}))


def complete_config(config: Series, prepared: PreparedTable, *, folds: bool = False) -> CompletedConfig:
    """Choose the options that the config leaves open from a table that is on its grid and split.

    Args:
        config: config of the training.
        prepared: the table.
        folds: see `load_series`.

    Raises:
        ConfigError, DataError: as in `load_series`.
    """
    code, code_notes = default_code(config, prepared)
    prepared = prepared._replace(
        inferred={**prepared.inferred, **code_notes, **collect_table_warnings(config, prepared)}
    )
    short = config.short
    if short and config.split_by != "series":
        raise ConfigError(
            "--short is for whole series; add --split-by series and --id-col, or leave it out",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    if config.task == "classify":
        if config.split_by == "series" and short != "drop":
            prepared = pad_segments(prepared)
    elif config.may_pad:
        whole_rows = len(prepared.part)
        prepared = pad_segments(prepared, "segments")
        # A model that was trained without short series has not learned to read padded ones.
        short = short or ("pad" if len(prepared.part) > whole_rows else "drop")
    layout = prepared.table.layout
    completed = dataclasses.replace(
        config,
        **layout.settings,
        time_col=layout.time,
        clock_col=layout.clock,
        value_cols=layout.values,
        code=code,
        id_col=layout.ids,
        label_col=layout.label,
        freq=str(prepared.step),
        window=prepared.window,
        short=short,
        horizon=prepared.horizon or None,
        max_gap=prepared.max_gap,
        smooth=(config.smooth or default_smooth(prepared.window)) if config.task == "anomaly" else None,
    )
    require_complete_windows(config, prepared)
    step = prepared.step.nanoseconds
    if config.task == "anomaly" and config.threshold and (rule := parse_threshold(config.threshold)).kind == "budget":
        # Report a budget that does not fit the sampling interval before the training.
        rows_of_unit(rule.unit, np.timedelta64(step, "ns") if step else None)
    data = load_series(completed, prepared, folds=folds)
    batch_size, batch_notes = default_batch_size(config, data.train.samples)
    steps, step_notes = default_epoch_steps(config, batch_size, data.train.samples, data.train.span)
    completed = dataclasses.replace(completed, batch_size=batch_size, steps_per_epoch=steps)
    data = data._replace(source=data.source._replace(notes=(*data.source.notes, *batch_notes, *step_notes)))
    if config.task == "forecast":
        if config.season and config.season > prepared.window:
            raise ConfigError(
                f"--season must fit into the window of {prepared.window} steps. Received: {config.season}"
            )
        seasons: tuple[int | None, ...] = (config.season,) * data.train.features
        if not config.season:
            table, grid = prepared.table, prepared.grid
            training = (prepared.part == 0)[map_to_grid_rows(table, grid, prepared.step)]
            seasons = choose_seasons(data, prepared.window, find_column_seasons(table, prepared.step, training))
        # The option holds one season. If columns differ, it stays open, and metrics.json has the seasons.
        completed = dataclasses.replace(completed, season=seasons[0] if len(set(seasons)) == 1 else None)
        data = data._replace(seasons=seasons)
        leaks, names = find_leaks(data, prepared.window), list(map(format_heading, data.feature_names))
        future = describe_leaks([leak for leak in leaks if not leak.lag], names)
        later = describe_lags([leak for leak in leaks if leak.lag], names)
        ahead = "" if config.split_by == "series" else describe_lookahead(data, prepared.window)
        notes = (*data.source.notes, *([f"lags: {later}"] if later else []))
        data = data._replace(source=data.source._replace(notes=notes, leaky="; ".join(filter(None, (ahead, future)))))
    if config.task == "classify":
        data = drop_unlabeled_windows(data, completed)
    return CompletedConfig(completed, data)


def require_regular(config: Reading, table: Panel) -> None:
    """Check that the rows have a regular sampling interval.

    Raises:
        ConfigError: `freq` does not fit the table.
        DataError: most rows of the grid would be missing, or rows of different times would share a row of the grid.
    """
    step = choose_step(config, table)
    places = grid_slots(table, step, follow=config.duplicates == "error")
    findings = check_sparse_grid(table, step, places, config)
    clash = find_duplicate_times(table, places) if config.duplicates == "error" else None
    if clash and not clash.same_time:
        findings += check_duplicates(table, step, clash, config)
    for finding in findings[:1]:
        ways = ", or ".join(map(format_options, finding.fixes))
        raise DataError(f"{table.name}: {finding.text}" + (f". Add {ways}" if ways else ""), code=Code.CELL_VALUE)


def require_complete_windows(config: Reading, prepared: PreparedTable) -> None:
    """Raise `ConfigError` if each window is scaled by its own range and the table has missing values."""
    if config.scale == "window" and np.isnan(prepared.grid.values).any():
        raise ConfigError(
            "--scale window needs values without gaps. Pass --scale standard, or fill them first",
            code=Code.MISSING_OPTION,
        )
