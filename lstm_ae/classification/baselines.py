"""Baselines of classifiers: logistic regressions on scaled windows and on convolutions of them."""

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Float32Array, Float64Array
from lstm_ae.artifacts import Artifact, StoredArray
from lstm_ae.classification.convolutions import Convolutions, draw_convolutions
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Data, Split, evenly_spaced

if TYPE_CHECKING:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression as LogisticModel

# Inverse regularization strengths in the order of the search, which stops when the validation log loss rises.
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)

# Maximum number of windows, evenly spaced; fewer for wide windows or many classes, so that a fit takes seconds.
MOST, WIDEST, LARGEST = 20_000, 50_000_000, 2_000_000_000

# Minimum number of windows per class, if there are as many.
FEWEST = 100

# Wider inputs are reduced to this number of principal components.
COLUMNS = 500

# Most values of a window that convolutions are computed for, and of all windows, so that a fit takes seconds.
MAX_CONVOLVED_WIDTH, MAX_CONVOLVED_VALUES = 4096, 500_000

# Most validation windows that select the link.
MAX_COMPARED = 2000

ITERATIONS = 200


@dataclass(frozen=True)
class WindowRegression(Artifact, ABC):
    """Base class of the logistic regressions on numbers of windows.

    Args:
        weights: `(columns, classes)`.
        bias: `(classes,)`; minus infinity for classes without training windows.
        scale: scale of the windows.
        windows: number of training windows.

    Attributes:
        name: name in results.
    """

    name: ClassVar[str]

    weights: Annotated[Array, StoredArray("regression_0", np.floating, "columns", "classes")]
    bias: Annotated[Array, StoredArray("regression_1", np.floating, "classes")]
    scale: Scale
    windows: int

    def probabilities(self, windows: Array) -> Float64Array:
        """Return class probabilities `(samples, classes)`; 0 for classes without training windows.

        Args:
            windows: `(samples, window, features)` in original units.
        """
        from scipy.special import softmax

        probabilities: Float64Array = softmax(self.inputs(windows) @ self.weights + self.bias, axis=1)
        return probabilities

    @abstractmethod
    def inputs(self, windows: Array) -> Float32Array:
        """Return the inputs of the regression, `(samples, columns)`, for windows in original units."""


@dataclass(frozen=True)
class LogisticRegression(WindowRegression):
    """Logistic regression on the values of windows.

    Args:
        missing: whether a mask of missing values is part of the inputs.
    """

    file = "logistic.npz"
    name: ClassVar[str] = "logistic regression"

    missing: bool

    def inputs(self, windows: Array) -> Float32Array:
        """Return the scaled values, 0 where missing, `(samples, columns)`, for windows in original units."""
        return _columns(windows, self.scale, missing=self.missing)


@dataclass(frozen=True)
class ConvolutionRegression(WindowRegression):
    """Logistic regression on convolutions of windows.

    Args:
        convolutions: the convolutions of the scaled windows.
    """

    file = "convolutions.npz"
    name: ClassVar[str] = "logistic regression on convolutions"

    convolutions: Convolutions

    def inputs(self, windows: Array) -> Float32Array:
        """Return the features of windows in original units, `(samples, features)`."""
        return self.convolutions.features(self.scale.scaled(windows, windows))


def fit_baselines(data: Data) -> tuple[WindowRegression, ...]:
    """Fit the baselines: a logistic regression on windows, and one on convolutions unless windows are very wide.

    Args:
        data: training and validation windows with class labels.
    """
    return tuple(fit(data, STRENGTHS)[0] for fit in _fits(data))


# A function from data and inverse regularization strengths to a regression and its strength.
Fit = Callable[[Data, Sequence[float]], tuple[WindowRegression, float]]


def _fits(data: Data) -> tuple[Fit, ...]:
    """Return the functions that fit the baselines."""
    if data.train.span * data.train.features > MAX_CONVOLVED_WIDTH:
        return (fit_logistic_regression,)
    return fit_logistic_regression, fit_convolution_regression


def fit_link(data: Data) -> WindowRegression:
    """Fit the baseline at which a network starts: the one with the lowest log loss on validation windows.

    If training and validation are joined, the baseline and its regularization are selected before that, and it is
    fitted again to both.

    Args:
        data: training and validation windows with class labels.
    """
    separate = data.separate or data
    split = separate.validation
    assert split.label is not None
    index = evenly_spaced(split.samples, MAX_COMPARED)
    windows, label = split.windows(index), split.label[index]
    fitted = [(fit, *fit(separate, STRENGTHS)) for fit in _fits(separate)]
    fit, regression, strength = min(fitted, key=lambda found: log_loss(found[1].probabilities(windows), label))
    return regression if data.separate is None else fit(data, (strength,))[0]


def fit_logistic_regression(data: Data, strengths: Sequence[float] = STRENGTHS) -> tuple[LogisticRegression, float]:
    """Fit a logistic regression on training windows, with the regularization that is best on validation windows.

    Args:
        data: training and validation windows with class labels.
        strengths: inverse regularization strengths to try, ascending.

    Returns:
        The regression and its inverse regularization strength.
    """
    missing = data.train.missing
    wide = data.train.span * data.train.features * (2 if missing else 1)
    most = min(MOST, WIDEST // wide)
    weights, bias, windows, strength = _fit_regression(
        data, wide, most, strengths, lambda block: _columns(block, data.scale, missing=missing)
    )
    return LogisticRegression(weights, bias, data.scale, windows, missing), strength


def fit_convolution_regression(
    data: Data, strengths: Sequence[float] = STRENGTHS
) -> tuple[ConvolutionRegression, float]:
    """Fit a logistic regression on convolutions of the training windows, as `fit_logistic_regression` does on windows.

    Args:
        data, strengths: as there.

    Returns:
        The regression and its inverse regularization strength.
    """
    index = evenly_spaced(data.train.samples, 1000)
    windows = data.train.windows(index)
    convolutions = draw_convolutions(data.scale.scaled(windows, windows))
    most = min(MOST, MAX_CONVOLVED_VALUES // (data.train.span * data.train.features))
    weights, bias, count, strength = _fit_regression(
        data,
        convolutions.limits.size,
        most,
        strengths,
        lambda block: convolutions.features(data.scale.scaled(block, block)),
    )
    return ConvolutionRegression(weights, bias, data.scale, count, convolutions), strength


def _fit_regression(
    data: Data, wide: int, most: int, strengths: Sequence[float], inputs: Callable[[Array], Float32Array]
) -> tuple[Array, Array, int, float]:
    """Return weights, biases, number of training windows, and strength of a regression on `inputs` of windows."""
    from threadpoolctl import threadpool_limits

    classes = len(data.classes)
    most = max(min(most, LARGEST // (min(wide, COLUMNS) * classes)), 100)
    train, validation = (_sample(part, most, inputs) for part in data[:2])
    # The solver takes many small steps, in which synchronizing threads makes it up to eight times slower.
    with threadpool_limits(1):
        components, regression = _fit(train, validation, classes, strengths)
    weights, bias = _combine(components, regression, classes)
    return weights, bias, len(train.label), float(regression.C)


def _combine(components: "PCA | None", regression: "LogisticModel", classes: int) -> tuple[Array, Array]:
    """Combine components and regression into one linear map from columns to all classes."""
    weights, bias = regression.coef_.T, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn stores only the log odds of the second class
        weights, bias = np.hstack([0 * weights, weights]), np.r_[0, bias]
    if components is not None:
        weights = components.components_.T @ weights
        bias = bias - components.mean_ @ weights
    whole, least = np.zeros((len(weights), classes)), np.full(classes, -np.inf)
    whole[:, regression.classes_], least[regression.classes_] = weights, bias
    return whole, least


def _fit(
    train: "_Samples", validation: "_Samples", classes: int, strengths: Sequence[float]
) -> "tuple[PCA | None, LogisticModel]":
    """Return principal components (None for narrow windows) and the regression."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    components, wide = None, train.columns.shape[1]
    if wide > COLUMNS:
        solver = "covariance_eigh" if wide <= 2000 else "randomized"
        components = PCA(min(COLUMNS, len(train.label)), svd_solver=solver, random_state=0).fit(train.columns)
        train, validation = (part._replace(columns=components.transform(part.columns)) for part in (train, validation))
    # Each fit starts from the previous one, which is close.
    regression, best, lowest = LogisticRegression(max_iter=ITERATIONS, warm_start=True), None, np.inf
    for strength in strengths:
        regression.set_params(C=strength)
        with warnings.catch_warnings():
            # Convergence warnings are irrelevant, since validation selects the baseline.
            warnings.simplefilter("ignore")
            regression.fit(train.columns, train.label)
        probabilities = np.zeros((len(validation.label), classes))
        probabilities[:, regression.classes_] = regression.predict_proba(validation.columns)
        loss = log_loss(probabilities, validation.label)
        if loss >= lowest:
            break
        best, lowest = copy.deepcopy(regression), loss
    return components, best


def log_loss(probability: Array, truth: Array) -> float:
    """Return the mean negative log probability of the true classes in nats, with probabilities of at least 1e-7.

    Args:
        probability: `(samples, classes)`.
        truth: `(samples,)` indices of the true classes.

    >>> round(log_loss(np.array([[0.5, 0.5]]), np.array([0])), 4)
    0.6931
    """
    true = probability[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.clip(true, 1e-7, 1)).mean())


class _Samples(NamedTuple):
    columns: Array
    label: Array


def _sample(split: Split, most: int, inputs: Callable[[Array], Float32Array]) -> _Samples:
    """Return the inputs of evenly spaced windows of a split, with a minimum number per class."""
    assert split.label is not None
    spread = [evenly_spaced(split.samples, most)]
    if split.samples > most:
        by_class = [np.flatnonzero(split.label == number) for number in np.unique(split.label)]
        spread += [own[evenly_spaced(len(own), FEWEST)] for own in by_class]
    index = np.unique(np.concatenate(spread))
    pieces = [inputs(split.windows(part)) for part in _batches(index)]
    return _Samples(np.concatenate(pieces), split.label[index])


def _batches(index: Array, size: int = 1024) -> Iterator[Array]:
    for start in range(0, len(index), size):
        yield index[start : start + size]


def _columns(windows: Array, scale: Scale, *, missing: bool) -> Float32Array:
    """Return flattened scaled windows `(samples, columns)`, 0 where missing, followed by the mask of missing values."""
    absent = np.isnan(windows)
    scaled = np.where(absent, 0, scale.scaled(windows, windows)).reshape(len(windows), -1)
    if missing:
        scaled = np.concatenate([scaled, absent.reshape(len(windows), -1)], axis=1)
    return scaled.astype(np.float32)
