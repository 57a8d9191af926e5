"""Detector with the interface of PyOD. Needs the extra `[pyod]`."""

# The names of scikit-learn and PyOD for the data.
# ruff: noqa: N803

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from lstm_ae.arrays import Array
from lstm_ae.errors import install_hint
from lstm_ae.estimators.detector import AnomalyDetector
from lstm_ae.estimators.inputs import TableLike

try:
    from pyod.models.base import BaseDetector
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"This class needs {error.name}: {install_hint('pyod')}", name=error.name) from None


class PyodAnomalyDetector(BaseDetector):
    """`AnomalyDetector` as a detector of PyOD: higher scores are more anomalous, and anomalies have the label 1.

    The rows of X are consecutive time steps, in `fit` and in every other method: the score of a row depends on the
    rows before it. A row without a score, such as one of the first `window - 1` rows, gets the lowest score of the
    training.

    Args:
        detector: an unfitted detector, which is copied; None for `AnomalyDetector()`.
        contamination: share of anomalies in the training rows, which determines `threshold_`; or a thresholder of
            PyThresh.

    Attributes:
        detector_: the fitted detector, with its own threshold from the alarm budget and with `detect` for events.
        decision_scores_: `(rows,)` anomaly scores of the training rows.
        labels_: `(rows,)` 1 for the training rows whose score is above the threshold, else 0.
        threshold_: the score above which a row is an anomaly.

    >>> rows = np.sin(np.arange(400) / 2)[:, None]
    >>> rows[200:210] += 9
    >>> detector = AnomalyDetector(window=8, code=2, units=4, epochs=2)
    >>> model = PyodAnomalyDetector(detector, contamination=0.05).fit(rows)
    >>> model.labels_[[0, 205]].tolist(), int(model.labels_.sum())
    ([0, 1], 20)
    """

    def __init__(self, detector: AnomalyDetector | None = None, contamination: float = 0.1) -> None:
        super().__init__(contamination=contamination)
        self.detector = detector

    def fit(self, X: TableLike, y: ArrayLike | None = None) -> Self:
        """Train on the rows of a table in temporal order and score them.

        Args:
            X: `(rows, features)` consecutive time steps.
            y: ignored.

        Returns:
            The fitted detector.
        """
        self._set_n_classes(y)
        self.detector_ = AnomalyDetector() if self.detector is None else clone(self.detector)
        scores = self._scores(X, self.detector_.fit(X))
        self.decision_scores_ = np.where(np.isnan(scores), np.nanmin(scores), scores)
        self._process_decision_scores()
        return self

    def decision_function(self, X: TableLike) -> Array:
        """Return the anomaly score of each row; higher is more anomalous.

        Args:
            X: `(rows, features)` consecutive time steps.

        Returns:
            `(rows,)`.
        """
        check_is_fitted(self, "decision_scores_")
        scores = self._scores(X, self.detector_)
        return np.where(np.isnan(scores), self.decision_scores_.min(), scores)

    @staticmethod
    def _scores(X: TableLike, detector: AnomalyDetector) -> Array:
        return -np.asarray(detector.score_samples(X))
