"""One trial, as whoever runs it gets it: everything that it takes, and what comes back."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lstm_ae.config import TASKS, Config, task_of
from lstm_ae.data.windows import Data
from lstm_ae.errors import DataError, LstmAeError
from lstm_ae.experiment import fit_model, identity
from lstm_ae.search.trial import COMPLETED, FAILED, PRUNED, Execution, Objective
from lstm_ae.studies import load_study

Load = Callable[[Config], Data]
# Options of single studies that do not change their data.
ABOUT_MODELS = {
    *("model", "head", "pool", "every", "last_day_only"),
    *("latent", "code", "decoder_start", "delay_line", "bidirectional"),
    *("reconstruction_weight", "label_smoothing", "deform"),
}


class TrialJob(NamedTuple):
    """A trial to be run. Plain values only, so that it can be sent anywhere.

    Args:
        number: the trial's.
        task: the study.
        config: its config.
        states: where its training states go, without "-0.npz" and so on.
        objective: what is judged.
        repeats: trainings, one a seed.
        until: the last epoch to train; None for all.
        parent: the state that training goes on from, if it is still there.
        bar: by epoch, the median of the best objectives of earlier trials: a training that is worse is stopped.
        sha256: of the data that it must be trained on; "" where that is known to nobody yet.
    """

    number: int
    task: str
    config: dict[str, Any]
    states: str
    objective: Objective
    repeats: int = 1
    until: int | None = None
    parent: str | None = None
    bar: tuple[float, ...] = ()
    sha256: str = ""


class JobProgress(NamedTuple):
    """How far a job is: epochs done of one of its executions, and the objective there."""

    number: int
    execution: int
    epoch: int
    epochs: int
    value: float


class OtherDataError(DataError):
    """Who runs a trial has other data than the search was started with."""


class JobStopped(Exception):
    """Raised by who is notified, to leave a job as it is."""


class JobOutcome(NamedTuple):
    """How a job ended."""

    number: int
    status: str
    executions: tuple[Execution, ...]
    reason: str = ""


class LostJob(NamedTuple):
    """A job whose worker died, and how."""

    number: int
    how: str


def execution_state(states: str, execution: int) -> Path:
    """The training state of one of a trial's executions."""
    return Path(f"{states}-{execution}.npz")


def run_job(job: TrialJob, load: Load, notify: Callable[[JobProgress], None]) -> JobOutcome:
    """Train a trial; go on with it where it has been begun.

    Whatever is wrong with the setting is its outcome. Errors of the system (a full disk, other data) are raised: they
    would be those of every other trial as well.
    """
    done: list[Execution] = []
    try:
        config = TASKS[job.task].from_dict(job.config)
        for number in range(job.repeats):
            seeded = dataclasses.replace(config, seed=(config.seed + number) % 2**32)
            data = load(seeded)
            if job.sha256 and data_key(seeded) == data_key(config) and data.source.sha256 != job.sha256:
                raise OtherDataError(
                    f"Trial {job.number} was to be trained on {data.source.text}, which is not the data of the search; "
                    "give every machine the same file by --data or LSTMAE_DATA_DIR"
                )
            execution, status = _execute(job, number, seeded, data, notify)
            done.append(execution)
            if status != COMPLETED:
                return JobOutcome(job.number, status, tuple(done), execution.stopped)
    except (OSError, OtherDataError, JobStopped):
        raise
    except Exception as error:
        return JobOutcome(job.number, FAILED, tuple(done), _why(error))
    return JobOutcome(job.number, COMPLETED, tuple(done))


def _execute(
    job: TrialJob, number: int, config: Config, data: Data, notify: Callable[[JobProgress], None]
) -> tuple[Execution, str]:
    import keras

    from lstm_ae.models.scaling import inner_network
    from lstm_ae.training.checkpoint import trained_epochs

    state = execution_state(job.states, number)
    state.parent.mkdir(parents=True, exist_ok=True)
    # Without the parent's state the same training is begun anew, and of the parent's the first execution's is kept.
    if job.parent and number == 0 and not state.exists() and Path(job.parent).exists():
        beside = state.with_suffix(".part")
        shutil.copyfile(job.parent, beside)
        beside.replace(state)
    name, epochs = job.objective.name, job.until or config.epochs
    judge = median_rule(job.bar, job.objective)

    def tell(progress: Any) -> None:
        value = float(progress.values.get(name, float("nan")))
        notify(JobProgress(job.number, number, progress.epoch - (not progress.finished), epochs, value))

    keras.backend.clear_session(free_memory=False)
    model, fitted = fit_model(
        config, data, state=state, identity=identity(config, data), notify=tell, until=job.until, judge=judge
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
    """The median rule of Golovin et al. 2017 (Vizier): worse at its best than the median of the others' best."""

    def judge(history: list[dict[str, float]]) -> str:
        epoch = len(history)
        if not bar or epoch >= len(bar):
            return ""
        best = min((row[objective.name] for row in history), key=objective.key)
        if not objective.better(bar[epoch - 1], best):
            return ""
        return f"pruned after epoch {epoch}: {best:.4g}, where the median was {bar[epoch - 1]:.4g}"

    return judge


def _why(error: Exception) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split("\n")[0].split())[:300]
    return text if isinstance(error, LstmAeError) else f"{type(error).__name__}: {text}"


class DataLoader:
    """Loads a study's data, and keeps what it loaded last: the data depends on a part of the config only."""

    def __init__(self, given: Mapping[str, Data] | None = None) -> None:
        self.kept = dict(given or {})

    def __call__(self, config: Config) -> Data:
        """The data of a config."""
        key = data_key(config)
        if key not in self.kept:
            self.kept.clear()
            self.kept[key] = load_study(task_of(config)).load(config)
        return self.kept[key]


def data_key(config: Config) -> str:
    """What of a config decides its data: the seed, and those options of its study that are not about the model."""
    shared = {field.name for field in dataclasses.fields(Config)} - {"seed"}
    return repr({name: value for name, value in config.to_dict().items() if name not in shared | ABOUT_MODELS})
