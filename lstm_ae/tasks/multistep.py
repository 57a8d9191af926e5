"""Forecasts of many days: the report's "Q4" and beyond the end of the data.

Without a horizon the first half of each window is given and the second half comes from the model's own outputs, as in
the report. With one, the whole window is given and so many days follow; past the end of the data they are the next
weekdays, since holidays are not known.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from lstm_ae.data.windows import Data, Split
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.evaluation import Verdict, skill, verdict
from lstm_ae.figures import forecasts as drawn
from lstm_ae.figures.base import titled
from lstm_ae.models.apply import inputs_of, signature
from lstm_ae.models.rollout import HORIZON, rollout
from lstm_ae.tasks.forecasting import forecasts
from lstm_ae.tasks.panel import dates_of, last_windows, quantity_of, weekdays_after


class Step(NamedTuple):
    """Errors so many days ahead, over all test windows; MSE scaled, RMSE in USD."""

    step: int
    mse: float
    mse_persistence: float
    rmse: float
    rmse_persistence: float
    skill: float


class MultiStep(NamedTuple):
    """A multi-step forecast with what it is worth.

    Args:
        steps: errors by day ahead.
        verdict: against persistence, over all days ahead together.
        windows: test windows behind the errors.
        table: the forecast, as columns: symbol, date, step, predicted, persistence, actual (None where not known).
        figures: the forecast, and the errors by day ahead.
    """

    steps: list[Step]
    verdict: Verdict
    windows: int
    table: dict[str, Sequence[Any]]
    figures: dict[str, Figure]


def multistep(model: Any, data: Data, horizon: int | None = None) -> MultiStep:
    """Measure the rollout on every test window, and forecast from each company's last days.

    Args:
        horizon: days ahead after a whole window; None for the second half of a window after its first.
    """
    if not forecasts(model):
        raise ConfigError("--multistep needs a forecaster. Received: a run with --goal reconstruct")
    window = data.test.span - 1
    given, ahead = (window // 2, window - window // 2) if horizon is None else (window, horizon)
    forecast = _Rollout(model, ahead)
    test = data.test.recut(given + ahead)
    if not test.samples:
        kind = DataError if horizon is None else ConfigError
        raise kind(
            f"No company has {given + ahead} test days in a row for a window of {given} days and a horizon of {ahead}; "
            "choose a shorter --horizon or --window"
        )
    steps, judged = _measure(forecast, data, test, given)
    last = data.test.recut(given + ahead if horizon is None else given)
    table, figure = _forecast(forecast, data, last, given)
    ahead_figure = drawn.skill_by_step(
        [step.step for step in steps],
        [step.rmse for step in steps],
        [step.rmse_persistence for step in steps],
        [step.skill for step in steps],
        "USD",
    )
    return MultiStep(steps, judged, test.samples, table, {"multistep": figure, "skill_by_step": ahead_figure})


class _Rollout:
    """The traced rollout over arrays."""

    def __init__(self, model: Any, ahead: int) -> None:
        self.model, self.ahead = model, ahead
        self.call = tf.function(rollout(model), input_signature=[signature(model), HORIZON])

    def __call__(self, past: Any, company: Any) -> Any:
        return self.call(inputs_of(self.model, past, company), tf.fill([len(past)], self.ahead)).numpy()


def _measure(forecast: _Rollout, data: Data, test: Split, given: int) -> tuple[list[Step], Verdict]:
    ours: list[Any] = []
    naive: list[Any] = []
    ours_usd: list[Any] = []
    naive_usd: list[Any] = []
    for index in test.batches():
        window, company = test.windows(index), test.companies(index)
        past, truth = window[:, :given], window[:, given:]
        _, span = data.scale.of(past, company)
        for scaled, usd, predicted in ((ours, ours_usd, forecast(past, company)), (naive, naive_usd, past[:, -1:])):
            error = (predicted - truth)[..., 0].astype(np.float64)
            scaled.append((error / span[..., 0]) ** 2)
            usd.append(error**2)
    model, persistence = np.concatenate(ours), np.concatenate(naive)
    columns = zip(
        model.mean(axis=0),
        persistence.mean(axis=0),
        np.sqrt(np.concatenate(ours_usd).mean(axis=0)),
        np.sqrt(np.concatenate(naive_usd).mean(axis=0)),
        strict=True,
    )
    steps = [
        Step(k, float(mse), float(mse_0), float(rmse), float(rmse_0), skill(float(mse), float(mse_0)))
        for k, (mse, mse_0, rmse, rmse_0) in enumerate(columns, 1)
    ]
    assert test.time is not None
    days = test.time[test.starts + test.span - 1]
    judged = verdict(model.mean(axis=1), persistence.mean(axis=1), days, name="persistence", steps=forecast.ahead)
    return steps, judged


def _forecast(forecast: _Rollout, data: Data, last: Split, given: int) -> tuple[dict[str, Sequence[Any]], Figure]:
    index, names = last_windows(data, last, most=len(data.symbols))
    window = last.windows(index)
    past, truth = window[:, :given], window[:, given:]
    predicted = forecast(past, last.companies(index))[..., 0]
    known = truth.shape[1] > 0
    dates_past = [dates_of(last, start, given) for start in last.starts[index]]
    if known:
        dates = [dates_of(last, start + given, forecast.ahead) for start in last.starts[index]]
    else:
        dates = [weekdays_after(days[-1], forecast.ahead) for days in dates_past]
    table = {
        "symbol": np.repeat(names, forecast.ahead).tolist(),
        "date": np.concatenate(dates).astype(str).tolist(),
        "step": np.tile(np.arange(1, forecast.ahead + 1), len(names)).tolist(),
        "predicted": list(predicted.ravel()),
        "persistence": list(np.repeat(past[:, -1, 0], forecast.ahead)),
        "actual": list(truth.ravel()) if known else [None] * predicted.size,
    }
    four = slice(0, 4)
    figure = drawn.multistep(
        dates_past[four],
        past[four, :, 0],
        dates[four],
        truth[four, :, 0] if known else None,
        predicted[four],
        np.repeat(past[four, -1:, 0], forecast.ahead, axis=1),
        names[four],
        quantity=quantity_of(data),
    )
    if len(names) > len(names[four]):
        figure = titled(figure, f"The first {len(names[four])} of {len(names)} companies")
    return table, figure
