"""What the trials of a search say of each option, and of the claims that the report makes on its own grid."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

from lstm_ae.search.trials import COMPLETED, RUNNING, WAITING, Execution, Objective, Trial, ranked
from lstm_ae.space import Axis

# The report's final losses on its toy grid: (learning rate, units), then those with clip 1 and with clip 5.
_LOSSES = {
    (0.001, 8): (0.006680924474494532, 0.011700970819219947),
    (0.001, 16): (0.0022743796871509403, 0.00551831244956702),
    (0.001, 32): (0.004771144478581846, 0.0016375478444388136),
    (0.01, 8): (0.0008391543233301491, 0.0013929523120168597),
    (0.01, 16): (0.0005699509929399937, 0.0006325716603896581),
    (0.01, 32): (0.0007834084863134194, 0.0009240137333108578),
    (0.1, 8): (0.0001868635818027542, 0.0009092575746763032),
    (0.1, 16): (0.00020343929554655915, 0.00016683299145370256),
    (0.1, 32): (0.1512556802481413, 0.26013437658548355),
}
# Learning rate, units, clip -> final loss.
REPORT: Mapping[tuple[float, int, float], float] = {
    (*pair, clip): loss for pair, losses in _LOSSES.items() for clip, loss in zip((1.0, 5.0), losses, strict=True)
}
_OPTIONS = ("learning_rate", "units", "clip")
# Options whose 0 means "no limit": it comes after the largest value, not before the smallest.
_LIMITS = ("clip", "patience")


class Finding(NamedTuple):
    """One line on one option.

    Args:
        axis: the option.
        values: the two values that were compared, the better one first; or all of its values, the better end first;
            or the winner's one.
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


class Support(NamedTuple):
    """What one set of trials says of a claim: whether it holds, the pairs in which it does, and that in words."""

    holds: bool
    better: int
    pairs: int
    text: str

    @property
    def verdict(self) -> str:
        """Confirmed, or not confirmed."""
        return "confirmed" if self.holds else "not confirmed"


class Claim(NamedTuple):
    """A claim of the report, checked on our trials and on the report's own values."""

    claim: str
    ours: Support
    report: Support

    @property
    def verdict(self) -> str:
        """That of our trials: confirmed, or not confirmed."""
        return self.ours.verdict

    def __str__(self) -> str:
        return (
            f'"{self.claim}": {self.ours.verdict} here ({self.ours.text}), '
            f"{self.report.verdict} by the report's own values ({self.report.text})"
        )


class _Count(NamedTuple):
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


def findings(trials: Iterable[Trial], axes: Sequence[Axis], objective: Objective) -> list[Finding]:
    """What the trials say of each option, in the order of `axes`.

    For an option with listed values: each two neighbouring values (numbers in ascending order) compared over all pairs
    of trials that agree in the rest, then, for three or more numbers, whether larger or smaller ones are better over
    all neighbours together. For every option: the winner's value. Trials without a finite score are left out; pruned
    ones count with the score they had reached. What no pair speaks of is not mentioned.
    """
    tried = _scored(trials)
    winner = next(iter(ranked(tried, objective)), None)
    found = []
    for axis in axes:
        name = axis.name.replace("_", " ")
        others = [other.name for other in axes if other.name != axis.name]
        values, numeric = _ordered(axis)
        steps = [(pair, _count(tried, axis.name, others, pair, objective)) for pair in pairwise(values)]
        steps = [(pair, count) for pair, count in steps if count.pairs]
        for pair, count in steps:
            best, other = pair if count.first >= count.second else pair[::-1]
            counted = count.of(count.first >= count.second)
            how, where = ("better than", _in(*counted)) if counted[0] else ("as good as", _in(count.pairs, count.pairs))
            text = f"{name} {_word(best)} {how} {name} {_word(other)} {where}"
            found.append(Finding(axis.name, (best, other), *counted, text))
        if numeric and len(steps) > 1:
            count = _total(count for _, count in steps)
            larger = count.second >= count.first
            counted = count.of(not larger)
            text = f"{'larger' if larger else 'smaller'} {name} better {_in(*counted)}"
            found.append(Finding(axis.name, values[::-1] if larger else values, *counted, text))
        if winner is not None and axis.name in winner.values:
            value = winner.values[axis.name]
            found.append(Finding(axis.name, (value,), 0, 0, None, f"the winner has {name} {_word(value)}"))
    return found


def reported(task: str, values: Mapping[str, Any]) -> float | None:
    """The report's final loss for a setting of the toy study, None where the report does not have it.

    >>> reported("toy", {"learning_rate": 0.1, "units": 16, "clip": 5.0, "seed": 0})
    0.00016683299145370256
    """
    # The report's decoder reads every state.
    same = task == "toy" and values.get("latent", "steps") == "steps"
    return REPORT.get(_setting(values)) if same else None


def report_findings(trials: Iterable[Trial], objective: Objective, task: str) -> list[Claim]:
    """The report's three claims on its toy grid, checked on our trials and on the report's own values.

    Empty unless all 18 settings have been tried, each to its end or to a failure; other settings play no part. What
    confirms a claim: learning rate 0.1 is the winner's, and better than the others in most pairs; clip 1 is better in
    at least three of four pairs; more units are better in most pairs, both from 8 to 16 and from 16 to 32.
    """
    ended = [trial for trial in trials if trial.status not in (WAITING, RUNNING)]
    mine = [trial for trial in ended if reported(task, trial.values) is not None]
    if len({_setting(trial.values) for trial in mine}) < len(REPORT):
        return []
    theirs = [
        Trial(k, dict(zip(_OPTIONS, setting, strict=True)), COMPLETED, (Execution(0, loss, 0, 0, "", 0.0, ()),))
        for k, (setting, loss) in enumerate(REPORT.items())
    ]
    loss = Objective("final_loss")
    return [
        Claim(words, check(_scored(mine), objective), check(_scored(theirs), loss))
        for words, check in (
            ("learning rate 0.1 was the best", _rate),
            ("a strong tendency of clip 1 to be better", _clip),
            ("the bigger the hidden state, the better", _units),
        )
    ]


def _rate(trials: Sequence[Trial], objective: Objective) -> Support:
    count = _total(_count(trials, "learning_rate", None, (0.1, other), objective) for other in (0.01, 0.001))
    won, end = _won(trials, objective, "learning_rate", 0.1)
    text = f"learning rate 0.1 better {_in(count.first, count.pairs)}{end}"
    return Support(won and 2 * count.first > count.pairs, count.first, count.pairs, text)


def _clip(trials: Sequence[Trial], objective: Objective) -> Support:
    count = _count(trials, "clip", None, (1.0, 5.0), objective)
    text = f"clip 1 better than clip 5 {_in(count.first, count.pairs)}{_won(trials, objective, 'clip', 1.0)[1]}"
    return Support(0 < 3 * count.pairs <= 4 * count.first, count.first, count.pairs, text)


def _units(trials: Sequence[Trial], objective: Objective) -> Support:
    steps = {pair: _count(trials, "units", None, pair, objective) for pair in ((8, 16), (16, 32))}
    count = _total(steps.values())
    parts = ", ".join(f"{step.second} of {step.pairs} from {low} to {high}" for (low, high), step in steps.items())
    text = f"larger units better {_in(count.second, count.pairs)}: {parts}{_won(trials, objective, 'units', 32)[1]}"
    return Support(all(2 * step.second > step.pairs for step in steps.values()), count.second, count.pairs, text)


def _won(trials: Sequence[Trial], objective: Objective, name: str, wanted: float) -> tuple[bool, str]:
    """Whether the winner has that value, and the end of a sentence that says which it has."""
    if not trials:
        return False, ""
    value = ranked(trials, objective)[0].values[name]
    return value == wanted, f", {'and' if value == wanted else 'but'} the winner has {value:g}"


def _scored(trials: Iterable[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.scored and math.isfinite(trial.score)]


def _setting(values: Mapping[str, Any]) -> Any:
    return tuple(values.get(name) for name in _OPTIONS)


def _ordered(axis: Axis) -> tuple[tuple[Any, ...], bool]:
    """The listed values, numbers in ascending order, and whether they are numbers."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in axis.values):
        return axis.values, False
    endless = axis.name in _LIMITS
    return tuple(sorted(axis.values, key=lambda value: math.inf if endless and value == 0 else value)), True


def _count(
    trials: Sequence[Trial], name: str, others: Sequence[str] | None, pair: tuple[Any, Any], objective: Objective
) -> _Count:
    """Compare all trials with the first value to all with the second that agree in `others` (None: all the rest)."""

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
        counts.append(_Count(1, first, second, first and clear, second and clear, not math.isnan(spread)))
    return _total(counts)


def _total(counts: Iterable[_Count]) -> _Count:
    return _Count(*(sum(column) for column in zip(*counts, strict=True)))


def _in(better: int, pairs: int, clear: int | None = None) -> str:
    """`in 7 of 9 pairs, in 3 of them by more than the spread over seeds`."""
    text = f"in {better} of {pairs} {'pair' if pairs == 1 else 'pairs'}"
    if clear is None or not better:
        return text
    where = "never by" if not clear else f"in {clear} of them by"
    if clear == better:
        where = "by" if better == 1 else "always by"
    return f"{text}, {where} more than the spread over seeds"


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
