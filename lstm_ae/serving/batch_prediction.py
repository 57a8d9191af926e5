"""Predict a whole file: table rows, windows of a series, arrays, or instances in JSON."""

import codecs
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Dtype
from lstm_ae.data.csv_reader import read_number_columns, split_rows
from lstm_ae.data.text import open_stable_file, read_lines
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.files import as_json, hold_lock, read_object, sync, write
from lstm_ae.formatting import format_count, format_names, quote
from lstm_ae.serving.client import SignatureClient
from lstm_ae.serving.errors import Refusal
from lstm_ae.serving.json_codec import outputs_to_cells, write_lines
from lstm_ae.serving.json_values import encode_cells, parse_object, to_tensor
from lstm_ae.serving.signatures import HORIZON, Signature, TensorSpec, check_tensors
from lstm_ae.serving.tensors import Tensors, pad_steps
from lstm_ae.table_files import table

OUTPUT_NUMBER = re.compile(rb"(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")


class FileSamples(NamedTuple):
    """The inputs of all samples by name, `(samples, ...)`; windows of a series are views."""

    inputs: dict[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def part(self, start: int, end: int) -> Tensors:
        """Return the inputs of the samples from `start` to `end`."""
        return {name: np.ascontiguousarray(array[start:end]) for name, array in self.inputs.items()}


def read_samples(
    path: Path,
    signature: Signature,
    *,
    columns: Sequence[str] = (),
    window: int | None = None,
    stride: int = 1,
    constants: Mapping[str, float | str] | None = None,
    id_columns: Sequence[str] = (),
    features: Sequence[str] = (),
) -> FileSamples:
    """Read the samples of a file for a signature.

    - `.csv` and `.csv.gz`: If the model reads steps, `(any, steps or any, features)`, and the file has as many
      columns as features, each row is a step and the file is one series, which is cut into windows. For other
      models, each row is a sample with its cells in the model's order.
    - `.npy`: the only input; `.npz`: every input by name.
    - `.jsonl`: one instance per line, in the form of a REST request.

    Args:
        path: The file.
        signature: The signature to call.
        columns: Columns of a table; empty for those of the training, or all numeric ones if these are unknown.
        window: Steps per window. None for the steps that the model reads; if their number is variable, the whole
            series is one sample.
        stride: Steps between the starts of consecutive windows.
        constants: Inputs that are the same for every sample, such as a horizon.
        id_columns: Columns that identify series, of which a table may hold one, see `SignatureClient`.
        features: Columns of the training, see `SignatureClient`.

    Raises:
        ConfigError: If an option does not fit the model.
        DataError: If the file cannot be read or does not fit the model.
    """
    constants = constants or {}
    for name in constants:
        spec = signature.inputs.get(name)
        if spec is None or spec.shape is None or len(spec.shape) != 1:
            single = [
                name for name, spec in signature.inputs.items() if spec.shape is not None and len(spec.shape) == 1
            ]
            raise ConfigError(
                f"--set {name}: only inputs with one value per sample can be set ({', '.join(single) or 'none'})."
            )
    wanted = {name: spec for name, spec in signature.inputs.items() if name not in constants}
    suffix = "".join(path.suffixes[-2:]).lower()
    if suffix.endswith((".csv", ".csv.gz")):
        inputs = _read_table_inputs(path, wanted, columns, window, stride, id_columns, features)
    elif columns or window is not None or stride != 1:
        raise ConfigError("--columns, --window, and --stride require a .csv file.", code=Code.OPTION_NOT_APPLICABLE)
    elif suffix.endswith(".jsonl"):
        inputs = _read_line_inputs(path, wanted)
    elif suffix.endswith((".npy", ".npz")):
        inputs = _read_array_inputs(path, wanted)
    else:
        raise ConfigError(f"The data must be a .csv, .jsonl, .npy, or .npz file. Received: {str(path)!r}")
    samples = len(next(iter(inputs.values())))
    if not samples:
        raise DataError(f"{str(path)!r} contains no samples.", code=Code.PREDICTION_INPUT)
    for name, value in constants.items():
        try:
            single_value = (
                encode_cells([value])
                if isinstance(value, str)
                else convert_exactly(np.array([value]), signature.inputs[name].dtype)
            )
            inputs[name] = np.repeat(single_value, samples)
        except (ValueError, Refusal) as error:
            raise ConfigError(f"--set {name}: {error}") from None
    return FileSamples(inputs)


def _read_table_inputs(
    path: Path,
    wanted: Mapping[str, TensorSpec],
    columns: Sequence[str],
    window: int | None,
    stride: int,
    id_columns: Sequence[str],
    features: Sequence[str],
) -> dict[str, Array]:
    if len(wanted) != 1:
        raise ConfigError(
            f"A table provides one input, but the signature has {len(wanted)} ({', '.join(wanted)}). "
            "Set the others with --set, or pass a .jsonl or .npz file.",
            code=Code.PREDICTION_INPUT,
        )
    ((name, spec),) = wanted.items()
    names = [column.lower() for column in columns or _choose_columns(path, spec, features)]
    values = _convert_cells(path, name, read_number_columns(path, names), spec.dtype)
    shape: tuple[int | None, ...] = spec.shape or (None, None)
    steps = shape[1] if len(shape) == 3 else 1
    if steps is None and shape[2] not in (None, values.shape[1]):
        raise ConfigError(
            f"The model reads {format_count(shape[2] or 0, 'column')}, but the file has {', '.join(names)}. "
            "Select columns with --columns.",
            code=Code.PREDICTION_INPUT,
        )
    if steps is None or (steps > 1 and shape[2] == values.shape[1]):
        if window is not None and steps not in (None, window):
            raise ConfigError(f"--window must be {steps}, the model's window, or omitted. Received: {window}")
        _refuse_several_series(path, id_columns)
        return {name: _cut_windows(values, window or steps, stride, path)}
    if window is not None or stride != 1:
        raise ConfigError("--window and --stride require a file with one column per feature.", code=Code.MISSING_OPTION)
    sizes = tuple(size for size in shape[1:] if size is not None)
    if len(sizes) < len(shape) - 1:
        sizes = (values.shape[1],)
    if np.prod(sizes) != values.shape[1]:
        of_steps = f", or {shape[2]} as a series" if steps and steps > 1 else ""
        raise ConfigError(
            f"The model reads {np.prod(sizes)} columns{of_steps}, but the file has {values.shape[1]}: "
            f"{', '.join(names)[:60]}. Select columns with --columns.",
            code=Code.PREDICTION_INPUT,
        )
    return {name: values.reshape(-1, *sizes)}


def _choose_columns(path: Path, spec: TensorSpec, features: Sequence[str]) -> Sequence[str]:
    """Return the columns of the training if each row is a step of a series, else all numeric ones."""
    numeric = _find_numeric_columns(path)
    if spec.shape is not None and len(spec.shape) == 3 and spec.shape[2] == len(features):
        a_window_per_row = len(features) < (spec.shape[1] or 1) * len(features) == len(numeric)
        if not a_window_per_row or {name.lower() for name in features} & {*numeric}:
            return features
    if not numeric:
        raise DataError(
            f"{quote(path)} has no column of numbers in its first row. Write it with commas and decimal points",
            code=Code.PREDICTION_INPUT,
        )
    return numeric


def _cut_windows(values: Array, window: int | None, stride: int, path: Path) -> Array:
    """Cut rows `(rows, features)` into `(windows, window, features)`; without a window, return them as one series."""
    if window is None:
        if stride != 1:
            raise ConfigError("--stride requires --window.", code=Code.MISSING_OPTION)
        return values[None]
    if len(values) < window:
        raise DataError(
            f"{str(path)!r} has {format_count(len(values), 'row')}, fewer than a window of {window:,}",
            code=Code.PREDICTION_INPUT,
        )
    views = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)[::stride]
    return views.swapaxes(1, 2)


def _refuse_several_series(path: Path, id_columns: Sequence[str]) -> None:
    """Raise `DataError` if a table holds several series by these columns: a window would join their rows."""
    with open_stable_file(path) as file:
        rows = split_rows(read_lines(file, quote(path)), quote(path))
        headings = [cell.strip() for cell in next(rows)[1]]
        # Columns of numbers are found in any case as well.
        lower = [heading.lower() for heading in headings]
        places = [lower.index(column.lower()) for column in id_columns if column.lower() in lower]
        series = len({tuple(cells[place].strip() for place in places) for _, cells in rows}) if places else 0
    if series > 1:
        names = format_names([quote(headings[place]) for place in places])
        raise DataError(
            f"{quote(path)} holds {series:,} series by {names}, and the model reads one series from a file. Write a "
            "file for each series",
            code=Code.PREDICTION_INPUT,
        )


def _find_numeric_columns(path: Path) -> list[str]:
    """Return the headings of the columns whose first cell is a number or empty."""
    import csv

    with open_stable_file(path) as file:
        rows = list(itertools.islice(csv.reader(read_lines(file, quote(path))), 2))
    if len(rows) < 2:
        raise DataError(f"{quote(path)} needs a header and at least one row", code=Code.PREDICTION_INPUT)
    return [heading.strip().lower() for heading, cell in zip(*rows, strict=False) if _is_number(cell)]


def _is_number(cell: str) -> bool:
    try:
        return not cell.strip() or float(cell) is not None
    except ValueError:
        return False


def _read_line_inputs(path: Path, wanted: Mapping[str, TensorSpec]) -> dict[str, Array]:
    cells: dict[str, list[Array]] = {name: [] for name in wanted}
    with open_stable_file(path) as file:
        for number, line in enumerate(file, 1):
            line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not line.strip():
                continue
            try:
                content = parse_object(b'{"v":' + line + b"}")
                if content.keys() != {"v"}:
                    raise DataError("the line contains more than one JSON value", code=Code.PREDICTION_INPUT)
                value = content["v"]
                named = value if isinstance(value, dict) and value.keys() == wanted.keys() else None
                if named is None and (len(wanted) > 1 or isinstance(value, dict)):
                    raise DataError(
                        f"an object with the keys {', '.join(wanted)} is expected", code=Code.PREDICTION_INPUT
                    )
                for name, spec in wanted.items():
                    cells[name].append(to_tensor(value if named is None else named[name], spec.dtype))
            except (Refusal, DataError) as error:
                # Offsets count the key that is put before the line.
                text = re.sub(r"(?<=offset: )\d+", lambda found: str(int(found[0]) - len(b'{"v":')), str(error))
                raise DataError(f"{quote(path)}, line {number}: {text}", code=Code.PREDICTION_INPUT) from None
    try:
        return {name: np.stack(values) if values else np.empty(0) for name, values in cells.items()}
    except ValueError:
        raise DataError(
            f"{quote(path)}: the instances have different shapes. Use one file per shape.", code=Code.PREDICTION_INPUT
        ) from None


def _read_array_inputs(path: Path, wanted: Mapping[str, TensorSpec]) -> dict[str, Array]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {next(iter(wanted)): loaded} if isinstance(loaded, np.ndarray) else {k: loaded[k] for k in loaded}
    except FileNotFoundError:
        raise DataError(f"{str(path)!r} does not exist.", code=Code.PREDICTION_INPUT) from None
    except Exception as error:
        raise DataError(
            f"{str(path)!r} is not a NumPy file ({type(error).__name__}). Write it with numpy.save.",
            code=Code.PREDICTION_INPUT,
        ) from error
    if arrays.keys() != wanted.keys():
        raise DataError(
            f"{str(path)!r} must contain the arrays {', '.join(wanted)}. Received: {', '.join(arrays)}",
            code=Code.PREDICTION_INPUT,
        )
    if any(array.dtype.kind not in "fiub" or array.ndim == 0 for array in arrays.values()):
        raise DataError(
            f"{str(path)!r} must contain arrays of numbers with one row per sample.", code=Code.PREDICTION_INPUT
        )
    if len({len(array) for array in arrays.values()}) > 1:
        raise DataError(f"{str(path)!r}: the inputs have different numbers of samples.", code=Code.PREDICTION_INPUT)
    return {name: _convert_cells(path, name, array, wanted[name].dtype) for name, array in arrays.items()}


def _convert_cells(path: Path, name: str, values: Array, dtype: Dtype) -> Array:
    try:
        return convert_exactly(values, dtype)
    except ValueError as error:
        raise DataError(f"{quote(path)}, input {name!r}: {error}", code=Code.PREDICTION_INPUT) from None


def convert_exactly(values: Array, dtype: Dtype) -> Array:
    """Convert numbers to another dtype without changing them; floats are rounded to the nearest value.

    Raises:
        ValueError: If a number cannot be represented.
    """
    if dtype.kind == "O":
        raise ValueError("the model reads text. Pass a .jsonl file, or --set for one text for all samples.")
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


def predict_file(
    caller: SignatureClient,
    samples: FileSamples,
    out: Path,
    *,
    batch: int,
    notify: Callable[[int, int], None],
    keep_formulas: bool = False,
) -> tuple[int, int]:
    """Write the outputs for every sample to a file: one sample per line (`.jsonl`) or per row (`.csv`).

    The results of an interrupted call with the same model and samples are kept.

    Args:
        caller: The signature to call.
        samples: The samples.
        out: The file to write.
        batch: Samples per call.
        notify: Called after each batch with the number of finished samples and the total.
        keep_formulas: Whether to keep text in a `.csv` that a spreadsheet would execute.

    Returns:
        The number of samples, and how many of them an earlier call had finished.

    Raises:
        ConfigError: If the file exists or has another suffix, or an interrupted result belongs to another call.
        DataError: If the model refuses the samples.
    """
    if out.suffix not in (".jsonl", ".csv"):
        raise ConfigError(f"--out must end in .jsonl or .csv. Received: {str(out)!r}")
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = out.with_name(f".{out.name}.lock")
    with hold_lock(lock, f"writing {str(out)!r}"):
        try:
            return _predict_locked(caller, samples, out, batch, notify, keep_formulas=keep_formulas)
        finally:
            lock.unlink()


def _predict_locked(
    caller: SignatureClient,
    samples: FileSamples,
    out: Path,
    batch: int,
    notify: Callable[[int, int], None],
    *,
    keep_formulas: bool,
) -> tuple[int, int]:
    if out.exists():
        raise ConfigError(f"--out {str(out)!r} already exists. Pass another file.", code=Code.OUTPUT_EXISTS)
    part, about = out.with_name(f".{out.name}.part"), out.with_name(f".{out.name}.about.json")

    def predict_rows(first: int, end: int) -> tuple[bytes, bytes]:
        inputs = samples.part(first, end)
        rows = len(next(iter(inputs.values())))
        outputs = _pad_rollouts(_call_checked(caller, inputs, rows), caller.signature, inputs, samples)
        if out.suffix == ".csv":
            return _format_rows(outputs, first, keep_formulas=keep_formulas)
        return b"", write_lines(outputs)

    call = {
        "model": caller.model,
        "source": caller.source,
        "signature": caller.signature.name,
        "samples": _hash_samples(samples),
        "keep_formulas": keep_formulas,
    }
    head = 1 if out.suffix == ".csv" else 0
    done = 0
    if part.exists() and about.exists():
        if read_object(about) != call:
            raise ConfigError(
                f"{str(part)!r} belongs to another model, other data, or other options. "
                "Delete it, or pass another --out.",
                code=Code.OUTPUT_EXISTS,
            )
        complete = _truncate_partial_row(part, quoted=out.suffix == ".csv")
        done = max(0, complete.number - head)
        if done and not _are_equal_rows(complete.last, predict_rows(done - 1, done)[1], numbered=bool(head)):
            raise ConfigError(
                f"{caller.model} no longer gives the outputs in {str(part)!r}, so it is another model. Delete the "
                "file, or pass another --out.",
                code=Code.OUTPUT_EXISTS,
            )
    else:
        part.unlink(missing_ok=True)
        write(about, as_json(call))
    had = done
    header = _read_first_line(part) if head and done else None
    # A file with a header only is rewritten.
    with part.open("ab" if done else "wb") as file:
        while done < len(samples):
            columns, lines = predict_rows(done, done + batch)
            if head:
                if header is None:
                    file.write(columns)
                elif columns != header:
                    raise DataError(
                        f"The columns change at sample {done}. Write a .jsonl file, or predict "
                        "these samples separately.",
                        code=Code.PREDICTION_INPUT,
                    )
                header = columns
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
            done = min(done + batch, len(samples))
            notify(done, len(samples))
    sync(part)
    part.rename(out)
    about.unlink()
    return done, had


def _call_checked(caller: SignatureClient, inputs: Tensors, rows: int) -> Tensors:
    try:
        check_tensors(caller.signature, inputs)
        outputs = caller.call(inputs)
    except Refusal as refusal:
        raise DataError(f"The model refused the data: {refusal.message}", code=Code.PREDICTION_INPUT) from None
    if any(array.ndim == 0 or len(array) != rows for array in outputs.values()):
        raise DataError(
            f"The signature {caller.signature.name!r} does not return one row per sample. Choose another --signature.",
            code=Code.PREDICTION_INPUT,
        )
    return outputs


def _pad_rollouts(outputs: Tensors, signature: Signature, inputs: Tensors, samples: FileSamples) -> Tensors:
    """Pad rollouts with NaN to the longest horizon of the file, as the server does for rows with shorter horizons."""
    horizons = samples.inputs.get(HORIZON)
    if horizons is None or horizons.dtype.kind not in "iu":
        return outputs
    own, longest = int(inputs[HORIZON].max()), int(horizons.max())

    def rolls(name: str, array: Array) -> bool:
        shape = signature.outputs[name].shape
        is_open = shape is None or (len(shape) > 1 and shape[1] is None)
        return is_open and array.ndim > 1 and array.dtype.kind == "f" and array.shape[1] == own

    return {name: pad_steps(array, longest) if rolls(name, array) else array for name, array in outputs.items()}


def _format_rows(outputs: Tensors, first: int, *, keep_formulas: bool) -> tuple[bytes, bytes]:
    """Return the header and the rows of a table as CSV."""
    header, columns = ["sample"], []
    for name, array in outputs_to_cells(outputs).items():
        flat = array.reshape(len(array), -1)
        columns.append(flat)
        header += [name] if flat.shape[1] == 1 else [f"{name}_{place}" for place in _cell_names(array.shape[1:])]
    rows = [
        [number, *(cell for array in columns for cell in array[number - first])]
        for number in range(first, first + len(columns[0]))
    ]
    return table(header, [], keep_formulas=keep_formulas), table(None, rows, keep_formulas=keep_formulas)


def _read_first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline()


def _cell_names(shape: Sequence[int]) -> Iterator[str]:
    """Yield the names of an array's cells, counted from 1; a last dimension of size 1 is omitted."""
    sizes = shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape
    for index in np.ndindex(*sizes):
        yield "_".join(str(place + 1) for place in index)


class CompleteRows(NamedTuple):
    """The number of complete rows of a file, with its header, and the last one."""

    number: int
    last: bytes


def _truncate_partial_row(path: Path, *, quoted: bool) -> CompleteRows:
    """Remove an incomplete last row and return the remaining rows.

    Args:
        path: The file.
        quoted: Whether quoted cells may contain line breaks.
    """
    count, whole, quotes, last, row = 0, 0, 0, b"", b""
    with path.open("r+b") as file:
        for line in file:
            row += line
            quotes += line.count(b'"') if quoted else 0
            if line.endswith(b"\n") and quotes % 2 == 0:
                count, whole, last, row = count + 1, whole + len(row), row, b""
        file.truncate(whole)
    return CompleteRows(count, last)


def _are_equal_rows(one: bytes, other: bytes, *, numbered: bool) -> bool:
    """Return whether two rows have equal texts, and equal numbers up to the rounding of another batch size.

    Args:
        one, other: the rows.
        numbered: whether the first number is that of the sample, which must be equal.
    """
    first, second = (OUTPUT_NUMBER.split(row) for row in (one, other))
    if first[::2] != second[::2] or (numbered and first[1] != second[1]):
        return False
    numbers = np.array([first[1::2], second[1::2]], np.float64)[:, int(numbered) :]
    return np.allclose(numbers[0], numbers[1], rtol=1e-4, atol=1e-5 * np.abs(numbers).max(initial=0))


def _hash_samples(samples: FileSamples) -> str:
    digest = hashlib.sha256()
    for name, array in samples.inputs.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        for start in range(0, len(array), 4096):
            part = array[start : start + 4096]
            # The bytes of an object array are memory addresses, so its values are hashed as text.
            digest.update(repr(part.tolist()).encode() if part.dtype.kind == "O" else part.tobytes())
    return digest.hexdigest()


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
