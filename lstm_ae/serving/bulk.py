"""A model's answers for a whole file, batch by batch, into a file that grows beside its place until it is whole."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ae.errors import ConfigError, DataError
from lstm_ae.files import as_json, read_object, sync, write
from lstm_ae.serving.callers import Caller
from lstm_ae.serving.refusals import Refusal
from lstm_ae.serving.rows import Tensors, padded
from lstm_ae.serving.samples import Samples
from lstm_ae.serving.servable import HORIZON, Signature, check
from lstm_ae.serving.writing import plain, write_lines
from lstm_ae.table_files import table


def predict(
    caller: Caller,
    samples: Samples,
    out: Path,
    *,
    batch: int,
    notify: Callable[[int, int], None],
    keep_formulas: bool = False,
) -> tuple[int, int]:
    """Write the answer for every sample to a file: `.jsonl`, one a line, or `.csv`, one a row.

    What an interrupted call of the same model with the same samples has left is kept.

    Args:
        batch: samples in a call.
        notify: told after each batch how many samples are done, and of how many.
        keep_formulas: keep text in a `.csv` that a spreadsheet would execute.

    Returns:
        How many samples there are, and how many of them an earlier call had done.

    Raises:
        ConfigError: the file is there already, or has another ending. DataError: the model refuses the samples.
    """
    if out.suffix not in (".jsonl", ".csv"):
        raise ConfigError(f"--out must end in .jsonl or .csv. Received: {str(out)!r}")
    if out.exists():
        raise ConfigError(f"--out {str(out)!r} is there already; give another file")
    part, about = out.with_name(f".{out.name}.part"), out.with_name(f".{out.name}.about.json")
    asked = {
        "model": caller.model,
        "source": caller.source,
        "signature": caller.signature.name,
        "samples": _hash(samples),
        "keep_formulas": keep_formulas,
    }
    head = 1 if out.suffix == ".csv" else 0
    done = 0
    if part.exists() and about.exists():
        if read_object(about) != asked:
            raise ConfigError(
                f"{str(part)!r} is of another model or other data, or was begun with other options; "
                "delete it, or give another --out"
            )
        done = max(0, _keep_whole_rows(part, quoted=out.suffix == ".csv") - head)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        write(about, as_json(asked))
    had = done
    header = _first_line(part) if head and done else None
    # A header alone is written anew.
    with part.open("ab" if done else "wb") as file:
        while done < len(samples):
            inputs = samples.part(done, done + batch)
            rows = len(next(iter(inputs.values())))
            outputs = _as_far(_answered(caller, inputs, rows), caller.signature, inputs, samples)
            if head:
                columns, lines = _rows(outputs, done, keep_formulas=keep_formulas)
                if header is None:
                    file.write(columns)
                elif columns != header:
                    raise DataError(
                        f"From sample {done} on the answers have other columns than before; write a .jsonl, or give "
                        "those samples in a file of their own"
                    )
                header = columns
            else:
                lines = write_lines(outputs)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
            done += rows
            notify(done, len(samples))
    sync(part)
    part.rename(out)
    about.unlink()
    return done, had


def _answered(caller: Caller, inputs: Tensors, rows: int) -> Tensors:
    try:
        check(caller.signature, inputs)
        outputs = caller.call(inputs)
    except Refusal as refusal:
        raise DataError(f"The model refuses the data: {refusal.message}") from None
    if any(array.ndim == 0 or len(array) != rows for array in outputs.values()):
        raise DataError(f"The signature {caller.signature.name!r} does not answer sample by sample; choose another one")
    return outputs


def _as_far(outputs: Tensors, signature: Signature, inputs: Tensors, samples: Samples) -> Tensors:
    """Rollouts as long as the longest of the whole file, their ends NaN, as those of rows that stop before others."""
    asked = samples.inputs.get(HORIZON)
    if asked is None or asked.dtype.kind not in "iu":
        return outputs
    own, longest = int(inputs[HORIZON].max()), int(asked.max())

    def rolls(name: str, array: NDArray[Any]) -> bool:
        shape = signature.outputs[name].shape
        is_open = shape is None or (len(shape) > 1 and shape[1] is None)
        return is_open and array.ndim > 1 and array.dtype.kind == "f" and array.shape[1] == own

    return {name: padded(array, longest) if rolls(name, array) else array for name, array in outputs.items()}


def _rows(outputs: Tensors, first: int, *, keep_formulas: bool) -> tuple[bytes, bytes]:
    """A table's header and its rows."""
    header, columns = ["sample"], []
    for name, array in plain(outputs).items():
        flat = array.reshape(len(array), -1)
        columns.append(flat)
        header += [name] if flat.shape[1] == 1 else [f"{name}_{place}" for place in _places(array.shape[1:])]
    rows = [
        [number, *(cell for array in columns for cell in array[number - first])]
        for number in range(first, first + len(columns[0]))
    ]
    return table(header, [], keep_formulas=keep_formulas), table(None, rows, keep_formulas=keep_formulas)


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline()


def _places(shape: Sequence[int]) -> Iterator[str]:
    """Names of an array's cells, counted from 1; a last size of 1 says nothing."""
    sizes = shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape
    for index in np.ndindex(*sizes):
        yield "_".join(str(place + 1) for place in index)


def _keep_whole_rows(path: Path, *, quoted: bool) -> int:
    """Cut off a last row that is not whole; returns how many are left.

    Args:
        quoted: whether a line may end within a cell, which then stands in quotes.
    """
    count, whole, end, quotes = 0, 0, 0, 0
    with path.open("r+b") as file:
        for line in file:
            end += len(line)
            quotes += line.count(b'"') if quoted else 0
            if line.endswith(b"\n") and quotes % 2 == 0:
                count, whole = count + 1, end
        file.truncate(whole)
    return count


def _hash(samples: Samples) -> str:
    found = hashlib.sha256()
    for name, array in samples.inputs.items():
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        for start in range(0, len(array), 4096):
            part = array[start : start + 4096]
            # An array of texts holds their addresses.
            found.update(repr(part.tolist()).encode() if part.dtype.kind == "O" else part.tobytes())
    return found.hexdigest()


def constants_of(texts: Sequence[str]) -> dict[str, float]:
    """`name=number` each."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, number = text.partition("=")
        try:
            # A whole number by itself: not every one of 64 bits has a float of its own.
            value = int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else float(number)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise ConfigError(f"--set must be name=number, such as horizon=20. Received: {text!r}")
        found[name] = value
    return found
