"""Forecasts of many days: the report's "Q4" and beyond the end of the data.

Without a horizon the first half of each window is given and the second half comes from the model's own outputs, as in
the report. With one, the whole window is given and so many days follow; past the end of the data they are the next
weekdays, or weeks where rows are weekly, since holidays are not known.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lstm_ae.data.windows import Data, Split
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.evaluation import Metric, Verdict
from lstm_ae.forecasting.classical import classical_changes
from lstm_ae.forecasting.intervals import Calibration
from lstm_ae.forecasting.price_baselines import PriceBaselines, fit_price_baselines
from lstm_ae.forecasting.price_metrics import (
    LEVELS,
    calibrate_price_intervals,
    judge_prices,
    mean_absolute_change,
    price_errors,
    price_metrics,
)
from lstm_ae.plots import forecasts as drawn
from lstm_ae.plots.base import with_title
from lstm_ae.studies.snp_one_step import (
    dates_of,
    forecast_interval,
    forecasts,
    latest_windows,
    next_days,
    quantity_label,
)
from lstm_ae.studies.snp_rollout import Rollout

# Futures that go through the model at once.
AT_ONCE = 4096


class HorizonStep(NamedTuple):
    """What the forecast of so many days ahead is worth, over all test windows.

    Args:
        step: days ahead.
        metrics: as `lstm_ae.forecasting.price_metrics.price_metrics` finds them.
        verdict: against the best baseline on this day ahead.
        persistence: against persistence.
    """

    step: int
    metrics: dict[str, Metric]
    verdict: Verdict
    persistence: Verdict


class MultiStepForecast(NamedTuple):
    """A multi-step forecast with what it is worth.

    Args:
        steps: by day ahead; empty where no window has so many days after it.
        verdict: against the best baseline over all days ahead together; None without steps.
        persistence: likewise against persistence.
        windows: test windows behind the errors.
        table: the forecast, as columns: symbol, date, step, predicted, persistence, actual (None where not known), and
            two a level.
        paths: drawn futures as columns: symbol, date, step and one a path; None where none were asked for.
        figures: the forecast, and the errors by day ahead.
    """

    steps: list[HorizonStep]
    verdict: Verdict | None
    persistence: Verdict | None
    windows: int
    table: dict[str, Sequence[Any]]
    paths: dict[str, Sequence[Any]] | None
    figures: dict[str, Figure]


def forecast_multistep(
    model: Any,
    data: Data,
    horizon: int | None = None,
    *,
    levels: Sequence[int] = LEVELS,
    paths: int = 0,
    seed: int = 0,
    calibration: Calibration | None = None,
    seen: tuple[Sequence[str], np.datetime64] | None = None,
    baselines: PriceBaselines | None = None,
    classical: Sequence[str] = (),
) -> MultiStepForecast:
    """Measure the rollout on every test window, and forecast from each company's last days.

    Args:
        horizon: days ahead after a whole window; None for the second half of a window after its first.
        levels: per cent; each adds an interval to the forecast.
        paths, seed: futures to draw of each company, and what they depend on.
        calibration: of the model, where validation cannot tell how far it is off.
        seen: companies that it was trained on, and the last day that it was fitted to or chosen by: forecasts of days
            up to that are not counted.
        baselines: of the run, where `data` is new to it and has no training part; persistence alone where None.
        classical: further baselines, names of `lstm_ae.forecasting.classical.MODELS`.
    """
    if not forecasts(model):
        raise ConfigError("--multistep needs a forecaster. Received: a run with --goal reconstruct")
    if "open" in model.input:
        raise ConfigError("--multistep needs a model that is not told the day's open. Received: a run with --with-open")
    window = data.test.span - 1
    given, ahead = (window // 2, window - window // 2) if horizon is None else (window, horizon)
    forecast = Rollout(model)
    way = forecast.way(given, ahead)
    test = _after(data, data.recut(data.test, given + ahead), given, seen)
    fitted, usual = (baselines or PriceBaselines()).cut(given, ahead), None
    residuals = calibration
    unknown = calibration is not None and ahead > len(calibration.quantiles)
    if calibration is not None and unknown:
        if not data.train.samples or horizon is not None:
            raise ConfigError(
                f"The run knows how far it is off up to {len(calibration.quantiles)} days ahead; choose a --horizon of "
                f"at most that. Received: {ahead}"
            )
        levels, calibration = (), None
    if data.train.samples:
        for name, split in (("training", data.recut(data.train, given + ahead)), ("test", test)):
            if not split.samples:
                kind = DataError if horizon is None else ConfigError
                raise kind(
                    f"No company has {given + ahead} {name} days in a row for a window of {given} days and a horizon "
                    f"of {ahead}; choose a shorter --horizon or --window"
                )
        calibration = calibration if calibration or unknown else calibrate_price_intervals(way, data)
        usual = mean_absolute_change(data)
        fitted = fit_price_baselines(data, given, ahead, with_open=False, refit=residuals is not None)
    steps, verdict, persistence = [], None, None
    if test.samples:
        more = classical_changes(classical, data, test, given, ahead) if classical else {}
        found = price_errors(way, data, test, fitted, calibration, more, levels)
        steps = [
            HorizonStep(
                step,
                price_metrics(found, usual, step),
                judge_prices(found, step),
                judge_prices(found, step, "persistence"),
            )
            for step in range(1, ahead + 1)
        ]
        verdict, persistence = judge_prices(found), judge_prices(found, against="persistence")
    last = _Last(data, data.test.recut(given + ahead if horizon is None else given), given, ahead)
    predicted = forecast(last.past, last.company, ahead)[..., :1]
    table = last.columns() | {
        "predicted": list(predicted.ravel()),
        "persistence": list(np.repeat(last.past[:, -1, 0], ahead)),
        "actual": [None] * predicted.size if last.truth is None else list(last.truth.ravel()),
    }
    ends = {level: forecast_interval(calibration, data, last.past, last.company, predicted, level) for level in levels}
    for level, (low, high) in ends.items():
        table |= {f"low_{level}": list(low.ravel()), f"high_{level}": list(high.ravel())}
    # Futures are drawn day by day, from errors of one day ahead.
    futures = _futures(forecast, calibration or residuals, data, last, paths, seed) if paths else None
    figures = {"multistep": last.figure(predicted, ends, futures), **(_by_step(steps) if steps else {})}
    return MultiStepForecast(steps, verdict, persistence, test.samples, table, _as_columns(last, futures), figures)


def _after(data: Data, split: Split, given: int, seen: tuple[Sequence[str], np.datetime64] | None) -> Split:
    """The windows whose days ahead are all new to the model."""
    if seen is None:
        return split
    assert split.time is not None
    assert split.company is not None
    known = np.isin(data.symbols, [symbol for symbol in seen[0] if symbol])[split.company[split.starts]]
    return split._replace(starts=split.starts[~known | (split.time[split.starts + given] > seen[1])])


class _Last:
    """The last window of each company, and the days after it."""

    def __init__(self, data: Data, split: Split, given: int, ahead: int) -> None:
        index, self.names = latest_windows(data, split, most=len(data.symbols), to_the_end=split.span == given)
        if not len(index):
            raise DataError(
                f"No company has {given} days in a row up to its last one, so nothing follows; lower --window"
            )
        window = split.windows(index)
        self.data, self.ahead, self.company = data, ahead, split.companies(index)
        self.past = window[:, :given]
        self.truth = window[:, given:, 0] if window.shape[1] > given else None
        starts = split.starts[index]
        self.dates_past = [dates_of(split, start, given) for start in starts]
        self.dates = [
            next_days(split, start + given - 1, ahead) if self.truth is None else dates_of(split, start + given, ahead)
            for start in starts
        ]

    def columns(self) -> dict[str, Sequence[Any]]:
        """Whom and when each row of a table is about."""
        return {
            "symbol": np.repeat(self.names, self.ahead).tolist(),
            "date": np.concatenate(self.dates).astype(str).tolist(),
            "step": np.tile(np.arange(1, self.ahead + 1), len(self.names)).tolist(),
        }

    def figure(self, predicted: Any, ends: dict[int, tuple[Any, Any]], futures: Any) -> Figure:
        """The forecasts of the first companies, with their intervals and some of their drawn futures."""
        few = slice(0, 4)
        figure = drawn.multistep(
            self.dates_past[few],
            self.past[few, :, 0],
            self.dates[few],
            None if self.truth is None else self.truth[few],
            predicted[few, :, 0],
            np.repeat(self.past[few, -1:, 0], self.ahead, axis=1),
            self.names[few],
            quantity=quantity_label(self.data),
            intervals={level: (low[few], high[few]) for level, (low, high) in ends.items()},
            paths=None if futures is None else futures[few, :10],
        )
        if len(self.names) > len(self.names[few]):
            figure = with_title(figure, f"The first {len(self.names[few])} of {len(self.names)} companies")
        return figure


def _futures(forecast: Rollout, calibration: Calibration | None, data: Data, last: _Last, paths: int, seed: int) -> Any:
    """Drawn futures of each company, `(companies, paths, ahead)` in own units."""
    if calibration is None:
        raise DataError("--paths needs validation windows to draw errors from, and there are none; leave it out")
    which = np.repeat(np.arange(len(last.names)), paths)
    scaled = data.scale.scaled(last.past, last.past, last.company)
    shocks = calibration.shocks(scaled[which], last.ahead, seed)
    drawn_futures = [
        forecast(
            last.past[part],
            None if last.company is None else last.company[part],
            last.ahead,
            shocks[start:][: len(part)],
        )[..., 0]
        for start in range(0, len(which), AT_ONCE)
        for part in (which[start : start + AT_ONCE],)
    ]
    return np.concatenate(drawn_futures).reshape(len(last.names), paths, last.ahead)


def _as_columns(last: _Last, futures: Any) -> dict[str, Sequence[Any]] | None:
    if futures is None:
        return None
    paths = {f"path_{k + 1}": list(futures[:, k].ravel()) for k in range(futures.shape[1])}
    return last.columns() | paths


def _by_step(steps: list[HorizonStep]) -> dict[str, Figure]:
    ahead = [step.step for step in steps]
    rmse = [step.metrics["rmse"] for step in steps]
    gained = [step.metrics["skill"].value for step in steps]
    figures = {
        "skill_by_step": drawn.skill_by_step(
            ahead,
            [metric.value for metric in rmse],
            [metric.baselines["persistence"] for metric in rmse],
            gained,
            "USD",
            margin=[step.persistence.margin for step in steps],
        )
    }
    names = [name for name in steps[0].metrics if name.startswith("coverage_")]
    if names:
        covered = {int(name.rpartition("_")[2]): [step.metrics[name].value for step in steps] for name in names}
        figures["coverage_by_step"] = drawn.coverage(ahead, covered)
    return figures
