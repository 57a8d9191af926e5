"""Baseline forecasts: last value, season, drift, and linear regression.

All baselines work on scaled values and are fitted on the training split; the validation split selects their form. The
regression of a table forecasts each column from its own past and the known covariates. The joint regression, that of
prices, forecasts one column from all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.artifacts import Artifact, StoredArray
from lstm_ae.data.columns import Covariates
from lstm_ae.data.windows import Data, SampleIndex, Split, evenly_spaced

LINEAR_NAME = "linear regression"

# These limits bound the time and memory of a fit.
MAX_FIT_WINDOWS, MAX_VALIDATION_WINDOWS, MAX_VALUES = 20_000, 2_000, 20_000_000

# More windows of prices take memory without changing the joint regression.
MAX_JOINT_WINDOWS = 200_000

# The regression of a table reads at most this many steps at the end of a window.
MAX_REGRESSION_STEPS = 1024

# Penalties are multiplied by the number of windows. The one with the smallest validation error is used.
PENALTIES = (1e-6, 1e-4, 1e-2, 1e-1)

# Rounds of alternating least squares for the effects of known covariates, and the weight of their squares relative to
# the sum of the squared errors.
EFFECT_ROUNDS, MIN_EFFECT_PENALTY = 3, 1e-6

# The joint regression reads the number of last steps with the smallest validation error.
JOINT_STEPS = (1, 2, 6, 10)

# A season must reduce the error of the last value and of any shorter season by this share to be used. One that was not
# detected in the training rows must reduce it by the second share of the error of the last value: multiples of a season
# have similar errors, some of which are smaller by chance.
MIN_SEASON_GAIN, MIN_UNTESTED_GAIN = 0.02, 0.1


class LinearCoefficients(NamedTuple):
    """The coefficients of a fitted linear regression: `weights` `(inputs, horizon)` and `intercept` `(horizon,)`.

    The regression reads the last steps of one target, or with `joint` those of all features.
    """

    weights: Annotated[Array, StoredArray("regression_0", np.floating, "inputs", "horizon")]
    intercept: Annotated[Array, StoredArray("regression_1", np.floating, "horizon")]
    joint: bool = False

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
    repeated = past[:, past.shape[1] - season + np.arange(horizon) % season]
    return np.where(np.isnan(repeated), last_known_values(past), repeated)


def seasonal_naive(past: Array, horizon: int, seasons: Sequence[int | None]) -> Array:
    """Repeat the last season of each feature, or its last known value if it has no season."""
    predicted = persistence(past, horizon)
    for season in {season for season in seasons if season}:
        columns = [each == season for each in seasons]
        predicted[..., columns] = repeat_season(past[..., columns], horizon, season)
    return predicted


def season_name(seasons: Sequence[int | None]) -> str:
    """Return the name of the naive baseline for these seasons."""
    if not any(seasons):
        return "persistence"
    return f"season of {seasons[0]} steps" if len(set(seasons)) == 1 else "season by column"


def choose_seasons(
    data: Data, steps: int, detected: Sequence[Sequence[int]], usual: Sequence[int] = ()
) -> tuple[int | None, ...]:
    """Select the season of each target that forecasts the validation windows best.

    Args:
        data: The data set.
        steps: Steps of a window, which must contain the season; the remaining steps of a sample are the horizon.
        detected: The seasons of each target in the training rows.
        usual: Further seasons to try, which must forecast the training windows better as well.

    Returns:
        The season of each target in steps; None where no season reduces the error enough.
    """
    fitting = [sorted({season for season in (*seasons, *usual) if season <= steps}) for seasons in detected]
    if not any(fitting):
        return (None,) * len(detected)
    samples = [sample_windows(data, split, MAX_VALIDATION_WINDOWS, steps) for split in (data.train, data.validation)]
    errors = {
        season: np.array(
            [
                _mse_by_feature(seasonal_naive(each.past, each.truth.shape[1], [season] * data.targets), each.truth)
                for each in samples
            ]
        )
        for season in {None, *(season for seasons in fitting for season in seasons)}
    }
    chosen: list[int | None] = []
    for place, seasons in enumerate(fitting):
        best = None
        for season in seasons:
            last, before, after = (errors[each][:, place] for each in (None, best, season))
            tested = season in detected[place]
            needed = MIN_SEASON_GAIN * before if tested else MIN_UNTESTED_GAIN * last
            trained, validated = after < before - needed
            if validated and (trained or tested):
                best = season
        chosen.append(best)
    return tuple(chosen)


class ForecastWindows(NamedTuple):
    """Windows with the rows after them, in scaled values.

    Args:
        scaled: `(samples, steps + horizon, features)`, with the targets first and the known covariates last.
        steps: Input steps of a window.
        covariates: Numbers of the features that are not forecast.
        volume: Whether the last feature is a volume of trades, which has a level of its own.
    """

    scaled: Array
    steps: int
    covariates: Covariates
    volume: bool = False

    @property
    def targets(self) -> Array:
        """The features to forecast in the windows and over the horizon."""
        return self.scaled[..., : self.scaled.shape[2] - sum(self.covariates)]

    @property
    def past(self) -> Array:
        """`(samples, steps, targets)` windows of the features to forecast."""
        return self.targets[:, : self.steps]

    @property
    def truth(self) -> Array:
        """`(samples, horizon, targets)` values to forecast."""
        return self.targets[:, self.steps :]

    @property
    def known(self) -> Array:
        """`(samples, steps + horizon, known)` known covariates in the windows and over the horizon."""
        return self.scaled[..., self.scaled.shape[2] - self.covariates.known :]


def forecast_windows(data: Data, split: Split, index: SampleIndex, steps: int) -> ForecastWindows:
    """Return some windows of a split, of which the first steps are read."""
    window = split.windows(index)
    scaled = data.scale.scaled(window, window[:, :steps], split.lines(index))
    return ForecastWindows(scaled, steps, data.covariates, data.feature_names[-1].startswith("volume"))


def sample_windows(data: Data, split: Split, max_windows: int, steps: int) -> ForecastWindows:
    """Return evenly spaced windows of a split, fewer if they are large."""
    max_windows = min(max_windows, max(MAX_VALUES // (split.span * split.features), 20))
    return forecast_windows(data, split, evenly_spaced(split.samples, max_windows), steps)


@dataclass(frozen=True)
class ForecastRegression(Artifact):
    """A linear regression of windows, which is a baseline and the start of a network.

    With known covariates, a target is the sum of their effects and of a remainder. The effects are a linear function of
    the covariates of the same step. The remainder is forecast from its own past: a regression with autoregressive
    errors (Cochrane and Orcutt 1949, "Application of least squares regression to relationships containing
    auto-correlated error terms").

    Args:
        linear: From the last steps to the horizon, for values relative to the last known one: shared by all targets,
            or joint, for a single target.
        effects: `(known, targets)` coefficients of the known covariates; None for none.
    """

    file = "regression.npz"

    linear: LinearCoefficients
    effects: Annotated[Array | None, StoredArray("effects_0", np.floating, "known", "targets", flag="has_effects")] = (
        None
    )

    def predict(self, windows: ForecastWindows) -> Array:
        """Return the forecasts, `(samples, horizon, targets)`."""
        if self.linear.joint:
            steps = len(self.linear.weights) // windows.scaled.shape[2]
            joint: Array = windows.past[:, -1:] + self.linear.predict(regressors(windows, steps))[..., None]
            return joint
        past, effect = windows.past, None
        if self.effects is not None:
            effect = np.nan_to_num(windows.known) @ self.effects
            past = past - effect[:, : windows.steps]
        level = last_known_values(past)
        relative = np.nan_to_num(past[:, -len(self.linear.weights) :] - level)
        change = np.einsum("nsf,sh->nhf", relative, self.linear.weights, optimize=True) + self.linear.intercept[:, None]
        predicted: Array = level + change
        return predicted if effect is None else predicted + effect[:, windows.steps :]


class Baselines(NamedTuple):
    """The fitted baselines of a forecaster.

    Args:
        seasons: The season of each target in steps; None for a target without one.
        horizon: The number of steps to forecast, at most that of the regression.
        regression: The linear regression; None without one.
        drift: The mean change per step, for prices; None without this baseline.
    """

    seasons: tuple[int | None, ...]
    horizon: int
    regression: ForecastRegression | None = None
    drift: float | None = None

    def predict(self, windows: ForecastWindows) -> dict[str, Array]:
        """Return the forecast of each baseline by name, `(samples, horizon, targets)`; the reference for skill is
        first.
        """
        past, last = windows.past, persistence(windows.past, self.horizon)
        forecasts = {"persistence": last}
        if any(self.seasons):
            forecasts = {season_name(self.seasons): seasonal_naive(past, self.horizon, self.seasons)} | forecasts
        if self.drift is not None:
            forecasts["drift"] = last + self.drift * np.arange(1, self.horizon + 1)[:, None]
        if self.regression is not None:
            forecasts[LINEAR_NAME] = self.regression.predict(windows)[:, : self.horizon]
        return forecasts


def fit_baselines(data: Data, steps: int, horizon: int, *, joint: bool = False) -> Baselines:
    """Fit the linear regression on the training split.

    The validation split selects its penalty, and whether it has effects of known covariates. For a joint regression, it
    selects the number of last steps to read.

    Args:
        data: The data set, which also provides the seasons.
        steps: Steps of a window.
        horizon: Steps to forecast.
        joint: Whether the regression of a single target is joint. The drift is then another baseline.
    """
    if joint:
        linear = fit_joint_regression(data, steps, horizon)
        linear = linear._replace(weights=linear.weights[:, :horizon], intercept=linear.intercept[:horizon])
        training = sample_windows(data, data.recut(data.train, steps + horizon), MAX_JOINT_WINDOWS, steps)
        drift = float(_changes(training)[:, 0].mean())
        return Baselines(data.seasons, horizon, ForecastRegression(linear), drift)
    training = sample_windows(data, data.train, MAX_FIT_WINDOWS, steps)
    validation = sample_windows(data, data.validation, MAX_VALIDATION_WINDOWS, steps)
    candidates = _fit_penalties(training, PENALTIES)
    errors = [_mse(candidate.predict(validation), validation.truth) for candidate in candidates]
    best = min(range(len(candidates)), key=errors.__getitem__)
    regression = candidates[best]
    if data.covariates.known:
        with_effects = _fit_effects(training, regression, PENALTIES[best])
        if _mse(with_effects.predict(validation), validation.truth) < errors[best]:
            regression = with_effects
    return Baselines(data.seasons, horizon, regression)


def fit_joint_regression(data: Data, steps: int, horizon: int) -> LinearCoefficients:
    """Fit the joint regression to `_changes`, with the number of last steps that has the smallest validation error."""
    training, validation = (
        sample_windows(data, data.recut(split, steps + horizon), MAX_JOINT_WINDOWS, steps) for split in data[:2]
    )
    targets, truth = _changes(training), _changes(validation)[:, :horizon]
    candidates = []
    for read in JOINT_STEPS:
        if read <= steps:
            weights, intercept = fit_regression(regressors(training, read), targets)[:2]
            linear = LinearCoefficients(weights.astype(np.float64), intercept.astype(np.float64), joint=True)
            errors = linear.predict(regressors(validation, read))[:, :horizon] - truth
            candidates.append((float(np.mean(errors**2)) if errors.size else 0.0, read, linear))
    return min(candidates, key=lambda candidate: candidate[:2])[2]


def _fit_penalties(windows: ForecastWindows, penalties: Sequence[float]) -> list[ForecastRegression]:
    """Return the regression without effects for each penalty; all zeros if there is no usable window."""
    inputs, changes = _regression_data(windows.past, windows.truth)
    horizon = changes.shape[1]
    if not len(inputs):
        zeros = LinearCoefficients(np.zeros((inputs.shape[1], horizon), np.float32), np.zeros(horizon, np.float32))
        return [ForecastRegression(zeros)] * len(penalties)
    fits = [fit_regression(inputs, changes, penalty * len(inputs)) for penalty in penalties]
    return [
        ForecastRegression(LinearCoefficients(fit.weights.astype(np.float32), fit.intercept.astype(np.float32)))
        for fit in fits
    ]


def _fit_effects(windows: ForecastWindows, start: ForecastRegression, penalty: float) -> ForecastRegression:
    """Return the regression with effects of known covariates, by `EFFECT_ROUNDS` of alternating least squares.

    Args:
        windows: The windows to fit on.
        start: The regression without effects.
        penalty: The penalty of the regression of the remainder.
    """
    linear = start.linear
    known = np.nan_to_num(windows.known).astype(np.float32)
    for _ in range(EFFECT_ROUNDS):
        effects = np.stack(
            [_fit_target_effects(windows, known, linear, target) for target in range(windows.past.shape[2])], axis=1
        ).astype(np.float32)
        effect = known @ effects
        remainder = ForecastWindows(windows.targets - effect, windows.steps, Covariates())
        linear = _fit_penalties(remainder, [penalty])[0].linear
    return ForecastRegression(linear, effects)


def _fit_target_effects(windows: ForecastWindows, known: Array, linear: LinearCoefficients, target: int) -> Array:
    """Return the effects of known covariates on a target, `(known,)`, given the regression of its remainder.

    Both sides of the equation of the forecast are linear in the values of the window: the part of the target that the
    regression does not explain is a linear function of the part of the covariates that it does not explain.
    """
    past = windows.past[..., target : target + 1]
    place = _last_known_places(past)
    steps, read = windows.steps, len(linear.weights)

    def unexplained(values: Array) -> Array:
        """Return the values after the window minus their forecast, relative to the step of the last known target."""
        relative = values - np.take_along_axis(values, place, axis=1)
        seen = np.where(np.isnan(past[:, -read:]), 0, np.nan_to_num(relative[:, steps - read : steps]))
        residuals: Array = relative[:, steps:] - np.einsum("nsf,sh->nhf", seen, linear.weights, optimize=True)
        return residuals

    design = unexplained(known)
    response = unexplained(windows.targets[..., target : target + 1])[..., 0] - linear.intercept
    present = ~np.isnan(response)
    rows = design[present].astype(np.float64)
    square = rows.T @ rows
    # A covariate that does not vary has no effect.
    square[np.diag_indices_from(square)] += MIN_EFFECT_PENALTY * max(len(rows), 1)
    solved: Array = np.linalg.solve(square, rows.T @ response[present].astype(np.float64))
    return solved


def _regression_data(past: Array, future: Array) -> tuple[Array, Array]:
    """Return the inputs `(rows, steps)` and targets `(rows, horizon)` of the regression, relative to the last known
    value.

    Each feature of each window is one row. Only windows with a complete future are used. If these are fewer than
    half of the windows with some known future value, as for business days, all of the latter are used and missing
    values are filled forward.
    """
    level = last_known_values(past)
    usable, partly_known = ~np.isnan(future).any(axis=1), ~np.isnan(future).all(axis=1)
    if 2 * usable.sum() < partly_known.sum():
        usable, future = partly_known, _fill_forward(level, future)
    rows, changes = (np.moveaxis(values - level, 1, 2)[usable] for values in (past[:, -MAX_REGRESSION_STEPS:], future))
    return np.nan_to_num(rows).astype(np.float64), changes.astype(np.float64)


def _fill_forward(level: Array, future: Array) -> Array:
    """Fill missing values of future steps `(samples, horizon, features)` forward, starting from `level`."""
    values = np.concatenate([level, future], axis=1)
    place = np.where(np.isnan(values), 0, np.arange(values.shape[1])[:, None])
    filled: Array = np.take_along_axis(values, np.maximum.accumulate(place, axis=1), axis=1)[:, 1:]
    return filled


def mean_known(values: Array) -> float:
    """Return the mean of the known values; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _mse(predicted: Array, truth: Array) -> float:
    """Return the mean squared error over the known values; NaN if there are none."""
    return mean_known(np.square(predicted - truth, dtype=np.float64))


def _mse_by_feature(predicted: Array, truth: Array) -> Array:
    """Return the mean squared error of each feature over its known values, `(features,)`."""
    error = np.square(predicted - truth, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        means: Array = np.nansum(error, axis=(0, 1)) / (~np.isnan(error)).sum(axis=(0, 1))
    return means


def _changes(windows: ForecastWindows) -> Array:
    """Return the changes from the last known values: of the target in every step of the horizon, and of the other
    features in the first step, `(samples, horizon + features - 1)`.
    """
    last, following = windows.scaled[:, windows.steps - 1], windows.scaled[:, windows.steps :]
    return np.concatenate(
        [following[..., 0] - last[:, :1], following[:, 0, 1:] - last[:, 1:]], axis=1, dtype=np.float64
    )


def regressors(windows: ForecastWindows, steps: int) -> Array:
    """Return the inputs of the joint regression, `(samples, columns)`.

    The columns are the values of the last `steps` steps minus the last value of the first feature, and the volumes
    minus the last volume.
    """
    past = windows.scaled[:, windows.steps - steps : windows.steps]
    base = np.repeat(past[:, -1:, :1], past.shape[2], axis=2)
    if windows.volume:
        base[..., -1] = past[:, -1:, -1]
    columns: Array = (past - base).reshape(len(past), past.shape[1] * past.shape[2])
    return columns
