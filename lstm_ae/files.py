"""Files that are written as a whole or not at all, and read strictly."""

import errno
import io
import json
import os
import secrets
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lstm_ae.errors import ConfigError, DataError

try:
    import fcntl
except ModuleNotFoundError:  # Windows, which renames no file that is open
    fcntl = None  # type: ignore[assignment]

# Bytes of a JSON file.
LARGEST_OBJECT = 2**28


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises `DataError` where there is none."""
    try:
        content = parse_json(read_regular(path, LARGEST_OBJECT).decode())
    except FileNotFoundError:
        raise DataError(f"{str(path.parent)!r} is not a run: it has no {path.name}") from None
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{str(path)!r} is not JSON ({error}); give another file") from error
    if not isinstance(content, dict):
        raise DataError(f"{str(path)!r} must hold a JSON object. Received: {type(content).__name__}")
    return content


def read_regular(path: Path, most: int) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Opening a pipe or reading a device may never end, and a folder of unknown origin may contain either.

    Raises:
        OSError: the file is missing or cannot be read.
        DataError: it is not a regular file, or larger.
    """
    # Check before opening: opening some devices has side effects.
    _require_regular(path, os.stat(path), most)
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(number, "rb") as file:
        # Check again: another file may have replaced it.
        _require_regular(path, os.fstat(number), most)
        content = file.read(most + 1)
    if len(content) > most:
        raise _too_large(path, most)
    return content


def require_regular(path: Path, most: int) -> int:
    """Return the size of a regular file without opening it; raises as `read_regular` does."""
    status = os.stat(path)
    _require_regular(path, status, most)
    return status.st_size


def _require_regular(path: Path, status: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{str(path)!r} is not a regular file. Remove it.")
    if status.st_size > most:
        raise _too_large(path, most)


def _too_large(path: Path, most: int) -> DataError:
    return DataError(f"{str(path)!r} is larger than {most:,} bytes, the limit. Use a smaller file.")


def write(path: Path, content: bytes, *, new: bool = False) -> Path:
    """Write a file as a whole or not at all; with `new`, raise `FileExistsError` where there is one already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    locked = None if new else _locked(beside)
    if locked is None:
        # Two that write the same file must not write into one another's.
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with locked or beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if locked:  # until it is closed
                beside.replace(path)
        if new:
            _link(beside, path)
        elif not locked:
            beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return path


def _locked(beside: Path) -> BinaryIO | None:
    """The file, empty, to write into alone: a killed writer leaves it to the next one.

    None where somebody writes into it, and where files have no locks.
    """
    if fcntl is None:
        return None
    file = beside.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Else whoever had it locked has renamed it meanwhile.
        if os.path.samestat(os.fstat(file.fileno()), beside.stat()):
            file.truncate(0)
            return file
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            beside.unlink(missing_ok=True)
    file.close()
    return None


def _link(beside: Path, path: Path) -> None:
    """Rename, unless there is a file already."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        beside.replace(path)
    else:
        beside.unlink()


def sync(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    # Windows flushes no file that is open for reading alone.
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def as_json(content: Mapping[str, Any]) -> bytes:
    """A JSON file's bytes; NaN and infinity are errors."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(errors="backslashreplace")


def parse_json(text: str) -> Any:
    """Strict JSON: a repeated key or a NaN is an error, not a silent choice. Raises `ValueError`."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"the key {twice!r} occurs twice")
        return result

    def refuse(token: str) -> Any:
        raise ValueError(f"{token} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def claim(folder: Path, name: str, about: Mapping[str, Any]) -> None:
    """Make a folder that a long command can go on in: its file `name` says what for, and must say the same next time.

    Raises:
        ConfigError: the folder belongs to something else.
    """
    path = folder / name
    if path.exists():
        if read_object(path) != json.loads(json.dumps(about)):
            raise ConfigError(f"--out {str(folder)!r} was begun with other options or data; give another folder")
        return
    # What a command that was killed at its very start leaves is as good as nothing.
    if folder.exists() and not all(path.match(".*.part") for path in folder.iterdir()):
        raise ConfigError(f"--out {str(folder)!r} is not empty and holds no {name}; give a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    write(path, as_json(about))


def read_part(path: Path, keys: Iterable[str], later: Iterable[str] = ()) -> dict[str, Any]:
    """What such a command has written of one of its parts; raises `DataError` where that holds other keys.

    Args:
        later: those of the keys that parts did not always have.
    """
    try:
        content = read_object(path)
    except DataError:
        content = {}
    if not set(keys) - set(later) <= set(content) <= set(keys):
        raise DataError(
            f"{str(path)!r} is damaged or of another version; delete it, and the same command makes it again"
        )
    return content


def save_state(
    path: Path, meta: Mapping[str, Any], groups: Mapping[str, Sequence[Any]], *, compress: bool = False
) -> None:
    """Write groups of arrays and what is known about them into one `.npz`.

    Args:
        meta: JSON values.
        groups: arrays, or what numpy can make arrays of, by the group's name.
        compress: take more time and less room.
    """
    arrays = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    for name, values in groups.items():
        arrays |= {f"{name}_{number}": np.asarray(value) for number, value in enumerate(values)}
    content = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(content, allow_pickle=False, **arrays)
    write(path, content.getvalue())


def load_state(
    path: Path, sizes: Mapping[str, int], what: str = "", advice: str = "restore it, or train a new run"
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Read what `save_state` wrote: so many arrays of each group.

    Args:
        what: to call it, with a blank behind it.
        advice: to whom it is damaged.

    Raises:
        DataError: it is damaged.
    """
    try:
        # Opened here, because numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            meta: dict[str, Any] = json.loads(arrays["meta"].tobytes())
            groups = {name: [arrays[f"{name}_{k}"] for k in range(size)] for name, size in sizes.items()}
    except Exception as error:
        raise DataError(f"{what}{str(path)!r} cannot be read ({type(error).__name__}); {advice}") from error
    return meta, groups
