"""The numbers of a run that findings rest on."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lstm_ae.errors import DataError
from lstm_ae.run import Run

# The table that a forecast of many days leaves in its run.
STEPS = "steps"


class TourQuantity(NamedTuple):
    """A number that every run of a kind has.

    Args:
        words: what it is.
        name: of the measure.
        of: where it stands: a part of the data ("validation", "test"), "seconds" (an epoch takes), or "first step",
            "last step" and "all steps" of a forecast of many days.
        unit, higher, log: as in `lstm_ae.significance.SettingResult`.
        baseline: the one that stands beside it, or how its name begins; "" for none.
        beside: how that is called; "" for its name.
        share: tell it as a share of that baseline.
    """

    words: str
    name: str
    of: str = "test"
    unit: str = ""
    higher: bool = False
    log: bool = False
    baseline: str = ""
    share: bool = False
    beside: str = ""

    @property
    def rival(self) -> str:
        """The baseline, for people."""
        return self.beside or self.baseline


class MeasuredRun(NamedTuple):
    """What a finished run has measured: its `metrics.json`, and the columns of its steps; None without any."""

    metrics: Mapping[str, Any]
    steps: Mapping[str, Sequence[float]] | None


def read_run_facts(run: Run) -> MeasuredRun:
    """Read a run; raises `DataError` where it is unfinished or damaged."""
    path = run.directory / f"{STEPS}.csv"
    return MeasuredRun(run.metrics(), _columns(path) if path.is_file() else None)


def _columns(path: Path) -> dict[str, list[float]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(cell or "nan") for name, cell in row.items()} for row in csv.DictReader(file)]
        return {name: [row[name] for row in rows] for name in rows[0]}
    except (OSError, csv.Error, ValueError, TypeError, KeyError, IndexError) as error:
        raise DataError(f"{str(path)!r} is damaged; delete it, and the same command makes it again") from error


def measured_value(facts: MeasuredRun, quantity: TourQuantity) -> float | None:
    """The number; None where the run does not have it, or it is none."""
    found = _value(facts, quantity)
    if found is None or not math.isfinite(found) or (quantity.log and found <= 0):
        return None
    return found


def baseline_value(facts: MeasuredRun, quantity: TourQuantity) -> float | None:
    """The number of the baseline; None where there is none."""
    if quantity.share or not quantity.baseline:
        return None
    if quantity.of.endswith("step"):
        return _step(facts, f"{quantity.name} of {quantity.baseline}", quantity.of)
    found: float | None = _metric(facts, quantity)["baselines"].get(_baseline(facts, quantity))
    return found


def _value(facts: MeasuredRun, quantity: TourQuantity) -> float | None:
    if quantity.of == "seconds":
        training = facts.metrics["training"]
        return float(training["seconds"]) / training["epochs"] if training["epochs"] else None
    if quantity.of.endswith(("step", "steps")):
        return _step(facts, quantity.name, quantity.of)
    metric = _metric(facts, quantity)
    if not quantity.share:
        return metric["value"]  # type: ignore[no-any-return]
    naive = metric["baselines"].get(_baseline(facts, quantity))
    return metric["value"] / naive if naive and metric["value"] is not None else None


def _metric(facts: MeasuredRun, quantity: TourQuantity) -> dict[str, Any]:
    found = facts.metrics.get(quantity.of, {}).get(quantity.name)
    return found if found else {"value": None, "baselines": {}}


def _baseline(facts: MeasuredRun, quantity: TourQuantity) -> str:
    """The name in full: that of the constant answer ends with the answer."""
    names = _metric(facts, quantity)["baselines"]
    return next((name for name in names if name.startswith(quantity.baseline)), quantity.baseline)


def _step(facts: MeasuredRun, name: str, of: str) -> float | None:
    if facts.steps is None or not facts.steps.get(name.partition("/")[0]):
        return None
    if of == "all steps":  # a ratio of sums, "one/other"
        above, _, below = name.partition("/")
        total = sum(facts.steps[below])
        return sum(facts.steps[above]) / total if total else None
    return facts.steps[name][0 if of == "first step" else -1]


def measure_multistep(opened: Any) -> None:
    """Measure a forecast of many days; the table of its steps comes last, so that it says that all is there."""
    import numpy as np

    from lstm_ae.studies.snp_multistep import forecast_multistep

    found = forecast_multistep(opened.model, opened.data)
    opened.save_predictions(found.table, "forecast")
    opened.run.write_figures(found.figures)
    ahead = len(found.steps)

    def moved(name: str) -> Any:
        """How far a forecast, or the prices, go from one day to the next, in logarithms: the mean of all companies."""
        values = np.log(np.asarray(found.table[name], np.float64)).reshape(-1, ahead)
        return np.abs(np.diff(values, axis=1)).mean(axis=0)

    columns: dict[str, list[Any]] = {"step": [step.step for step in found.steps]}
    for name in ("rmse", "direction"):
        columns[name] = [step.metrics[name].value for step in found.steps]
        for base in ("persistence", "drift"):
            columns[f"{name} of {base}"] = [step.metrics[name].baselines.get(base) for step in found.steps]
    columns["skill"] = [step.persistence.skill for step in found.steps]
    # Both begin at the same known price, from which the first day is a step to where the truth was never.
    columns["moved"] = [0.0, *moved("predicted").tolist()]
    columns["moved_truth"] = [0.0, *moved("actual").tolist()]
    opened.run.write_table(STEPS, columns)
