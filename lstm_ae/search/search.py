"""Run or resume a search: its trials, and the runs of the best ones."""

import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple, Protocol

from lstm_ae.config import task_of
from lstm_ae.errors import ConfigError
from lstm_ae.experiment import finish_run, fit_model, identity
from lstm_ae.parallel import Pool
from lstm_ae.run import Run, create_run
from lstm_ae.search.directory import SearchDirectory
from lstm_ae.search.job import Load, TrialJob, is_readable, state_file
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.record import SearchRecord
from lstm_ae.search.trial import FAILED, LOST, RUNNING, Trial


class SearchObserver(Protocol):
    """Observer of the trials of a search."""

    def ended(self, trial: Trial) -> None:
        """Handle the end of a trial."""

    def lost(self, titles: Sequence[str], how: str) -> None:
        """Handle the death of a process, see `lstm_ae.parallel.JobObserver.lost`."""


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


@contextmanager
def open_record(folder: SearchDirectory, plan: SearchPlan | None = None) -> Iterator[SearchRecord]:
    """Lock the directory of a search and return a context with its record.

    Trials whose workers died and best trials whose weights are missing or damaged run again.

    Args:
        folder: the directory of the search.
        plan: replaces the plan, for more trials or a new location of the data; None for no change.

    Raises:
        ConfigError: another process is running the search.
        DataError: a file is damaged.
    """
    with folder.hold():
        if plan is not None and plan != folder.plan():
            folder.rewrite(plan)
        folder.journal.cut()
        record = SearchRecord(plan or folder.plan(), folder.journal)
        # There are more best trials than before if the search now keeps more of them.
        without_weights = [
            trial
            for trial in record.best
            if not (folder.run(trial.number).finished or is_readable(state_file(folder.states(trial.number))))
        ]
        for trial in [trial for trial in record.trials if trial.status == LOST] + without_weights:
            record.rerun(trial)
        yield record


def search(
    record: SearchRecord,
    folder: SearchDirectory,
    load: Load,
    pool: Pool[TrialJob, Trial],
    observer: SearchObserver,
    *,
    deadline: float | None = None,
) -> SearchResult:
    """Run or resume a search until it is complete or its time limit is reached.

    Args:
        record: the trials so far.
        folder: the directory of the search.
        load: returns the data of a config.
        pool: runs the trials; it is closed after them.
        observer: called at the end of each trial.
        deadline: time in seconds since 1970 after which running trials stop with their next epoch; None for no limit.
    """
    complete = run_trials(record, folder, pool, observer, deadline)
    pool.close()
    return SearchResult(record.ranked, complete, complete_best(record, folder, load))


def run_trials(
    record: SearchRecord,
    folder: SearchDirectory,
    pool: Pool[TrialJob, Trial],
    observer: SearchObserver,
    deadline: float | None = None,
) -> bool:
    """Run trials, see `search`, and return whether the search is complete.

    Raises:
        WorkersDiedError: workers die before any trial is finished.
    """
    # The pool takes trials in another thread than that of their outcomes.
    queue, lock = deque(record.pending), threading.Lock()

    def expired() -> bool:
        return deadline is not None and time.time() > deadline

    def take_jobs() -> Iterator[TrialJob]:
        while not expired():
            with lock:
                trial = queue.popleft() if queue else record.ask()
                if trial is None:
                    return
                try:
                    job = _job(record, folder, trial, deadline)
                except ConfigError as error:
                    observer.ended(record.write(trial._replace(status=FAILED, reason=str(error))))
                    continue
            yield job

    complete = False
    while not complete and not expired():
        # If no trial runs, no further one is proposed because of its outcome.
        complete = True
        with closing(pool.run(take_jobs(), TrialJob.give_up, observer.lost)) as outcomes:
            for trial in outcomes:
                complete = False
                with lock:
                    if trial.status != RUNNING:
                        observer.ended(record.write(trial))
                    _tidy(record, folder)
    # The clock of another machine may differ.
    return complete and not expired() and not record.pending


def _job(record: SearchRecord, folder: SearchDirectory, trial: Trial, deadline: float | None) -> TrialJob:
    """Return the job of a trial.

    Raises:
        ConfigError: its values are not a valid combination, or the trial that it continues failed.
    """
    plan, parent = record.plan, None
    if trial.parent is not None:
        if not record.trials[trial.parent].completed:
            raise ConfigError(f"trial {trial.parent}, which it would continue, failed")
        parent = str(state_file(folder.states(trial.parent)).absolute())
    config = plan.config.with_values(trial.values)
    # A searched option can change the data, whose hash is then unknown.
    same = config.data_key == plan.config.data_key
    return TrialJob(
        trial,
        config.to_dict(),
        task_of(config),
        # The processes of other machines have other working directories.
        states=str(folder.states(trial.number).absolute()),
        objective=plan.objective,
        repeats=plan.repeats,
        parent=parent,
        sha256=folder.about()["data"]["sha256"] if same else "",
        deadline=deadline,
    )


def _tidy(record: SearchRecord, folder: SearchDirectory, *, complete: bool = False) -> None:
    # Hyperband may continue any trial.
    kept = record.trials if record.plan.search == "hyperband" and not complete else record.pending
    folder.tidy([trial.number for trial in kept], [trial.number for trial in record.best])


def complete_best(record: SearchRecord, folder: SearchDirectory, load: Load) -> list[Run]:
    """Save the best trials as runs, and return them, the winner's first.

    Args:
        record: the trials.
        folder: the directory of the search.
        load: returns the data of a config.
    """
    runs = []
    for trial in record.best:
        run = folder.run(trial.number)
        if not run.finished:
            _complete(record, folder, trial, run, load)
        runs.append(run)
    _tidy(record, folder, complete=not record.pending)
    return runs


def _complete(record: SearchRecord, folder: SearchDirectory, trial: Trial, run: Run, load: Load) -> None:
    config = record.plan.config.with_values(trial.values)
    data, state = load(config), state_file(folder.states(trial.number))
    # The training state is at its last epoch, so this returns the trained model without further training.
    model, fitted = fit_model(
        config, data, state=state, identity=identity(config, data), until=trial.executions[0].epochs
    )
    if run.begun and not run.exported:
        shutil.rmtree(run.directory)  # A killed process left it incomplete.
    create_run(run.directory, config, data.source, data.symbols, folder.about()["command"])
    finish_run(run, config, data, model, fitted, note={"trial": trial.number})
