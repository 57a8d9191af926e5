"""Effect of each option in a search, from pairs of trials that differ only in that option."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

from lstm_ae.config.space import Axis
from lstm_ae.formatting import format_setting
from lstm_ae.search.trial import Objective, Trial, rank_trials


class PairCounts(NamedTuple):
    """Counts of pairs of trials with two values of an option.

    Args:
        pairs: number of pairs.
        first: pairs in which the first value is better.
        second: pairs in which the second value is better.
        clear_first: pairs in which the first value is better by more than the spread over seeds.
        clear_second: pairs in which the second value is better by more than the spread over seeds.
        repeated: pairs in which both trials have a spread.
    """

    pairs: int = 0
    first: int = 0
    second: int = 0
    clear_first: int = 0
    clear_second: int = 0
    repeated: int = 0

    def counts(self, first: bool) -> tuple[int, int, int | None]:
        """Return `better`, `pairs`, and `clear` of an `OptionFinding` for the first or the second value."""
        better, clear = (self.first, self.clear_first) if first else (self.second, self.clear_second)
        return better, self.pairs, clear if self.repeated else None


def scored_trials(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials with a finite score."""
    return [trial for trial in trials if trial.scored and math.isfinite(trial.score)]


def compare_values(
    trials: Sequence[Trial], name: str, others: Sequence[str] | None, pair: tuple[object, object], objective: Objective
) -> PairCounts:
    """Compare all pairs of trials that have the two values of an option and agree in the other options.

    Args:
        trials: scored trials.
        name: the option.
        others: options that must agree; None for all options of the trials.
        pair: the two values.
        objective: decides which score is better.
    """
    # The trials with either value, by their other options.
    groups: dict[tuple[object, ...], tuple[list[Trial], list[Trial]]] = {}
    for trial in trials:
        names = sorted(set(trial.values) - {name}) if others is None else others
        rest = (trial.until, *((other, trial.values.get(other)) for other in names))
        for side, value in enumerate(pair):
            if trial.values.get(name) == value:
                groups.setdefault(rest, ([], []))[side].append(trial)
    counts = []
    for one, other in (both for sides in groups.values() for both in product(*sides)):
        first, second = objective.better(one.score, other.score), objective.better(other.score, one.score)
        spread = one.spread + other.spread
        clear = abs(one.score - other.score) > spread
        counts.append(PairCounts(1, first, second, first and clear, second and clear, not math.isnan(spread)))
    return total_count(counts)


def total_count(counts: Iterable[PairCounts]) -> PairCounts:
    """Return the sums of several counts."""
    return PairCounts(*(sum(column) for column in zip(*counts, strict=True)))


def describe_pairs(better: int, pairs: int, clear: int | None = None) -> str:
    """Describe a count of pairs.

    Args:
        better: pairs in which a value is better.
        pairs: all pairs.
        clear: pairs in which it is better by more than the spread over seeds; None if there is one seed.

    >>> describe_pairs(7, 9, 3)
    'in 7 of 9 pairs, in 3 of them by more than the spread over seeds'
    """
    text = f"in {better} of {pairs} {'pair' if pairs == 1 else 'pairs'}"
    if clear is None or not better:
        return text
    where = "never by" if not clear else f"in {clear} of them by"
    if clear == better:
        where = "by" if better == 1 else "always by"
    return f"{text}, {where} more than the spread over seeds"


# In these options 0 means "no limit", so it sorts after the largest value.
_LIMITS = ("clip", "patience")


class OptionFinding(NamedTuple):
    """Statement about one option.

    Args:
        axis: the option.
        values: the two compared values, the one that is better more often first; or all values, the better end first;
            or the winner's value.
        better: pairs in which the first value is better; 0 if all scores are equal.
        pairs: pairs of trials that agree in all other searched options (and, with Hyperband, in the epoch they are
            trained to); 0 for the winner's value.
        clear: those of the `better` pairs whose means differ by more than the sum of their two standard deviations
            over the seeds; None if no pair has both.
        text: the statement in words.
    """

    axis: str
    values: tuple[object, ...]
    better: int
    pairs: int
    clear: int | None
    text: str

    def __str__(self) -> str:
        return self.text


def findings(trials: Iterable[Trial], axes: Sequence[Axis], objective: Objective) -> list[OptionFinding]:
    """Return statements about each option, in the order of `axes`.

    An option with listed values gets one statement per two neighboring values (numbers in ascending order), from all
    pairs of trials that agree in the other options. Three or more numbers get a further statement whether larger or
    smaller values are better. Every option gets the winner's value. Trials without a finite score are left out; pruned
    trials count with their last best score. Values without a pair are left out.

    Args:
        trials: the trials of a search.
        axes: the searched options.
        objective: the objective of the search.
    """
    scored = scored_trials(trials)
    winner = next(iter(rank_trials(scored, objective)), None)
    results = []
    for axis in axes:
        name = axis.name.replace("_", " ")
        others = [other.name for other in axes if other.name != axis.name]
        values, numeric = _ordered(axis)
        steps = [(pair, compare_values(scored, axis.name, others, pair, objective)) for pair in pairwise(values)]
        steps = [(pair, count) for pair, count in steps if count.pairs]
        for pair, count in steps:
            first = count.first >= count.second
            best, other = pair if first else pair[::-1]
            text = _describe_count(
                count, f"{name} {format_setting(best)}", f"{name} {format_setting(other)}", first=first
            )
            results.append(OptionFinding(axis.name, (best, other), *count.counts(first), text))
        if numeric and len(steps) > 1:
            count = total_count(count for _, count in steps)
            larger = count.second >= count.first
            one, rest = ("larger", "smaller") if larger else ("smaller", "larger")
            text = _describe_count(count, f"{one} {name}", f"{rest} ones", first=not larger, than=False)
            results.append(
                OptionFinding(axis.name, values[::-1] if larger else values, *count.counts(not larger), text)
            )
        if winner is not None and axis.name in winner.values:
            value = winner.values[axis.name]
            results.append(
                OptionFinding(axis.name, (value,), 0, 0, None, f"the winner has {name} {format_setting(value)}")
            )
    return results


def _describe_count(count: PairCounts, best: str, other: str, *, first: bool, than: bool = True) -> str:
    """Describe which value is better and how often; the opposite pairs are named unless most pairs agree."""
    better, pairs, clear = count.counts(first)
    worse = count.first + count.second - better
    if 2 * better > pairs:
        return f"{best} better {f'than {other} ' if than else ''}{describe_pairs(better, pairs, clear)}"
    if not better:
        return f"{best} as good as {other} {describe_pairs(pairs, pairs)}"
    if better == worse:
        return f"{best} better as often as {other}, {describe_pairs(better, pairs)} each"
    return f"{best} better {f'than {other} ' if than else ''}in {better} and worse in {worse} of {pairs} pairs"


def _ordered(axis: Axis) -> tuple[tuple[Any, ...], bool]:
    """Return the listed values, numbers in ascending order, and whether they are numbers."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in axis.values):
        return axis.values, False
    unlimited = axis.name in _LIMITS
    return tuple(sorted(axis.values, key=lambda value: math.inf if unlimited and value == 0 else value)), True
