"""Baselines of autoencoders by size of the code, which need no training."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.data.windows import Data
from lstm_ae.evaluation import pca_error


class CodeLimit(NamedTuple):
    """Mean squared errors on validation sequences for one size of the code.

    Args:
        size: size of the code.
        model: error of a trained autoencoder; None if none was trained.
        pca: error of principal components fitted on the training sequences.
        last: error with the last `size` values exact, and the training mean for all others.
        mean: error of the training mean.
    """

    size: int
    model: float | None
    pca: float
    last: float
    mean: float


def code_limits(every: Sequence[Data], models: Iterable[tuple[int, float | None]]) -> Iterator[CodeLimit]:
    """Yield the baselines for each size of the code with the error of the trained model.

    Args:
        every: data of the trainings, over which errors are averaged.
        models: size of the code and error of each trained model.
    """
    for size, model in models:
        pca, last, mean = np.mean([_baseline_errors(data, size) for data in every], axis=0).tolist()
        yield CodeLimit(size, model, pca, last, mean)


def _baseline_errors(data: Data, size: int) -> tuple[float, float, float]:
    """Return the errors of principal components, of the last values, and of the mean."""
    train, other = (split.windows().reshape(split.samples, -1) for split in (data.train, data.validation))
    errors = np.mean((other - train.mean(axis=0, dtype=np.float64)) ** 2, axis=0)
    left = len(errors) - min(size, len(errors))
    return pca_error(train, other, size), float(errors[:left].sum() / len(errors)), float(errors.mean())
