"""What follows rows."""

# X is what scikit-learn calls the rows.
# ruff: noqa: N803

import datetime
import warnings
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from lstm_ae.apply import forecast
from lstm_ae.config import Series
from lstm_ae.errors import ConfigError
from lstm_ae.estimators.base import Estimator, Frame, plain
from lstm_ae.estimators.several import last_index_level
from lstm_ae.formatting import format_names


class SequenceForecaster(Estimator):
    """An LSTM that says a horizon of rows after a window of them, beside a linear map of the window.

    Args:
        window: rows that a forecast is made from; None takes what the values' seasons suggest.
        horizon: rows that are forecast at once; None takes a season, else a day, else 30.
        season: rows after which values repeat themselves, for the baseline; None finds it in the training rows.
        units, epochs, learning_rate, batch_size, scale, stride, random_state, options: as of `SequenceAutoencoder`.

    Attributes:
        window_, horizon_: rows read and rows said.
        season_: of the baseline; None where it is the last value.
        metrics_: what the training measured, the baselines beside it, and the verdict.
        n_features_in_, feature_names_in_: columns that were fitted; the names only where all are strings.

    >>> rows = np.sin(np.arange(400) / 4)[:, None]
    >>> model = SequenceForecaster(window=30, horizon=5, units=4, epochs=1).fit(rows)
    >>> bool(np.abs(model.predict(rows)[:, 0] - np.sin(np.arange(400, 405) / 4)).max() < 0.1)
    True
    >>> model.predict(rows, horizon=12).shape
    (12, 1)
    """

    _task = "forecast"
    _reads = ("forecast",)

    def __init__(
        self,
        *,
        window: int | None = Series.window,
        horizon: int | None = Series.horizon,
        season: int | None = Series.season,
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
        self.horizon = horizon
        self.season = season
        self.units = units
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.scale = scale
        self.stride = stride
        self.random_state = random_state
        self.options = options

    @property
    def horizon_(self) -> int:
        """Rows that are said at once."""
        check_is_fitted(self)
        assert self._packed.config.horizon is not None
        return self._packed.config.horizon

    @property
    def season_(self) -> int | None:
        """Rows after which values repeat themselves; None where the baseline is the last value."""
        check_is_fitted(self)
        return self._packed.config.season

    def predict(self, X: Any, horizon: int | None = None) -> Frame:
        """The rows that follow X: `(rows, features)` to `(horizon, features)` float32.

        Only the last `window_` rows are read. A frame's forecast is a frame, indexed by the times that follow, or from
        0 on where its index holds none; of several series one after the other. Warns of those that end without a
        window, of which nothing is forecast.

        Args:
            horizon: rows; `horizon_` where None. Further ahead the model reads its own forecasts.

        Raises:
            DataError: fewer rows than a window, or a long gap among the last ones.
        """
        return self._frame(self._outlook(X, horizon), X)

    def predict_interval(self, X: Any, level: int = 80, horizon: int | None = None) -> tuple[Frame, Frame]:
        """The two ends of an interval that holds `level` per cent, each like `predict`.

        By the errors on the validation part, of each column and each step ahead (split-conformal); NaN beyond
        `horizon_`, where none were measured.
        """
        level = plain(level)
        if not isinstance(level, int) or isinstance(level, bool) or not 1 <= level <= 99:
            raise ConfigError(f"level must be a whole number from 1 to 99. Received: {level!r}")
        found = self._outlook(X, horizon, (level,))
        low, high = (found._replace(future=end) for end in found.intervals[level])
        return self._frame(low, X), self._frame(high, X)

    def _outlook(self, X: Any, horizon: int | None, levels: Sequence[int] = ()) -> forecast.TableForecast:
        prepared = self._prepared(X)
        prepared = prepared._replace(table=prepared.table._replace(zone=_zone(X)))
        found = forecast.forecast_table(self._packed.forecaster, prepared, horizon=horizon, levels=tuple(levels))
        if found.short:
            text = f"Without {self.window_} rows in a row at their end, so not forecast: {format_names(found.short)}"
            warnings.warn(text, UserWarning, stacklevel=3)
        return found

    def _frame(self, found: forecast.TableForecast, X: Any) -> Frame:
        count, horizon, features = found.future.shape
        rows = found.future.reshape(-1, features)
        if not isinstance(X, pd.DataFrame | pd.Series):
            return rows
        index: pd.Index[Any] = pd.RangeIndex(horizon) if count == 1 else pd.Index(np.tile(np.arange(horizon), count))
        if found.timed:
            index = pd.DatetimeIndex(found.ahead.ravel().view("datetime64[ns]"), name=X.index.names[-1])
            zone = getattr(last_index_level(X), "tz", None)
            index = index.tz_localize("UTC").tz_convert(zone) if zone is not None else index
        if isinstance(X.index, pd.MultiIndex):
            # Series have their places in the order in which they come.
            of = X.index.droplevel(-1).unique()[found.ids].repeat(horizon)
            levels = [of.get_level_values(place) for place in range(of.nlevels)]
            index = pd.MultiIndex.from_arrays([*levels, index], names=X.index.names)
        if isinstance(X, pd.Series):
            return pd.Series(rows[:, 0], index, name=X.name)
        return pd.DataFrame(rows, index, columns=X.columns)


def _zone(X: Any) -> datetime.tzinfo | None:
    """The zone of an index, None where it has none."""
    zone = getattr(last_index_level(X), "tz", None)
    if zone is None or isinstance(zone, datetime.timezone):
        return zone
    # Those of pytz, which pandas has as well, do not answer as others do.
    try:
        return zoneinfo.ZoneInfo(str(zone))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
