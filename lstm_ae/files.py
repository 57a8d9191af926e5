"""Atomic writing and strict reading of files."""

import errno
import io
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from lstm_ae.arrays import Array
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import quote
from lstm_ae.json_types import JsonMapping, JsonObject

# Maximum size of a JSON file in bytes.
LARGEST_OBJECT = 2**28


def read_object(path: Path) -> JsonObject:
    """Read the JSON object in a file.

    Raises:
        DataError: the file is missing, unreadable, or not a JSON object.
    """
    try:
        content = parse_json(read_regular(path, LARGEST_OBJECT).decode())
    except FileNotFoundError:
        raise DataError(f"{str(path.parent)!r} is not a run: it has no {path.name}", code=Code.RUN_NOT_FOUND) from None
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}", code=Code.FILE_UNREADABLE) from error
    except ValueError as error:
        raise DataError(f"{str(path)!r} is not JSON ({error}). Pass another file", code=Code.FILE_UNREADABLE) from error
    if not isinstance(content, dict):
        raise DataError(
            f"{str(path)!r} must hold a JSON object. Received: {type(content).__name__}", code=Code.FILE_UNREADABLE
        )
    return content


def open_regular(
    path: str | os.PathLike[str], max_bytes: int | None = None, *, advice: str = "Pass the path of a regular file."
) -> BinaryIO:
    """Open a regular file for reading.

    Opening a pipe or reading a device may never end, and a folder of unknown origin may contain either.

    Args:
        path: the file.
        max_bytes: largest size in bytes; None for any size.
        advice: remedy in errors.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: the path contains a NUL.
        DataError: it is not a regular file, or larger.
    """
    # Check before opening: opening some devices has side effects.
    _require_regular(path, os.stat(path), max_bytes, advice)
    # Without O_NONBLOCK, opening a pipe would block.
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    try:
        # Check again: another file may have replaced it.
        _require_regular(path, os.fstat(file.fileno()), max_bytes, advice)
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file of at most `max_bytes` bytes; raises as `open_regular` does."""
    with open_regular(path, max_bytes, advice="Remove it.") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise _too_large(path, max_bytes)
    return content


def require_regular(path: Path, max_bytes: int) -> int:
    """Return the size of a regular file without opening it; raises as `open_regular` does."""
    status = os.stat(path)
    _require_regular(path, status, max_bytes, "Remove it.")
    return status.st_size


def _require_regular(path: str | os.PathLike[str], status: os.stat_result, max_bytes: int | None, advice: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "directory" if stat.S_ISDIR(status.st_mode) else "pipe, socket, or device"
        raise DataError(f"{quote(path)} is a {kind}, not a regular file. {advice}", code=Code.FILE_UNREADABLE)
    if max_bytes is not None and status.st_size > max_bytes:
        raise _too_large(path, max_bytes)


def _too_large(path: str | os.PathLike[str], max_bytes: int) -> DataError:
    return DataError(
        f"{quote(path)} is larger than {max_bytes:,} bytes, the limit. Use a smaller file.", code=Code.FILE_FORMAT
    )


def is_own(path: Path, mark: str) -> bool:
    """Return whether a file may be overwritten: there is none, or its first 4,096 bytes contain `mark`."""
    if not os.path.lexists(path):
        return True
    try:
        with open_regular(path) as file:
            return mark.encode() in file.read(4096)
    except (OSError, DataError):
        return False


def write_own(path: Path, mark: str, text: str) -> Path:
    """Write a text file atomically, unless there is one without `mark`, which belongs to the user.

    Raises:
        FileExistsError: the file belongs to the user, or another process has just written it.
    """
    if not is_own(path, mark):
        raise FileExistsError(errno.EEXIST, "not written by lstmae", str(path))
    return write(path, text.encode(errors="replace"), new=not path.exists())


def write(path: Path, content: bytes, *, new: bool = False) -> Path:
    """Write a file atomically and return its path.

    Args:
        path: the file; missing parent folders are created.
        content: its content.
        new: fail if the file exists.

    Raises:
        FileExistsError: the file exists and `new` is set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Concurrent writers of the same file need different temporary files.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if new:
            _link(temporary, path)
        else:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def _link(temporary: Path, path: Path) -> None:
    """Rename a file unless the target exists."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        temporary.replace(path)
    else:
        temporary.unlink()


def sync(path: Path) -> None:
    """Flush a file's content to the disk."""
    # Windows cannot flush a file that is opened read-only.
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def as_json(content: JsonMapping) -> bytes:
    """Return the content of a JSON file; raise `ValueError` for NaN and infinity."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(errors="backslashreplace")


def as_json_value(values: ArrayLike) -> Any:
    """Return an array or a NumPy number as JSON values.

    A float32 is converted through text, so that it keeps its own digits instead of those of its double.
    """
    array = np.asarray(values)
    if array.dtype.kind == "f":
        array = array.astype(str).astype(np.float64)
    return array.tolist()


def parse_json(text: str) -> Any:
    """Parse JSON strictly.

    Raises:
        ValueError: invalid JSON, a duplicate key, or NaN or infinity.

    >>> parse_json('{"a": [1, null]}')
    {'a': [1, None]}
    """

    def unique(pairs: list[tuple[str, Any]]) -> JsonObject:
        result = dict(pairs)
        if len(result) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"the key {twice!r} occurs twice")
        return result

    def refuse(token: str) -> NoReturn:
        raise ValueError(f"{token} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def pack_arrays(meta: JsonMapping, arrays: Mapping[str, Array]) -> bytes:
    """Return the content of an `.npz` with JSON values and arrays by name."""
    content = io.BytesIO()
    # Before version 2.2, NumPy would store the argument `allow_pickle` as an array; reading allows no pickle anyway.
    named: dict[str, Any] = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays}
    np.savez(content, **named)
    return content.getvalue()


def unpack_arrays(
    source: Path | bytes, name: str, advice: str, names: Iterable[str] | None = None
) -> tuple[JsonObject, dict[str, Array]]:
    """Return the JSON values, and the arrays by name, that `pack_arrays` has packed.

    Args:
        source: the file, or its content.
        name: name of the file in errors.
        advice: remedy in errors.
        names: names of the arrays to read; None for all.

    Raises:
        DataError: the file is damaged or missing.
    """
    try:
        content = source.read_bytes() if isinstance(source, Path) else source
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            meta = json.loads(arrays["meta"].tobytes())
            if not isinstance(meta, dict):
                raise TypeError("the metadata are not an object")
            selected = [name for name in arrays if name != "meta"] if names is None else names
            return meta, {name: arrays[name] for name in selected}
    except Exception as error:
        raise DataError(
            f"{name} cannot be read ({type(error).__name__}); {advice}", code=Code.FILE_UNREADABLE
        ) from error


def save_state(path: Path, meta: JsonMapping, groups: Mapping[str, Sequence[ArrayLike]]) -> None:
    """Write groups of arrays and metadata into one `.npz`.

    Args:
        path: the file, written atomically.
        meta: JSON values.
        groups: arrays, or values that NumPy converts to arrays, by the name of the group.
    """
    arrays = {
        f"{name}_{number}": np.asarray(value) for name, values in groups.items() for number, value in enumerate(values)
    }
    write(path, pack_arrays(meta, arrays))


def load_state(path: Path, sizes: Mapping[str, int], advice: str) -> tuple[JsonObject, dict[str, list[Array]]]:
    """Read a file of `save_state`.

    Args:
        path: the file.
        sizes: number of arrays of each group.
        advice: remedy in errors.

    Returns:
        The metadata, and the arrays by group.
    """
    names = [f"{name}_{k}" for name, size in sizes.items() for k in range(size)]
    meta, arrays = unpack_arrays(path, f"The checkpoint {str(path)!r}", advice, names)
    return meta, {name: [arrays[f"{name}_{k}"] for k in range(size)] for name, size in sizes.items()}


@contextmanager
def temporary_folder(kind: str, base: Path | None = None) -> Iterator[Path]:
    """Make a folder, and remove it at the end of the block unless it was renamed.

    Args:
        kind: part of the name, `.KIND-part-` and random characters, which no run or version has.
        base: the folder to make it in (default: the system's folder for temporary files).

    Raises:
        ConfigError: the system has no folder for temporary files.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=f".{kind}-part-", dir=base, ignore_cleanup_errors=True)
    except FileNotFoundError as error:
        raise ConfigError(
            "There is no folder for temporary files. Set TMPDIR to one that can be written", code=Code.SYSTEM
        ) from error
    with folder as path:
        yield Path(path)
