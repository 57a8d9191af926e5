"""Parameters of which the quick and the slow tests run a sample."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def sampled(values: Iterable[Any], *, slow: Collection[Any], quick: Collection[Any] = ()) -> list[Any]:
    """Return parameters with marks: none for those in `quick`, slow for those in `slow`, and else exhaustive.

    Args:
        values: Parameters of a test; a tuple holds one value per name.
        slow: Parameters that cover different code.
        quick: Parameters that take part of a second.
    """
    values = list(values)
    assert all(value in values for value in (*slow, *quick)), "a sample contains what is no parameter"

    def mark(value: Any) -> list[pytest.MarkDecorator]:
        return [] if value in quick else [pytest.mark.slow if value in slow else pytest.mark.exhaustive]

    return [pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=mark(value)) for value in values]
