"""Evaluation of a tour: the quantities of its runs, and the verdicts on the findings."""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

from lstm_ae.config import Config
from lstm_ae.files import read_object
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.run import Run
from lstm_ae.tour.decisions import (
    OPEN,
    Decision,
    Quantity,
    SettingResult,
    decide_all,
    decide_comparison,
    decide_reached,
)
from lstm_ae.tour.findings import Claim, Part

# Name of the file of measures of a forecast of many days, by its first and last step, in a run.
STEPS_FILE = "steps.json"

# The results of a setting for a quantity, and of its baseline.
Results = Mapping[tuple[str, Quantity], tuple[SettingResult, SettingResult]]


class PartResult(NamedTuple):
    """Results of a part.

    Args:
        part: the part.
        results: by setting and quantity, the results of the setting and of its baseline, without values if there are
            none.
        decisions: the verdict on each finding.
        leaky: why its values are optimistic; "" if they are not.
    """

    part: Part
    results: Results
    decisions: Mapping[str, Decision]
    leaky: str


def read_facts(run: Run) -> JsonObject:
    """Return the metrics of a finished run, with those of its forecast of many days.

    Raises:
        DataError: the run is unfinished or damaged.
    """
    path = run.directory / STEPS_FILE
    return run.metrics() | (read_object(path) if path.is_file() else {})


def measured_values(facts: JsonMapping, quantity: Quantity) -> tuple[float | None, float | None]:
    """Return the value of a quantity and of its baseline; None for a missing, infinite, or unsuitable one."""
    if quantity.source == "seconds":
        training = facts["training"]
        value, baseline = training["seconds"] / training["epochs"] if training["epochs"] else None, None
    else:
        metric = facts.get(quantity.source, {}).get(quantity.name) or {"value": None, "baselines": {}}
        value, baselines = metric["value"], metric["baselines"].items() if quantity.baseline else ()
        # The name of the constant class ends with the class.
        baseline = next((each for name, each in baselines if name.startswith(quantity.baseline)), None)
        if quantity.share:
            value, baseline = value / baseline if baseline and value is not None else None, None
    if value is None or not math.isfinite(value) or (quantity.log and value <= 0):
        value = None
    return value, baseline


def collect_results(part: Part, seeds: Sequence[int], facts: Mapping[Config, JsonMapping]) -> Results:
    """Return the results of all settings of a part.

    Args:
        part: the part.
        seeds: the seeds of every setting.
        facts: the facts of the runs, see `read_facts`; a setting has no value for a seed if one of its runs is missing.
    """
    results = dict[tuple[str, Quantity], tuple[SettingResult, SettingResult]]()
    for name, quantity in product(part.settings, part.quantities):
        values, baselines = list[float](), list[float]()
        for seed in seeds:
            configs = part.configs(name, seed)
            pairs = [measured_values(facts[each], quantity) if each in facts else (None, None) for each in configs]
            values += _mean([value for value, _ in pairs], quantity)
            baselines += _mean([baseline for _, baseline in pairs], quantity)
        ours = SettingResult(name, quantity, tuple(values))
        results[name, quantity] = ours, SettingResult(quantity.baseline, quantity, tuple(baselines))
    return results


def _mean(values: Sequence[float | None], quantity: Quantity) -> list[float]:
    """Return the mean over the configs of a setting in a list, which is empty if a value is missing."""
    measured = [value for value in values if value is not None]
    if len(measured) < len(values):
        return []
    return [statistics.geometric_mean(measured) if quantity.log else statistics.fmean(measured)]


def decide_finding(claims: Sequence[Claim] | str, results: Results, seeds: int, *, whole: bool) -> Decision:
    """Return the verdict on a finding; a single seed or a missing one decides nothing.

    Args:
        claims: the claims, or why the finding cannot be decided.
        results: the results of the settings.
        seeds: number of seeds of every setting.
        whole: see `Part`.
    """
    if isinstance(claims, str):
        return Decision(OPEN, "no value", claims)
    decision = decide_all([_decide(claim, results, whole) for claim in claims])
    names = [(claim.setting, claim.quantity) for claim in claims]
    names += [(claim.other, claim.than or claim.quantity) for claim in claims if claim.other]
    least = min(len(results[name][0].values) for name in names)
    if decision.verdict == OPEN or seeds == least > 1:
        return decision
    why = "one seed is not enough" if seeds < 2 else f"only {least} of {seeds} seeds finished"
    return decision._replace(verdict=OPEN, why=why)


def _decide(claim: Claim, results: Results, whole: bool) -> Decision:
    ours, baseline = results[claim.setting, claim.quantity]
    if claim.kind == "misses":
        return decide_reached(ours, claim.amount, whole=whole, reverse=True)
    if claim.kind == "reaches":
        return decide_reached(ours, claim.amount, whole=whole, baseline=baseline)
    theirs, _ = results[claim.other, claim.than or claim.quantity]
    if claim.than:  # The names of the settings do not identify the compared quantities.
        ours, theirs = ours._replace(name=claim.quantity.label), theirs._replace(name=claim.than.label)
    beaten = baseline if claim.baseline else None
    return decide_comparison(ours, theirs, claim.amount, alike=claim.kind == "alike", baseline=beaten)


def evaluate_part(part: Part, seeds: Sequence[int], facts: Mapping[Config, JsonMapping]) -> PartResult:
    """Return the values of a part's settings and the verdicts on its findings."""
    results = collect_results(part, seeds, facts)
    decisions = {
        finding: decide_finding(claims, results, len(seeds), whole=part.whole)
        for finding, claims in part.findings.items()
    }
    configs = [config for name in part.settings for seed in seeds for config in part.configs(name, seed)]
    leaky = max((str(facts[config].get("leaky", "")) for config in configs if config in facts), key=len, default="")
    return PartResult(part, results, decisions, leaky)
