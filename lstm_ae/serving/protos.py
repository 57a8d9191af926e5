"""gRPC's messages as arrays, both ways, with every size checked before anything is laid out in memory.

Source: `tensorflow/core/framework/tensor.proto`, `tensorflow/core/example/example.proto` and
`tensorflow_serving/apis/{input,classification,regression}.proto`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow_serving.apis.classification_pb2 import ClassificationResult
from tensorflow_serving.apis.regression_pb2 import RegressionResult

from lstm_ae.exporting.warmup import field
from lstm_ae.serving.cells import MOST_DIMENSIONS
from lstm_ae.serving.reading import Features
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
    key, cells = _FIELDS[proto.dtype], math.prod(shape)
    if proto.tensor_content and dtype.kind != "O":
        if len(proto.tensor_content) != cells * dtype.itemsize:
            raise invalid(
                f"Input {name!r} must have {cells * dtype.itemsize} bytes of tensor_content for its shape and dtype. "
                f"Received: {len(proto.tensor_content)}"
            )
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = getattr(proto, key)
    # As in TensorFlow, the last value repeats to the end, and without any value all are zero or empty text.
    if len(values) > cells:
        raise invalid(f"Input {name!r} must have {cells} values in {key} for its shape. Received: {len(values)}")
    if most is not None and len(values) < cells:
        size = cells * (max(1, len(values[-1]) if values else 0) if dtype.kind == "O" else dtype.itemsize)
        if size > most:
            raise invalid(f"Input {name!r} may repeat its last value up to {most} bytes. Its shape says: {size}")
    return _repeated(values, dtype, cells).reshape(shape)


def _repeated(values: Sequence[Any], dtype: np.dtype[Any], cells: int) -> NDArray[Any]:
    array = np.empty(cells, dtype)
    with np.errstate(over="ignore"):
        array[: len(values)] = np.asarray(values, dtype if dtype.kind == "O" else None).astype(dtype)
    array[len(values) :] = values[-1] if len(values) else b"" if dtype.kind == "O" else 0
    return array


def to_proto(array: NDArray[Any], *, content: bool = False) -> TensorProto:
    """Convert an array to a message.

    Args:
        content: write numbers to `tensor_content` as bytes instead of to the field of their type (`float_val`, ...).
    """
    number = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in array.shape])
    proto = TensorProto(dtype=number, tensor_shape=shape)
    key = _FIELDS[number]
    if content and array.dtype.kind != "O":
        proto.tensor_content = array.tobytes()
    elif array.dtype.kind == "f":
        # A packed field of floats has the layout of the array; appending values one by one takes 200 times as long.
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        proto.MergeFromString(field(TensorProto.DESCRIPTOR.fields_by_name[key].number, little.tobytes()))
    else:
        getattr(proto, key).extend(array.ravel().tolist())
    return proto


def to_example(features: Features) -> bytes:
    """Serialize features as a `tf.Example`."""
    example = Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        if values is None:
            continue
        kind = {"O": feature.bytes_list, "f": feature.float_list, "i": feature.int64_list}[values.dtype.kind]
        kind.value.extend(values.tolist())
    return bytes(example.SerializeToString())


def serialize_examples(given: Any) -> list[bytes]:
    """Serialize the examples of an `Input` message; each follows its context, whose features it overrides."""
    if given.WhichOneof("kind") == "example_list_with_context":
        listed = given.example_list_with_context
        context = listed.context.SerializeToString()
        return [context + example.SerializeToString() for example in listed.examples]
    return [example.SerializeToString() for example in given.example_list.examples]


def to_classification(labels: NDArray[Any], scores: NDArray[Any]) -> ClassificationResult:
    """Convert labels and scores, both `(examples, classes)`, to a message."""
    result = ClassificationResult()
    for row in zip(labels.tolist(), scores.tolist(), strict=True):
        classes = result.classifications.add().classes
        for label, score in zip(*row, strict=True):
            classes.add(label=label, score=score)
    return result


def to_regression(values: NDArray[Any]) -> RegressionResult:
    """Convert values, one per example, to a message."""
    result = RegressionResult()
    for value in values.tolist():
        result.regressions.add(value=value)
    return result
