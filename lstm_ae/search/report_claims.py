"""Claims of the source report about its grid and its classifiers, tested on the trials of a search."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lstm_ae.config import CLASSIFIERS
from lstm_ae.json_types import JsonMapping
from lstm_ae.search.findings import compare_values, describe_pairs, total_count
from lstm_ae.search.trial import COMPLETED, RUNNING, WAITING, Execution, Objective, Trial
from lstm_ae.significance import Decision, SettingResult, decide_all, decide_better, decide_compromise

# The report's final losses on its toy grid with clip 1 and with clip 5, by learning rate and units.
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

# The report's network: one LSTM layer as encoder and one as decoder, with the same number of units.
NETWORK: JsonMapping = {
    "latent": "steps",
    "layers": 1,
    "bidirectional": False,
    "decoder_units": None,
}


class CheckedClaim(NamedTuple):
    """Finding of the report with its verdict.

    Args:
        finding: the finding.
        decision: the verdict and its reason.
    """

    finding: str
    decision: Decision

    def __str__(self) -> str:
        why = f", since {self.decision.why}" if self.decision.why else ""
        return f'"{self.finding}": {self.decision.verdict}{why} ({self.decision.figures})'


def differs_in_network(values: JsonMapping) -> str:
    """Return the first option in which a network of the toy study differs from the report's; "" if none differs.

    Args:
        values: value of each option; a missing one has the report's value.

    >>> differs_in_network({"units": 8, "layers": 2}), differs_in_network({"units": 8, "decoder_units": 8})
    ('layers', '')
    """
    for name, usual in NETWORK.items():
        value = values.get(name, usual)
        if value != usual and not (name == "decoder_units" and value == values.get("units")):
            return name
    return ""


def reported_loss(task: str, values: JsonMapping) -> float | None:
    """Return the report's final loss for a setting of the toy study; None if the report does not have it.

    >>> reported_loss("toy", {"learning_rate": 0.1, "units": 16, "clip": 5.0, "seed": 0})
    0.00016683299145370256
    """
    return REPORT.get(_setting(values)) if task == "toy" and not differs_in_network(values) else None


# The report's claims about its grid: the statement, the option, and the pairs of values of which the first is better.
_GRID_CLAIMS = (
    ("learning rate = 0.1 was the best", "learning_rate", ((0.1, 0.01), (0.1, 0.001))),
    ("a strong tendency of gradient_clip = 1 to be better", "clip", ((1.0, 5.0),)),
    ("the bigger the hidden state size, the better the performance", "units", ((32, 16), (16, 8))),
)


def report_findings(
    trials: Iterable[Trial], objective: Objective, task: str, baseline: SettingResult | None = None
) -> list[CheckedClaim]:
    """Decide the report's three claims about its toy grid on the trials of a search, by the rules of the tour.

    A value is better than another one if its geometric mean over the settings of the grid is, by Welch's test over the
    seeds. One seed decides nothing, nor do two values that are both no better than the baseline.

    Args:
        trials: the trials; other settings than the report's are ignored.
        objective: the objective of the search.
        task: the study.
        baseline: value of the baseline in the objective; None if it is unknown.

    Returns:
        The claims; empty unless a trial of each of the 18 settings has ended.
    """
    ended = [trial for trial in trials if trial.status not in (WAITING, RUNNING)]
    grid = [trial for trial in ended if reported_loss(task, trial.values) is not None]
    if len({_setting(trial.values) for trial in grid}) < len(REPORT):
        return []
    report_trials = [
        Trial(k, dict(zip(_OPTIONS, setting, strict=True)), COMPLETED, (Execution(0, loss, 0, 0, "", 0.0, ()),))
        for k, (setting, loss) in enumerate(REPORT.items())
    ]
    claims = []
    for finding, option, pairs in _GRID_CLAIMS:
        results = {value: _grid_result(grid, objective, option, value) for pair in pairs for value in pair}
        decision = decide_all([decide_better(results[a], results[b], baseline=baseline) for a, b in pairs])
        count = total_count(
            compare_values(report_trials, option, None, pair, Objective("final_loss")) for pair in pairs
        )
        figures = f"{decision.figures}; in the report better {describe_pairs(count.first, count.pairs)}, with one seed"
        claims.append(CheckedClaim(finding, decision._replace(figures=figures)))
    return claims


def _grid_result(trials: Sequence[Trial], objective: Objective, option: str, value: float) -> SettingResult:
    """Return the result of one value over the grid: per seed, the geometric mean over the settings that have it.

    Seeds that a setting lacks are left out.
    """
    scores: dict[int, list[float]] = {}
    chosen = [trial for trial in trials if trial.values.get(option) == value]
    for trial in chosen:
        for execution in trial.executions if trial.status == COMPLETED else ():
            if math.isfinite(execution.score):
                scores.setdefault(execution.seed, []).append(execution.score)
    log = not objective.higher_is_better
    complete = [values for _, values in sorted(scores.items()) if len(values) == len(chosen)]
    means = tuple(statistics.geometric_mean(each) if log else statistics.fmean(each) for each in complete)
    return SettingResult(f"{option.replace('_', ' ')} {value:g}", means, higher=not log, log=log)


def _setting(values: JsonMapping) -> tuple[Any, ...]:
    return tuple(values.get(name) for name in _OPTIONS)


ACCURACY, RECONSTRUCTION = "val_label_accuracy", "val_reconstruction_loss"

MODELS = (*CLASSIFIERS.values(), "head-on-code")

WEIGHTS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)

# In these models the reconstruction and the class share weights, so the reconstruction weight affects both.
SHARING = (CLASSIFIERS["v2"], "head-on-code")


def classifier_findings(trials: Sequence[Trial]) -> list[CheckedClaim]:
    """Test whether separate LSTMs help (V3 against V2) and whether a deeper head helps (V4 against V3).

    Both use Welch's t-test over the seeds.

    Args:
        trials: trials with the option "model".

    Returns:
        A claim for each pair of models with completed trials.
    """
    by_model = {trial.values["model"]: trial for trial in trials if trial.status == COMPLETED}
    claims = []
    for finding, one, other in (
        ("separate LSTMs for the two tasks help", "v3", "v2"),
        ("a deeper head helps", "v4", "v3"),
    ):
        names = {short.upper(): CLASSIFIERS[short] for short in (one, other)}
        if all(name in by_model for name in names.values()):
            first, second = (_accuracy(by_model[name], short) for short, name in names.items())
            claims.append(CheckedClaim(finding, decide_better(first, second)))
    return claims


def weight_findings(trials: Sequence[Trial]) -> list[CheckedClaim]:
    """Test whether equal weights are the best compromise, that is, no other weight is better in one of the two tasks.

    Args:
        trials: trials with the option "reconstruction_weight".

    Returns:
        The claim; none without completed trials of weight 0.5 and of another weight.
    """
    by_weight = {trial.values["reconstruction_weight"]: trial for trial in trials if trial.status == COMPLETED}
    half = by_weight.pop(0.5, None)
    if half is None or not by_weight:
        return []
    others = [_accuracy_and_error(trial, f"weight {weight:g}") for weight, trial in sorted(by_weight.items())]
    return [
        CheckedClaim(
            "half and half is the best compromise", decide_compromise(_accuracy_and_error(half, "weight 0.5"), others)
        )
    ]


def _accuracy_and_error(trial: Trial, name: str) -> tuple[SettingResult, SettingResult]:
    errors = tuple(execution.measure(RECONSTRUCTION) for execution in trial.executions)
    return _accuracy(trial, name), SettingResult(f"reconstruction, {name}", errors, log=True)


def _accuracy(trial: Trial, name: str) -> SettingResult:
    return SettingResult(name, tuple(execution.measure(ACCURACY) for execution in trial.executions), "%", higher=True)


def classifier_rows(
    trials: Sequence[Trial], name: str, values: Sequence[object]
) -> tuple[list[str], list[list[object]]]:
    """Return a table of the trials' measures on the validation digits by one option.

    Args:
        trials: one trial for each value.
        name: the option.
        values: its values, in the order of the rows.

    Returns:
        The header and the rows.
    """
    header = [
        name,
        "accuracy",
        "accuracy spread",
        "reconstruction",
        "reconstruction spread",
        "parameters",
        "seconds per training",
        "status",
    ]
    names = {long: f"{long} ({short.upper()})" for short, long in CLASSIFIERS.items()}
    by_value: Mapping[object, Trial] = {trial.values[name]: trial for trial in trials}
    table = []
    for value in values:
        trial = by_value[value]
        accuracy, error = trial.measure(ACCURACY), trial.measure(RECONSTRUCTION)
        size = trial.measure("parameters")[0]
        seconds = trial.seconds / max(len(trial.executions), 1)
        cells = [*accuracy, *error, int(size) if size == size else None, round(seconds, 1)]
        table.append([names.get(str(value), value), *cells, trial.reason or trial.status])
    return header, table
