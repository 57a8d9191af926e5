"""Detector of anomalous rows."""

# scikit-learn's name of the data is X.
# ruff: noqa: N803

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import OutlierMixin
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, column_or_1d

from lstm_ae.apply.compare import compare, load_baselines
from lstm_ae.apply.detect import Detection, RunDetector, detect, load_detector
from lstm_ae.apply.evaluate import evaluate_detection
from lstm_ae.config import Series
from lstm_ae.data.anomaly_labels import are_anomaly_labels
from lstm_ae.data.frames import RowCodes
from lstm_ae.errors import Code, ConfigError
from lstm_ae.estimators.base import Estimator, Frame
from lstm_ae.estimators.inputs import TableLike, last_index_level, name_labels, series_by_scale, time_index
from lstm_ae.formatting import format_names
from lstm_ae.json_types import JsonObject
from lstm_ae.model_store import FittedModel, ModelStore


@dataclass(kw_only=True, eq=False, repr=False)
class AnomalyDetector(OutlierMixin, Estimator):
    """Anomaly detector by the residuals of an LSTM autoencoder, with scikit-learn's outlier interface.

    The alarm score of a row combines the Mahalanobis distance of the residuals, that is, reconstruction minus values,
    of the window that ends at the row with the error of the row itself. It is known when the row arrives, so that a
    table and a stream raise the same alarms. The threshold is calculated from the scores of the validation split. The
    final score is the mean over the windows that contain the row; it ranks rows better, and depends on later rows.

    Args:
        window: rows of a window; None infers seasons of at least 60 rows in all by autocorrelation, else days, else 60.
        code: size of the code; None for 16, but at most a third of the values of a window.
        units: hidden units of each LSTM layer.
        epochs: largest number of epochs.
        learning_rate: initial learning rate.
        batch_size: batch size; None for 128, or less if there are few windows.
        scale: "standard", "minmax", "none", "window" for the range of each window, or "series" for the mean and the
            standard deviation of each series. With "series", X is a frame with an index of series and times.
        stride: rows between the starts of two training windows. It does not affect scores.
        threshold: threshold rule: "quantile:0.995", "pot:1e-3", "budget:2/week", or "fixed:0.7". None for an alarm
            budget of one false alarm per month, or per year if a month has few rows or windows, or for "pot:1e-3" if
            the index has no times.
        random_state: seed of the training; None or a `RandomState` draws one.
        options: further options of `lstmae series train` by name, such as `{"layers": 2, "patience": 3}`.

    Attributes:
        threshold_: the score above which a row is an anomaly.
        offset_: the negative threshold, that is, the lowest `score_samples` of a normal row.
        window_: rows of a window.
        metrics_: measures of the training, with PCA of the same code size as baseline.
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, if all are strings.

    >>> rows = np.sin(np.arange(400) / 2)[:, None]
    >>> model = AnomalyDetector(window=8, code=2, units=4, epochs=2).fit(rows)
    >>> broken = rows.copy()
    >>> broken[200:210] = 9
    >>> model.predict(broken)[[0, 205]].tolist()
    [1, -1]
    >>> model.detect(broken)["peak"].between(200, 210).tolist()
    [True]
    """

    _task = "anomaly"
    _accepted_tasks = ("anomaly",)

    code: int | None = Series.code
    threshold: str | None = Series.threshold

    def score_samples(self, X: TableLike, *, final: bool = False, adapt: int | None = None) -> Frame:
        """Return the negative anomaly score of each row; higher is more normal.

        Args:
            X: `(rows, features)`.
            final: whether to return final scores, which depend on later rows and rank rows better. They have no
                threshold.
            adapt: rows over which the threshold of alarm scores follows slow change; None for a constant threshold.
                Alarm scores are then relative to their recent level.

        Returns:
            `(rows,)`, NaN for a row at which no window ends, or of final scores, that is in no window; and for a row
            without a value.
        """
        detection = self._detect(X, adapt=adapt)
        scores = detection.final if final else detection.rows.scores
        return self._to_rows(detection.prepared, -scores, X, "score")

    def decision_function(self, X: TableLike) -> Frame:
        """Return the difference of the threshold and the anomaly score of each row; negative for an anomaly.

        Args:
            X: `(rows, features)`.

        Returns:
            `(rows,)`, NaN for a row without a score.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: TableLike) -> Frame:
        """Return the label of each row.

        Args:
            X: `(rows, features)`.

        Returns:
            `(rows,)`, -1 for an anomaly and 1 for any other row, including rows without a score.
        """
        decision = self.decision_function(X)
        labels = np.where(np.asarray(decision) < 0, -1, 1)
        return pd.Series(labels, decision.index, name="label") if isinstance(decision, pd.Series) else labels

    def detect(self, X: TableLike, threshold: str | None = None, *, adapt: int | None = None) -> pd.DataFrame:
        """Return the anomaly events in temporal order, as a stream of the rows would raise them.

        Args:
            X: `(rows, features)`.
            threshold: a threshold rule; None for the rule of the fit.
            adapt: see `score_samples`.

        Returns:
            One row per event: `series`, only with several series; `start`, `end` (inclusive), `peak`, the row with the
            highest score, and `alarm`, the row at whose arrival the alarm is raised, as labels of the index of X or as
            row numbers; `kind`, "anomaly" or "changed", see `lstm_ae.detection.events`; `score`, the highest score;
            `p`, the probability that a normal row has such a score; `provisional`, whether later rows may change the
            event; and for each feature `share <feature>`, its share of the cause.
        """
        detection = self._detect(X, threshold, adapt=adapt)
        labels, names = _grid_labels(detection, X), self._fitted_config.value_cols
        events = [event.facts(names, int) for event in detection.events]
        frame: dict[str, Any] = {}
        if self._fitted.symbols:
            grid, ids = detection.prepared.grid, detection.prepared.table.ids
            frame["series"] = [ids[grid.series[event.peak]] for event in detection.events]
        for name in ("start", "end", "peak", "alarm"):
            frame[name] = labels[[event[name] for event in events]]
        for name, kind in {"kind": str, "score": float, "p": float, "provisional": bool}.items():
            frame[name] = np.array([event[name] for event in events], kind)
        for name in names:
            frame[f"share {name}"] = np.array([event["causes"][name] for event in events], float)
        return pd.DataFrame(frame)

    def evaluate(self, X: TableLike, y: ArrayLike) -> JsonObject:
        """Return the metrics of the scores and of the events for known anomalies, with those of the baselines.

        It is the evaluation of `lstmae series evaluate --label-col`. Without known anomalies, no metric ranks
        detectors; `metrics_` has the reconstruction errors of the test split.

        Args:
            X: `(rows, features)`, which the detector was not fitted to.
            y: `(rows,)` 1 or True for an anomaly, 0 or False for any other row; None or NaN if it is not known, which
                counts as any other row.

        Returns:
            Measures under "new data", in the form of `metrics_`: the areas under the curves of the final scores, such
            as VUS-PR, and precision, recall, F1, the share of ranges alarmed, and the number of false events.

        Raises:
            ConfigError: y has other values.
            DataError: y marks no row, or every row.
        """
        check_is_fitted(self)
        column_or_1d(y)
        detection = self._detect(X, labels=y)
        baselines = self._fitted.load(_load_baselines)
        comparison = compare(self._fitted.load(load_detector), baselines, detection)
        return evaluate_detection(detection, comparison, "y", "Mark some rows, but not all").as_json()

    def _detect(
        self,
        X: TableLike,
        threshold: str | None = None,
        *,
        labels: ArrayLike | None = None,
        adapt: int | None = None,
    ) -> Detection:
        prepared = self._prepare(X, None if labels is None else self._anomaly_labels(X, labels))
        with self._naming_parameters():
            return detect(self._fitted.load(load_detector), prepared, threshold, adapt=adapt)

    def _anomaly_labels(self, X: TableLike, y: ArrayLike) -> RowCodes:
        check_consistent_length(X, y)
        codes, values = pd.factorize(pd.Series(column_or_1d(y), dtype=object))
        names = list(map(str, values))
        if not are_anomaly_labels(names):
            raise ConfigError(
                f"y must be 0 and 1, or False and True. Received: {format_names(names)}", code=Code.LABELS
            )
        return name_labels(X, series_by_scale(X, self._fitted_config.scale), codes, names)

    def _set_fitted(self, fitted: FittedModel) -> Self:
        super()._set_fitted(fitted)
        self.threshold_ = float(fitted.metrics()["threshold"]["value"])
        self.offset_ = -self.threshold_
        return self


def _load_baselines(fitted: ModelStore) -> dict[str, RunDetector]:
    return load_baselines(fitted, load_detector(fitted))


def _grid_labels(detection: Detection, X: TableLike) -> "pd.Index[Any]":
    """Return the labels of the rows of the grid: times in the time zone of the index, its labels, or row numbers."""
    grid = detection.prepared.grid
    index = last_index_level(X) if isinstance(X, pd.DataFrame | pd.Series) else pd.RangeIndex(len(grid.times))
    if detection.prepared.table.layout.time is None:
        return index[detection.prepared.table.lines]
    return time_index(grid.times, index)
