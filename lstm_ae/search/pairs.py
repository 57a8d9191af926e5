"""Trials of a search in pairs that differ in one option alone: which of its two values is better, and how often."""

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

from lstm_ae.search.trials import Objective, Trial


class Count(NamedTuple):
    """Pairs of trials with either value: how many, where which is better, and where by more than the spread."""

    pairs: int = 0
    first: int = 0
    second: int = 0
    clear_first: int = 0
    clear_second: int = 0
    repeated: int = 0

    def of(self, first: bool) -> tuple[int, int, int | None]:
        """`better`, `pairs` and `clear` of a `Finding` that calls the first, or the second, value better."""
        better, clear = (self.first, self.clear_first) if first else (self.second, self.clear_second)
        return better, self.pairs, clear if self.repeated else None


def scored(trials: Iterable[Trial]) -> list[Trial]:
    """Those with a finite score."""
    return [trial for trial in trials if trial.scored and math.isfinite(trial.score)]


def compare(
    trials: Sequence[Trial], name: str, others: Sequence[str] | None, pair: tuple[Any, Any], objective: Objective
) -> Count:
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
        counts.append(Count(1, first, second, first and clear, second and clear, not math.isnan(spread)))
    return total(counts)


def total(counts: Iterable[Count]) -> Count:
    """The pairs of all of them."""
    return Count(*(sum(column) for column in zip(*counts, strict=True)))


def in_pairs(better: int, pairs: int, clear: int | None = None) -> str:
    """`in 7 of 9 pairs, in 3 of them by more than the spread over seeds`."""
    text = f"in {better} of {pairs} {'pair' if pairs == 1 else 'pairs'}"
    if clear is None or not better:
        return text
    where = "never by" if not clear else f"in {clear} of them by"
    if clear == better:
        where = "by" if better == 1 else "always by"
    return f"{text}, {where} more than the spread over seeds"
