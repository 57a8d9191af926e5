"""The report's findings on its classifiers of digits, checked on trials of our own: on validation data, over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lstm_ae.config import CLASSIFIERS
from lstm_ae.search.trials import COMPLETED, Trial

ACCURACY, RECONSTRUCTION = "val_label_accuracy", "val_reconstruction_loss"
MODELS = (*CLASSIFIERS.values(), "head-on-code")
WEIGHTS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


class Checked(NamedTuple):
    """A finding of the report: whether ours agree (None where one seed tells nothing), and the numbers that say so."""

    finding: str
    confirmed: bool | None
    text: str

    def __str__(self) -> str:
        if self.confirmed is None:
            return f'"{self.finding}": not decidable, more than one of --repeats is needed ({self.text})'
        return f'"{self.finding}": {"confirmed" if self.confirmed else "not confirmed"} ({self.text})'


def classifier_findings(trials: Sequence[Trial]) -> list[Checked]:
    """Separate LSTMs help (V3 against V2), and a deeper head does (V4 against V3).

    Confirmed where the mean accuracy is higher, and that of more than half of the seeds.
    """
    by_model = {trial.values["model"]: trial for trial in trials if trial.status == COMPLETED}
    found = []
    for finding, one, other in (
        ("separate LSTMs for the two tasks help", "v3", "v2"),
        ("a deeper head helps", "v4", "v3"),
    ):
        names = CLASSIFIERS[one], CLASSIFIERS[other]
        if not all(name in by_model for name in names):
            continue
        first, second = (_by_seed(by_model[name]) for name in names)
        seeds = sorted(set(first) & set(second))
        better = sum(first[seed] > second[seed] for seed in seeds)
        gain = sum(first[seed] - second[seed] for seed in seeds) / len(seeds)
        text = f"{one.upper()} more accurate than {other.upper()} with {better} of {_seeds(len(seeds))}"
        confirmed = gain > 0 and 2 * better > len(seeds) if len(seeds) > 1 else None
        found.append(Checked(finding, confirmed, f"{text}, by {100 * gain:+.2f} points"))
    return found


def weight_findings(trials: Sequence[Trial]) -> list[Checked]:
    """Half and half is the best compromise: no other weight is better in accuracy and reconstruction at once.

    Means are compared; better is what is better by more than the spreads of both together.
    """
    by_weight = {trial.values["reconstruction_weight"]: trial for trial in trials if trial.status == COMPLETED}
    half = by_weight.pop(0.5, None)
    if half is None or not by_weight:
        return []
    better = [f"{weight:g}" for weight, trial in sorted(by_weight.items()) if _beats(trial, half)]
    every = {**by_weight, 0.5: half}
    sharpest = max(every, key=lambda weight: every[weight].measure(ACCURACY)[0])
    finest = min(every, key=lambda weight: every[weight].measure(RECONSTRUCTION)[0])
    lost = every[sharpest].measure(ACCURACY)[0] - half.measure(ACCURACY)[0]
    times = half.measure(RECONSTRUCTION)[0] / every[finest].measure(RECONSTRUCTION)[0]
    text = (
        (f"better in both: {', '.join(better)}; " if better else "no weight is better in both; ")
        + f"it is {100 * lost:.2f} points less accurate than {sharpest:g}, "
        + f"and its reconstruction error {times:.2g} times that of {finest:g}"
    )
    confirmed = not better if len(half.executions) > 1 else None
    return [Checked("half and half is the best compromise", confirmed, text)]


def _beats(one: Trial, other: Trial) -> bool:
    """Whether one is better in both, by more than the spreads."""

    def ahead(name: str) -> float:
        (mine, my_spread), (theirs, their_spread) = one.measure(name), other.measure(name)
        gain = mine - theirs if name == ACCURACY else theirs - mine
        return gain - _known(my_spread) - _known(their_spread)

    return ahead(ACCURACY) > 0 and ahead(RECONSTRUCTION) > 0


def rows(trials: Sequence[Trial], name: str, values: Sequence[Any]) -> tuple[list[str], list[list[Any]]]:
    """A table of trials by one option, in the order of its values: what was measured on validation digits."""
    header = [name, "accuracy", "its spread", "reconstruction", "spread", "parameters", "seconds", "status"]
    names = {long: f"{long} ({short.upper()})" for short, long in CLASSIFIERS.items()}
    found: Mapping[Any, Trial] = {trial.values[name]: trial for trial in trials}
    table = []
    for value in values:
        trial = found[value]
        sharp, error = trial.measure(ACCURACY), trial.measure(RECONSTRUCTION)
        size = trial.measure("parameters")[0]
        cells = [*sharp, *error, int(size) if size == size else None, round(trial.seconds, 1)]
        table.append([names.get(value, value), *cells, trial.reason or trial.status])
    return header, table


def _by_seed(trial: Trial) -> dict[int, float]:
    return {execution.seed: execution.measure(ACCURACY) for execution in trial.executions}


def _known(spread: float) -> float:
    return spread if spread == spread else 0.0


def _seeds(count: int) -> str:
    return f"{count} seed" + ("s" if count != 1 else "")
