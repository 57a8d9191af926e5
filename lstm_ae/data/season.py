"""Find seasons: the numbers of steps after which the values of a series repeat.

The default window and horizon, the seasonal baseline of forecasts, and `series check` all use this module.

A period is tested on the values minus the mean of one period around them. This filter preserves a season and removes a
trend. Its response to white noise, to a random walk, and to an integrated random walk is no longer than one period, so
without a season the filtered values are uncorrelated one period apart. Bartlett's formula (1946) gives the variance of
that correlation, and Fisher's transformation its significance. Calendar periods are tested first; all other lags must
meet a stricter significance level because there are many of them.

The test does not distinguish a season, which keeps its phase, from a cycle of varying length, such as that of sunspots
or of an autoregressive process of order 2 near a unit root: it finds a season in about half of such series of 25
cycles. Repeating the last cycle is a reasonable forecast for both, and validation decides whether it is used as a
baseline.
"""

from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import BoolArray, Float64Array, Int64Array
from lstm_ae.config.reading import UNITS, TimeStep
from lstm_ae.data.grid import grid_slots
from lstm_ae.data.panel import Panel, run_bounds
from lstm_ae.formatting import format_heading

# Steps of the shortest season, of the longest default window, and of the default window without a season.
MIN_SEASON, MAX_DEFAULT_WINDOW, DEFAULT_WINDOW = 4, 366, 30
# Largest number of grid rows, series, and columns that are examined for a default window.
MAX_ROWS, MAX_SERIES, MAX_COLUMNS = 20_000, 64, 32
# Largest number of values of all columns together that are examined for baselines, and smallest number of rows per
# column.
MAX_VALUES, MIN_COLUMN_ROWS = 4_000_000, 1_000
# Probability of a false season in one column, half of it for calendar periods and half for all other lags.
SIGNIFICANCE_LEVEL = 0.01
# Smallest correlation one period apart, and number of stretches of a series, half of which must have half of it.
MIN_CORRELATION, STRETCHES = 0.3, 8
# Smallest effective number of products that make up the correlation, which is small if a few outliers cause it.
MIN_CARRIERS = 5
# Smallest share of the variance that repeats: a smaller one may be due to rounding.
MIN_REPEATED_SHARE = 1e-6
# Sum of the squared autocorrelations, in periods, of a filtered and twice integrated random walk. It is the largest of
# the noise models considered, so a larger sum is due to the season itself.
MAX_NOISE_AUTOCORRELATION = 0.39
# Smallest correlation and repeated variance of a shorter season, relative to those of the clearest one.
SHORTER_CORRELATION, SHORTER_SHARE = 0.7, 0.2
# Largest error of repeating a longer season, relative to that of a shorter one.
MAX_ERROR_SHARE = 0.8
# Relative distance within which a lag counts as a known calendar period.
CALENDAR_TOLERANCE = 0.04
# Number of local maxima of the autocorrelation that are tested per octave of lags.
PEAKS_PER_OCTAVE = 3
# Number of multiples of the usual season that are tried as baselines; with a day, they hold a week.
USUAL_MULTIPLES = 8
# Mean length of a year in days.
DAYS_PER_YEAR = 365.2425


class ColumnSeasons(NamedTuple):
    """Seasons of a column.

    Args:
        steps: seasons in ascending order, each of which repeats the values better than the shorter ones; empty without
            a season.
        share: share of the variance that repeats after the shortest season.
    """

    steps: tuple[int, ...] = ()
    share: float = 0.0


class DefaultSteps(NamedTuple):
    """Default numbers of steps.

    Args:
        season: the shortest season, else the usual one of the sampling interval, else 30.
        strongest: the season that repeats the values best; for a daily season it may be a week.
        reason: why `season` is the default.
        periodic: whether `season` is a season of the values or the usual one.
    """

    season: int
    strongest: int
    reason: str
    periodic: bool = True


def choose_default_steps(table: Panel, step: TimeStep, training: BoolArray) -> DefaultSteps:
    """Return the default steps inferred from the training rows of a table.

    If there are several columns, the one with the largest share of repeated variance is used.

    Args:
        training: `(rows,)` mask of the training rows.
    """
    columns = list(_find_seasons_by_column(table, step, training, MAX_COLUMNS))
    best = max(range(len(columns)), key=lambda index: columns[index].share)
    if fits := [steps for steps in columns[best].steps if steps <= MAX_DEFAULT_WINDOW]:
        return DefaultSteps(fits[0], fits[-1], f"from the season of {format_heading(table.layout.targets[best])}")
    if 0 < (usual := usual_season(step)) <= MAX_DEFAULT_WINDOW:
        return DefaultSteps(usual, usual, "from the usual season of the sampling interval")
    return DefaultSteps(
        DEFAULT_WINDOW, DEFAULT_WINDOW, f"as no season of at most {MAX_DEFAULT_WINDOW} was found", False
    )


def find_column_seasons(table: Panel, step: TimeStep, training: BoolArray) -> tuple[tuple[int, ...], ...]:
    """Return the seasons of every column to model in the training rows of a table.

    Args:
        training: `(rows,)` mask of the training rows.
    """
    return tuple(seasons.steps for seasons in _find_seasons_by_column(table, step, training, len(table.layout.targets)))


def usual_season(step: TimeStep) -> int:
    """Return the steps of the season that is usual for a sampling interval, or 0.

    It is a day of shorter intervals, a week of days, and a year of weeks and months.

    >>> usual_season(TimeStep(months=3)), usual_season(TimeStep(UNITS["d"])), usual_season(TimeStep(7))
    (4, 7, 12342857142857)
    """
    if step.months:
        return max(calendar_periods(step), default=0)
    day = UNITS["d"] // step.nanoseconds if step.nanoseconds else 0
    return {UNITS["d"]: 7, UNITS["w"]: 52}.get(step.nanoseconds, day if day >= 2 * MIN_SEASON else 0)


def _find_seasons_by_column(table: Panel, step: TimeStep, training: BoolArray, columns: int) -> Iterator[ColumnSeasons]:
    """Yield the seasons of the first `columns` columns to model, found at the end of each of the longest series."""
    columns = min(columns, len(table.layout.targets))
    rows = np.flatnonzero(training)
    places = grid_slots(table, step)[rows]
    max_rows = max(min(MAX_ROWS, MAX_VALUES // columns), MIN_COLUMN_ROWS)
    longest = sorted(run_bounds(table.series[rows]), key=lambda bounds: bounds[0] - bounds[1])[:MAX_SERIES]
    before = np.cumsum([0, *(end - begin for begin, end in longest)])
    chosen = [slice(*bounds) for bounds, count in zip(longest, before, strict=False) if count < max_rows]
    periods = calendar_periods(step)
    for column in range(columns):
        values = table.values[rows, column].astype(np.float64)
        yield find_seasons([_last_steps(places[piece], values[piece], max_rows) for piece in chosen], periods)


def _last_steps(places: Int64Array, values: Float64Array, steps: int) -> Float64Array:
    """Return the values at the last steps of a series, at most `(steps,)`, NaN where missing."""
    first = max(int(places[0]), int(places[-1]) + 1 - steps)
    last = np.full(int(places[-1]) + 1 - first, np.nan)
    late = places >= first
    last[places[late] - first] = values[late]
    return last


def calendar_periods(step: TimeStep) -> tuple[int, ...]:
    """Return the steps of an hour, a day, and a week if they are integers, and the rounded steps of a year.

    >>> calendar_periods(TimeStep(months=1)), calendar_periods(TimeStep(UNITS["h"]))
    ((12,), (24, 168, 8766))
    """
    if step.months:
        return (12 // step.months,) if 12 % step.months == 0 and 12 // step.months >= MIN_SEASON else ()
    if not step.nanoseconds:
        return ()
    whole = [UNITS[unit] // step.nanoseconds for unit in ("h", "d", "w") if UNITS[unit] % step.nanoseconds == 0]
    # A year is not an integer number of most steps, but is long enough to be rounded.
    return tuple(
        steps for steps in (*whole, round(DAYS_PER_YEAR * UNITS["d"] / step.nanoseconds)) if steps >= MIN_SEASON
    )


def find_seasons(series: Sequence[Float64Array], calendar: Sequence[int]) -> ColumnSeasons:
    """Find the seasons of one column: the shortest clear one, and each longer one that repeats the values better.

    Args:
        series: one or more series, which are examined together: values at consecutive steps, NaN where missing.
        calendar: periods that are likely a priori.
    """
    pieces = [_standardize(values) for values in series]
    # Values that repeat after fewer steps than the shortest season also repeat after every multiple of these.
    early = _joint_autocorrelation(pieces, MIN_SEASON - 1)
    if any(early[steps] >= MIN_CORRELATION + max(early[1:steps].max(), 0) for steps in range(2, MIN_SEASON)):
        return ColumnSeasons()
    longest = max(map(len, pieces), default=0)
    likely = [steps for steps in calendar if steps <= longest // 3]
    repetitions = {lag: _test_period(pieces, lag, len(likely)) for lag in likely}
    for lag in _find_peaks(pieces, longest // 4):
        if not any(abs(lag - known) <= CALENDAR_TOLERANCE * known for known in likely):
            repetitions[lag] = _test_period(pieces, lag, longest // 4)
    correlation, share = (max((each[k] for each in repetitions.values()), default=0.0) for k in range(2))
    seasons: list[int] = []
    for lag in sorted(lag for lag in repetitions if repetitions[lag].correlation):
        if seasons:
            better = _seasonal_error(pieces, lag, lag) < MAX_ERROR_SHARE * _seasonal_error(pieces, seasons[-1], lag)
        else:
            better = repetitions[lag].correlation >= SHORTER_CORRELATION * correlation
            better = better and repetitions[lag].share >= SHORTER_SHARE * share
        seasons += [lag] * better
    return ColumnSeasons(tuple(seasons), repetitions[seasons[0]].share if seasons else 0.0)


class _Repetition(NamedTuple):
    """Correlation of filtered values one period apart, 0 if it may be noise, and share of the variance that repeats."""

    correlation: float = 0.0
    share: float = 0.0


def _standardize(values: Float64Array) -> Float64Array:
    """Return values scaled to mean 0 and variance 1; empty if they are constant or too few."""
    present = values[~np.isnan(values)]
    deviation = present.std() if len(present) >= 3 * MIN_SEASON else 0.0
    return (values - present.mean()) / deviation if deviation > 1e-9 * abs(present).max(initial=1e-300) else values[:0]


def _seasonal_error(pieces: Sequence[Float64Array], period: int, first: int) -> float:
    """Return the mean squared error of repeating the values one period before, from step `first` on."""
    errors = [values[first:] - values[first - period : len(values) - period] for values in pieces]
    return float(np.nanmean(np.square(np.concatenate(errors))))


def _test_period(pieces: Sequence[Float64Array], period: int, tried: int) -> _Repetition:
    """Return how well values repeat after a period.

    Args:
        tried: number of periods that are tested.
    """
    filtered = [_remove_moving_average(values, period) for values in pieces if len(values) > 2 * period]
    pairs = [np.array([values[:-period], values[period:]]) for values in filtered if len(values) > period]
    pairs = [values[:, ~np.isnan(values).any(axis=0)] for values in pairs]
    count = sum(values.shape[1] for values in pairs)
    if count < period:
        return _Repetition()
    every = np.concatenate(pairs, axis=1)
    correlation, products = _correlation(every), every.prod(axis=0)
    carriers = products.sum() ** 2 / max(float(np.square(products).sum()), 1e-300)
    stretches = [np.array_split(each, min(STRETCHES, count // period), axis=1) for each in pairs]
    typical = np.median([_correlation(np.concatenate(part, axis=1)) for part in zip(*stretches, strict=True)])
    if correlation < MIN_CORRELATION or typical < MIN_CORRELATION / 2 or carriers < MIN_CARRIERS:
        return _Repetition()
    noise = _joint_autocorrelation(filtered, period - 1)
    effective = count / min(1 + 2 * float(np.square(noise[1:]).sum()), max(MAX_NOISE_AUTOCORRELATION * period, 1.0))
    score = np.arctanh(min(correlation, 1 - 1e-12)) * np.sqrt(max(effective - 3, 0.0))
    if score < -NormalDist().inv_cdf(SIGNIFICANCE_LEVEL / 2 / tried):
        return _Repetition()
    share = correlation * float(np.nanmean(np.square(np.concatenate(filtered))))
    return _Repetition(correlation, share) if share >= MIN_REPEATED_SHARE else _Repetition()


def _correlation(pairs: Float64Array) -> float:
    """Return the correlation of `(2, pairs)` values with mean 0."""
    size = float(np.sqrt(np.square(pairs).sum(axis=1).prod()))
    return float(pairs.prod(axis=0).sum()) / size if size > 0 else 0.0


def _remove_moving_average(values: Float64Array, period: int) -> Float64Array:
    """Return the values minus the mean of one period around each, without the ends.

    For an even period, the first and last step of the mean have half the weight, so that it is centered.

    Returns:
        `(steps - period,)`, or one step more for an odd period; NaN where more than half of the period is missing.
    """
    present = ~np.isnan(values)
    sums = [np.cumsum(np.r_[0.0, v]) for v in (np.where(present, values, 0.0), present.astype(float))]
    totals, counts = (total[period:] - total[:-period] for total in sums)
    if period % 2 == 0:
        totals, counts = ((v[1:] + v[:-1]) / 2 for v in (totals, counts))
    means = np.divide(totals, counts, out=np.full(len(totals), np.nan), where=counts >= period / 2)
    half = period // 2
    filtered: Float64Array = values[half : half + len(means)] - means
    return filtered


def _find_peaks(pieces: Sequence[Float64Array], longest: int) -> list[int]:
    """Return the lags of the highest local maxima of the autocorrelation, a few per octave."""
    highest: list[int] = []
    wide = 2 * MIN_SEASON
    while wide // 2 <= longest:
        reach = wide + wide // 10 + 2
        filtered = [_remove_moving_average(values, wide) for values in pieces if len(values) >= 2 * wide] or list(
            pieces
        )
        correlation = _joint_autocorrelation(filtered, reach)
        lags = range(max(wide // 2 + 1, MIN_SEASON) if wide > 2 * MIN_SEASON else MIN_SEASON, min(wide, longest) + 1)
        peaks = [lag for lag in lags if correlation[lag] > 0 and _is_peak(correlation, lag)]
        highest += sorted(peaks, key=lambda lag: -correlation[lag])[:PEAKS_PER_OCTAVE]
        wide *= 2
    return highest


def _is_peak(correlation: Float64Array, lag: int) -> bool:
    near = correlation[lag - lag // 10 - 1 : lag + lag // 10 + 2]
    return bool(correlation[lag] >= near.max())


def _joint_autocorrelation(pieces: Sequence[Float64Array], lags: int) -> Float64Array:
    """Return the autocorrelation of all pieces together, without pairs of values of two pieces."""
    gap = np.full(lags + 1, np.nan)
    return autocorrelation(np.concatenate([gap, *(part for values in pieces for part in (values, gap))]), lags)


def autocorrelation(values: Float64Array, lags: int) -> Float64Array:
    """Return the autocorrelation of a series `(steps,)` at the lags 0 to `lags`, over pairs without NaN."""
    present = ~np.isnan(values)
    centered = np.where(present, values - (np.nanmean(values) if present.any() else 0.0), 0)
    # The padding prevents the circular correlation from pairing both ends of the series.
    size = 1 << int(len(values) + lags).bit_length()

    def products(numbers: Float64Array) -> Float64Array:
        return np.fft.irfft(abs(np.fft.rfft(numbers, size)) ** 2, size)[: lags + 1]

    pairs = np.maximum(np.rint(products(present.astype(float))), 1)
    covariance = products(centered) / pairs
    return covariance / covariance[0] if covariance[0] > 0 else np.zeros(lags + 1)
