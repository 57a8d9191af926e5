"""The signatures of a model and checks of tensors against them.

This module does not import TensorFlow, because the processes that read JSON use it.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lstm_ae.arrays import Array, Dtype
from lstm_ae.serving.errors import invalid_argument
from lstm_ae.serving.json_values import type_name
from lstm_ae.serving.tensors import format_shape

# A request without a signature name uses this one.
DEFAULT_SIGNATURE = "serving_default"
# The value of this input of a rollout determines the shape of the output.
HORIZON = "horizon"
# Error messages list at most this many names.
NAMES = 50


class TensorSpec(NamedTuple):
    """The dtype (object for bytes) and shape of an input or output; None for a variable size or an unknown shape."""

    dtype: Dtype
    shape: tuple[int | None, ...] | None


class SentTensor(NamedTuple):
    """The dtype and shape of a tensor message that is not yet converted to an array."""

    dtype: Dtype
    shape: tuple[int, ...]


class Signature(NamedTuple):
    """A callable function of a model.

    Args:
        name: The name of the signature.
        inputs: The inputs by name.
        outputs: The outputs by name.
        batched: Whether all inputs and outputs have one row per sample.
        exact: Whether inputs of other shapes are refused before the model is called.
    """

    name: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    batched: bool
    exact: bool = True


def check_names(signature: Signature, inputs: Mapping[str, object]) -> None:
    """Refuse inputs whose names differ from the signature."""
    expected = signature.inputs
    extra = (name for name in inputs if name not in expected)
    if len(inputs) != len(expected):
        missing = [name for name in expected if name not in inputs]
        raise invalid_argument(
            f"input size does not match signature: {len(inputs)}!={len(expected)} len({_names(inputs)}) != "
            f"len({_names(expected)}). Sent extra: {_names(extra)}. Missing but required: {_names(missing)}."
        )
    for name in sorted(extra):
        raise invalid_argument(
            f"input tensor alias not found in signature: {name}. Inputs expected to be in the set {_names(expected)}."
        )


def check_tensors(signature: Signature, inputs: Mapping[str, Array | SentTensor]) -> None:
    """Refuse tensors, or their headers, whose names or dtypes differ from the signature.

    An exact signature also refuses other shapes.
    """
    check_names(signature, inputs)
    for name, spec in signature.inputs.items():
        if inputs[name].dtype != spec.dtype:
            actual, expected = type_name(inputs[name].dtype), type_name(spec.dtype)
            raise invalid_argument(f"Expected input {name} to be {expected} but {actual} is provided.")
    if signature.exact and (mismatch := describe_shape_mismatch(signature, inputs)):
        raise invalid_argument(mismatch)


def describe_shape_mismatch(signature: Signature, inputs: Mapping[str, Array | SentTensor]) -> str:
    """Describe the first input whose shape differs from the signature; "" if all match."""
    for name, spec in signature.inputs.items():
        shape = inputs[name].shape
        if spec.shape is not None and not _fits(shape, spec.shape):
            return f"Input {name!r} must have the shape {format_shape(spec.shape)}. Received: {format_shape(shape)}"
    if signature.batched and len({array.shape[0] for array in inputs.values()}) > 1:
        sizes = ", ".join(f"{name}: {array.shape[0]}" for name, array in inputs.items())
        return f"All inputs must have the same number of rows. Received: {sizes}"
    return ""


def count_samples(signature: Signature, inputs: Mapping[str, Array]) -> int:
    """Return the number of samples in the inputs; 0 if they cannot be batched with others."""
    return (
        len(next(iter(inputs.values()))) if signature.batched and not describe_shape_mismatch(signature, inputs) else 0
    )


def empty_input(inputs: Mapping[str, Array]) -> str:
    """Describe the first input without values; "" if there is none."""
    for name, array in inputs.items():
        if not array.size:
            return f"Input {name!r} is empty. Received the shape: {format_shape(array.shape)}"
    return ""


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(b in (None, a) for a, b in zip(shape, expected, strict=True))


def _names(names: Iterable[str]) -> str:
    """Return names in braces, limited to some of them, since a message can contain a million."""
    names = iter(names)
    first_names = sorted(itertools.islice(names, NAMES))
    return f"{{{','.join(first_names)}{',...' if next(names, None) is not None else ''}}}"
