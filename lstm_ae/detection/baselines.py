"""Baselines of anomaly detection: simple methods that assign each window an error.

All are fitted on scaled training windows, and `distances` returns one error per window. The score of a row is the error
of the window that ends at it or, to rank rows, the mean of the errors of the windows that contain it.

Principal components also have a residual per value, like a model, so that later steps are the same for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

import numpy as np

from lstm_ae.arrays import Array, Float32Array, Float64Array
from lstm_ae.artifacts import Artifact, StoredArray
from lstm_ae.data.scaling import Scale
from lstm_ae.detection.row_means import (
    batch_size,
    divide,
    mean_stride,
    mean_windows,
    sum_windows,
    view_windows,
    window_blocks,
)
from lstm_ae.errors import Code, ConfigError, DataError

# Name in results.
MAHALANOBIS = "Mahalanobis"

# Maximum number of windows and of values to fit on; larger data is sampled.
MAX_WINDOWS, MAX_VALUES = 20_000, 1 << 25

# Smallest eigenvalue of the covariance of windows, relative to the mean of all eigenvalues.
MIN_EIGENVALUE = 1e-3

# Largest size of an eigenvalue problem. Longer windows use the products of this number of windows instead of the
# covariance of their values, which has the same nonzero eigenvalues.
MAX_EIGENVALUES = 2000

# Maximum number of values of the stored axes of a distance (16 MiB), which windows of more than 2048 values may reach.
MAX_AXIS_VALUES = 1 << 22

# Principal components of longer windows are fitted by randomized projections if there are fewer windows than values.
WIDE_VALUES = 2000

# Smallest standard deviation of a component, relative to the largest one.
MIN_RELATIVE_DEVIATION = 1e-4

# Maximum numbers of shapes and of their values in a memory.
MAX_MEMORIES, MAX_MEMORY_VALUES = 500, 1 << 20

# Maximum value of a shape in deviations, which half precision can represent.
LARGEST_VALUE = 6e4

# Smallest deviation by which a shape is divided, relative to that of the training windows, so that the noise of a quiet
# stretch is not a shape.
MIN_SHAPE_DEVIATION = 0.5

# Maximum number of windows to search for the nearest one.
MAX_NEIGHBOR_WINDOWS = 2000

# Smallest score with a logarithm, in squared standard deviations.
MIN_SCORE = 1e-9


class WindowBaseline(Protocol):
    """Baseline fitted on training windows."""

    def distances(self, windows: Array) -> Float64Array:
        """Return the squared distance of each of `(windows, window, features)` scaled windows, `(windows,)`.

        Missing values (NaN) do not contribute. The error of a window without values is NaN.
        """


def window_distances(baseline: WindowBaseline, rows: Array, window: int) -> Float64Array:
    """Return the distance of the window at every row, `(rows - window + 1,)`.

    Args:
        baseline: a fitted baseline.
        rows: `(rows, features)` consecutive scaled rows, at least one window.
        window: rows of a window.
    """
    windows = view_windows(rows, window)
    size = batch_size(window, rows.shape[1])
    return np.concatenate([baseline.distances(windows[first : first + size]) for first in range(0, len(windows), size)])


def mean_over_windows(distances: Array, window: int) -> Float64Array:
    """Return the mean distance of the windows that contain each row, `(rows,)`.

    Args:
        distances: of the windows at every row, see `window_distances`.
        window: rows of a window.
    """
    rows = len(distances) + window - 1
    blocks = []
    for block in window_blocks(0, rows, window, 1, stride := mean_stride(window)):
        starting = distances[block.start : block.stop - window + 1 : stride, None, None]
        blocks.append(sum_windows(np.broadcast_to(starting, (len(starting), window, 1)), stride, block.start))
    return mean_windows(blocks)[:, 0]


class PrincipalComponents(NamedTuple):
    """Principal components of windows.

    Args:
        mean: `(window, features)` float32.
        axes: `(components, window * features)` float32, orthonormal rows.
    """

    mean: Annotated[Float32Array, StoredArray("components_0", np.floating, "steps", "features")]
    axes: Annotated[Float32Array, StoredArray("components_1", np.floating, "components", "values of a window")]

    @property
    def name(self) -> str:
        """Name in results."""
        return f"PCA with {len(self.axes)} numbers"

    def codes(self, windows: Array) -> Float32Array:
        """Return the components of `(windows, window, features)`, `(windows, components)`; see `residuals`."""
        codes: Float32Array = _center(windows, self.mean)[0] @ self.axes.T
        return codes

    def residuals(self, windows: Array) -> Float32Array:
        """Return the reconstruction minus the values of `(windows, window, features)`, in the same shape.

        A missing value (NaN) is replaced by the training mean of its position, and its residual is NaN.
        """
        centered, missing = _center(windows, self.mean)
        residuals = np.asarray((centered @ self.axes.T) @ self.axes, np.float32)
        residuals -= centered
        if missing is not None:
            residuals[missing] = np.nan
        return residuals.reshape(windows.shape)

    def distances(self, windows: Array) -> Float64Array:
        """Return the mean squared error of the reconstruction of each window, see `WindowBaseline`."""
        return _mean_squares(np.square(self.residuals(windows)).reshape(len(windows), -1))


class LinearAutoencoder(NamedTuple):
    """Linear encoder and decoder of scaled windows: principal components, each divided by its standard deviation.

    Args:
        mean: `(window, features)` float32, the reconstruction of a code of zeros.
        encoder: `(window * features, components)` float32; zero for components without variance or that do not exist.
        decoder: `(components, window * features)` float32.
    """

    mean: Float32Array
    encoder: Float32Array
    decoder: Float32Array


def fit_linear_autoencoder(components: PrincipalComponents, windows: Array, size: int) -> LinearAutoencoder:
    """Return the encoder and decoder that reconstruct windows as principal components do.

    Args:
        components: at most `size` principal components.
        windows: `(windows, window, features)` scaled windows, for the standard deviations of the components.
        size: size of the linear code.
    """
    deviations = components.codes(windows).std(axis=0)
    # Smaller deviations are rounding errors.
    used = deviations > MIN_RELATIVE_DEVIATION * deviations.max(initial=0)
    axes, deviations = components.axes * used[:, None], np.where(used, deviations, 1).astype(np.float32)[:, None]
    unused = ((0, size - len(axes)), (0, 0))
    return LinearAutoencoder(
        components.mean, np.pad(axes / deviations, unused).T.copy(), np.pad(axes * deviations, unused)
    )


class CovarianceDistance(NamedTuple):
    """Mahalanobis distance of windows from the mean of the training windows.

    Only axes with an eigenvalue above the floor are stored, because all others have the same weight. If they have more
    than `MAX_AXIS_VALUES` values, those with the largest eigenvalues are stored, and the others count with the floor.

    Args:
        mean: `(window, features)` float32.
        axes: `(axes, window * features)` float32, orthonormal rows.
        variances: `(axes,)` float32 eigenvalues of the covariance above the floor.
        floor: variance of all other directions.
    """

    mean: Annotated[Float32Array, StoredArray("covariance_0", np.floating, "steps", "features")]
    axes: Annotated[Float32Array, StoredArray("covariance_1", np.floating, "axes", "values of a window")]
    variances: Annotated[Float32Array, StoredArray("covariance_2", np.floating, "axes")]
    floor: float

    def distances(self, windows: Array) -> Float64Array:
        """Return the squared Mahalanobis distance of each window per value, see `WindowBaseline`.

        A missing value is replaced by the training mean of its position, and the distance is relative to the number of
        values that are present.
        """
        centered, missing = _center(windows, self.mean)
        # The remainder is a small difference of large sums, which rounding errors of single precision would dominate.
        centered = centered.astype(np.float64)
        projected = np.square(centered @ self.axes.T.astype(np.float64))
        remainder = np.maximum(np.square(centered).sum(axis=1) - projected.sum(axis=1), 0)
        return divide(
            (projected / self.variances).sum(axis=1) + remainder / self.floor, _count_present(centered, missing)
        )

    @classmethod
    def mean_square(cls, window: int, features: int) -> "CovarianceDistance":
        """Return the mean squared value of windows as a distance."""
        values = window * features
        axes = np.zeros((0, values), np.float32)
        return cls(np.zeros((window, features), np.float32), axes, np.zeros(0, np.float32), 1.0)


class ShapeMemory(NamedTuple):
    """Shapes of training windows. The shape of another window is compared with the most similar one.

    The shape of a window is its values without the mean of each feature, divided by their standard deviation. A small
    deviation counts as `MIN_SHAPE_DEVIATION`.

    Args:
        shapes: `(memories, window * features)` float16.
        deviation: `(features,)` float32 standard deviations of the features in training windows.
    """

    shapes: Annotated[Array, StoredArray("shapes", np.floating, "memories", "values of a window")]
    deviation: Annotated[Float32Array, StoredArray("shape_deviation", np.floating, "features")]

    def residuals(self, windows: Array) -> Float32Array:
        """Return the most similar shape minus that of each of `(windows, window, features)`, as windows.

        A missing value (NaN) is replaced by the mean, and its residual is NaN.
        """
        shapes, missing = self.normalize(windows)
        # In single precision, rounding errors would choose between shapes that are nearly equally similar.
        remembered = self.shapes.astype(np.float64)
        similarity = shapes @ remembered.T
        similarity -= np.square(remembered).sum(axis=1) / 2
        residuals = (remembered[similarity.argmax(axis=1)] - shapes).astype(np.float32)
        residuals[missing] = np.nan
        by_window: Float32Array = residuals.reshape(windows.shape)
        return by_window

    def normalize(self, windows: Array) -> tuple[Float64Array, Array]:
        """Return the flat shapes of windows and a mask of missing values, both `(windows, window * features)`."""
        values: Float64Array = np.clip(np.asarray(windows, np.float64) / self.deviation, -LARGEST_VALUE, LARGEST_VALUE)
        missing = np.isnan(values)
        present = np.maximum((~missing).sum(axis=1, keepdims=True), 1)
        values[missing] = 0
        values -= values.sum(axis=1, keepdims=True) / present
        values[missing] = 0
        values /= np.maximum(np.sqrt(np.square(values).sum(axis=1, keepdims=True) / present), MIN_SHAPE_DEVIATION)
        return values.reshape(len(values), -1), missing.reshape(len(values), -1)


class NearestDistance(NamedTuple):
    """Distance of windows to the nearest of some centers: training windows, or the mean.

    Args:
        centers: `(centers, window, features)` float32.
    """

    centers: Float32Array

    def distances(self, windows: Array) -> Float64Array:
        """Return the smallest mean squared difference of each window from a center, see `WindowBaseline`.

        A missing value is replaced by the mean of the centers at its position.
        """
        mean = self.centers.mean(axis=0)
        centered, missing = _center(windows, mean)
        centers = (self.centers - mean).reshape(len(self.centers), -1)
        squares = np.square(centers).sum(axis=1) - 2 * centered @ centers.T
        distances = np.maximum(squares.min(axis=1) + np.square(centered).sum(axis=1), 0)
        return divide(distances, _count_present(centered, missing))


class MovingVariance(NamedTuple):
    """Variance within a window, averaged over the features."""

    def distances(self, windows: Array) -> Float64Array:
        """Return the variance within each window, see `WindowBaseline`."""
        variances: Float64Array = np.nanvar(windows, axis=1, dtype=np.float64).mean(axis=1)
        return variances


class Autoregression(NamedTuple):
    """Linear regression of the last row of a window on the rows before it, for each feature on its own past.

    Args:
        weights: `(features, window - 1)`.
        intercept: `(features,)`.
    """

    weights: Float64Array
    intercept: Float64Array

    def distances(self, windows: Array) -> Float64Array:
        """Return the mean squared error of the last row of each window, see `WindowBaseline`."""
        predicted = np.einsum("nwf,fw->nf", windows[:, :-1], self.weights) + self.intercept
        return _mean_squares(np.square(predicted - windows[:, -1]))


def _center(windows: Array, mean: Array) -> tuple[Float32Array, Array | None]:
    """Return the differences from the mean, `(windows, values)`, 0 where missing, and a mask of missing values or None.

    The mask is None if no value is missing.
    """
    centered: Float32Array = (np.asarray(windows, np.float32) - mean).reshape(len(windows), -1)
    missing = np.isnan(centered)
    if not missing.any():
        return centered, None
    centered[missing] = 0
    return centered, missing


def _count_present(centered: Array, missing: Array | None) -> Array:
    """Return the number of values present in each window, `(windows,)`; see `_center`."""
    present = np.full(len(centered), centered.shape[1])
    return present if missing is None else present - missing.sum(axis=1)


def _mean_squares(squares: Array) -> Float64Array:
    present = ~np.isnan(squares)
    return divide(np.where(present, squares, 0).sum(axis=1, dtype=np.float64), present.sum(axis=1))


@dataclass(frozen=True)
class ReconstructionBaseline(Artifact):
    """The baseline of a run that reconstructs windows.

    Args:
        components: Principal components of scaled windows.
        scale: The scale of the windows.
    """

    file = "components.npz"

    components: PrincipalComponents
    scale: Scale


def fit_principal_components(windows: Array, components: int, seed: int = 0) -> PrincipalComponents:
    """Fit principal components on training windows, or on a random sample of them, with scikit-learn.

    Args:
        windows: `(windows, window, features)` scaled values; a view of overlapping windows is not copied as a whole.
            Windows with missing values are skipped; if hardly any window is complete, the mean of the position replaces
            missing values.
        components: number of components; the size of the model's code for a fair comparison.
        seed: seed of the sample.

    Raises:
        ConfigError: more components than a window has values.
        DataError: fewer complete windows than components.
    """
    from sklearn.decomposition import PCA

    _, window, features = windows.shape
    values = window * features
    if not 1 <= components <= values:
        raise ConfigError(f"components must be 1 to {values}, the values of a window. Received: {components}")
    max_windows = max(components, min(MAX_WINDOWS, MAX_VALUES // values))
    sample = _sample_windows(windows, max_windows, 10 * components, seed)
    if len(sample) < max(components, 2):
        raise DataError(
            f"Principal components need {max(components, 2)} training windows without missing values. "
            f"Received: {len(sample)}. Pass more rows",
            code=Code.TOO_FEW_ROWS,
        )
    solver = "covariance_eigh" if len(sample) > values else "full" if values <= WIDE_VALUES else "randomized"
    pca = PCA(components, svd_solver=solver, random_state=seed)
    with np.errstate(invalid="ignore"):  # constant windows have no variance to explain
        pca.fit(sample.astype(np.float64))
    return PrincipalComponents(
        pca.mean_.reshape(window, features).astype(np.float32), pca.components_.astype(np.float32)
    )


def fit_covariance(windows: Array, seed: int = 0, min_eigenvalue: float = MIN_EIGENVALUE) -> CovarianceDistance:
    """Fit the Mahalanobis distance of windows on training windows, or on a random sample of them.

    Args:
        windows: see `fit_principal_components`.
        seed: seed of the sample.
        min_eigenvalue: smallest eigenvalue of the covariance, relative to the mean of all. With 1, only the directions
            of more than the mean variance count less than others, which needs few windows.

    Raises:
        DataError: there are no windows.
    """
    from scipy.linalg import eigh

    _, window, features = windows.shape
    values = window * features
    max_windows = min(MAX_WINDOWS if values <= MAX_EIGENVALUES else MAX_EIGENVALUES, MAX_VALUES // values)
    sample = _sample_distance_windows(windows, max_windows, seed).astype(np.float64)
    mean = sample.mean(axis=0)
    sample -= mean
    count = len(sample)
    total = np.square(sample).sum() / count
    floor = min_eigenvalue * total / values
    products = (sample.T @ sample if values <= count else sample @ sample.T) / count
    # Without variance, all directions are alike.
    variances, vectors = eigh(products, subset_by_value=(floor, np.inf)) if floor else (np.empty(0), products[:, :0])
    # The largest eigenvalues are last.
    stored = slice(-max(1, MAX_AXIS_VALUES // values), None)
    variances, vectors = variances[stored], vectors[:, stored]
    axes = vectors.T if values <= count else vectors.T @ sample / np.sqrt(variances * count)[:, None]
    return CovarianceDistance(
        mean.reshape(window, features).astype(np.float32),
        axes.astype(np.float32),
        variances.astype(np.float32),
        float(floor) or 1.0,
    )


def fit_shapes(windows: Array, deviation: Array, seed: int = 0) -> ShapeMemory:
    """Return the shapes of training windows, or of a random sample of them; arguments as in `fit_covariance`."""
    _, window, features = windows.shape
    max_windows = min(MAX_MEMORIES, max(1, MAX_MEMORY_VALUES // (window * features)))
    sample = _sample_distance_windows(windows, max_windows, seed).reshape(-1, window, features)
    memory = ShapeMemory(np.empty((0, window * features), np.float16), deviation)
    return memory._replace(shapes=memory.normalize(sample)[0].astype(np.float16))


def fit_neighbors(windows: Array, seed: int = 0) -> NearestDistance:
    """Return the distance to the nearest training window, or to the nearest of a random sample of them."""
    _, window, features = windows.shape
    sample = _sample_distance_windows(windows, min(MAX_NEIGHBOR_WINDOWS, MAX_VALUES // (window * features)), seed)
    return NearestDistance(sample.reshape(-1, window, features).astype(np.float32))


def fit_autoregression(windows: Array, seed: int = 0) -> Autoregression:
    """Fit a linear autoregression on training windows, or on a sample of them; arguments as in `fit_covariance`."""
    from sklearn.linear_model import Ridge

    _, window, features = windows.shape
    sample = _sample_distance_windows(windows, min(MAX_WINDOWS, MAX_VALUES // (window * features)), seed)
    columns = sample.reshape(-1, window, features).transpose(2, 0, 1)
    models = [Ridge().fit(column[:, :-1], column[:, -1]) for column in columns]
    return Autoregression(np.array([model.coef_ for model in models]), np.array([model.intercept_ for model in models]))


def fit_mean(rows: Array) -> NearestDistance:
    """Return the distance from the mean row, which ranks rows by their raw values, with windows of one row."""
    return NearestDistance(np.nanmean(rows, axis=0, keepdims=True)[None].astype(np.float32))


def _sample_distance_windows(windows: Array, max_windows: int, seed: int) -> Array:
    # A few complete windows do not represent many with missing values.
    sample = _sample_windows(windows, max_windows, min(len(windows), max_windows) // 2, seed)
    if not len(sample):
        raise DataError("A baseline needs at least one window. Pass more rows", code=Code.TOO_FEW_ROWS)
    return sample


def _sample_windows(windows: Array, max_windows: int, min_complete: int, seed: int) -> Array:
    """Return at most `max_windows` flat windows without missing values, in random order.

    If there are fewer than `min_complete` of them, missing values are replaced by the mean of their position.
    """
    count, values = len(windows), windows.shape[1] * windows.shape[2]
    # Draw in random order until there are enough complete windows.
    order = np.random.default_rng(seed).permutation(count)
    complete: list[Array] = []
    for start in range(0, count, max_windows):
        block = windows[np.sort(order[start : start + max_windows])].reshape(-1, values)
        complete.append(block[~np.isnan(block).any(axis=1)])
        if sum(map(len, complete)) >= max_windows:
            break
    sample = np.concatenate(complete)[:max_windows] if complete else np.empty((0, values))
    if len(sample) < min(count, max(min_complete, 2)):
        # Scattered missing values leave few complete windows or none.
        sample = _impute_means(windows[np.sort(order[:max_windows])].reshape(-1, values))
    return sample


def _impute_means(block: Array) -> Array:
    """Replace missing values by the mean of their position, or by 0 if all values at that position are missing."""
    missing = np.isnan(block)
    known = (~missing).sum(axis=0)
    means = np.where(missing, 0, block).sum(axis=0, dtype=np.float64) / np.maximum(known, 1)
    return np.where(missing, means.astype(block.dtype), block)


def average_logarithms(scores: Sequence[Array]) -> Float64Array:
    """Return the mean logarithm of scores of the same rows, `(rows,)`, which weighs small and large scores alike."""
    mean: Float64Array = np.mean([np.log(np.maximum(each, MIN_SCORE)) for each in scores], axis=0)
    return mean
