"""Multi-step forecasts of stock prices: the report's "Q4", and forecasts beyond the end of the data.

Without a horizon, the first half of each window is the input and the second half is forecast recursively, as in the
report. With a horizon, the whole window is the input. Beyond the end of the data, forecasts are for the next weekdays,
or weeks if rows are weekly; holidays are ignored.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lstm_ae.arrays import Array
from lstm_ae.data.windows import Data, Split
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.evaluation import Metric, Verdict
from lstm_ae.forecasting.baselines import PriceBaselines, fit_price_baselines
from lstm_ae.forecasting.intervals import Calibration
from lstm_ae.forecasting.metrics import (
    INTERVAL_LEVELS,
    calibrate_price_intervals,
    judge_forecasts,
    mean_absolute_change,
    price_errors,
    price_metrics,
)
from lstm_ae.models.network import Network
from lstm_ae.models.rollout import Rollout
from lstm_ae.plots import forecasts as plots
from lstm_ae.plots.base import with_title
from lstm_ae.studies.snp.forecasting import (
    dates_of,
    forecast_days,
    forecast_interval,
    forecasts,
    latest_windows,
    next_days,
    quantity_label,
    widths_after_windows,
)
from lstm_ae.table_files import TableColumns


class HorizonStep(NamedTuple):
    """Evaluation of forecasts a number of days ahead, over all test windows.

    Args:
        step: days ahead.
        metrics: see `lstm_ae.forecasting.metrics.price_metrics`.
        verdict: comparison with the best baseline on this day ahead.
        persistence: comparison with persistence.
    """

    step: int
    metrics: dict[str, Metric]
    verdict: Verdict
    persistence: Verdict


class MultiStepForecast(NamedTuple):
    """Multi-step forecast with its evaluation.

    Args:
        steps: evaluation per day ahead; empty if no window has enough following days.
        verdict: comparison with the best baseline over all days ahead; None without steps.
        persistence: comparison with persistence over all days ahead; None without steps.
        windows: number of test windows.
        table: columns symbol, date, step, predicted, persistence, actual (None if unknown), and two per level.
        figures: figures of the forecast and of the errors by day ahead.
    """

    steps: list[HorizonStep]
    verdict: Verdict | None
    persistence: Verdict | None
    windows: int
    table: TableColumns
    figures: dict[str, Figure]


def forecast_multistep(
    model: Network,
    data: Data,
    horizon: int | None = None,
    *,
    levels: Sequence[int] = INTERVAL_LEVELS,
    calibration: Calibration | None = None,
    seen: tuple[Sequence[str], np.datetime64] | None = None,
    baselines: PriceBaselines | None = None,
) -> MultiStepForecast:
    """Evaluate the recursive forecast on every test window, and forecast from each company's last window.

    Args:
        model: a one-step forecaster in original units.
        data: data of its training, or new data without a training split.
        horizon: days to forecast after a whole window; None to forecast the second half of a window from its first.
        levels: levels of prediction intervals in percent.
        calibration: calibration of the intervals; None to calibrate on the validation split.
        seen: companies of the training, and the last day used for fitting or model selection; forecasts of these
            companies up to that day are not evaluated.
        baselines: baselines of the run for new data; None for persistence only.

    Raises:
        ConfigError: the model is not a one-step forecaster, or the horizon is too long.
        DataError: the windows of the report's split or of new data are too short.
    """
    if not forecasts(model):
        raise ConfigError(
            "--multistep needs a forecaster. Received: a run with --goal reconstruct", code=Code.MISSING_OPTION
        )
    if "open" in model.inputs:
        raise ConfigError(
            "--multistep needs a model that does not read the day's open. Received: a run with --with-open",
            code=Code.MISSING_OPTION,
        )
    window = data.test.span - 1
    given, ahead = (window // 2, window - window // 2) if horizon is None else (window, horizon)
    forecast = Rollout(model)
    method = forecast_days(forecast, given, ahead)
    test = _exclude_seen(data, data.recut(data.test, given + ahead), given, seen)
    fitted, usual = (baselines or PriceBaselines()).cut(given, ahead), None
    refitted = calibration is not None
    unknown = calibration is not None and ahead > len(calibration.quantiles)
    if calibration is not None and unknown:
        if not data.train.samples or horizon is not None:
            raise ConfigError(
                f"--horizon must be at most {len(calibration.quantiles)}, the days ahead that the run has validation "
                f"errors for. Received: {ahead}"
            )
        levels, calibration = (), None
    if data.train.samples:
        for name, split in (("training", data.recut(data.train, given + ahead)), ("test", test)):
            if not split.samples:
                kind = DataError if horizon is None else ConfigError
                raise kind(
                    f"No company has {given + ahead} consecutive {name} days for a window of {given} days and a "
                    f"horizon of {ahead}. Reduce --horizon or --window"
                )
        calibration = calibration if calibration or unknown else calibrate_price_intervals(method, data)
        usual = mean_absolute_change(data)
        fitted = fit_price_baselines(data, given, ahead, with_open=False, refit=refitted)
    steps, verdict, persistence, widths = [], None, None, None
    if test.samples:
        errors = price_errors(method, data, test, fitted, calibration, levels)
        widths = errors.widths
        steps = [
            HorizonStep(
                step,
                price_metrics(errors, usual, step),
                judge_forecasts(errors.at(step)),
                judge_forecasts(errors.at(step), against="persistence"),
            )
            for step in range(1, ahead + 1)
        ]
        verdict, persistence = judge_forecasts(errors.at()), judge_forecasts(errors.at(), against="persistence")
    last = _Last(data, data.test.recut(given + ahead if horizon is None else given), given, ahead)
    predicted = forecast(last.past, last.lines, ahead)[..., :1]
    table = last.columns() | {
        "predicted": list(predicted.ravel()),
        "persistence": list(np.repeat(last.past[:, -1, 0], ahead)),
        "actual": [None] * predicted.size if last.truth is None else list(last.truth.ravel()),
    }
    own_widths = widths_after_windows(widths, last.split, last.index, method)
    ends = {
        level: forecast_interval(calibration, data, last.past, last.lines, predicted, own_widths, level)
        for level in levels
    }
    for level, (low, high) in ends.items():
        table |= {f"low_{level}": list(low.ravel()), f"high_{level}": list(high.ravel())}
    figures = {"multistep": last.figure(predicted, ends), **(_by_step(steps) if steps else {})}
    return MultiStepForecast(steps, verdict, persistence, test.samples, table, figures)


def _exclude_seen(data: Data, split: Split, given: int, seen: tuple[Sequence[str], np.datetime64] | None) -> Split:
    """Return the windows whose days ahead are all new to the model.

    Args:
        data: data of the split.
        split: windows with their days ahead.
        given: days before those ahead.
        seen: companies of the training, and the last day used for fitting or model selection; None if the data are
            those of the training, whose test split is new.
    """
    if seen is None:
        return split
    assert split.time is not None
    assert split.line is not None
    known = np.isin(data.symbols, [symbol for symbol in seen[0] if symbol])[split.line[split.starts]]
    return split._replace(starts=split.starts[~known | (split.time[split.starts + given] > seen[1])])


class _Last:
    """Last window of each company and the days after it."""

    def __init__(self, data: Data, split: Split, given: int, ahead: int) -> None:
        index, self.names = latest_windows(data, split, most=len(data.symbols), to_the_end=split.span == given)
        if not len(index):
            raise DataError(
                f"No company has {given} consecutive days up to its last one to forecast from. Reduce --window",
                code=Code.TOO_FEW_ROWS,
            )
        window = split.windows(index)
        self.data, self.ahead, self.lines = data, ahead, split.lines(index)
        self.split, self.index = split, index
        self.past = window[:, :given]
        self.truth = window[:, given:, 0] if window.shape[1] > given else None
        starts = split.starts[index]
        self.dates_past = [dates_of(split, start, given) for start in starts]
        self.dates = [
            next_days(split, start + given - 1, ahead) if self.truth is None else dates_of(split, start + given, ahead)
            for start in starts
        ]

    def columns(self) -> TableColumns:
        """Return the columns symbol, date, and step of a table."""
        return {
            "symbol": np.repeat(self.names, self.ahead).tolist(),
            "date": np.concatenate(self.dates).astype(str).tolist(),
            "step": np.tile(np.arange(1, self.ahead + 1), len(self.names)).tolist(),
        }

    def figure(self, predicted: Array, ends: dict[int, tuple[Array, Array]]) -> Figure:
        """Draw the forecasts of the first companies with their intervals."""
        few = slice(0, 4)
        figure = plots.multistep(
            self.dates_past[few],
            self.past[few, :, 0],
            self.dates[few],
            None if self.truth is None else self.truth[few],
            predicted[few, :, 0],
            np.repeat(self.past[few, -1:, 0], self.ahead, axis=1),
            self.names[few],
            quantity=quantity_label(self.data),
            intervals={level: (low[few], high[few]) for level, (low, high) in ends.items()},
        )
        if len(self.names) > len(self.names[few]):
            figure = with_title(figure, f"The first {len(self.names[few])} of {len(self.names)} companies")
        return figure


def _by_step(steps: list[HorizonStep]) -> dict[str, Figure]:
    ahead = [step.step for step in steps]
    rmse = [step.metrics["rmse"] for step in steps]
    gained = [step.metrics["skill"].value for step in steps]
    figures = {
        "skill_by_step": plots.skill_by_step(
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
        figures["coverage_by_step"] = plots.coverage(ahead, covered)
    return figures
