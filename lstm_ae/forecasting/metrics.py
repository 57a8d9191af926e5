"""Errors, metrics, and verdicts of forecasts, for a model and its baselines on the same windows.

Two functions collect the errors. `table_errors` averages them over the steps and columns of each forecast, since one
array `(samples, horizon, features)` per baseline may not fit into memory. `price_errors` forecasts one column, so it
keeps every day ahead, in scaled values, USD, and logarithms. Both return what `judge_forecasts` compares.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import ColumnSkill, Metric, Verdict, sample_means, skill
from lstm_ae.forecasting.baselines import (
    LINEAR_NAME,
    Baselines,
    ForecastWindows,
    PriceBaselines,
    TableBaselines,
    forecast_windows,
    season_name,
)
from lstm_ae.forecasting.intervals import (
    MIN_ERRORS,
    ErrorQuantiles,
    ForecastMethod,
    IntervalScores,
    IntervalTracker,
    IntervalWidths,
    LongerErrors,
    calibrate_intervals,
    crps,
    evenly_spaced_windows,
)
from lstm_ae.formatting import format_heading, format_skill
from lstm_ae.significance import compare_forecasts, hardest

INTERVAL_LEVELS = (80, 95)

# Computing a forecast in another order of operations changes it by up to this many rounding units.
ROUNDING_UNITS = 2

# The autocorrelation of the errors is estimated on at most this many training windows.
MAX_CORRELATION_WINDOWS = 5_000


class ForecastErrors(NamedTuple):
    """The forecast errors of a split in scaled values, by predictor.

    The model "" is first and the naive baseline second.

    Args:
        squared: `(samples,)` mean squared errors over the steps and features with a known true value; NaN for samples
            without one.
        moments: `(samples,)` the time of each forecast. Forecasts of the same time are correlated.
        steps: The steps ahead of the last forecast value, by which consecutive forecasts overlap.
        rounding: `(samples,)` the possible rounding error of the model's squared error.
        absolute: Mean absolute errors like `squared`; empty if they are not measured.
        inside: By level in percent, the share of true values in the interval; empty without intervals.
        by_step: `(horizon,)` mean squared errors of each step ahead; empty if they are not measured.
        by_feature: `(features,)` mean squared errors of each column; empty if they are not measured.
        widths: The widths of the intervals; None without intervals.
    """

    squared: dict[str, Array]
    moments: Array
    steps: int
    rounding: Array
    absolute: dict[str, Array] = {}
    inside: dict[int, float] = {}
    by_step: dict[str, Array] = {}
    by_feature: dict[str, Array] = {}
    widths: IntervalWidths | None = None

    @property
    def naive(self) -> str:
        """Return the name of the baseline that is the reference for skill."""
        return list(self.squared)[1]

    @property
    def known(self) -> BoolArray:
        """Return for each sample whether any true value is known, `(samples,)`."""
        known: BoolArray = ~np.isnan(self.squared[self.naive])
        return known


def judge_forecasts(errors: ForecastErrors, names: Sequence[str] = (), against: str | None = None) -> Verdict:
    """Compare the squared errors of the forecasts with those of a baseline.

    The verdict notes if the forecasts are better only because of one column.

    Args:
        errors: The errors of a split.
        names: The names of the columns; needed if there are several.
        against: The baseline; None for the one with the smallest error.
    """
    known = errors.known
    losses = {name: of[known] for name, of in errors.squared.items()}
    ours = losses.pop("")
    best = against or hardest(losses)
    verdict = compare_forecasts(
        ours, losses[best], errors.moments[known], name=best, steps=errors.steps, rounding=errors.rounding[known]
    )
    if len(errors.by_feature.get("", ())) < 2:
        return verdict
    by_feature = errors.by_feature[""], errors.by_feature[best]
    every = range(len(by_feature[0]))
    others = [_column_skill(*by_feature, [other for other in every if other != place]) for place in every]
    alone = [place for place in every if others[place] <= 0 < verdict.skill]
    if not alone:
        return verdict
    place = max(alone, key=lambda place: _column_skill(*by_feature, [place]))
    return verdict._replace(
        remark=f"but {format_skill(others[place])} without the column {format_heading(names[place])}"
    )


def skill_by_column(
    errors: ForecastErrors, names: Sequence[str], seasons: Sequence[int | None]
) -> dict[str, ColumnSkill]:
    """Return the skill of the forecasts in each column, by name; empty if there is one column."""
    by_feature = errors.by_feature
    ours, naive = by_feature[""], by_feature[errors.naive]
    linear = by_feature.get(LINEAR_NAME, np.full(len(ours), np.nan))
    if len(ours) == 1:
        return {}
    every = np.arange(len(ours))
    return {
        name: ColumnSkill(
            season_name([seasons[place]] if seasons else []),
            _column_skill(ours, naive, [place]),
            float("nan") if np.isnan(linear[place]) else _column_skill(linear, naive, [place]),
            _column_skill(ours, naive, every != place),
        )
        for place, name in enumerate(names[: len(ours)])
    }


def _column_skill(ours: Array, theirs: Array, columns: list[int] | BoolArray) -> float:
    """Return the skill in some columns relative to other forecasts, from mean squared errors `(features,)`."""
    return skill(float(np.nansum(ours[columns])), float(np.nansum(theirs[columns])))


def _metric(values: Mapping[str, float], unit: str = "", *, without: str = "", higher: bool = False) -> Metric:
    """Return the metric of the model "" with the values of the baselines except `without`."""
    baselines = {name: float(value) for name, value in values.items() if name not in ("", without)}
    return Metric(float(values[""]), unit, baselines, higher)


def _skill(errors: Mapping[str, float], naive: str) -> Metric:
    """Return the skill over the naive baseline from the mean squared error of each predictor."""
    gained = {name: skill(error, errors[naive]) for name, error in errors.items()}
    return _metric(gained, without=naive, higher=True)


def _coverage(inside: Mapping[int, float]) -> dict[str, Metric]:
    """Return the coverage of the intervals of each level, with the level as the value to reach."""
    return {f"coverage_{level}": Metric(share, "", {"wanted": level / 100}, True) for level, share in inside.items()}


class _ForecastBatch(NamedTuple):
    """Forecasts of some windows.

    Args:
        past, following: Windows and the rows after them, in the data's units.
        lines: Their lines of the scale table.
        windows: The windows in scaled values.
        future: `(samples, horizon, targets)` the model's forecasts in the data's units.
        predicted: The forecast of each predictor, scaled; the model "" is first.
        resolution: By how much rounding can change the model's scaled forecasts.
    """

    past: Array
    following: Array
    lines: Array | None
    windows: ForecastWindows
    future: Array
    predicted: dict[str, Array]
    resolution: Array


def _forecast_batches(
    method: ForecastMethod, data: Data, split: Split, baselines: Baselines
) -> Iterator[_ForecastBatch]:
    for index in split.batches():
        window, lines = split.windows(index), split.lines(index)
        past, following = window[:, : method.given], window[:, method.given :]
        windows = forecast_windows(data, split, index, method.given)
        future = method.predict(past, lines, following)[..., : data.targets]
        scaled = data.scale.scaled(future, past, lines)
        predicted = {"": scaled} | baselines.predict(windows)
        resolution = _resolution(data.scale, future, scaled, past, lines)
        yield _ForecastBatch(past, following, lines, windows, future, predicted, resolution)


def _resolution(scale: Scale, future: Array, predicted: Array, past: Array, lines: Array | None) -> Array:
    """Return by how much rounding can change scaled forecasts.

    Values are rounded in the data's units, where the level may be far above the variation, as logarithms, and again
    when scaled.

    Args:
        scale: The scale.
        future, predicted: `(samples, steps, features)` forecasts in the data's units and scaled.
        past, lines: Windows in the data's units, and their lines of the scale table.
    """
    next_one = scale.scaled(np.nextafter(future, np.float32(np.inf)), past, lines)
    span = scale.of(past, lines)[1][..., : future.shape[2]]
    units = np.maximum(abs(next_one.astype(np.float64) - predicted), np.spacing(abs(scale.plain(future))) / span)
    resolution: Array = ROUNDING_UNITS * (units + np.spacing(abs(predicted)))
    return resolution


def _squared_resolution(error: Array, resolution: Array) -> Array:
    """Return by how much rounding of the forecasts can change their squared errors."""
    changed: Array = resolution * (2 * abs(error) + resolution)
    return changed


# Tables: several columns, several steps.


def table_errors(
    method: ForecastMethod, data: Data, split: Split, fitted: Baselines, calibration: ErrorQuantiles | None = None
) -> ForecastErrors:
    """Forecast after every window of a split and return the errors.

    Args:
        method: The forecaster.
        data: The data set.
        split: The windows with their futures.
        fitted: The baselines.
        calibration: The calibration of the intervals, whose widths follow the errors of earlier windows; None for no
            intervals.
    """
    pieces: dict[str, list[tuple[Array, Array]]] = {}
    sums: dict[str, Array] = {}
    count = np.zeros((method.ahead, data.targets))
    rounding = []
    tracker = IntervalTracker(calibration, split, method.given) if calibration else None
    for batch in _forecast_batches(method, data, split, fitted):
        truth = batch.windows.truth
        present = ~np.isnan(truth)
        count += present.sum(axis=0)
        for name, predicted in batch.predicted.items():
            error = np.where(present, predicted.astype(np.float64) - truth, np.nan)
            pieces.setdefault(name, []).append((sample_means(np.square(error)), sample_means(abs(error))))
            sums[name] = sums.get(name, 0) + np.nansum(np.square(error), axis=0)
        error = np.where(present, batch.predicted[""].astype(np.float64) - truth, np.nan)
        rounding.append(sample_means(_squared_resolution(error, batch.resolution)))
        if tracker:
            tracker.add(truth - batch.predicted[""], batch.windows.past)
    with np.errstate(invalid="ignore", divide="ignore"):
        by_step = {name: total.sum(axis=1) / count.sum(axis=1) for name, total in sums.items()}
        by_feature = {name: total.sum(axis=0) / count.sum(axis=0) for name, total in sums.items()}
    squared, absolute = (
        {name: np.concatenate([piece[kind] for piece in found]) for name, found in pieces.items()} for kind in (0, 1)
    )
    scores = tracker.score(INTERVAL_LEVELS) if tracker else None
    return ForecastErrors(
        squared,
        split.moments(method.given),
        method.ahead,
        np.concatenate(rounding),
        absolute,
        scores.coverage() if scores else {},
        by_step,
        by_feature,
        scores.widths if scores else None,
    )


def table_metrics(errors: ForecastErrors) -> dict[str, Metric]:
    """Return all metrics of a split, with the values of the baselines.

    - `forecast_mse`, `forecast_mae`: of scaled values, over all steps and columns
    - `skill`: 1 - MSE / MSE of the naive baseline
    - `coverage_80`, `coverage_95`: share of true values in the interval
    """
    squared, absolute = (
        {name: float(np.nanmean(values)) for name, values in group.items()}
        for group in (errors.squared, errors.absolute)
    )
    return {
        "forecast_mse": _metric(squared, "scaled"),
        "forecast_mae": _metric(absolute, "scaled"),
        "skill": _skill(squared, errors.naive),
        **_coverage(errors.inside),
    }


def describe_few_errors(windows: int) -> tuple[str, ...]:
    """Return a note on the intervals whose bounds are beyond all errors of so few validation windows, if there are any.

    Of n errors, the largest is a bound of the central interval of the level (n - 1) / (n + 1).
    """
    few = [f"{level}%" for level in INTERVAL_LEVELS if MIN_ERRORS <= windows < (100 + level) / (100 - level)]
    if not few:
        return ()
    text = (
        f"{' and '.join(few)} intervals rest on {windows} validation windows, and on a normal distribution beyond them"
    )
    return (text,)


def calibrate_table_intervals(method: ForecastMethod, data: Data, fitted: TableBaselines) -> ErrorQuantiles:
    """Calibrate the intervals of a forecaster of tables on the validation split.

    The regression's errors on the training split, which is longer, show slower drifts of the level. The model's own
    training errors do not show them, because it has learned the drifts.
    """
    index = evenly_spaced_windows(data.train, method.given, MAX_CORRELATION_WINDOWS)
    windows = forecast_windows(data, data.train, index, method.given)
    errors = windows.truth - fitted.predict(windows)[LINEAR_NAME]
    # Training windows may have a larger stride than validation windows.
    stride = int(np.median(np.diff(data.train.starts))) if data.train.samples > 1 else 1
    share = data.validation.samples / (data.train.samples * stride)
    longer = LongerErrors(errors, data.train.moments(method.given)[index], share)
    return calibrate_intervals(method, data, longer=longer)


# Prices: one column, with the errors of every day ahead.


class PriceErrors(NamedTuple):
    """The errors of forecasts of prices as arrays `(samples, ahead)`, by predictor where there are several.

    The model "" is first and persistence second. An error is truth minus forecast.

    Args:
        scaled, own, log: The errors of scaled values, in the data's units, and of logarithms. For the latter, a
            forecast below 1% of the last known price is raised to that 1%.
        change: The true change from the last known value, scaled.
        predicted_change: The forecast change, scaled.
        rounding: The possible rounding error of the model's squared scaled error.
        moments: `(samples,)` the last forecast day.
        lines: `(samples,)` lines of the scale table; zeros if there is one scale.
        intervals: The scores of the model's intervals; None without a calibration.
        crps: `(ahead,)` continuous ranked probability score, scaled: of the model, of "persistence" with its own
            intervals, and of the "random walk"; empty without a calibration.
    """

    scaled: dict[str, Array]
    own: dict[str, Array]
    log: dict[str, Array]
    change: Array
    predicted_change: dict[str, Array]
    rounding: Array
    moments: Array
    lines: Array
    intervals: IntervalScores | None = None
    crps: dict[str, Array] = {}

    def at(self, step: int | None = None) -> ForecastErrors:
        """Return the errors of one day ahead, from 1, or of the mean over all days ahead."""
        which = slice(None) if step is None else slice(step - 1, step)
        return ForecastErrors(
            {name: (error[:, which] ** 2).mean(axis=1) for name, error in self.scaled.items()},
            self.moments,
            step or self.change.shape[1],
            self.rounding[:, which].mean(axis=1),
            inside=self.intervals.coverage(step) if self.intervals else {},
        )


def price_errors(
    method: ForecastMethod,
    data: Data,
    split: Split,
    fitted: Baselines | None = None,
    calibration: ErrorQuantiles | None = None,
    levels: Sequence[int] = INTERVAL_LEVELS,
) -> PriceErrors:
    """Forecast every window of a split and return the errors.

    The widths of intervals follow the errors of all companies up to the day of the forecast, whatever the hours of
    their markets.

    Args:
        method: The forecaster.
        data: The data set.
        split: Windows whose span is the days given and ahead.
        fitted: The baselines; None for persistence only.
        calibration: The calibration of the model's intervals; None for no intervals.
        levels: Interval levels in percent.
    """
    calibrations = {"": calibration} if calibration else {}
    if calibration and isinstance(fitted, PriceBaselines) and fitted.persistence.known:
        calibrations["persistence"] = fitted.persistence
    trackers = {name: IntervalTracker(each, split, method.given) for name, each in calibrations.items()}
    pieces, walk = [], np.zeros(method.ahead)
    for batch in _forecast_batches(method, data, split, fitted or TableBaselines((), method.ahead, None)):
        found = _price_batch(batch, data)
        pieces.append(found)
        for name, tracker in trackers.items():
            tracker.add(found.scaled[name][..., None], batch.windows.scaled[:, : method.given])
        if trackers and isinstance(fitted, PriceBaselines):
            walk += crps(fitted.walk, found.change).sum(axis=0) / split.samples
    found = PriceErrors(*(_join(each) for each in zip(*(piece[:8] for piece in pieces), strict=True)))
    scores = {name: tracker.score(() if name else levels) for name, tracker in trackers.items()}
    if not scores:
        return found
    measured = {name: each.crps for name, each in scores.items()}
    if isinstance(fitted, PriceBaselines):
        measured["random walk"] = walk
    return found._replace(intervals=scores[""], crps=measured)


def _join(pieces: Sequence[Any]) -> Any:
    """Return the arrays of batches as one, or one by name."""
    if isinstance(pieces[0], dict):
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return np.concatenate(pieces)


def _price_batch(batch: _ForecastBatch, data: Data) -> PriceErrors:
    """Return the errors of a batch."""
    past, lines, windows = batch.past, batch.lines, batch.windows
    truth, last = batch.following[..., 0].astype(np.float64), windows.past[:, -1:, 0]
    prices: dict[str, Array] = {
        name: data.scale.unscaled(each, past, lines)[..., 0] for name, each in batch.predicted.items()
    }
    # Scaling back and forth would add rounding errors.
    prices |= {"": batch.future[..., 0], "persistence": past[:, -1:, 0] + np.zeros_like(truth)}
    least = past[:, -1:, 0] / 100
    changes = {name: each[..., 0].astype(np.float64) - last for name, each in batch.predicted.items()}
    change = windows.truth[..., 0].astype(np.float64) - last
    scaled = {name: change - each for name, each in changes.items()}
    assert windows.days is not None
    return PriceErrors(
        scaled,
        {name: truth - price for name, price in prices.items()},
        {name: np.log(truth) - np.log(np.maximum(price, least)) for name, price in prices.items()},
        change,
        changes,
        _squared_resolution(scaled[""], batch.resolution[..., 0]),
        windows.days[:, -1],
        np.zeros(len(past), np.int32) if lines is None else lines,
    )


def mean_absolute_change(data: Data) -> Array:
    """Return the mean absolute change between training rows by scale index, `(lines,)`; NaN if there are none."""
    train = data.train
    within = np.diff(train.segment_ids()) == 0
    change = abs(np.diff(train.series[:, 0].astype(np.float64)))[within]
    line = np.zeros(len(train.series), int) if train.line is None else train.line
    count = np.bincount(line[1:][within], minlength=max(len(data.symbols), 1))
    with np.errstate(invalid="ignore"):
        means: Array = np.bincount(line[1:][within], change, minlength=len(count)) / count
    return means


def price_metrics(found: PriceErrors, usual: Array | None, step: int = 1) -> dict[str, Metric]:
    """Return all metrics of one day ahead, with the values of the baselines.

    - `last_day_mse`: scaled; `log_mae`, `log_rmse`: of logarithms, so approximately relative errors; `mae`, `rmse`:
      in USD
    - `mase`: absolute error divided by the company's mean absolute daily change (Hyndman and Koehler 2006)
    - `skill`: 1 - MSE / MSE of persistence, scaled; `theil_u`: square root of MSE / MSE of persistence, of
      logarithms
    - `direction`: share of correct signs among the days where the true and the forecast change are not 0; NaN if the
      forecast change is 0 on at least half of the days with a change, as for persistence
    - `coverage_80` and other levels: share of true values in the interval; omitted if no interval is known
    - `crps`: continuous ranked probability score, scaled, compared with persistence with intervals calibrated in the
      same way, and with the distribution of training changes (random walk)

    Args:
        found: The errors of a split.
        usual: `(lines,)` as returned by `mean_absolute_change`; None omits the MASE.
        step: The day ahead, from 1.
    """
    at, errors = step - 1, found.at(step)
    own, log, changes = (
        {name: values[:, at] for name, values in group.items()}
        for group in (found.own, found.log, found.predicted_change)
    )
    squared = {name: float(np.mean(values)) for name, values in errors.squared.items()}
    log_mse = {name: float(np.mean(values**2)) for name, values in log.items()}
    naive, sign = log_mse[errors.naive], np.sign(found.change[:, at])

    def right(change: Array) -> float:
        theirs = np.sign(change)
        judged = (sign != 0) & (theirs != 0)
        return float(np.mean((theirs == sign)[judged])) if 2 * judged.sum() > (sign != 0).sum() else np.nan

    def metric(of: Callable[[Any], Any], values: Mapping[str, Any], unit: str = "", **options: Any) -> Metric:
        return _metric({name: of(value) for name, value in values.items()}, unit, **options)

    measured = {
        "last_day_mse": _metric(squared, "scaled"),
        "skill": _skill(squared, errors.naive),
        "log_mae": metric(lambda error: np.mean(abs(error)), log, "log"),
        "log_rmse": metric(np.sqrt, log_mse, "log"),
        "mae": metric(lambda error: np.mean(abs(error)), own, "USD"),
        "rmse": metric(lambda error: np.sqrt(np.mean(error**2)), own, "USD"),
        **({} if usual is None else {"mase": metric(lambda error: _finite_mean(abs(error) / usual[found.lines]), own)}),
        "theil_u": metric(lambda mse: np.sqrt(mse / naive) if naive else np.nan, log_mse),
        "direction": metric(right, changes, without=errors.naive, higher=True),
        **_coverage(errors.inside),
    }
    if found.crps:
        measured["crps"] = _metric({name: scores[at] for name, scores in found.crps.items()}, "scaled")
    return measured


def _finite_mean(values: Array) -> float:
    """Return the mean of the finite values; NaN if there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
