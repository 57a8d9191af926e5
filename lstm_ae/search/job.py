"""Job of one trial: its inputs, how it is run, and its outcome."""

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lstm_ae.config import TASKS, Config, task_of
from lstm_ae.data.windows import Data
from lstm_ae.errors import Code, DataError, LstmAeError
from lstm_ae.experiment import fit_model, identity
from lstm_ae.json_types import JsonObject
from lstm_ae.search.trial import COMPLETED, FAILED, PRUNED, RUNNING, Execution, Objective
from lstm_ae.startup import import_tensorflow
from lstm_ae.studies import load_study
from lstm_ae.training.observer import Progress, ProgressObserver

Load = Callable[[Config], Data]


class TrialJob(NamedTuple):
    """Trial to run. It contains plain values only, so that it can be sent to another process or machine.

    Args:
        number: number of the trial.
        task: the study.
        config: config of the trial.
        states: path prefix of its training states, without the suffix "-0.npz" of the execution.
        objective: the objective of the search.
        repeats: number of trainings, each with its own seed.
        until: the last epoch to train; None for all.
        parent: the state that training continues from, if it exists.
        bar: by epoch, the median of the best objectives of earlier trials; a worse training is stopped.
        sha256: hash of the data to train on; "" if it is unknown.
        deadline: time in seconds since 1970 after which it stops with the next progress; None for no limit.
    """

    number: int
    task: str
    config: JsonObject
    states: str
    objective: Objective
    repeats: int = 1
    until: int | None = None
    parent: str | None = None
    bar: tuple[float, ...] = ()
    sha256: str = ""
    deadline: float | None = None

    @property
    def title(self) -> str:
        """The trial, for messages."""
        return f"trial {self.number}"


class JobProgress(NamedTuple):
    """Progress of a job.

    Args:
        number: number of the trial.
        execution: index of the training.
        epoch: completed epochs.
        epochs: epochs to train.
        value: the objective after the last completed epoch.
    """

    number: int
    execution: int
    epoch: int
    epochs: int
    value: float


class OtherDataError(DataError):
    """Raised if the worker's data differs from the data of the search."""

    code = Code.OTHER_DATA


class JobOutcome(NamedTuple):
    """Outcome of a job.

    Args:
        number: number of the trial.
        status: completed, pruned, or failed; running if its deadline stopped it.
        executions: its trainings.
        reason: why it was pruned or failed.
    """

    number: int
    status: str
    executions: tuple[Execution, ...]
    reason: str = ""


class _DeadlineReached(Exception):
    """Raised to stop a training, which can be resumed."""


class TrialWork(NamedTuple):
    """What the trials of a search have in common.

    Args:
        data: returns the data of a config; None to read it in each process.
        notify: called with the progress of trials that run in this process; None for no call.
    """

    data: Load | None = None
    notify: Callable[[JobProgress], None] | None = None

    def prepare(self, threads: int) -> None:
        """Import TensorFlow in a new process."""
        import_tensorflow(threads)

    def load(self) -> Callable[[TrialJob], JobOutcome]:
        """Return the function that runs a trial."""
        return partial(run_job, load=self.data or DataLoader(), notify=self.notify)


def execution_state(states: str, execution: int) -> Path:
    """Return the path of the training state of one execution."""
    return Path(f"{states}-{execution}.npz")


def run_job(job: TrialJob, load: Load, notify: Callable[[JobProgress], None] | None = None) -> JobOutcome:
    """Train a trial or resume its training.

    A setting that cannot be trained ends with status "failed". Errors of the system (a full disk, different data) are
    raised, because they would occur in every other trial as well.

    Args:
        job: the trial.
        load: returns the data of a config.
        notify: called after each epoch; None for no call.

    Raises:
        OSError: a file cannot be read or written.
        OtherDataError: the data differs from the data of the search.
    """
    done: list[Execution] = []
    try:
        config = TASKS[job.task].from_dict(job.config)
        for number in range(job.repeats):
            seeded = dataclasses.replace(config, seed=(config.seed + number) % 2**32)
            data = load(seeded)
            if job.sha256 and seeded.data_key == config.data_key and data.source.sha256 != job.sha256:
                raise OtherDataError(
                    f"Trial {job.number}: {data.source.text} is not the data of the search. "
                    "Give every machine the same file with --data or LSTMAE_DATA_DIR."
                )
            execution, status = _execute(job, number, seeded, data, notify)
            done.append(execution)
            if status != COMPLETED:
                return JobOutcome(job.number, status, tuple(done), execution.stopped)
    except (OSError, OtherDataError):
        raise
    except _DeadlineReached:
        return JobOutcome(job.number, RUNNING, tuple(done))
    except Exception as error:
        return JobOutcome(job.number, FAILED, tuple(done), _describe_error(error))
    return JobOutcome(job.number, COMPLETED, tuple(done))


def _execute(
    job: TrialJob, number: int, config: Config, data: Data, notify: Callable[[JobProgress], None] | None
) -> tuple[Execution, str]:
    import keras

    from lstm_ae.models.scaling import inner_network
    from lstm_ae.training.checkpoint import trained_epochs

    state = execution_state(job.states, number)
    state.parent.mkdir(parents=True, exist_ok=True)
    # Only the state of the parent's first execution is kept. Without it the training starts from the first epoch.
    if job.parent and number == 0 and not state.exists() and Path(job.parent).exists():
        partial = state.with_suffix(".part")
        shutil.copyfile(job.parent, partial)
        partial.replace(state)
    name, epochs = job.objective.name, job.until or config.epochs
    judge = median_rule(job.bar, job.objective)

    def report(progress: Progress) -> None:
        if notify:
            value = float(progress.values.get(name, float("nan")))
            notify(JobProgress(job.number, number, progress.epoch - (not progress.finished), epochs, value))
        if job.deadline is not None and time.time() > job.deadline:
            raise _DeadlineReached

    keras.backend.clear_session(free_memory=False)
    model, fitted = fit_model(
        config,
        data,
        state=state,
        identity=identity(config, data),
        observer=ProgressObserver(report),
        until=job.until,
        judge=judge,
        # The objective is that of an epoch. A run that is kept is shrunk when it is written.
        shares=[1.0] * config.networks,
    )
    trained, best = trained_epochs(fitted.history), fitted.best
    curve = [row[name] for row in trained]
    execution = Execution(
        config.seed,
        best.get(name, float("nan")),
        len(curve),
        fitted.best_epoch,
        fitted.stopped,
        round(fitted.seconds, 3),
        tuple(curve),
        best | {"parameters": float(inner_network(model).count_params())},
    )
    pruned = bool(trained) and bool(judge(trained))
    return execution, FAILED if fitted.diverged else PRUNED if pruned else COMPLETED


def median_rule(bar: tuple[float, ...], objective: Objective) -> Callable[[list[dict[str, float]]], str]:
    """Return the median stopping rule of Golovin et al. 2017 (Vizier).

    It stops a training whose best objective is worse than the median of the best objectives of earlier trials.

    Args:
        bar: the median by epoch; empty for no rule.
        objective: the objective of the search.

    Returns:
        A function that takes the history and returns the reason for stopping, "" to continue.
    """

    def judge(history: list[dict[str, float]]) -> str:
        epoch = len(history)
        if not bar or epoch >= len(bar):
            return ""
        best = min((row[objective.name] for row in history), key=objective.key)
        if not objective.better(bar[epoch - 1], best):
            return ""
        return f"pruned after epoch {epoch}: {best:.4g}, where the median was {bar[epoch - 1]:.4g}"

    return judge


def _describe_error(error: Exception) -> str:
    """Return an exception as one line of text."""
    text = " ".join(str(error).split("\n")[0].split())[:300]
    return text if isinstance(error, LstmAeError) else f"{type(error).__name__}: {text}"


class DataLoader:
    """Loader of a study's data that caches the last data.

    Args:
        loaded: data that is already loaded, by `Config.data_key`.
    """

    def __init__(self, loaded: Mapping[str, Data] | None = None) -> None:
        self.cache = dict(loaded or {})

    def __call__(self, config: Config) -> Data:
        """Return the data of a config."""
        key = config.data_key
        if key not in self.cache:
            self.cache.clear()
            self.cache[key] = load_study(task_of(config)).load(config)
        return self.cache[key]
