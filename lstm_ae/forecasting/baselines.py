"""Baseline forecasts of tables and prices: last value, season, drift, weekday, and linear regression.

All baselines work on scaled values and are fitted on the training split; the validation split selects their form.
`TableBaselines` forecast all columns of a window. `PriceBaselines` forecast the change of one column,
and know the dates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array
from lstm_ae.artifacts import Artifact, StoredArray
from lstm_ae.data.calendar import weekday_numbers
from lstm_ae.data.columns import Covariates
from lstm_ae.data.windows import Data, Split, evenly_spaced, join_training
from lstm_ae.forecasting.intervals import QUANTILES, Calibration, ForecastMethod, calibrate_price_intervals

LINEAR_NAME = "linear regression"

# These limits bound the time and memory of a fit.
MAX_FIT_WINDOWS, MAX_VALIDATION_WINDOWS, MAX_VALUES = 20_000, 2_000, 20_000_000

# More windows of prices take memory without changing the fit.
MAX_PRICE_WINDOWS = 200_000

# The regression of a table reads at most this many steps at the end of a window.
MAX_REGRESSION_STEPS = 1024

# Penalties are multiplied by the number of windows. The one with the smallest validation error is used.
PENALTIES = (1e-6, 1e-4, 1e-2, 1e-1)

# Rounds of alternating least squares for the effects of known covariates, and the weight of their squares relative to
# the sum of the squared errors.
EFFECT_ROUNDS, MIN_EFFECT_PENALTY = 3, 1e-6

# The regression of prices reads the number of days with the smallest validation error.
REGRESSION_DAYS = (1, 2, 6, 10)

# A season must reduce the error of the last value and of any shorter season by this share to be used. One that was not
# found in the training rows must reduce it by the second share of the error of the last value: a multiple of a season
# has a similar error, which is smaller by chance.
MIN_SEASON_GAIN, MIN_UNTESTED_GAIN = 0.02, 0.1


class LinearCoefficients(NamedTuple):
    """The coefficients of a fitted linear regression: `weights` `(inputs, horizon)` and `intercept` `(horizon,)`."""

    weights: Annotated[Array, StoredArray("regression_0", np.floating, "inputs", "horizon")]
    intercept: Annotated[Array, StoredArray("regression_1", np.floating, "horizon")]

    def predict(self, inputs: Array) -> Array:
        """Return the predictions for inputs `(samples, inputs)`, `(samples, horizon)`."""
        predicted: Array = inputs @ self.weights + self.intercept
        return predicted


def fit_regression(inputs: Array, targets: Array, penalty: float = 0.0) -> LinearCoefficients:
    """Fit a linear regression: by least squares, or by ridge regression with a penalty.

    Args:
        inputs: `(samples, inputs)`.
        targets: `(samples, horizon)`.
        penalty: The weight of the squared coefficients relative to the sum of the squared errors.
    """
    from sklearn.linear_model import LinearRegression, Ridge

    fitted = Ridge(penalty, solver="cholesky") if penalty else LinearRegression()
    fitted.fit(inputs, targets)
    # For a single step, the coefficients have one axis or two, depending on the version of scikit-learn.
    return LinearCoefficients(np.atleast_2d(fitted.coef_).T, np.atleast_1d(fitted.intercept_))


# Naive forecasts of windows `(samples, steps, features)` with NaN where a value is missing.


def last_known_values(past: Array) -> Array:
    """Return the last known value of each feature, `(samples, 1, features)`; 0 if there is none."""
    last: Array = np.nan_to_num(np.take_along_axis(past, _last_known_places(past), axis=1))
    return last


def _last_known_places(past: Array) -> Array:
    """Return the step of the last known value of each feature, `(samples, 1, features)`; the last step without any."""
    places: Array = past.shape[1] - 1 - (~np.isnan(past))[:, ::-1].argmax(axis=1, keepdims=True)
    return places


def persistence(past: Array, horizon: int) -> Array:
    """Return the last known value for every step, `(samples, horizon, features)`."""
    return np.repeat(last_known_values(past), horizon, axis=1)


def repeat_season(past: Array, horizon: int, season: int) -> Array:
    """Repeat the last season over the horizon; missing values are replaced with the last known one."""
    again = past[:, past.shape[1] - season + np.arange(horizon) % season]
    return np.where(np.isnan(again), last_known_values(past), again)


def seasonal_naive(past: Array, horizon: int, seasons: Sequence[int | None]) -> Array:
    """Repeat the last season of each feature, or its last known value if it has no season."""
    predicted = persistence(past, horizon)
    for season in {season for season in seasons if season}:
        places = [place for place, of in enumerate(seasons) if of == season]
        predicted[..., places] = repeat_season(past[..., places], horizon, season)
    return predicted


def season_name(seasons: Sequence[int | None]) -> str:
    """Return the name of the naive baseline for these seasons."""
    if not any(seasons):
        return "persistence"
    return f"season of {seasons[0]} steps" if len(set(seasons)) == 1 else "season by column"


def choose_seasons(
    data: Data, steps: int, found: Sequence[Sequence[int]], usual: Sequence[int] = ()
) -> tuple[int | None, ...]:
    """Select the season of each target that forecasts the validation windows best.

    Args:
        data: The data set.
        steps: Steps of a window, which must contain the season; the remaining steps of a sample are the horizon.
        found: The seasons of the training rows of each target.
        usual: Further seasons to try, which must forecast the training windows better as well.

    Returns:
        The season of each target in steps; None where no season reduces the error enough.
    """
    fitting = [sorted({season for season in (*seasons, *usual) if season <= steps}) for seasons in found]
    if not any(fitting):
        return (None,) * len(found)
    samples = [_sample_windows(data, split, MAX_VALIDATION_WINDOWS, steps) for split in (data.train, data.validation)]
    errors = {
        season: np.array(
            [
                _mse_by_feature(seasonal_naive(past, truth.shape[1], [season] * past.shape[2]), truth)
                for past, _, truth in samples
            ]
        )
        for season in {None, *(season for seasons in fitting for season in seasons)}
    }
    chosen: list[int | None] = []
    for place, seasons in enumerate(fitting):
        best = None
        for season in seasons:
            last, before, after = (errors[each][:, place] for each in (None, best, season))
            tested = season in found[place]
            needed = MIN_SEASON_GAIN * before if tested else MIN_UNTESTED_GAIN * last
            trained, validated = after < before - needed
            if validated and (trained or tested):
                best = season
        chosen.append(best)
    return tuple(chosen)


# Tables.


class TableWindows(NamedTuple):
    """Windows of a table with what follows them, in scaled values.

    Args:
        past: `(samples, steps, targets)` windows of the features to forecast.
        known: `(samples, steps + horizon, known)` values of known covariates in the windows and over the horizon.
        truth: `(samples, horizon, targets)` values to forecast.
    """

    past: Array
    known: Array
    truth: Array


def divide_windows(scaled: Array, steps: int, covariates: Covariates) -> TableWindows:
    """Return the parts of scaled windows with their horizon, `(samples, steps + horizon, features)`."""
    targets, first = scaled.shape[2] - sum(covariates), scaled.shape[2] - covariates.known
    return TableWindows(scaled[:, :steps, :targets], scaled[..., first:], scaled[:, steps:, :targets])


@dataclass(frozen=True)
class TableRegression(Artifact):
    """A linear regression of windows: a baseline, and the start of a network.

    With known covariates, a target is the sum of their effects and of a rest. The effects are a linear function of the
    covariates of the same step. The rest is forecast from its own past: a regression with autoregressive errors
    (Cochrane and Orcutt 1949, "Application of least squares regression to relationships containing auto-correlated
    error terms").

    Args:
        linear: From the last steps to the horizon, shared by all targets, for values relative to the last known one.
        effects: `(known, targets)` coefficients of the known covariates; None for none.
    """

    file = "regression.npz"

    linear: LinearCoefficients
    effects: Annotated[Array | None, StoredArray("effects_0", np.floating, "known", "targets", flag="has_effects")] = (
        None
    )

    def predict(self, past: Array, known: Array | None = None) -> Array:
        """Return the forecasts `(samples, horizon, targets)` for `past` and `known` of `TableWindows`."""
        steps, (weights, intercept) = past.shape[1], self.linear
        effect = None
        if self.effects is not None:
            assert known is not None
            effect = np.nan_to_num(known) @ self.effects
            past = past - effect[:, :steps]
        level = last_known_values(past)
        relative = np.nan_to_num(past[:, -len(weights) :] - level)
        change = np.einsum("nsf,sh->nhf", relative, weights, optimize=True) + intercept[:, None]
        predicted: Array = level + change
        return predicted if effect is None else predicted + effect[:, steps:]


class TableBaselines(NamedTuple):
    """The fitted baselines of a table.

    Args:
        seasons: The season of each target in steps; None for a target without one.
        horizon: The number of steps to forecast.
        regression: The linear regression; None without one.
    """

    seasons: tuple[int | None, ...]
    horizon: int
    regression: TableRegression | None

    def predict(self, past: Array, known: Array | None = None) -> dict[str, Array]:
        """Return the forecast of each baseline by name, `(samples, horizon, targets)`; the reference for skill is
        first.

        Args:
            past, known: As in `TableWindows`; None without known covariates.
        """
        found = {"persistence": persistence(past, self.horizon)}
        if any(self.seasons):
            found = {season_name(self.seasons): seasonal_naive(past, self.horizon, self.seasons)} | found
        return found if self.regression is None else found | {LINEAR_NAME: self.regression.predict(past, known)}


def fit_table_baselines(data: Data, steps: int, *, refit: bool = False) -> TableBaselines:
    """Fit the linear regression on the training split.

    Its penalty, and whether it has effects of known covariates, are selected on the validation split.

    Args:
        data: The data set, which also provides the seasons.
        steps: Steps of a window.
        refit: Whether to fit again on training and validation data together, as the model was.
    """
    if data.separate is not None:
        return fit_table_baselines(data.separate, steps, refit=True)
    fitted_on = _sample_windows(data, data.train, MAX_FIT_WINDOWS, steps)
    judged_on = _sample_windows(data, data.validation, MAX_VALIDATION_WINDOWS, steps)
    tried = _fit_penalties(fitted_on, PENALTIES)
    errors = [_mse(found.predict(judged_on.past), judged_on.truth) for found in tried]
    best = min(range(len(tried)), key=errors.__getitem__)
    chosen, penalty, with_effects = tried[best], PENALTIES[best], False
    if data.covariates.known:
        other = _fit_effects(fitted_on, chosen, penalty)
        with_effects = _mse(other.predict(judged_on.past, judged_on.known), judged_on.truth) < errors[best]
        chosen = other if with_effects else chosen
    if refit:
        together = join_training(data)
        joined = _sample_windows(together, together.train, MAX_FIT_WINDOWS, steps)
        (chosen,) = _fit_penalties(joined, [penalty])
        chosen = _fit_effects(joined, chosen, penalty) if with_effects else chosen
    return TableBaselines(data.seasons, fitted_on.truth.shape[1], chosen)


def _fit_penalties(windows: TableWindows, penalties: Sequence[float]) -> list[TableRegression]:
    """Return the regression without effects for each penalty; all zeros if there is no usable window."""
    inputs, changes = _regression_data(windows.past, windows.truth)
    horizon = changes.shape[1]
    if not len(inputs):
        zeros = LinearCoefficients(np.zeros((inputs.shape[1], horizon), np.float32), np.zeros(horizon, np.float32))
        return [TableRegression(zeros)] * len(penalties)
    fits = [fit_regression(inputs, changes, penalty * len(inputs)) for penalty in penalties]
    return [TableRegression(LinearCoefficients(*(values.astype(np.float32) for values in fit))) for fit in fits]


def _fit_effects(windows: TableWindows, start: TableRegression, penalty: float) -> TableRegression:
    """Return the regression with effects of known covariates, by `EFFECT_ROUNDS` of alternating least squares.

    Args:
        windows: The windows to fit on.
        start: The regression without effects.
        penalty: The penalty of the regression of the rest.
    """
    steps, linear = windows.past.shape[1], start.linear
    known = np.nan_to_num(windows.known).astype(np.float32)
    for _ in range(EFFECT_ROUNDS):
        effects = np.stack(
            [_fit_target_effects(windows, known, linear, target) for target in range(windows.past.shape[2])], axis=1
        ).astype(np.float32)
        effect = known @ effects
        rest = windows._replace(past=windows.past - effect[:, :steps], truth=windows.truth - effect[:, steps:])
        linear = _fit_penalties(rest, [penalty])[0].linear
    return TableRegression(linear, effects)


def _fit_target_effects(windows: TableWindows, known: Array, linear: LinearCoefficients, target: int) -> Array:
    """Return the effects of known covariates on a target, `(known,)`, given the regression of its rest.

    Both sides of the equation of the forecast are linear in the values of the window: the part of the target that the
    regression leaves over is explained by the part of the covariates that the regression leaves over.
    """
    past, truth = windows.past[..., target : target + 1], windows.truth[..., target]
    place = _last_known_places(past)
    steps, read = past.shape[1], len(linear.weights)

    def leave_over(values: Array) -> Array:
        """Return what follows, relative to the place of the last known target, without its forecast."""
        relative = values - np.take_along_axis(values, place, axis=1)
        seen = np.where(np.isnan(past[:, -read:]), 0, np.nan_to_num(relative[:, steps - read : steps]))
        left: Array = relative[:, steps:] - np.einsum("nsf,sh->nhf", seen, linear.weights, optimize=True)
        return left

    design = leave_over(known)
    response = leave_over(np.concatenate([past, truth[..., None]], axis=1))[..., 0] - linear.intercept
    there = ~np.isnan(response)
    rows = design[there].astype(np.float64)
    square = rows.T @ rows
    # A covariate that does not vary has no effect.
    square[np.diag_indices_from(square)] += MIN_EFFECT_PENALTY * max(len(rows), 1)
    solved: Array = np.linalg.solve(square, rows.T @ response[there].astype(np.float64))
    return solved


def _sample_windows(data: Data, split: Split, most: int, steps: int) -> TableWindows:
    """Return evenly spaced samples of a split."""
    most = min(most, max(MAX_VALUES // (split.span * split.features), 20))
    index = evenly_spaced(split.samples, most)
    window = split.windows(index)
    scaled = data.scale.scaled(window, window[:, :steps], split.lines(index))
    return divide_windows(scaled, steps, data.covariates)


def _regression_data(past: Array, future: Array) -> tuple[Array, Array]:
    """Return the inputs `(rows, steps)` and targets `(rows, horizon)` of the regression, relative to the last known
    value.

    Each feature of each window is one row. Only windows with a complete future are used. If these are fewer than
    half of the windows with some known future value, as for business days, all of the latter are used and missing
    values are filled forward.
    """
    level = last_known_values(past)
    kept, some = ~np.isnan(future).any(axis=1), ~np.isnan(future).all(axis=1)
    if 2 * kept.sum() < some.sum():
        kept, future = some, _fill_forward(level, future)
    rows, changes = (np.moveaxis(values - level, 1, 2)[kept] for values in (past[:, -MAX_REGRESSION_STEPS:], future))
    return np.nan_to_num(rows).astype(np.float64), changes.astype(np.float64)


def _fill_forward(level: Array, future: Array) -> Array:
    """Fill missing values of future steps `(samples, horizon, features)` forward, starting from `level`."""
    values = np.concatenate([level, future], axis=1)
    place = np.where(np.isnan(values), 0, np.arange(values.shape[1])[:, None])
    filled: Array = np.take_along_axis(values, np.maximum.accumulate(place, axis=1), axis=1)[:, 1:]
    return filled


def _mse(predicted: Array, truth: Array) -> float:
    """Return the mean squared error over the known values; NaN if there are none."""
    error = np.square(predicted - truth, dtype=np.float64)
    there = ~np.isnan(error)
    return float(error[there].mean()) if there.any() else float("nan")


def _mse_by_feature(predicted: Array, truth: Array) -> Array:
    """Return the mean squared error of each feature over its known values, `(features,)`."""
    error = np.square(predicted - truth, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        means: Array = np.nansum(error, axis=(0, 1)) / (~np.isnan(error)).sum(axis=(0, 1))
    return means


# Prices.


class KnownPrices(NamedTuple):
    """The inputs of the price baselines and the true changes of some samples, scaled.

    Args:
        past: `(samples, days, features)` the last known days: prices, and in the last feature a volume if `volume`
            is True.
        days: `(samples, horizon)` the days to forecast.
        change: `(samples, horizon)` the change of the first feature from its last known value.
        others: `(samples, features - 1)` the changes of the other features to the first day.
        volume: Whether the last feature is a volume.
    """

    past: Array
    days: NDArray[np.datetime64]
    change: Array
    others: Array
    volume: bool


class PriceRegression(NamedTuple):
    """The linear regression of prices, a baseline and the start of a network.

    Args:
        days: The number of last days that it reads.
        linear: From `regressors` to the change of the first feature on every day of the horizon.
        others: From `regressors` to the changes of the other features on the first day.
    """

    days: int
    linear: LinearCoefficients
    others: LinearCoefficients

    def first_day(self) -> LinearCoefficients:
        """Return the regression to the change of every feature on the first day."""
        parts = LinearCoefficients(self.linear.weights[:, :1], self.linear.intercept[:1]), self.others
        return LinearCoefficients(*(np.concatenate(each, axis=-1) for each in zip(*parts, strict=True)))


@dataclass(frozen=True)
class PriceBaselines(Artifact):
    """The fitted baselines of prices.

    Args:
        drift: The mean change per day.
        weekday: `(7,)` the mean change by day of the week, Monday first.
        linear: The regression from the known values to the change on every day of the horizon.
        days: The number of last days that the regression reads.
        walk: `(horizon, 199)` quantiles of the changes, which are the forecast distribution of the empirical random
            walk.
        spread: `(horizon, 199)` quantiles of the errors of persistence on validation; None without validation windows.
        calmest: The lower limit of the volatility for these errors.
    """

    file = "baselines.npz"

    drift: float
    weekday: Annotated[Array, StoredArray("weekday", np.floating, "weekdays")]
    linear: LinearCoefficients
    days: int
    walk: Annotated[Array, StoredArray("walk", np.floating, "horizon", "quantiles")]
    spread: Annotated[Array | None, StoredArray("spread", np.floating, "horizon", "quantiles", flag="has_spread")]
    calmest: float

    def __post_init__(self) -> None:
        if self.calibration is not None:
            self.calibration.require_finite()

    @property
    def calibration(self) -> Calibration | None:
        """The calibration of persistence; None without validation windows."""
        return None if self.spread is None else Calibration(self.spread, self.calmest)

    def cut(self, given: int, ahead: int) -> "PriceBaselines | None":
        """Return the baselines for a shorter horizon.

        None if `given` is less than the days that the regression reads, or `ahead` is beyond the horizon.
        """
        if given < self.days or ahead > len(self.walk):
            return None
        linear = LinearCoefficients(self.linear.weights[:, :ahead], self.linear.intercept[:ahead])
        spread = None if self.spread is None else self.spread[:ahead]
        return replace(self, linear=linear, walk=self.walk[:ahead], spread=spread)

    def predict(self, known: KnownPrices) -> dict[str, Array]:
        """Return the change that each baseline but persistence forecasts, by name, `(samples, horizon)`, scaled."""
        ahead = np.arange(1, known.days.shape[1] + 1)
        return {
            "drift": np.broadcast_to(self.drift * ahead, known.days.shape),
            "weekday": np.cumsum(self.weekday[weekday_numbers(known.days)], axis=1),
            LINEAR_NAME: self.linear.predict(regressors(known, self.days)).reshape(known.days.shape),
        }


def fit_price_baselines(
    data: Data, given: int, ahead: int, *, days: int | None = None, refit: bool = False
) -> PriceBaselines:
    """Fit all baselines on the training split.

    The validation split selects the number of days that the linear regression reads and calibrates the errors of
    persistence.

    Args:
        data: The data set.
        given, ahead: Days in a window and days to forecast after it.
        days: The number of days that the regression reads; None to select it.
        refit: Whether to fit again on training and validation data together, as the model was.
    """
    seen, judged = _training_prices(data, given, ahead)
    first = seen.change[:, 0]
    drift = float(first.mean())
    which = weekday_numbers(seen.days[:, 0])
    count, sums = np.bincount(which, minlength=7), np.bincount(which, first, minlength=7)
    by_weekday = np.where(count > 0, sums / np.maximum(count, 1), drift)
    number, linear, _ = _choose_regression(seen, judged, [days] if days else _regression_days(given))
    # In a shuffled split, the training windows of another length would include rows of the test split.
    if refit and data.train.series is not data.test.series:
        return fit_price_baselines(join_training(data), given, ahead, days=number)
    walk = np.quantile(seen.change, QUANTILES, axis=0).T
    naive = ForecastMethod(lambda past, lines, following: persistence(past, ahead), given, ahead)
    spread = calibrate_price_intervals(naive, data)
    limits = (spread.quantiles, spread.calmest) if spread else (None, 0.0)
    return PriceBaselines(drift, by_weekday, linear, number, walk, *limits)


def fit_price_regression(data: Data, given: int) -> PriceRegression:
    """Fit the linear regression of `fit_price_baselines` for one day ahead, without the other baselines.

    Args:
        data: The data set.
        given: Days in a window.
    """
    choices = _regression_days(given)
    if data.separate is not None:
        choices = [fit_price_regression(data.separate, given).days]
    seen, judged = _training_prices(data, given, 1)
    return _choose_regression(seen, judged, choices)


def _training_prices(data: Data, given: int, ahead: int) -> tuple[KnownPrices, KnownPrices]:
    """Return samples of the training split and of the validation split."""
    splits = (data.recut(split, given + ahead) for split in data[:2])
    seen, judged = (_sample_known_prices(data, split, given) for split in splits)
    return seen, judged


def _regression_days(given: int) -> list[int]:
    return [number for number in REGRESSION_DAYS if number <= given]


def _choose_regression(seen: KnownPrices, judged: KnownPrices, choices: Sequence[int]) -> PriceRegression:
    """Fit the regression that reads the number of days with the smallest error on known prices of validation."""
    horizon = seen.change.shape[1]
    targets = np.concatenate([seen.change, seen.others], axis=1)
    tried = []
    for days in choices:
        weights, intercept = fit_regression(regressors(seen, days), targets)
        own, others = (
            LinearCoefficients(weights[:, part].astype(np.float64), intercept[part].astype(np.float64))
            for part in (slice(horizon), slice(horizon, None))
        )
        errors = own.predict(regressors(judged, days)) - judged.change
        tried.append((float(np.mean(errors**2)) if errors.size else 0.0, PriceRegression(days, own, others)))
    return min(tried, key=lambda found: (found[0], found[1].days))[1]


def _sample_known_prices(data: Data, split: Split, given: int) -> KnownPrices:
    """Return samples that are evenly spaced over a split."""
    split = split.thin(MAX_PRICE_WINDOWS)
    pieces = [known_prices(data, split, index, given) for index in split.batches()]
    pieces = pieces or [known_prices(data, split, slice(0), given)]
    past, days, change, others = (np.concatenate([piece[k] for piece in pieces]) for k in range(4))
    return KnownPrices(past, days, change, others, pieces[0].volume)


def known_prices(data: Data, split: Split, index: slice, given: int) -> KnownPrices:
    """Return the known values after the first `given` days of some samples, and the changes on the remaining days."""
    window = split.windows(index)
    scaled = data.scale.scaled(window, window[:, :given], split.lines(index))
    assert split.time is not None
    days = split.time[split.starts[index][:, None] + np.arange(given, split.span)]
    change = (scaled[:, given:, 0] - scaled[:, given - 1 : given, 0]).astype(np.float64)
    others = (scaled[:, given, 1:] - scaled[:, given - 1, 1:]).astype(np.float64)
    past = scaled[:, max(0, given - REGRESSION_DAYS[-1]) : given]
    return KnownPrices(past, days, change, others, data.feature_names[-1].startswith("volume"))


def regressors(known: KnownPrices, days: int) -> Array:
    """Return the inputs of the regression, `(samples, columns)`.

    The columns are the prices of the last `days` days minus the last value of the first feature, and the volumes
    minus the last volume.
    """
    past = known.past[:, -days:]
    base = np.repeat(past[:, -1:, :1], past.shape[2], axis=2)
    if known.volume:
        base[..., -1] = past[:, -1:, -1]
    columns: Array = (past - base).reshape(len(past), past.shape[1] * past.shape[2])
    return columns
