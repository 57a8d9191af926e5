"""Errors and metrics of price forecasts for one or more days, for the model and every baseline on the same samples."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import Metric, Verdict, skill
from lstm_ae.forecasting.intervals import Calibration, calibrate_intervals, crps, interval_bounds, recent_volatility
from lstm_ae.forecasting.price_baselines import PriceBaselines, known_prices
from lstm_ae.significance import compare_forecasts, hardest

INTERVAL_LEVELS = (80, 95)


class ForecastMethod(NamedTuple):
    """A forecasting function with its window length and horizon.

    Args:
        say: Function of windows `(samples, given, features)`, the indices of their scales or None, and the days
            after the windows. Returns `(samples, ahead, any)` in the data's units, with the modeled feature first. A
            model may read only the open of the first day after the window.
        given, ahead: Days read and days forecast.
        with_open: Whether the open of the first day is known.
    """

    say: Callable[[Any, Any, Any], Any]
    given: int
    ahead: int
    with_open: bool = False


class PriceErrors(NamedTuple):
    """The forecast errors of a split, as arrays `(samples, ahead)`, by predictor where there are several; the model is
    "".

    Args:
        scaled, own, log: Truth minus forecast of the first feature in scaled values, in the data's units, and of
            logarithms.
        said: The forecast change from the last known value, scaled.
        change: The true change, scaled.
        days: The forecast days.
        company: `(samples,)` indices of the companies' scales; zeros if there is one scale.
        inside: By level in percent, 1 where the truth is in the interval, 0 where it is not, and NaN where too few
            errors determine a bound. Empty without a calibration.
        crps: The continuous ranked probability score, scaled: of the model, of "persistence" with its own intervals,
            and of the "random walk".
    """

    scaled: dict[str, Any]
    own: dict[str, Any]
    log: dict[str, Any]
    said: dict[str, Any]
    change: Any
    days: Any
    company: Any
    inside: dict[int, Any]
    crps: dict[str, Any]


def price_errors(
    way: ForecastMethod,
    data: Data,
    split: Split,
    fitted: PriceBaselines,
    calibration: Calibration | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
    levels: Sequence[int] = INTERVAL_LEVELS,
) -> PriceErrors:
    """Forecast every window of a split and return the errors.

    For the errors of logarithms, a forecast below 1% of the last known price is raised to that 1%.

    Args:
        way: The forecasting function of the model.
        data: The data set.
        split: Windows whose span is the days given and ahead.
        fitted: The baselines.
        calibration: The calibration of the model's intervals; None for no intervals.
        more: Scaled changes `(samples, ahead)` of further baselines by name.
        levels: Interval levels in percent.
    """
    pieces: list[dict[str, Any]] = []
    for index in split.batches():
        window, company = split.windows(index), split.companies(index)
        past, truth = window[:, : way.given], window[:, way.given :, 0].astype(np.float64)
        known = known_prices(data, split, index, way.given, with_open=way.with_open)
        predicted = way.say(past, company, window[:, way.given :])[..., :1]
        last, before = known.past[:, -1:, 0], past[:, -1:, 0].astype(np.float64)
        said = {"": data.scale.scaled(predicted, past, company)[..., 0] - last, **fitted.changes(known)}
        said |= {name: changes[index] for name, changes in more.items()}
        piece = {"change": known.change, "days": known.days}
        piece["company"] = np.zeros(len(truth), np.int32) if company is None else company
        for name, change in said.items():
            if name == "":
                price = predicted[..., 0]
            elif name == "persistence":  # Scaling back and forth would add rounding errors.
                price = np.repeat(before, way.ahead, axis=1)
            else:
                price = data.scale.unscaled((last + change)[..., None], past, company)[..., 0]
            piece[f"said/{name}"] = change.astype(np.float64)
            piece[f"scaled/{name}"] = known.change - change
            piece[f"own/{name}"] = truth - price
            piece[f"log/{name}"] = np.log(truth) - np.log(np.maximum(price, before / 100))
        if calibration is not None:
            scaled_past = data.scale.scaled(past, past, company)
            spread, error = calibration.spread(scaled_past)[:, : way.ahead], piece["scaled/"]
            for level in levels:
                low, high = (spread[..., at] for at in interval_bounds(level))
                told = np.isfinite(low) & np.isfinite(high)
                piece[f"inside/{level}"] = np.where(told, (low <= error) & (error <= high), np.nan)
            piece["crps/"] = calibration.scores(scaled_past, error)
            if fitted.spread is not None:
                piece["crps/persistence"] = fitted.spread.scores(scaled_past, piece["scaled/persistence"])
            if fitted.walk is not None:
                piece["crps/random walk"] = crps(fitted.walk, known.change)
        pieces.append(piece)
    whole = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def group(of: str) -> dict[str, Any]:
        return {name.partition("/")[2]: values for name, values in whole.items() if name.startswith(f"{of}/")}

    return PriceErrors(
        **{name: group(name) for name in ("scaled", "own", "log", "said", "crps")},
        change=whole["change"],
        days=whole["days"],
        company=whole["company"],
        inside={int(level): values for level, values in group("inside").items()},
    )


def calibrate_price_intervals(way: ForecastMethod, data: Data) -> Calibration | None:
    """Calibrate the intervals on the validation split; return None if it contains no window of this length."""
    split = data.validation if data.validation.span == way.given + way.ahead else None
    split = split or data.recut(data.validation, way.given + way.ahead)
    if not split.samples:
        return None
    far, near, moved = [], [], []
    for index in split.batches():
        window, company = split.windows(index), split.companies(index)
        past = window[:, : way.given]
        predicted = way.say(past, company, window[:, way.given :])
        truth = window[:, way.given :, : predicted.shape[2]]
        difference = data.scale.scaled(truth, past, company) - data.scale.scaled(predicted, past, company)
        far.append(difference[..., 0])
        near.append(difference[:, 0])
        moved.append(recent_volatility(data.scale.scaled(past, past, company)))
    return calibrate_intervals(*(np.concatenate(parts).astype(np.float64) for parts in (far, near, moved)))


def mean_absolute_change(data: Data) -> Any:
    """Return the mean absolute change between training rows by scale index, `(lines,)`; NaN if there are none."""
    train = data.train
    within = np.diff(train.segment_ids()) == 0
    change = abs(np.diff(train.series[:, 0].astype(np.float64)))[within]
    line = np.zeros(len(train.series), int) if train.company is None else train.company
    count = np.bincount(line[1:][within], minlength=max(len(data.symbols), 1))
    with np.errstate(invalid="ignore"):
        return np.bincount(line[1:][within], change, minlength=len(count)) / count


def price_metrics(found: PriceErrors, usual: Any, step: int = 1) -> dict[str, Metric]:
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
    at = step - 1
    scaled, own, log, said = (
        {name: values[:, at] for name, values in group.items()}
        for group in (found.scaled, found.own, found.log, found.said)
    )
    naive, naive_log = _mse(scaled["persistence"]), _mse(log["persistence"])
    sign = np.sign(found.change[:, at])

    def metric(of: Callable[[str], Any], unit: str = "", *, sets_sign: bool = False, higher: bool = False) -> Metric:
        names = [name for name in scaled if not (sets_sign and name == "persistence")]
        values = {name: float(of(name)) for name in names}
        return Metric(values.pop(""), unit, values, higher)

    def right(name: str) -> Any:
        theirs = np.sign(said[name])
        judged = (sign != 0) & (theirs != 0)
        return np.mean((theirs == sign)[judged]) if 2 * judged.sum() > (sign != 0).sum() else np.nan

    measured = {
        "last_day_mse": metric(lambda name: _mse(scaled[name]), "scaled"),
        "skill": metric(lambda name: skill(_mse(scaled[name]), naive), sets_sign=True, higher=True),
        "log_mae": metric(lambda name: np.mean(abs(log[name])), "log"),
        "log_rmse": metric(lambda name: np.sqrt(_mse(log[name])), "log"),
        "mae": metric(lambda name: np.mean(abs(own[name])), "USD"),
        "rmse": metric(lambda name: np.sqrt(_mse(own[name])), "USD"),
        **({} if usual is None else {"mase": metric(lambda name: _finite_mean(abs(own[name]) / usual[found.company]))}),
        "theil_u": metric(lambda name: np.sqrt(_mse(log[name]) / naive_log) if naive_log else np.nan),
        "direction": metric(right, sets_sign=True, higher=True),
    }
    for level, inside in found.inside.items():
        if np.isnan(inside[:, at]).all():
            continue
        measured[f"coverage_{level}"] = Metric(_finite_mean(inside[:, at]), "", {"wanted": level / 100}, True)
    if found.crps:
        scores = {name: float(np.mean(values[:, at])) for name, values in found.crps.items()}
        measured["crps"] = Metric(scores.pop(""), "scaled", scores)
    return measured


def _finite_mean(values: Any) -> float:
    """Return the mean of the finite values; NaN if there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _mse(values: Any) -> float:
    return float(np.mean(values**2))


def judge_prices(found: PriceErrors, step: int | None = None, against: str | None = None) -> Verdict:
    """Compare the squared scaled errors of the forecast with those of a baseline.

    Args:
        found: The errors of a split.
        step: The day ahead, from 1; None for the mean of all days.
        against: The baseline; None for the one with the smallest error.
    """
    which = slice(None) if step is None else slice(step - 1, step)
    losses = {name: (error[:, which] ** 2).mean(axis=1) for name, error in found.scaled.items()}
    ours = losses.pop("")
    name = against or hardest(losses)
    return compare_forecasts(ours, losses[name], found.days[:, -1], name=name, steps=step or found.days.shape[1])
