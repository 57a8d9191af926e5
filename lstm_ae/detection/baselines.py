"""Baseline of anomaly detection: principal component analysis of windows.

Like a model, it maps windows to squared errors of the same shape, so that all later steps are the same.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.artifacts import Artifact, StoredArray
from lstm_ae.data.scaling import Scale
from lstm_ae.errors import Code, ConfigError, DataError

# Maximum number of windows and of values to fit on; larger data is sampled.
MOST_WINDOWS = 20_000

MOST_NUMBERS = 1 << 25


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

    def errors(self, windows: Array) -> Float32Array:
        """Return the squared errors of the reconstruction of `(windows, window, features)`, in the same shape.

        A missing value (NaN) is replaced by the training mean of its position, and its error is NaN.
        """
        centered = (np.asarray(windows, np.float32) - self.mean).reshape(len(windows), self.axes.shape[1])
        missing = np.isnan(centered)
        filled = np.where(missing, np.float32(0), centered)
        rebuilt = (filled @ self.axes.T) @ self.axes
        errors: Float32Array = np.square(centered - rebuilt).reshape(windows.shape)
        return errors


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

    count, window, features = windows.shape
    values = window * features
    if not 1 <= components <= values:
        raise ConfigError(f"components must be 1 to {values}, the values of a window. Received: {components}")
    most = max(components, min(MOST_WINDOWS, MOST_NUMBERS // values))
    # Draw in random order until there are enough complete windows.
    order = np.random.default_rng(seed).permutation(count)
    drawn: list[Array] = []
    for start in range(0, count, most):
        block = windows[np.sort(order[start : start + most])].reshape(-1, values)
        drawn.append(block[~np.isnan(block).any(axis=1)])
        if sum(map(len, drawn)) >= most:
            break
    sample = np.concatenate(drawn)[:most] if drawn else np.empty((0, values))
    if len(sample) < min(count, max(10 * components, 2)):
        # Scattered missing values leave few complete windows or none.
        sample = _filled(windows[np.sort(order[:most])].reshape(-1, values))
    if len(sample) < max(components, 2):
        raise DataError(
            f"{components} principal components need {max(components, 2)} windows without missing values. "
            f"Received: {len(sample)}. Pass more rows",
            code=Code.TOO_FEW_ROWS,
        )
    pca = PCA(components, svd_solver="full" if len(sample) <= values else "covariance_eigh")
    with np.errstate(invalid="ignore"):  # constant windows have no variance to explain
        pca.fit(sample.astype(np.float64))
    return PrincipalComponents(
        pca.mean_.reshape(window, features).astype(np.float32), pca.components_.astype(np.float32)
    )


def _filled(block: Array) -> Array:
    """Replace missing values by the mean of their position, or by 0 if all values at that position are missing."""
    missing = np.isnan(block)
    known = (~missing).sum(axis=0)
    means = np.where(missing, 0, block).sum(axis=0, dtype=np.float64) / np.maximum(known, 1)
    return np.where(missing, means.astype(block.dtype), block)
