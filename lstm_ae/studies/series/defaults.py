"""Choose the options that a config leaves open from the data, so that a run's config is complete."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lstm_ae.checks.leakage import describe_leaks, find_leaks
from lstm_ae.checks.rules import check_times, format_options
from lstm_ae.checks.table import collect_new_table_warnings, collect_table_warnings, describe_lookahead
from lstm_ae.classification.labels import choose_classes, drop_unlabeled_windows
from lstm_ae.classification.padding import pad_segments
from lstm_ae.config import Reading, Series
from lstm_ae.config.threshold import parse_threshold, rows_of_unit
from lstm_ae.data.columns import Layout
from lstm_ae.data.grid import common_step
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import (
    PreparedTable,
    choose_step,
    load_series,
    prepare_table,
)
from lstm_ae.data.season import USUAL_MULTIPLES, find_column_seasons, usual_season
from lstm_ae.data.split import TEST
from lstm_ae.data.table_reader import Progress, read_panel
from lstm_ae.data.windows import Data, hash_panel, window_starts
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.forecasting.baselines import choose_seasons
from lstm_ae.formatting import format_count, format_heading
from lstm_ae.json_types import JsonObject
from lstm_ae.studies.networks import choose_networks

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
        notes = {"code": f"{format_count(code, 'number')}, a third of the {values} of a window"}
        return code, notes if code < CODE_SIZE else {}
    if config.code < values:
        return config.code, {}
    problem = f"{config.code} numbers for the {values} values of a window, which reconstruct anomalies as well"
    return config.code, {"code": f"{problem}. Pass a smaller --code or a longer --window"}


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
    note = f"batch_size: {size}, as there are {format_count(windows, 'window')} to train on"
    return size, (note,) if size < MAX_BATCH_SIZE else ()


def default_epoch_steps(config: Series, batch_size: int, windows: int, span: int) -> tuple[int | None, tuple[str, ...]]:
    """Return the training steps of an epoch, None for all windows, and notes on them.

    Consecutive windows share nearly all of their rows. Each epoch of a large table therefore uses a random sample of
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


# Largest share of the windows of a test table that may also be training windows; with more, it does not test.
MAX_KNOWN_SHARE = 0.5


class CompletedConfig(NamedTuple):
    """A config without open options, and the data of its table."""

    config: Series
    data: Data


def load_complete(config: Series, progress: Progress | None = None) -> CompletedConfig:
    """Read the table, and that of the test split if there is one, and choose the options that the config leaves open.

    Raises:
        ConfigError, DataError: as in `read_panel` and `complete_from_table`.
    """
    table, test = read_panel(config, progress), None
    if config.test is not None:
        reading = dataclasses.replace(config, **_column_options(table.layout), data=config.test, test=None)
        test = read_panel(reading, progress, use="run")
    return complete_from_table(config, table, test)


def load(config: Series) -> Data:
    """Read the table and return its training, validation, and test windows."""
    return load_complete(config).data


def complete_from_table(config: Series, table: Panel, test: Panel | None = None) -> CompletedConfig:
    """Choose the options that the config leaves open from the table, so that the config alone determines a training.

    Args:
        config: config of the training.
        table: the table.
        test: table of the test split, read with the columns of `table`; None if the split consists of rows of `table`.

    Raises:
        ConfigError, DataError: as in `require_regular`, `prepare_table`, and `load_series`.
    """
    require_regular(config, table)
    inferred: Mapping[str, str] = {}
    if config.task == "classify":
        settings, table, inferred, test = choose_classes(config, table, test)
        config = dataclasses.replace(config, **settings)
    prepared = prepare_table(config, table)
    return complete_config(config, prepared._replace(inferred={**prepared.inferred, **inferred}), test)


def complete_config(config: Series, prepared: PreparedTable, test: Panel | None = None) -> CompletedConfig:
    """Choose the options that the config leaves open from a table that is on its grid and split.

    Args:
        config: config of the training.
        prepared: the table.
        test: table of the test split; None if the split consists of rows of the table.

    Raises:
        ConfigError, DataError: as in `load_series`, or the table of the test split does not fit the other one.
    """
    code, code_notes = default_code(config, prepared)
    prepared = prepared._replace(
        inferred={**prepared.inferred, **code_notes, **collect_table_warnings(config, prepared)}
    )
    if config.task == "classify" and config.split_by == "series":
        prepared = pad_segments(prepared)
    completed = dataclasses.replace(
        config,
        **_column_options(prepared.table.layout),
        code=code,
        freq=str(prepared.step),
        window=prepared.window,
        horizon=prepared.horizon or None,
        max_gap=prepared.max_gap,
    )
    require_complete_windows(config, prepared)
    step = prepared.step.nanoseconds
    if config.task == "anomaly" and config.threshold and (rule := parse_threshold(config.threshold)).kind == "budget":
        # Report a budget that does not fit the sampling interval before the training.
        rows_of_unit(rule.unit, np.timedelta64(step, "ns") if step else None)
    test_table = None if test is None else _prepare_test(completed, prepared, test)
    data = load_series(completed, prepared, test_table)
    if test_table is not None:
        data = _add_test_notes(data, prepared.table, test_table)
    batch_size, batch_notes = default_batch_size(config, data.train.samples)
    steps, step_notes = default_epoch_steps(config, batch_size, data.train.samples, data.train.span)
    completed = dataclasses.replace(completed, batch_size=batch_size, steps_per_epoch=steps)
    completed, data = choose_networks(completed, data.annotate(*batch_notes, *step_notes))
    if config.task == "forecast":
        if config.season and config.season > prepared.window:
            raise ConfigError(
                f"--set season must fit into the window of {prepared.window} steps. Received: {config.season}"
            )
        require_segment_fits(completed)
        seasons: tuple[int | None, ...] = (config.season,) * data.targets
        if not config.season:
            usual = usual_season(prepared.step)
            multiples = range(usual, (USUAL_MULTIPLES + 1) * usual, usual) if usual else ()
            detected = find_column_seasons(prepared.grid, prepared.step, prepared.split == 0)
            seasons = choose_seasons(data, prepared.window, detected, multiples)
        # The option holds one season. If columns differ, it stays open, and metrics.json has the seasons.
        completed = dataclasses.replace(completed, season=seasons[0] if len(set(seasons)) == 1 else None)
        data = data._replace(seasons=seasons)
        # A column that is known in advance may contain the future.
        observed = data.train.features - data.covariates.known
        leaks = find_leaks(data, prepared.window, targets=data.targets, columns=observed, copies=False)
        future = describe_leaks(leaks, list(map(format_heading, data.feature_names)))
        held_out = config.split_by == "series" if test is None else not set(prepared.table.ids) & set(test.ids)
        ahead = "" if held_out else describe_lookahead(data, prepared.window, test_table=test is not None)
        data = data.annotate(leaky=(ahead, future))
    if config.task == "classify":
        data = drop_unlabeled_windows(data, completed)
    return CompletedConfig(completed, data)


def _column_options(layout: Layout) -> JsonObject:
    """Return the options that read another table in the same way as the table with this layout."""
    return {
        **layout.settings,
        "time_col": layout.time,
        "value_cols": layout.targets,
        "id_col": layout.ids,
        "label_col": layout.label,
    }


def _prepare_test(config: Series, prepared: PreparedTable, test: Panel) -> PreparedTable:
    """Prepare the table of the test split.

    Args:
        config: complete config of the training.
        prepared: the table to train on.
        test: table of the test split.

    Raises:
        ConfigError, DataError: as in `require_regular` and `prepare_table`, or the sampling intervals differ.
    """
    step, test_step = prepared.step, common_step(test)
    if step.size and test_step.size >= 1.5 * step.size:
        raise DataError(
            f"The rows of {test.name}, the table of --test, are {test_step.text} apart, but those of "
            f"{prepared.table.name} are {step.text} apart. Pass a table with the same sampling interval",
            code=Code.TIME_ORDER,
        )
    require_regular(config, test)
    tested = prepare_table(config, test, lambda grid: np.full(len(grid.series), TEST, np.int8))
    tested = tested._replace(required=range(TEST, TEST + 1))
    if config.task == "classify" and config.split_by == "series":
        tested = pad_segments(tested)
    require_complete_windows(config, tested)
    return tested


def _add_test_notes(data: Data, table: Panel, tested: PreparedTable) -> Data:
    """Return the data with notes on the table of its test split, which is leaky if it repeats training windows.

    Args:
        data: the data.
        table: the table to train on.
        tested: the table of the test split.

    Raises:
        DataError: most windows of the test table are training or validation windows.
    """
    known, windows = _count_known_windows(data, tested)
    name = tested.table.name
    if hash_panel(table) == hash_panel(tested.table) or known > MAX_KNOWN_SHARE * windows:
        raise DataError(
            f"Most windows of {name}, the table of --test, are windows of {table.name} as well. Pass a table of other "
            "rows, or omit --test to divide the rows of one table",
            code=Code.OTHER_DATA,
        )
    leaky = ""
    if known:
        leaky = f"{known:,} of {format_count(windows, 'window')} of {name} equal windows of the training data"
    warnings = collect_new_table_warnings(tested, data.scale, data.symbols)
    return data.annotate(*(f"test: {text}" for text in warnings), leaky=(leaky,))


def _count_known_windows(data: Data, tested: PreparedTable) -> tuple[int, int]:
    """Return the number of windows of a table that equal a varying training or validation window, and of all."""
    known = {
        hash(window.tobytes())
        for split in (data.train, data.validation)
        for index in split.batches()
        for window in split.windows(index)
        if np.ptp(window, axis=0).any()
    }
    span = tested.window + tested.horizon
    starts = window_starts(tested.grid.segment, span)
    windows = (np.ascontiguousarray(tested.grid.values[start : start + span]).tobytes() for start in starts.tolist())
    return sum(hash(window) in known for window in windows), len(starts)


def require_regular(config: Reading, table: Panel) -> None:
    """Check that the rows have a regular sampling interval.

    Raises:
        ConfigError: `freq` does not fit the table.
        DataError: most rows of the grid would be missing, or rows of different times would share a row of the grid.
    """
    for finding in check_times(config, table, choose_step(config, table)):
        ways = ", or ".join(map(format_options, finding.fixes))
        raise DataError(f"{table.name}: {finding.text}" + (f". Add {ways}" if ways else ""), code=Code.TIME_ORDER)


def require_complete_windows(config: Reading, prepared: PreparedTable) -> None:
    """Raise `ConfigError` if each window is scaled by its own range and the table has missing values."""
    if config.scale == "window" and np.isnan(prepared.grid.values).any():
        raise ConfigError(
            "--scale window needs values without gaps. Fill the missing values, or train with --scale standard",
            code=Code.MISSING_OPTION,
        )


def require_segment_fits(config: Series) -> None:
    """Raise `ConfigError` if a recurrent step would read more rows than a window has."""
    if config.window is not None and config.segment > config.window:
        raise ConfigError(f"--segment must be at most the window of {config.window} steps. Received: {config.segment}")
