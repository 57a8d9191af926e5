"""Replace `tf.function` so that nothing is traced."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

TRACE = tf.function


class UntracedFunction:
    """The part of the `tf.function` interface that this package uses, without a graph."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.function(*arguments, **named)

    def get_concrete_function(self, *signature: Any) -> Callable[..., Any]:
        """Return the function; as a concrete function, it takes a dictionary of tensors as keyword arguments."""
        return lambda *arguments, **tensors: self.function(*arguments, *([tensors] if tensors else []))


def leave_untraced(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Replace `tf.function`, except as the decorator of operations that Keras must compile."""
    return TRACE(**options) if function is None else UntracedFunction(function)
