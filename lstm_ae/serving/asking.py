"""The client's side of TensorFlow Serving's JSON: a request written by column, and its answer read.

Source: https://www.tensorflow.org/tfx/serving/api_rest, "Request and response in columnar format" and "JSON mapping".
"""

import base64
import json
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from lstm_ae.serving.cells import tensor
from lstm_ae.serving.refusals import Refusal
from lstm_ae.serving.rows import Tensors
from lstm_ae.serving.servable import Signature


def write_request(signature: Signature, inputs: Tensors) -> bytes:
    """The body that asks a signature for these inputs; text goes as base64, which any bytes survive."""
    # orjson writes null for NaN, which no server takes for a number.
    if all(array.dtype.kind == "f" and np.isfinite(array).all() for array in inputs.values()):
        return orjson.dumps({"signature_name": signature.name, "inputs": inputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    plain = {name: (_base64(array) if array.dtype.kind == "O" else array).tolist() for name, array in inputs.items()}
    return json.dumps({"signature_name": signature.name, "inputs": plain}).encode()


def read_outputs(signature: Signature, content: Any) -> Tensors:
    """An answer's outputs, text as bytes.

    Raises:
        ValueError: the answer is none of this signature's.
    """
    try:
        outputs = content["outputs"]
        named = outputs if len(signature.outputs) > 1 else {next(iter(signature.outputs)): outputs}
        return {
            name: tensor(named[name], spec.dtype) if spec.dtype.kind == "O" else np.array(named[name], spec.dtype)
            for name, spec in signature.outputs.items()
        }
    except (KeyError, TypeError, ValueError, OverflowError, Refusal) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _base64(array: NDArray[Any]) -> NDArray[Any]:
    found = np.empty(array.shape, object)
    for place, cell in np.ndenumerate(array):
        found[place] = {"b64": base64.b64encode(cell).decode()}
    return found
