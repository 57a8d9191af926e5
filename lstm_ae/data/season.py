"""Find seasons: the numbers of steps after which the values of a series repeat.

The default window and horizon, the seasonal baseline of forecasts, and `series check` all use this module.

A period is tested on the values minus the mean of one period around them. This filter preserves a season and removes a
trend. Its response to white noise, to a random walk, and to an integrated random walk is no longer than one period, so
without a season the filtered values are uncorrelated one period apart. Bartlett's formula (1946) gives the variance of
that correlation, and Fisher's transformation its significance. Calendar periods are tested first; all other lags must
meet a stricter significance level because there are many of them.

Values that repeat after 2 or 3 steps, such as alternating ones, also repeat after every multiple of these steps. They
are averaged over that many steps first, which leaves only longer seasons.

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
from lstm_ae.data.grid import ROUND_STEP_SIZES, grid_slots
from lstm_ae.data.panel import Panel, run_starts
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
# Smallest correlation one period apart, overall and as the median over stretches of the series.
MIN_CORRELATION, MIN_TYPICAL_CORRELATION = 0.3, 0.15
# Smallest share of the variance that repeats: a smaller one may be due to rounding.
MIN_REPEATED_SHARE = 1e-6
# Number of stretches that must agree, and smallest effective number of products that make up the correlation.
STRETCH_COUNT, MIN_CARRIERS = 8, 5
# Sum of the squared autocorrelations, in periods, of a filtered and twice integrated random walk. It is the largest of
# the noise models considered, so a larger sum is due to the season itself.
MAX_NOISE_AUTOCORRELATION = 0.39
# Smallest correlation and repeated variance of a shorter season, relative to those of the clearest one.
SHORTER_CORRELATION_SHARE, SHORTER_VARIANCE_SHARE = 0.7, 0.2
# Smallest relative correlation of a shorter season that is no calendar period, if such a period is a season.
UNUSUAL_CORRELATION_SHARE = 0.9
# Smallest reduction of the error by repeating a longer season, relative to the shorter one and in standard errors.
MIN_ERROR_GAIN, MIN_GAIN_STANDARD_ERRORS = 0.1, 2.0
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
        reason: description of `season`.
        found: whether `season` is a season of the values.
        periodic: whether `season` is a season of the values or the usual one.
        long: a season longer than the longest default window, if there is no shorter one.
        column: name of the column with the season; "" if there is only one column.
    """

    season: int
    strongest: int
    reason: str
    found: bool = False
    periodic: bool = False
    long: int | None = None
    column: str = ""


def choose_default_steps(table: Panel, step: TimeStep, training: BoolArray) -> DefaultSteps:
    """Return the default steps inferred from the training rows of a table.

    If there are several columns, the one with the largest share of repeated variance is used.

    Args:
        training: `(rows,)` mask of the training rows.
    """
    found = list(_find_seasons_by_column(table, step, training, MAX_COLUMNS))
    best = max(range(len(found)), key=lambda column: found[column].share)
    seasons = found[best].steps
    column = format_heading(table.layout.targets[best]) if len(table.layout.targets) > 1 else ""
    if fits := [steps for steps in seasons if steps <= MAX_DEFAULT_WINDOW]:
        why = f"{fits[0]} steps, the season of {column or 'the values'}"
        return DefaultSteps(fits[0], fits[-1], why, found=True, periodic=True, column=column)
    usual, name = usual_season(step)
    long = seasons[0] if seasons else None
    if 0 < usual <= MAX_DEFAULT_WINDOW:
        return DefaultSteps(usual, usual, f"{usual} steps, {name}", periodic=True, long=long, column=column)
    if long is None:
        return DefaultSteps(DEFAULT_WINDOW, DEFAULT_WINDOW, f"{DEFAULT_WINDOW} steps, as no season was found")
    why = f"{DEFAULT_WINDOW} steps, as the season of {long:,} steps is longer than {MAX_DEFAULT_WINDOW}"
    return DefaultSteps(DEFAULT_WINDOW, DEFAULT_WINDOW, why, long=long, column=column)


def find_column_seasons(table: Panel, step: TimeStep, training: BoolArray) -> tuple[tuple[int, ...], ...]:
    """Return the seasons of every column to model in the training rows of a table.

    Args:
        training: `(rows,)` mask of the training rows.
    """
    return tuple(found.steps for found in _find_seasons_by_column(table, step, training, len(table.layout.targets)))


def usual_season(step: TimeStep) -> tuple[int, str]:
    """Return the steps and the name of the season that is usual for a sampling interval, or 0 and "".

    It is a day of shorter intervals, a week of days, and a year of weeks and months.

    >>> usual_season(TimeStep(months=3)), usual_season(TimeStep(UNITS["d"])), usual_season(TimeStep(7))
    ((4, 'a year'), (7, 'a week'), (12342857142857, 'a day'))
    """
    if step.months:
        return (12 // step.months, "a year") if calendar_periods(step) else (0, "")
    if step.nanoseconds in (UNITS["d"], UNITS["w"]):
        return (7, "a week") if step.nanoseconds == UNITS["d"] else (52, "a year")
    day = UNITS["d"] // step.nanoseconds if step.nanoseconds else 0
    return (day, "a day") if day >= 2 * MIN_SEASON else (0, "")


class PlacedSeries(NamedTuple):
    """Series of one column: its grid positions, ascending from 0, and its values, NaN where missing."""

    places: Int64Array
    values: Float64Array

    @property
    def steps(self) -> int:
        """Number of steps that the series spans."""
        return int(self.places[-1]) + 1 if len(self.places) else 0

    def last(self, steps: int) -> Float64Array:
        """Return the values at the last steps, at most `(steps,)`, NaN where missing."""
        first = max(self.steps - steps, 0)
        kept = self.places >= first
        found = np.full(self.steps - first, np.nan)
        found[self.places[kept] - first] = self.values[kept]
        return found

    def means(self, width: int) -> Float64Array:
        """Return the means of consecutive blocks of `width` steps, NaN for blocks without a value."""
        held = ~np.isnan(self.values)
        blocks, values = self.places[held] // width, self.values[held]
        counts = np.bincount(blocks)
        with np.errstate(invalid="ignore"):
            found: Float64Array = np.bincount(blocks, values) / counts
        return found


def _find_seasons_by_column(table: Panel, step: TimeStep, training: BoolArray, columns: int) -> Iterator[ColumnSeasons]:
    """Yield the seasons of the first `columns` columns to model, found at the end of each of the longest series."""
    columns = min(columns, len(table.layout.targets))
    rows = np.flatnonzero(training)
    places = grid_slots(table, step)[rows]
    begins = np.flatnonzero(run_starts(table.series[rows])) if len(rows) else rows
    ends = np.append(begins[1:], len(rows))
    most = max(min(MAX_ROWS, MAX_VALUES // columns), MIN_COLUMN_ROWS)
    longest = [slice(begins[k], ends[k]) for k in np.argsort(begins - ends, kind="stable")[:MAX_SERIES]]
    before = np.cumsum([0, *(piece.stop - piece.start for piece in longest)])
    chosen = [piece for piece, count in zip(longest, before, strict=False) if count < most]
    periods = calendar_periods(step)
    for column in range(columns):
        values = table.values[rows, column].astype(np.float64)
        series = [PlacedSeries(places[piece] - places[piece.start], values[piece]) for piece in chosen]
        yield find_seasons(series, periods, most)


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


def choose_coarser_step(step: TimeStep, season: int) -> TimeStep | None:
    """Return the shortest common step with which a season fits in a default window, or None if there is none."""
    if not step.nanoseconds:
        return None
    length = season * step.nanoseconds
    for wider in ROUND_STEP_SIZES:
        if (
            not (wider <= step.nanoseconds or wider % step.nanoseconds or length % wider)
            and length // wider <= MAX_DEFAULT_WINDOW
        ):
            return TimeStep(wider)
    return None


def find_seasons(series: Sequence[PlacedSeries], calendar: Sequence[int] = (), rows: int = MAX_ROWS) -> ColumnSeasons:
    """Find the seasons of one column.

    Args:
        series: one or more series, which are examined together.
        calendar: periods that are likely a priori.
        rows: number of last steps of each series to examine.
    """
    pieces = [_standardize(each.last(rows)) for each in series]
    pieces = _without_short_cycles(pieces) if pieces else pieces
    longest = max(map(len, pieces), default=0)
    likely = [steps for steps in calendar if steps <= longest // 3]
    other = longest // 4
    tested: dict[int, _SeasonEvidence] = {}
    for candidates, count in ((likely, len(likely)), (_find_peaks(pieces, other), other)):
        for lag in candidates:
            if not any(abs(lag - known) <= CALENDAR_TOLERANCE * known for known in tested if known in likely):
                found = _test_period(pieces, lag)
                if found and found.holds(SIGNIFICANCE_LEVEL / 2 / count):
                    tested[lag] = found
    steps = _select_seasons(pieces, tested, likely)
    share = tested[steps[0]].repeated if steps else 0.0
    whole = max((each.steps for each in series), default=0)
    # The other calendar periods are too long to be examined step by step. Multiples of a season that was found are not
    # informative.
    for period in () if steps else calendar:
        if longest and longest // 3 < period <= whole // 3:
            found = _test_means(series, period, rows)
            if found and found.holds(SIGNIFICANCE_LEVEL / 2 / len(calendar)):
                return ColumnSeasons((period,), found.repeated)
    return ColumnSeasons(steps, share)


def _without_short_cycles(pieces: Sequence[Float64Array]) -> list[Float64Array]:
    """Return the series averaged over cycles that are too short for a season.

    Such a cycle repeats the values far better than all shorter ones.
    """
    gap = np.full(MIN_SEASON, np.nan)
    correlation = autocorrelation(np.concatenate([part for piece in pieces for part in (piece, gap)]), MIN_SEASON - 1)
    found = list(pieces)
    for steps in range(2, MIN_SEASON):
        if correlation[steps] < MIN_CORRELATION + max(correlation[1:steps].max(), 0):
            continue
        means = [np.convolve(values, np.ones(steps) / steps, "valid") for values in found if len(values) > steps]
        # If every other step has no row, nothing is known about single steps.
        if 2 * _count(means) >= _count(found):
            # Smaller values may be due to rounding.
            found = [
                _standardize(values)
                for values in means
                if np.nansum(np.square(values)) > MIN_REPEATED_SHARE * len(values)
            ]
    return found


def _count(pieces: Sequence[Float64Array]) -> int:
    """Return the number of values that are not missing."""
    return sum(int((~np.isnan(values)).sum()) for values in pieces)


def _standardize(values: Float64Array) -> Float64Array:
    """Return values scaled to mean 0 and variance 1; empty if they are constant or too few."""
    held = values[~np.isnan(values)]
    deviation = held.std() if len(held) >= 3 * MIN_SEASON else 0.0
    return (values - held.mean()) / deviation if deviation > 1e-9 * abs(held).max(initial=1e-300) else values[:0]


class _SeasonEvidence(NamedTuple):
    """Evidence for a period.

    Args:
        correlation: correlation of the filtered values one period apart.
        score: Fisher transformation of the correlation in standard errors of noise.
        typical, later: medians of the correlations in stretches of the series, and in its later half.
        carriers: effective number of products of values that make up the correlation; small if it is due to a few
            outliers.
        repeated: share of the variance that repeats.
        paired: share of the values that have a value one period later.
    """

    correlation: float
    score: float
    typical: float
    later: float
    carriers: float
    repeated: float
    paired: float

    def holds(self, level: float) -> bool:
        """Return whether the period is a season at a significance level."""
        steady = min(self.typical, self.later) >= MIN_TYPICAL_CORRELATION
        large = self.carriers >= MIN_CARRIERS and self.repeated >= MIN_REPEATED_SHARE
        return bool(steady and large and self.score >= -NormalDist().inv_cdf(level))


def _select_seasons(
    pieces: Sequence[Float64Array], tested: dict[int, _SeasonEvidence], likely: Sequence[int]
) -> tuple[int, ...]:
    """Return the shortest clear season and each longer one that repeats the values significantly better."""
    if not tested:
        return ()
    correlation, repeated, paired = (
        max(getattr(found, name) for found in tested.values()) for name in ("correlation", "repeated", "paired")
    )
    kept: list[int] = []
    for lag in sorted(tested):
        found = tested[lag]
        if not kept:
            unusual = lag not in likely and not tested.keys().isdisjoint(likely)
            near = (
                found.correlation >= (UNUSUAL_CORRELATION_SHARE if unusual else SHORTER_CORRELATION_SHARE) * correlation
                and found.repeated >= SHORTER_VARIANCE_SHARE * repeated
            )
            # If nights are missing, few values have a pair half a day later.
            if near and found.paired >= SHORTER_CORRELATION_SHARE * paired:
                kept.append(lag)
        elif _is_better(pieces, lag, kept[-1]):
            kept.append(lag)
    return tuple(kept)


def _is_better(pieces: Sequence[Float64Array], longer: int, shorter: int) -> bool:
    """Return whether repeating the longer period has a much smaller error, consistently over the series."""
    both = [
        np.square([values[longer:] - values[longer - lag : len(values) - lag] for lag in (longer, shorter)])
        for values in pieces
        if len(values) > longer
    ]
    parts = _split_stretches(both, STRETCH_COUNT)
    there = [~np.isnan(part).any(axis=0) for part in parts]
    errors = np.array([part[:, kept].mean(axis=1) for part, kept in zip(parts, there, strict=True) if kept.any()])
    if len(errors) < 2:
        return False
    saved: Float64Array = errors[:, 1] - errors[:, 0]
    spread = float(saved.std(ddof=1) / np.sqrt(len(saved)))
    return float(saved.mean()) > max(MIN_ERROR_GAIN * float(errors[:, 1].mean()), MIN_GAIN_STANDARD_ERRORS * spread)


def _split_stretches(pieces: Sequence[Float64Array], count: int) -> list[Float64Array]:
    """Return `count` stretches, each the concatenation of the corresponding parts of all pieces."""
    parts = [np.array_split(values, count, axis=-1) for values in pieces]
    return [np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)]


def _test_period(pieces: Sequence[Float64Array], period: int) -> _SeasonEvidence | None:
    """Return the evidence for a period, or None if the pairs one period apart are too few or weakly correlated."""
    filtered = [_remove_moving_average(values, period) for values in pieces if len(values) > 2 * period]
    pairs = [np.array([values[:-period], values[period:]]) for values in filtered if len(values) > period]
    held = sum(int((~np.isnan(values[0])).sum()) for values in pairs)
    pairs = [values[:, ~np.isnan(values).any(axis=0)] for values in pairs]
    count = sum(values.shape[1] for values in pairs)
    if count < period:
        return None
    every = np.concatenate(pairs, axis=1)
    correlation, products = _correlation(every), every[0] * every[1]
    if correlation < MIN_CORRELATION:
        return None
    each = [_correlation(part) for part in _split_stretches(pairs, min(STRETCH_COUNT, count // period))]
    gap = np.full(period, np.nan)
    noise = autocorrelation(np.concatenate([part for values in filtered for part in (values, gap)]), period - 1)
    effective = count / min(1 + 2 * float(np.square(noise[1:]).sum()), max(MAX_NOISE_AUTOCORRELATION * period, 1.0))
    score = np.arctanh(min(correlation, 1 - 1e-12)) * np.sqrt(max(effective - 3, 0.0))
    squares = float(np.square(products).sum())
    return _SeasonEvidence(
        correlation,
        float(score),
        float(np.median(each)),
        float(np.median(each[len(each) // 2 :])),
        float(products.sum()) ** 2 / squares if squares > 0 else 0.0,
        correlation * float(np.nanmean(np.square(np.concatenate(filtered)))),
        count / held,
    )


def _test_means(series: Sequence[PlacedSeries], period: int, rows: int) -> _SeasonEvidence | None:
    """Return the evidence for a long period, tested on means over several steps so that all rows are covered.

    None if no number of steps divides the period, or the evidence is too weak.
    """
    whole = max(each.steps for each in series)
    width = next((n for n in range(-(-whole // rows), period // MIN_SEASON + 1) if period % n == 0), None)
    if width is None:
        return None
    return _test_period([_standardize(each.means(width)) for each in series], period // width)


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
    held = ~np.isnan(values)
    sums = [np.cumsum(np.r_[0.0, v]) for v in (np.where(held, values, 0.0), held.astype(float))]
    totals, counts = (total[period:] - total[:-period] for total in sums)
    if period % 2 == 0:
        totals, counts = ((v[1:] + v[:-1]) / 2 for v in (totals, counts))
    means = np.divide(totals, counts, out=np.full(len(totals), np.nan), where=counts >= period / 2)
    half = period // 2
    found: Float64Array = values[half : half + len(means)] - means
    return found


def _find_peaks(pieces: Sequence[Float64Array], longest: int) -> list[int]:
    """Return the lags of the highest local maxima of the autocorrelation, a few per octave."""
    found: list[int] = []
    wide = 2 * MIN_SEASON
    while wide // 2 <= longest:
        reach = wide + wide // 10 + 2
        gap = np.full(reach, np.nan)
        filtered = [_remove_moving_average(values, wide) for values in pieces if len(values) >= 2 * wide] or list(
            pieces
        )
        correlation = autocorrelation(np.concatenate([part for values in filtered for part in (values, gap)]), reach)
        lags = range(max(wide // 2 + 1, MIN_SEASON) if wide > 2 * MIN_SEASON else MIN_SEASON, min(wide, longest) + 1)
        peaks = [lag for lag in lags if correlation[lag] > 0 and _is_peak(correlation, lag)]
        found += sorted(peaks, key=lambda lag: -correlation[lag])[:PEAKS_PER_OCTAVE]
        wide *= 2
    return found


def _is_peak(correlation: Float64Array, lag: int) -> bool:
    near = correlation[lag - lag // 10 - 1 : lag + lag // 10 + 2]
    return bool(correlation[lag] >= near.max())


def autocorrelation(values: Float64Array, lags: int) -> Float64Array:
    """Return the autocorrelation of a series `(steps,)` at the lags 0 to `lags`, over pairs without NaN."""
    held = ~np.isnan(values)
    centred = np.where(held, values - (np.nanmean(values) if held.any() else 0.0), 0)
    # The padding prevents the circular correlation from pairing both ends of the series.
    size = 1 << int(len(values) + lags).bit_length()

    def products(numbers: Float64Array) -> Float64Array:
        return np.fft.irfft(abs(np.fft.rfft(numbers, size)) ** 2, size)[: lags + 1]

    pairs = np.maximum(np.rint(products(held.astype(float))), 1)
    covariance = products(centred) / pairs
    return covariance / covariance[0] if covariance[0] > 0 else np.zeros(lags + 1)
