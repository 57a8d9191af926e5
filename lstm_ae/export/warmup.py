"""The warm-up file of a version: requests that a server runs before it accepts the first client.

TensorFlow Serving reads `assets.extra/tf_serving_warmup_requests`, a TFRecord of at most 1,000 `PredictionLog`
messages. Their classes are in `tensorflow-serving-api`, which an export does not need for four nested messages: they
are encoded here (protobuf.dev, "Encoding") with the field numbers in
`tensorflow_serving/apis/{prediction_log,predict,model}.proto`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from lstm_ae.arrays import Array
from lstm_ae.export.layout import WARMUP_FILE

# In bytes. gRPC rejects larger requests by default.
MAX_MESSAGE_BYTES = 4 * 2**20


def write_warmup(version: Path, name: str, requests: Iterable[tuple[str, Mapping[str, Array]]]) -> None:
    """Write warm-up requests without missing values, each an endpoint and its inputs, for the model called `name`."""
    path = version / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as file:
        for endpoint, inputs in requests:
            size = sum(value.nbytes for value in inputs.values())
            if size <= MAX_MESSAGE_BYTES and all(np.isfinite(value).all() for value in inputs.values()):
                file.write(make_prediction_log(name, endpoint, inputs))


def make_prediction_log(name: str, endpoint: str, inputs: Mapping[str, Array]) -> bytes:
    """Return an encoded `PredictionLog` with one `PredictRequest`."""
    model = encode_field(1, name.encode()) + encode_field(3, endpoint.encode())  # ModelSpec: name, signature_name
    request = encode_field(1, model)  # PredictRequest: model_spec, inputs
    for key, value in sorted(inputs.items()):
        tensor = tf.make_tensor_proto(value).SerializeToString(deterministic=True)
        request += encode_field(2, encode_field(1, key.encode()) + encode_field(2, tensor))
    return encode_field(6, encode_field(1, request))  # PredictionLog.predict_log, PredictLog.request


def encode_field(number: int, content: bytes) -> bytes:
    """Return an encoded field of bytes, text, or a message: its tag, its length, and its content."""
    return _encode_varint(number << 3 | 2) + _encode_varint(len(content)) + content


def _encode_varint(number: int) -> bytes:
    """Return a number encoded with seven bits per byte, lowest first; all bytes except the last have the highest bit
    set.
    """
    low = []
    while number > 127:
        low.append(number & 127 | 128)
        number >>= 7
    return bytes([*low, number])
