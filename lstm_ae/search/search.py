"""Run or resume a search: its trials, and the runs of the best ones."""

import threading
import time
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from lstm_ae import run
from lstm_ae.config import task_of
from lstm_ae.config.space import Space
from lstm_ae.data.windows import Data
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.experiment import finish_run, fit_model, identity
from lstm_ae.parallel import Pool
from lstm_ae.run import Run
from lstm_ae.search.directory import SearchDirectory, SearchPurpose
from lstm_ae.search.job import JobOutcome, Load, TrialJob, execution_state
from lstm_ae.search.plan import SearchPlan, plan_difference
from lstm_ae.search.state import SearchRecord
from lstm_ae.search.trial import FAILED, LOST, RUNNING, Trial, rank_trials


class SearchObserver(Protocol):
    """Observer of the trials of a search."""

    def started(self, trial: Trial) -> None:
        """Handle the start of a trial."""
        ...

    def ended(self, trial: Trial) -> None:
        """Handle the end of a trial."""
        ...

    def lost(self, titles: Sequence[str], how: str) -> None:
        """Handle the death of a process, see `lstm_ae.parallel.JobObserver.lost`."""
        ...


class TimeBudget:
    """Time limit of a search, which starts when the object is created.

    Args:
        seconds: the limit; None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        # Other machines read this time as well.
        self.end = None if seconds is None else time.time() + seconds

    @property
    def expired(self) -> bool:
        """Whether the limit is reached."""
        return self.end is not None and time.time() > self.end


def run_trials(
    record: SearchRecord,
    folder: SearchDirectory,
    pool: Pool[TrialJob, JobOutcome],
    observer: SearchObserver,
    *,
    clock: TimeBudget,
    keep: int = 1,
) -> bool:
    """Run trials until the search is complete or its time limit is reached.

    Args:
        record: the trials so far.
        folder: the directory of the search.
        pool: runs the trials.
        observer: called at the start and the end of each trial.
        clock: the time limit. A running trial stops after it with its next epoch.
        keep: number of best trials whose weights are kept.

    Returns:
        Whether the search is complete.

    Raises:
        WorkersDiedError: workers die before any trial is finished.
    """
    # The pool takes trials in another thread than that of their outcomes.
    queue, lock = deque(record.pending), threading.Lock()

    def take_jobs() -> Iterator[TrialJob]:
        while not clock.expired:
            with lock:
                trial = queue.popleft() if queue else record.ask().trial
                if trial is None:
                    return
                observer.started(trial)
                if same := record.equal_trial(trial):
                    _end(record, observer, _copy_outcome(trial.number, same))
                    continue
                try:
                    job = _job(record, folder, trial, clock)
                except ConfigError as error:
                    _end(record, observer, JobOutcome(trial.number, FAILED, (), str(error)))
                    continue
            yield job

    def give_up(job: TrialJob, reason: str) -> JobOutcome:
        return JobOutcome(job.number, LOST, (), reason)

    complete = False
    while not complete and not clock.expired:
        # If no trial runs, no further one is proposed because of its outcome.
        complete = True
        with closing(pool.run(take_jobs(), give_up, observer.lost)) as outcomes:
            for outcome in outcomes:
                complete = False
                with lock:
                    if outcome.status != RUNNING:
                        _end(record, observer, outcome)
                    _tidy(record, folder, keep)
    _tidy(record, folder, keep)
    # The clock of another machine may differ.
    return complete and not clock.expired and not record.pending


def _end(record: SearchRecord, observer: SearchObserver, outcome: JobOutcome) -> None:
    observer.ended(record.tell(outcome))


def _copy_outcome(number: int, same: Trial) -> JobOutcome:
    """Return the outcome of an equal trial with a training time of 0."""
    executions = tuple(execution._replace(seconds=0.0) for execution in same.executions)
    why = f": {same.reason}" if same.diverged and same.reason else ""
    return JobOutcome(number, same.status, executions, f"as trial {same.number}{why}")


def _tidy(record: SearchRecord, folder: SearchDirectory, keep: int) -> None:
    best = [trial.number for trial in record.best(keep)]
    folder.tidy([trial.number for trial in record.pending], best, record.continued)


def _job(record: SearchRecord, folder: SearchDirectory, trial: Trial, clock: TimeBudget) -> TrialJob:
    plan, config = record.plan, record.config(trial)
    # A searched option can change the data, whose hash is then unknown.
    same = config.data_key == plan.config.data_key
    # The processes of other machines have other working directories.
    parent = None if trial.parent is None else str(execution_state(folder.states(trial.parent), 0).absolute())
    return TrialJob(
        number=trial.number,
        task=task_of(plan.config),
        config=config.to_dict(),
        states=str(Path(folder.states(trial.number)).absolute()),
        objective=plan.objective,
        repeats=plan.repeats,
        until=trial.until,
        parent=parent,
        bar=record.bars[trial.number],
        sha256=folder.about()["data"]["sha256"] if same else "",
        deadline=clock.end,
    )


def complete_best(record: SearchRecord, folder: SearchDirectory, load: Load, keep: int) -> list[Run]:
    """Save the best trials as runs.

    Args:
        record: the trials.
        folder: the directory of the search.
        load: returns the data of a config.
        keep: number of best trials.

    Returns:
        The runs, the winner's first.
    """
    runs = []
    for trial in record.best(keep):
        run = folder.run(trial.number)
        if not run.finished:
            _complete(record, folder, trial, run, load)
        runs.append(run)
    _tidy(record, folder, keep)
    return runs


def _complete(record: SearchRecord, folder: SearchDirectory, trial: Trial, run: Run, load: Load) -> None:
    config = record.config(trial)
    data = load(config)
    # The training state is at its last epoch, so this returns the trained model without further training.
    state = execution_state(folder.states(trial.number), 0)
    model, fitted = fit_model(
        config, data, state=state, identity=identity(config, data), until=trial.executions[0].epochs
    )
    folder.new_run(run, config, data.source, data.symbols)
    finish_run(run, config, data, model, fitted, note={"trial": trial.number})


class SearchResult(NamedTuple):
    """Result of a search.

    Args:
        trials: all trials, best first.
        complete: whether the search is complete.
        runs: the runs of the best trials, the winner's first.
    """

    trials: list[Trial]
    complete: bool
    runs: list[Run]


class DamagedFile(NamedTuple):
    """Damaged file of a search.

    Args:
        path: the file.
        problem: what is wrong with it.
        number: the trial to run again because of it; None if the trial does not need the file.
    """

    path: Path
    problem: str
    number: int | None = None


def find_damage(folder: SearchDirectory, record: SearchRecord, keep: int) -> Iterator[DamagedFile]:
    """Yield the training states that cannot be read.

    Args:
        folder: the search.
        record: its trials.
        keep: number of best trials to save as runs.
    """
    best = {trial.number for trial in record.best(keep)}
    for trial in record.trials:
        saved = trial.number in best and folder.run(trial.number).finished
        for execution in range(record.plan.repeats):
            path = execution_state(folder.states(trial.number), execution)
            if path.exists() and not is_readable_state(path):
                needed = trial.number in best and not saved and execution == 0
                yield DamagedFile(path, "cannot be read", trial.number if needed else None)


def best_without_weights(folder: SearchDirectory, record: SearchRecord, keep: int) -> Iterator[int]:
    """Yield the best trials that have neither a run nor a training state.

    There are some if the search now saves more trials than before.

    Args:
        folder: the directory of the search.
        record: the trials of the search.
        keep: the number of best trials to consider.

    Yields:
        The numbers of the trials, best first.
    """
    for trial in record.best(keep):
        state = execution_state(folder.states(trial.number), 0)
        if not folder.run(trial.number).finished and not state.exists():
            yield trial.number


def is_readable_state(path: Path) -> bool:
    """Return whether a training state is a complete archive."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError):
        return False


def repair_search(record: SearchRecord, damaged: list[DamagedFile]) -> None:
    """Delete damaged files and drop the results of the trials that need them."""
    for file in damaged:
        file.path.unlink(missing_ok=True)
        if file.number is not None:
            record.drop(file.number)


def require_undamaged(damaged: list[DamagedFile], folder: SearchDirectory) -> None:
    """Raise `DataError` if files of a search are damaged."""
    if damaged:
        names = "; ".join(f"{file.path.relative_to(folder.directory)} {file.problem}" for file in damaged)
        raise DataError(
            f"The search {str(folder.directory)!r} is damaged: {names}. Pass --repair to run these trials again.",
            code=Code.SEARCH_DAMAGED,
        )


@contextmanager
def open_record(
    folder: SearchDirectory,
    *,
    plan: SearchPlan | None = None,
    purpose: SearchPurpose | None = None,
    repair: bool = False,
) -> Iterator[SearchRecord]:
    """Lock the directory of a search and return a context with its record.

    Trials whose worker died and best trials whose weights are missing are dropped, so that they run again.

    Args:
        folder: the directory of the search.
        plan: replaces the plan, for more trials or a new location of the data; None for no change.
        purpose: replaces the purpose; None for no change.
        repair: whether to delete damaged files instead of raising an exception.

    Raises:
        ConfigError: another process is running the search.
        DataError: a file is damaged.
    """
    with folder.hold():
        saved_plan, saved_purpose = folder.plan(), folder.purpose()
        plan, purpose, journal = plan or saved_plan, purpose or saved_purpose, folder.journal
        if (plan, purpose) != (saved_plan, saved_purpose):
            folder.rewrite(plan, purpose)
        journal.cut()
        entries, damaged = journal.read()
        if damaged and not repair:
            lines = ("line " if len(damaged) == 1 else "lines ") + ", ".join(map(str, damaged))
            raise DataError(
                f"{str(journal.path)!r} cannot be read in {lines}. Pass --repair to run these trials again.",
                code=Code.SEARCH_DAMAGED,
            )
        if damaged:
            journal.mend()
        record = SearchRecord(plan, Space(plan.axes), journal, entries)
        damaged_files = list(find_damage(folder, record, purpose.keep))
        # This precedes the repair, which drops best trials, so that others become the best and need no weights.
        missing_weights = set(best_without_weights(folder, record, purpose.keep))
        if repair:
            repair_search(record, damaged_files)
        else:
            require_undamaged(damaged_files, folder)
        for trial in record.trials:
            if trial.status == LOST or trial.number in missing_weights:
                record.drop(trial.number)
        yield record


def require_same_search(folder: SearchDirectory, plan: SearchPlan, data: Data) -> list[str]:
    """Check that a search has the given plan and data.

    Args:
        folder: the directory of the search.
        plan: the plan; its number of trials may differ.
        data: the data.

    Returns:
        Warnings about packages whose version has changed.

    Raises:
        ConfigError: the plan is different.
        DataError: the data is different.
    """
    directory = str(folder.directory)
    difference = plan_difference(folder.plan(), plan)
    if difference:
        raise ConfigError(
            f"{directory!r} already contains a different search: {difference}. Remove the option, or pass another "
            "--out.",
            code=Code.OUTPUT_EXISTS,
        )
    content = folder.about()
    if content["data"]["sha256"] != data.source.sha256:
        raise DataError(
            f"{directory!r} was started with different data ({content['data']['text']}). "
            "Pass the same file or start a new search.",
            code=Code.OTHER_DATA,
        )
    versions = [(name, saved, run.installed_versions().get(name)) for name, saved in content["versions"].items()]
    return [
        f"{name} was {saved} and is now {current}: results may differ in their last digits"
        for name, saved, current in versions
        if saved != current
    ]


def search(
    record: SearchRecord,
    folder: SearchDirectory,
    load: Load,
    pool: Pool[TrialJob, JobOutcome],
    observer: SearchObserver,
    *,
    clock: TimeBudget | None = None,
) -> SearchResult:
    """Run or resume a search until it is complete or its time limit is reached.

    Args:
        record: the trials so far.
        folder: the directory of the search.
        load: returns the data of a config.
        pool: runs the trials; it is closed after them.
        observer: called at the start and the end of each trial.
        clock: the time limit; None for no limit.
    """
    keep = folder.purpose().keep
    done = run_trials(record, folder, pool, observer, clock=clock or TimeBudget(None), keep=keep)
    pool.close()
    runs = complete_best(record, folder, load, keep)
    return SearchResult(rank_trials(record.trials, record.plan.objective), done, runs)
