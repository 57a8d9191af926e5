"""Conversion between the messages of TensorFlow Serving's gRPC interface and arrays, with strict checks."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto

from lstm_ae.arrays import Array, Dtype
from lstm_ae.export.warmup import encode_field
from lstm_ae.serving.errors import invalid_argument
from lstm_ae.serving.json_values import MAX_DIMENSIONS
from lstm_ae.serving.signatures import SentTensor
from lstm_ae.serving.tensors import Tensors

# Each dtype has its own field for typed values.
_VALUE_FIELDS = {
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

# The number of cells is limited, because a message of a few bytes can request any number of copies of its last value.
MAX_CELLS = 2**25


def read_tensor_header(name: str, proto: TensorProto) -> SentTensor:
    """Return the dtype and shape of a tensor message.

    Raises:
        Refusal: If no array here can have this dtype or shape.
    """
    if proto.dtype not in _VALUE_FIELDS:
        is_known = proto.dtype in types_pb2.DataType.values() and proto.dtype != types_pb2.DT_INVALID
        problem = f"a dtype that is not served: {types_pb2.DataType.Name(proto.dtype)}" if is_known else "no dtype"
        raise invalid_argument(f"Input {name!r} has {problem}")
    # This check comes first, because the product of many sizes takes long to compute.
    if len(proto.tensor_shape.dim) > MAX_DIMENSIONS:
        raise invalid_argument(f"Input {name!r} has too many dimensions")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise invalid_argument(f"Input {name!r} must have a shape of non-negative integers. Received: {list(shape)}")
    if math.prod(shape) > MAX_CELLS:
        raise invalid_argument(f"Input {name!r} may have at most {MAX_CELLS} values")
    return SentTensor(np.dtype(tf.dtypes.as_dtype(proto.dtype).as_numpy_dtype), shape)


def proto_to_array(name: str, proto: TensorProto, max_bytes: int) -> Array:
    """Convert a tensor message to an array.

    Args:
        name: The name of the input.
        proto: The message.
        max_bytes: The largest size in bytes of an array whose last value is repeated.

    Raises:
        Refusal: If the number of values does not fit the shape.
    """
    dtype, shape = read_tensor_header(name, proto)
    key, cells = _VALUE_FIELDS[proto.dtype], math.prod(shape)
    if proto.tensor_content and dtype.kind != "O":
        if len(proto.tensor_content) != cells * dtype.itemsize:
            raise invalid_argument(
                f"Input {name!r} must have {cells * dtype.itemsize} bytes of tensor_content for its shape and dtype. "
                f"Received: {len(proto.tensor_content)}"
            )
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = getattr(proto, key)
    # As in TensorFlow, the last value is repeated to the end; without values all cells are zero or empty.
    if len(values) > cells:
        raise invalid_argument(
            f"Input {name!r} must have {cells} values in {key} for its shape. Received: {len(values)}"
        )
    if len(values) < cells:
        size = cells * (max(1, len(values[-1]) if values else 0) if dtype.kind == "O" else dtype.itemsize)
        if size > max_bytes:
            raise invalid_argument(
                f"Input {name!r} may repeat its last value up to {max_bytes} bytes. Its shape needs: {size}"
            )
    return _fill_array(values, dtype, cells).reshape(shape)


def to_arrays(protos: Mapping[str, TensorProto], max_bytes: int) -> Tensors:
    """Convert messages to arrays by name; see `proto_to_array`."""
    return {name: proto_to_array(name, proto, max_bytes) for name, proto in protos.items()}


def count_bytes(headers: Mapping[str, SentTensor]) -> int:
    """Return the size in bytes of tensors that are not yet allocated."""
    return sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in headers.values())


def _fill_array(values: Sequence[bytes | float], dtype: Dtype, cells: int) -> Array:
    array = np.empty(cells, dtype)
    with np.errstate(over="ignore"):
        array[: len(values)] = np.asarray(values, dtype if dtype.kind == "O" else None).astype(dtype)
    array[len(values) :] = values[-1] if len(values) else b"" if dtype.kind == "O" else 0
    return array


def array_to_proto(array: Array) -> TensorProto:
    """Convert an array to a message with typed values (`float_val`, ...)."""
    number = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in array.shape])
    proto = TensorProto(dtype=number, tensor_shape=shape)
    key = _VALUE_FIELDS[number]
    if array.dtype.kind == "f":
        # A packed field of floats has the layout of the array; appending values one by one takes 200 times as long.
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        proto.MergeFromString(encode_field(TensorProto.DESCRIPTOR.fields_by_name[key].number, little.tobytes()))
    else:
        getattr(proto, key).extend(array.ravel().tolist())
    return proto
