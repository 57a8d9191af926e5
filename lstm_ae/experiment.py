"""Train a run from a config and a directory, and open a finished one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import filelock
import numpy as np

from lstm_ae import run as runs
from lstm_ae.config import Config, Snp, task_of
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.evaluation import Evaluation
from lstm_ae.files import load_state
from lstm_ae.formatting import format_epoch
from lstm_ae.run import Run
from lstm_ae.studies import Study, load_study

if TYPE_CHECKING:
    from lstm_ae.training.loop import TrainingResult


# What a run takes over from the one that it is judged by.
KEPT = ("threshold", "seasons")

NOTHING_LEARNED = (
    "No epoch lowered the validation loss of the untrained start, so the model is that start. A lower --learning-rate "
    "may help"
)

Notify = Callable[[Any], None]


def train(
    config: Config,
    data: Data,
    *,
    out: Path | None,
    command: str = "",
    notify: Notify | None = None,
    started: Callable[[Run], None] | None = None,
    tensorboard: bool = False,
    figures: bool = True,
) -> Run:
    """Train a new run from its beginning to its figures.

    Args:
        out: a new or empty directory; None for one below `runs/`.
        command: what the user typed, for the record.
        notify: called with a `lstm_ae.training.loop.Progress` after every step and epoch.
        started: called with the run once its directory exists.
        tensorboard: write TensorBoard's logs into the run as well.
        figures: draw them.

    Raises:
        ConfigError: `out` is in use.
        Diverged: the loss became NaN; the run is complete with the last good weights.
    """
    run = runs.create_run(out, config, data.source, data.symbols, command)
    return _train(run, config, data, notify, started, tensorboard, figures)


def resume(
    run: Run,
    config: Config,
    data: Data,
    *,
    notify: Notify | None = None,
    started: Callable[[Run], None] | None = None,
    tensorboard: bool = False,
) -> Run:
    """Continue an unfinished run to the end that it would have come to without the interruption."""
    if run.about()["data"]["sha256"] != data.source.sha256:
        raise DataError(
            f"The data is not what {str(run.directory)!r} was started with ({run.about()['data']['text']}); "
            "give the same file, or start anew"
        )
    if run.finished:
        raise ConfigError(
            f"The run {str(run.directory)!r} is finished; there is nothing to resume. "
            "Measure it with evaluate, or train another"
        )
    return _train(run, config, data, notify, started, tensorboard)


def _train(
    run: Run,
    config: Config,
    data: Data,
    notify: Notify | None,
    started: Callable[[Run], None] | None,
    tensorboard: bool,
    figures: bool = True,
) -> Run:
    import keras

    if started:
        started(run)
    try:
        lock = filelock.FileLock(run.lock, timeout=0).acquire()
    except filelock.Timeout:
        raise ConfigError(
            f"Another process is training in {str(run.directory)!r}; wait for it, or give another --out"
        ) from None
    with lock:
        logs = [keras.callbacks.TensorBoard(str(run.tensorboard))] if tensorboard else []
        known = identity(config, data) | {"versions": runs.installed_versions()}
        # The history on disk grows with the epochs, for whoever watches a long training.
        told = {"notify": notify, "log": run.write_history, "callbacks": logs}
        model, fitted = fit_model(config, data, state=run.state, identity=known, **told)
        if fitted.diverged and not fitted.epochs:
            raise DivergedError(f"{_why(fitted.stopped)}; no epoch was good, so there is no model")
        finish_run(run, config, data, model, fitted, figures=figures)
    if fitted.diverged:
        raise DivergedError(
            f"{_why(fitted.stopped)}; the weights of {format_epoch(fitted.best_epoch)} are kept in {run.directory}"
        )
    return run


def identity(config: Config, data: Data) -> dict[str, Any]:
    """What must be equal for a training to be continued. Its data may have moved."""
    asked = {name: value for name, value in config.to_dict().items() if name != "data"}
    return {"config": asked, "data": data.source.sha256}


def identity_in(state: Path, config: Config, data: Data) -> dict[str, Any]:
    """What must be equal for a part of a long command to be continued: the versions as well.

    A state of other versions is deleted, so that its training begins anew: what came of it would be of neither.
    """
    now = runs.installed_versions()
    if state.exists():
        advice = "delete that file, and the same command trains it anew"
        meta, _ = load_state(state, {}, "The training state ", advice)
        if meta["identity"].get("versions") != now:
            state.unlink()
    return identity(config, data) | {"versions": now}


def fit_model(config: Config, data: Data, **details: Any) -> "tuple[Any, TrainingResult]":
    """Build a study's model and train it; `details` are those of `lstm_ae.training.loop.fit`."""
    from lstm_ae.models.scaling import inner_network
    from lstm_ae.training.loop import fit

    seed(config)
    model = load_study(task_of(config)).build(config, data)
    return model, fit(inner_network(model), data, config, **details)


def finish_run(
    run: Run,
    config: Config,
    data: Data,
    model: Any,
    fitted: "TrainingResult",
    *,
    note: Mapping[str, Any] | None = None,
    judged_by: Run | None = None,
    built_from: Data | None = None,
    figures: bool = True,
) -> None:
    """Write all that a run holds once its model is trained: history, model, figures and, last, metrics.

    Args:
        note: further entries of what `metrics.json` says of the training.
        judged_by: a run of the same setting and data to take over what intervals and thresholds rest on, where this
            model was trained on validation as well, so that measures there mean nothing.
        built_from: the data that the model was built for, where that is not `data`: a study's model may hold what it
            has seen there.
    """
    from lstm_ae.models.scaling import inner_network

    study = load_study(task_of(config))
    run.write_history(fitted.history)
    model = _uncompiled(study.build(config, built_from or data), model)
    run.write_model(model)
    evaluation = study.evaluate(model, data, judged_by)
    if judged_by is None:
        further = study.keep(run, config, model, data, evaluation)
    else:
        run.take_over(judged_by)
        further = {name: value for name, value in judged_by.metrics().items() if name in KEPT}
    if figures:
        run.write_figures(study.figures(model, data, fitted.history, judged_by))
    training = {
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "stopped": fitted.stopped,
        "seconds": round(fitted.seconds, 2),
        "parameters": int(inner_network(model).count_params()),
        **(note or {}),
        **({} if fitted.best_epoch else {"note": NOTHING_LEARNED}),
    }
    run.write_metrics(evaluation.as_json() | further | {"training": training, "leaky": data.source.leaky})
    run.state.unlink(missing_ok=True)


def _uncompiled(fresh: Any, trained: Any) -> Any:
    """The trained weights in a model that was never compiled: what is saved then holds no optimizer, a third of it."""
    for ours, theirs in zip(fresh.variables, trained.variables, strict=True):
        ours.assign(theirs)
    return fresh


def _why(stopped: str) -> str:
    return f"{stopped[0].upper()}{stopped[1:]} (try a lower --learning-rate, or --clip 1)"


def seed(config: Config) -> None:
    """Seed everything that draws, and choose deterministic kernels where asked."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()


class LoadedRun(NamedTuple):
    """A run with its task, config, data and model."""

    run: Run
    task: Study
    config: Config
    data: Data
    model: Any

    @property
    def judged_by(self) -> Run | None:
        """The run, where its weights were fitted to validation as well: it holds what its trial did there."""
        return self.run if "refit" in self.run.metrics()["training"] else None

    def evaluate(self) -> Evaluation:
        """Measure the model again."""
        return self.task.evaluate(self.model, self.data, self.judged_by)

    def plot(self) -> list[Path]:
        """Draw the figures again."""
        history = self.run.history()
        if not history:
            raise DataError(f"The run {str(self.run.directory)!r} has lost its history of epochs; train a new run")
        return self.run.write_figures(self.task.figures(self.model, self.data, history, self.judged_by))

    def save_predictions(self, columns: Mapping[str, Sequence[Any]], name: str = "predictions") -> Path:
        """Write a table of predictions into the run."""
        return self.run.write_table(name, columns)


def open_trained(run: Run, data: Data | None = None) -> LoadedRun:
    """A finished run's task, config, data and model; the data is loaded again unless given."""
    name = run.about()["task"]
    config = run.config()
    model = run.model()
    study = load_study(name)
    data = study.load(config) if data is None else data
    if data.source.sha256 != run.about()["data"]["sha256"]:
        raise DataError(
            f"The data is not what {str(run.directory)!r} was trained on ({run.about()['data']['text']}). "
            f"Received: {data.source.text}. Give the same file by --data, or set (or unset) LSTMAE_DATA_DIR"
        )
    return LoadedRun(run, study, config, data, model)


def open_on_new_data(run: Run, config: Config) -> LoadedRun:
    """A finished forecaster with data that it was not trained on, `config.data`; all of that is in its test part."""
    from lstm_ae.data.prices import load_new_prices

    assert isinstance(config, Snp)
    _, scale, until = run.calibration()
    data = load_new_prices(config, scale, run.about()["data"]["symbols"], np.datetime64(until))
    return LoadedRun(run, load_study("snp"), config, data, run.model())
