"""Operations on tensors with one row per sample: slicing and concatenation."""

from collections.abc import Mapping, Sequence

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.serving.errors import Refusal, StatusCode

Tensors = dict[str, Array]


def format_shape(shape: Sequence[int | None]) -> str:
    """Return a shape as text, with "any" for variable sizes.

    >>> format_shape((None, 3))
    '(any, 3)'
    """
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"


def list_shape(shape: Sequence[int]) -> str:
    """Return a shape as TensorFlow Serving's messages have it, such as `[2,3]`."""
    return f"[{','.join(map(str, shape))}]"


def count_rows(tensors: Mapping[str, Array]) -> int:
    """Return the number of rows."""
    return len(next(iter(tensors.values())))


def take_rows(tensors: Mapping[str, Array], rows: slice) -> Tensors:
    """Return a slice of the rows."""
    return {name: array[rows] for name, array in tensors.items()}


def concatenate_tensors(parts: list[Tensors]) -> Tensors:
    """Concatenate the rows of all parts."""
    return parts[0] if len(parts) == 1 else {name: _concatenate([part[name] for part in parts]) for name in parts[0]}


def pad_steps(array: Array, steps: int) -> Array:
    """Pad a forecast with NaN to a number of steps, as is done for rows with a shorter horizon."""
    missing = [(0, 0)] * array.ndim
    missing[1] = (0, steps - array.shape[1])
    return np.pad(array, missing, constant_values=np.nan)


def _concatenate(arrays: list[Array]) -> Array:
    """Concatenate arrays along the rows; forecasts with fewer steps are padded with NaN."""
    if arrays[0].ndim > 1 and arrays[0].dtype.kind == "f" and len({array.shape[1] for array in arrays}) > 1:
        longest = max(array.shape[1] for array in arrays)
        arrays = [pad_steps(array, longest) for array in arrays]
    return np.concatenate(arrays)


def require_row_outputs(outputs: Tensors, rows: int) -> Tensors:
    """Return the outputs if they have one row per sample.

    Raises:
        Refusal: If the rows of an output cannot be assigned to samples.
    """
    if any(array.ndim == 0 or len(array) != rows for array in outputs.values()):
        raise Refusal(
            StatusCode.INTERNAL,
            "The outputs do not have one row per sample. Send fewer rows.",
        )
    return outputs
