"""What a config leaves open is found in the table, so that a run's config means the same for whoever comes later."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.anomaly.normal import usual_smooth
from lstm_ae.config import Reading, Series
from lstm_ae.config.reading import REREAD
from lstm_ae.config.rules import parse_threshold, rows_of_unit
from lstm_ae.data.cadence import slots
from lstm_ae.data.classes import labelled, of_known_classes
from lstm_ae.data.findings import mostly_missing
from lstm_ae.data.grid import rows_of
from lstm_ae.data.known import prepare_normal
from lstm_ae.data.leakage import describe_leaks, find_leaks
from lstm_ae.data.measurements import Measurements, Progress, read_measurements
from lstm_ae.data.padding import padded
from lstm_ae.data.remarks import looking_ahead, of_another_step, remarks
from lstm_ae.data.season import seasons_of
from lstm_ae.data.series import Prepared, load_series, prepare, step_of
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.options import flag
from lstm_ae.run import Run
from lstm_ae.seasonal import choose_seasons
from lstm_ae.tasks.series.sizes import usual_batch, usual_code, usual_epoch
from lstm_ae.words import heading


class Settled(NamedTuple):
    """A config that leaves nothing to be found out, and the data it makes of its table."""

    config: Series
    data: Data


def settle(config: Series, progress: Progress | None = None) -> Settled:
    """Read the table and settle what the config leaves open.

    Raises:
        ConfigError, DataError: as `read_measurements` and `settle_table` say.
    """
    return settle_table(config, read_measurements(config, progress))


def settle_table(config: Series, table: Measurements) -> Settled:
    """What the config leaves open is found in the table and written into it, so that it means the same for others.

    Raises:
        ConfigError, DataError: as `require_even`, `prepare` and `load_series` say.
    """
    require_even(config, table)
    inferred: Mapping[str, str] = {}
    if config.task == "classify":
        config, table, inferred = labelled(config, table)
    finds = config.task in ("anomaly", "reconstruct")
    prepared = prepare_normal(config, table) if finds else prepare(config, table)
    return settle_prepared(config, prepared._replace(inferred={**prepared.inferred, **inferred}))


def settle_prepared(config: Series, prepared: Prepared, *, folds: bool = False) -> Settled:
    """The same of a table that is on its grid and divided; by `folds` as `load_series` says.

    Raises:
        ConfigError, DataError: as `load_series` says.
    """
    code, said = usual_code(config, prepared)
    prepared = prepared._replace(inferred={**prepared.inferred, **said, **remarks(config, prepared)})
    short = config.short
    if short and config.split_by != "series":
        raise ConfigError("--short is for whole series; add --split-by series and --id-col, or leave it out")
    if config.task == "classify":
        if config.split_by == "series" and short != "drop":
            prepared = padded(prepared)
    elif config.may_pad:
        whole_rows = len(prepared.part)
        prepared = padded(prepared, "segments")
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
        smooth=(config.smooth or usual_smooth(prepared.window)) if config.task == "anomaly" else None,
    )
    require_whole(config, prepared)
    step = prepared.grid.step.nanoseconds
    if config.task == "anomaly" and config.threshold and (rule := parse_threshold(config.threshold)).kind == "budget":
        # Before a training, not after it.
        rows_of_unit(rule.unit, np.timedelta64(step, "ns") if step else None)
    data = load_series(found, prepared, folds=folds)
    batch_size, words = usual_batch(config, data.train.samples)
    steps, more = usual_epoch(config, batch_size, data.train.samples, data.train.span)
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
            training = (prepared.part == 0)[rows_of(table, grid)]
            seasons = choose_seasons(data, prepared.window, seasons_of(table, grid.step, training))
        # Where columns differ in it the option cannot say so: it stays open, and is found again.
        found = dataclasses.replace(found, season=seasons[0] if len(set(seasons)) == 1 else None)
        data = data._replace(seasons=seasons)
        future = describe_leaks(find_leaks(data, prepared.window), list(map(heading, data.feature_names)))
        ahead = "" if config.split_by == "series" else looking_ahead(data, prepared.window)
        data = data._replace(source=data.source._replace(leaky="; ".join(filter(None, (ahead, future)))))
    if config.task == "classify":
        data = of_known_classes(data, found)
    return Settled(found, data)


def config_of(run: Run, *tasks: str) -> Series:
    """A run's config; raises `ConfigError` where it was trained for none of these tasks."""
    config = run.config()
    assert isinstance(config, Series)
    if config.task not in tasks:
        raise ConfigError(
            f"{str(run.directory)!r} is a run of --task {config.task}; give one of --task {' or '.join(tasks)}"
        )
    return config


def require_even(config: Reading, table: Measurements) -> None:
    """Refuse to train on a grid that is mostly missing.

    Raises:
        ConfigError: `freq` does not fit the table.
        DataError: rows have no regular step, or a far longer one.
    """
    step = step_of(config, table)
    for finding in mostly_missing(table, step, slots(table, step, follow=config.duplicates == "error"), config):
        ways = [" ".join(f"{flag(name)} {value}" for name, value in fix.items()) for fix in finding.fixes]
        raise DataError(f"{table.name}: {finding.text}. Add {', or '.join(ways)}")


def require_whole(config: Reading, prepared: Prepared) -> None:
    """A window that is scaled by its own minimum must have one."""
    if config.scale == "window" and np.isnan(prepared.grid.values).any():
        raise ConfigError("--scale window needs values without gaps; give --scale standard, or fill them first")


def load(config: Series) -> Data:
    """Training, validation and test windows of the table."""
    return settle(config).data


def read_as(config: Series, reading: Mapping[str, Any] | None) -> Series:
    """A run's config, to read a table that is written otherwise than the run's own.

    Args:
        reading: choices, by field, of those in `REREAD`. Words for a missing value, and units of columns, are added to
            those of the run; a mark of decimals or of thousands takes the place of both of the run's.

    Raises:
        ConfigError: a choice that is none of them, or is not allowed.
    """
    reading = reading or {}
    for name in reading:
        if name not in REREAD:
            raise ConfigError(
                f"{flag(name)} is of a training; of another table there are {', '.join(map(flag, REREAD))}"
            )
    changed = dict(reading)
    if {"decimal", "thousands"} & set(reading):
        changed = {"decimal": None, "thousands": None, **reading}
    changed["missing"] = (*config.missing, *reading.get("missing", ()))
    told = {item.rpartition("=")[0] for item in reading.get("column_units", ())}
    kept = (item for item in config.column_units if item.rpartition("=")[0] not in told)
    changed["column_units"] = (*kept, *reading.get("column_units", ()))
    return dataclasses.replace(config, **changed)


def reading_of(config: Series, data: str | None, label_col: str | None = None) -> Reading:
    """How a run's config says that another table is read; its labels, where there are any, are in `label_col`."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(Reading)}
    return Reading(**values | {"data": data, "label_col": label_col, "horizon": None, "normal": ()})


def table_of(config: Series, progress: Progress | None = None) -> Prepared:
    """A table read as a run's config says, to be searched."""
    return whole(config, read_measurements(config, progress, of_run=True))


def whole(config: Series, table: Measurements) -> Prepared:
    """A table put on a grid as a run's config says; its own windows and parts mean nothing.

    Where the run was trained so, segments shorter than a window have missing rows before them, see `padded`.

    Raises:
        DataError: no window fits into it; or as `prepare` says.
    """
    prepared = prepare(dataclasses.replace(config, normal=()), table)
    if config.short == "pad":
        prepared = padded(prepared, "segments")
    if not (np.bincount(prepared.grid.segment[prepared.grid.valued]) >= prepared.window).any():
        other = of_another_step(prepared)
        raise DataError(
            f"{table.name} has no run of {prepared.window} rows without a long gap, as a window needs; give more rows"
            + (f". {other}" if other else "")
        )
    require_whole(config, prepared)
    return prepared
