"""One-step forecasts: what they are worth, and the table of what was said."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_ae.baselines import Baselines, fit
from lstm_ae.classical import changes
from lstm_ae.data.windows import OPEN, Data, Split
from lstm_ae.evaluation import Evaluation, Mean, Metric
from lstm_ae.intervals import Calibration, bounds
from lstm_ae.run import Run
from lstm_ae.tasks import parts
from lstm_ae.tasks.errors import Way, calibrate, errors, judge, measures, usual_change
from lstm_ae.tasks.panel import days_after, last_windows

# Days ahead whose errors a run keeps.
KEPT = 20


def forecasts(model: Any) -> bool:
    """Whether the model forecasts; else it reconstructs."""
    return "future" in model.output


def one_day(model: Any, given: int) -> Way:
    """The model's own forecast of the day after a window."""
    import tensorflow as tf

    from lstm_ae.models.apply import inputs_of, signature

    call = tf.function(lambda inputs: model(inputs, training=False)["future"], input_signature=[signature(model)])

    def say(past: Any, company: Any, following: Any) -> Any:
        return call(inputs_of(model, past, company, following)).numpy()[:, -1:]

    return Way(say, given, 1, "open" in model.input)


def evaluate(model: Any, data: Data, judged_by: Run | None = None) -> Evaluation:
    """Measure the forecast of the day after each window, and of all days of it where the model says them."""
    way = one_day(model, data.test.span - 1)
    fitted = fit(data, way.given, 1, with_open=way.with_open, refit=judged_by is not None)
    calibration = judged_by.calibration()[0] if judged_by else calibrate(way, data)
    usual = usual_change(data)
    # The first day's errors are the same whoever counts them; the rollout's are kept for forecasts of new data.
    kept, beside = calibration, fitted
    if not way.with_open and not judged_by:
        from lstm_ae.tasks.paths import Rollout

        kept = calibrate(Rollout(model).way(way.given, KEPT), data) or calibration
        if data.recut(data.train, way.given + KEPT).samples:
            beside = fit(data, way.given, KEPT, with_open=False, days=fitted.days)
    metrics, verdicts = {}, {}
    for part, split in parts(data, judged_by).items():
        # The intervals are counted on validation, and judged by what they were not counted on.
        found = errors(way, data, split, fitted, calibration if part == "test" else None)
        metrics[part] = _of_all_days(model, data, split) | measures(found, usual)
        verdicts[part] = judge(found)
    return Evaluation(metrics, verdicts, (kept, beside))


def evaluate_new(model: Any, data: Data, calibration: Calibration, fitted: Baselines) -> Evaluation:
    """Measure the forecasts of data without a training part, against baselines of a run's; empty without any window."""
    way = one_day(model, data.test.span - 1)
    if not data.test.samples:
        return Evaluation({})
    found = errors(way, data, data.test, fitted.cut(way.given, 1), calibration)
    return Evaluation({"new data": measures(found, None)}, {"new data": judge(found)})


def against_more(
    model: Any, data: Data, classical: Sequence[str], calibration: Calibration | None = None
) -> Evaluation:
    """Measure the test part once more, with further baselines, names of `lstm_ae.classical.MODELS`.

    Args:
        calibration: of the model, where it was fitted to validation as well.
    """
    way = one_day(model, data.test.span - 1)
    fitted = fit(data, way.given, 1, with_open=way.with_open, refit=calibration is not None)
    calibration = calibration or calibrate(way, data)
    more = changes(classical, data, data.test, way.given, 1)
    found = errors(way, data, data.test, fitted, calibration, more)
    return Evaluation({"test": measures(found, usual_change(data))}, {"test": judge(found)})


def _of_all_days(model: Any, data: Data, split: Split) -> dict[str, Metric]:
    """The scaled MSE over all days of the windows, as in the report; nothing where the model says the last alone."""
    from lstm_ae.models.apply import apply
    from lstm_ae.models.scaling import network_of

    # The whole model's output, in own units, has any number of days.
    if network_of(model).output["future"].shape[1] == 1:
        return {}
    ours, naive = Mean(), Mean()
    for batch in apply(model, split, steps=split.span - 1):
        past = batch.window[:, :-1]
        truth = data.scale.scaled(batch.window[:, 1:, :1], past, batch.company)
        for mean, predicted in ((ours, batch.outputs["future"]), (naive, past)):
            mean.add((data.scale.scaled(predicted[..., :1], past, batch.company) - truth) ** 2)
    return {"mse": Metric(ours.value, "scaled", {"persistence": naive.value})}


def skill_by_company(model: Any, data: Data) -> tuple[list[str], Any]:
    """The companies of the test part, and the skill over persistence on each, NaN where its price never moves."""
    found = errors(one_day(model, data.test.span - 1), data, data.test, Baselines())
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
    way = one_day(model, split.span - 1)
    if levels and calibration is None:
        calibration = calibrate(way, data)
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
            low, high = interval(calibration, data, past, company, predicted, level)
            columns[f"low_{level}"] += list(low[:, 0])
            columns[f"high_{level}"] += list(high[:, 0])

    assert split.time is not None
    for index in split.batches():
        rows = split.starts[index] + way.given
        add(split, index, split.time[rows], list(split.series[rows, 0]))
    last = split.recut(way.given)
    index, names = last_windows(data, last, most=len(data.symbols), to_the_end=True)
    if way.with_open:
        known = [place for place, name in enumerate(names) if name in data.opens]
        index, opens = index[known], [data.opens[names[place]] for place in known]
        told = np.full((len(known), 1, split.features), np.nan, np.float32)
        told[:, 0, OPEN] = [opening.price for opening in opens]
        if known:
            add(last, index, [opening.day for opening in opens], [None] * len(known), told)
        return dict(columns)
    assert last.time is not None
    days = [days_after(last, start + way.given - 1, 1)[0] for start in last.starts[index]]
    if names:
        add(last, index, days, [None] * len(names))
    return dict(columns)


def interval(
    calibration: Calibration | None, data: Data, past: Any, company: Any, predicted: Any, level: int
) -> tuple[Any, Any]:
    """The two ends of an interval about forecasts `(samples, ahead, 1)`, `(samples, ahead)` in own units."""
    if calibration is None:
        return (np.full(predicted.shape[:2], np.nan),) * 2
    point = data.scale.scaled(predicted, past, company)
    spread = calibration.spread(data.scale.scaled(past, past, company))[:, : point.shape[1]]
    ends = (data.scale.own(point + spread[..., [place]], past, company)[..., 0] for place in bounds(level))
    low, high = (np.where(np.isfinite(end) & (end > 0), end, np.nan) for end in ends)
    return low, high
