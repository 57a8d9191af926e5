"""One-day forecasts of stock prices: latest windows, evaluation, tables, and intervals."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstm_ae.arrays import Array, Float64Array, Int64Array
from lstm_ae.data.prices import MIN_SPACING
from lstm_ae.data.windows import OPEN_FEATURE, Data, SampleIndex, Split
from lstm_ae.evaluation import Evaluation, Metric, RunningMean, Verdict
from lstm_ae.forecasting.baselines import PriceBaselines, fit_price_baselines
from lstm_ae.forecasting.intervals import Calibration, IntervalWidths, PriceCalibration, prediction_intervals
from lstm_ae.forecasting.metrics import (
    ForecastMethod,
    calibrate_price_intervals,
    judge_forecasts,
    mean_absolute_change,
    price_errors,
    price_metrics,
)
from lstm_ae.model_store import ModelStore
from lstm_ae.models.network import Network
from lstm_ae.models.rollout import Rollout
from lstm_ae.studies import evaluated_splits
from lstm_ae.table_files import TableColumns

Dates = NDArray[np.datetime64]

# Number of latest rows from which a company's trading days are inferred.
LATELY = 365


def latest_windows(data: Data, split: Split, most: int, *, to_the_end: bool = False) -> tuple[Int64Array, list[str]]:
    """Return the latest sample of each company, as indices into the split, and the companies' names.

    Args:
        data: data of the split.
        split: split of companies.
        most: maximum number of companies.
        to_the_end: skip companies with rows after their latest sample, which a gap separates.
    """
    assert split.line is not None
    assert split.time is not None
    lines, day = split.line[split.starts], split.time[split.starts]
    order = np.lexsort((day, lines))
    last = order[np.r_[np.flatnonzero(np.diff(lines[order])), len(order) - 1]]
    if to_the_end:
        ends = np.full(len(data.symbols), np.datetime64("0001-01-01", "D"))
        np.maximum.at(ends, split.line, split.time)
        last = last[split.time[split.starts[last] + split.span - 1] == ends[lines[last]]]
    return last[:most], [data.symbols[line] for line in lines[last[:most]]]


def dates_of(split: Split, start: int, days: int) -> Dates:
    """Return the dates of `days` rows from row `start`."""
    assert split.time is not None
    return split.time[start : start + days]


def next_days(split: Split, row: int, count: int) -> Dates:
    """Return the next `count` days of a row's company: weekdays, or all days if it has rows on weekends.

    If the sampling interval is a working week or longer, the days have that interval. Holidays are ignored.
    """
    assert split.line is not None
    assert split.time is not None
    rows = slice(max(0, row - LATELY), row + 1)
    own = split.time[rows][split.line[rows] == split.line[row]]
    interval = np.median(np.diff(own)) if len(own) > 1 else np.timedelta64(1, "D")
    if interval >= MIN_SPACING:
        days: Dates = own[-1] + np.arange(1, count + 1) * interval
    elif 20 * np.count_nonzero(~np.is_busday(own)) > len(own):
        days = own[-1] + np.arange(1, count + 1).astype("timedelta64[D]")
    else:
        days = np.busday_offset(own[-1], np.arange(1, count + 1), roll="backward")
    return days


def quantity_label(data: Data) -> str:
    """Return the axis label of the modeled price, such as "High (USD)"."""
    name = data.feature_names[0]
    return name[0].upper() + name[1:]


# Days ahead whose errors a run stores.
STORED_STEPS = 20


def forecasts(model: Network) -> bool:
    """Return whether the model forecasts; otherwise it reconstructs."""
    return "future" in model.outputs


def forecast_one_day(model: Network, given: int) -> ForecastMethod:
    """Return the model's forecast of the day after a window of `given` days as a forecast method."""
    from lstm_ae.models.inference import model_inputs

    def forecast(past: Array, lines: Array | None, following: Array) -> Array:
        days: Array = model(model_inputs(model.inputs, past, lines, following))["future"][:, -1:]
        return days

    return ForecastMethod(forecast, given, 1, "open" in model.inputs)


def forecast_days(rollout: Rollout, given: int, ahead: int) -> ForecastMethod:
    """Return a `lstm_ae.models.rollout.Rollout` of `ahead` days from windows of `given` days as a forecast method."""
    return ForecastMethod(lambda past, lines, _: rollout(past, lines, ahead), given, ahead)


def evaluate(model: Network, data: Data, before_refit: ModelStore | None = None) -> Evaluation:
    """Evaluate the forecast of the day after each window, and of all days of the window if the model returns them."""
    method = forecast_one_day(model, data.test.span - 1)
    fitted = fit_price_baselines(data, method.given, 1, with_open=method.with_open, refit=before_refit is not None)
    if before_refit:
        calibration: Calibration | None = before_refit.artifact(PriceCalibration).calibration
    else:
        calibration = calibrate_price_intervals(method, data)
    usual = mean_absolute_change(data)
    # The rollout's first day equals the one-day forecast; its errors of later days are stored for new data.
    stored, baselines = calibration, fitted
    if not method.with_open:
        if not before_refit:
            later_days = forecast_days(Rollout(model), method.given, STORED_STEPS)
            stored = calibrate_price_intervals(later_days, data) or calibration
        if data.recut(data.train, method.given + STORED_STEPS).samples:
            baselines = fit_price_baselines(
                data, method.given, STORED_STEPS, with_open=False, days=fitted.days, refit=before_refit is not None
            )
    metrics, verdicts = {}, {}
    for name, split in evaluated_splits(data, before_refit).items():
        # Intervals are calibrated on the validation split, so they are evaluated on the test split only.
        errors = price_errors(method, data, split, fitted, calibration if name == "test" else None)
        metrics[name] = _all_days_metrics(model, data, split) | price_metrics(errors, usual)
        verdicts[name] = judge_forecasts(errors.at())
    return Evaluation(metrics, verdicts, (stored, baselines), refitted=(baselines,) if before_refit else ())


def evaluate_new(model: Network, data: Data, calibration: Calibration, fitted: PriceBaselines) -> Evaluation:
    """Evaluate forecasts of new data with the calibration and baselines of a run; empty if there is no window."""
    method = forecast_one_day(model, data.test.span - 1)
    if not data.test.samples:
        return Evaluation({})
    errors = price_errors(method, data, data.test, fitted.cut(method.given, 1), calibration)
    return Evaluation({"new data": price_metrics(errors, None)}, {"new data": judge_forecasts(errors.at())})


def compare_with_persistence(model: Network, data: Data) -> Verdict:
    """Compare the forecasts of the day after each window of the test split with persistence."""
    errors = price_errors(forecast_one_day(model, data.test.span - 1), data, data.test, PriceBaselines())
    return judge_forecasts(errors.at(), against="persistence")


def _all_days_metrics(model: Network, data: Data, split: Split) -> dict[str, Metric]:
    """Return the scaled MSE over all days of the windows, as in the report; empty for --last-day-only models."""
    from lstm_ae.models.inference import predict_split

    # The number of days is fixed in the inner network's output only, not in the whole model's.
    if model.inner.outputs["future"][1] == 1:
        return {}
    ours, naive = RunningMean(), RunningMean()
    for batch in predict_split(model, split, steps=split.span - 1):
        past = batch.window[:, :-1]
        truth = data.scale.scaled(batch.window[:, 1:, :1], past, batch.lines)
        for mean, predicted in ((ours, batch.outputs["future"]), (naive, past)):
            mean.add((data.scale.scaled(predicted[..., :1], past, batch.lines) - truth) ** 2)
    return {"mse": Metric(ours.value, "scaled", {"persistence": naive.value})}


def skill_by_company(model: Network, data: Data) -> tuple[list[str], Float64Array]:
    """Return the companies of the test split and the skill for each; NaN for constant prices."""
    errors = price_errors(forecast_one_day(model, data.test.span - 1), data, data.test, PriceBaselines())
    lines, which = np.unique(errors.lines, return_inverse=True)
    ours, naive = (np.bincount(which, errors.scaled[name][:, 0] ** 2) for name in ("", "persistence"))
    with np.errstate(invalid="ignore", divide="ignore"):
        return [data.symbols[line] for line in lines], np.where(naive > 0, 1 - ours / naive, np.nan)


def predict(
    model: Network, data: Data, split: Split, levels: Sequence[int] = (), calibration: Calibration | None = None
) -> TableColumns:
    """Return forecasts of the day after every window, and of the day after the end of the data (`actual` is None).

    A model that reads the day's open forecasts only days whose open is known (`data.opens`).

    Args:
        model: a one-day forecaster.
        data: data of the split.
        split: windows to forecast from.
        levels: levels of intervals in percent, two columns each; NaN if the validation split is too short.
        calibration: calibration of the intervals; None to calibrate on the validation split.
    """
    method = forecast_one_day(model, split.span - 1)
    if levels and calibration is None:
        calibration = calibrate_price_intervals(method, data)
    widths = None
    if levels and calibration is not None and split.samples:
        widths = price_errors(method, data, split, PriceBaselines(), calibration, levels=()).widths
    columns: dict[str, list[object]] = {name: [] for name in ("symbol", "date", "actual", "persistence", "predicted")}
    columns |= {name: [] for level in levels for name in (f"low_{level}", f"high_{level}")}

    def add(
        part: Split, index: SampleIndex, days: ArrayLike, actual: Sequence[object], opens: Array | None = None
    ) -> None:
        window, lines = part.windows(index), part.lines(index)
        past = window[:, : method.given]
        assert part.line is not None
        predicted = method.predict(past, lines, window[:, method.given :] if opens is None else opens)[..., :1]
        columns["symbol"] += [data.symbols[line] for line in part.line[part.starts[index]]]
        columns["date"] += np.asarray(days).astype(str).tolist()
        columns["actual"] += actual
        columns["persistence"] += list(past[:, -1, 0])
        columns["predicted"] += list(predicted[:, 0, 0])
        own_widths = widths_after_windows(widths, part, index, method)
        for level in levels:
            low, high = forecast_interval(calibration, data, past, lines, predicted, own_widths, level)
            columns[f"low_{level}"] += list(low[:, 0])
            columns[f"high_{level}"] += list(high[:, 0])

    assert split.time is not None
    for batch in split.batches():
        rows = split.starts[batch] + method.given
        add(split, batch, split.time[rows], list(split.series[rows, 0]))
    last = split.recut(method.given)
    index, names = latest_windows(data, last, most=len(data.symbols), to_the_end=True)
    if method.with_open:
        known = [number for number, name in enumerate(names) if name in data.opens]
        index, openings = index[known], [data.opens[names[number]] for number in known]
        following = np.full((len(known), 1, split.features), np.nan, np.float32)
        following[:, 0, OPEN_FEATURE] = [opening.price for opening in openings]
        if known:
            add(last, index, [opening.day for opening in openings], [None] * len(known), following)
        return dict(columns)
    assert last.time is not None
    days = [next_days(last, start + method.given - 1, 1)[0] for start in last.starts[index]]
    if names:
        add(last, index, days, [None] * len(names))
    return dict(columns)


def widths_after_windows(
    widths: IntervalWidths | None, split: Split, index: SampleIndex, method: ForecastMethod
) -> Array:
    """Return the widths of the intervals of some forecasts, `(samples, ahead, 1)`.

    Args:
        widths: the widths at all moments; None if no window has been forecast.
        split: windows that begin with the days given.
        index: the windows.
        method: forecasting function.
    """
    made = split._replace(starts=split.starts[index]).times_of(np.array([method.given - 1]))[:, 0]
    return np.ones((len(made), method.ahead, 1)) if widths is None else widths.at(made, np.zeros_like(made))


def forecast_interval(
    calibration: Calibration | None,
    data: Data,
    past: Array,
    lines: Array | None,
    predicted: Array,
    widths: Array,
    level: int,
) -> tuple[Array, Array]:
    """Return lower and upper bounds of prediction intervals, `(samples, ahead)` each, in original units.

    Args:
        calibration: calibration of the intervals; None for NaN bounds.
        data: data with the scale.
        past: `(samples, days, features)` in original units.
        lines: `(samples,)` rows of the scale table, or None.
        predicted: `(samples, ahead, 1)` forecasts in original units.
        widths: `(samples, ahead, 1)`, see `widths_after_windows`.
        level: level in percent.
    """
    if calibration is None:
        return (np.full(predicted.shape[:2], np.nan),) * 2
    point = data.scale.scaled(predicted, past, lines)
    volatility = calibration.volatility(data.scale.scaled(past, past, lines))
    offsets = calibration.offsets(volatility, widths, level)
    bounds = prediction_intervals(data.scale, point, past, offsets, lines)
    low, high = (np.where(np.isfinite(bound) & (bound > 0), bound, np.nan)[..., 0] for bound in bounds)
    return low, high
