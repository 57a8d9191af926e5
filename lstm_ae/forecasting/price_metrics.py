"""Errors of forecasts of one day or many, of the model and of every baseline on the same samples."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import Metric, Verdict, skill
from lstm_ae.forecasting.intervals import Calibration, calibrate_intervals, crps, interval_bounds, recent_volatility
from lstm_ae.forecasting.price_baselines import PriceBaselines, known_prices
from lstm_ae.significance import compare_forecasts, hardest

# The intervals that every forecast is judged by, in per cent.
INTERVAL_LEVELS = (80, 95)


class ForecastMethod(NamedTuple):
    """A way to forecast.

    Args:
        say: from windows `(samples, given, features)`, lines of the scale table or None, and the days after the
            windows (of which a model may be told the first one's open) to `(samples, ahead, any)` in own units, of
            which the first feature is the one to model.
        given, ahead: days read and days forecast.
        with_open: whether the open of the first day is told.
    """

    say: Callable[[Any, Any, Any], Any]
    given: int
    ahead: int
    with_open: bool = False


class PriceErrors(NamedTuple):
    """Arrays `(samples, ahead)`, by predictor where there are several; the model is "".

    Args:
        scaled, own, log: truth minus forecast of the first feature in scaled values, in own units, of logarithms.
        said: the change forecast from the last known value, scaled.
        change: the true one.
        days: the days forecast.
        company: `(samples,)` lines of the scale table; zeros where there is none.
        inside: by level in per cent, 1 where the truth lies in the interval and 0 where it does not, NaN where too few
            errors tell an end; empty without a calibration.
        crps: the score of the whole distribution, scaled: of the model, of "persistence" with intervals of its own, and
            of the "random walk".
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
    """Forecast from every window of a split, whose span is the days given and ahead.

    `more` are further baselines by name: the changes they say of every sample, `(samples, ahead)`, scaled; `levels` are
    those of the intervals, in per cent.

    A forecast below a hundredth of the last known price, which a model of levels may make, counts as that hundredth
    where logarithms are compared.
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
            elif name == "persistence":  # to the last bit, which a way there and back is not
                price = np.repeat(before, way.ahead, axis=1)
            else:
                price = data.scale.own((last + change)[..., None], past, company)[..., 0]
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
    """Count the errors on validation; None where it holds no window of the days given and ahead."""
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
    """Mean absolute change from row to row of the training part by line of the scale table, `(lines,)`; NaN if none."""
    train = data.train
    within = np.diff(train.segment_ids()) == 0
    change = abs(np.diff(train.series[:, 0].astype(np.float64)))[within]
    line = np.zeros(len(train.series), int) if train.company is None else train.company
    count = np.bincount(line[1:][within], minlength=max(len(data.symbols), 1))
    with np.errstate(invalid="ignore"):
        return np.bincount(line[1:][within], change, minlength=len(count)) / count


def price_metrics(found: PriceErrors, usual: Any, step: int = 1) -> dict[str, Metric]:
    """All measures of a day ahead, each beside its baselines'.

    - `last_day_mse`: scaled; `log_mae`, `log_rmse`: of logarithms, so about shares of the price; `mae`, `rmse`: in USD
    - `mase`: absolute error in multiples of the company's usual change of a day (Hyndman and Koehler 2006)
    - `skill`: 1 - MSE / MSE of persistence, scaled; `theil_u`: root of MSE / MSE of persistence, of logarithms
    - `direction`: share of right signs among the days with a change for which one is said; NaN where none is said for
      most of them, as by persistence
    - `coverage_80` and so on: share of truths within the interval, left out where too few errors tell it
    - `crps`: score of the whole distribution, scaled, beside those of persistence with errors counted in the same way,
      and of the changes of training days whatever the window (the random walk)

    Args:
        usual: `(lines,)` as `mean_absolute_change` finds them; None leaves the MASE out.
        step: the day ahead, from 1.
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
    """The mean over what is known: usual changes of companies, ends of intervals; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _mse(values: Any) -> float:
    return float(np.mean(values**2))


def judge_prices(found: PriceErrors, step: int | None = None, against: str | None = None) -> Verdict:
    """Whether the forecast beats a baseline in squared scaled errors, on one day ahead or on the mean of all.

    Args:
        step: the day ahead, from 1; None for all.
        against: the baseline; None for the one with the smallest error there.
    """
    which = slice(None) if step is None else slice(step - 1, step)
    losses = {name: (error[:, which] ** 2).mean(axis=1) for name, error in found.scaled.items()}
    ours = losses.pop("")
    name = against or hardest(losses)
    return compare_forecasts(ours, losses[name], found.days[:, -1], name=name, steps=step or found.days.shape[1])
