"""Baselines of classifiers: logistic regressions on scaled windows and on convolutions of them."""

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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

# Maximum numbers of windows, of their inputs, and of their inputs times the classes, so that a fit takes seconds.
MAX_WINDOWS, MAX_INPUTS, MAX_PRODUCTS = 20_000, 50_000_000, 2_000_000_000

# Minimum number of windows per class, if there are as many.
MIN_CLASS_WINDOWS = 100

# Wider inputs are reduced to this number of principal components.
MAX_COMPONENTS = 500

# Maximum numbers of values of a window and of all windows for convolutions, so that a fit takes seconds.
MAX_CONVOLVED_WIDTH, MAX_CONVOLVED_VALUES = 4096, 500_000

# Maximum number of validation windows that select the link.
MAX_COMPARED = 2000

ITERATIONS = 200


@dataclass(frozen=True)
class WindowRegression(Artifact, ABC):
    """Base class of the logistic regressions on features of windows.

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

    If training and validation are joined, the baseline and its regularization are selected on the separate splits, and
    the baseline is fitted again on both.

    Args:
        data: training and validation windows with class labels.
    """
    separate = data.separate or data
    split = separate.validation
    assert split.label is not None
    index = evenly_spaced(split.samples, MAX_COMPARED)
    windows, label = split.windows(index), split.label[index]
    candidates = [(fit, *fit(separate, STRENGTHS)) for fit in _fits(separate)]
    fit, regression, strength = min(candidates, key=lambda each: log_loss(each[1].probabilities(windows), label))
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
    width = data.train.span * data.train.features * (2 if missing else 1)
    max_windows = min(MAX_WINDOWS, MAX_INPUTS // width)
    weights, bias, windows, strength = _fit_regression(
        data, width, max_windows, strengths, lambda block: _columns(block, data.scale, missing=missing)
    )
    return LogisticRegression(weights, bias, data.scale, windows, missing), strength


def fit_convolution_regression(
    data: Data, strengths: Sequence[float] = STRENGTHS
) -> tuple[ConvolutionRegression, float]:
    """Fit a logistic regression on convolutions of the training windows, as `fit_logistic_regression` does on windows.

    Args:
        data, strengths: see `fit_logistic_regression`.

    Returns:
        The regression and its inverse regularization strength.
    """
    index = evenly_spaced(data.train.samples, 1000)
    windows = data.train.windows(index)
    convolutions = draw_convolutions(data.scale.scaled(windows, windows))
    max_windows = min(MAX_WINDOWS, MAX_CONVOLVED_VALUES // (data.train.span * data.train.features))
    weights, bias, count, strength = _fit_regression(
        data,
        convolutions.limits.size,
        max_windows,
        strengths,
        lambda block: convolutions.features(data.scale.scaled(block, block)),
    )
    return ConvolutionRegression(weights, bias, data.scale, count, convolutions), strength


def _fit_regression(
    data: Data, width: int, max_windows: int, strengths: Sequence[float], inputs: Callable[[Array], Float32Array]
) -> tuple[Array, Array, int, float]:
    """Return weights, biases, number of training windows, and strength of a regression on `inputs` of windows."""
    from threadpoolctl import threadpool_limits

    classes = len(data.classes)
    max_windows = max(min(max_windows, MAX_PRODUCTS // (min(width, MAX_COMPONENTS) * classes)), 100)
    train, validation = (_sample(split, max_windows, inputs) for split in data[:2])
    # The solver takes many small steps, in which synchronizing threads makes it up to eight times slower.
    with threadpool_limits(1):
        components, regression = _fit(train, validation, classes, strengths)
    weights, bias = _combine(components, regression, classes)
    return weights, bias, len(train.label), float(regression.C)


def _combine(components: "PCA | None", regression: "LogisticModel", classes: int) -> tuple[Array, Array]:
    """Return the weights and biases of components and regression as one linear map from columns to all classes."""
    weights, bias = regression.coef_.T, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn stores only the log odds of the second class
        weights, bias = np.hstack([0 * weights, weights]), np.r_[0, bias]
    if components is not None:
        weights = components.components_.T @ weights
        bias = bias - components.mean_ @ weights
    all_weights, all_biases = np.zeros((len(weights), classes)), np.full(classes, -np.inf)
    all_weights[:, regression.classes_], all_biases[regression.classes_] = weights, bias
    return all_weights, all_biases


def _fit(
    train: "_Samples", validation: "_Samples", classes: int, strengths: Sequence[float]
) -> "tuple[PCA | None, LogisticModel]":
    """Return principal components (None for narrow windows) and the regression."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    components, width = None, train.columns.shape[1]
    if width > MAX_COMPONENTS:
        solver = "covariance_eigh" if width <= 2000 else "randomized"
        components = PCA(min(MAX_COMPONENTS, len(train.label)), svd_solver=solver, random_state=0).fit(train.columns)
        train, validation = (each._replace(columns=components.transform(each.columns)) for each in (train, validation))
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


def _sample(split: Split, max_windows: int, inputs: Callable[[Array], Float32Array]) -> _Samples:
    """Return the inputs of evenly spaced windows of a split, with a minimum number per class."""
    assert split.label is not None
    indices = [evenly_spaced(split.samples, max_windows)]
    if split.samples > max_windows:
        by_class = [np.flatnonzero(split.label == number) for number in np.unique(split.label)]
        indices += [own[evenly_spaced(len(own), MIN_CLASS_WINDOWS)] for own in by_class]
    index = np.unique(np.concatenate(indices))
    sample = split.select(index)
    columns = np.concatenate([inputs(sample.windows(batch)) for batch in sample.batches()])
    return _Samples(columns, split.label[index])


def _columns(windows: Array, scale: Scale, *, missing: bool) -> Float32Array:
    """Return flattened scaled windows `(samples, columns)`, 0 where missing, followed by the mask of missing values."""
    absent = np.isnan(windows)
    scaled = np.where(absent, 0, scale.scaled(windows, windows)).reshape(len(windows), -1)
    if missing:
        scaled = np.concatenate([scaled, absent.reshape(len(windows), -1)], axis=1)
    return scaled.astype(np.float32)
