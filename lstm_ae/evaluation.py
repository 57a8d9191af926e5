"""Measures, each with the naive baseline that it has to beat beside it."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.formatting import format_skill

Numbers = NDArray[Any]


class Metric(NamedTuple):
    """One measured number.

    Args:
        value: what the model reached.
        unit: its unit; "" for plain numbers such as scaled errors.
        baselines: by name, the same measure of predictors without a model, on the same samples.
        higher_is_better: for accuracies.
    """

    value: float
    unit: str = ""
    baselines: dict[str, float] = {}
    higher_is_better: bool = False

    def as_json(self) -> dict[str, Any]:
        """As it stands in `metrics.json`."""
        return {
            "value": _number(self.value),
            "baselines": {name: _number(value) for name, value in self.baselines.items()},
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
        }


class Verdict(NamedTuple):
    """Does a forecast, or an answer, beat a baseline?

    Args:
        outcome: "beats", "ties with", "loses to"; where the test cannot tell "undecided against", or "is worse than"
            if it cannot be computed and the error is at least twice the baseline's.
        baseline: whom: of several, the one with the smallest error on the same samples.
        skill: 1 - error / error of that baseline.
        p: two-sided p-value of equal accuracy; NaN where it cannot be computed.
        statistic: Diebold and Mariano's, or McNemar's, above 0 where the model is better; NaN like `p`.
        halves: the same statistic over the first and the second half of the days alone; NaN where there are no days.
        words: what was compared, where the skill alone does not say it.
        remark: what bends it.
        margin: half the width of the skill's 95 % interval, by the test's standard error; NaN like `p`.
    """

    outcome: str
    baseline: str
    skill: float
    p: float
    statistic: float = float("nan")
    halves: tuple[float, float] = (float("nan"), float("nan"))
    words: str = ""
    remark: str = ""
    margin: float = float("nan")

    def __str__(self) -> str:
        p = "p not computable" if np.isnan(self.p) else f"p = {self.p:.2g}"
        remark = f", {self.remark}" if self.remark else ""
        words = self.words or ("" if self.skill < -1 else "skill ") + format_skill(self.skill)
        return f"{self.outcome} {self.baseline} ({words}, {p}{remark})"

    def as_json(self) -> dict[str, Any]:
        """As it stands in `metrics.json`."""
        numbers = {name: _number(getattr(self, name)) for name in ("skill", "p", "statistic")}
        halves = [_number(value) for value in self.halves]
        return {"text": str(self), "outcome": self.outcome, "baseline": self.baseline, **numbers, "halves": halves}


class ColumnSkill(NamedTuple):
    """What a forecast is worth in one column of a table; NaN where that cannot be computed.

    Args:
        baseline: whom it has to beat there.
        skill, linear: over that, of the model and of the linear regression.
        others: the model's over all other columns together.
    """

    baseline: str
    skill: float
    linear: float
    others: float

    def as_json(self) -> dict[str, Any]:
        """As it stands in `metrics.json`."""
        numbers = {name: _number(getattr(self, name)) for name in ("skill", "linear", "others")}
        return {"baseline": self.baseline, **numbers}


Metrics = dict[str, dict[str, Metric]]
"""By part ("validation", "test"), then by name."""


class Evaluation(NamedTuple):
    """What a model is worth.

    Args:
        metrics: what was measured.
        verdicts: by part, whether the model beats the best of its baselines there; empty where that is not tested.
        kept: what was fitted on the way and a run keeps, for its task's `keep`: how far forecasts were off on
            validation, or a linear baseline; None where there is nothing.
        columns: by part and name, of forecasts of a table with several columns.
    """

    metrics: Metrics
    verdicts: dict[str, Verdict] = {}
    kept: Any = None
    columns: dict[str, dict[str, ColumnSkill]] = {}

    def as_json(self) -> dict[str, Any]:
        """As it stands in `metrics.json`: metrics by part, and the verdicts on forecasts where there are any."""
        parts = {part: {name: metric.as_json() for name, metric in row.items()} for part, row in self.metrics.items()}
        verdicts = {part: verdict.as_json() for part, verdict in self.verdicts.items()}
        columns = {part: {name: of.as_json() for name, of in row.items()} for part, row in self.columns.items() if row}
        return parts | ({"verdict": verdicts} if verdicts else {}) | ({"columns": columns} if columns else {})


def sample_means(errors: Numbers) -> Numbers:
    """The mean of each sample of `(samples, steps, features)` over what is there; NaN where nothing is."""
    there = ~np.isnan(errors)
    with np.errstate(invalid="ignore"):
        means: Numbers = np.nansum(errors, axis=(1, 2)) / there.sum(axis=(1, 2))
    return means


class RunningMean:
    """A mean over values that come in pieces, summed in double precision."""

    def __init__(self) -> None:
        self.total: Any = 0.0
        self.count = 0

    def add(self, values: Numbers, axis: Any = None) -> None:
        """Take in more values; with `axis`, those axes are averaged and the rest kept apart."""
        kept = values.sum(axis=axis, dtype=np.float64)
        self.total = self.total + kept
        self.count += values.size // max(np.size(kept), 1)

    @property
    def value(self) -> float:
        """The mean so far."""
        return float(self.total / self.count)


def skill(error: float, baseline: float) -> float:
    """1 - error / baseline: 1 is perfect, 0 equals the baseline, below 0 is worse. NaN where the baseline is 0."""
    return 1 - error / baseline if baseline else float("nan")


def pca_error(train: Numbers, test: Numbers, numbers: int) -> float:
    """MSE on `test` of the best linear code of so many numbers, fitted on `train`; both `(samples, values)`.

    At most as many components as training samples can be found.
    """
    from sklearn.decomposition import PCA

    numbers = min(numbers, *train.shape)
    # What is left of rounding where all is kept says nothing.
    if numbers == train.shape[1]:
        return 0.0
    pca = PCA(numbers, svd_solver="covariance_eigh" if train.shape[1] <= 1000 else "full").fit(train)
    return float(np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2, dtype=np.float64))


def _number(value: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return value if math.isfinite(value) else None
