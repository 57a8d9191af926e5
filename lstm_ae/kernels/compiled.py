"""Compile this package's functions with Numba, and cache them on disk where possible."""

import functools
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numba
import numpy as np
from numba.core.ccallback import CFunc

from lstm_ae.arrays import Float32Array

LOG = logging.getLogger(__name__)

# Not next to the source: pip does not remove files that it did not install, and stale ones would hide a new version.
CACHE_DIRECTORY = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lstm-ae" / "numba"


def stamp(folder: Path) -> str:
    """Return a hash of all Python sources in a folder, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


# Numba checks only the file of the compiled function for changes, not the files of functions inlined into it.
_STAMP = stamp(Path(__file__).parent)


def _version_directory() -> Path:
    """Return the cache directory of this version, below the user's setting if there is one."""
    return Path(numba.config.CACHE_DIR or CACHE_DIRECTORY, f"kernels-{_STAMP}")


# Whether an earlier process has compiled the kernels.
_COMPILED = _version_directory().is_dir()


@contextmanager
def _cache_directory() -> Iterator[None]:
    """Set Numba's cache directory for functions decorated within."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_version_directory())
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def _probe() -> None:
    """Do nothing; `_cache_works` compiles this function to test the cache."""


def _cache_works() -> bool:
    """Return whether Numba can write compiled code to a cache directory."""
    try:
        with _cache_directory():
            numba.njit(cache=True)(_probe)
    except RuntimeError:
        return False
    return True


_CACHE = _cache_works()
Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function for use in compiled functions; products and sums may be fused."""
    with _cache_directory():
        jitted: Function = numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy", cache=_CACHE)(function)
    return jitted


@functools.cache
def log_compilation() -> None:
    """Log, once per version, that kernels are being compiled, since nothing else shows why the process waits."""
    if not (_CACHE and _COMPILED):
        LOG.info("compiling the kernels of this package, which takes several seconds, once per version")


@compiled
def aligned(size: int) -> Float32Array:
    """Return `size` zeros aligned to a cache line, since loads across two lines take twice as long."""
    array = np.zeros(size + 15, np.float32)
    skip = (-array.ctypes.data % 64) // 4
    return array[skip : skip + size]


def kernel(function: Callable[[int, int], None]) -> CFunc:
    """Compile a function that TensorFlow calls with the kernel's state (unused) and the context."""
    with _cache_directory():
        log_compilation()
        callback: CFunc = numba.cfunc("void(uintp, uintp)", error_model="numpy", cache=_CACHE)(function)
    return callback
