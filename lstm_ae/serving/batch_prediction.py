"""Write the predictions of an exported model for a whole table."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Int64Array
from lstm_ae.config import Reading
from lstm_ae.data.columns import split_id_columns
from lstm_ae.data.grid import common_step, future_times, grid_slots
from lstm_ae.data.panel import Panel, run_bounds
from lstm_ae.data.table_reader import Progress, read_panel
from lstm_ae.data.time_zones import format_times
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, format_names
from lstm_ae.serving.callable_signature import CallableSignature
from lstm_ae.serving.errors import Refusal, invalid_argument
from lstm_ae.serving.json_codec import outputs_to_cells
from lstm_ae.serving.signatures import HORIZON, Signature, check_tensors
from lstm_ae.serving.tensors import Tensors
from lstm_ae.table_files import TableColumns, write_table

# The outputs of a forecaster, and of the errors of a window.
FUTURE, SCORE = "future", "score"

BATCH = 256


class _Results(NamedTuple):
    """Rows of the output file, and the row of the table that each belongs to."""

    columns: TableColumns
    rows: Int64Array


def predict_file(
    model: CallableSignature,
    path: Path,
    out: Path,
    *,
    horizon: int | None = None,
    progress: Progress = lambda rows, share: None,
) -> int:
    """Write the outputs of a signature for a file: one row for each row of a table, step of a forecast, or sample.

    A model that reads steps gets windows of each series in the order of time: at every row, or one after another if
    there is an output for each row. A model of any number of steps gets whole series; other models get a row per
    sample.

    Args:
        model: The signature to call.
        path: The table, see `lstm_ae.data.table_reader.read_panel`.
        out: A new `.csv` or `.parquet` file.
        horizon: The steps of a forecast, for a signature that has this input.
        progress: Called after each call with the number of rows done and their share.

    Returns:
        The number of rows written.

    Raises:
        ConfigError: If an option does not fit the file or the model, or `out` exists.
        DataError: If the file cannot be read, or a call fails; the message names its rows.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out must end in .csv or .parquet. Received: {str(out)!r}")
    if out.exists():
        raise ConfigError(f"--out {str(out)!r} already exists. Pass another file.", code=Code.OUTPUT_EXISTS)
    signature = model.signature
    if (HORIZON in signature.inputs) != (horizon is not None):
        raise ConfigError(
            f"Signature {signature.name!r} {'needs' if horizon is None else 'does not accept'} --horizon",
            code=Code.PREDICTION_INPUT,
        )
    names = [name for name in signature.inputs if name != HORIZON]
    if len(names) != 1 or signature.inputs[names[0]].dtype.kind != "f":
        raise ConfigError(
            "A table provides one input of floats, but the signature has "
            f"{', '.join(f'{name} ({signature.inputs[name].dtype})' for name in names)}. Send requests instead",
            code=Code.PREDICTION_INPUT,
        )
    (name,) = names
    shape = signature.inputs[name].shape or (None, None)
    per_row = [output for output in signature.outputs if _is_per_row(signature, output, shape)]
    panel, results = _read_table(path, model), list[_Results]()
    for rows in _cut_samples(panel, shape, each_row=bool(per_row)):
        inputs = {} if horizon is None else {HORIZON: np.full(len(rows), horizon, signature.inputs[HORIZON].dtype)}
        try:
            with np.errstate(over="raise"):
                values = panel.values[rows].astype(signature.inputs[name].dtype)
            sizes = values.shape[1:] if len(shape) == 3 else shape[1:]
            inputs[name] = values.reshape(len(rows), *(size or values.shape[2] for size in sizes))
            check_tensors(signature, inputs)
            outputs = outputs_to_cells(model.call(inputs))
            if any(array.ndim == 0 or len(array) != len(rows) for array in outputs.values()):
                raise invalid_argument("The signature does not return one row per sample. Choose another --signature.")
            results.append(_label(outputs, per_row, rows, panel))
            if results[-1].columns.keys() != results[0].columns.keys():
                raise invalid_argument(
                    "An output has a different size than for earlier samples. Predict these rows separately."
                )
        except (Refusal, DataError, FloatingPointError) as error:
            place = f"{panel.where(int(rows[0, 0]))} to {panel.lines[rows[-1, -1]]}"
            code = error.code if isinstance(error, DataError) else Code.PREDICTION_INPUT
            raise DataError(f"{place}: {error}", code=code) from error
        progress(int(rows[-1, -1]) + 1, (rows[-1, -1] + 1) / len(panel.lines))
    table: TableColumns = {
        head: np.concatenate([result.columns[head] for result in results]) for head in results[0].columns
    }
    if per_row:
        # A row of several windows has the results of the first one.
        index, first = np.unique(np.concatenate([result.rows for result in results]), return_index=True)
        order = first[np.argsort(panel.lines[index], kind="stable")]
        table = {head: np.asarray(values)[order] for head, values in table.items()}
    write_table(out, table)
    return len(next(iter(table.values())))


def _read_table(path: Path, model: CallableSignature) -> Panel:
    """Read a table whose series have one row for each step of the model.

    Raises:
        ConfigError, DataError: If the table cannot be read, two rows have the same time, or rows are missing.
    """
    options = {"value_cols": model.features, "id_col": model.id_columns, **model.times}
    panel = read_panel(Reading(data=str(path), **options), use="run")
    same = np.flatnonzero((np.diff(panel.times) == 0) & (np.diff(panel.series) == 0))
    if len(same):
        raise DataError(
            f"{panel.where(int(same[0]) + 1)}: a series has two rows of this time. Remove one, or write each series "
            "into a file of its own",
            code=Code.PREDICTION_INPUT,
        )
    # Series begin at the position 0, so that no difference between two series is above 1.
    missing = np.diff(grid_slots(panel, model.step)) - 1
    if (missing > 0).any():
        row = int(np.argmax(missing > 0))
        raise DataError(
            f"{panel.where(row + 1)}: the table lacks {format_count(int(missing[row]), 'row')} before this one "
            f"at the model's step of {model.step.text}. Add rows without values, or apply the run with lstmae series",
            code=Code.PREDICTION_INPUT,
        )
    return panel


def _cut_samples(panel: Panel, shape: Sequence[int | None], *, each_row: bool) -> Iterator[Int64Array]:
    """Yield the rows of the samples of each call, `(samples, rows)`."""
    steps = shape[1] if len(shape) == 3 else 1
    features = shape[2] if len(shape) == 3 else math.prod(size or 0 for size in shape[1:]) or None
    if features not in (None, panel.values.shape[1]):
        raise ConfigError(
            f"The model reads {features} columns, but the table has {panel.values.shape[1]}: "
            f"{format_names(panel.layout.values)}. Remove the others",
            code=Code.PREDICTION_INPUT,
        )
    for first, end in run_bounds(panel.series):
        length = steps or end - first
        if end - first < length:
            raise DataError(
                f"{panel.where(first)}: the series has {end - first:,} rows, fewer than a window of {length:,}",
                code=Code.PREDICTION_INPUT,
            )
        starts = np.arange(first, end - length + 1, length if each_row else 1)
        if each_row:
            starts = np.union1d(starts, [end - length])
        for begin in range(0, len(starts), BATCH):
            yield starts[begin : begin + BATCH, None] + np.arange(length)


def _is_per_row(signature: Signature, output: str, read: Sequence[int | None]) -> bool:
    """Return whether an output has a value for each step of the input, whose shape is `read`."""
    shape = signature.outputs[output].shape
    if shape is None or len(shape) < 2 or len(read) < 3 or HORIZON in signature.inputs:
        return False
    # A code, or the probabilities of classes, may have as many numbers as a window has steps.
    named = output != FUTURE if len(shape) > 2 else output == SCORE
    return shape[1] == read[1] and (named or shape[1] is None)


def _label(outputs: Tensors, per_row: Sequence[str], rows: Int64Array, panel: Panel) -> _Results:
    """Return the outputs of a call with the series, times, and steps that they belong to."""
    forecasts = [] if per_row else [name for name, array in outputs.items() if name == FUTURE and array.ndim > 1]
    stepwise = per_row or forecasts
    length = outputs[stepwise[0]].shape[1] if stepwise else 1
    ends = rows[:, -1]
    index = rows.ravel() if per_row else ends.repeat(length)
    columns: TableColumns = dict(split_id_columns(panel.layout.ids, [panel.ids[one] for one in panel.series[index]]))
    time = panel.layout.time
    columns[time or panel.place] = panel.lines[index] if time is None else format_times(panel.times[index], panel.zone)
    if forecasts:
        columns["step"] = np.tile(np.arange(1, length + 1), len(rows))
    if forecasts and time is not None:
        columns["origin"] = columns[time]
        times = future_times(panel, panel.series[ends], panel.times[ends], common_step(panel), length)
        columns[time] = format_times(times.ravel(), panel.zone)
    for name, array in outputs.items():
        cells = (array if name in stepwise else array[:, None].repeat(length, axis=1)).reshape(len(index), -1)
        count = cells.shape[1]
        ends_of_names = (
            panel.layout.values if name in stepwise and count == len(panel.layout.values) else range(1, count + 1)
        )
        headings = [name] if count == 1 else [f"{name}_{end}" for end in ends_of_names]
        if duplicates := columns.keys() & set(headings):
            raise ConfigError(
                f"The table has a column {next(iter(duplicates))!r}, which is the name of an output. Rename it",
                code=Code.TABLE_HEADER,
            )
        columns |= {head: cells[:, place] for place, head in enumerate(headings)}
    return _Results(columns, index)
