"""Forecasts of stock prices, one day or many days ahead, with their evaluation.

Forecasts of many days are recursive. Without a horizon, the first half of each window is the input and the second half
is forecast, as in the report's "Q4". With a horizon, the whole window is the input. Beyond the end of the data,
forecasts are for the next days of the week on which the company has rows; holidays are ignored.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lstm_ae.arrays import Array
from lstm_ae.config import Snp
from lstm_ae.data.prices import next_days
from lstm_ae.data.windows import Data, Split, require_samples
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.evaluation import Evaluation, Metric, Verdict, mean_over_batches
from lstm_ae.forecasting.baselines import Baselines, ForecastRegression
from lstm_ae.forecasting.intervals import (
    ErrorQuantiles,
    ForecastMethod,
    IntervalWidths,
    forecast_intervals,
    forecast_moments,
)
from lstm_ae.forecasting.metrics import INTERVAL_LEVELS, forecast_errors, judge_forecasts, measure_forecasts
from lstm_ae.model_store import ModelStore
from lstm_ae.models.network import Network
from lstm_ae.models.rollout import Rollout
from lstm_ae.plots import forecasts as plots
from lstm_ae.studies import FittedArtifacts
from lstm_ae.studies.series.forecasting import Forecaster, fit_forecaster
from lstm_ae.table_files import TableColumns

if TYPE_CHECKING:
    from lstm_ae.models.inference import InferenceBatch

# Days ahead whose errors a run stores.
STORED_STEPS = 20

# Maximum number of companies to draw.
MAX_DRAWN_COMPANIES = 4

# Name of the verdicts over all days ahead.
ALL_DAYS = "all"


class PriceForecast(NamedTuple):
    """Forecasts of prices with their evaluation.

    Args:
        evaluation: metrics and verdicts by day ahead, from "1", and the verdict over `ALL_DAYS`; empty if no window is
            followed by enough days.
        persistence: comparison with persistence, by the names of the verdicts.
        windows: number of test windows.
        table: columns symbol, date, step, predicted, persistence, actual (None if unknown), and two per level.
        figures: figures of the forecast and of the errors by day ahead.
    """

    evaluation: Evaluation
    persistence: dict[str, Verdict]
    windows: int
    table: TableColumns
    figures: dict[str, Figure] = {}


def latest_windows(split: Split, *, to_the_end: bool = False) -> Split:
    """Return a split with the latest sample of each company only.

    Args:
        split: split of companies.
        to_the_end: skip companies with rows after their latest sample, which a gap separates.
    """
    assert split.line is not None
    # The rows of a company follow each other in time.
    last = np.flatnonzero(np.diff(split.line[split.starts], append=-1))
    ends = np.flatnonzero(np.diff(split.line, append=-1))
    return split.select(last[np.isin(split.starts[last] + split.span - 1, ends)] if to_the_end else last)


def quantity_label(data: Data) -> str:
    """Return the axis label of the modeled price, such as "High (USD)"."""
    name = data.feature_names[0]
    return name[0].upper() + name[1:]


def forecasts(model: Network) -> bool:
    """Return whether the model forecasts; otherwise it reconstructs."""
    return "future" in model.outputs


def require_forecaster(model: Network, command: str) -> None:
    """Raise `ConfigError` if the model does not forecast."""
    if not forecasts(model):
        text = f"{command} is for forecasters. Received: a run with --goal reconstruct"
        raise ConfigError(text, code=Code.OPTION_NOT_APPLICABLE)


def forecast_days(model: Network, steps: int, horizon: int) -> ForecastMethod:
    """Return the function of recursive forecasts of `horizon` days from windows of `steps` days."""
    rollout = Rollout(model)
    return ForecastMethod(lambda past, lines, _: rollout(past, lines, horizon), steps, horizon)


def _open_forecaster(method: ForecastMethod, data: Data, store: ModelStore | None) -> Forecaster:
    """Return a forecaster with its baselines and calibration.

    Args:
        method: the forecasting function.
        data: the data.
        store: model whose calibration and regression are used, for data that is new to it; None to fit them.
    """
    if store is None:
        return fit_forecaster(method, data, prices=True)
    regression = store.find_artifact(ForecastRegression)
    if regression:
        steps, days = len(regression.linear.intercept), len(regression.linear.weights) // data.test.features
        regression = regression if method.horizon <= steps and days <= method.steps else None
    return Forecaster(method, Baselines((), method.horizon, regression), store.artifact(ErrorQuantiles))


def fit_artifacts(config: Snp, model: Network, data: Data, evaluation: Evaluation) -> FittedArtifacts:
    """Return the regression and the calibration for forecasts of new prices, `STORED_STEPS` ahead where possible.

    The first day of a rollout equals the forecast of one day, for which the evaluated forecaster was fitted.
    """
    forecaster = evaluation.fitted
    if forecaster is None:
        return FittedArtifacts()
    steps = forecaster.method.steps
    if all(data.recut(split, steps + STORED_STEPS).samples for split in (data.train, data.validation)):
        forecaster = fit_forecaster(forecast_days(model, steps, STORED_STEPS), data, prices=True)
    return FittedArtifacts((forecaster.baselines.regression, forecaster.calibration))


def all_days_metrics(model: Network, data: Data, split: Split) -> dict[str, Metric]:
    """Return the scaled MSE over all days of the windows, as in the report; empty for --last-day-only models."""
    from lstm_ae.models.inference import predict_split

    # The number of days is fixed in the inner network's output only, not in the whole model's.
    if model.inner.outputs["future"][1] == 1:
        return {}

    def measure(batch: "InferenceBatch") -> list[Array]:
        past = batch.window[:, :-1]
        forecasts = (batch.outputs["future"][..., :1], past[..., :1], batch.window[:, 1:, :1])
        model, naive, truth = (data.scale.scaled(values, past, batch.lines) for values in forecasts)
        return [(model - truth) ** 2, (naive - truth) ** 2]

    mse, naive_mse = mean_over_batches(map(measure, predict_split(model, split, steps=split.span - 1)))
    return {"mse": Metric(mse, "scaled", {"persistence": naive_mse})}


def _evaluate(
    forecaster: Forecaster, data: Data, test: Split, levels: Sequence[int]
) -> tuple[PriceForecast, IntervalWidths]:
    """Evaluate the forecasts of all windows by day ahead; return the result without a table, and the widths of the
    intervals after the windows.
    """
    method, baselines, calibration = forecaster
    if not test.samples:
        return PriceForecast(Evaluation({}), {}, 0, {}), IntervalWidths((method.horizon, 1), {})
    errors = forecast_errors(method, data, test, baselines, calibration, levels, in_own_units=True, each_step=True)
    by_day = {str(day): each for day, each in enumerate(errors.each_step, 1)} | {ALL_DAYS: errors}
    verdicts, persistence = (
        {day: judge_forecasts(each, against=baseline) for day, each in by_day.items()}
        for baseline in (None, "persistence")
    )
    metrics = {day: measure_forecasts(each) for day, each in by_day.items() if day != ALL_DAYS}
    figures = {}
    if method.horizon > 1:
        margin = [persistence[day].margin for day in metrics]
        figures["skill_by_step"] = plots.error_by_step(errors.by_step, "persistence", margin)
        if coverage := {
            level: [each.coverage.get(level, np.nan) for each in errors.each_step] for level in errors.coverage
        }:
            figures["coverage_by_step"] = plots.coverage(np.arange(1, method.horizon + 1), coverage)
    assert errors.widths is not None
    return PriceForecast(Evaluation(metrics, verdicts), persistence, test.samples, {}, figures), errors.widths


def _forecast_rows(
    forecaster: Forecaster, data: Data, split: Split, widths: IntervalWidths, levels: Sequence[int]
) -> TableColumns:
    """Forecast the days after all windows of a split and return the columns of `PriceForecast`.

    Args:
        forecaster: the forecaster.
        data: its data.
        split: windows to forecast from, with or without the days to forecast.
        widths: the widths of the intervals.
        levels: levels of the intervals in percent.
    """
    method, _, calibration = forecaster
    steps, ahead, known = method.steps, method.horizon, split.span > method.steps
    past, lines, following = method.inputs(split)
    days = split.days[:, steps:]
    if not known:
        days = np.reshape([next_days(split, start + steps - 1, ahead) for start in split.starts], (-1, ahead))
    pieces = [method.predict(*method.inputs(split, batch))[..., :1] for batch in split.batches()]
    predicted = np.concatenate([np.empty((0, ahead, 1), np.float32), *pieces])
    table: TableColumns = {
        "symbol": np.repeat(data.series_names(split), ahead).tolist(),
        "date": days.ravel().astype(str).tolist(),
        "step": np.tile(np.arange(1, ahead + 1), split.samples).tolist(),
        "predicted": list(predicted.ravel()),
        "persistence": list(np.repeat(past[:, -1, 0], ahead)),
        "actual": list(following[..., 0].ravel()) if known else [None] * predicted.size,
    }
    if calibration.known:
        selected = widths.at(*forecast_moments(split, steps, pooled=True))
        for level, bounds in forecast_intervals(calibration, selected, predicted, past, levels, lines).items():
            for name, bound in zip(("low", "high"), bounds, strict=True):
                table[f"{name}_{level}"] = list(np.where(np.isfinite(bound) & (bound > 0), bound, np.nan).ravel())
    return table


def _draw_forecasts(data: Data, split: Split, steps: int, table: TableColumns, levels: Sequence[int]) -> Figure:
    """Draw the forecasts of the first companies; see `_forecast_rows`."""
    few = split.select(slice(MAX_DRAWN_COMPANIES))

    def rows(name: str) -> Array:
        return np.reshape(table[name], (split.samples, -1))[: few.samples]

    return plots.forecast_panels(
        few.days[:, :steps],
        few.windows()[:, :steps, 0],
        rows("date").astype("datetime64[D]"),
        rows("predicted"),
        rows("persistence"),
        baseline="persistence",
        names=data.series_names(few),
        quantities=[quantity_label(data)] * few.samples,
        truth=rows("actual") if split.span > steps else None,
        intervals={level: (rows(f"low_{level}"), rows(f"high_{level}")) for level in levels if f"low_{level}" in table},
        title=f"The first {few.samples} of {split.samples} companies" if few.samples < split.samples else "",
    )


def forecast_prices(
    model: Network,
    data: Data,
    horizon: int | None = None,
    *,
    all_windows: bool = False,
    levels: Sequence[int] = INTERVAL_LEVELS,
    store: ModelStore | None = None,
) -> PriceForecast:
    """Evaluate the recursive forecast on every test window, and forecast from each company's last window.

    Args:
        model: a one-step forecaster in original units.
        data: data of its training, or new data without a training split.
        horizon: days to forecast after a whole window; None to forecast the second half of a window from its first.
        all_windows: return the forecasts of all test windows before those from the last ones.
        levels: levels of prediction intervals in percent.
        store: model that the data is new to, see `_open_forecaster`.

    Raises:
        ConfigError: the model is not a one-step forecaster, or the horizon is too long.
        DataError: the windows are too short, or no company has enough days.
    """
    require_forecaster(model, "predict")
    window = data.test.span - 1
    steps, ahead = (window // 2, window - window // 2) if horizon is None else (window, horizon)
    train, test = (data.recut(split, steps + ahead) for split in (data.train, data.test))
    if store is None:
        require_samples(data._replace(train=train, test=test), "Reduce --horizon or --window")
    forecaster = _open_forecaster(forecast_days(model, steps, ahead), data, store)
    if ahead > (longest := forecaster.calibration.quantiles.shape[1]):
        raise ConfigError(
            f"The run has validation errors for {longest} days ahead. Pass a --horizon of at most {longest}. Received: "
            f"{ahead}"
        )
    result, widths = _evaluate(forecaster, data, test, levels)
    span = steps + ahead if horizon is None else steps
    last = latest_windows(data.test.recut(span), to_the_end=horizon is not None)
    if not (last.samples or all_windows):
        raise DataError(
            f"No company ends with {steps} consecutive days to forecast from. Reduce --window",
            code=Code.TOO_FEW_ROWS,
        )
    table, figures = _forecast_rows(forecaster, data, last, widths, levels), result.figures
    if ahead > 1:
        figures = {"multistep": _draw_forecasts(data, last, steps, table, levels)} | figures
    if all_windows:
        earlier = _forecast_rows(forecaster, data, test, widths, levels)
        table = {name: [*values, *table[name]] for name, values in earlier.items()}
    return result._replace(table=table, figures=figures)
