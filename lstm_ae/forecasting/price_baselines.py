"""Baseline predictors for the next days of the first feature.

All baselines work on scaled values, are fitted on the training split, and predict the change from the last known
value.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array
from lstm_ae.data.windows import OPEN_FEATURE, Data, Split, evenly_spaced, join_training
from lstm_ae.files import load_state, save_state
from lstm_ae.forecasting.intervals import QUANTILES, Calibration, calibrate_intervals, recent_volatility

# The number of days with the smallest validation error is used.
REGRESSION_DAYS = (1, 2, 6, 10)

# More windows take memory without changing the fit.
MAX_FIT_WINDOWS = 200_000

MONDAY = np.datetime64("1970-01-05")


class KnownPrices(NamedTuple):
    """The inputs of the predictors and the true changes of some samples, scaled.

    Args:
        past: `(samples, days, features)` the last known days: prices, and in the last feature a volume if `volume`
            is True.
        opens: `(samples,)` the open of the first day to forecast; None if unknown.
        days: `(samples, horizon)` the days to forecast.
        change: `(samples, horizon)` the change of the first feature from its last known value.
        volume: Whether the last feature is a volume.
    """

    past: Array
    opens: Array | None
    days: NDArray[np.datetime64]
    change: Array
    volume: bool


class LinearCoefficients(NamedTuple):
    """The coefficients of a fitted linear regression: `weights` `(columns, horizon)` and `intercept` `(horizon,)`."""

    weights: Array
    intercept: Array


class PriceBaselines(NamedTuple):
    """The fitted predictors. With the default values, persistence is the only one.

    Args:
        drift: The mean change per day.
        weekday: `(7,)` the mean change by day of the week, Monday first.
        linear: The regression from the known values to the change on every day of the horizon.
        days: The number of last days that the regression reads.
        walk: `(horizon, 199)` quantiles of the changes, which are the forecast distribution of the empirical random
            walk.
        spread: The calibration of persistence on validation; None without validation windows.
    """

    drift: float = 0.0
    weekday: Array | None = None
    linear: LinearCoefficients | None = None
    days: int = 0
    walk: Array | None = None
    spread: Calibration | None = None

    def cut(self, given: int, ahead: int) -> "PriceBaselines":
        """Return the predictors for a shorter horizon.

        If `given` is less than the days that the regression reads, or `ahead` is beyond the horizon, only
        persistence remains.
        """
        if self.linear is None or self.walk is None or given < self.days or ahead > len(self.walk):
            return PriceBaselines()
        linear = LinearCoefficients(self.linear.weights[:, :ahead], self.linear.intercept[:ahead])
        spread = self.spread and self.spread._replace(quantiles=self.spread.quantiles[:ahead])
        return self._replace(linear=linear, walk=self.walk[:ahead], spread=spread)

    def changes(self, known: KnownPrices) -> dict[str, Array]:
        """Return the change that each predictor forecasts for each sample, by name, `(samples, horizon)`, scaled."""
        if self.weekday is None or self.linear is None:
            return {"persistence": np.zeros(known.days.shape)}
        ahead = np.arange(1, known.days.shape[1] + 1)
        said = regressors(known, self.days) @ self.linear.weights + self.linear.intercept
        return {
            "persistence": np.zeros(known.days.shape),
            "drift": np.broadcast_to(self.drift * ahead, known.days.shape),
            "weekday": np.cumsum(self.weekday[weekday_numbers(known.days)], axis=1),
            "linear": said.reshape(known.days.shape),
        }


def fit_price_baselines(
    data: Data, given: int, ahead: int, *, with_open: bool, days: int | None = None, refit: bool = False
) -> PriceBaselines:
    """Fit all predictors on the training split.

    The validation split selects the number of days that the linear regression reads and calibrates the errors of
    persistence.

    Args:
        data: The data set.
        given, ahead: Days in a window and days to forecast after it.
        with_open: Whether the open of the first day to forecast is known.
        days: The number of days that the regression reads; None to select it.
        refit: Whether to fit again on training and validation data together, as the model was.
    """
    from sklearn.linear_model import LinearRegression

    parts = [part if part.span == given + ahead else data.recut(part, given + ahead) for part in data[:2]]
    seen, judged = (_sample_known_prices(data, part, given, with_open=with_open) for part in parts)
    first = seen.change[:, 0]
    drift = float(first.mean())
    which = weekday_numbers(seen.days[:, 0])
    count, sums = np.bincount(which, minlength=7), np.bincount(which, first, minlength=7)
    by_weekday = np.where(count > 0, sums / np.maximum(count, 1), drift)
    tried = []
    for number in [days] if days else [number for number in REGRESSION_DAYS if number <= given]:
        linear = LinearRegression().fit(regressors(seen, number), seen.change)
        tried.append((_squared_error(linear, judged, number), number, linear))
    _, number, linear = min(tried, key=lambda found: found[:2])
    # In a shuffled split, the training windows of another length would include rows of the test split.
    if refit and data.train.series is not data.test.series:
        return fit_price_baselines(join_training(data), given, ahead, with_open=with_open, days=number)
    kept = LinearCoefficients(linear.coef_.T.astype(np.float64), np.asarray(linear.intercept_, np.float64))
    walk = np.quantile(seen.change, QUANTILES, axis=0).T
    return PriceBaselines(drift, by_weekday, kept, number, walk, _calibrate_persistence(data, parts[1], given))


def write_baselines(path: Path, fitted: PriceBaselines) -> None:
    """Write the baselines that forecasts of new data are compared with."""
    assert fitted.linear is not None
    meta, groups = {"drift": fitted.drift, "days": fitted.days}, {"fit": [fitted.weekday, *fitted.linear, fitted.walk]}
    if fitted.spread is not None:
        meta["calmest"], groups["spread"] = fitted.spread.calmest, [fitted.spread.quantiles]
    save_state(path, meta, groups)


def read_baselines(path: Path) -> PriceBaselines:
    """Return the baselines from a file written by `write_baselines`.

    Raises:
        DataError: If the file is damaged.
    """
    meta, groups = load_state(path, {"fit": 4})
    by_weekday, weights, intercept, walk = groups["fit"]
    spread = None
    if "calmest" in meta:
        (quantiles,) = load_state(path, {"spread": 1})[1]["spread"]
        spread = Calibration(quantiles, np.empty((0, 1)), meta["calmest"])
    return PriceBaselines(meta["drift"], by_weekday, LinearCoefficients(weights, intercept), meta["days"], walk, spread)


def _calibrate_persistence(data: Data, split: Split, given: int) -> Calibration | None:
    """Return the calibration of persistence on a split; None if it contains no window."""
    changes, moved = [], []
    for index in split.batches():
        window = split.windows(index)
        scaled = data.scale.scaled(window, window[:, :given], split.companies(index))
        changes.append((scaled[:, given:, 0] - scaled[:, given - 1 : given, 0]).astype(np.float64))
        moved.append(recent_volatility(scaled[:, :given]))
    if not changes:
        return None
    errors = np.concatenate(changes)
    return calibrate_intervals(errors, errors[:, :1], np.concatenate(moved))


def _squared_error(linear: Any, judged: KnownPrices, days: int) -> float:
    if not len(judged.change):
        return 0.0
    return float(np.mean((linear.predict(regressors(judged, days)) - judged.change) ** 2))


def _sample_known_prices(data: Data, split: Split, given: int, *, with_open: bool) -> KnownPrices:
    """Return samples that are evenly spaced over a split."""
    index = evenly_spaced(split.samples, MAX_FIT_WINDOWS)
    pieces = [known_prices(data, split, part, given, with_open=with_open) for part in _iterate_batches(index)]
    opens = np.concatenate([piece.opens for piece in pieces]) if with_open else None
    past, days, change = (np.concatenate([piece[k] for piece in pieces]) for k in (0, 2, 3))
    return KnownPrices(past, opens, days, change, pieces[0].volume)


def _iterate_batches(index: Array, size: int = 16_384) -> Iterator[Array]:
    for start in range(0, max(len(index), 1), size):
        yield index[start : start + size]


def known_prices(data: Data, split: Split, index: Any, given: int, *, with_open: bool) -> KnownPrices:
    """Return the known values after the first `given` days of some samples, and the changes on the remaining days."""
    window = split.windows(index)
    scaled = data.scale.scaled(window, window[:, :given], split.companies(index))
    assert split.time is not None
    days = split.time[split.starts[index][:, None] + np.arange(given, split.span)]
    opens = scaled[:, given, OPEN_FEATURE] if with_open else None
    change = (scaled[:, given:, 0] - scaled[:, given - 1 : given, 0]).astype(np.float64)
    past = scaled[:, max(0, given - REGRESSION_DAYS[-1]) : given]
    return KnownPrices(past, opens, days, change, data.feature_names[-1].startswith("volume"))


def regressors(known: KnownPrices, days: int) -> Array:
    """Return the inputs of the regression, `(samples, columns)`.

    The columns are the prices of the last `days` days minus the last value of the first feature, the volumes minus
    the last volume, and the next open minus the last value if it is known.
    """
    past = known.past[:, -days:]
    base = np.repeat(past[:, -1:, :1], past.shape[2], axis=2)
    if known.volume:
        base[..., -1] = past[:, -1:, -1]
    columns: Array = (past - base).reshape(len(past), -1)
    if known.opens is not None:
        columns = np.concatenate([columns, (known.opens - past[:, -1, 0])[:, None]], axis=1)
    return columns


def weekday_numbers(days: NDArray[np.datetime64]) -> Array:
    """Return the day of the week, from 0 for Monday to 6 for Sunday."""
    number: Array = ((days - MONDAY) // np.timedelta64(1, "D") % 7).astype(int)
    return number
