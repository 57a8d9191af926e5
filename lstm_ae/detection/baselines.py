"""What a model's scores have to beat: principal components.

They are fitted on training windows and turn windows into squared errors of the same shape, as a model does, so that all
that follows is the same for them.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.scaling import Scale, read_scale
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.files import load_state, save_state

Numbers = NDArray[Any]

Floats = NDArray[np.float32]

# Windows and numbers that are fitted on at most; drawn with the seed where there are more.
MOST_WINDOWS = 20_000

MOST_NUMBERS = 1 << 25


class PrincipalComponents(NamedTuple):
    """Windows rebuilt from a few numbers each by principal components.

    Args:
        mean: `(window, features)` float32.
        axes: `(components, window * features)` float32, orthonormal rows.
    """

    mean: Floats
    axes: Floats

    @property
    def name(self) -> str:
        """What results call it."""
        return f"PCA with {len(self.axes)} numbers"

    def errors(self, windows: Numbers) -> Floats:
        """Squared errors of the reconstruction of `(windows, window, features)`, alike.

        A missing value, NaN, is taken as the training mean of its place and has the error NaN.
        """
        away = (np.asarray(windows, np.float32) - self.mean).reshape(len(windows), self.axes.shape[1])
        missing = np.isnan(away)
        filled = np.where(missing, np.float32(0), away)
        rebuilt = (filled @ self.axes.T) @ self.axes
        errors: Floats = np.square(away - rebuilt).reshape(windows.shape)
        return errors


def fit_principal_components(windows: Numbers, components: int, seed: int = 0) -> PrincipalComponents:
    """Principal components by scikit-learn of the training windows, or of a sample of them drawn with the seed.

    Args:
        windows: `(windows, window, features)` scaled values; a view of overlapping windows is not copied as a whole.
            Windows with a missing value are left out; where hardly any is whole, they get the mean of the place.
        components: numbers that a window is rebuilt from, as many as the model's code has.

    Raises:
        ConfigError: more components than a window has values.
        DataError: fewer whole windows than components.
    """
    from sklearn.decomposition import PCA

    count, window, features = windows.shape
    values = window * features
    if not 1 <= components <= values:
        raise ConfigError(f"components must be 1 to {values}, the values of a window. Received: {components}")
    most = max(components, min(MOST_WINDOWS, MOST_NUMBERS // values))
    # Drawn in a random order, until enough whole ones are found.
    order = np.random.default_rng(seed).permutation(count)
    drawn: list[Numbers] = []
    for start in range(0, count, most):
        block = windows[np.sort(order[start : start + most])].reshape(-1, values)
        drawn.append(block[~np.isnan(block).any(axis=1)])
        if sum(map(len, drawn)) >= most:
            break
    sample = np.concatenate(drawn)[:most] if drawn else np.empty((0, values))
    if len(sample) < min(count, max(10 * components, 2)):
        # Few windows or none are whole where values are missing here and there.
        sample = _filled(windows[np.sort(order[:most])].reshape(-1, values))
    if len(sample) < max(components, 2):
        raise DataError(
            f"{components} principal components need {max(components, 2)} windows without a missing value. "
            f"Give more rows. Received: {len(sample)}"
        )
    pca = PCA(components, svd_solver="full" if len(sample) <= values else "covariance_eigh")
    with np.errstate(invalid="ignore"):  # constant windows have no variance to explain
        pca.fit(sample.astype(np.float64))
    return PrincipalComponents(
        pca.mean_.reshape(window, features).astype(np.float32), pca.components_.astype(np.float32)
    )


def _filled(block: Numbers) -> Numbers:
    """Missing values replaced by the mean of their place, 0 where that is never known."""
    missing = np.isnan(block)
    known = (~missing).sum(axis=0)
    means = np.where(missing, 0, block).sum(axis=0, dtype=np.float64) / np.maximum(known, 1)
    return np.where(missing, means.astype(block.dtype), block)


def read_principal_components(path: Path) -> tuple[PrincipalComponents, Scale]:
    """What `write_principal_components` has written; raises `DataError` where it is damaged."""
    meta, groups = load_state(path, {"components": 2, "scale": 2})
    return PrincipalComponents(*groups["components"]), read_scale(meta, groups)


def write_principal_components(path: Path, components: PrincipalComponents, scale: Scale) -> None:
    """Write principal components, and the scale that they are in."""
    groups = {"components": [components.mean, components.axes], "scale": [scale.offset, scale.range]}
    save_state(path, {"kind": scale.kind}, groups)
