"""From a config and a directory to everything, and from a directory to everything again."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import filelock
import numpy as np

from lstm_ae import about
from lstm_ae import run as runs
from lstm_ae.config import Config, Snp, task_of
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError, Diverged
from lstm_ae.evaluation import Evaluation, Metric, Verdict
from lstm_ae.run import Run
from lstm_ae.tasks import Task, task

if TYPE_CHECKING:
    from lstm_ae.training import Fitted

Notify = Callable[[Any], None]


class Opened(NamedTuple):
    """A run with what it takes to work on it."""

    run: Run
    task: Task
    config: Config
    data: Data
    model: Any


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
            "Measure it with evaluate --run, or train another"
        )
    return _train(run, config, data, notify, started, tensorboard)


def open_trained(run: Run, data: Data | None = None) -> Opened:
    """A finished run's task, config, data and model; the data is loaded again unless given."""
    name = run.about()["task"]
    config = run.config()
    model = run.model()
    study = task(name)
    data = study.load(config) if data is None else data
    if data.source.sha256 != run.about()["data"]["sha256"]:
        raise DataError(
            f"The data is not what {str(run.directory)!r} was trained on ({run.about()['data']['text']}). "
            f"Received: {data.source.text}. Give the same file by --data, or set (or unset) LSTMAE_DATA_DIR"
        )
    return Opened(run, study, config, data, model)


def open_fresh(run: Run, config: Config) -> Opened:
    """A finished forecaster with data that it was not trained on, `config.data`; all of that is in its test part."""
    from lstm_ae.data.prices import fresh

    assert isinstance(config, Snp)
    _, scale, until = run.calibration()
    data = fresh(config, scale, run.about()["data"]["symbols"], np.datetime64(until))
    return Opened(run, task("snp"), config, data, run.model())


def evaluate(opened: Opened) -> Evaluation:
    """Measure a run's model again."""
    return opened.task.evaluate(opened.model, opened.data)


def plot(opened: Opened) -> list[Path]:
    """Draw a run's figures again."""
    history = opened.run.history()
    if not history:
        raise DataError(f"The run {str(opened.run.directory)!r} has lost its history of epochs; train a new run")
    return draw(opened.run, opened.task.figures(opened.model, opened.data, history))


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Metrics as they stand in `metrics.json`: by part, and the verdicts on forecasts where there are any."""
    parts = {part: {name: _metric(metric) for name, metric in row.items()} for part, row in evaluation.metrics.items()}
    verdicts = {part: _verdict(verdict) for part, verdict in evaluation.verdicts.items()}
    return parts | ({"verdict": verdicts} if verdicts else {})


def _verdict(verdict: Verdict) -> dict[str, Any]:
    numbers = {name: _number(getattr(verdict, name)) for name in ("skill", "p", "statistic")}
    halves = [_number(value) for value in verdict.halves]
    return {"text": str(verdict), "outcome": verdict.outcome, "baseline": verdict.baseline, **numbers, "halves": halves}


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "value": _number(metric.value),
        "baselines": {name: _number(value) for name, value in metric.baselines.items()},
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
    }


def _number(value: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return value if math.isfinite(value) else None


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
        lock = filelock.FileLock(run.lock, timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise ConfigError(
            f"Another process is training in {str(run.directory)!r}; wait for it, or give another --out"
        ) from None
    with lock:
        logs = [keras.callbacks.TensorBoard(str(run.tensorboard))] if tensorboard else []
        known = identity(config, data) | {"versions": about.versions()}
        model, fitted = learn(config, data, state=run.state, identity=known, notify=notify, callbacks=logs)
        if fitted.diverged and not fitted.best_epoch:
            run.write_history(fitted.history)
            raise Diverged(
                f"{_why(fitted.stopped)}; no epoch was good, so there is no model; its losses are in {run.directory}"
            )
        complete(run, config, data, model, fitted, figures=figures)
    if fitted.diverged:
        raise Diverged(f"{_why(fitted.stopped)}; the weights of epoch {fitted.best_epoch} are kept in {run.directory}")
    return run


def identity(config: Config, data: Data) -> dict[str, Any]:
    """What must be equal for a training to be continued. Its data may have moved."""
    asked = {name: value for name, value in config.to_dict().items() if name != "data"}
    return {"config": asked, "data": data.source.sha256}


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
    figures: bool = True,
) -> None:
    """Write all that a run holds once its model is trained: history, model, figures and, last, metrics.

    Args:
        note: further entries of what `metrics.json` says of the training.
        judged_by: a run of the same setting and data to take over what intervals and thresholds rest on, where this
            model was trained on validation as well, so that measures there mean nothing.
    """
    from lstm_ae.models.scaling import network_of

    study = task(task_of(config))
    run.write_history(fitted.history)
    model = _uncompiled(study.build(config, data), model)
    run.write_model(model)
    evaluation = study.evaluate(model, data)
    if judged_by is None:
        further = study.keep(run, config, model, data, evaluation)
    else:
        # What the weights were fitted to says nothing of how far they will be off.
        for told in (evaluation.metrics, evaluation.verdicts):
            told.pop("validation", None)
        run.take_over(judged_by)
        further = {name: value for name, value in judged_by.metrics().items() if name == "threshold"}
    if figures:
        draw(run, study.figures(model, data, fitted.history))
    training = {
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "stopped": fitted.stopped,
        "seconds": round(fitted.seconds, 2),
        "parameters": int(network_of(model).count_params()),
        **(note or {}),
    }
    run.write_metrics(as_json(evaluation) | further | {"training": training, "leaky": data.source.leaky})
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


def draw(run: Run, figures: Mapping[str, Any]) -> list[Path]:
    """Write figures into a run; those of a leaky one say so."""
    from lstm_ae.figures.base import png, titled

    leaky = run.about()["data"]["leaky"]
    if leaky:
        figures = {name: titled(figure, f"Leaky: {leaky}") for name, figure in figures.items()}
    return [run.write_figure(name, png(figure)) for name, figure in figures.items()]


def save_predictions(opened: Opened, columns: Mapping[str, Sequence[Any]], name: str = "predictions") -> Path:
    """Write a table of predictions into the run."""
    return opened.run.write_table(name, columns)
