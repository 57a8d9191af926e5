"""The driver of rolling-origin backtests, which prices and tables share."""

import numpy as np
import pytest

from lstm_ae.backtest.folds import average_by_moment
from lstm_ae.errors import DivergedError
from lstm_ae.forecasting.metrics import ForecastErrors


def make_errors(model: list[float]) -> ForecastErrors:
    naive = np.array([1.0, 4.0, np.nan, 9.0])
    return ForecastErrors({"": np.array(model), "persistence": naive}, np.arange(4), 1, np.zeros(4))


def test_errors_are_averaged_over_the_forecasts_of_a_moment() -> None:
    moments = np.array([10, 20, 20, 20])
    errors, names = make_errors([0.5, 2.0, np.nan, 4.0]), {"": "model", "persistence": "baseline"}
    averaged = average_by_moment(errors, moments, names)
    assert averaged == {
        "moments": [10, 20],
        "errors": {"model": [0.5, 3.0], "baseline": [1.0, 6.5]},
        "counts": [1, 2],
        "rounding": [0.0, 0.0],
    }


def test_nan_forecast_raises_a_diverged_error() -> None:
    with pytest.raises(DivergedError, match="not numbers"):
        average_by_moment(make_errors([0.5, np.nan, np.nan, 4.0]), np.arange(4), {})
