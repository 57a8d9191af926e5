"""What a classifier of windows has to beat: logistic regression on the window as it stands, without any recurrence."""

import copy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.scaling import Scale, read_scale
from lstm_ae.data.windows import Data, Split
from lstm_ae.files import load_state, save_state

Numbers = NDArray[Any]

NAME = "logistic regression"

# Inverse strengths of the penalty, the first after which the log loss on validation rises is taken.
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)

# Windows that are fitted on, spread evenly, and fewer where they are wide or classes many: it is to take seconds.
MOST, WIDEST, LARGEST = 20_000, 50_000_000, 2_000_000_000

# Of each class so many, or all there are.
FEWEST = 100

# Wider windows are put into so many principal components first.
COLUMNS = 500

ITERATIONS = 200


class LogisticRegression(NamedTuple):
    """A fitted regression.

    Args:
        scale: of the windows.
        missing: whether it is told which values are missing.
        weights: `(columns, classes)`.
        bias: `(classes,)`; minus infinity for a class that training never saw.
        windows: how many it was fitted on.
    """

    scale: Scale
    missing: bool
    weights: Numbers
    bias: Numbers
    windows: int

    def probabilities(self, windows: Numbers) -> NDArray[np.float64]:
        """Windows `(samples, window, features)` in own units to `(samples, classes)`; 0 for a class never seen."""
        from scipy.special import softmax

        found: NDArray[np.float64] = softmax(
            _columns(windows, self.scale, missing=self.missing) @ self.weights + self.bias, axis=1
        )
        return found


def fit_logistic_regression(data: Data) -> LogisticRegression:
    """Fit on training windows; validation chooses the penalty."""
    from threadpoolctl import threadpool_limits

    classes, missing = len(data.classes), data.train.missing
    wide = data.train.span * data.train.features * (2 if missing else 1)
    most = max(min(MOST, WIDEST // wide, LARGEST // (min(wide, COLUMNS) * classes)), 100)
    train, validation = (_taken(data, part, most, missing=missing) for part in data[:2])
    # Many small steps: threads that wait for one another cost more than they bring, eight times on busy cores.
    with threadpool_limits(1):
        components, regression = _fitted(train, validation, classes)
    weights, bias = _as_one(components, regression, classes)
    return LogisticRegression(data.scale, missing, weights, bias, len(train.label))


def _as_one(components: Any, regression: Any, classes: int) -> tuple[Numbers, Numbers]:
    """Components and regression as one linear map, from columns to all classes."""
    weights, bias = regression.coef_.T, regression.intercept_
    if len(regression.classes_) == 2:  # of two, scikit-learn keeps the second against the first
        weights, bias = np.hstack([0 * weights, weights]), np.r_[0, bias]
    if components is not None:
        weights = components.components_.T @ weights
        bias = bias - components.mean_ @ weights
    whole, least = np.zeros((len(weights), classes)), np.full(classes, -np.inf)
    whole[:, regression.classes_], least[regression.classes_] = weights, bias
    return whole, least


def read_logistic_regression(path: Path) -> LogisticRegression:
    """What `write_logistic_regression` has written; raises `DataError` where it is damaged."""
    meta, groups = load_state(path, {"regression": 2, "scale": 2})
    weights, bias = groups["regression"]
    return LogisticRegression(read_scale(meta, groups), meta["missing"], weights, bias, meta["windows"])


def write_logistic_regression(path: Path, regression: LogisticRegression) -> None:
    """Write a fitted regression."""
    scale = regression.scale
    groups = {"regression": [regression.weights, regression.bias], "scale": [scale.offset, scale.range]}
    meta = {"kind": scale.kind, "missing": regression.missing, "windows": regression.windows}
    save_state(path, meta, groups)


def _fitted(train: "_Samples", validation: "_Samples", classes: int) -> tuple[Any, Any]:
    """Components, where windows are wide, and the regression."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    components, wide = None, train.columns.shape[1]
    if wide > COLUMNS:
        solver = "covariance_eigh" if wide <= 2000 else "randomized"
        components = PCA(min(COLUMNS, len(train.label)), svd_solver=solver, random_state=0).fit(train.columns)
        train, validation = (part._replace(columns=components.transform(part.columns)) for part in (train, validation))
    # Each goes on from the one before, which is near.
    regression, best, lowest = LogisticRegression(max_iter=ITERATIONS, warm_start=True), None, np.inf
    for strength in STRENGTHS:
        regression.set_params(C=strength)
        with warnings.catch_warnings():
            # Not all the way down a flat slope is far enough for a baseline that validation chooses.
            warnings.simplefilter("ignore")
            regression.fit(train.columns, train.label)
        said = np.zeros((len(validation.label), classes))
        said[:, regression.classes_] = regression.predict_proba(validation.columns)
        loss = log_loss(said, validation.label)
        if loss >= lowest:
            break
        best, lowest = copy.deepcopy(regression), loss
    return components, best


def log_loss(probability: Numbers, truth: Numbers) -> float:
    """The mean of minus the logarithm of the true class's probability, in nats; the least one counted is 1e-7.

    Args:
        probability: `(samples, classes)`.
        truth: `(samples,)` places of the true classes.
    """
    true = probability[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.clip(true, 1e-7, 1)).mean())


class _Samples(NamedTuple):
    columns: Numbers
    label: Numbers


def _taken(data: Data, split: Split, most: int, *, missing: bool) -> _Samples:
    """Windows spread evenly over a split, and some of each class, however rare."""
    assert split.label is not None
    spread = [np.linspace(0, split.samples - 1, most).astype(np.int64)]
    if split.samples > most:
        of = [np.flatnonzero(split.label == place) for place in np.unique(split.label)]
        spread += [own[np.linspace(0, len(own) - 1, FEWEST).astype(np.int64)] for own in of]
    index = np.unique(np.concatenate(spread))
    pieces = [_columns(split.windows(part), data.scale, missing=missing) for part in _batches(index)]
    return _Samples(np.concatenate(pieces), split.label[index])


def _batches(index: Numbers, size: int = 1024) -> Iterator[Numbers]:
    for start in range(0, len(index), size):
        yield index[start : start + size]


def _columns(windows: Numbers, scale: Scale, *, missing: bool) -> NDArray[np.float32]:
    """Scaled windows side by side, 0 for what is missing, and behind them which values are, `(samples, columns)`."""
    absent = np.isnan(windows)
    scaled = np.where(absent, 0, scale.scaled(windows, windows)).reshape(len(windows), -1)
    if missing:
        scaled = np.concatenate([scaled, absent.reshape(len(windows), -1)], axis=1)
    return scaled.astype(np.float32)
