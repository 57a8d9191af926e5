"""Views: ways to look at windows of rows, each with a distance of what is usual.

A view reads windows from a source, which is the residuals of the network or the scaled values, transforms them to
deviations, and measures their distance. To add a view, write a class and add it to `VIEWS`.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple, Self

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Float32Array, Float64Array
from lstm_ae.artifacts import StoredArray
from lstm_ae.detection.baselines import CovarianceDistance, ShapeMemory, fit_covariance, fit_shapes
from lstm_ae.detection.row_means import mean_over_features

if TYPE_CHECKING:
    import tensorflow as tf

# Sources of windows: residuals of the network, that is, reconstructions minus scaled values, and the scaled values.
NETWORK, VALUES = "network", "values"

# Smallest deviation of the residuals of a feature, relative to the standard deviation of its values.
MIN_DEVIATION = 0.01

# Rounding error of scaled values in single precision, for values of the size of their range.
VALUE_ROUNDING = 1e-6

# Smallest variance of residuals in units of their deviation.
MIN_VARIANCE = MIN_DEVIATION**2

# Smallest unit of distances: below it, residuals are at their smallest deviation and differ by rounding.
MIN_UNIT = 0.01

# Residuals beyond this number of deviations are no more unusual, and their squares might be infinite.
MAX_DEVIATIONS = 1e12

# Quantile of normal rows that is the unit of the terms of a score.
HIGH_QUANTILE = 0.999


class MeasuredWindows(NamedTuple):
    """Deviations of windows and their distances.

    Args:
        deviations: `(windows, window, features)`, in units of the usual deviation of each feature; NaN where missing.
        distances: `(windows,)`, NaN for windows without a value.
    """

    deviations: Array
    distances: Float64Array

    def last_errors(self) -> Array:
        """Return the squared deviations of the last row of each window, `(windows, features)`."""
        # Sums depend on the order of the values in memory.
        errors: Array = np.square(np.ascontiguousarray(self.deviations[:, -1]), dtype=np.float64)
        return errors


class Units(NamedTuple):
    """Units of the terms of a score, from normal rows.

    Args:
        distance: high quantile of the distances of windows.
        error: high quantile of the mean error of the last row of a window.
        usual: median of the mean distances of the windows that contain a row.
    """

    distance: float = 1.0
    error: float = 1.0
    usual: float = 1.0


class Calibration(NamedTuple):
    """Distance of deviations, and its units.

    Args:
        deviation: `(features,)` usual size of what the view measures, such as the root mean square of residuals.
        distance: distance of deviations.
        units: units of the terms of scores.
    """

    deviation: Annotated[Float32Array, StoredArray("deviation_0", np.floating, "features")]
    distance: CovarianceDistance
    units: Units = Units()

    def measure(self, windows: Array) -> MeasuredWindows:
        """Return the deviations and distances of `(windows, window, features)`, NaN where a value is missing."""
        flat, deviation = windows, self.deviation
        if windows.flags.c_contiguous:
            # NumPy is faster on one long row per window than on short rows of features.
            flat, deviation = windows.reshape(len(windows), -1), np.tile(deviation, windows.shape[1])
        # Clip before the division, which might overflow.
        limit = MAX_DEVIATIONS * deviation
        deviations: Array = np.minimum(flat, limit)
        np.maximum(deviations, -limit, out=deviations)
        deviations /= deviation
        deviations = deviations.reshape(windows.shape)
        return MeasuredWindows(deviations, self.distance.distances(deviations))


class TrainingWindows(NamedTuple):
    """Training windows on which views are fitted.

    Args:
        windows: `(windows, window, features)` scaled windows.
        sample: fewer windows, for what is slow to fit.
        residuals: residuals of the sample by the network.
        spread: `(features,)` variance of each scaled column.
        rounding: rounding errors of the scaled values, one or `(features,)`.
        continuous: `(features,)` whether each column is continuous, see `find_continuous`.
        seed: seed of samples.
    """

    windows: Array
    sample: Array
    residuals: Array
    spread: Array
    rounding: Array | float
    continuous: BoolArray
    seed: int = 0

    def of_source(self, source: str) -> Array:
        """Return the windows of the sample by a source, `NETWORK` or `VALUES`."""
        return self.residuals if source == NETWORK else self.sample


@dataclass(frozen=True)
class View(abc.ABC):
    """A view of windows with its calibration.

    Attributes:
        source: `NETWORK` or `VALUES`.
        sign: sign of value - expected value in what is measured.

    Args:
        calibration: distance of what is measured, and its units.
        alarms: whether it is a part of the alarm score, which is known when a row arrives.
        ranks: whether it is a part of the final score, which depends on later rows too.
    """

    source: ClassVar[str]
    sign: ClassVar[int]

    calibration: Calibration
    alarms: bool
    ranks: bool

    @classmethod
    @abc.abstractmethod
    def fit(cls, training: TrainingWindows) -> Self:
        """Return the view that was fitted on training windows, without units."""

    def transform(self, windows: Array) -> Array:
        """Return what is measured, for `(windows, window, features)` windows of the source."""
        return windows

    def graph(self, windows: "tf.Tensor") -> "tf.Tensor":
        """Return what `transform` returns, as a part of a graph."""
        return windows

    def measure(self, windows: Array) -> MeasuredWindows:
        """Return the deviations and distances of windows of the source."""
        return self.calibration.measure(self.transform(windows))

    def with_units(self, units: Units) -> Self:
        """Return the view with units."""
        return replace(self, calibration=self.calibration._replace(units=units))


@dataclass(frozen=True)
class NetworkView(View):
    """Residuals of a reconstruction, by their Mahalanobis distance."""

    source = NETWORK
    sign = -1

    @classmethod
    def fit(cls, training: TrainingWindows) -> Self:
        """Return the view of the residuals of training windows."""
        deviation = fit_deviation(training.residuals, training.spread, training.rounding)
        distance = fit_covariance(training.residuals / deviation, training.seed, min_eigenvalue=1.0)
        return cls(Calibration(deviation, _bound_variances(distance)), alarms=True, ranks=True)


@dataclass(frozen=True)
class ShapeView(View):
    """Difference of the shape of a window from the most similar shape of a training window.

    Args:
        memory: shapes of training windows.
    """

    source = VALUES
    sign = -1

    memory: ShapeMemory

    @classmethod
    def fit(cls, training: TrainingWindows) -> Self:
        """Return the view with the shapes of training windows."""
        sample, (_, window, features) = training.sample, training.sample.shape
        means = np.ma.masked_invalid(sample).mean(axis=(0, 1)).filled(0)
        memory = fit_shapes(sample, fit_deviation(sample - means, training.spread, training.rounding), training.seed)
        calibration = Calibration(np.ones(features, np.float32), CovarianceDistance.mean_square(window, features))
        return cls(calibration, alarms=False, ranks=True, memory=memory)

    def transform(self, windows: Array) -> Array:
        """Return the most similar shape minus that of each window."""
        return self.memory.residuals(windows)


@dataclass(frozen=True)
class WindowsView(View):
    """Values of the continuous columns of a window, or of all columns if none is, by their Mahalanobis distance.

    Args:
        columns: `(all features,)` whether each column counts.
    """

    source = VALUES
    sign = 1

    columns: Annotated[BoolArray, StoredArray("columns", np.bool_, "all features")]

    @classmethod
    def fit(cls, training: TrainingWindows) -> Self:
        """Return the view of training windows.

        Distances of all columns rank rows worse than the network and the shape: by default, it ranks rows only if some
        columns are not continuous.
        """
        columns = training.continuous if training.continuous.any() else np.ones_like(training.continuous)
        distance = _bound_variances(fit_covariance(_select(training.windows, columns), training.seed))
        calibration = Calibration(np.ones(int(columns.sum()), np.float32), distance)
        return cls(calibration, alarms=True, ranks=not columns.all(), columns=columns)

    def transform(self, windows: Array) -> Array:
        """Return the windows of the columns that count."""
        return _select(windows, self.columns)

    def graph(self, windows: "tf.Tensor") -> "tf.Tensor":
        """Return the windows of the columns that count."""
        import tensorflow as tf

        return tf.boolean_mask(windows, self.columns, axis=2)


# The views of a detector by name, in the order in which they are shown. The first one has the errors of the columns.
VIEWS: Mapping[str, type[View]] = {"network": NetworkView, "shape": ShapeView, "windows": WindowsView}


def fit_views(training: TrainingWindows, chosen: tuple[str, ...] = ()) -> dict[str, View]:
    """Fit the views of a detector.

    Args:
        training: training windows.
        chosen: names of the views; each then ranks rows. Empty for the default ones.
    """
    views = {name: kind.fit(training) for name, kind in VIEWS.items() if not chosen or name in chosen}
    return {name: replace(view, ranks=True) for name, view in views.items()} if chosen else views


def _bound_variances(distance: CovarianceDistance) -> CovarianceDistance:
    """Return a distance without variances of rounding errors, by which windows that are always the same differ."""
    variances = np.maximum(distance.variances, np.float32(MIN_VARIANCE))
    return distance._replace(variances=variances, floor=max(distance.floor, MIN_VARIANCE))


def _select(windows: Array, columns: BoolArray) -> Array:
    return windows if columns.all() else np.compress(columns, windows, axis=2)


def find_continuous(values: Array) -> BoolArray:
    """Return which columns have more than two values, `(features,)`; the others are constant or binary.

    Args:
        values: `(rows, features)` normal rows, NaN where missing.
    """
    between = (values > np.fmin.reduce(values)) & (values < np.fmax.reduce(values))
    return np.asarray(between.any(axis=0))


def fit_deviation(residuals: Array, spread: Array, rounding: Array | float = VALUE_ROUNDING) -> Float32Array:
    """Return the root mean square of the residuals of each feature, `(features,)`, with a lower bound.

    A change of a feature that is constant in normal rows is very unusual: such a feature gets the lower bound of a
    feature with the mean spread. If all features are constant, the bound is a rounding error.

    Args:
        residuals: `(windows, window, features)` of training windows, NaN where missing.
        spread: `(features,)` variances of the values.
        rounding: rounding errors of the scaled values, one or `(features,)`.
    """
    squares = mean_over_features(np.square(residuals, dtype=np.float64).reshape(-1, len(spread)).T)
    varying = spread > 0
    if varying.any():
        least = MIN_DEVIATION**2 * np.where(varying, spread, spread[varying].mean())
    else:
        least = np.full(len(spread), np.nanmean(squares) if (squares > 0).any() else 0)
    least = np.fmax(least, np.square(rounding))
    return np.sqrt(np.fmax(squares, least)).astype(np.float32)
