"""Classify, Regress and MultiInference: calls of signatures that take serialized `tf.Example`s.

Rules and messages are TensorFlow Serving's (`servables/tensorflow/{classifier,regressor,multi_inference}.cc`).
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.serving.errors import Refusal, StatusCode, invalid_argument
from lstm_ae.serving.servable import DEFAULT, Servable, Signature
from lstm_ae.serving.service import Service

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"


class Classification(NamedTuple):
    """A classifier's result: the label (text) and the score of each class, both `(examples, classes)`."""

    labels: NDArray[Any]
    scores: NDArray[Any]


async def infer(
    service: Service, servable: Servable, method: str, name: str, examples: Sequence[bytes], seconds: float | None
) -> Any:
    """Run a signature on examples.

    Args:
        method: CLASSIFY or REGRESS.
        name: the signature; "" for the default one.
        examples: serialized `tf.Example`s.
        seconds: time left until the client's deadline; None for no deadline of its own.

    Returns:
        Classes for CLASSIFY, an array `(examples,)` of float32 for REGRESS.

    Raises:
        Refusal: the model has no such signature, it is for another method, or its outputs do not fit the method.
    """
    signature = servable.signatures.get(name or DEFAULT)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {name or DEFAULT}")
    require_example_signature(signature, method)
    return await _run(service, servable, method, signature, examples, seconds)


async def infer_many(
    service: Service,
    servable: Servable,
    tasks: Iterable[tuple[str, str]],
    examples: Sequence[bytes],
    seconds: float | None,
) -> list[Any]:
    """Run several signatures on the same examples; see `infer`.

    Args:
        tasks: pairs of signature and method.

    Raises:
        Refusal: also if a signature occurs twice, or if signatures read different tensors of the model.
    """
    chosen: dict[str, tuple[str, Signature]] = {}
    for name, method in tasks:
        signature = servable.signatures.get(name or DEFAULT)
        if (name or DEFAULT) in chosen:
            raise invalid_argument(f"Duplicate evaluation of signature: {name or DEFAULT}")
        if signature is None:
            raise invalid_argument(f"Requested signature not found in model graph: {name or DEFAULT}")
        if method not in (CLASSIFY, REGRESS):
            raise Refusal(StatusCode.UNIMPLEMENTED, f"Unsupported signature method_name: {method}")
        require_example_signature(signature, method)
        chosen[signature.name] = method, signature
    if len({servable.definitions[name].inputs[INPUTS].name for name in chosen}) > 1:
        raise invalid_argument("Input tensor must be the same for all Signatures.")
    asked = [_run(service, servable, method, found, examples, seconds) for method, found in chosen.values()]
    return list(await asyncio.gather(*asked))


def require_example_signature(signature: Signature, method: str) -> None:
    """Refuse a signature that does not fit CLASSIFY or REGRESS."""
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
        raise _unfinished(f"No {kind} inputs found in SignatureDef", signature)
    if method == CLASSIFY and not {CLASSES, SCORES} & signature.outputs.keys():
        words = f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}"'
        raise _unfinished(words, signature)
    if method == REGRESS and OUTPUTS not in signature.outputs:
        raise _unfinished("No regression outputs found in SignatureDef", signature)


def _unfinished(words: str, signature: Signature) -> Refusal:
    names = f"inputs {', '.join(signature.inputs)}; outputs {', '.join(signature.outputs)}"
    return Refusal(StatusCode.FAILED_PRECONDITION, f"{words}. Signature {signature.name!r} has {names}")


async def _run(
    service: Service,
    servable: Servable,
    method: str,
    signature: Signature,
    examples: Sequence[bytes],
    seconds: float | None,
) -> Any:
    if not examples:
        raise invalid_argument("Input is empty.")
    service.limit_instances(len(examples))
    inputs = np.empty(len(examples), object)
    inputs[:] = examples
    outputs = await service.predict(servable, signature, {INPUTS: inputs}, seconds)
    if method == REGRESS:
        return _values(outputs[OUTPUTS], len(examples))
    return _classes(outputs.get(CLASSES), outputs.get(SCORES), len(examples))


def _values(values: NDArray[Any], examples: int) -> NDArray[Any]:
    if values.ndim != 1 and not (values.ndim == 2 and values.shape[1] == 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got " + _listed(values)
        )
    if len(values) != examples:
        raise invalid_argument(f"Input batch size did not match output batch size: {examples} vs. {len(values)}")
    if values.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT. Got: {_type(values)}")
    return values.reshape(examples)


def _classes(labels: NDArray[Any] | None, scores: NDArray[Any] | None, examples: int) -> Classification:
    """Check the outputs and fill in a missing one: empty labels, or scores of zero."""
    for name, array, dtype in ((CLASSES, labels, "STRING"), (SCORES, scores, "FLOAT")):
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {_listed(array)}")
        if _type(array) != f"DT_{dtype}":
            raise invalid_argument(f"Expected {name} Tensor of DT_{dtype}. Got: {_type(array)}")
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
                raise invalid_argument(f"Output {CLASSES!r} holds bytes that are no text") from None
    return Classification(texts, scores)


def _listed(array: NDArray[Any]) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _type(array: NDArray[Any]) -> str:
    names = {"object": "STRING", "float32": "FLOAT", "float64": "DOUBLE"}
    return f"DT_{names.get(array.dtype.name, array.dtype.name.upper())}"
