"""Run or resume a search: its trials, and the run of the best one."""

import shutil
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple, Protocol

from lstm_ae.config import task_of
from lstm_ae.errors import ConfigError
from lstm_ae.experiment import assemble, fit_model, identity, write_run
from lstm_ae.parallel import Pool
from lstm_ae.run import Run, create_run
from lstm_ae.search.directory import SearchDirectory
from lstm_ae.search.job import Load, TrialJob, is_readable, state_file
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.record import SearchRecord
from lstm_ae.search.trial import FAILED, LOST, Trial


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
        run: the run of the best trial; None if all trials failed.
    """

    trials: list[Trial]
    run: Run | None


@contextmanager
def open_record(folder: SearchDirectory, plan: SearchPlan | None = None) -> Iterator[SearchRecord]:
    """Lock the directory of a search and return a context with its record.

    Trials whose workers died, and the best trial if its weights are missing or damaged, run again.

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
        best, unfinished = record.best, [trial for trial in record.trials if trial.status == LOST]
        if best and not (folder.run(best.number).finished or is_readable(state_file(folder.states(best.number)))):
            unfinished.append(best)
        for trial in unfinished:
            record.rerun(trial)
        yield record


def search(
    record: SearchRecord,
    folder: SearchDirectory,
    load: Load,
    pool: Pool[TrialJob, Trial],
    observer: SearchObserver,
) -> SearchResult:
    """Run or resume a search until it is complete.

    Args:
        record: the trials so far.
        folder: the directory of the search.
        load: returns the data of a config.
        pool: runs the trials; it is closed after them.
        observer: called at the end of each trial.
    """
    run_trials(record, folder, pool, observer)
    pool.close()
    return SearchResult(record.ranked, complete_best(record, folder, load))


def run_trials(
    record: SearchRecord, folder: SearchDirectory, pool: Pool[TrialJob, Trial], observer: SearchObserver
) -> None:
    """Run trials, see `search`.

    Raises:
        WorkersDiedError: workers die before any trial is finished.
    """
    # The pool takes trials in another thread than that of their outcomes.
    queue, lock = deque(record.pending), threading.Lock()

    def take_jobs() -> Iterator[TrialJob]:
        while True:
            with lock:
                trial = queue.popleft() if queue else record.ask()
                if trial is None:
                    return
                try:
                    job = _job(record, folder, trial)
                except ConfigError as error:
                    observer.ended(record.write(trial._replace(status=FAILED, reason=str(error))))
                    continue
            yield job

    ended = True
    while ended:
        # The oracle may propose further trials only after an outcome.
        ended = False
        with closing(pool.run(take_jobs(), TrialJob.give_up, observer.lost)) as outcomes:
            for trial in outcomes:
                ended = True
                with lock:
                    observer.ended(record.write(trial))
                    _tidy(record, folder)


def _job(record: SearchRecord, folder: SearchDirectory, trial: Trial) -> TrialJob:
    """Return the job of a trial; raise `ConfigError` if its values are not a valid combination."""
    plan = record.plan
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
        sha256=folder.about()["data"]["sha256"] if same else "",
    )


def _tidy(record: SearchRecord, folder: SearchDirectory) -> None:
    best = record.best
    folder.tidy([trial.number for trial in record.pending], None if best is None else best.number)


def complete_best(record: SearchRecord, folder: SearchDirectory, load: Load) -> Run | None:
    """Save the best trial as a run, and return it; None if all trials failed.

    Args:
        record: the trials.
        folder: the directory of the search.
        load: returns the data of a config.
    """
    if record.best is None:
        return None
    run = folder.run(record.best.number)
    if not run.finished:
        _complete(record, folder, record.best, run, load)
    _tidy(record, folder)
    return run


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
    note = {"trial": trial.number}
    write_run(run, assemble(config, data, model, fitted, record=run.about(), name=run.name, note=note), data)
