"""Read a table with the settings of a trained run, for every task."""

import dataclasses
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstm_ae.checks.table import describe_step_change
from lstm_ae.config import Reading, Series
from lstm_ae.config.options import flag_name
from lstm_ae.config.reading import REREAD
from lstm_ae.data.anomaly_labels import encode_anomaly_labels
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import PreparedTable, prepare_table
from lstm_ae.data.scaling import SeriesScales
from lstm_ae.data.table_reader import Progress, read_panel
from lstm_ae.data.time_zones import format_time
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.model_store import FittedModel, ModelStore
from lstm_ae.models.sliding import SlidingAutoencoder, slide
from lstm_ae.studies.series.defaults import require_complete_windows

if TYPE_CHECKING:
    import pyarrow


class TableRequest(NamedTuple):
    """A table to apply a run to.

    Args:
        data: The table, with the columns of the training table in any order.
        label_col: Column of known anomalies, with the values 0 and 1, or false and true; for classifiers, of known
            classes.
        reading: Reading options that differ from the run's, see `read_with_run_config`.
        progress: Function that is called with the number of rows read and the share of the file.
    """

    data: str
    label_col: str | None = None
    reading: JsonMapping | None = None
    progress: Progress | None = None


@dataclasses.dataclass(frozen=True)
class LoadedRun:
    """A run in memory, ready to be applied to any number of tables.

    Args:
        config: The run's settings, with the reading options of the tables.
        scales: The scales of the series.
    """

    config: Series
    scales: SeriesScales

    def read(self, request: TableRequest) -> PreparedTable:
        """Read a table and put it on its time grid; see `read_run_table` and `prepare_run_table`."""
        return prepare_run_table(self.config, read_run_table(self.config, request))


def run_config(run: ModelStore, *tasks: str, reading: JsonMapping | None = None) -> Series:
    """Return the config of a run, with other reading options.

    Args:
        run: A run on tables.
        tasks: The accepted tasks; none for all.
        reading: Reading options that differ from the run's, see `read_with_run_config`.

    Raises:
        ConfigError: If the run is of another study or task, or a reading option is not allowed.
    """
    config = run.config()
    if not isinstance(config, Series):
        raise ConfigError(
            f"{run.name!r} is not a run on a table. Pass a run of lstmae series train", code=Code.RUN_MISMATCH
        )
    if tasks and config.task not in tasks:
        raise ConfigError(
            f"{run.name!r} is a run of --task {config.task}. Pass one of --task {' or '.join(tasks)}",
            code=Code.RUN_MISMATCH,
        )
    return read_with_run_config(config, reading)


def slide_run(run: ModelStore, config: Series, *, repeated: bool = False) -> SlidingAutoencoder:
    """Return the autoencoder of a run for sliding windows.

    A command applies a run directory to a table once, so it should start quickly. A model in memory is applied many
    times, and equal rows must give equal results each time, so the kernels compute all of its windows.

    Args:
        run: A run with an autoencoder.
        config: Its config.
        repeated: Whether the autoencoder is applied many times, as to the rows of a stream.
    """
    return slide(run.network(), config, repeated=repeated or isinstance(run, FittedModel))


def read_with_run_config(config: Series, reading: JsonMapping | None) -> Series:
    """Return a run's config for a table whose format differs from that of the run's own.

    Args:
        config: The run's settings.
        reading: Options by field, of those in `REREAD`. Words for a missing value are added to those of the run, and a
            time format replaces the options that it excludes, and the other way around.

    Raises:
        ConfigError: If an option is not in `REREAD` or its value is not allowed.
    """
    reading = reading or {}
    for name in reading:
        if name not in REREAD:
            raise ConfigError(
                f"{flag_name(name)} applies to trainings only. Another table takes {', '.join(map(flag_name, REREAD))}",
                code=Code.OPTION_NOT_APPLICABLE,
            )
    options = dict(reading)
    if "time_format" in reading:
        options = {"date_order": None, "time_unit": None, **options}
    elif {"date_order", "time_unit"} & set(reading):
        options["time_format"] = None
    options["missing"] = (*config.missing, *reading.get("missing", ()))
    return dataclasses.replace(config, **options)


def read_run_table(config: Series, request: TableRequest) -> Panel:
    """Read a table with a run's config. Labels of anomalies are encoded as 0 and 1; those of classes are names.

    Raises:
        ConfigError, DataError: If the table cannot be read with these options.
    """
    reading = _reading(config, data=request.data, label_col=request.label_col)
    table = read_panel(reading, request.progress, use="run")
    return table if config.task == "classify" else encode_anomaly_labels(table)


def read_run_arrow(config: Series, table: "pyarrow.Table", name: str) -> Panel:
    """Read a table of Arrow without labels with a run's config; `name` is for errors.

    Raises:
        ConfigError, DataError: If the table cannot be read with these options.
    """
    return read_panel(_reading(config, data=None, label_col=None), source=table, name=name, use="run")


def _reading(config: Series, *, data: str | None, label_col: str | None) -> Reading:
    """Return the reading options of another table, to which the run's labels, horizon, and normal rows do not apply."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(Reading)}
    return Reading(**values | {"data": data, "label_col": label_col, "horizon": None, "normal": ()})


def grid_run_table(config: Series, table: Panel) -> PreparedTable:
    """Put a table on its time grid with a run's config.

    Raises:
        ConfigError, DataError: As `prepare_table` raises them.
    """
    # Without times there is no sampling interval, also if the training table has one.
    changed: JsonObject = {"freq": "rows"} if table.layout.time is None else {}
    return prepare_table(dataclasses.replace(config, normal=(), **changed), table)


def prepare_run_table(config: Series, table: Panel) -> PreparedTable:
    """Put a table on its time grid with a run's config, and check that it contains complete windows.

    Raises:
        ConfigError: If `--scale window` meets a missing value.
        DataError: If no window fits into the table.
    """
    prepared = grid_run_table(config, table)
    if not (np.bincount(prepared.grid.segment[prepared.grid.valued]) >= prepared.window).any():
        raise too_few_rows(prepared, prepared.window, advice=describe_step_change(prepared))
    require_complete_windows(config, prepared)
    return prepared


def refuse_output_names(columns: Iterable[str], output: Container[str]) -> None:
    """Raise if a column of a table has the name of an output column.

    Raises:
        ConfigError: a name is in both.
    """
    for name in columns:
        if name in output:
            raise ConfigError(
                f"The column {name!r} has the name of an output column. Rename it in the table", code=Code.TABLE_HEADER
            )


def describe_training_period(prepared: PreparedTable, run: ModelStore) -> list[str]:
    """Return a note if rows of a table are of the time that the run was trained or selected on; else an empty list."""
    table, times, period = prepared.table, prepared.grid.times, run.training_period
    if period is None or not table.layout.dated or not ((times >= period[0]) & (times <= period[1])).any():
        return []
    first, last = (format_time(time, table.zone) for time in period)
    return [
        f"Rows of {table.name} overlap the training period ({first} to {last}); results may be optimistic. Evaluate on "
        "later rows"
    ]


def too_few_rows(
    prepared: PreparedTable, rows: int, need: str = "a window", *, place: str = "", advice: str = ""
) -> DataError:
    """Return the error for a table without enough consecutive rows.

    Args:
        prepared: the table.
        rows: consecutive rows that are needed.
        need: what needs this number of rows.
        place: where the rows must be.
        advice: further sentence for the message.
    """
    table, longest = prepared.table, int(np.bincount(prepared.grid.series).max(initial=0))
    if longest < rows:
        where = " in its longest series" if len(table.ids) > 1 else ""
        text = f"{table.name} has {format_count(longest, 'row')}{where}, and {need} has {rows:,}. Pass more rows"
    else:
        text = (
            f"{table.name} has no {rows:,} consecutive rows{place} without a gap of more than "
            f"{format_count(prepared.max_gap, 'step')}, and {need} has {rows:,}. Pass more rows, or a run trained "
            "with a larger --max-gap"
        )
    return DataError(f"{text}. {advice}" if advice else text, code=Code.TOO_FEW_ROWS)
