"""What the trials of a search say of each option."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from lstm_ae.search.pairs import Count, compare, in_pairs, scored, total
from lstm_ae.search.trials import Objective, Trial, ranked
from lstm_ae.space import Axis

# Options whose 0 means "no limit": it comes after the largest value, not before the smallest.
_LIMITS = ("clip", "patience")


class Finding(NamedTuple):
    """One line on one option.

    Args:
        axis: the option.
        values: the two values that were compared, the one that is better more often first; or all of its values, that
            end first; or the winner's one.
        better: pairs in which that holds; 0 where no two trials differed.
        pairs: pairs of trials that agree in all other searched options (and, with Hyperband, in the epoch they are
            trained to); 0 for the winner's value.
        clear: those of the `better` pairs whose means differ by more than the sum of their two standard deviations
            over the seeds; None where no pair has both.
        text: all of this in words.
    """

    axis: str
    values: tuple[Any, ...]
    better: int
    pairs: int
    clear: int | None
    text: str

    def __str__(self) -> str:
        return self.text


def findings(trials: Iterable[Trial], axes: Sequence[Axis], objective: Objective) -> list[Finding]:
    """What the trials say of each option, in the order of `axes`.

    For an option with listed values: each two neighbouring values (numbers in ascending order) compared over all pairs
    of trials that agree in the rest, then, for three or more numbers, whether larger or smaller ones are better over
    all neighbours together. For every option: the winner's value. Trials without a finite score are left out; pruned
    ones count with the score they had reached. What no pair speaks of is not mentioned.
    """
    tried = scored(trials)
    winner = next(iter(ranked(tried, objective)), None)
    found = []
    for axis in axes:
        name = axis.name.replace("_", " ")
        others = [other.name for other in axes if other.name != axis.name]
        values, numeric = _ordered(axis)
        steps = [(pair, compare(tried, axis.name, others, pair, objective)) for pair in pairwise(values)]
        steps = [(pair, count) for pair, count in steps if count.pairs]
        for pair, count in steps:
            first = count.first >= count.second
            best, other = pair if first else pair[::-1]
            text = _told(count, f"{name} {_word(best)}", f"{name} {_word(other)}", first=first)
            found.append(Finding(axis.name, (best, other), *count.of(first), text))
        if numeric and len(steps) > 1:
            count = total(count for _, count in steps)
            larger = count.second >= count.first
            one, rest = ("larger", "smaller") if larger else ("smaller", "larger")
            text = _told(count, f"{one} {name}", f"{rest} ones", first=not larger, than=False)
            found.append(Finding(axis.name, values[::-1] if larger else values, *count.of(not larger), text))
        if winner is not None and axis.name in winner.values:
            value = winner.values[axis.name]
            found.append(Finding(axis.name, (value,), 0, 0, None, f"the winner has {name} {_word(value)}"))
    return found


def _told(count: Count, best: str, other: str, *, first: bool, than: bool = True) -> str:
    """Which is better and how often; only what is so in most pairs is called better without the pairs against it."""
    better, pairs, clear = count.of(first)
    worse = count.first + count.second - better
    if 2 * better > pairs:
        return f"{best} better {f'than {other} ' if than else ''}{in_pairs(better, pairs, clear)}"
    if not better:
        return f"{best} as good as {other} {in_pairs(pairs, pairs)}"
    if better == worse:
        return f"{best} better as often as {other}, {in_pairs(better, pairs)} each"
    return f"{best} better {f'than {other} ' if than else ''}in {better} and worse in {worse} of {pairs} pairs"


def _ordered(axis: Axis) -> tuple[tuple[Any, ...], bool]:
    """The listed values, numbers in ascending order, and whether they are numbers."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in axis.values):
        return axis.values, False
    endless = axis.name in _LIMITS
    return tuple(sorted(axis.values, key=lambda value: math.inf if endless and value == 0 else value)), True


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
