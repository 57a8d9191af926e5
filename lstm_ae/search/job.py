"""Run one trial of a search, also in another process or on another machine."""

import dataclasses
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lstm_ae.config import TASKS, Config
from lstm_ae.data.windows import Data
from lstm_ae.errors import Code, DataError, LstmAeError
from lstm_ae.experiment import fit_model, identity
from lstm_ae.json_types import JsonObject
from lstm_ae.search.trial import COMPLETED, FAILED, LOST, Execution, Objective, Trial
from lstm_ae.startup import import_tensorflow
from lstm_ae.studies import load_study
from lstm_ae.training.observer import Progress, ProgressObserver

Load = Callable[[Config], Data]

# Called with a trial and the progress of its training.
Notify = Callable[[Trial, Progress], None]


class TrialJob(NamedTuple):
    """Trial to run. It contains plain values only, so that it can be sent to another process or machine.

    Args:
        trial: the trial.
        config: config of the trial.
        task: the study.
        states: folder of its training states.
        objective: the objective of the search.
        repeats: number of trainings, each with its own seed.
        sha256: hash of the data to train on; "" if it is unknown.
    """

    trial: Trial
    config: JsonObject
    task: str
    states: str
    objective: Objective
    repeats: int = 1
    sha256: str = ""

    @property
    def number(self) -> int:
        """The number of the trial."""
        return self.trial.number

    @property
    def title(self) -> str:
        """The trial, for messages."""
        return f"trial {self.number}"

    def give_up(self, reason: str) -> Trial:
        """Return the trial of a job whose processes died."""
        return self.trial._replace(status=LOST, reason=reason)


class TrialWork(NamedTuple):
    """Settings that all trials of a search share.

    Args:
        data: returns the data of a config; None to read it in each process.
        notify: receives the progress of trials that run in this process; None for no call.
    """

    data: Load | None = None
    notify: Notify | None = None

    def prepare(self, threads: int) -> None:
        """Import TensorFlow in a new process."""
        import_tensorflow(threads)

    def load(self) -> Callable[[TrialJob], Trial]:
        """Return the function that runs a trial."""
        return partial(run_job, load=self.data or DataLoader(), notify=self.notify)


def state_file(states: str | Path, execution: int = 0) -> Path:
    """Return the training state of one execution of a trial."""
    return Path(states) / f"{execution}.npz"


def is_readable(state: Path) -> bool:
    """Return whether a training state is a complete archive."""
    try:
        with zipfile.ZipFile(state) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError):
        return False


def run_job(job: TrialJob, load: Load, notify: Notify | None = None) -> Trial:
    """Train a trial or resume its training.

    A setting that cannot be trained ends with status "failed". Errors of the system (a full disk, different data) are
    raised, because they would occur in every other trial as well.

    Args:
        job: the trial.
        load: returns the data of a config.
        notify: receives the progress; None for no call.

    Returns:
        The ended trial.

    Raises:
        OSError: a file cannot be read or written.
        DataError: the data differs from the data of the search.
    """
    trial, done = job.trial, list[Execution]()
    try:
        config = TASKS[job.task].from_dict(job.config)
        for number in range(job.repeats):
            seeded = dataclasses.replace(config, seed=(config.seed + number) % 2**32)
            data = load(seeded)
            if job.sha256 and seeded.data_key == config.data_key and data.source.sha256 != job.sha256:
                raise DataError(
                    f"Trial {job.number}: {data.source.text} is not the data of the search. "
                    "Give every machine the same file with --data or LSTMAE_DATA_DIR.",
                    code=Code.OTHER_DATA,
                )
            execution, diverged = _execute(job, number, seeded, data, notify)
            done.append(execution)
            if diverged:
                return trial._replace(status=FAILED, executions=tuple(done), reason=execution.stopped)
    except OSError:
        raise
    except Exception as error:
        if getattr(error, "code", None) is Code.OTHER_DATA:
            raise
        return trial._replace(status=FAILED, executions=tuple(done), reason=_describe_error(error))
    return trial._replace(status=COMPLETED, executions=tuple(done))


def _execute(job: TrialJob, number: int, config: Config, data: Data, notify: Notify | None) -> tuple[Execution, bool]:
    """Return the result of one training, and whether it diverged."""
    import keras

    state = state_file(job.states, number)
    state.parent.mkdir(parents=True, exist_ok=True)
    if state.exists() and not is_readable(state):
        state.unlink()  # The training starts again, with the same result.

    def report(progress: Progress) -> None:
        if notify:
            notify(job.trial, progress)

    keras.backend.clear_session(free_memory=False)
    _, fitted = fit_model(
        config,
        data,
        state=state,
        identity=identity(config, data),
        observer=ProgressObserver(report),
        # The objective is measured at an epoch. Shrinkage and the comparison with the start follow for the best trial.
        as_trained=True,
    )
    execution = Execution(
        config.seed,
        fitted.best.get(job.objective.name, float("nan")),
        fitted.epochs,
        fitted.best_epoch,
        fitted.stopped,
        round(fitted.seconds, 3),
    )
    return execution, fitted.diverged


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
            self.cache[key] = load_study(config).load(config)
        return self.cache[key]
