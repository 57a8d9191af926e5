"""The report's grid of 18 settings, searched by this package with one job and with one a core, and by stock KerasTuner.

Stock is what KerasTuner's own guide shows: `GridSearch` over a function that builds and compiles a Keras model.
"""

import functools
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lstm_ae.bench.turns import Lap, Runner
from lstm_ae.config import Toy
from lstm_ae.config.options import flag_name
from lstm_ae.config.space import REPORT
from lstm_ae.data.toy import load
from lstm_ae.errors import ConfigError

# What both sides of the comparison are given, and how ours is computed.
_BOTH = {*(axis.name for axis in REPORT.axes), "sequences", "epochs", "batch_size", "schedule", "seed", "patience"}
_COMPUTING = {"parts", "kernel"}


class SearchTiming(NamedTuple):
    """A search that has ended.

    Args:
        by: who searched.
        seconds: of the whole search, as who waits for it has them: imports, starting of processes and tracing included.
        trials: settings tried.
        best: the lowest validation loss.
    """

    by: str
    seconds: float
    trials: int
    best: float


def require_stock_search(config: Toy) -> None:
    """Raise `ConfigError` where a config has what the stock search does not do as well."""
    usual = Toy().to_dict()
    for name, value in config.to_dict().items():
        if name not in _BOTH | _COMPUTING and value != usual[name]:
            raise ConfigError(
                f"{flag_name(name)} is for ours alone, not for KerasTuner beside it. Leave it out, or add --no-stock"
            )


def time_searches(config: Toy, jobs: int, *, stock: bool, done: Callable[[str], None]) -> Iterator[SearchTiming]:
    """Search the report's grid in turn: with one job, with so many, and with stock Keras and KerasTuner.

    Args:
        config: sequences, epochs, batch and all that is not searched. KerasTuner's stops no training early, so its
            patience is to be 0; see `require_stock_search` as well.
        stock: whether to run the last, which takes longest by far.
        done: told who has begun.
    """
    contestants: dict[str, Callable[[Path, Lap], None]] = {
        f"{number} {'job' if number == 1 else 'jobs'}": functools.partial(_ours, config, number)
        for number in sorted({1, jobs})
    }
    if stock:
        contestants["keras and keras-tuner"] = functools.partial(_stock, config)
    for name, contestant in contestants.items():
        done(name)
        with tempfile.TemporaryDirectory() as folder, Runner(functools.partial(contestant, Path(folder))) as runner:
            seconds = runner.run_a_lap()
            told = json.loads((Path(folder) / "told.json").read_text())
        yield SearchTiming(name, seconds, told["trials"], told["best"])


class _Silent:
    """Who is told of a search here."""

    def started(self, trial: Any) -> None:
        pass

    def ended(self, trial: Any) -> None:
        pass

    def lost(self, trial: Any, how: str) -> None:
        pass


def _ours(config: Toy, jobs: int, place: Path, lap: Lap) -> None:
    from lstm_ae.search import directory as folders
    from lstm_ae.search.executors import Executor, LocalExecutor, WorkerPool, cores
    from lstm_ae.search.job import DataLoader, data_key
    from lstm_ae.search.plan import SearchPlan, choose_objective
    from lstm_ae.search.search import TimeBudget, open_record, run_trials

    data = load(config)
    plan = SearchPlan(config=config, axes=REPORT.axes, objective=choose_objective(config, None))
    folder = folders.create_search(place / "search", plan, data.source, data.symbols, "lstmae bench tune")
    executor: Executor = LocalExecutor(DataLoader({data_key(config): data}), lambda step: None, lambda: False)
    if jobs > 1:
        executor = WorkerPool(jobs, max(1, cores() // jobs), lambda step: None, folder.log)
    with open_record(folder) as record:
        run_trials(record, folder, executor, _Silent(), clock=TimeBudget(None))
        _tell(place, [trial.score for trial in record.trials])
    lap()


def _stock(config: Toy, place: Path, lap: Lap) -> None:
    import keras
    import keras_tuner

    data = load(config)
    train, validation = data.train.windows(), data.validation.windows()
    steps = math.ceil(len(train) / config.batch_size)

    def build(hp: Any) -> Any:
        chosen = REPORT(hp, config)
        given = keras.Input(train.shape[1:])
        hidden = keras.layers.LSTM(chosen.units, return_sequences=True)(given)
        hidden = keras.layers.LSTM(chosen.units, return_sequences=True)(hidden)
        model = keras.Model(given, keras.layers.Dense(1)(hidden))
        rate: Any = chosen.learning_rate
        if chosen.schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(rate, chosen.epochs * steps)
        model.compile(keras.optimizers.Adam(rate, global_clipnorm=chosen.clip), "mse", jit_compile=False)
        return model

    tuner = keras_tuner.GridSearch(
        build, objective="val_loss", seed=config.seed + 1, directory=str(place), project_name="search"
    )
    tuner.oracle.verbose = 0
    tuner.search(
        train,
        train,
        batch_size=config.batch_size,
        epochs=config.epochs,
        validation_data=(validation, validation),
        verbose=0,
    )
    scores = [trial.score for trial in tuner.oracle.trials.values()]
    _tell(place, [math.nan if score is None else score for score in scores])
    lap()


def _tell(place: Path, scores: list[float]) -> None:
    finite = [score for score in scores if math.isfinite(score)]
    told = {"trials": len(scores), "best": min(finite, default=math.inf)}
    (place / "told.json").write_text(json.dumps(told))
