"""Baseline forecasts of a table: last value, last season, and linear regression.

All baselines work on scaled windows `(samples, steps, features)` with NaN where a value is missing, and forecast
every step of a horizon, `(samples, horizon, features)`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.data.windows import Data, Split, evenly_spaced, join_training
from lstm_ae.files import load_state, save_state

LINEAR_NAME = "linear regression"

# These limits bound the time and memory of the fit.
MAX_FIT_WINDOWS, MAX_VALIDATION_WINDOWS, MAX_VALUES = 20_000, 2_000, 20_000_000

# The regression reads at most this many steps at the end of a window.
MAX_REGRESSION_STEPS = 1024

# Penalties are multiplied by the number of windows. The one with the smallest validation error is used.
PENALTIES = (1e-6, 1e-4, 1e-2, 1e-1)

# A season must reduce the error of the last value and of any shorter season by this share to be used.
MIN_SEASON_GAIN = 0.02


class TableBaselines(NamedTuple):
    """The fitted baselines.

    Args:
        seasons: The season of each feature in steps; None for a feature without one.
        weights: `(last steps, horizon)` regression weights, shared by all features, for values relative to the last
            known one; None without a regression.
        bias: `(horizon,)`.
    """

    seasons: tuple[int | None, ...]
    weights: Array | None
    bias: Array

    def said(self, past: Array) -> dict[str, Array]:
        """Return the forecast of each baseline by name, `(samples, horizon, features)`; the reference for skill is
        first.
        """
        horizon = len(self.bias)
        found = {"persistence": persistence(past, horizon)}
        if any(self.seasons):
            found = {season_name(self.seasons): seasonal_naive(past, horizon, self.seasons)} | found
        if self.weights is None:
            return found
        level = last_known_values(past)
        relative = np.nan_to_num(past[:, -len(self.weights) :] - level)
        linear = np.einsum("nsf,sh->nhf", relative, self.weights, optimize=True) + self.bias[:, None]
        return found | {LINEAR_NAME: level + linear}


def write_regression(path: Path, fitted: TableBaselines) -> None:
    """Write the regression that forecasts of other tables are compared with."""
    assert fitted.weights is not None
    save_state(path, {}, {"regression": [fitted.weights, fitted.bias]})


def read_regression(path: Path) -> tuple[Array, Array]:
    """Return the weights and bias of `TableBaselines` from a file written by `write_regression`.

    Raises:
        DataError: If the file is damaged.
    """
    weights, bias = load_state(path, {"regression": 2})[1]["regression"]
    return weights, bias


def last_known_values(past: Array) -> Array:
    """Return the last known value of each feature, `(samples, 1, features)`; 0 if there is none."""
    there = ~np.isnan(past)
    place = past.shape[1] - 1 - there[:, ::-1].argmax(axis=1, keepdims=True)
    last: Array = np.nan_to_num(np.take_along_axis(past, place, axis=1))
    return last


def persistence(past: Array, horizon: int) -> Array:
    """Return the last known value for every step, `(samples, horizon, features)`."""
    return np.repeat(last_known_values(past), horizon, axis=1)


def repeat_season(past: Array, horizon: int, season: int) -> Array:
    """Repeat the last season over the horizon; missing values are replaced with the last known one."""
    again = past[:, past.shape[1] - season + np.arange(horizon) % season]
    return np.where(np.isnan(again), last_known_values(past), again)


def seasonal_naive(past: Array, horizon: int, seasons: Sequence[int | None]) -> Array:
    """Repeat the last season of each feature, or its last known value if it has no season."""
    said = persistence(past, horizon)
    for season in {season for season in seasons if season}:
        places = [place for place, of in enumerate(seasons) if of == season]
        said[..., places] = repeat_season(past[..., places], horizon, season)
    return said


def season_name(seasons: Sequence[int | None]) -> str:
    """Return the name of the naive baseline for these seasons."""
    if not any(seasons):
        return "persistence"
    return f"season of {seasons[0]} steps" if len(set(seasons)) == 1 else "season by column"


def choose_seasons(data: Data, steps: int, found: Sequence[Sequence[int]]) -> tuple[int | None, ...]:
    """Select the season of each feature that forecasts the validation windows best.

    Args:
        data: The data set.
        steps: Steps of a window, which must contain the season; the remaining steps of a sample are the horizon.
        found: The seasons of the training rows of each feature, ascending.

    Returns:
        The season of each feature in steps; None where no season reduces the error enough.
    """
    fitting = [[season for season in seasons if season <= steps] for seasons in found]
    if not any(fitting):
        return (None,) * len(found)
    window = sample_scaled_windows(data, data.validation, MAX_VALIDATION_WINDOWS, steps)
    past, truth = window[:, :steps], window[:, steps:]
    errors = {
        season: _mse_by_feature(seasonal_naive(past, truth.shape[1], [season] * past.shape[2]), truth)
        for season in {None, *(season for seasons in fitting for season in seasons)}
    }
    chosen: list[int | None] = []
    for place, seasons in enumerate(fitting):
        best = None
        for season in seasons:
            if errors[season][place] < (1 - MIN_SEASON_GAIN) * errors[best][place]:
                best = season
        chosen.append(best)
    return tuple(chosen)


def fit_table_baselines(data: Data, steps: int, *, refit: bool = False) -> TableBaselines:
    """Fit the linear regression on the training split and select its penalty on the validation split.

    Args:
        data: The data set, which also provides the seasons.
        steps: Steps of a window.
        refit: Whether to fit again on training and validation data together, as the model was.
    """
    judged = sample_scaled_windows(data, data.validation, MAX_VALIDATION_WINDOWS, steps)
    past, truth = judged[:, :steps], judged[:, steps:]
    tried = _fit_penalties(data, steps, PENALTIES)
    errors = [_mse(found.said(past)[LINEAR_NAME], truth) for found in tried]
    best = min(range(len(tried)), key=errors.__getitem__)
    return _fit_penalties(join_training(data), steps, PENALTIES[best : best + 1])[0] if refit else tried[best]


def _fit_penalties(data: Data, steps: int, penalties: Sequence[float]) -> list[TableBaselines]:
    """Return the baselines for each penalty; the regression is all zeros if the training split has no usable window."""
    from sklearn.linear_model import Ridge

    rows, changes = _regression_data(sample_scaled_windows(data, data.train, MAX_FIT_WINDOWS, steps), steps)
    if not len(rows):
        weights, bias = np.zeros((rows.shape[1], changes.shape[1]), np.float32), np.zeros(changes.shape[1], np.float32)
        return [TableBaselines(data.seasons, weights, bias)] * len(penalties)
    fits = [Ridge(penalty * len(rows), solver="cholesky").fit(rows, changes) for penalty in penalties]
    # For a single step, the coefficients have one axis or two, depending on the version of scikit-learn.
    return [
        TableBaselines(
            data.seasons,
            np.atleast_2d(ridge.coef_).T.astype(np.float32),
            np.atleast_1d(ridge.intercept_).astype(np.float32),
        )
        for ridge in fits
    ]


def sample_scaled_windows(data: Data, split: Split, most: int, steps: int) -> Array:
    """Return at most `most` evenly spaced samples of a split, scaled; the first `steps` rows of each are its window."""
    index = _spaced_samples(split, most)
    window = split.windows(index)
    scaled: Array = data.scale.scaled(window, window[:, :steps], split.companies(index))
    return scaled


def _spaced_samples(split: Split, most: int) -> Array:
    most = min(most, max(MAX_VALUES // (split.span * split.features), 20))
    return evenly_spaced(split.samples, most)


def _regression_data(windows: Array, steps: int) -> tuple[Array, Array]:
    """Return the inputs `(rows, steps)` and targets `(rows, horizon)` of the regression, relative to the last known
    value.

    Each feature of each window is one row. Only windows with a complete future are used. If these are fewer than
    half of the windows with some known future value, as for business days, all of the latter are used and missing
    values are filled forward.
    """
    past, future = windows[:, :steps], windows[:, steps:]
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


def _mse(said: Array, truth: Array) -> float:
    """Return the mean squared error over the known values; NaN if there are none."""
    error = np.square(said - truth, dtype=np.float64)
    there = ~np.isnan(error)
    return float(error[there].mean()) if there.any() else float("nan")


def _mse_by_feature(said: Array, truth: Array) -> Array:
    """Return the mean squared error of each feature over its known values, `(features,)`."""
    error = np.square(said - truth, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        means: Array = np.nansum(error, axis=(0, 1)) / (~np.isnan(error)).sum(axis=(0, 1))
    return means
