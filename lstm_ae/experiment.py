"""From a config and a directory to a trained model and all that its run holds."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from lstm_ae import about
from lstm_ae import run as runs
from lstm_ae.config import Config, task_of
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError, Diverged
from lstm_ae.files import load_state
from lstm_ae.run import Run
from lstm_ae.tasks import task
from lstm_ae.words import epoch_name

if TYPE_CHECKING:
    from lstm_ae.training import Fitted

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
        notify: called with a `lstm_ae.training.Progress` after every step and epoch.
        started: called with the run once its directory exists.
        tensorboard: write TensorBoard's logs into the run as well.
        figures: draw them.

    Raises:
        ConfigError: `out` is in use.
        Diverged: the loss became NaN; the run is complete with the last good weights.
    """
    run = runs.create(out, config, data.source, data.symbols, command)
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
        known = identity(config, data) | {"versions": about.versions()}
        # The history on disk grows with the epochs, for whoever watches a long training.
        told = {"notify": notify, "log": run.write_history, "callbacks": logs}
        model, fitted = learn(config, data, state=run.state, identity=known, **told)
        if fitted.diverged and not fitted.epochs:
            raise Diverged(f"{_why(fitted.stopped)}; no epoch was good, so there is no model")
        complete(run, config, data, model, fitted, figures=figures)
    if fitted.diverged:
        raise Diverged(
            f"{_why(fitted.stopped)}; the weights of {epoch_name(fitted.best_epoch)} are kept in {run.directory}"
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
    now = about.versions()
    if state.exists():
        advice = "delete that file, and the same command trains it anew"
        meta, _ = load_state(state, {}, "The training state ", advice)
        if meta["identity"].get("versions") != now:
            state.unlink()
    return identity(config, data) | {"versions": now}


def learn(config: Config, data: Data, **details: Any) -> "tuple[Any, Fitted]":
    """Build a study's model and train it; `details` are those of `lstm_ae.training.fit`."""
    from lstm_ae.models.scaling import network_of
    from lstm_ae.training import fit

    seed(config)
    model = task(task_of(config)).build(config, data)
    return model, fit(network_of(model), data, config, **details)


def complete(
    run: Run,
    config: Config,
    data: Data,
    model: Any,
    fitted: "Fitted",
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
    from lstm_ae.models.scaling import network_of

    study = task(task_of(config))
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
        "parameters": int(network_of(model).count_params()),
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
