"""Errors, metrics, and verdicts of forecasts, for a model and its baselines on the same windows.

The errors are averaged over the steps and columns of each forecast, since one array `(samples, horizon, features)` per
baseline may not fit into memory. Those of a single column are averaged over each step ahead as well, on demand.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import NOMINAL, ColumnSkill, Metric, Verdict, sample_means, skill
from lstm_ae.forecasting.baselines import (
    LINEAR_NAME,
    Baselines,
    ForecastWindows,
    forecast_windows,
    last_known_values,
    mean_known,
    season_name,
)
from lstm_ae.forecasting.intervals import (
    MIN_ERRORS,
    ErrorQuantiles,
    ForecastMethod,
    IntervalTracker,
    IntervalWidths,
    LongerErrors,
    calibrate_intervals,
    evenly_spaced_windows,
)
from lstm_ae.formatting import format_heading, format_skill
from lstm_ae.significance import best_baseline, compare_forecasts

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
        own: Measures in the data's units, for a single column, each like `squared`: "own squared", "own absolute", and
            "direction", the share of steps with the right direction, NaN without a change that has one.
        coverage: By level in percent, the share of true values in the interval; empty without intervals.
        by_step: `(horizon,)` mean squared errors of each step ahead; empty if they are not measured.
        by_feature: `(features,)` mean squared errors of each column; empty if they are not measured.
        widths: The widths of the intervals; None without intervals.
        each_step: The errors of each step ahead, on demand.
    """

    squared: dict[str, Array]
    moments: Array
    steps: int
    rounding: Array
    absolute: dict[str, Array] = {}
    own: dict[str, dict[str, Array]] = {}
    coverage: dict[int, float] = {}
    by_step: dict[str, Array] = {}
    by_feature: dict[str, Array] = {}
    widths: IntervalWidths | None = None
    each_step: "tuple[ForecastErrors, ...]" = ()

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
    losses = {name: squared[known] for name, squared in errors.squared.items()}
    ours = losses.pop("")
    best = against or best_baseline(losses)
    verdict = compare_forecasts(
        ours, losses[best], errors.moments[known], name=best, steps=errors.steps, rounding=errors.rounding[known]
    )
    if len(errors.by_feature.get("", ())) < 2:
        return verdict
    by_feature = errors.by_feature[""], errors.by_feature[best]
    columns = np.arange(len(by_feature[0]))
    without = [_column_skill(*by_feature, columns != column) for column in columns]
    decisive = [column for column in columns.tolist() if without[column] <= 0 < verdict.skill]
    if not decisive:
        return verdict
    best_column = max(decisive, key=lambda column: _column_skill(*by_feature, columns == column))
    return verdict._replace(
        remark=f"but {format_skill(without[best_column])} without the column {format_heading(names[best_column])}"
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
    columns = np.arange(len(ours))
    return {
        name: ColumnSkill(
            season_name([seasons[place]] if seasons else []),
            _column_skill(ours, naive, columns == place),
            float("nan") if np.isnan(linear[place]) else _column_skill(linear, naive, columns == place),
            _column_skill(ours, naive, columns != place),
        )
        for place, name in enumerate(names[: len(ours)])
    }


def _column_skill(ours: Array, theirs: Array, columns: BoolArray) -> float:
    """Return the skill in some columns relative to other forecasts, from mean squared errors `(features,)`."""
    return skill(float(np.nansum(ours[columns])), float(np.nansum(theirs[columns])))


def _metric(values: Mapping[str, float], unit: str = "", *, without: str = "", higher: bool = False) -> Metric:
    """Return the metric of the model "" with the values of the baselines except `without`."""
    baselines = {name: float(value) for name, value in values.items() if name not in ("", without)}
    return Metric(float(values[""]), unit, baselines, higher)


def _skill(errors: Mapping[str, float], naive: str) -> Metric:
    """Return the skill over the naive baseline from the mean squared error of each predictor."""
    skills = {name: skill(error, errors[naive]) for name, error in errors.items()}
    return _metric(skills, without=naive, higher=True)


def _coverage(shares: Mapping[int, float]) -> dict[str, Metric]:
    """Return the coverage of the intervals of each level, with the level as the value to reach."""
    return {f"coverage_{level}": Metric(share, "", {NOMINAL: level / 100}, True) for level, share in shares.items()}


class _ForecastBatch(NamedTuple):
    """Forecasts of some windows.

    Args:
        past: Windows in the data's units.
        lines: Their lines of the scale table.
        windows: The windows in scaled values.
        predicted: The forecast of each predictor, scaled; the model "" is first.
        resolution: The largest change of the model's scaled forecasts by rounding.
    """

    past: Array
    lines: Array | None
    windows: ForecastWindows
    predicted: dict[str, Array]
    resolution: Array


def _forecast_batches(
    method: ForecastMethod, data: Data, split: Split, baselines: Baselines
) -> Iterator[_ForecastBatch]:
    for index in split.batches():
        past, lines, following = method.inputs(split, index)
        windows = forecast_windows(data, split, index, method.steps)
        future = method.predict(past, lines, following)[..., : data.targets]
        scaled = data.scale.scaled(future, past, lines)
        predicted = {"": scaled} | baselines.predict(windows)
        yield _ForecastBatch(past, lines, windows, predicted, _resolution(data.scale, future, scaled, past, lines))


def _resolution(scale: Scale, future: Array, predicted: Array, past: Array, lines: Array | None) -> Array:
    """Return the largest change of scaled forecasts by rounding.

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
    """Return the largest change of squared errors by rounding of the forecasts."""
    changed: Array = resolution * (2 * abs(error) + resolution)
    return changed


class _ErrorCollector:
    """Mean errors of some steps ahead, collected batch by batch.

    Args:
        scale: The scale.
        steps: The steps.
        in_own_units: Measure the errors in the data's units too.
    """

    def __init__(self, scale: Scale, steps: slice, *, in_own_units: bool) -> None:
        self.scale, self.steps, self.in_own_units = scale, steps, in_own_units
        self.pieces: dict[str, dict[str, list[Array]]] = {}
        self.rounding: list[Array] = []
        self.sums: dict[str, Array] = {}
        self.count: Array | int = 0

    def add(self, batch: _ForecastBatch) -> None:
        """Add the errors of a batch."""
        truth = batch.windows.truth[:, self.steps]
        self.count = self.count + (~np.isnan(truth)).sum(axis=0)
        for name, forecast in batch.predicted.items():
            predicted = forecast[:, self.steps]
            error = predicted.astype(np.float64) - truth
            measures = {"squared": np.square(error), "absolute": abs(error)}
            self.sums[name] = self.sums.get(name, 0) + np.nansum(measures["squared"], axis=0)
            if self.in_own_units:
                measures |= self._measure_in_own_units(batch, truth, predicted)
            for measure, values in measures.items():
                self.pieces.setdefault(measure, {}).setdefault(name, []).append(sample_means(values))
            if not name:
                changed = _squared_resolution(error, batch.resolution[:, self.steps])
                self.rounding.append(sample_means(changed))

    def _measure_in_own_units(self, batch: _ForecastBatch, truth: Array, predicted: Array) -> dict[str, Array]:
        actual, forecast = (self.scale.unscaled(each, batch.past, batch.lines) for each in (truth, predicted))
        error, last = actual.astype(np.float64) - forecast, last_known_values(batch.windows.past)
        change = predicted - last
        # A change within the rounding errors has no direction.
        sign, predicted_sign = np.sign(truth - last), np.sign(change) * (abs(change) > batch.resolution[:, self.steps])
        correct = np.where((sign != 0) & (predicted_sign != 0), sign == predicted_sign, np.nan)
        return {"own squared": np.square(error), "own absolute": abs(error), "direction": correct}

    def errors(self, moments: Array, steps: int, coverage: Mapping[int, float]) -> ForecastErrors:
        """Return the errors of forecasts of these moments and steps ahead, with the coverage of their intervals."""
        measures = {
            measure: {name: np.concatenate(pieces) for name, pieces in by_name.items()}
            for measure, by_name in self.pieces.items()
        }
        with np.errstate(invalid="ignore", divide="ignore"):
            by_step, by_feature = (
                {name: total.sum(axis=axis) / np.sum(self.count, axis=axis) for name, total in self.sums.items()}
                for axis in (1, 0)
            )
        squared, absolute = measures.pop("squared"), measures.pop("absolute")
        rounding = np.concatenate(self.rounding)
        return ForecastErrors(
            squared, moments, steps, rounding, absolute, measures, dict(coverage), by_step, by_feature
        )


def forecast_errors(
    method: ForecastMethod,
    data: Data,
    split: Split,
    fitted: Baselines,
    calibration: ErrorQuantiles | None = None,
    levels: Sequence[int] = INTERVAL_LEVELS,
    *,
    in_own_units: bool = False,
    each_step: bool = False,
) -> ForecastErrors:
    """Forecast after every window of a split and return the errors.

    Args:
        method: The forecaster.
        data: The data set.
        split: The windows with their futures.
        fitted: The baselines.
        calibration: The calibration of the intervals, whose widths follow the errors of earlier windows; None for no
            intervals.
        levels: Interval levels in percent.
        in_own_units: Measure the errors in the data's units too, for a single column.
        each_step: Return the errors of each step ahead too.
    """
    whole, *singles = (
        _ErrorCollector(data.scale, steps, in_own_units=in_own_units)
        for steps in (slice(None), *(slice(step, step + 1) for step in range(method.horizon if each_step else 0)))
    )
    tracker = IntervalTracker(calibration, split, method.steps) if calibration else None
    for batch in _forecast_batches(method, data, split, fitted):
        for collector in (whole, *singles):
            collector.add(batch)
        if tracker:
            tracker.add(batch.windows.truth - batch.predicted[""], batch.windows.past)
    moments, scores = split.moments(method.steps), tracker.score(levels) if tracker else None
    return whole.errors(moments, method.horizon, scores.coverage() if scores else {})._replace(
        widths=scores.widths if scores else None,
        each_step=tuple(
            collector.errors(moments, step, scores.coverage(step) if scores else {})
            for step, collector in enumerate(singles, 1)
        ),
    )


def measure_forecasts(errors: ForecastErrors) -> dict[str, Metric]:
    """Return all metrics of a split, with the values of the baselines.

    - `forecast_mse`, `forecast_mae`: of scaled values, over all steps and columns
    - `skill`: 1 - MSE / MSE of the naive baseline
    - `mae`, `rmse`: of prices, in USD, in place of `forecast_mae`
    - `direction`: of prices, share of the right directions among the steps whose true and forecast changes are not 0
    - `coverage_80` and other levels: share of true values in the interval
    """

    def means(values: Mapping[str, Array]) -> dict[str, float]:
        return {name: mean_known(each) for name, each in values.items()}

    squared, own = means(errors.squared), {name: means(values) for name, values in errors.own.items()}
    metrics = {"forecast_mse": _metric(squared, "scaled")}
    if not own:
        metrics["forecast_mae"] = _metric(means(errors.absolute), "scaled")
    metrics["skill"] = _skill(squared, errors.naive)
    if own:
        roots = {name: value**0.5 for name, value in own["own squared"].items()}
        metrics["mae"], metrics["rmse"] = _metric(own["own absolute"], "USD"), _metric(roots, "USD")
        metrics["direction"] = _metric(own["direction"], without=errors.naive, higher=True)
    return metrics | _coverage(errors.coverage)


def describe_few_errors(windows: int) -> tuple[str, ...]:
    """Return a note on the intervals whose bounds are beyond all errors of this number of validation windows, if any.

    Of n errors, the largest is a bound of the central interval of the level (n - 1) / (n + 1).
    """
    levels = [f"{level}%" for level in INTERVAL_LEVELS if MIN_ERRORS <= windows < (100 + level) / (100 - level)]
    if not levels:
        return ()
    reason = f"there are only {windows} validation windows"
    return (f"{' and '.join(levels)} intervals assume a normal distribution beyond the largest errors: {reason}",)


def calibrate_table_intervals(method: ForecastMethod, data: Data, fitted: Baselines) -> ErrorQuantiles:
    """Calibrate the intervals of a forecaster of tables on the validation split.

    The errors of the regression on the training split, which is longer, show slower drifts of the level. The training
    errors of the model do not, because the model has learned the drifts.
    """
    index = evenly_spaced_windows(data.train, method.steps, MAX_CORRELATION_WINDOWS)
    windows = forecast_windows(data, data.train, index, method.steps)
    errors = windows.truth - fitted.predict(windows)[LINEAR_NAME]
    # Training windows may have a larger stride than validation windows.
    stride = int(np.median(np.diff(data.train.starts))) if data.train.samples > 1 else 1
    share = data.validation.samples / (data.train.samples * stride)
    longer = LongerErrors(errors, data.train.moments(method.steps)[index], share)
    return calibrate_intervals(method, data, longer=longer)
