"""Evaluation of a tour: the quantities of its runs, and the verdicts on the findings."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from lstm_ae.config import Config
from lstm_ae.errors import Code, DataError
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.run import Run
from lstm_ae.tour.decisions import OPEN, Decision, SettingResult, decide_all
from lstm_ae.tour.findings import Numbers, Part, Quantity, Rule

# Name of the table that a forecast of many days writes to its run.
STEPS = "steps"


class PartResult(NamedTuple):
    """Results of a part.

    Args:
        part: the part.
        rows: by setting and quantity, the results of the setting and of its baseline, without values if there are none.
        decisions: the verdict on each finding.
        leaky: why its values are optimistic; "" if they are not.
    """

    part: Part
    rows: Mapping[str, Sequence[tuple[SettingResult, SettingResult]]]
    decisions: Mapping[str, Decision]
    leaky: str


def read_facts(run: Run) -> JsonObject:
    """Return the metrics of a finished run, with the columns of its forecast of many days as "steps".

    Raises:
        DataError: the run is unfinished or damaged.
    """
    path, facts = run.directory / f"{STEPS}.csv", run.metrics()
    if path.is_file():
        try:
            facts[STEPS] = pd.read_csv(path, dtype=float).to_dict("list")
        except (OSError, ValueError) as error:
            text = f"{str(path)!r} is damaged. Delete it and run the command again."
            raise DataError(text, code=Code.RUN_DAMAGED) from error
    return facts


def measured_value(facts: JsonMapping, quantity: Quantity) -> float | None:
    """Return the value of a quantity; None if it is missing, infinite, or not positive where it must be."""
    if quantity.source == "seconds":
        training = facts["training"]
        value = training["seconds"] / training["epochs"] if training["epochs"] else None
    elif "step" in quantity.source:
        value = _step(facts, quantity.name, quantity.source)
    else:
        value, naive = _metric(facts, quantity)
        if quantity.share:
            value = value / naive if naive and value is not None else None
    return None if value is None or not math.isfinite(value) or (quantity.log and value <= 0) else value


def baseline_value(facts: JsonMapping, quantity: Quantity) -> float | None:
    """Return the value of a quantity's baseline; None if there is none."""
    if quantity.share or not quantity.baseline:
        return None
    if "step" in quantity.source:
        return _step(facts, f"{quantity.name} of {quantity.baseline}", quantity.source)
    return _metric(facts, quantity)[1]


def _metric(facts: JsonMapping, quantity: Quantity) -> tuple[float | None, float | None]:
    """Return the value of a metric and that of the quantity's baseline."""
    metric = facts.get(quantity.source, {}).get(quantity.name) or {"value": None, "baselines": {}}
    # The name of the constant class ends with the class.
    naive = [value for name, value in metric["baselines"].items() if name.startswith(quantity.baseline)]
    return metric["value"], naive[0] if naive and quantity.baseline else None


def _step(facts: JsonMapping, name: str, source: str) -> float | None:
    columns = facts.get(STEPS, {})
    numerator, _, denominator = name.partition("/")
    if not columns.get(numerator):
        return None
    if source == "all steps":  # The name "one/other" is a ratio of sums.
        total = sum(columns[denominator])
        return sum(columns[numerator]) / total if total else None
    return float(columns[numerator][0 if source == "first step" else -1])


def run_numbers(part: Part, seeds: Sequence[int], facts: Mapping[Config, JsonMapping]) -> Numbers:
    """Return the function from settings to their results in runs.

    Args:
        part: the part of the settings.
        seeds: the seeds of every setting.
        facts: the facts of the runs, see `read_facts`; a setting has no value for a seed if one of its runs is missing.
    """

    configs = {name: [list(part.configs(name, seed)) for seed in seeds] for name in part.settings}

    def numbers(name: str, quantity: Quantity, baseline: bool) -> SettingResult:
        read = baseline_value if baseline else measured_value
        mean = statistics.geometric_mean if quantity.log else statistics.fmean
        values = []
        for group in configs[name]:
            row = [read(facts[config], quantity) for config in group if config in facts]
            present = [value for value in row if value is not None]
            if len(present) == len(group):
                values.append(mean(present))
        return _result(quantity.baseline if baseline else name, tuple(values), quantity)

    return numbers


def _result(name: str, values: tuple[float, ...], quantity: Quantity) -> SettingResult:
    return SettingResult(name, values, quantity.unit, quantity.higher, quantity.log)


def decide_finding(rules: Sequence[Rule] | str, numbers: Numbers, seeds: int, *, whole: bool) -> Decision:
    """Return the verdict on a finding; a single seed or a missing one decides nothing.

    Args:
        rules: the rules, or why the finding cannot be decided.
        numbers: returns the results of a setting.
        seeds: number of seeds of every setting.
        whole: see `Part`.
    """
    if isinstance(rules, str):
        return Decision(OPEN, "no value", rules)
    counts = [seeds]

    def count_seeds(name: str, quantity: Quantity, baseline: bool) -> SettingResult:
        result = numbers(name, quantity, baseline)
        counts.append(seeds if baseline else len(result.values))
        return result

    decision = decide_all([rule(count_seeds, whole) for rule in rules])
    if decision.verdict == OPEN or seeds == min(counts) > 1:
        return decision
    why = "one seed is not enough" if seeds < 2 else f"only {min(counts)} of {seeds} seeds finished"
    return decision._replace(verdict=OPEN, why=why)


def evaluate_part(part: Part, seeds: Sequence[int], facts: Mapping[Config, JsonMapping]) -> PartResult:
    """Return the values of a part's settings and the verdicts on its findings."""
    numbers = run_numbers(part, seeds, facts)
    rows = {
        name: [(numbers(name, quantity, False), numbers(name, quantity, True)) for quantity in part.quantities]
        for name in part.settings
    }
    decisions = {
        finding: decide_finding(rules, numbers, len(seeds), whole=part.whole)
        for finding, rules in part.findings.items()
    }
    configs = [config for name in part.settings for seed in seeds for config in part.configs(name, seed)]
    leaky = max((str(facts[config].get("leaky", "")) for config in configs if config in facts), key=len, default="")
    return PartResult(part, rows, decisions, leaky)
