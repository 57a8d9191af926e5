"""The report's own method of choosing: K-fold to drop weak settings, K-fold again on those left, the winner on test.

The report shuffled its windows before it divided them. Here the folds are blocks of days before the test part, with a
window's length of days left out on either side of the block that validates (Bergmeir and Benitez 2012, "On the use of
cross-validation for time series predictor evaluation"). No fold sees a test day.
"""

import itertools
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Snp
from lstm_ae.config.space import Axis
from lstm_ae.data.prices import VALIDATION, Parts, Quotes, fingerprint_quotes, prepare_prices, read_quotes
from lstm_ae.data.prices import select_quotes as chosen
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.experiment import fit_model, identity_in, resume, train
from lstm_ae.files import as_json, claim, read_part, write
from lstm_ae.run import Run, describe_other_versions, installed_versions
from lstm_ae.search.job import data_key
from lstm_ae.search.plan import align_days

# What the file of a training did not always hold.
LATER = ("data", "versions")


class KfoldSetting(NamedTuple):
    """A setting and what came of it.

    Args:
        values: of the options that are searched.
        rounds: for each round it came to, the best validation loss of each fold; infinite where it diverged.
    """

    values: dict[str, Any]
    rounds: list[list[float]]


class KfoldResult(NamedTuple):
    """All settings, the best first, and the winner's run, measured on test; `notes` say what is unusual."""

    settings: list[KfoldSetting]
    winner: Run
    notes: list[str] = []


def kfold(
    config: Snp,
    axes: Sequence[Axis],
    folds: int,
    out: Path,
    *,
    keep: float = 0.5,
    command: str = "",
    prepared: Callable[[dict[str, Any]], None] | None = None,
    notify: Callable[[str, Any], None] | None = None,
) -> KfoldResult:
    """Choose among all combinations of what is listed.

    Args:
        keep: share of the settings that comes to the second round, at least one.
        out: a folder, new or that of the same choice; what has been trained there is not trained again.
        prepared: called with what each setting is trained on in each fold, and the winner, before they are: the entries
            of a `lstm_ae.data.windows.Source`.
        notify: called with a title and a `lstm_ae.training.loop.Progress`.

    Raises:
        ConfigError: nothing is listed, a range instead of a list, values that do not go together, or a folder that
            holds something else.
    """
    quotes, every = plan_kfold(config, axes)
    about = {
        "config": config.to_dict(),
        "data": fingerprint_quotes(quotes),
        "axes": [axis.to_dict() for axis in axes],
        "folds": folds,
        "keep": keep,
    }
    claim(out, "kfold.json", about)
    judged = align_days(config, axes)
    assert isinstance(judged, Snp)
    left = list(range(len(every)))
    found: dict[int, list[list[float]]] = {number: [] for number in left}
    made: list[dict[str, str]] = []
    for turn in (0, 1):
        results, theirs = _round(judged, quotes, [every[n] for n in left], left, folds, turn, out, prepared, notify)
        made += theirs
        for number, losses in zip(left, results, strict=True):
            found[number].append(losses)
        left.sort(key=lambda number: float(np.mean(found[number][-1])))
        if turn == 0:
            left = sorted(left[: kept_settings(len(every), keep)])
    order = sorted(found, key=lambda number: (-len(found[number]), float(np.mean(found[number][-1]))))
    settings = [KfoldSetting(every[number], found[number]) for number in order]
    winner = _winner(config.with_values(settings[0].values), quotes, out, command, prepared, notify)
    note = describe_other_versions([*made, winner.about().get("versions") or {}], "trainings")
    return KfoldResult(settings, winner, [note] if note else [])


def plan_kfold(config: Snp, axes: Sequence[Axis]) -> tuple[Quotes, list[dict[str, Any]]]:
    """The prices, and every combination of what is listed; all of them make a config.

    Raises:
        ConfigError: as `kfold` does.
    """
    if not axes or not all(axis.values for axis in axes):
        raise ConfigError("kfold compares what is listed, such as --units 8,16 --learning-rate 0.01,0.003; no ranges")
    if config.goal != "predict" or config.split != "time":
        raise ConfigError("kfold is for forecasters and has a split of its own. Leave out --goal and --split")
    names = [axis.name for axis in axes]
    every = [dict(zip(names, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]
    for values in every:
        config.with_values(values)
    if config.scaling == "report":
        raise ConfigError("--scale report is fitted on the days that validate. Leave it out")
    quotes = chosen(config, read_quotes(config.data, config.fields))
    return quotes, every


def kept_settings(settings: int, keep: float) -> int:
    """How many settings come to the second round."""
    return max(1, math.ceil(keep * settings))


def _winner(
    config: Snp,
    quotes: Quotes,
    out: Path,
    command: str,
    prepared: Callable[[dict[str, Any]], None] | None,
    notify: Callable[[str, Any], None] | None,
) -> Run:
    run = Run(out / "winner")
    if run.finished:
        if prepared:
            prepared(run.about()["data"])
        return run
    title, data = "winner", prepare_prices(config, quotes)
    if prepared:
        prepared(data.source._asdict())

    def tell(progress: Any) -> None:
        if notify:
            notify(title, progress)

    if run.begun and run.about().get("versions") == installed_versions():
        return resume(run, config, data, notify=tell)
    if run.begun:
        # Such a training cannot go on: what came of it would be of neither version.
        title = "winner, anew: it was begun with other versions"
        shutil.rmtree(run.directory)
    return train(config, data, out=run.directory, command=command, notify=tell)


def _round(
    config: Snp,
    quotes: Quotes,
    settings: Sequence[dict[str, Any]],
    numbers: Sequence[int],
    folds: int,
    turn: int,
    out: Path,
    prepared: Callable[[dict[str, Any]], None] | None,
    notify: Callable[[str, Any], None] | None,
) -> tuple[list[list[float]], list[dict[str, str]]]:
    """The best validation losses, `(settings, folds)`, and the versions of each training, which leaves a file."""
    losses: list[list[float]] = [[] for _ in settings]
    made = []
    window = max(values.get("window", config.window) for values in settings)
    for fold, parts in enumerate(kfold_blocks(quotes, folds, window, turn)):
        loaded: dict[str, Any] = {}
        for place, (number, values) in enumerate(zip(numbers, settings, strict=True)):
            path = out / f"round-{turn + 1}-setting-{number + 1}-fold-{fold + 1}.json"
            if not path.exists():
                tried = config.with_values(values)
                key = data_key(tried)
                if key not in loaded:
                    loaded = {key: prepare_prices(tried, quotes, parts)}
                    if prepared:
                        prepared(loaded[key].source._asdict())
                title = f"round {turn + 1}, fold {fold + 1} of {folds}, setting {place + 1} of {len(settings)}"
                tell = (lambda progress, title=title: notify(title, progress)) if notify else None
                state = path.with_suffix(".npz")
                data = loaded[key]
                _, fitted = fit_model(tried, data, state=state, identity=identity_in(state, tried, data), notify=tell)
                loss = fitted.best.get("val_loss")
                write(
                    path, as_json({"val_loss": loss, "data": data.source._asdict(), "versions": installed_versions()})
                )
                state.unlink(missing_ok=True)
            part = read_part(path, ("val_loss", *LATER), LATER)
            if prepared and "data" in part and not loaded:
                prepared(part["data"])
            made.append(part.get("versions", {}))
            value = part["val_loss"]
            losses[place].append(math.inf if value is None else float(value))
    return losses, made


def kfold_blocks(quotes: Quotes, folds: int, window: int, turn: int) -> Iterator[Parts]:
    """Each block of days before the test part validates once; in the second round the borders lie half a block on."""
    days = np.unique(quotes.day)
    count = len(days) * VALIDATION // 100
    if count // folds <= window:
        raise DataError(
            f"{quotes.name} holds {count} days before the test part, too few for {folds} folds of more than {window} "
            "days; lower --folds or --window"
        )
    shift = turn * count // (2 * folds)
    block = (np.arange(count) - shift) % count * folds // count
    for number in range(folds):
        inside = block == number
        near = np.convolve(inside, np.ones(2 * window + 1), "same") > 0
        part_of = np.full(len(days), 2, np.int32)
        part_of[:count] = np.where(inside, 1, np.where(near, -1, 0))
        # The days next to the test part are read by no window of it, since windows stay within a part.
        yield _of_days(days, part_of)


def _of_days(days: NDArray[np.datetime64], part_of: NDArray[np.int32]) -> Parts:
    def parts(quotes: Quotes) -> NDArray[np.int32]:
        part: NDArray[np.int32] = part_of[np.searchsorted(days, quotes.day)]
        return part

    return parts
