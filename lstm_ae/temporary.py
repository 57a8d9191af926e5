"""Temporary folders that are removed even if their process is killed.

The process that makes a folder locks it, and the operating system releases the lock when the process ends. Making a
folder removes unlocked ones of the same kind next to it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lstm_ae.errors import Code, ConfigError

try:
    import fcntl
except ModuleNotFoundError:  # Windows, which cannot lock folders
    fcntl = None  # type: ignore[assignment]


@contextmanager
def temporary_folder(kind: str, base: Path | None = None) -> Iterator[Path]:
    """Make a folder, and remove it at the end of the block unless it was renamed.

    Also removes folders of the same kind whose process has ended.

    Args:
        kind: part of the name, `.KIND-part-` and eight random characters.
        base: the folder to make it in (default: `system_folder()`).
    """
    prefix = f".{kind}-part-"
    base = system_folder() if base is None else base
    if fcntl is None:
        folder, lock = Path(tempfile.mkdtemp(prefix=prefix, dir=base)), None
    else:
        _remove_stale(prefix, base)
        folder, lock = _make(prefix, base)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def system_folder() -> Path:
    """Return the system's folder for temporary files.

    Raises:
        ConfigError: there is none that can be written, as in a container whose file system is read-only.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise ConfigError(
            "No folder for temporary files can be written. Set TMPDIR to one that can, or mount one at /tmp",
            code=Code.SYSTEM,
        ) from error


def _make(prefix: str, base: Path) -> tuple[Path, int | None]:
    """Return a new folder and its lock, or None for the lock if the file system has none."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        try:
            return folder, _lock(folder)
        except (BlockingIOError, FileNotFoundError):
            # Another process removed it before it was locked.
            continue
        except OSError:
            return folder, None


def _remove_stale(prefix: str, base: Path) -> None:
    # Match the whole name, so that no other folder is removed.
    for folder in base.glob(f"{prefix}{'[a-z0-9_]' * 8}"):
        with suppress(OSError):
            lock = _lock(folder)
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _lock(folder: Path) -> int:
    """Lock a folder of this user; return the descriptor that holds the lock. Raises `OSError` if that is impossible."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(number)
        if status.st_uid != os.geteuid():
            raise PermissionError(f"{str(folder)!r} belongs to another user")
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(status, os.stat(folder)):
            raise FileNotFoundError(f"{str(folder)!r} was replaced")
    except OSError:
        os.close(number)
        raise
    return number
