"""Quantities of runs that decide the claims."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lstm_ae.arrays import Float64Array
from lstm_ae.errors import Code, DataError
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.run import Run

if TYPE_CHECKING:
    from lstm_ae.experiment import RunWithData


# Name of the table that a forecast of many days writes to its run.
STEPS = "steps"


class TourQuantity(NamedTuple):
    """Quantity of a run.

    Args:
        label: its displayed name.
        name: name of the measure.
        source: a split ("validation", "test"), "seconds" (per epoch), or "first step", "last step", or "all steps" of
            a forecast of many days.
        unit: see `lstm_ae.significance.SettingResult`.
        higher: see `lstm_ae.significance.SettingResult`.
        log: see `lstm_ae.significance.SettingResult`.
        baseline: name of the baseline or its beginning; "" for none.
        share: whether the value is divided by that baseline.
        baseline_label: displayed name of the baseline; "" for its name.
    """

    label: str
    name: str
    source: str = "test"
    unit: str = ""
    higher: bool = False
    log: bool = False
    baseline: str = ""
    share: bool = False
    baseline_label: str = ""

    @property
    def displayed_baseline(self) -> str:
        """Displayed name of the baseline."""
        return self.baseline_label or self.baseline


class MeasuredRun(NamedTuple):
    """Measures of a finished run.

    Args:
        metrics: content of `metrics.json`.
        steps: columns of the table of forecast steps; None without one.
    """

    metrics: JsonMapping
    steps: Mapping[str, Sequence[float]] | None


def read_run_facts(run: Run) -> MeasuredRun:
    """Read the measures of a run.

    Raises:
        DataError: the run is unfinished or damaged.
    """
    path = run.directory / f"{STEPS}.csv"
    return MeasuredRun(run.metrics(), _columns(path) if path.is_file() else None)


def _columns(path: Path) -> dict[str, list[float]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(cell or "nan") for name, cell in row.items()} for row in csv.DictReader(file)]
        return {name: [row[name] for row in rows] for name in rows[0]}
    except (OSError, csv.Error, ValueError, TypeError, KeyError, IndexError) as error:
        raise DataError(
            f"{str(path)!r} is damaged. Delete it and run the command again.", code=Code.RUN_DAMAGED
        ) from error


def measured_value(facts: MeasuredRun, quantity: TourQuantity) -> float | None:
    """Return the value of a quantity; None if it is missing, infinite, or not positive where it must be."""
    value = _value(facts, quantity)
    if value is None or not math.isfinite(value) or (quantity.log and value <= 0):
        return None
    return value


def baseline_value(facts: MeasuredRun, quantity: TourQuantity) -> float | None:
    """Return the value of a quantity's baseline; None if there is none."""
    if quantity.share or not quantity.baseline:
        return None
    if quantity.source.endswith("step"):
        return _step(facts, f"{quantity.name} of {quantity.baseline}", quantity.source)
    value: float | None = _metric(facts, quantity)["baselines"].get(_baseline(facts, quantity))
    return value


def _value(facts: MeasuredRun, quantity: TourQuantity) -> float | None:
    if quantity.source == "seconds":
        training = facts.metrics["training"]
        return float(training["seconds"]) / training["epochs"] if training["epochs"] else None
    if quantity.source.endswith(("step", "steps")):
        return _step(facts, quantity.name, quantity.source)
    metric = _metric(facts, quantity)
    if not quantity.share:
        return metric["value"]  # type: ignore[no-any-return]
    naive = metric["baselines"].get(_baseline(facts, quantity))
    return metric["value"] / naive if naive and metric["value"] is not None else None


def _metric(facts: MeasuredRun, quantity: TourQuantity) -> JsonObject:
    metric = facts.metrics.get(quantity.source, {}).get(quantity.name)
    return metric if metric else {"value": None, "baselines": {}}


def _baseline(facts: MeasuredRun, quantity: TourQuantity) -> str:
    """Return the full name of the baseline; the name of the constant class ends with the class."""
    names = _metric(facts, quantity)["baselines"]
    return next((name for name in names if name.startswith(quantity.baseline)), quantity.baseline)


def _step(facts: MeasuredRun, name: str, source: str) -> float | None:
    if facts.steps is None or not facts.steps.get(name.partition("/")[0]):
        return None
    if source == "all steps":  # The name "one/other" is a ratio of sums.
        numerator, _, denominator = name.partition("/")
        total = sum(facts.steps[denominator])
        return sum(facts.steps[numerator]) / total if total else None
    return facts.steps[name][0 if source == "first step" else -1]


def measure_multistep(opened: "RunWithData") -> None:
    """Forecast many days and write predictions, figures, and the table of steps.

    The table is written last, so that its presence shows that everything is complete.

    Args:
        opened: the trained run, opened with its data.
    """
    import numpy as np

    from lstm_ae.studies.snp.multistep import forecast_multistep

    forecast = forecast_multistep(opened.model, opened.data)
    opened.save_predictions(forecast.table, "forecast")
    opened.run.write_figures(forecast.figures)
    horizon = len(forecast.steps)

    def mean_change(name: str) -> Float64Array:
        """Return the mean absolute change of the log price from day to day over all companies."""
        values = np.log(np.asarray(forecast.table[name], np.float64)).reshape(-1, horizon)
        changes: Float64Array = np.abs(np.diff(values, axis=1)).mean(axis=0)
        return changes

    columns: dict[str, list[float | None]] = {"step": [step.step for step in forecast.steps]}
    for name in ("rmse", "direction"):
        columns[name] = [step.metrics[name].value for step in forecast.steps]
        for base in ("persistence", "drift"):
            columns[f"{name} of {base}"] = [step.metrics[name].baselines.get(base) for step in forecast.steps]
    columns["skill"] = [step.persistence.skill for step in forecast.steps]
    # The change of the first day is left out, because it is the change from a known price to a forecast.
    columns["moved"] = [0.0, *mean_change("predicted").tolist()]
    columns["moved_truth"] = [0.0, *mean_change("actual").tolist()]
    opened.run.write_table(STEPS, columns)
