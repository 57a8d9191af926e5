"""Tensors of gRPC messages as arrays, both ways, with every size checked before anything is laid out in memory."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto

from lstm_ae.serving.cells import MOST_DIMENSIONS
from lstm_ae.serving.refusals import invalid
from lstm_ae.serving.servable import Sent

# By dtype, the field that holds values one by one.
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}
# Cells of a tensor. A message of a few bytes can ask for any number of copies of its last value.
MOST_CELLS = 2**25


def described(name: str, proto: TensorProto) -> Sent:
    """The dtype and the shape that a message says of itself; refuses those that no array here can have."""
    if proto.dtype not in _FIELDS:
        known = proto.dtype in types_pb2.DataType.values() and proto.dtype != types_pb2.DT_INVALID
        which = f"a dtype that is not served: {types_pb2.DataType.Name(proto.dtype)}" if known else "no dtype"
        raise invalid(f"Input {name!r} has {which}")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise invalid(f"Input {name!r} must have a shape of whole numbers from 0 up. Received: {list(shape)}")
    cells = math.prod(shape)
    if len(shape) > MOST_DIMENSIONS or max(shape, default=0) > MOST_CELLS:
        raise invalid(f"Input {name!r} has more dimensions, or a longer one, than any model takes")
    if cells > MOST_CELLS:
        raise invalid(f"Input {name!r} may have at most {MOST_CELLS} values. Its shape says: {cells}")
    return Sent(np.dtype(tf.dtypes.as_dtype(proto.dtype).as_numpy_dtype), shape)


def to_array(name: str, proto: TensorProto, most: int | None = None) -> NDArray[Any]:
    """The array that a message says; refuses one whose values are not as many as its shape needs.

    Args:
        most: bytes of an array whose last value is repeated; None for any number.
    """
    dtype, shape = described(name, proto)
    field, cells = _FIELDS[proto.dtype], math.prod(shape)
    if proto.tensor_content and dtype.kind != "O":
        if len(proto.tensor_content) != cells * dtype.itemsize:
            raise invalid(
                f"Input {name!r} must have {cells * dtype.itemsize} bytes of tensor_content for its shape and dtype. "
                f"Received: {len(proto.tensor_content)}"
            )
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = getattr(proto, field)
    # Fewer values than cells mean that the last one goes on to the end.
    if len(values) > cells or (not values and cells):
        raise invalid(f"Input {name!r} must have {cells} values in {field} for its shape. Received: {len(values)}")
    if most is not None and len(values) < cells:
        size = cells * (len(values[-1]) if dtype.kind == "O" else dtype.itemsize)
        if size > most:
            raise invalid(f"Input {name!r} may repeat its last value up to {most} bytes. Its shape says: {size}")
    return _repeated(values, dtype, cells).reshape(shape)


def _repeated(values: Sequence[Any], dtype: np.dtype[Any], cells: int) -> NDArray[Any]:
    array = np.empty(cells, dtype)
    with np.errstate(over="ignore"):
        array[: len(values)] = np.asarray(values, dtype if dtype.kind == "O" else None).astype(dtype)
    if len(values):
        array[len(values) :] = values[-1]
    return array


def to_proto(array: NDArray[Any]) -> TensorProto:
    """A message of an array, as bytes where it has numbers."""
    if array.dtype.kind == "O":
        return tf.make_tensor_proto(array)
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in array.shape])
    number = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    return TensorProto(dtype=number, tensor_shape=shape, tensor_content=np.ascontiguousarray(array).tobytes())
