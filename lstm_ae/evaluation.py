"""Metrics with their baselines, and verdicts."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.formatting import format_skill
from lstm_ae.json_types import JsonObject

# The baseline of this name is the value that the metric should be near, such as the level of an interval for its
# coverage, and not a value to beat.
NOMINAL = "nominal"


class Metric(NamedTuple):
    """Metric of a model with those of its baselines.

    Args:
        value: value of the model.
        unit: unit of the values; "" for dimensionless numbers.
        baselines: values of the baselines on the same samples, by name.
        higher_is_better: whether larger values are better, as for accuracy.
    """

    value: float
    unit: str = ""
    baselines: dict[str, float] = {}
    higher_is_better: bool = False

    def as_json(self) -> JsonObject:
        """Return the entry in `metrics.json`."""
        return {
            "value": _number(self.value),
            "baselines": {name: _number(value) for name, value in self.baselines.items()},
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
        }


class Verdict(NamedTuple):
    """Result of a significance test of a model against a baseline.

    Args:
        outcome: "beats", "ties with", "loses to", or "undecided against" if the test has too little power; "is worse
            than" if the test cannot be computed and the error is at least twice the baseline's.
        baseline: name of the baseline; of several, the one with the smallest error on the same samples.
        skill: 1 - error / error of the baseline.
        p: two-sided p-value of equal accuracy; NaN if it cannot be computed.
        statistic: Diebold-Mariano or McNemar statistic, above 0 if the model is better; NaN like `p`.
        words: description of the comparison, if it is not the skill.
        remark: qualification of the result.
        margin: half width of the 95% interval of the skill, from the test's standard error; NaN like `p`.
        windows: number of samples without overlap.
    """

    outcome: str
    baseline: str
    skill: float
    p: float
    statistic: float = float("nan")
    words: str = ""
    remark: str = ""
    margin: float = float("nan")
    windows: int = 0

    @property
    def shown_p(self) -> str:
        """The p-value as text."""
        return "p not computable" if np.isnan(self.p) else f"p = {self.p:.2g}"

    def __str__(self) -> str:
        words = self.words or ("" if self.skill < -1 else "skill ") + format_skill(self.skill)
        # Forecasts that are equal need no test.
        details = (words, "" if self.words and np.isnan(self.p) else self.shown_p, self.remark)
        return f"{self.outcome} {self.baseline} ({', '.join(filter(None, details))})"

    def as_json(self) -> JsonObject:
        """Return the entry in `metrics.json`."""
        numbers = {name: _number(getattr(self, name)) for name in ("skill", "p", "statistic")}
        return {"text": str(self), "outcome": self.outcome, "baseline": self.baseline, **numbers}


class ColumnSkill(NamedTuple):
    """Skill of a forecast in one column of a table; NaN if it cannot be computed.

    Args:
        baseline: name of the column's naive baseline.
        skill: skill of the model over the baseline.
        linear: skill of the linear regression over the baseline.
        others: skill of the model over all other columns.
    """

    baseline: str
    skill: float
    linear: float
    others: float

    def as_json(self) -> JsonObject:
        """Return the entry in `metrics.json`."""
        numbers = {name: _number(getattr(self, name)) for name in ("skill", "linear", "others")}
        return {"baseline": self.baseline, **numbers}


Metrics = dict[str, dict[str, Metric]]
"""Metrics by split ("validation", "test") and name."""


class Evaluation(NamedTuple):
    """Evaluation of a model.

    Args:
        metrics: metrics by split and name.
        verdicts: verdicts against the best baseline, by split; empty without tests.
        fitted: fitted baselines and calibration that the study's `fit_artifacts` stores; None if there are none.
        columns: skills by split and column, for forecasts of tables with several columns.
        notes: sentences on what could not be evaluated.
        errors: errors of the forecasts of the test split; None for other models.
    """

    metrics: Metrics
    verdicts: dict[str, Verdict] = {}
    fitted: Any = None
    columns: dict[str, dict[str, ColumnSkill]] = {}
    notes: tuple[str, ...] = ()
    errors: Any = None

    def select(self, split: str) -> "Evaluation":
        """Return the metrics, the verdict, and the skills by column of one split."""
        columns = {split: self.columns.get(split, {})}
        return Evaluation({split: self.metrics[split]}, {split: self.verdicts[split]}, columns=columns)

    def as_json(self) -> JsonObject:
        """Return the content of `metrics.json`: metrics by split, and other results that are not empty."""
        optional = {
            "verdict": {split: verdict.as_json() for split, verdict in self.verdicts.items()},
            "columns": {
                split: {name: each.as_json() for name, each in row.items()}
                for split, row in self.columns.items()
                if row
            },
            "notes": list(self.notes),
        }
        metrics = {
            split: {name: metric.as_json() for name, metric in row.items()} for split, row in self.metrics.items()
        }
        return metrics | {name: value for name, value in optional.items() if value}


def sample_means(errors: Array) -> Array:
    """Return the mean of each sample of `(samples, steps, features)` ignoring NaN; NaN for samples without values.

    >>> sample_means(np.array([[[1.0, np.nan], [2.0, 3.0]]])).tolist()
    [2.0]
    """
    observed = ~np.isnan(errors)
    with np.errstate(invalid="ignore"):
        means: Array = np.nansum(errors, axis=(1, 2)) / observed.sum(axis=(1, 2))
    return means


def mean_over_batches(batches: Iterable[Iterable[Array]]) -> list[float]:
    """Return the mean of each of several quantities whose values come in batches, summed in double precision.

    Args:
        batches: arrays of values, one per quantity, of each batch.

    >>> mean_over_batches([[np.array([1.0, 2.0])], [np.array([6.0])]])
    [3.0]
    """
    sums = [[(values.sum(dtype=np.float64), values.size) for values in batch] for batch in batches]
    return [
        float(sum(total for total, _ in each) / sum(count for _, count in each)) for each in zip(*sums, strict=True)
    ]


def skill(error: float, baseline: float) -> float:
    """Return 1 - error / baseline: 1 is perfect, 0 equals the baseline, below 0 is worse; NaN if the baseline is 0.

    >>> skill(0.5, 2.0)
    0.75
    """
    return 1 - error / baseline if baseline else float("nan")


def pca_error(train: Array, test: Array, numbers: int) -> float:
    """Return the mean squared error of a reconstruction by principal components.

    Args:
        train: `(samples, values)` to fit on.
        test: `(samples, values)` to reconstruct.
        numbers: number of components; at most the number of training samples is used.
    """
    from sklearn.decomposition import PCA

    numbers = min(numbers, *train.shape)
    # With all components the error is only rounding.
    if numbers == train.shape[1]:
        return 0.0
    pca = PCA(numbers, svd_solver="covariance_eigh" if train.shape[1] <= 1000 else "full").fit(train)
    return float(np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2, dtype=np.float64))


def _number(value: float) -> float | None:
    """Return None for NaN and infinity, which JSON does not support."""
    return value if math.isfinite(value) else None
