"""Errors of forecasts of anyone's own table: of the model, and of its baselines on the same windows."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import ColumnSkill, Metric, Verdict, sample_means, skill
from lstm_ae.forecasting.intervals import effective_sample_size, interval_bounds, predictive_quantiles
from lstm_ae.forecasting.table_baselines import LINEAR_NAME, TableBaselines, season_name
from lstm_ae.formatting import format_heading, format_skill
from lstm_ae.significance import compare_forecasts, hardest

Numbers = NDArray[Any]

# The intervals that every forecast is judged by, in per cent.
INTERVAL_LEVELS = (80, 95)

# Windows whose errors count for the intervals, spread evenly over the validation part; so many errors in all, but of so
# many windows whatever their length.
MAX_INTERVAL_WINDOWS, MAX_INTERVAL_NUMBERS, MIN_INTERVAL_WINDOWS = 20_000, 20_000_000, 2_000

# Roundings to single precision between a forecast and the same one computed in another order of operations.
ROUNDING_UNITS = 2

# Windows of the training part that tell how slowly errors change.
MAX_CORRELATION_WINDOWS = 5_000


class TableErrors(NamedTuple):
    """Errors of forecasts of one part, in scaled values.

    Args:
        squared, absolute: by predictor, the model "" first and the naive baseline next: `(samples,)` means over the
            steps and features whose truth is known.
        by_step: by predictor, `(horizon,)` mean squared errors of each step ahead.
        by_feature: by predictor, `(features,)` mean squared errors of each column.
        inside: by level in per cent, the share of truths within the interval; empty without intervals.
        moments: `(samples,)` when each forecast was made, to the step: nanoseconds since 1970, or rows without times.
        rounding: `(samples,)` how far the squared error of the model may be off by rounding, a mean as in `squared`.
    """

    squared: dict[str, Numbers]
    absolute: dict[str, Numbers]
    by_step: dict[str, Numbers]
    by_feature: dict[str, Numbers]
    inside: dict[int, float]
    moments: Numbers
    rounding: Numbers

    @property
    def naive(self) -> str:
        """The name of the baseline that skill is counted against."""
        return list(self.squared)[1]


def past_steps(model: Any) -> int:
    """Steps that a forecaster reads."""
    return int(model.input["past"].shape[1])


class _ForecastBatch(NamedTuple):
    """Windows, what came, what each predictor said of it, and how exact the model's is, all scaled."""

    past: Numbers
    truth: Numbers
    said: dict[str, Numbers]
    resolution: Numbers


def _forecast_batches(model: Any, data: Data, split: Split, fitted: TableBaselines | None) -> Iterator[_ForecastBatch]:
    from lstm_ae.models.inference import predict_split

    steps = past_steps(model)
    for batch in predict_split(model, split, steps=steps):
        given = batch.window[:, :steps], batch.company
        scaled = data.scale.scaled(batch.window, *given)
        future = batch.outputs["future"]
        said = data.scale.scaled(future, *given)
        # In own units, whose level may be far above what varies, and once more when scaled.
        next_one = data.scale.scaled(np.nextafter(future, np.float32(np.inf)), *given)
        resolution = ROUNDING_UNITS * (abs(next_one.astype(np.float64) - said) + np.spacing(abs(said)))
        past = scaled[:, :steps]
        yield _ForecastBatch(past, scaled[:, steps:], {"": said} | (fitted.said(past) if fitted else {}), resolution)


def table_errors(
    model: Any, data: Data, split: Split, fitted: TableBaselines, spread: Numbers | None = None
) -> TableErrors:
    """Forecast after every window of a part.

    Args:
        spread: `(features, horizon, 199)` quantiles of the errors, for the intervals.
    """
    horizon, features = split.span - past_steps(model), split.features
    pieces: dict[str, list[tuple[Numbers, Numbers]]] = {}
    sums: dict[str, Numbers] = {}
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
                # An end that too few errors tell says nothing.
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


def _forecast_moments(split: Split, steps: int) -> Numbers:
    """When each forecast is made, rounded down to a step: those of two series within one are as good as at once."""
    made = split.starts + steps - 1
    if split.time is None or not split.samples:
        return made
    time = split.time.astype(np.int64)
    moments = time[made]
    step = max(int((time[made + 1] - moments).min()), 1)
    rounded: Numbers = moments - (moments - moments.min()) % step
    return rounded


def table_metrics(found: TableErrors) -> dict[str, Metric]:
    """All measures of a part, each beside its baselines'.

    - `forecast_mse`, `forecast_mae`: of scaled values, over all steps and columns
    - `skill`: 1 - MSE / MSE of the naive baseline
    - `coverage_80`, `coverage_95`: share of truths within the interval
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
    """What the forecasts are worth in each column, by name; empty of a single one, which the measures tell of."""
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


def _column_skill(ours: Numbers, theirs: Numbers, columns: Any) -> float:
    """The skill over a baseline in some columns, by the mean squared errors of each, `(features,)`."""
    return skill(float(np.nansum(ours[columns])), float(np.nansum(theirs[columns])))


def judge_table(found: TableErrors, names: Sequence[str]) -> Verdict:
    """Whether the forecasts beat the best baseline in squared errors, and whether one column alone makes them do so.

    Args:
        names: of the columns.
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


def error_quantiles(model: Any, data: Data, fitted: TableBaselines) -> Numbers:
    """Return quantiles of the errors by column and step ahead, `(features, horizon, 199)`, scaled.

    The errors are those on validation. How many independent ones they are worth is the least that they say themselves
    and that the regression's errors on the training part say, which is longer and so shows slower drifts of the level.
    A network's own errors there do not: it has learned the drifts.

    Every quantile is infinite where too few truths are known.
    """
    steps, split = past_steps(model), data.validation
    index = _evenly_spaced(split, steps, MAX_INTERVAL_WINDOWS)
    some = split._replace(starts=split.starts[index])
    errors = np.concatenate([batch.truth - batch.said[""] for batch in _forecast_batches(model, data, some, None)])
    before = _evenly_spaced(data.train, steps, MAX_CORRELATION_WINDOWS)
    windows = data.train.windows(before)
    windows = data.scale.scaled(windows, windows[:, :steps], data.train.companies(before))
    linear = windows[:, steps:] - fitted.said(windows[:, :steps])[LINEAR_NAME]
    # Windows of the training part may begin further apart.
    stride = int(np.median(np.diff(data.train.starts))) if data.train.samples > 1 else 1
    share = split.samples / (data.train.samples * stride)
    moments, times = _forecast_moments(split, steps)[index], _forecast_moments(data.train, steps)[before]
    found = []
    for feature in range(errors.shape[2]):
        own = effective_sample_size(errors[..., feature], moments)
        longer = share * effective_sample_size(linear[..., feature], times)
        found.append(predictive_quantiles(errors[..., feature], np.maximum(np.minimum(own, longer), 1)))
    return np.array(found, np.float32)


def _evenly_spaced(split: Split, steps: int, most: int) -> NDArray[np.int64]:
    """Return the numbers of evenly spaced windows of a part, fewer where they are large."""
    most = min(most, max(MAX_INTERVAL_NUMBERS // ((split.span - steps) * split.features), MIN_INTERVAL_WINDOWS))
    return np.unique(np.linspace(0, split.samples - 1, most).astype(np.int64))


def prediction_intervals(
    scale: Scale, said: Numbers, past: Numbers, spread: Numbers, level: int, lines: NDArray[np.int32] | None = None
) -> tuple[Numbers, Numbers]:
    """The two ends of the interval around scaled forecasts `(samples, steps, features)`, in own units.

    NaN past the horizon that `spread` `(features, horizon, 199)` is known for, and where there were too few errors.

    Args:
        past: `(samples, window, features)` in own units, what the forecasts follow.
        level: in per cent.
        lines: `(samples,)` of the scale, where each series has one.
    """
    ends = []
    for at in interval_bounds(level):
        reach = np.full(said.shape[1:], np.nan, np.float32)
        known = min(said.shape[1], spread.shape[1])
        reach[:known] = np.where(np.isfinite(spread[:, :known, at]), spread[:, :known, at], np.nan).T
        ends.append(scale.own(said + reach, past, lines))
    low, high = ends
    return low, high
