"""Rows of which some cannot be taken: each of those is told, and the others are taken as if it were not there."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from lstm_ae.errors import DataError

Made = TypeVar("Made")
Refuse = Callable[[DataError], Any]


def raised(error: DataError) -> None:
    """Refuse a row by raising what is wrong with it."""
    raise error


def taken(rows: Sequence[Any], act: Callable[[Any], Made], refuse: Refuse = raised) -> Iterator[Made]:
    """What `act` makes of rows, all at once where it can: it is tried on ever smaller pieces, in their order.

    Args:
        act: makes something of a piece of the rows, one at least; where it raises `DataError` it has changed nothing.
        refuse: is told what is wrong with a row; what was made of those before it has been given by then.
    """
    try:
        made = act(rows)
    except DataError as error:
        problem = error
    else:
        yield made
        return
    if len(rows) == 1:
        refuse(problem)
        return
    half = len(rows) // 2
    yield from taken(rows[:half], act, refuse)
    yield from taken(rows[half:], act, refuse)
