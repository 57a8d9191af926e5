"""Backtests of price forecasters: rolling origins, or held-out companies.

A single split by date measures a model in one period only. A rolling origin (Tashman 2000, "Out-of-sample tests of
forecasting accuracy") shows whether the result holds in others.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Snp
from lstm_ae.data import prices
from lstm_ae.data.prices import Parts, Quotes, prepare_prices, read_quotes, select_quotes, split_by_date
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.evaluation import Evaluation, Verdict
from lstm_ae.experiment import fit_model, identity_in
from lstm_ae.files import as_json, claim, read_part, write
from lstm_ae.forecasting.baselines import fit_price_baselines
from lstm_ae.forecasting.metrics import (
    calibrate_price_intervals,
    judge_forecasts,
    mean_absolute_change,
    price_errors,
    price_metrics,
)
from lstm_ae.run import describe_other_versions, installed_versions
from lstm_ae.significance import against_each
from lstm_ae.studies.snp_one_step import forecast_one_day

# Share of the days that is never tested, and share of the days before a test that is the validation split.
FIRST, VALIDATION = 0.5, 0.15


class PriceFold(NamedTuple):
    """Result of one training and its test.

    Args:
        number: number of the fold, from 1.
        first: first forecast day.
        last: last forecast day.
        tested: number of forecast companies.
        epochs: epoch whose weights were tested.
        evaluation: content of `metrics.json` for the split "test".
        daily: `days`, and the mean squared scaled error per day by predictor ("model", "persistence", "linear", ...).
        counts: number of forecasts per day.
        data: entries of a `lstm_ae.data.windows.Source`; {} in folds of older versions.
        versions: package versions; {} in folds of older versions.
    """

    number: int
    first: str
    last: str
    tested: int
    epochs: int
    evaluation: dict[str, Any]
    daily: dict[str, list[Any]]
    counts: list[int]
    data: dict[str, Any] = {}
    versions: dict[str, str] = {}


# Keys that folds of older versions lack.
LATER = ("data", "versions")


class PriceBacktest(NamedTuple):
    """Result of a backtest.

    Args:
        folds: the folds in order.
        verdicts: verdicts over all folds by baseline, that with the smallest error first.
        notes: notes on the folds, such as different versions.
    """

    folds: list[PriceFold]
    verdicts: dict[str, Verdict]
    notes: list[str] = []


def backtest_prices(
    config: Snp,
    folds: int,
    out: Path,
    *,
    by: str = "time",
    refit: bool = True,
    prepared: Callable[[dict[str, Any]], None] | None = None,
    notify: Callable[[int, Any], None] | None = None,
    finished: Callable[[PriceFold], None] | None = None,
) -> PriceBacktest:
    """Train and test a forecaster on each fold.

    Args:
        config: config of a price forecaster.
        folds: number of folds.
        out: a new folder, or that of the same backtest to resume; completed folds are not repeated.
        by: "time" for rolling origins, "company" to hold out companies.
        refit: train on each fold; otherwise train on the first fold only.
        prepared: called before each fold with the entries of its `lstm_ae.data.windows.Source`.
        notify: called with the number of the fold and a `lstm_ae.training.loop.Progress`.
        finished: called with each completed fold, including those completed earlier.

    Raises:
        ConfigError: a folder of another command, or incompatible options.
        DataError: too few days or companies.
        DivergedError: a fold without a completed epoch.
    """
    quotes, every = plan_backtest(config, folds, by=by, refit=refit)
    about = {
        "config": config.to_dict(),
        "data": prices.fingerprint_quotes(quotes),
        "folds": folds,
        "by": by,
        "refit": refit,
    }
    claim(out, "backtest.json", about)
    done, trained = [], None
    for number, parts in enumerate(every, 1):
        path = out / f"fold-{number}.json"
        if path.exists():
            fold = PriceFold(**read_part(path, PriceFold._fields, LATER))
            if prepared and fold.data:
                prepared(fold.data)
        else:
            data = prepare_prices(config, quotes, parts, held_out=by == "company")
            if prepared:
                prepared(data.source._asdict())
            if trained is None or refit:
                first = data if refit or number == 1 else prepare_prices(config, quotes, every[0])
                trained = _train_fold(config, first, out / f"state-{number if refit else 1}.npz", number, notify)
            fold = test_price_fold(trained, data, number)._replace(
                data=data.source._asdict(), versions=installed_versions()
            )
            write(path, as_json(fold._asdict()))
            if refit or number == folds:
                (out / f"state-{number if refit else 1}.npz").unlink(missing_ok=True)
        done.append(fold)
        if finished:
            finished(fold)
    # Folds of older versions may lack baselines.
    common = [name for name in done[0].daily if all(name in fold.daily for fold in done)]
    daily = {name: np.concatenate([fold.daily[name] for fold in done]) for name in common}
    days, model = daily.pop("days").astype("datetime64[D]"), daily.pop("model")
    counts = np.concatenate([fold.counts for fold in done])
    verdicts = against_each(model, daily, days, steps=1, counts=counts)
    note = describe_other_versions([fold.versions for fold in done], "folds")
    return PriceBacktest(done, verdicts, [note] if note else [])


def plan_backtest(config: Snp, folds: int, *, by: str = "time", refit: bool = True) -> tuple[Quotes, list[Parts]]:
    """Read the prices and return them with the split of each fold; see `backtest_prices` for the arguments.

    Raises:
        ConfigError: incompatible options.
        DataError: too few days or companies.
    """
    if config.goal != "predict" or config.split != "time":
        raise ConfigError("backtest is for forecasters split by time. Omit --goal and --split")
    if config.scaling == "report":
        raise ConfigError("--scale report is fitted on the days to forecast, which leaks. Use another --scale")
    if by == "company" and config.scaling == "company":
        raise ConfigError("--scale company has no scale for held-out companies. Use another --scale or --split-by time")
    if by == "company" and not refit:
        raise ConfigError("--no-refit needs --split-by time, since holding out companies requires training")
    quotes = select_quotes(config, read_quotes(config.data, config.fields))
    splits = _companies(quotes, folds, config.seed) if by == "company" else _origins(quotes, folds, config, refit)
    return quotes, list(splits)


def _origins(quotes: Quotes, folds: int, config: Snp, refit: bool) -> Iterator[Parts]:
    """Yield the splits of consecutive test blocks; the window before each block is input only, not training data.

    Without `refit` all folds have the training and validation days of the first.
    """
    days = np.unique(quotes.day)
    edges = np.linspace(len(days) * FIRST, len(days), folds + 1).astype(int)
    if (np.diff(edges) < 1).any():
        raise DataError(f"{quotes.name} has {len(days)} days, too few for {folds} folds. Reduce --folds")
    for first, last in itertools.pairwise(edges):
        known = max((first if refit else edges[0]) - config.window, 0)
        validation = int(known * (1 - VALIDATION))
        yield _between(days[validation], days[known], days[max(first - config.window, 0)], days[last - 1])


def _between(validation: Any, end: Any, test: Any, last: Any) -> Parts:
    def parts(quotes: Quotes) -> NDArray[np.int32]:
        day = quotes.day
        part = np.where(day < validation, 0, np.where(day < end, 1, -1)).astype(np.int32)
        part[(day >= test) & (day <= last)] = 2
        return part

    return parts


def _companies(quotes: Quotes, folds: int, seed: int) -> Iterator[Parts]:
    """Yield splits by date whose test days belong to companies without training days."""
    order = np.random.default_rng(seed).permutation(np.unique(quotes.company))
    if folds > len(order):
        raise DataError(f"{quotes.name} has {len(order)} selected companies, too few for {folds} folds. Reduce --folds")
    for group in np.array_split(order, folds):
        names = {quotes.symbols[number] for number in group}

        def parts(rows: Quotes, names: set[str] = names) -> NDArray[np.int32]:
            held_out = np.array([symbol in names for symbol in rows.symbols])[rows.company]
            part = split_by_date(rows)
            return np.where((part == 2) == held_out, part, -1).astype(np.int32)

        yield parts


def _train_fold(
    config: Snp, data: Data, state: Path, number: int, notify: Callable[[int, Any], None] | None
) -> tuple[Any, int]:
    """Return a fold's model and the epoch of its weights."""

    def report(progress: Any) -> None:
        if notify:
            notify(number, progress)

    model, fitted = fit_model(config, data, state=state, identity=identity_in(state, config, data), notify=report)
    if not fitted.epochs:
        raise DivergedError(
            f"Fold {number}: {fitted.stopped} before the first epoch was complete. Try a lower --learning-rate or "
            "--clip 1"
        )
    return model, fitted.best_epoch


def test_price_fold(trained: tuple[Any, int], data: Data, number: int) -> PriceFold:
    """Test a model on a fold.

    Args:
        trained: the model and the epoch of its weights.
        data: data of the fold.
        number: number of the fold, from 1.
    """
    model, epochs = trained
    method = forecast_one_day(model, data.test.span - 1)
    fitted = fit_price_baselines(data, method.given, 1, with_open=method.with_open)
    errors = price_errors(method, data, data.test, fitted, calibrate_price_intervals(method, data))
    evaluation = Evaluation(
        {"test": price_metrics(errors, mean_absolute_change(data))}, {"test": judge_forecasts(errors.at())}
    ).as_json()
    days, which = np.unique(errors.moments, return_inverse=True)
    count = np.bincount(which)
    daily: dict[str, list[Any]] = {"days": days.astype(str).tolist()}
    for name, error in errors.scaled.items():
        daily[name or "model"] = (np.bincount(which, error[:, 0] ** 2) / count).tolist()
    tested = len(np.unique(errors.lines))
    return PriceFold(number, daily["days"][0], daily["days"][-1], tested, epochs, evaluation, daily, count.tolist())
