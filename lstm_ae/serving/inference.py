"""Classify and Regress: calls of signatures that take serialized `tf.Example`s.

The rules and messages are TensorFlow Serving's (`servables/tensorflow/{classifier,regressor}.cc`).
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.serving.errors import Refusal, StatusCode, invalid_argument, limit_instances
from lstm_ae.serving.request_handler import RequestHandler
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.signatures import DEFAULT_SIGNATURE, Signature
from lstm_ae.serving.tensors import list_shape
from lstm_ae.serving.workers import call_in_thread

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"


class Classification(NamedTuple):
    """The result of a classifier: the label (text) and the score of each class, both `(examples, classes)`."""

    labels: Array
    scores: Array


class SentExamples(NamedTuple):
    """The examples of a request, which are serialized only after the request has been checked.

    Args:
        number: The number of examples.
        serialize: Function that returns the serialized features shared by all examples, and the examples as
            serialized `tf.Example`s.
    """

    number: int
    serialize: Callable[[], tuple[bytes, list[bytes]]]


async def infer(
    handler: RequestHandler, servable: Servable, method: str, name: str, examples: SentExamples, seconds: float | None
) -> Classification | Array:
    """Run a signature on examples.

    Args:
        handler: The handler of the requests.
        servable: The model version.
        method: `CLASSIFY` or `REGRESS`.
        name: The name of the signature; "" for the default one.
        examples: The examples of the request.
        seconds: Time until the client's deadline; None if it has none.

    Returns:
        A `Classification` for `CLASSIFY`, a float32 array `(examples,)` for `REGRESS`.

    Raises:
        Refusal: If the model has no such signature, the signature is for another method, its outputs do not fit the
            method, or the examples exceed the limits.
    """
    signature = servable.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {name or DEFAULT_SIGNATURE}")
    require_example_signature(signature, method)
    inputs = await _serialized(handler, examples)
    return await _run_examples(handler, servable, method, signature, inputs, seconds)


def require_example_signature(signature: Signature, method: str) -> None:
    """Refuse a signature that does not fit `CLASSIFY` or `REGRESS`."""
    kind = "classification" if method == CLASSIFY else "regression"
    if signature.method != method:
        raise invalid_argument(f"Expected {kind} signature method_name to be {method}. Was: {signature.method}")
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    count = len(signature.outputs)
    if method == CLASSIFY and count not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {count}")
    if method == REGRESS and count != 1:
        raise invalid_argument("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise _signature_error(f"No {kind} inputs found in SignatureDef", signature)
    if method == CLASSIFY and not {CLASSES, SCORES} & signature.outputs.keys():
        words = f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}"'
        raise _signature_error(words, signature)
    if method == REGRESS and OUTPUTS not in signature.outputs:
        raise _signature_error("No regression outputs found in SignatureDef", signature)


def _signature_error(words: str, signature: Signature) -> Refusal:
    names = f"inputs {', '.join(signature.inputs)}; outputs {', '.join(signature.outputs)}"
    return Refusal(StatusCode.FAILED_PRECONDITION, f"{words}. Signature {signature.name!r} has {names}")


async def _serialized(handler: RequestHandler, examples: SentExamples) -> Array:
    """Return the serialized examples, `(examples,)`.

    Raises:
        Refusal: If there are no examples, or they exceed the limits.
    """
    if not examples.number:
        raise invalid_argument("Input is empty.")
    limit_instances(examples.number, handler.limits.instances)
    return await asyncio.to_thread(_joined, examples, handler.limits.body)


def _joined(examples: SentExamples, limit: int) -> Array:
    """Put the shared features before each example, whose own features override them."""
    context, own = examples.serialize()
    size = len(context) * len(own) + sum(map(len, own))
    # Otherwise a small request could create many copies of a long context.
    if size > limit:
        raise invalid_argument(
            f"The examples, each with the context, may have at most {limit} bytes. Send fewer examples. "
            f"Received: {size}"
        )
    inputs = np.empty(len(own), object)
    inputs[:] = [context + example for example in own] if context else own
    return inputs


async def _run_examples(
    handler: RequestHandler,
    servable: Servable,
    method: str,
    signature: Signature,
    inputs: Array,
    seconds: float | None,
) -> Classification | Array:
    outputs = await handler.predict(servable, signature, {INPUTS: inputs}, seconds)
    if method == REGRESS:
        return _check_regression(outputs[OUTPUTS], len(inputs))
    size = sum(array.nbytes for array in outputs.values())
    return await call_in_thread(size, _make_classification, outputs.get(CLASSES), outputs.get(SCORES), len(inputs))


def _check_regression(values: Array, examples: int) -> Array:
    if values.ndim != 1 and not (values.ndim == 2 and values.shape[1] == 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            + list_shape(values.shape)
        )
    if len(values) != examples:
        raise invalid_argument(f"Input batch size did not match output batch size: {examples} vs. {len(values)}")
    if values.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT. Got: {_dtype_name(values)}")
    return values.reshape(examples)


def _make_classification(labels: Array | None, scores: Array | None, examples: int) -> Classification:
    """Check the outputs and replace a missing one with empty labels or scores of zero."""
    for name, array, dtype in ((CLASSES, labels, "STRING"), (SCORES, scores, "FLOAT")):
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {list_shape(array.shape)}")
        if _dtype_name(array) != f"DT_{dtype}":
            raise invalid_argument(f"Expected {name} Tensor of DT_{dtype}. Got: {_dtype_name(array)}")
        if len(array) != examples:
            raise invalid_argument(f"Expected {name} output batch size of {examples}. Got: {len(array)}")
    if labels is not None and scores is not None and labels.shape != scores.shape:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    if scores is None:
        assert labels is not None
        scores = np.zeros(labels.shape, np.float32)
    texts = np.full(scores.shape, "", object)
    for place, label in np.ndenumerate(texts if labels is None else labels):
        if label:
            try:
                texts[place] = label.decode()
            except UnicodeDecodeError:
                raise invalid_argument(f"Output {CLASSES!r} contains bytes that are not text") from None
    return Classification(texts, scores)


def _dtype_name(array: Array) -> str:
    names = {"object": "STRING", "float32": "FLOAT", "float64": "DOUBLE"}
    return f"DT_{names.get(array.dtype.name, array.dtype.name.upper())}"
