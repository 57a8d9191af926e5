"""The report's findings on its classifiers of digits, checked on trials of our own: on validation data, over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lstm_ae.config import CLASSIFIERS
from lstm_ae.judging import Judged, Sample, better, compromise
from lstm_ae.search.trials import COMPLETED, Trial

ACCURACY, RECONSTRUCTION = "val_label_accuracy", "val_reconstruction_loss"
MODELS = (*CLASSIFIERS.values(), "head-on-code")
WEIGHTS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
# Those whose reconstruction and class come from the same weights, which the share in the loss therefore pulls at.
SHARING = (CLASSIFIERS["v2"], "head-on-code")


class Checked(NamedTuple):
    """A finding of the report, and how it is judged here."""

    finding: str
    judged: Judged

    def __str__(self) -> str:
        why = f", since {self.judged.why}" if self.judged.why else ""
        return f'"{self.finding}": {self.judged.verdict}{why} ({self.judged.figures})'


def classifier_findings(trials: Sequence[Trial]) -> list[Checked]:
    """Separate LSTMs help (V3 against V2), and a deeper head does (V4 against V3), by Welch's test over the seeds."""
    by_model = {trial.values["model"]: trial for trial in trials if trial.status == COMPLETED}
    found = []
    for finding, one, other in (
        ("separate LSTMs for the two tasks help", "v3", "v2"),
        ("a deeper head helps", "v4", "v3"),
    ):
        names = {short.upper(): CLASSIFIERS[short] for short in (one, other)}
        if all(name in by_model for name in names.values()):
            first, second = (_accuracy(by_model[name], short) for short, name in names.items())
            found.append(Checked(finding, better(first, second)))
    return found


def weight_findings(trials: Sequence[Trial]) -> list[Checked]:
    """Half and half is the best compromise: each other weight is worse in accuracy and in reconstruction."""
    by_weight = {trial.values["reconstruction_weight"]: trial for trial in trials if trial.status == COMPLETED}
    half = by_weight.pop(0.5, None)
    if half is None or not by_weight:
        return []
    others = [_both(trial, f"weight {weight:g}") for weight, trial in sorted(by_weight.items())]
    return [Checked("half and half is the best compromise", compromise(_both(half, "weight 0.5"), others))]


def _both(trial: Trial, name: str) -> tuple[Sample, Sample]:
    errors = tuple(execution.measure(RECONSTRUCTION) for execution in trial.executions)
    return _accuracy(trial, name), Sample(f"reconstruction, {name}", errors, log=True)


def _accuracy(trial: Trial, name: str) -> Sample:
    return Sample(name, tuple(execution.measure(ACCURACY) for execution in trial.executions), "%", higher=True)


def rows(trials: Sequence[Trial], name: str, values: Sequence[Any]) -> tuple[list[str], list[list[Any]]]:
    """A table of trials by one option, in the order of its values: what was measured on validation digits."""
    header = [name, "accuracy", "its spread", "reconstruction", "spread", "parameters", "seconds a training", "status"]
    names = {long: f"{long} ({short.upper()})" for short, long in CLASSIFIERS.items()}
    found: Mapping[Any, Trial] = {trial.values[name]: trial for trial in trials}
    table = []
    for value in values:
        trial = found[value]
        sharp, error = trial.measure(ACCURACY), trial.measure(RECONSTRUCTION)
        size = trial.measure("parameters")[0]
        seconds = trial.seconds / max(len(trial.executions), 1)
        cells = [*sharp, *error, int(size) if size == size else None, round(seconds, 1)]
        table.append([names.get(value, value), *cells, trial.reason or trial.status])
    return header, table
