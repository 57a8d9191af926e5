"""Forecaster of the rows after the end of a table."""

# scikit-learn's name of the data is X.
# ruff: noqa: N803

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from lstm_ae.apply import forecast
from lstm_ae.apply.evaluate import NEW_DATA, evaluate_forecasts
from lstm_ae.config import Series
from lstm_ae.errors import ConfigError
from lstm_ae.estimators.base import Estimator, Frame, python_value
from lstm_ae.estimators.inputs import TableLike, last_index_level, time_index
from lstm_ae.evaluation import Evaluation
from lstm_ae.forecasting.baselines import ForecastRegression
from lstm_ae.formatting import format_names
from lstm_ae.json_types import JsonObject


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceForecaster(Estimator):
    """Forecaster with an LSTM and a linear map of the window.

    Args:
        window: rows of a window; None infers it from the seasons of the values.
        horizon: rows of a forecast; None for a season, else a day, else 30 rows.
        season: rows of a season, for the baseline; None infers it from the training split.
        units: hidden units of each LSTM layer.
        epochs: largest number of epochs.
        learning_rate: initial learning rate.
        batch_size: batch size; None for 128, or less if there are few windows.
        scale: "standard", "minmax", "none", "window" for the range of each window, or "series" for the mean and the
            standard deviation of each series. With "series", X is a frame with an index of series and times.
        stride: rows between the starts of two training windows. It does not affect forecasts.
        past_cols: columns of X that a forecast reads and does not predict.
        known_future: columns of X that are known in advance. To forecast, X has rows with their values after the last
            row with other values, which are NaN there.
        static_cols: columns of X with one value per series, such as the size of a shop; with `scale="series"`.
        calendar: known features of the times: "hour", "weekday", "month", or holidays such as "holiday:DE".
        random_state: seed of the training; None or a `RandomState` draws one.
        seeds: networks to train and average, with consecutive seeds from `random_state`; None for 3 if the
            training is short, and otherwise 1. Pass 1 to compare settings.
        options: further options of `lstmae series train` by name, such as `{"layers": 2, "patience": 3}`.

    Attributes:
        window_: rows of a window.
        horizon_: rows of a forecast.
        seasons_: rows of a season of the naive baseline, by predicted column; None where it is the last value.
        metrics_: measures of the training with the baselines and the verdict.
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, if all are strings.

    >>> rows = np.sin(np.arange(400) / 4)[:, None]
    >>> model = SequenceForecaster(window=30, horizon=5, units=4, epochs=1).fit(rows)
    >>> bool(np.abs(model.predict(rows)[:, 0] - np.sin(np.arange(400, 405) / 4)).max() < 0.1)
    True
    >>> model.predict(rows, horizon=12).shape
    (12, 1)
    """

    _task = "forecast"
    _accepted_tasks = ("forecast",)

    horizon: int | None = Series.horizon
    season: int | None = Series.season
    seeds: int | None = Series.seeds
    past_cols: Sequence[str] = Series.past_cols
    known_future: Sequence[str] = Series.known_future
    static_cols: Sequence[str] = Series.static_cols
    calendar: Sequence[str] = Series.calendar

    @property
    def horizon_(self) -> int:
        """Rows of a forecast."""
        check_is_fitted(self)
        assert self._fitted_config.horizon is not None
        return self._fitted_config.horizon

    @property
    def seasons_(self) -> tuple[int | None, ...]:
        """Rows of a season of the naive baseline, by predicted column; None where it is the last value."""
        check_is_fitted(self)
        return self._fitted.load(forecast.load_forecaster).seasons

    def predict(self, X: TableLike, horizon: int | None = None) -> Frame:
        """Return a forecast of the rows after X.

        Args:
            X: `(rows, features)`, of which only the last `window_` rows are read; with `known_future` also the rows
                after them, in which the other columns are NaN.
            horizon: rows to forecast; None for `horizon_`. A longer forecast is a rollout.

        Returns:
            `(horizon, columns)` float32, without the columns that are only read. A frame gives a frame,
            indexed by the following times, or from 0 if its index has no times. The forecasts of several series are
            concatenated.

        Warns:
            UserWarning: a series has no complete window at its end and no forecast, or the rows of X are further
                apart than those of the training, or many are missing.

        Raises:
            DataError: there are fewer rows than a window, the last window contains a long gap, or a value known in
                advance is missing.
        """
        return self._to_frame(self._forecast(X, horizon), X)

    def predict_interval(self, X: TableLike, level: int = 80, horizon: int | None = None) -> tuple[Frame, Frame]:
        """Return the lower and the upper end of a prediction interval.

        The interval is split-conformal: it uses the errors on the validation split of each column and each step. If X
        has an index of times, its width follows the errors of forecasts within X on rows later than those of the
        training; otherwise it is that of the validation errors. See `lstm_ae.forecasting.intervals`.

        Args:
            X: `(rows, features)`, as for `predict`, preferably with some hundred rows after those of the training.
            level: nominal coverage in percent.
            horizon: rows to forecast; None for `horizon_`.

        Returns:
            Both ends in the form of `predict`; NaN beyond `horizon_`, because there are no validation errors.

        Raises:
            ConfigError: the level is not an integer from 1 to 99.
        """
        level = python_value(level)
        if type(level) is not int or not 1 <= level <= 99:
            raise ConfigError(f"level must be a whole number from 1 to 99. Received: {level!r}")
        predicted = self._forecast(X, horizon, (level,))
        low, high = (self._to_frame(predicted._replace(future=bound), X) for bound in predicted.intervals[level])
        return low, high

    def evaluate(self, X: TableLike) -> JsonObject:
        """Return the errors of the forecasts from all windows of X, with those of the baselines and the verdict.

        It is the evaluation of `lstmae series evaluate`.

        Args:
            X: `(rows, features)`, later than the rows of the training.

        Returns:
            Measures under "new data" and the verdict under "verdict", in the form of `metrics_`.

        Warns:
            UserWarning: as `predict`.

        Raises:
            DataError: there are fewer rows than a window with its horizon.
        """
        return self._evaluate(X).as_json()

    def score(self, X: TableLike, y: ArrayLike | None = None) -> float:
        """Return the skill of the forecasts from all windows of X, 1 - MSE / MSE of the naive baseline.

        The naive baseline is the last season or the last value, see `seasons_`. Higher is better.

        Args:
            X: `(rows, features)`, later than the rows of the training.
            y: ignored.
        """
        return self._evaluate(X).metrics[NEW_DATA]["skill"].value

    def _evaluate(self, X: TableLike) -> Evaluation:
        prepared = self._prepare(X)
        with self._naming_parameters():
            forecaster = self._fitted.load(forecast.load_forecaster)
            return evaluate_forecasts(forecaster, prepared, self._fitted.find_artifact(ForecastRegression))

    def _forecast(self, X: TableLike, horizon: int | None, levels: tuple[int, ...] = ()) -> forecast.TableForecast:
        prepared = self._prepare(X)
        forecaster = self._fitted.load(forecast.load_forecaster)
        with self._naming_parameters():
            predicted = forecast.forecast_table(forecaster, prepared, horizon=horizon, levels=levels)
        if predicted.skipped:
            text = (
                f"No forecast without {self.window_} consecutive rows at the end of a series: "
                f"{format_names(predicted.skipped)}"
            )
            warnings.warn(text, UserWarning, stacklevel=3)
        return predicted

    def _to_frame(self, predicted: forecast.TableForecast, X: TableLike) -> Frame:
        count, horizon, features = predicted.future.shape
        rows = predicted.future.reshape(-1, features)
        if not isinstance(X, pd.DataFrame | pd.Series):
            return rows
        index: pd.Index[Any] = pd.RangeIndex(horizon) if count == 1 else pd.Index(np.tile(np.arange(horizon), count))
        if predicted.timed:
            index = time_index(predicted.ahead.ravel(), last_index_level(X)).rename(X.index.names[-1])
        if isinstance(X.index, pd.MultiIndex):
            # Series are numbered in the order of their first rows.
            series = X.index.droplevel(-1).unique()[predicted.ids].repeat(horizon)
            levels = [series.get_level_values(level) for level in range(series.nlevels)]
            index = pd.MultiIndex.from_arrays([*levels, index], names=X.index.names)
        if isinstance(X, pd.Series):
            return pd.Series(rows[:, 0], index, name=X.name)
        columns = X.columns[~X.columns.isin(self._fitted_config.covariates)]
        return pd.DataFrame(rows, index, columns=columns)
