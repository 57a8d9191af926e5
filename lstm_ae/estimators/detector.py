"""Anomalies in rows."""

# X is what scikit-learn calls the rows.
# ruff: noqa: N803

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import OutlierMixin

from lstm_ae.apply.detect import Detection, search_series
from lstm_ae.config import Series
from lstm_ae.estimators.base import Estimator, Frame
from lstm_ae.estimators.packed import RunFiles
from lstm_ae.estimators.several import last_index_level


class AnomalyDetector(OutlierMixin, Estimator):
    """Anomalies by what an LSTM autoencoder cannot give back, in scikit-learn's conventions for outliers.

    A row's score is the mean error of the windows in which it stands, of each feature over the root of its mean in
    normal rows. The threshold comes from scores of the validation part of the rows that are fitted, which the weights
    were not fitted to; these rows are taken for normal.

    Args:
        threshold: rule of the threshold: "quantile:0.995", "pot:1e-3", "budget:2/week" or "fixed:0.7"; None allows
            one false alarm a month, or a year where a month holds few rows or windows, or takes "pot:1e-3" where the
            index holds no times.
        smooth: rows that a score is the mean of; None takes an eighth of the window.
        window, code, units, epochs, learning_rate, batch_size, scale, stride, random_state, options: as of
            `SequenceAutoencoder`.

    Attributes:
        threshold_: the score above which a row is an anomaly.
        offset_: minus that, the least `score_samples` of a normal row.
        window_, metrics_, n_features_in_, feature_names_in_: as of `SequenceAutoencoder`.

    >>> rows = np.sin(np.arange(400) / 2)[:, None]
    >>> found = AnomalyDetector(window=8, code=2, units=4, epochs=2).fit(rows)
    >>> broken = rows.copy()
    >>> broken[200:210] = 9
    >>> found.predict(broken)[[0, 205]].tolist()
    [1, -1]
    >>> found.detect(broken)["peak"].between(200, 210).tolist()
    [True]
    """

    _task = "anomaly"
    _reads = ("anomaly",)

    def __init__(
        self,
        *,
        window: int | None = Series.window,
        code: int | None = Series.code,
        units: int = Series.units,
        epochs: int = Series.epochs,
        learning_rate: float = Series.learning_rate,
        batch_size: int | None = Series.batch_size,
        scale: str = Series.scale,
        stride: int = Series.stride,
        threshold: str | None = Series.threshold,
        smooth: int | None = Series.smooth,
        random_state: Any = Series.seed,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.window = window
        self.code = code
        self.units = units
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.scale = scale
        self.stride = stride
        self.threshold = threshold
        self.smooth = smooth
        self.random_state = random_state
        self.options = options

    def score_samples(self, X: Any) -> Frame:
        """Minus the anomaly score of each row, `(rows,)`: the higher, the more normal.

        NaN where a row stands in no window, or in none with a value.
        """
        found = self._search(X)
        return self._rows(found.prepared, -found.ours.scores, X, "score")

    def decision_function(self, X: Any) -> Frame:
        """How far each row is on the side of the normal ones, `(rows,)`: below 0 for an anomaly."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Frame:
        """-1 for an anomaly and 1 for any other row, `(rows,)`; 1 also where a row has no score."""
        decision = self.decision_function(X)
        labels = np.where(np.asarray(decision) < 0, -1, 1)
        return pd.Series(labels, decision.index, name="label") if isinstance(decision, pd.Series) else labels

    def detect(self, X: Any, threshold: str | None = None) -> pd.DataFrame:
        """The events: rows above the threshold that belong together, in the order of time; none is a possible answer.

        Args:
            threshold: another rule than that of the fit.

        Returns:
            A row an event: of several series the name in `series`; `start`, `end` (included) and `peak`, as the index
            of X names them, else as row numbers; `score` at the peak; `p`, the probability that a normal row scores as
            high; `provisional`, whether rows to come may still change it; and a column `share <feature>` each, its part
            in the score at the peak.
        """
        found = self._search(X, threshold)
        named, events = _moments(found, X), found.ours.events
        grid, ids = found.prepared.grid, found.prepared.table.ids
        several = {"series": [ids[grid.series[event.peak]] for event in events]} if self._packed.symbols else {}
        frame: dict[str, Any] = several | {
            "start": named[[event.first for event in events]],
            "end": named[[event.last for event in events]],
            "peak": named[[event.peak for event in events]],
            "score": np.array([event.score for event in events], float),
            "p": np.array([event.p for event in events], float),
            "provisional": np.array([event.provisional for event in events], bool),
        }
        for place, name in enumerate(self._packed.config.value_cols):
            frame[f"share {name}"] = np.array([event.shares[place] for event in events], float)
        return pd.DataFrame(frame)

    def _search(self, X: Any, threshold: str | None = None) -> Detection:
        prepared = self._prepared(X)
        return search_series(self._packed.detector, prepared, threshold)

    def _keep(self, packed: RunFiles) -> Self:
        super()._keep(packed)
        self.threshold_ = float(packed.metrics["threshold"]["value"])
        self.offset_ = -self.threshold_
        return self


def _moments(found: Detection, X: Any) -> Any:
    """What to call the rows of the grid: moments in the zone of the index, its labels, or numbers."""
    grid = found.prepared.grid
    index = last_index_level(X) if isinstance(X, pd.DataFrame | pd.Series) else pd.RangeIndex(len(grid.times))
    if found.prepared.table.layout.time is None:
        return index[found.prepared.table.lines]
    moments = pd.DatetimeIndex(grid.times.view("datetime64[ns]"))
    zone = getattr(index, "tz", None)
    return moments if zone is None else moments.tz_localize("UTC").tz_convert(zone)
