"""A split of many companies: its latest windows, its dates, and the days that follow."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_ae.data.prices import SPACED
from lstm_ae.data.windows import OPEN, Data, Split
from lstm_ae.evaluation import Evaluation, Metric, RunningMean
from lstm_ae.forecasting.classical import classical_changes
from lstm_ae.forecasting.intervals import Calibration, interval_bounds
from lstm_ae.forecasting.price_baselines import PriceBaselines, fit_price_baselines
from lstm_ae.forecasting.price_metrics import (
    ForecastMethod,
    calibrate_price_intervals,
    judge_prices,
    mean_absolute_change,
    price_errors,
    price_metrics,
)
from lstm_ae.run import Run
from lstm_ae.studies import evaluated_parts

# Rows that tell on which days a company is traded.
LATELY = 365


def latest_windows(data: Data, split: Split, most: int, *, to_the_end: bool = False) -> tuple[Any, list[str]]:
    """The latest sample of each company, as indices into the split, and the companies' names.

    With `to_the_end` a company whose rows go on after its latest sample, for a gap lies in them, has none.
    """
    assert split.company is not None
    assert split.time is not None
    company, day = split.company[split.starts], split.time[split.starts]
    order = np.lexsort((day, company))
    last = order[np.r_[np.flatnonzero(np.diff(company[order])), len(order) - 1]]
    if to_the_end:
        ends = np.full(len(data.symbols), np.datetime64("0001-01-01", "D"))
        np.maximum.at(ends, split.company, split.time)
        last = last[split.time[split.starts[last] + split.span - 1] == ends[company[last]]]
    return last[:most], [data.symbols[line] for line in company[last[:most]]]


def dates_of(split: Split, start: int, days: int) -> Any:
    """The dates of some rows."""
    assert split.time is not None
    return split.time[start : start + days]


def next_days(split: Split, row: int, count: int) -> Any:
    """The next so many days of a row's company: weekdays, or every day where it has rows on weekends.

    Where its rows are a working week apart or more, as weekly ones are, so are these days. Holidays are not known.
    """
    assert split.company is not None
    assert split.time is not None
    rows = slice(max(0, row - LATELY), row + 1)
    own = split.time[rows][split.company[rows] == split.company[row]]
    apart = np.median(np.diff(own)) if len(own) > 1 else np.timedelta64(1, "D")
    if apart >= SPACED:
        return own[-1] + np.arange(1, count + 1) * apart
    if 20 * np.count_nonzero(~np.is_busday(own)) > len(own):
        return own[-1] + np.arange(1, count + 1).astype("timedelta64[D]")
    return np.busday_offset(own[-1], np.arange(1, count + 1), roll="backward")


def quantity_label(data: Data) -> str:
    """What is drawn, as an axis says it: "High (USD)"."""
    name = data.feature_names[0]
    return name[0].upper() + name[1:]


# Days ahead whose errors a run keeps.
KEPT = 20


def forecasts(model: Any) -> bool:
    """Whether the model forecasts; else it reconstructs."""
    return "future" in model.output


def forecast_one_day(model: Any, given: int) -> ForecastMethod:
    """The model's own forecast of the day after a window."""
    import tensorflow as tf

    from lstm_ae.models.inference import input_signature, model_inputs

    call = tf.function(lambda inputs: model(inputs, training=False)["future"], input_signature=[input_signature(model)])

    def say(past: Any, company: Any, following: Any) -> Any:
        return call(model_inputs(model, past, company, following)).numpy()[:, -1:]

    return ForecastMethod(say, given, 1, "open" in model.input)


def evaluate(model: Any, data: Data, judged_by: Run | None = None) -> Evaluation:
    """Measure the forecast of the day after each window, and of all days of it where the model says them."""
    way = forecast_one_day(model, data.test.span - 1)
    fitted = fit_price_baselines(data, way.given, 1, with_open=way.with_open, refit=judged_by is not None)
    calibration = judged_by.calibration()[0] if judged_by else calibrate_price_intervals(way, data)
    usual = mean_absolute_change(data)
    # The first day's errors are the same whoever counts them; the rollout's are kept for forecasts of new data.
    kept, beside = calibration, fitted
    if not way.with_open and not judged_by:
        from lstm_ae.studies.snp_rollout import Rollout

        kept = calibrate_price_intervals(Rollout(model).way(way.given, KEPT), data) or calibration
        if data.recut(data.train, way.given + KEPT).samples:
            beside = fit_price_baselines(data, way.given, KEPT, with_open=False, days=fitted.days)
    metrics, verdicts = {}, {}
    for part, split in evaluated_parts(data, judged_by).items():
        # The intervals are counted on validation, and judged by what they were not counted on.
        found = price_errors(way, data, split, fitted, calibration if part == "test" else None)
        metrics[part] = _of_all_days(model, data, split) | price_metrics(found, usual)
        verdicts[part] = judge_prices(found)
    return Evaluation(metrics, verdicts, (kept, beside))


def evaluate_new(model: Any, data: Data, calibration: Calibration, fitted: PriceBaselines) -> Evaluation:
    """Measure the forecasts of data without a training part, against baselines of a run's; empty without any window."""
    way = forecast_one_day(model, data.test.span - 1)
    if not data.test.samples:
        return Evaluation({})
    found = price_errors(way, data, data.test, fitted.cut(way.given, 1), calibration)
    return Evaluation({"new data": price_metrics(found, None)}, {"new data": judge_prices(found)})


def compare_more_baselines(
    model: Any, data: Data, classical: Sequence[str], calibration: Calibration | None = None
) -> Evaluation:
    """Measure the test part once more, with further baselines, names of `lstm_ae.forecasting.classical.MODELS`.

    Args:
        calibration: of the model, where it was fitted to validation as well.
    """
    way = forecast_one_day(model, data.test.span - 1)
    fitted = fit_price_baselines(data, way.given, 1, with_open=way.with_open, refit=calibration is not None)
    calibration = calibration or calibrate_price_intervals(way, data)
    more = classical_changes(classical, data, data.test, way.given, 1)
    found = price_errors(way, data, data.test, fitted, calibration, more)
    return Evaluation({"test": price_metrics(found, mean_absolute_change(data))}, {"test": judge_prices(found)})


def _of_all_days(model: Any, data: Data, split: Split) -> dict[str, Metric]:
    """The scaled MSE over all days of the windows, as in the report; nothing where the model says the last alone."""
    from lstm_ae.models.inference import predict_split
    from lstm_ae.models.scaling import inner_network

    # The whole model's output, in own units, has any number of days.
    if inner_network(model).output["future"].shape[1] == 1:
        return {}
    ours, naive = RunningMean(), RunningMean()
    for batch in predict_split(model, split, steps=split.span - 1):
        past = batch.window[:, :-1]
        truth = data.scale.scaled(batch.window[:, 1:, :1], past, batch.company)
        for mean, predicted in ((ours, batch.outputs["future"]), (naive, past)):
            mean.add((data.scale.scaled(predicted[..., :1], past, batch.company) - truth) ** 2)
    return {"mse": Metric(ours.value, "scaled", {"persistence": naive.value})}


def skill_by_company(model: Any, data: Data) -> tuple[list[str], Any]:
    """The companies of the test part, and the skill over persistence on each, NaN where its price never moves."""
    found = price_errors(forecast_one_day(model, data.test.span - 1), data, data.test, PriceBaselines())
    lines, which = np.unique(found.company, return_inverse=True)
    ours, naive = (np.bincount(which, found.scaled[name][:, 0] ** 2) for name in ("", "persistence"))
    with np.errstate(invalid="ignore", divide="ignore"):
        return [data.symbols[line] for line in lines], np.where(naive > 0, 1 - ours / naive, np.nan)


def predict(
    model: Any, data: Data, split: Split, levels: Sequence[int] = (), calibration: Calibration | None = None
) -> dict[str, Sequence[Any]]:
    """The day after every window, and after each company's last window the day after the data (`actual` is None).

    A model that is told the day's open says nothing of a day that has not opened (`data.opens`).

    Args:
        levels: per cent; each adds the two columns of an interval, NaN where validation is too short to tell.
        calibration: for the intervals; counted on validation where it is not given.
    """
    way = forecast_one_day(model, split.span - 1)
    if levels and calibration is None:
        calibration = calibrate_price_intervals(way, data)
    columns: dict[str, list[Any]] = {name: [] for name in ("symbol", "date", "actual", "persistence", "predicted")}
    columns |= {name: [] for level in levels for name in (f"low_{level}", f"high_{level}")}

    def add(part: Split, index: Any, days: Any, actual: Any, told: Any = None) -> None:
        window, company = part.windows(index), part.companies(index)
        past = window[:, : way.given]
        assert part.company is not None
        predicted = way.say(past, company, window[:, way.given :] if told is None else told)[..., :1]
        columns["symbol"] += [data.symbols[line] for line in part.company[part.starts[index]]]
        columns["date"] += np.asarray(days).astype(str).tolist()
        columns["actual"] += actual
        columns["persistence"] += list(past[:, -1, 0])
        columns["predicted"] += list(predicted[:, 0, 0])
        for level in levels:
            low, high = forecast_interval(calibration, data, past, company, predicted, level)
            columns[f"low_{level}"] += list(low[:, 0])
            columns[f"high_{level}"] += list(high[:, 0])

    assert split.time is not None
    for index in split.batches():
        rows = split.starts[index] + way.given
        add(split, index, split.time[rows], list(split.series[rows, 0]))
    last = split.recut(way.given)
    index, names = latest_windows(data, last, most=len(data.symbols), to_the_end=True)
    if way.with_open:
        known = [place for place, name in enumerate(names) if name in data.opens]
        index, opens = index[known], [data.opens[names[place]] for place in known]
        told = np.full((len(known), 1, split.features), np.nan, np.float32)
        told[:, 0, OPEN] = [opening.price for opening in opens]
        if known:
            add(last, index, [opening.day for opening in opens], [None] * len(known), told)
        return dict(columns)
    assert last.time is not None
    days = [next_days(last, start + way.given - 1, 1)[0] for start in last.starts[index]]
    if names:
        add(last, index, days, [None] * len(names))
    return dict(columns)


def forecast_interval(
    calibration: Calibration | None, data: Data, past: Any, company: Any, predicted: Any, level: int
) -> tuple[Any, Any]:
    """The two ends of an interval about forecasts `(samples, ahead, 1)`, `(samples, ahead)` in own units."""
    if calibration is None:
        return (np.full(predicted.shape[:2], np.nan),) * 2
    point = data.scale.scaled(predicted, past, company)
    spread = calibration.spread(data.scale.scaled(past, past, company))[:, : point.shape[1]]
    ends = (data.scale.own(point + spread[..., [place]], past, company)[..., 0] for place in interval_bounds(level))
    low, high = (np.where(np.isfinite(end) & (end > 0), end, np.nan) for end in ends)
    return low, high
