"""Measures, each with the naive baseline that it has to beat beside it."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
        outcome: "beats", "ties with", "loses to" or, where the test cannot tell, "undecided against".
        baseline: whom.
        skill: 1 - error / error of the baseline.
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
        return f"{self.outcome} {self.baseline} ({self.words or f'skill {self.skill:+.2%}'}, {p}{remark})"

    def as_json(self) -> dict[str, Any]:
        """As it stands in `metrics.json`."""
        numbers = {name: _number(getattr(self, name)) for name in ("skill", "p", "statistic")}
        halves = [_number(value) for value in self.halves]
        return {"text": str(self), "outcome": self.outcome, "baseline": self.baseline, **numbers, "halves": halves}


class Column(NamedTuple):
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
        verdicts: by part, whether a forecast beats persistence, or a class a linear model; empty without either.
        kept: what was fitted on the way and a run keeps, for its task's `keep`: how far forecasts were off on
            validation, or a linear baseline; None where there is nothing.
        columns: by part and name, of forecasts of a table with several columns.
    """

    metrics: Metrics
    verdicts: dict[str, Verdict] = {}
    kept: Any = None
    columns: dict[str, dict[str, Column]] = {}

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


class Mean:
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


def verdict(
    errors: Numbers,
    baseline: Numbers,
    days: Numbers,
    *,
    name: str,
    steps: int,
    kernel: str = "uniform",
    counts: Numbers | None = None,
) -> Verdict:
    """Compare two forecasts by Diebold and Mariano's test with the correction of Harvey, Leybourne and Newbold (1997).

    Series that share a day move together, so the test is on the daily means of the loss difference; its variance has
    the autocovariances of `steps` - 1 lags, since forecasts of `steps` steps overlap, and is at least Newey and West's.
    The skill is over all samples: where it has the other sign, nothing is decided.

    Args:
        errors, baseline: `(samples,)` losses (squared errors) of the model and of the baseline.
        days: `(samples,)` the day of each forecast.
        name: the baseline's name.
        steps: horizon of the forecasts.
        kernel: as `diebold_mariano` takes it.
        counts: `(samples,)` forecasts that each loss is the mean of; None for one each.
    """
    from scipy import stats

    days, which = np.unique(days, return_inverse=True)
    counts = np.ones(len(errors)) if counts is None else counts
    difference = np.bincount(which, counts * (errors - baseline)) / np.bincount(which, counts)
    gained = skill(float(counts @ errors), float(counts @ baseline))
    statistic, p = diebold_mariano(difference, steps, kernel)
    outcome = "beats" if statistic > 0 else "loses to"
    if np.isnan(p):
        outcome = "undecided against" if difference.any() else "ties with"
    elif p >= 0.05:
        outcome = "ties with"
    elif gained * statistic < 0:
        # A few crowded days against many others: better by the day, worse by the sample, or the reverse.
        outcome = "undecided against"
    middle = len(days) // 2
    first, second = (diebold_mariano(half, steps, kernel)[0] for half in (difference[:middle], difference[middle:]))
    # In shares of the baseline's loss, as the skill is.
    unit = float(counts @ baseline) / max(float(counts.sum()), 1.0) or float("nan")
    margin = float(stats.t.ppf(0.975, len(days) - 1)) * _standard_error(difference, steps, kernel) / unit
    return Verdict(outcome, name, gained, p, statistic, (first, second), margin=margin)


def mcnemar(ours: NDArray[np.bool_], theirs: NDArray[np.bool_], *, name: str, what: str) -> Verdict:
    """Compare two classifiers by McNemar's exact test: of the samples that one of them alone names rightly, half each.

    McNemar (1947), "Note on the sampling error of the difference between correlated proportions or percentages". The
    samples must be independent of one another.

    Args:
        ours, theirs: `(samples,)` whether the model, and the baseline, are right.
        name: the baseline's name.
        what: the noun of a sample, in the plural.
    """
    from scipy import stats

    better, worse = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    p = float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0
    outcome = "ties with" if p >= 0.05 else "beats" if better > worse else "loses to"
    words = f"accuracy {ours.mean():.2%} against {theirs.mean():.2%} in {len(ours):,} {what}"
    statistic = (better - worse) / max(better + worse, 1) ** 0.5
    return Verdict(outcome, name, skill(float(1 - ours.mean()), float(1 - theirs.mean())), p, statistic, words=words)


def diebold_mariano(difference: Numbers, steps: int, kernel: str = "uniform") -> tuple[float, float]:
    """The statistic of a mean loss difference, above 0 where it is negative, and its two-sided p-value.

    Both are NaN with too few days or without any variance.

    Args:
        difference: `(days,)` the loss less that of the baseline.
        steps: so many days following one another are dependent.
        kernel: weights of the autocovariances: "uniform" where those of `steps` or more days apart are 0, as of
            forecasts that overlap; "bartlett" (Newey and West) where `steps` is a rule of thumb.
    """
    from scipy import stats

    error = _standard_error(difference, steps, kernel)
    if np.isnan(error):
        return error, error
    statistic = -float(np.mean(difference)) / error
    return statistic, float(2 * stats.t.sf(abs(statistic), len(difference) - 1))


def _standard_error(difference: Numbers, steps: int, kernel: str) -> float:
    """Of a mean loss difference, as `diebold_mariano` takes it; NaN where that is."""
    from statsmodels.stats.sandwich_covariance import S_hac_simple, weights_bartlett, weights_uniform

    days = len(difference)
    if days < max(10, 2 * steps) or np.ptp(difference) == 0:
        return float("nan")
    centred = (difference - np.mean(difference))[:, None]
    # The uniform kernel's may be far too small, even below 0, where there are few days a horizon.
    weights = (weights_bartlett, weights_uniform) if kernel == "uniform" else (weights_bartlett,)
    variance = max(S_hac_simple(centred, steps - 1, each).item() for each in weights) / days
    harvey = (days + 1 - 2 * steps + steps * (steps - 1) / days) / days
    return float(np.sqrt(variance / (days * harvey)))


def principal_components(train: Numbers, test: Numbers, numbers: int) -> float:
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
