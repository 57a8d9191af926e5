"""Rows to the codes of their windows, and back."""

# X is what scikit-learn calls the rows.
# ruff: noqa: N803

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from lstm_ae.apply import encode
from lstm_ae.config import Series
from lstm_ae.data.frames import measurements_from_rows
from lstm_ae.estimators.base import Estimator, Frame
from lstm_ae.estimators.several import last_index_level, series_by_scale
from lstm_ae.studies.series.defaults import whole_table


class SequenceAutoencoder(TransformerMixin, Estimator):
    """An LSTM autoencoder: windows of rows to a code of a few numbers each, and back.

    Args:
        window: rows that a code is of; None finds a season by autocorrelation, else takes a day, else 30.
        code: numbers of a code; None takes 16, but no more than a third of a window's.
        units: hidden units of each LSTM layer.
        epochs, learning_rate, batch_size: of the training; batches of None are of 128, of few windows smaller.
        scale: "standard", "minmax", "none", "window" for each window's own range, or "series" for the mean and
            deviation of each of several series: X is then a frame with an index of series and times.
        stride: rows between the starts of two training windows; rows are always scored and encoded one by one.
        random_state: a seed makes the training repeatable; None or a `RandomState` draws one.
        options: further choices of `lstmae series train` by name, as in `{"layers": 2, "patience": 3}`.

    Attributes:
        window_: rows of a window.
        metrics_: what the training measured, PCA with as many numbers beside it.
        n_features_in_, feature_names_in_: columns that were fitted; the names only where all are strings.

    >>> rows = np.sin(np.arange(200) / 2)[:, None]
    >>> model = SequenceAutoencoder(window=8, code=2, units=4, epochs=2).fit(rows)
    >>> model.transform(rows).shape, model.reconstruct(rows).shape
    ((200, 2), (200, 1))
    """

    _task = "reconstruct"
    _reads = ("reconstruct", "anomaly")

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
        self.random_state = random_state
        self.options = options

    def transform(self, X: Any) -> Frame:
        """The code of the window that ends with each row: `(rows, features)` to `(rows, code)` float32.

        Nothing after a row takes part in its code, so that codes can be features of what forecasts or classifies the
        row. The first `window_ - 1` rows, also those after a long gap, end no window: their codes are NaN.
        """
        prepared = self._prepared(X)
        codes = encode.encode_rows(self._packed.halves, self._packed.levels.levelled(prepared).grid)
        return self._rows(prepared, codes, X, self.get_feature_names_out())

    def inverse_transform(self, X: Any) -> Frame:
        """Rows from their codes: `(rows, code)` as `transform` returns them to `(rows, features)` float32.

        `inverse_transform(transform(X))` is `reconstruct(X)` where no moment is missing between rows. A row is NaN
        where no window with a code holds it.

        Raises:
            ConfigError: with `scale="window"`, as codes do not tell the size of a window's values.
        """
        check_is_fitted(self)
        halves, config = self._packed.halves, self._packed.config
        codes = np.asarray(X, np.float32)
        if codes.ndim != 2 or codes.shape[1] != halves.code:
            raise ValueError(f"X must be codes (rows, {halves.code}), as transform returns. Received: {codes.shape}")
        index = last_index_level(X) if isinstance(X, pd.DataFrame) else None
        names = [*(f"code {place}" for place in range(halves.code)), "there"]
        # Rows without a code are no gap: windows after them may hold these rows. Nor have codes a scale.
        series = series_by_scale(X, config.scale)
        table = measurements_from_rows(np.c_[codes, np.ones(len(codes), np.float32)], names, index, series=series)
        freq = "rows" if table.layout.time is None else config.freq
        prepared = whole_table(replace(config, freq=freq, scale="none"), table)
        rows = encode.decode_rows(halves, prepared.grid.values[:, :-1], prepared.grid.segment)
        rows = self._packed.levels.unlevelled(prepared, rows)
        return self._rows(prepared, rows, X, list(config.value_cols))

    def reconstruct(self, X: Any) -> Frame:
        """Every row given back, `(rows, features)` float32, missing values too.

        The mean over all windows in which the row stands, later rows included; NaN where it stands in none.
        """
        prepared = self._prepared(X)
        rows = encode.reconstruct_rows(self._packed.halves, self._packed.levels.levelled(prepared).grid)
        rows = self._packed.levels.unlevelled(prepared, rows)
        return self._rows(prepared, rows, X, list(self._packed.config.value_cols))

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error of all windows' reconstructions, in scaled values; `y` is ignored."""
        prepared = self._packed.levels.levelled(self._prepared(X))
        halves = self._packed.halves
        return -encode.mean_squared_error(halves.errors, prepared.grid, halves.window)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the code's numbers: code0, code1, ..."""
        check_is_fitted(self)
        return np.array([f"code{place}" for place in range(self._packed.halves.code)], object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
