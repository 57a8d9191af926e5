"""The same study many times over: trained up to a day and tested on the days after it, or on other companies.

One split by date says how a model did in one stretch of time. A rolling origin (Tashman 2000, "Out-of-sample tests of
forecasting accuracy") says whether that holds in others.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Snp
from lstm_ae.data import prices
from lstm_ae.data.prices import Parts, Quotes, prepare_prices, read_quotes, split_by_date
from lstm_ae.data.prices import select_quotes as chosen
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.evaluation import Evaluation, Verdict
from lstm_ae.experiment import fit_model, identity_in
from lstm_ae.files import as_json, claim, read_part, write
from lstm_ae.forecasting.price_baselines import fit_price_baselines
from lstm_ae.forecasting.price_metrics import (
    calibrate_price_intervals,
    judge_prices,
    mean_absolute_change,
    price_errors,
    price_metrics,
)
from lstm_ae.run import describe_other_versions, installed_versions
from lstm_ae.significance import against_each
from lstm_ae.studies.snp_one_step import forecast_one_day

# Share of the days that is always for training, and of the days before a test that is for validation.
FIRST, VALIDATION = 0.5, 0.15


class PriceFold(NamedTuple):
    """One training and its test.

    Args:
        number: from 1.
        first, last: the days forecast.
        tested: how many companies were forecast.
        epochs: the epoch whose weights were tested.
        evaluation: as it stands in `metrics.json`, of the part "test".
        daily: `days`, and by predictor ("model", "persistence", "linear" and so on) the mean squared scaled error of
            each.
        counts: of how many forecasts each of the `days` is the mean.
        data: what was trained and tested on, as `lstm_ae.data.windows.Source` has it; {} in folds of older versions.
        versions: those it was trained and tested with; likewise.
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


# What folds did not always have.
LATER = ("data", "versions")


class PriceBacktest(NamedTuple):
    """All folds, and what they say together.

    Args:
        folds: in their order.
        verdicts: by baseline, on all forecasts: the baseline with the smallest error first, which is the one to beat.
        notes: what is unusual.
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
    """Train and test `folds` times, or train once and test so often without `refit`.

    Args:
        out: a folder, new or that of the same backtest; folds that are there are not done again, and one that was
            begun is gone on with.
        by: "time" moves the origin on; "company" holds a part of the companies out of training.
        prepared: called with what each fold is trained and tested on, before it is: its `data`.
        notify: called with the fold and a `lstm_ae.training.loop.Progress`.
        finished: called with each fold when it is done, also with those that were there.

    Raises:
        ConfigError: the folder holds something else; or options that do not go with it.
        DataError: too few days or companies.
    """
    quotes, every = plan_backtest(config, folds, by=by, refit=refit)
    asked = {
        "config": config.to_dict(),
        "data": prices.fingerprint_quotes(quotes),
        "folds": folds,
        "by": by,
        "refit": refit,
    }
    claim(out, "backtest.json", asked)
    done, kept = [], None
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
            if kept is None or refit:
                first = data if refit or number == 1 else prepare_prices(config, quotes, every[0])
                kept = _trained(config, first, out / f"state-{number if refit else 1}.npz", number, notify)
            fold = test_price_fold(kept, data, number)._replace(
                data=data.source._asdict(), versions=installed_versions()
            )
            write(path, as_json(fold._asdict()))
            if refit or number == folds:
                (out / f"state-{number if refit else 1}.npz").unlink(missing_ok=True)
        done.append(fold)
        if finished:
            finished(fold)
    # Folds of older versions hold fewer baselines.
    common = [name for name in done[0].daily if all(name in fold.daily for fold in done)]
    daily = {name: np.concatenate([fold.daily[name] for fold in done]) for name in common}
    days, model = daily.pop("days").astype("datetime64[D]"), daily.pop("model")
    counts = np.concatenate([fold.counts for fold in done])
    verdicts = against_each(model, daily, days, steps=1, counts=counts)
    note = describe_other_versions([fold.versions for fold in done], "folds")
    return PriceBacktest(done, verdicts, [note] if note else [])


def plan_backtest(config: Snp, folds: int, *, by: str = "time", refit: bool = True) -> tuple[Quotes, list[Parts]]:
    """The prices and, for every fold, which of their rows train, validate and test.

    Raises:
        ConfigError, DataError: as `backtest_prices` does.
    """
    if config.goal != "predict" or config.split != "time":
        raise ConfigError("backtest is for forecasters split by time. Leave out --goal and --split")
    if config.scaling == "report":
        raise ConfigError("--scale report is fitted on the days to forecast, so a backtest says nothing. Leave it out")
    if by == "company" and config.scaling == "company":
        raise ConfigError("--scale company knows no company that is held out. Leave it out, or split by time")
    if by == "company" and not refit:
        raise ConfigError("--no-refit is for --split-by time: without training anew no company is held out")
    quotes = chosen(config, read_quotes(config.data, config.fields))
    found = _companies(quotes, folds, config.seed) if by == "company" else _origins(quotes, folds, config, refit)
    return quotes, list(found)


def _origins(quotes: Quotes, folds: int, config: Snp, refit: bool) -> Iterator[Parts]:
    """Test blocks one after another; the window before each is read by its first forecasts and trains nothing.

    Without `refit` all have the training and validation days of the first.
    """
    days = np.unique(quotes.day)
    edges = np.linspace(len(days) * FIRST, len(days), folds + 1).astype(int)
    if (np.diff(edges) < 1).any():
        raise DataError(f"{quotes.name} holds {len(days)} days, too few for {folds} folds; lower --folds")
    for first, last in itertools.pairwise(edges):
        known = max((first if refit else edges[0]) - config.window, 0)
        held = int(known * (1 - VALIDATION))
        yield _between(days[held], days[known], days[max(first - config.window, 0)], days[last - 1])


def _between(validation: Any, end: Any, test: Any, last: Any) -> Parts:
    def parts(quotes: Quotes) -> NDArray[np.int32]:
        day = quotes.day
        part = np.where(day < validation, 0, np.where(day < end, 1, -1)).astype(np.int32)
        part[(day >= test) & (day <= last)] = 2
        return part

    return parts


def _companies(quotes: Quotes, folds: int, seed: int) -> Iterator[Parts]:
    """The usual split by date, but the test days are those of companies that train nothing."""
    order = np.random.default_rng(seed).permutation(np.unique(quotes.company))
    if folds > len(order):
        raise DataError(
            f"{quotes.name} holds {len(order)} companies that were asked for, too few for {folds} folds; lower --folds"
        )
    for group in np.array_split(order, folds):
        names = {quotes.symbols[number] for number in group}

        def parts(rows: Quotes, names: set[str] = names) -> NDArray[np.int32]:
            held = np.array([symbol in names for symbol in rows.symbols])[rows.company]
            part = split_by_date(rows)
            return np.where((part == 2) == held, part, -1).astype(np.int32)

        yield parts


def _trained(
    config: Snp, data: Data, state: Path, number: int, notify: Callable[[int, Any], None] | None
) -> tuple[Any, int]:
    def tell(progress: Any) -> None:
        if notify:
            notify(number, progress)

    model, fitted = fit_model(config, data, state=state, identity=identity_in(state, config, data), notify=tell)
    if not fitted.epochs:
        raise DivergedError(
            f"Fold {number}: {fitted.stopped}; no epoch was good (try a lower --learning-rate, or --clip 1)"
        )
    return model, fitted.best_epoch


def test_price_fold(kept: tuple[Any, int], data: Data, number: int) -> PriceFold:
    """Test a model, and the epoch whose weights it has, on a fold."""
    model, epochs = kept
    way = forecast_one_day(model, data.test.span - 1)
    fitted = fit_price_baselines(data, way.given, 1, with_open=way.with_open)
    found = price_errors(way, data, data.test, fitted, calibrate_price_intervals(way, data))
    evaluation = Evaluation(
        {"test": price_metrics(found, mean_absolute_change(data))}, {"test": judge_prices(found)}
    ).as_json()
    days, which = np.unique(found.days[:, 0], return_inverse=True)
    count = np.bincount(which)
    daily: dict[str, list[Any]] = {"days": days.astype(str).tolist()}
    for name, error in found.scaled.items():
        daily[name or "model"] = (np.bincount(which, error[:, 0] ** 2) / count).tolist()
    tested = len(np.unique(found.company))
    return PriceFold(number, daily["days"][0], daily["days"][-1], tested, epochs, evaluation, daily, count.tolist())
