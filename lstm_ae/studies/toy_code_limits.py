"""How small an error a code of k numbers allows: what needs no training, to set beside trained autoencoders."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.data.windows import Data
from lstm_ae.evaluation import pca_error


class CodeLimit(NamedTuple):
    """Mean squared errors with codes of so many numbers, on validation sequences.

    Args:
        size: numbers in the code.
        model: a trained autoencoder's error; None where none was trained.
        pca: of the best linear code, fitted on the training sequences.
        last: of keeping the last `size` values as they are, and the training mean for the others.
        mean: of the training mean for all values: a code of nothing.
    """

    size: int
    model: float | None
    pca: float
    last: float
    mean: float


def code_limits(every: Sequence[Data], models: Iterable[tuple[int, float | None]]) -> Iterator[CodeLimit]:
    """The baselines for each code size, beside the errors of trained models.

    Args:
        every: the data of each training that an error is the mean of.
    """
    for size, model in models:
        pca, last, mean = np.mean([_of(data, size) for data in every], axis=0).tolist()
        yield CodeLimit(size, model, pca, last, mean)


def _of(data: Data, size: int) -> tuple[float, float, float]:
    """What principal components, the last values and the mean come to."""
    train, other = (split.windows().reshape(split.samples, -1) for split in (data.train, data.validation))
    errors = np.mean((other - train.mean(axis=0, dtype=np.float64)) ** 2, axis=0)
    left = len(errors) - min(size, len(errors))
    return pca_error(train, other, size), float(errors[:left].sum() / len(errors)), float(errors.mean())
