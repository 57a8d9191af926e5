"""Register functions compiled by Numba as TensorFlow operations, through TensorFlow's C API for kernels.

This API (`tensorflow/c/kernels.h` and `ops.h`) is the one for pluggable devices. TensorFlow calls the compiled function
like its own kernels: without Python, on its threads, and in its memory.
"""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
import tensorflow as tf
from numba import types
from numba.core.ccallback import CFunc

from lstm_ae.arrays import Float32Array, Int64Array
from lstm_ae.kernels.compiled import compiled

_PATH = str(next(Path(tf.sysconfig.get_lib()).glob("libtensorflow_framework*.[sd][oy]*"), ""))
if not _PATH:
    raise ImportError("the shared library of TensorFlow was not found")
# Functions that refer to symbols by name, not by address, can be cached on disk.
llvmlite.binding.load_library_permanently(_PATH)
_library = ctypes.CDLL(_PATH)

_FLOAT: int = tf.float32.as_datatype_enum
_handle, _int, _long = types.uintp, types.intc, types.int64
_new_status = types.ExternalFunction("TF_NewStatus", _handle())
_code = types.ExternalFunction("TF_GetCode", _int(_handle))
_delete_status = types.ExternalFunction("TF_DeleteStatus", types.void(_handle))
_get_input = types.ExternalFunction("TF_GetInput", types.void(_handle, _int, _handle, _handle))
_allocate = types.ExternalFunction(
    "TF_AllocateOutput", _handle(_handle, _int, _int, _handle, _int, types.uintp, _handle)
)
_fail = types.ExternalFunction("TF_OpKernelContext_Failure", types.void(_handle, _handle))
_dim = types.ExternalFunction("TF_Dim", _long(_handle, _int))
_count = types.ExternalFunction("TF_TensorElementCount", _long(_handle))
_data = types.ExternalFunction("TF_TensorData", types.voidptr(_handle))
_delete_tensor = types.ExternalFunction("TF_DeleteTensor", types.void(_handle))


@compiled
def _input(context: int, index: int) -> int:
    """Return the handle of an input's tensor."""
    status, cell = _new_status(), np.zeros(1, np.uintp)
    _get_input(context, index, cell.ctypes.data, status)
    _delete_status(status)
    return cell[0]  # type: ignore[no-any-return]


@compiled
def extent(context: int, index: int, axis: int) -> int:
    """Return the length of an input along an axis."""
    tensor = _input(context, index)
    length = _dim(tensor, axis)
    _delete_tensor(tensor)
    return length  # type: ignore[no-any-return]


@compiled
def floats(context: int, index: int) -> Float32Array:
    """Return the values of a float32 input, flat."""
    tensor = _input(context, index)
    array: Float32Array = numba.carray(_data(tensor), (_count(tensor),), np.float32)
    _delete_tensor(tensor)  # only the handle: the context owns the tensor until the function returns
    return array


@compiled
def integers(context: int, index: int) -> Int64Array:
    """Return the values of an int64 input, flat."""
    tensor = _input(context, index)
    array: Int64Array = numba.carray(_data(tensor), (_count(tensor),), np.int64)
    _delete_tensor(tensor)
    return array


@compiled
def output(
    context: int, failed: Int64Array, index: int, rank: int, first: int, second: int = 1, third: int = 1
) -> Float32Array:
    """Allocate a float32 output of one to three axes and return it flat, or fail the operation if memory is short.

    Args:
        failed: `(1,)`, set to 1 if the allocation fails; the array is then empty.
    """
    dims, size = np.array((first, second, third), np.int64), first * second * third
    status = _new_status()
    tensor = _allocate(context, index, _FLOAT, dims.ctypes.data, rank, 4 * size, status)
    if _code(status) != 0:
        failed[0] = 1
        size = 0
        _fail(context, status)
        tensor = _input(context, 0)  # any valid handle, since the output has none
    _delete_status(status)
    array: Float32Array = numba.carray(_data(tensor), (size,), np.float32)
    _delete_tensor(tensor)
    return array


def register(name: str, inputs: Sequence[str], outputs: Sequence[str], kernel: CFunc) -> None:
    """Register a compiled function as a TensorFlow operation for CPUs.

    Args:
        name: name of the operation, in camel case.
        inputs: names and types, such as `"sequence: float"`.
        outputs: names and types.
        kernel: a function compiled by `compiled.kernel`; the caller must keep a reference to it.

    Raises:
        RuntimeError: if TensorFlow rejects the operation.
    """

    def call(function: str, *arguments: object, result: type | None = None) -> Any:
        symbol = getattr(_library, function)
        symbol.restype = result
        return symbol(*arguments)

    def checked(function: str, *arguments: object) -> None:
        status = ctypes.c_void_p(call("TF_NewStatus", result=ctypes.c_void_p))
        try:
            call(function, *arguments, status)
            if call("TF_GetCode", status, result=ctypes.c_int):
                raise RuntimeError(call("TF_Message", status, result=ctypes.c_char_p).decode())
        finally:
            call("TF_DeleteStatus", status)

    text, pointer = name.encode(), ctypes.c_void_p
    definition = pointer(call("TF_NewOpDefinitionBuilder", text, result=pointer))
    for argument in inputs:
        call("TF_OpDefinitionBuilderAddInput", definition, argument.encode())
    for argument in outputs:
        call("TF_OpDefinitionBuilderAddOutput", definition, argument.encode())
    call(
        "TF_OpDefinitionBuilderSetShapeInferenceFunction", definition, _library.TF_ShapeInferenceContextSetUnknownShape
    )
    checked("TF_RegisterOpDefinition", definition)
    builder = pointer(call("TF_NewKernelBuilder", text, b"CPU", None, pointer(kernel.address), None, result=pointer))
    checked("TF_RegisterKernelBuilder", text, builder)
