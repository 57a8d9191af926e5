"""What the trials of a search show about each option: pairs that differ in one option alone."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

from lstm_ae.config.space import Axis
from lstm_ae.search.trial import Objective, Trial, rank_trials


class PairCounts(NamedTuple):
    """Pairs of trials with either value: how many, where which is better, and where by more than the spread."""

    pairs: int = 0
    first: int = 0
    second: int = 0
    clear_first: int = 0
    clear_second: int = 0
    repeated: int = 0

    def of(self, first: bool) -> tuple[int, int, int | None]:
        """`better`, `pairs` and `clear` of a `OptionFinding` that calls the first, or the second, value better."""
        better, clear = (self.first, self.clear_first) if first else (self.second, self.clear_second)
        return better, self.pairs, clear if self.repeated else None


def scored_trials(trials: Iterable[Trial]) -> list[Trial]:
    """Those with a finite score."""
    return [trial for trial in trials if trial.scored and math.isfinite(trial.score)]


def compare_values(
    trials: Sequence[Trial], name: str, others: Sequence[str] | None, pair: tuple[Any, Any], objective: Objective
) -> PairCounts:
    """Compare all trials with the first value to all with the second that agree with them in the rest.

    Args:
        trials: scored ones.
        name: the option whose values are compared.
        others: the options that have to agree; None for all that either trial has.
        pair: the two values.
    """
    # Trials that agree in the rest, by their value.
    alike: dict[Any, tuple[list[Trial], list[Trial]]] = {}
    for trial in trials:
        names = sorted(set(trial.values) - {name}) if others is None else others
        rest = (trial.until, *((other, trial.values.get(other)) for other in names))
        for side, value in enumerate(pair):
            if trial.values.get(name) == value:
                alike.setdefault(rest, ([], []))[side].append(trial)
    counts = []
    for one, other in (both for sides in alike.values() for both in product(*sides)):
        first, second = objective.better(one.score, other.score), objective.better(other.score, one.score)
        spread = one.spread + other.spread
        clear = abs(one.score - other.score) > spread
        counts.append(PairCounts(1, first, second, first and clear, second and clear, not math.isnan(spread)))
    return total_count(counts)


def total_count(counts: Iterable[PairCounts]) -> PairCounts:
    """The pairs of all of them."""
    return PairCounts(*(sum(column) for column in zip(*counts, strict=True)))


def pair_trials(better: int, pairs: int, clear: int | None = None) -> str:
    """`in 7 of 9 pairs, in 3 of them by more than the spread over seeds`."""
    text = f"in {better} of {pairs} {'pair' if pairs == 1 else 'pairs'}"
    if clear is None or not better:
        return text
    where = "never by" if not clear else f"in {clear} of them by"
    if clear == better:
        where = "by" if better == 1 else "always by"
    return f"{text}, {where} more than the spread over seeds"


# Options whose 0 means "no limit": it comes after the largest value, not before the smallest.
_LIMITS = ("clip", "patience")


class OptionFinding(NamedTuple):
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


def findings(trials: Iterable[Trial], axes: Sequence[Axis], objective: Objective) -> list[OptionFinding]:
    """What the trials say of each option, in the order of `axes`.

    For an option with listed values: each two neighbouring values (numbers in ascending order) compared over all pairs
    of trials that agree in the rest, then, for three or more numbers, whether larger or smaller ones are better over
    all neighbours together. For every option: the winner's value. Trials without a finite score are left out; pruned
    ones count with the score they had reached. What no pair speaks of is not mentioned.
    """
    tried = scored_trials(trials)
    winner = next(iter(rank_trials(tried, objective)), None)
    found = []
    for axis in axes:
        name = axis.name.replace("_", " ")
        others = [other.name for other in axes if other.name != axis.name]
        values, numeric = _ordered(axis)
        steps = [(pair, compare_values(tried, axis.name, others, pair, objective)) for pair in pairwise(values)]
        steps = [(pair, count) for pair, count in steps if count.pairs]
        for pair, count in steps:
            first = count.first >= count.second
            best, other = pair if first else pair[::-1]
            text = _told(count, f"{name} {_word(best)}", f"{name} {_word(other)}", first=first)
            found.append(OptionFinding(axis.name, (best, other), *count.of(first), text))
        if numeric and len(steps) > 1:
            count = total_count(count for _, count in steps)
            larger = count.second >= count.first
            one, rest = ("larger", "smaller") if larger else ("smaller", "larger")
            text = _told(count, f"{one} {name}", f"{rest} ones", first=not larger, than=False)
            found.append(OptionFinding(axis.name, values[::-1] if larger else values, *count.of(not larger), text))
        if winner is not None and axis.name in winner.values:
            value = winner.values[axis.name]
            found.append(OptionFinding(axis.name, (value,), 0, 0, None, f"the winner has {name} {_word(value)}"))
    return found


def _told(count: PairCounts, best: str, other: str, *, first: bool, than: bool = True) -> str:
    """Which is better and how often; only what is so in most pairs is called better without the pairs against it."""
    better, pairs, clear = count.of(first)
    worse = count.first + count.second - better
    if 2 * better > pairs:
        return f"{best} better {f'than {other} ' if than else ''}{pair_trials(better, pairs, clear)}"
    if not better:
        return f"{best} as good as {other} {pair_trials(pairs, pairs)}"
    if better == worse:
        return f"{best} better as often as {other}, {pair_trials(better, pairs)} each"
    return f"{best} better {f'than {other} ' if than else ''}in {better} and worse in {worse} of {pairs} pairs"


def _ordered(axis: Axis) -> tuple[tuple[Any, ...], bool]:
    """The listed values, numbers in ascending order, and whether they are numbers."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in axis.values):
        return axis.values, False
    endless = axis.name in _LIMITS
    return tuple(sorted(axis.values, key=lambda value: math.inf if endless and value == 0 else value)), True


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
