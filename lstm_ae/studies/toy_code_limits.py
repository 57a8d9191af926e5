"""Baselines of autoencoders by size of the code, which need no training."""

from collections.abc import Sequence

import numpy as np

from lstm_ae.data.windows import Data
from lstm_ae.evaluation import pca_error


def baseline_errors(every: Sequence[Data], size: int) -> tuple[float, float, float]:
    """Return mean squared errors on validation sequences for one size of the code, averaged over several data sets.

    Args:
        every: data of the trainings.
        size: size of the code.

    Returns:
        The error of principal components fitted on the training sequences; that with the last `size` values exact, and
        the training mean for all others; and that of the training mean.
    """
    pca, last, mean = np.mean([_baseline_errors(data, size) for data in every], axis=0).tolist()
    return pca, last, mean


def _baseline_errors(data: Data, size: int) -> tuple[float, float, float]:
    """Return the errors of principal components, of the last values, and of the mean."""
    train, other = (split.windows().reshape(split.samples, -1) for split in (data.train, data.validation))
    errors = np.mean((other - train.mean(axis=0, dtype=np.float64)) ** 2, axis=0)
    left = len(errors) - min(size, len(errors))
    return pca_error(train, other, size), float(errors[:left].sum() / len(errors)), float(errors.mean())
