"""Detector with the interface of sktime. Needs the extra `[sktime]`."""

# The names of scikit-learn and sktime for the data.
# ruff: noqa: N803

from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import clone

from lstm_ae.arrays import Array
from lstm_ae.errors import install_hint
from lstm_ae.estimators.detector import AnomalyDetector
from lstm_ae.json_types import JsonObject

try:
    from sktime.detection.base import BaseDetector
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"This class needs {error.name}: {install_hint('sktime')}", name=error.name) from None


class SktimeAnomalyDetector(BaseDetector):
    """`AnomalyDetector` as an anomaly detector of sktime.

    `predict` returns the positions of the anomalous rows, `transform` the label of each row, `transform_scores` the
    score of each row, and `predict_scores` the scores of the anomalous rows; higher is more anomalous. The threshold is
    that of the detector. `update` trains a new detector on all rows that were passed so far.

    Args:
        detector: an unfitted detector, which is copied; None for `AnomalyDetector()`.

    Attributes:
        detector_: the fitted detector, with `detect` for events and their causes.

    >>> import numpy as np
    >>> import pandas as pd
    >>> from lstm_ae.estimators import AnomalyDetector
    >>> from lstm_ae.estimators.sktime import SktimeAnomalyDetector
    >>> rows = pd.DataFrame({"level": np.sin(np.arange(400) / 2)})
    >>> broken = rows.copy()
    >>> broken[200:210] = 9
    >>> detector = AnomalyDetector(window=8, code=2, units=4, epochs=2)
    >>> model = SktimeAnomalyDetector(detector).fit(rows)
    >>> bool(model.predict(broken)["ilocs"].between(190, 220).all())
    True
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": "lstm-ae",
        "maintainers": "lstm-ae",
        "task": "anomaly_detection",
        "learning_type": "unsupervised",
        "capability:multivariate": True,
        "capability:missing_values": True,
        "X_inner_mtype": "pd.DataFrame",
    }

    def __init__(self, detector: AnomalyDetector | None = None) -> None:
        self.detector = detector
        super().__init__()

    def _fit(self, X: pd.DataFrame) -> Self:
        self.detector_ = AnomalyDetector() if self.detector is None else clone(self.detector)
        self.detector_.fit(X)
        return self

    def _predict(self, X: pd.DataFrame) -> "pd.Series[int]":
        return pd.Series(self._anomalies(X), dtype="int64")

    def _transform_scores(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"score": -self.detector_.score_samples(X)})

    def _predict_scores(self, X: pd.DataFrame) -> pd.DataFrame:
        return self._transform_scores(X).iloc[self._anomalies(X)].reset_index(drop=True)

    def _anomalies(self, X: pd.DataFrame) -> Array:
        return np.flatnonzero(self.detector_.predict(X) == -1)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, AnomalyDetector]]:
        """Return the parameters of the detectors that sktime's checks train: on 20 rows, in a second.

        Args:
            parameter_set: ignored.
        """
        small: JsonObject = {"window": 2, "code": 2, "units": 2, "epochs": 1, "options": {"split": "0.6,0.2,0.2"}}
        return [{"detector": AnomalyDetector(**small, threshold=rule)} for rule in ("quantile:0.9", "fixed:0.5")]
