"""Errors, metrics, and verdicts of forecasts, for a model and its baselines on the same windows.

Two functions collect the errors. `table_errors` averages them over the steps and columns of each forecast, since one
array `(samples, horizon, features)` per baseline may not fit into memory. `price_errors` forecasts one column, so it
keeps every day ahead, in scaled values, USD, and logarithms. Both return what `judge_forecasts` compares.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Data, Split, evenly_spaced
from lstm_ae.evaluation import ColumnSkill, Metric, Verdict, sample_means, skill
from lstm_ae.forecasting.baselines import (
    LINEAR_NAME,
    PriceBaselines,
    TableBaselines,
    divide_windows,
    known_prices,
    season_name,
)
from lstm_ae.forecasting.intervals import (
    MIN_ERRORS,
    Calibration,
    ForecastMethod,
    IntervalWidths,
    adaptation_spacing,
    crps,
    error_quantiles,
    forecast_moments,
    interval_hits,
    interval_offsets,
    interval_scores,
    recent_volatility,
    select_moments,
    track_widths,
)
from lstm_ae.formatting import format_heading, format_skill
from lstm_ae.models.network import Network
from lstm_ae.significance import compare_forecasts, hardest

INTERVAL_LEVELS = (80, 95)

# The number of errors is limited to save memory, but long horizons must not leave too few windows for the quantiles.
MAX_INTERVAL_WINDOWS, MAX_INTERVAL_NUMBERS, MIN_INTERVAL_WINDOWS = 20_000, 20_000_000, 2_000

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


# Tables: several columns, several steps.


def past_steps(model: Network) -> int:
    """Return the number of steps that a forecaster reads."""
    return int(model.inputs["past"][1] or 0)


class _ForecastBatch(NamedTuple):
    """True values of forecasts, the forecast of each predictor, and the resolution of the model's forecast, scaled."""

    truth: Array
    predicted: dict[str, Array]
    resolution: Array


def _forecast_batches(
    model: Network, data: Data, split: Split, fitted: TableBaselines | None
) -> Iterator[_ForecastBatch]:
    from lstm_ae.models.inference import predict_split

    steps = past_steps(model)
    for batch in predict_split(model, split, steps=steps):
        given = batch.window[:, :steps], batch.lines
        scaled = data.scale.scaled(batch.window, *given)
        future = batch.outputs["future"]
        predicted = data.scale.scaled(future, *given)
        past, known, truth = divide_windows(scaled, steps, data.covariates)
        baselines = fitted.predict(past, known) if fitted else {}
        resolution = _resolution(data.scale, future, predicted, *given)
        yield _ForecastBatch(truth, {"": predicted} | baselines, resolution)


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


def table_errors(
    model: Network, data: Data, split: Split, fitted: TableBaselines, quantiles: Array | None = None
) -> ForecastErrors:
    """Forecast after every window of a split and return the errors.

    Args:
        model: The model.
        data: The data set.
        split: The windows with their futures.
        fitted: The baselines.
        quantiles: `(features, horizon, 199)` error quantiles for the intervals, whose widths follow the errors of
            earlier windows; None for no intervals.
    """
    horizon, features = split.span - past_steps(model), data.targets
    pieces: dict[str, list[tuple[Array, Array]]] = {}
    sums: dict[str, Array] = {}
    count = np.zeros((horizon, features))
    rounding = []
    intervals = None if quantiles is None else _TableIntervals(quantiles, split, past_steps(model))
    for batch in _forecast_batches(model, data, split, fitted):
        there = ~np.isnan(batch.truth)
        count += there.sum(axis=0)
        for name, predicted in batch.predicted.items():
            error = np.where(there, predicted.astype(np.float64) - batch.truth, np.nan)
            pieces.setdefault(name, []).append((sample_means(np.square(error)), sample_means(abs(error))))
            sums[name] = sums.get(name, 0) + np.nansum(np.square(error), axis=0)
        error = np.where(there, batch.predicted[""].astype(np.float64) - batch.truth, np.nan)
        rounding.append(sample_means(_squared_resolution(error, batch.resolution)))
        if intervals:
            intervals.add(batch.truth - batch.predicted[""])
    with np.errstate(invalid="ignore", divide="ignore"):
        by_step = {name: total.sum(axis=1) / count.sum(axis=1) for name, total in sums.items()}
        by_feature = {name: total.sum(axis=0) / count.sum(axis=0) for name, total in sums.items()}
    squared, absolute = (
        {name: np.concatenate([piece[kind] for piece in found]) for name, found in pieces.items()} for kind in (0, 1)
    )
    widths = intervals.widths() if intervals else None
    return ForecastErrors(
        squared,
        split.moments(past_steps(model)),
        horizon,
        np.concatenate(rounding),
        absolute,
        intervals.coverage(widths) if intervals and widths else {},
        by_step,
        by_feature,
        widths,
    )


class _TableIntervals:
    """Intervals of the windows of a split with their true values, batch by batch.

    Errors are stored for the windows that the widths follow, and for those on which the coverage is measured.

    Args:
        quantiles: `(features, horizon, 199)` error quantiles.
        split: The windows. Widths begin again after a gap, that is, with each segment.
        steps: Input steps of a window.
    """

    def __init__(self, quantiles: Array, split: Split, steps: int) -> None:
        self.quantiles, self.split, self.steps = quantiles.swapaxes(0, 1), split, steps
        horizon, features, _ = self.quantiles.shape
        # More steps than usual if there would be too many errors.
        values = split.samples * horizon * features
        self.spacing = max(adaptation_spacing(horizon), -(-values // MAX_INTERVAL_NUMBERS))
        self.tracked = select_moments(*forecast_moments(split, steps), self.spacing)
        self.judged = np.zeros(split.samples, bool)
        self.judged[_evenly_spaced(split, steps, MAX_INTERVAL_WINDOWS)] = True
        self.stored = self.tracked | self.judged
        self.errors: list[Array] = []
        self.seen = 0

    def add(self, errors: Array) -> None:
        """Add the errors of the next windows, `(samples, horizon, features)` truth minus forecast, scaled."""
        self.errors.append(errors[self.stored[self.seen : self.seen + len(errors)]])
        self.seen += len(errors)

    def widths(self) -> IntervalWidths:
        """Return the widths at all moments, see `track_widths`."""
        return track_widths(*self._select(self.tracked), self.quantiles, self.spacing)

    def coverage(self, widths: IntervalWidths) -> dict[int, float]:
        """Return the share of true values in the intervals by level; without the levels of which no interval is known.

        Args:
            widths: As `widths` returns them.
        """
        split, _, errors = self._select(self.judged)
        hits, known = np.zeros((2, len(INTERVAL_LEVELS)))
        for batch in split.batches():
            part = widths.at(*forecast_moments(split._replace(starts=split.starts[batch]), self.steps))
            for place, level in enumerate(INTERVAL_LEVELS):
                inside = interval_hits(errors[batch], *interval_offsets(self.quantiles, part, level))
                hits[place] += np.nansum(inside)
                known[place] += (~np.isnan(inside)).sum()
        return {level: float(hit / of) for level, hit, of in zip(INTERVAL_LEVELS, hits, known, strict=True) if of}

    def _select(self, windows: BoolArray) -> tuple[Split, int, Array]:
        """Return some of the stored windows, their input steps, and their errors."""
        starts, errors = self.split.starts[windows], np.concatenate(self.errors)[windows[self.stored]]
        return self.split._replace(starts=starts), self.steps, errors


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


def calibrate_table_intervals(model: Network, data: Data, fitted: TableBaselines) -> Array:
    """Return the quantiles of the scaled validation errors by column and step ahead, `(features, horizon, 199)`
    float32; infinite if too few true values are known.

    The regression's errors on the training split, which is longer, show slower drifts of the level. The model's own
    training errors do not show them, because it has learned the drifts.
    """
    steps, split = past_steps(model), data.validation
    index = _evenly_spaced(split, steps, MAX_INTERVAL_WINDOWS)
    some = split._replace(starts=split.starts[index])
    errors = np.concatenate([batch.truth - batch.predicted[""] for batch in _forecast_batches(model, data, some, None)])
    before = _evenly_spaced(data.train, steps, MAX_CORRELATION_WINDOWS)
    windows = data.train.windows(before)
    windows = data.scale.scaled(windows, windows[:, :steps], data.train.lines(before))
    past, known, truth = divide_windows(windows, steps, data.covariates)
    linear = truth - fitted.predict(past, known)[LINEAR_NAME]
    # Training windows may have a larger stride than validation windows.
    stride = int(np.median(np.diff(data.train.starts))) if data.train.samples > 1 else 1
    share = split.samples / (data.train.samples * stride)
    moments, times = split.moments(steps)[index], data.train.moments(steps)[before]
    return error_quantiles(errors, moments, linear, times, share)


def _evenly_spaced(split: Split, steps: int, most: int) -> Int64Array:
    """Return the indices of evenly spaced windows of a split, fewer if they are large."""
    most = min(most, max(MAX_INTERVAL_NUMBERS // ((split.span - steps) * split.features), MIN_INTERVAL_WINDOWS))
    return evenly_spaced(split.samples, most)


# Prices: one column, with the errors of every day ahead.


class PriceIntervals(NamedTuple):
    """The intervals of forecasts of prices.

    Args:
        widths: The widths at all moments.
        inside: By level in percent, 1 where the truth is in the interval, 0 where it is not, and NaN where too few
            errors determine a bound, `(samples, ahead)`.
        crps: The continuous ranked probability score, scaled, `(samples, ahead)`: of the model, of "persistence" with
            its own intervals, and of the "random walk".
    """

    widths: IntervalWidths
    inside: dict[int, Array]
    crps: dict[str, Array]


class PriceErrors(NamedTuple):
    """The forecasts of prices and their errors, as arrays `(samples, ahead)`, by predictor where there are several.

    The model is "".

    Args:
        truth: The actual prices.
        prices: The forecast prices; those of "persistence" are the last known ones.
        change: The true change from the last known value, scaled.
        predicted_change: The forecast change, scaled.
        resolution: By how much rounding can change the scaled forecasts of the model.
        moments: `(samples,)` the last forecast day.
        lines: `(samples,)` lines of the scale table; zeros if there is one scale.
        volatility: `(samples,)`, see `recent_volatility`.
        intervals: The intervals of the forecasts; None without a calibration.
    """

    truth: Array
    prices: dict[str, Array]
    change: Array
    predicted_change: dict[str, Array]
    resolution: Array
    moments: Array
    lines: Array
    volatility: Array
    intervals: PriceIntervals | None = None

    @property
    def scaled(self) -> dict[str, Array]:
        """Truth minus forecast, scaled."""
        return {name: self.change - change for name, change in self.predicted_change.items()}

    @property
    def own(self) -> dict[str, Array]:
        """Truth minus forecast, in the data's units."""
        return {name: self.truth - price for name, price in self.prices.items()}

    @property
    def log(self) -> dict[str, Array]:
        """Truth minus forecast of logarithms; a forecast below 1% of the last known price is raised to that 1%."""
        least = self.prices["persistence"] / 100
        return {name: np.log(self.truth) - np.log(np.maximum(price, least)) for name, price in self.prices.items()}

    def at(self, step: int | None = None) -> ForecastErrors:
        """Return the errors of one day ahead, from 1, or of the mean over all days ahead."""
        which = slice(None) if step is None else slice(step - 1, step)
        inside = {} if self.intervals is None else self.intervals.inside
        inside, scaled = {level: values[:, which] for level, values in inside.items()}, self.scaled
        return ForecastErrors(
            {name: (error[:, which] ** 2).mean(axis=1) for name, error in scaled.items()},
            self.moments,
            step or self.change.shape[1],
            _squared_resolution(scaled[""], self.resolution)[:, which].mean(axis=1),
            inside={level: _finite_mean(values) for level, values in inside.items() if not np.isnan(values).all()},
        )


def price_errors(
    method: ForecastMethod,
    data: Data,
    split: Split,
    fitted: PriceBaselines | None = None,
    calibration: Calibration | None = None,
    levels: Sequence[int] = INTERVAL_LEVELS,
) -> PriceErrors:
    """Forecast every window of a split and return the errors.

    The widths of intervals follow the errors of all companies up to the day of the forecast, whatever the hours of
    their markets.

    Args:
        method: The forecasting function of the model.
        data: The data set.
        split: Windows whose span is the days given and ahead.
        fitted: The baselines; None for persistence only.
        calibration: The calibration of the model's intervals; None for no intervals.
        levels: Interval levels in percent.
    """
    batches = [_price_batch(method, data, split, index, fitted) for index in split.batches()]
    found = PriceErrors(*(_join(pieces) for pieces in zip(*(batch[:-1] for batch in batches), strict=True)))
    if calibration is None:
        return found
    moments, spacing = forecast_moments(split, method.given, pooled=True), adaptation_spacing(method.ahead)
    tracked = select_moments(*moments, spacing)
    hits, crps_by_name, widths = {}, {}, {}
    calibrations = {"": calibration}
    if fitted and fitted.calibration:
        calibrations["persistence"] = fitted.calibration
    for name, each in calibrations.items():
        size, quantiles = each.sizes(found.volatility), each.ahead(method.ahead)
        errors = found.scaled[name][..., None] / size
        widths[name] = track_widths(
            split.select(tracked), method.given, errors[tracked], quantiles, spacing, pooled=True
        )
        own = widths[name].at(*moments)
        crps_by_name[name] = (size * interval_scores(quantiles, own, errors))[..., 0]
        if not name:
            offsets = {level: interval_offsets(quantiles, own, level) for level in levels}
            hits = {level: interval_hits(errors, *ends)[..., 0] for level, ends in offsets.items()}
    if fitted:
        pieces = [crps(fitted.walk, found.change[index]) for index in split.batches()]
        crps_by_name["random walk"] = np.concatenate(pieces)
    return found._replace(intervals=PriceIntervals(widths[""], hits, crps_by_name))


def _join(pieces: Sequence[Any]) -> Any:
    """Return the arrays of batches as one, or one by name."""
    if isinstance(pieces[0], dict):
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return np.concatenate(pieces)


def _price_batch(
    method: ForecastMethod, data: Data, split: Split, index: slice, fitted: PriceBaselines | None
) -> PriceErrors:
    """Return the forecasts of some windows and their errors, see `price_errors`."""
    window, lines = split.windows(index), split.lines(index)
    past, truth = window[:, : method.given], window[:, method.given :, 0].astype(np.float64)
    known = known_prices(data, split, index, method.given)
    predicted = method.predict(past, lines, window[:, method.given :])[..., :1]
    scaled, last = data.scale.scaled(predicted, past, lines), known.past[:, -1:, 0]
    changes: dict[str, Array] = {"": scaled[..., 0] - last, "persistence": np.zeros(known.days.shape)}
    changes |= fitted.predict(known) if fitted else {}
    prices: dict[str, Array] = {
        name: data.scale.unscaled((last + change)[..., None], past, lines)[..., 0] for name, change in changes.items()
    }
    # Scaling back and forth would add rounding errors.
    prices |= {"": predicted[..., 0], "persistence": past[:, -1:, 0] + np.zeros_like(truth)}
    return PriceErrors(
        truth,
        prices,
        known.change,
        {name: change.astype(np.float64) for name, change in changes.items()},
        _resolution(data.scale, predicted, scaled, past, lines)[..., 0],
        known.days[:, -1],
        np.zeros(len(window), np.int32) if lines is None else lines,
        recent_volatility(data.scale.scaled(past, past, lines)),
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
    if found.intervals:
        measured["crps"] = metric(lambda scores: np.mean(scores[:, at]), found.intervals.crps, "scaled")
    return measured


def _finite_mean(values: Array) -> float:
    """Return the mean of the finite values; NaN if there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
