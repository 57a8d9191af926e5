"""Benchmark of a grid search of 18 settings: this package with one job and with several, and stock KerasTuner.

The stock search is the one of KerasTuner's guide: `GridSearch` over a function that builds and compiles a Keras model.
"""

import functools
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lstm_ae.bench.runner import Lap, Runner
from lstm_ae.config import Toy
from lstm_ae.config.options import flag_name
from lstm_ae.config.space import REPORT
from lstm_ae.data.toy import load
from lstm_ae.errors import Code, ConfigError

if TYPE_CHECKING:
    from lstm_ae.search.trial import Trial


# Options that both searches have.
_COMMON = {*(axis.name for axis in REPORT.axes), "sequences", "epochs", "batch_size", "schedule", "seed", "patience"}
# Options that change only how this package computes.
_COMPUTING = {"parts", "kernel"}
# The file in which a process writes the result of its search.
RESULT = "result.json"


class SearchTiming(NamedTuple):
    """Timing of a search.

    Args:
        by: the implementation.
        seconds: duration of the whole search, including imports, start of processes, and tracing.
        trials: number of trials.
        best: the lowest validation loss.
    """

    by: str
    seconds: float
    trials: int
    best: float


def require_stock_search(config: Toy) -> None:
    """Check that the stock search supports a config.

    Raises:
        ConfigError: an option has no equivalent in the stock search.
    """
    defaults = Toy().to_dict()
    for name, value in config.to_dict().items():
        if name not in _COMMON | _COMPUTING and value != defaults[name]:
            raise ConfigError(
                f"{flag_name(name)} is not available in the stock search. Remove it or pass --no-stock.",
                code=Code.OPTION_NOT_APPLICABLE,
            )


def time_searches(config: Toy, jobs: int, *, stock: bool, done: Callable[[str], None]) -> Iterator[SearchTiming]:
    """Time the search of the report's grid with one job, with several jobs, and with stock KerasTuner.

    Args:
        config: values of the options that are not searched. Its patience must be 0, because the stock search has no
            early stopping; see also `require_stock_search`.
        jobs: number of jobs.
        stock: whether to run the stock search, which takes the longest.
        done: called with each implementation before it runs.
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
            result = json.loads((Path(folder) / RESULT).read_text())
        yield SearchTiming(name, seconds, result["trials"], result["best"])


class _SilentObserver:
    """Observer of a search that does nothing."""

    def started(self, trial: "Trial") -> None:
        pass

    def ended(self, trial: "Trial") -> None:
        pass

    def lost(self, trial: "Trial", how: str) -> None:
        pass


def _ours(config: Toy, jobs: int, directory: Path, lap: Lap) -> None:
    from lstm_ae.search.directory import create_search
    from lstm_ae.search.job import TrialWork
    from lstm_ae.search.plan import SearchPlan, choose_objective
    from lstm_ae.search.search import TimeBudget, open_record, run_trials
    from lstm_ae.workers.engine import Engine

    data = load(config)
    plan = SearchPlan(config=config, axes=REPORT.axes, objective=choose_objective(config, None))
    folder = create_search(directory / "search", plan, data.source, data.symbols, "lstmae bench tune")
    executor = Engine(jobs=jobs).start(TrialWork({config.data_key: data} if jobs == 1 else {}), log=folder.log)
    with open_record(folder) as record:
        run_trials(record, folder, executor, _SilentObserver(), clock=TimeBudget(None))
        _write_result(directory, [trial.score for trial in record.trials])
    lap()


def _stock(config: Toy, directory: Path, lap: Lap) -> None:
    import keras
    import keras_tuner

    data = load(config)
    train, validation = data.train.windows(), data.validation.windows()
    steps = math.ceil(len(train) / config.batch_size)

    def build(hp: "keras_tuner.HyperParameters") -> "keras.Model":
        chosen = REPORT(hp, config)
        inputs = keras.Input(train.shape[1:])
        hidden = keras.layers.LSTM(chosen.units, return_sequences=True)(inputs)
        hidden = keras.layers.LSTM(chosen.units, return_sequences=True)(hidden)
        model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
        rate: float | keras.optimizers.schedules.LearningRateSchedule = chosen.learning_rate
        if chosen.schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(rate, chosen.epochs * steps)
        model.compile(keras.optimizers.Adam(rate, global_clipnorm=chosen.clip), "mse", jit_compile=False)
        return model

    tuner = keras_tuner.GridSearch(
        build, objective="val_loss", seed=config.seed + 1, directory=str(directory), project_name="search"
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
    _write_result(directory, [math.nan if score is None else score for score in scores])
    lap()


def _write_result(directory: Path, scores: list[float]) -> None:
    finite = [score for score in scores if math.isfinite(score)]
    result = {"trials": len(scores), "best": min(finite, default=math.inf)}
    (directory / RESULT).write_text(json.dumps(result))
