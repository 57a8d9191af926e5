"""Errors and metrics of table forecasts, for the model and its baselines on the same windows."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, Int64Array
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Data, Split, evenly_spaced
from lstm_ae.evaluation import ColumnSkill, Metric, Verdict, sample_means, skill
from lstm_ae.forecasting.intervals import effective_sample_size, interval_bounds, predictive_quantiles
from lstm_ae.forecasting.table_baselines import LINEAR_NAME, TableBaselines, season_name
from lstm_ae.formatting import format_heading, format_skill
from lstm_ae.significance import compare_forecasts, hardest

INTERVAL_LEVELS = (80, 95)

# The number of errors is limited to save memory, but long horizons must not leave too few windows for the quantiles.
MAX_INTERVAL_WINDOWS, MAX_INTERVAL_NUMBERS, MIN_INTERVAL_WINDOWS = 20_000, 20_000_000, 2_000

# Computing a forecast in another order of operations changes it by up to this many rounding units.
ROUNDING_UNITS = 2

# The autocorrelation of the errors is estimated on at most this many training windows.
MAX_CORRELATION_WINDOWS = 5_000


class TableErrors(NamedTuple):
    """The forecast errors of a split, in scaled values.

    Args:
        squared, absolute: By predictor, `(samples,)` means over the steps and features with a known true value. The
            model "" is first and the naive baseline second.
        by_step: By predictor, `(horizon,)` mean squared errors of each step ahead.
        by_feature: By predictor, `(features,)` mean squared errors of each column.
        inside: By level in percent, the share of true values in the interval; empty without intervals.
        moments: `(samples,)` the time of each forecast, rounded down to the sampling interval: nanoseconds since
            1970, or row numbers without times.
        rounding: `(samples,)` the possible rounding error of the model's squared error, a mean as in `squared`.
    """

    squared: dict[str, Array]
    absolute: dict[str, Array]
    by_step: dict[str, Array]
    by_feature: dict[str, Array]
    inside: dict[int, float]
    moments: Array
    rounding: Array

    @property
    def naive(self) -> str:
        """Return the name of the baseline that is the reference for skill."""
        return list(self.squared)[1]


def past_steps(model: Any) -> int:
    """Return the number of steps that a forecaster reads."""
    return int(model.input["past"].shape[1])


class _ForecastBatch(NamedTuple):
    """Windows with their true future, the forecast of each predictor, and the resolution of the model's forecast,
    scaled.
    """

    past: Array
    truth: Array
    said: dict[str, Array]
    resolution: Array


def _forecast_batches(model: Any, data: Data, split: Split, fitted: TableBaselines | None) -> Iterator[_ForecastBatch]:
    from lstm_ae.models.inference import predict_split

    steps = past_steps(model)
    for batch in predict_split(model, split, steps=steps):
        given = batch.window[:, :steps], batch.company
        scaled = data.scale.scaled(batch.window, *given)
        future = batch.outputs["future"]
        said = data.scale.scaled(future, *given)
        # Values are rounded in the data's units, where the level may be far above the variation, and again when
        # scaled.
        next_one = data.scale.scaled(np.nextafter(future, np.float32(np.inf)), *given)
        resolution = ROUNDING_UNITS * (abs(next_one.astype(np.float64) - said) + np.spacing(abs(said)))
        past = scaled[:, :steps]
        yield _ForecastBatch(past, scaled[:, steps:], {"": said} | (fitted.said(past) if fitted else {}), resolution)


def table_errors(
    model: Any, data: Data, split: Split, fitted: TableBaselines, spread: Array | None = None
) -> TableErrors:
    """Forecast after every window of a split and return the errors.

    Args:
        model: The Keras model.
        data: The data set.
        split: The windows with their futures.
        fitted: The baselines.
        spread: `(features, horizon, 199)` error quantiles for the intervals; None for no intervals.
    """
    horizon, features = split.span - past_steps(model), split.features
    pieces: dict[str, list[tuple[Array, Array]]] = {}
    sums: dict[str, Array] = {}
    count = np.zeros((horizon, features))
    hits, judged = np.zeros(len(INTERVAL_LEVELS)), np.zeros(len(INTERVAL_LEVELS))
    rounding = []
    for batch in _forecast_batches(model, data, split, fitted):
        there = ~np.isnan(batch.truth)
        count += there.sum(axis=0)
        for name, said in batch.said.items():
            error = np.where(there, said.astype(np.float64) - batch.truth, np.nan)
            pieces.setdefault(name, []).append((sample_means(np.square(error)), sample_means(abs(error))))
            sums[name] = sums.get(name, 0) + np.nansum(np.square(error), axis=0)
        error = np.where(there, batch.said[""].astype(np.float64) - batch.truth, np.nan)
        rounding.append(sample_means(batch.resolution * (2 * abs(error) + batch.resolution)))
        if spread is not None:
            error = batch.truth - batch.said[""]
            for place, level in enumerate(INTERVAL_LEVELS):
                low, high = (spread[..., at].T for at in interval_bounds(level))
                # A bound is infinite where too few errors determine it, so it cannot be evaluated.
                known = np.isfinite(error) & np.isfinite(low) & np.isfinite(high)
                hits[place] += ((error >= low) & (error <= high) & known).sum()
                judged[place] += known.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        by_step = {name: total.sum(axis=1) / count.sum(axis=1) for name, total in sums.items()}
        by_feature = {name: total.sum(axis=0) / count.sum(axis=0) for name, total in sums.items()}
    squared, absolute = (
        {name: np.concatenate([piece[kind] for piece in found]) for name, found in pieces.items()} for kind in (0, 1)
    )
    shares = zip(INTERVAL_LEVELS, hits, judged, strict=True)
    inside = {} if spread is None else {level: float(hit / of) for level, hit, of in shares if of}
    moments = _forecast_moments(split, past_steps(model))
    return TableErrors(squared, absolute, by_step, by_feature, inside, moments, np.concatenate(rounding))


def _forecast_moments(split: Split, steps: int) -> Array:
    """Return the time of each forecast, rounded down to the sampling interval, `(samples,)`.

    Forecasts of two series within the same interval thus share a time.
    """
    made = split.starts + steps - 1
    if split.time is None or not split.samples:
        return made
    time = split.time.astype(np.int64)
    moments = time[made]
    step = max(int((time[made + 1] - moments).min()), 1)
    rounded: Array = moments - (moments - moments.min()) % step
    return rounded


def table_metrics(found: TableErrors) -> dict[str, Metric]:
    """Return all metrics of a split, with the values of the baselines.

    - `forecast_mse`, `forecast_mae`: of scaled values, over all steps and columns
    - `skill`: 1 - MSE / MSE of the naive baseline
    - `coverage_80`, `coverage_95`: share of true values in the interval
    """
    squared, absolute = (
        {name: float(np.nanmean(values)) for name, values in group.items()} for group in (found.squared, found.absolute)
    )
    naive = squared[found.naive]
    gained = {name: skill(value, naive) for name, value in squared.items() if name != found.naive}
    measured = {
        "forecast_mse": Metric(squared.pop(""), "scaled", squared),
        "forecast_mae": Metric(absolute.pop(""), "scaled", absolute),
        "skill": Metric(gained.pop(""), "", gained, True),
    }
    for level, share in found.inside.items():
        measured[f"coverage_{level}"] = Metric(share, "", {"wanted": level / 100}, True)
    return measured


def skill_by_column(found: TableErrors, names: Sequence[str], seasons: Sequence[int | None]) -> dict[str, ColumnSkill]:
    """Return the skill of the forecasts in each column, by name; empty if there is one column."""
    errors = found.by_feature
    ours, naive = errors[""], errors[found.naive]
    linear = errors.get(LINEAR_NAME, np.full(len(ours), np.nan))
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


def _column_skill(ours: Array, theirs: Array, columns: Any) -> float:
    """Return the skill in some columns relative to other forecasts, from mean squared errors `(features,)`."""
    return skill(float(np.nansum(ours[columns])), float(np.nansum(theirs[columns])))


def judge_table(found: TableErrors, names: Sequence[str]) -> Verdict:
    """Compare the squared errors of the forecasts with those of the best baseline.

    The verdict notes if the forecasts are better only because of one column.

    Args:
        found: The errors of a split.
        names: The names of the columns.
    """
    there = ~np.isnan(found.squared[""])
    losses = {name: of[there] for name, of in found.squared.items()}
    ours = losses.pop("")
    best = hardest(losses)
    judged = compare_forecasts(
        ours,
        losses[best],
        found.moments[there],
        name=best,
        steps=len(found.by_step[""]),
        rounding=found.rounding[there],
    )
    by_feature = found.by_feature[""], found.by_feature[best]
    every = np.arange(len(by_feature[0]))
    others = [_column_skill(*by_feature, every != place) for place in every]
    alone = [place for place in range(len(every)) if len(every) > 1 and others[place] <= 0 < judged.skill]
    if not alone:
        return judged
    place = max(alone, key=lambda place: _column_skill(*by_feature, [place]))
    return judged._replace(
        remark=f"but {format_skill(others[place])} without the column {format_heading(names[place])}"
    )


def error_quantiles(model: Any, data: Data, fitted: TableBaselines) -> Array:
    """Return the quantiles of the scaled validation errors by column and step ahead, `(features, horizon, 199)`
    float32.

    The effective number of errors is the smaller of two estimates: from the validation errors, and from the
    regression's errors on the training split, which is longer and so shows slower drifts of the level. The model's
    own training errors do not show them, because it has learned the drifts.

    A quantile is infinite if too few true values are known.
    """
    steps, split = past_steps(model), data.validation
    index = _evenly_spaced(split, steps, MAX_INTERVAL_WINDOWS)
    some = split._replace(starts=split.starts[index])
    errors = np.concatenate([batch.truth - batch.said[""] for batch in _forecast_batches(model, data, some, None)])
    before = _evenly_spaced(data.train, steps, MAX_CORRELATION_WINDOWS)
    windows = data.train.windows(before)
    windows = data.scale.scaled(windows, windows[:, :steps], data.train.companies(before))
    linear = windows[:, steps:] - fitted.said(windows[:, :steps])[LINEAR_NAME]
    # Training windows may have a larger stride than validation windows.
    stride = int(np.median(np.diff(data.train.starts))) if data.train.samples > 1 else 1
    share = split.samples / (data.train.samples * stride)
    moments, times = _forecast_moments(split, steps)[index], _forecast_moments(data.train, steps)[before]
    found = []
    for feature in range(errors.shape[2]):
        own = effective_sample_size(errors[..., feature], moments)
        longer = share * effective_sample_size(linear[..., feature], times)
        found.append(predictive_quantiles(errors[..., feature], np.maximum(np.minimum(own, longer), 1)))
    return np.array(found, np.float32)


def _evenly_spaced(split: Split, steps: int, most: int) -> Int64Array:
    """Return the indices of evenly spaced windows of a split, fewer if they are large."""
    most = min(most, max(MAX_INTERVAL_NUMBERS // ((split.span - steps) * split.features), MIN_INTERVAL_WINDOWS))
    return evenly_spaced(split.samples, most)


def prediction_intervals(
    scale: Scale, said: Array, past: Array, spread: Array, level: int, lines: NDArray[np.int32] | None = None
) -> tuple[Array, Array]:
    """Return the lower and upper bounds of the intervals around forecasts, in the data's units.

    The bounds are NaN beyond the horizon of `spread` and where there were too few errors.

    Args:
        scale: The scale of the values.
        said: `(samples, steps, features)` scaled forecasts.
        past: `(samples, window, features)` windows in the data's units that the forecasts follow.
        spread: `(features, horizon, 199)` scaled error quantiles.
        level: Interval level in percent.
        lines: `(samples,)` scale indices if each series has its own scale.
    """
    ends = []
    for at in interval_bounds(level):
        reach = np.full(said.shape[1:], np.nan, np.float32)
        known = min(said.shape[1], spread.shape[1])
        reach[:known] = np.where(np.isfinite(spread[:, :known, at]), spread[:, :known, at], np.nan).T
        ends.append(scale.unscaled(said + reach, past, lines))
    low, high = ends
    return low, high
