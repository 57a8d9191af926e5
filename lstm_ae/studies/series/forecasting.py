"""Forecasting of the windows of a table."""

from typing import TYPE_CHECKING, NamedTuple

from lstm_ae.config import Series
from lstm_ae.data.windows import Data
from lstm_ae.evaluation import Evaluation
from lstm_ae.forecasting.baselines import Baselines, fit_baselines, forecast_windows
from lstm_ae.forecasting.intervals import (
    ErrorQuantiles,
    ForecastMethod,
    calibrate_intervals,
    forecast_intervals,
    forecast_method,
    forecast_moments,
)
from lstm_ae.forecasting.metrics import (
    INTERVAL_LEVELS,
    calibrate_table_intervals,
    describe_few_errors,
    forecast_errors,
    judge_forecasts,
    measure_forecasts,
    skill_by_column,
)
from lstm_ae.model_store import History
from lstm_ae.models.network import Network
from lstm_ae.studies import FittedArtifacts, draw_history, evaluated_splits
from lstm_ae.studies.series.defaults import load, require_segment_fits

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

__all__ = ["build", "evaluate", "figures", "fit_artifacts", "load"]


def build(config: Series, data: Data) -> "keras.Model":
    """Build a forecaster from `past` `(batch, window, features)` to `future` `(batch, horizon, features)`."""
    from lstm_ae.models.forecaster import horizon_forecaster

    assert config.window is not None
    assert config.horizon is not None
    require_segment_fits(config)  # A search reads its data once for settings with different segments.
    start = fit_baselines(data, config.window, config.horizon).regression if config.link == "baseline" else None
    return horizon_forecaster(
        config,
        steps=config.window,
        horizon=config.horizon,
        features=data.train.features,
        missing=data.train.missing,
        covariates=data.covariates,
        link=None if start is None else start.linear[:2],
        effects=None if start is None else start.effects,
    )


class Forecaster(NamedTuple):
    """A forecasting function with its baselines and the calibration of its intervals."""

    method: ForecastMethod
    baselines: Baselines
    calibration: ErrorQuantiles


def fit_forecaster(method: ForecastMethod, data: Data, *, prices: bool = False) -> Forecaster:
    """Fit the baselines of a forecaster, and calibrate its intervals.

    Args:
        method: the forecasting function.
        data: the data set.
        prices: whether the values are prices of a first column, which have a joint regression, and intervals that
            follow the volatility of the window.
    """
    baselines = fit_baselines(data, method.steps, method.horizon, joint=prices)
    if prices:
        return Forecaster(method, baselines, calibrate_intervals(method, data, relative=True))
    return Forecaster(method, baselines, calibrate_table_intervals(method, data, baselines))


def evaluate(model: Network, data: Data, *, prices: bool = False) -> Evaluation:
    """Evaluate forecasts with the baselines: last value, last season, drift, and linear regression.

    Args:
        model: the forecaster.
        data: the data set.
        prices: see `fit_forecaster`; the errors of prices are measured in USD too.
    """
    forecaster = fit_forecaster(forecast_method(model, data.validation.span), data, prices=prices)
    method, fitted, calibration = forecaster
    metrics, verdicts, by_split, errors = {}, {}, {}, None
    for name, split in evaluated_splits(data).items():
        # Intervals are calibrated on the validation split, so they are evaluated on the test split only.
        used = calibration if name == "test" else None
        errors = forecast_errors(method, data, split, fitted, used, in_own_units=prices)
        by_split[name] = skill_by_column(errors, data.feature_names, fitted.seasons)
        metrics[name], verdicts[name] = measure_forecasts(errors), judge_forecasts(errors, data.feature_names)
    notes = describe_few_errors(data.validation.samples)
    return Evaluation(metrics, verdicts, forecaster, by_split, notes=notes, errors=errors)


def fit_artifacts(config: Series, model: Network, data: Data, evaluation: Evaluation) -> FittedArtifacts:
    """Return the calibration of the intervals and the baselines."""
    _, fitted, spread = evaluation.fitted
    # The config contains only one season, not one per column.
    seasons = {"seasons": list(data.seasons)} if len(set(data.seasons)) > 1 else {}
    return FittedArtifacts((spread, fitted.regression), seasons)


def figures(model: Network, data: Data, history: History) -> dict[str, "Figure"]:
    """Draw forecasts with the actual values, the skill by step, and the loss by epoch."""
    from lstm_ae.plots import forecasts

    split = data.latest
    method = forecast_method(model, split.span)
    steps = method.steps
    _, fitted, spread = fit_forecaster(method, data)
    errors = forecast_errors(method, data, split, fitted, spread)
    few = split.thin(3)
    past, lines, following = method.inputs(few)
    predicted = method.predict(past, lines, following)
    assert errors.widths is not None
    widths = errors.widths.at(*forecast_moments(few, steps))
    intervals = forecast_intervals(spread, widths, predicted, past, INTERVAL_LEVELS, lines)
    naive = next(iter(fitted.predict(forecast_windows(data, few, slice(None), steps)).values()))
    naive = data.scale.unscaled(naive, past, lines)
    figure = forecasts.forecast_panels(
        few.times(slice(steps)),
        past[..., 0],
        few.times(slice(steps, None)),
        predicted[..., 0],
        naive[..., 0],
        baseline=errors.naive,
        truth=following[..., 0],
        intervals={level: (low[..., 0], high[..., 0]) for level, (low, high) in intervals.items()},
        names=[""] * few.samples,
        zone=data.clock,
        quantities=[data.feature_names[0]] * few.samples,
    )
    return {
        "forecasts": figure,
        "skill_by_step": forecasts.error_by_step(errors.by_step, errors.naive),
        "loss": draw_history(history),
    }
