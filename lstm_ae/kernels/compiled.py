"""How the functions of this package are compiled: once a machine, where the result can be kept."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba


def _probe() -> None:
    """Something to compile."""


def _can_be_kept() -> bool:
    """Whether Numba finds a directory for compiled code: beside the source, or in the user's cache."""
    try:
        numba.njit(cache=True)(_probe)
    except RuntimeError:
        return False
    return True


_CACHE = _can_be_kept()
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function that other compiled ones call. Products and sums may be fused."""
    made: Function = numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy", cache=_CACHE)(function)
    return made


def kernel(function: Callable[[int, int], None]) -> Any:
    """Compile a function that TensorFlow calls: of its state (none here) and its context."""
    return numba.cfunc("void(uintp, uintp)", error_model="numpy", cache=_CACHE)(function)
