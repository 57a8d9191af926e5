"""Predict a whole table."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Dtype, Int64Array
from lstm_ae.config import Reading
from lstm_ae.data.columns import split_id_columns
from lstm_ae.data.grid import common_step, future_times
from lstm_ae.data.panel import Panel, run_bounds
from lstm_ae.data.table_reader import Progress, read_panel
from lstm_ae.data.time_zones import format_times
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_names
from lstm_ae.serving.client import SignatureClient
from lstm_ae.serving.errors import Refusal
from lstm_ae.serving.json_codec import outputs_to_cells
from lstm_ae.serving.json_values import encode_cells
from lstm_ae.serving.signatures import HORIZON, Signature, check_tensors
from lstm_ae.serving.tensors import Tensors
from lstm_ae.table_files import TableColumns, write_table

# The outputs of a forecaster, and of the errors of a window.
FUTURE, SCORE = "future", "score"


class PredictionRequest(NamedTuple):
    """How the samples of a file are made and predicted.

    Args:
        columns: columns of a table, in the model's order; empty for those of the training, or all columns of numbers.
        id_col: columns that identify the series of a table; empty for those of the training.
        window: rows per sample; None for the rows that the model reads, or all of a series.
        stride: rows between the starts of two samples; None for each row, or for `window` if there is an output for
            each row.
        constants: inputs that are equal for all samples.
        batch: samples per call.
    """

    columns: tuple[str, ...] = ()
    id_col: tuple[str, ...] = ()
    window: int | None = None
    stride: int | None = None
    constants: Mapping[str, float | str] = {}
    batch: int = 256


class _Results(NamedTuple):
    """Rows of the output file, and the row of the table that each belongs to."""

    columns: TableColumns
    rows: Int64Array


def predict_file(
    client: SignatureClient,
    path: Path,
    out: Path,
    request: PredictionRequest,
    progress: Progress = lambda rows, share: None,
) -> int:
    """Write the outputs of a signature for a file: one row for each row of a table, step of a forecast, or sample.

    A model that reads steps gets windows of each series in the order of time; other models get a row per sample.

    Args:
        client: the signature to call.
        path: the table, see `lstm_ae.data.table_reader.read_panel`.
        out: a new `.csv` or `.parquet` file.
        request: how the samples are made.
        progress: called after each call with the number of rows done and their share.

    Returns:
        The number of rows written.

    Raises:
        ConfigError: an option does not fit the file or the model, or `out` exists.
        DataError: the file cannot be read, or a call fails; the message names its rows.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out must end in .csv or .parquet. Received: {str(out)!r}")
    if out.exists():
        raise ConfigError(f"--out {str(out)!r} already exists. Pass another file.", code=Code.OUTPUT_EXISTS)
    signature = client.signature
    constants = {name: _constant(signature, name, value) for name, value in request.constants.items()}
    wanted = [name for name in signature.inputs if name not in constants]
    if len(wanted) != 1:
        raise ConfigError(
            f"A table provides one input, but the signature has {len(wanted)} ({', '.join(wanted)}). "
            "Set the others with --set.",
            code=Code.PREDICTION_INPUT,
        )
    spec = signature.inputs[wanted[0]]
    shape = spec.shape or (None, None)
    per_row = [name for name in signature.outputs if _is_per_row(signature, name, shape)]
    panel, results = _read_table(path, request, client), list[_Results]()
    for rows in _cut_samples(panel, shape, request, each_row=bool(per_row)):
        place = f"{panel.where(int(rows[0, 0]))} to {panel.lines[rows[-1, -1]]}"
        inputs = {name: np.repeat(value, len(rows)) for name, value in constants.items()}
        try:
            values = convert_exactly(panel.values[rows], spec.dtype)
            sizes = values.shape[1:] if len(shape) == 3 else shape[1:]
            inputs[wanted[0]] = values.reshape(len(rows), *(size or values.shape[2] for size in sizes))
            check_tensors(signature, inputs)
            outputs = outputs_to_cells(client.call(inputs))
            if any(array.ndim == 0 or len(array) != len(rows) for array in outputs.values()):
                raise ValueError("the signature does not return one row per sample. Choose another --signature.")
            results.append(_label(outputs, per_row, rows, panel))
            if results[-1].columns.keys() != results[0].columns.keys():
                raise ValueError("the size of an output differs from that of earlier samples. Predict them separately.")
        except Refusal as refusal:
            raise DataError(f"{place}: {refusal.message}", code=Code.PREDICTION_INPUT) from None
        except ValueError as error:
            raise DataError(f"{place}: {error}", code=getattr(error, "code", Code.PREDICTION_INPUT)) from error
        progress(int(rows[-1, -1]) + 1, (rows[-1, -1] + 1) / len(panel.lines))
    columns: TableColumns = {
        name: np.concatenate([result.columns[name] for result in results]) for name in results[0].columns
    }
    known = np.concatenate([result.rows for result in results])
    if per_row:
        # A row of several windows has the results of the first one.
        known, first = np.unique(known, return_index=True)
        order = first[np.argsort(panel.lines[known], kind="stable")]
        columns = {name: np.asarray(values)[order] for name, values in columns.items()}
    write_table(out, columns)
    return len(next(iter(columns.values())))


def _read_table(path: Path, request: PredictionRequest, client: SignatureClient) -> Panel:
    columns, ids = request.columns or client.features, request.id_col or client.id_columns
    panel = read_panel(Reading(data=str(path), value_cols=tuple(columns), id_col=tuple(ids)), of_run=True)
    same = np.flatnonzero((np.diff(panel.times) == 0) & (np.diff(panel.series) == 0))
    if len(same):
        raise DataError(
            f"{panel.where(int(same[0]) + 1)}: a series has two rows of this time. Name the columns that identify "
            "series with --id-col, or remove a row",
            code=Code.PREDICTION_INPUT,
        )
    return panel


def _cut_samples(
    panel: Panel, shape: Sequence[int | None], request: PredictionRequest, *, each_row: bool
) -> Iterator[Int64Array]:
    """Yield the rows of the samples of each call, `(samples, rows)`."""
    steps = shape[1] if len(shape) == 3 else 1
    features = shape[2] if len(shape) == 3 else math.prod(size or 0 for size in shape[1:]) or None
    if features not in (None, panel.values.shape[1]):
        raise ConfigError(
            f"The model reads {features} columns, but the table has {panel.values.shape[1]}: "
            f"{format_names(panel.layout.values)}. Select columns with --columns",
            code=Code.PREDICTION_INPUT,
        )
    if request.window is not None and steps not in (None, request.window):
        raise ConfigError(f"--window must be {steps}, the model's window, or omitted. Received: {request.window}")
    window = request.window or steps
    if window is None and request.stride is not None:
        raise ConfigError("--stride requires --window.", code=Code.MISSING_OPTION)
    for first, end in run_bounds(panel.series):
        length = window or end - first
        if end - first < length:
            raise DataError(
                f"{panel.where(first)}: the series has {end - first:,} rows, fewer than a window of {length:,}",
                code=Code.PREDICTION_INPUT,
            )
        starts = np.arange(first, end - length + 1, request.stride or (length if each_row else 1))
        if each_row and request.stride is None:
            starts = np.union1d(starts, [end - length])
        for begin in range(0, len(starts), request.batch):
            yield starts[begin : begin + request.batch, None] + np.arange(length)


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
    ahead = [] if per_row else [name for name, array in outputs.items() if name == FUTURE and array.ndim > 1]
    long = per_row or ahead
    length = outputs[long[0]].shape[1] if long else 1
    ends = rows[:, -1]
    known = rows.ravel() if per_row else ends.repeat(length)
    columns: TableColumns = dict(split_id_columns(panel.layout.ids, [panel.ids[one] for one in panel.series[known]]))
    time = panel.layout.time
    columns[time or panel.place] = panel.lines[known] if time is None else format_times(panel.times[known], panel.zone)
    if ahead:
        columns["step"] = np.tile(np.arange(1, length + 1), len(rows))
    if ahead and time is not None:
        columns["origin"] = columns[time]
        times = future_times(panel, panel.series[ends], panel.times[ends], common_step(panel), length)
        columns[time] = format_times(times.ravel(), panel.zone)
    for name, array in outputs.items():
        cells = (array if name in long else array[:, None].repeat(length, axis=1)).reshape(len(known), -1)
        count = cells.shape[1]
        ends_of_names = (
            panel.layout.values if name in long and count == len(panel.layout.values) else range(1, count + 1)
        )
        heads = [name] if count == 1 else [f"{name}_{end}" for end in ends_of_names]
        if taken := columns.keys() & set(heads):
            raise ConfigError(
                f"The table has a column {next(iter(taken))!r}, which is the name of an output. Rename it",
                code=Code.TABLE_HEADER,
            )
        columns |= {head: cells[:, place] for place, head in enumerate(heads)}
    return _Results(columns, known)


def _constant(signature: Signature, name: str, value: float | str) -> Array:
    spec = signature.inputs.get(name)
    if spec is None or spec.shape is None or len(spec.shape) != 1:
        raise ConfigError(f"--set {name}: only inputs with one value per sample can be set.")
    try:
        return encode_cells([value]) if isinstance(value, str) else convert_exactly(np.array([value]), spec.dtype)
    except (ValueError, Refusal) as error:
        raise ConfigError(f"--set {name}: {error}") from None


def convert_exactly(values: Array, dtype: Dtype) -> Array:
    """Convert numbers to another dtype without changing them; floats are rounded to the nearest value.

    Raises:
        ValueError: If a number cannot be represented.
    """
    if dtype.kind == "O":
        raise ValueError("the model reads text. Pass --set for one text for all samples.")
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.kind == "f":
            bad = np.isinf(values.astype(dtype)) & ~np.isinf(values)
        else:
            low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            # The largest integers of a dtype may have no exact float, but the next one, a power of 2, has.
            bad = ~((values >= low) & (values < high + 1) & (values == np.floor(values)))
        if bad.any():
            raise ValueError(f"{values[bad][0]!s} is not a valid {dtype.name}.")
        return values.astype(dtype)


def parse_constants(texts: Sequence[str], signature: Signature | None = None) -> dict[str, float | str]:
    """Parse `name=number` texts, or `name=text` for the inputs of a signature that read text.

    Raises:
        ConfigError: If a text has another form.
    """
    constants: dict[str, float | str] = {}
    for text in texts:
        name, equals, number = text.partition("=")
        if signature and name in signature.inputs and signature.inputs[name].dtype.kind == "O" and equals:
            constants[name] = number
            continue
        try:
            # Integers are not converted to float, which cannot represent all 64-bit integers.
            value = int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else float(number)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise ConfigError(f"--set must be name=number, such as horizon=20. Received: {text!r}")
        constants[name] = value
    return constants
