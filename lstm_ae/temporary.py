"""Temporary folders that do not outlive their process for long, however it ends.

A process that is killed cannot tidy up. Each folder is locked by the process that made it, and the system gives up its
locks with it: whoever makes the next folder beside it removes those that nobody holds.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where no folder can be locked
    fcntl = None  # type: ignore[assignment]


@contextmanager
def temporary_folder(kind: str, base: Path | None = None) -> Iterator[Path]:
    """Make a folder that is removed at the end, unless it was renamed.

    Folders beside it of the same kind, whose process has ended, are removed.

    Args:
        kind: a word for the name, which nobody else gives a folder: `.KIND-part-` and eight random characters.
        base: where to make it; None for the system's folder of temporary files.
    """
    prefix = f".{kind}-part-"
    base = Path(tempfile.gettempdir()) if base is None else base
    if fcntl is None:
        folder, lock = Path(tempfile.mkdtemp(prefix=prefix, dir=base)), None
    else:
        _remove_left(prefix, base)
        folder, lock = _made(prefix, base)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _made(prefix: str, base: Path) -> tuple[Path, int | None]:
    """A new folder and its lock; None where the file system has no locks."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        try:
            return folder, _locked(folder)
        except (BlockingIOError, FileNotFoundError):
            # Another process has taken it for one that was left, before it was locked.
            continue
        except OSError:
            return folder, None


def _remove_left(prefix: str, base: Path) -> None:
    # No other name: what is removed here must be nobody's own.
    for folder in base.glob(f"{prefix}{'[a-z0-9_]' * 8}"):
        with suppress(OSError):
            lock = _locked(folder)
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _locked(folder: Path) -> int:
    """A descriptor by which a folder of this user is locked until it is closed; raises `OSError` where it cannot be."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(number)
        if status.st_uid != os.geteuid():
            raise PermissionError(f"{str(folder)!r} is another user's")
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(status, os.stat(folder)):
            raise FileNotFoundError(f"{str(folder)!r} is another folder now")
    except OSError:
        os.close(number)
        raise
    return number
