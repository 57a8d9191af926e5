"""How the functions of this package are compiled: once a machine, where the result can be kept."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np

# Not beside the source: what pip has not put there stays when the package goes, and hides the one installed next.
KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lstm-ae" / "numba"


def stamp(folder: Path) -> str:
    """What names the source in a folder: other where a line of any of its files is other."""
    told = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        told.update(path.read_bytes())
    return told.hexdigest()[:16]


# Numba looks at the file of a function alone, and compiles into it those that it calls of other files.
_STAMP = stamp(Path(__file__).parent)


@contextmanager
def _kept_apart() -> Iterator[None]:
    """Where Numba keeps what is decorated within: below the user's folder for it, if there is one, else in ours."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(Path(before or KEPT, f"kernels-{_STAMP}"))
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def _probe() -> None:
    """Something to compile."""


def _can_be_kept() -> bool:
    """Whether Numba finds a directory for compiled code: the user's, or if that cannot be written another."""
    try:
        with _kept_apart():
            numba.njit(cache=True)(_probe)
    except RuntimeError:
        return False
    return True


_CACHE = _can_be_kept()
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function that other compiled ones call. Products and sums may be fused."""
    with _kept_apart():
        made: Function = numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy", cache=_CACHE)(function)
    return made


@compiled
def aligned(size: int) -> Any:
    """Zeros that start at a cache line, as TensorFlow's own memory does: vectors across two lines cost double."""
    array = np.zeros(size + 15, np.float32)
    skip = (-array.ctypes.data % 64) // 4
    return array[skip : skip + size]


def kernel(function: Callable[[int, int], None]) -> Any:
    """Compile a function that TensorFlow calls: of its state (none here) and its context."""
    with _kept_apart():
        return numba.cfunc("void(uintp, uintp)", error_model="numpy", cache=_CACHE)(function)
