"""Run a search from its beginning, or from where it stopped, to its best models, table, and figures."""

import dataclasses
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import filelock

from lstm_ae import run
from lstm_ae.config import task_of
from lstm_ae.config.space import Space
from lstm_ae.data.windows import Data, join_training
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.experiment import finish_run, fit_model, identity
from lstm_ae.run import Run
from lstm_ae.search import directory as repairs
from lstm_ae.search.directory import SearchDirectory, SearchPurpose
from lstm_ae.search.executors import Executor
from lstm_ae.search.job import JobOutcome, Load, TrialJob, data_key, execution_state
from lstm_ae.search.oracles import Spaces
from lstm_ae.search.plan import SearchPlan, plan_difference
from lstm_ae.search.state import SearchRecord
from lstm_ae.search.trial import FAILED, LOST, Trial, rank_trials


class SearchObserver(Protocol):
    """Who is told how a search goes on."""

    def started(self, trial: Trial) -> None:
        """A trial runs."""
        ...

    def ended(self, trial: Trial) -> None:
        """A trial has ended."""
        ...

    def lost(self, trial: Trial, how: str) -> None:
        """A trial's worker died; it is run again."""
        ...


class TimeBudget:
    """The time that a search may take, in seconds; None is without end."""

    def __init__(self, seconds: float | None) -> None:
        self.end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds left; at least 0."""
        return None if self.end is None else max(0.0, self.end - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether none is left."""
        return self.left == 0.0


def run_trials(
    record: SearchRecord,
    folder: SearchDirectory,
    executor: Executor,
    watcher: SearchObserver,
    *,
    clock: TimeBudget,
    keep: int = 1,
    retries: int = 2,
) -> bool:
    """Run trials until there is nothing more to try, or time is over.

    Args:
        executor: is stopped in the end, whatever happens.
        keep: the best trials, of which the weights are kept.
        retries: how often a trial whose worker died is given to another.

    Returns:
        Whether all has been tried.
    """
    queue, running = deque(record.pending), set[int]()
    died: Counter[int] = Counter()
    complete = False
    try:
        while not clock.expired:
            while len(running) < executor.slots:
                trial = queue.popleft() if queue else record.ask().trial
                if trial is None:
                    break
                watcher.started(trial)
                if same := record.same(trial):
                    _end(record, watcher, _copied(trial.number, same))
                    continue
                try:
                    executor.start(_job(record, folder, trial))
                    running.add(trial.number)
                except ConfigError as error:
                    _end(record, watcher, JobOutcome(trial.number, FAILED, (), str(error)))
            if not running:
                complete = True
                break
            for end in executor.wait(clock.left):
                running.discard(end.number)
                trial = record.trials[end.number]
                if isinstance(end, JobOutcome):
                    _end(record, watcher, end)
                elif died[end.number] < retries:
                    died[end.number] += 1
                    queue.appendleft(trial)
                    watcher.lost(trial, end.how)
                else:
                    times = f"{retries + 1} times" if retries else "once"
                    reason = f"its worker died {times}; the last time {end.how}"
                    _end(record, watcher, JobOutcome(end.number, LOST, (), reason))
                _tidy(record, folder, keep)
    finally:
        executor.stop()
    _tidy(record, folder, keep)
    return complete


def _end(record: SearchRecord, watcher: SearchObserver, outcome: JobOutcome) -> None:
    watcher.ended(record.tell(outcome))


def _copied(number: int, same: Trial) -> JobOutcome:
    """The end of a trial that has come before; it takes no time."""
    executions = tuple(execution._replace(seconds=0.0) for execution in same.executions)
    why = f": {same.reason}" if same.diverged and same.reason else ""
    return JobOutcome(number, same.status, executions, f"as trial {same.number}{why}")


def _tidy(record: SearchRecord, folder: SearchDirectory, keep: int) -> None:
    best = [trial.number for trial in record.best(keep)]
    folder.tidy([trial.number for trial in record.pending], best, record.continued)


def _job(record: SearchRecord, folder: SearchDirectory, trial: Trial) -> TrialJob:
    plan, config = record.plan, record.config(trial)
    # Searched options can be those of the data.
    same = data_key(config) == data_key(plan.config)
    parent = None if trial.parent is None else str(execution_state(folder.states(trial.parent), 0))
    return TrialJob(
        number=trial.number,
        task=task_of(plan.config),
        config=config.to_dict(),
        states=folder.states(trial.number),
        objective=plan.objective,
        repeats=plan.repeats,
        until=trial.until,
        parent=parent,
        bar=record.bars[trial.number],
        sha256=folder.about()["data"]["sha256"] if same else "",
    )


def complete_best(record: SearchRecord, folder: SearchDirectory, load: Load, keep: int) -> list[Run]:
    """Make runs of the best trials that are none yet; returns all of them, the winner first."""
    runs = []
    for trial in record.best(keep):
        run = folder.run(trial.number)
        if not run.finished:
            _complete(record, folder, trial, run, load)
        runs.append(run)
    folder.tidy([t.number for t in record.pending], [t.number for t in record.best(keep)], record.continued)
    return runs


def _complete(record: SearchRecord, folder: SearchDirectory, trial: Trial, run: Run, load: Load) -> None:
    config = record.config(trial)
    data = load(config)
    # Nothing is left to train: what comes back is the trained model.
    state = execution_state(folder.states(trial.number), 0)
    model, fitted = fit_model(
        config, data, state=state, identity=identity(config, data), until=trial.executions[0].epochs
    )
    folder.new_run(run, record.plan, config, data.source, data.symbols)
    finish_run(run, config, data, model, fitted, note={"trial": trial.number})


def refit_trial(
    record: SearchRecord, folder: SearchDirectory, trial: Trial, first: Run, load: Load, notify: Any = None
) -> Run:
    """Train a trial's setting anew on train and validation, for as many epochs as were best; returns the run.

    Its weights are those of the last epoch, since nothing is left to choose by. What intervals and thresholds rest on
    is what `first`, the trial's own run, was found to do on validation: it has learned from fewer rows, so they are
    careful ones.
    """
    config = dataclasses.replace(record.config(trial), patience=0)
    data = load(config)
    run, epochs = folder.refit, trial.executions[0].best_epoch
    note = f"trained on train and validation together, {epochs} epochs as trial {trial.number} had at its best"
    if run.finished and run.metrics()["training"].get("refit") == note:
        return run
    state = execution_state(folder.states("refit"), trial.number)
    known = identity(config, data) | {"refit": epochs}
    whole = join_training(data)
    model, fitted = fit_model(config, whole, state=state, identity=known, until=epochs, best=False, notify=notify)
    if fitted.diverged:
        raise DivergedError(f"Trained on train and validation, trial {trial.number} fails: {fitted.stopped}")
    fitted = fitted._replace(best_epoch=fitted.epochs)
    folder.new_run(run, record.plan, config, data.source, data.symbols)
    finish_run(run, config, data, model, fitted, note={"refit": note}, judged_by=first, built_from=whole)
    state.unlink(missing_ok=True)
    return run


class SearchResult(NamedTuple):
    """What came of a search.

    Args:
        trials: all of them, the best first.
        complete: whether everything has been tried.
        runs: the kept trials' runs, the winner first.
        refit: the winner's setting trained on train and validation, where that was asked for.
    """

    trials: list[Trial]
    complete: bool
    runs: list[Run]
    refit: Run | None


@contextmanager
def open_record(
    folder: SearchDirectory,
    *,
    plan: SearchPlan | None = None,
    purpose: SearchPurpose | None = None,
    repair: bool = False,
    space: Spaces | None = None,
) -> Iterator[SearchRecord]:
    """A search's record, with the directory locked.

    Trials that lost their worker are run again, and so are those of the best whose weights are not there any more.

    Args:
        plan: of more trials, or with its data in another place: it is gone on with in place of the one before.
        purpose: likewise.
        repair: take away what is damaged instead of raising.
        space: how a plan's config becomes a trial's; from the plan's axes if not given.

    Raises:
        ConfigError: another process is searching there.
        DataError: something is damaged.
    """
    try:
        lock = filelock.FileLock(folder.lock, timeout=0).acquire()
    except filelock.Timeout:
        raise ConfigError(
            f"Another process is searching in {str(folder.directory)!r}; wait for it, or give another --out"
        ) from None
    with lock:
        before, wanted = folder.plan(), folder.purpose()
        plan, purpose, journal = plan or before, purpose or wanted, folder.journal
        if (plan, purpose) != (before, wanted):
            folder.rewrite(plan, purpose)
        journal.cut()
        entries, damaged = journal.read()
        if damaged and not repair:
            lines = ("line " if len(damaged) == 1 else "lines ") + ", ".join(map(str, damaged))
            raise DataError(f"{str(journal.path)!r} cannot be read in {lines}. Add --repair to run these trials again")
        if damaged:
            journal.mend()
        spaces: Spaces = Space(plan.axes) if space is None else space
        record = SearchRecord(plan, spaces, journal, entries)
        found = list(repairs.find_damage(folder, record, purpose.keep))
        # Before a repair: while one of the best is run again, the next one stands in its place and needs no weights.
        without = set(repairs.best_without_weights(folder, record, purpose.keep))
        if repair:
            repairs.repair_search(record, found)
        else:
            repairs.require_undamaged(found, folder)
        for trial in record.trials:
            if trial.status == LOST or trial.number in without:
                record.drop(trial.number)
        yield record


def require_same_search(folder: SearchDirectory, plan: SearchPlan, data: Data) -> list[str]:
    """Raise where a search is another one than that of this plan and data.

    Returns:
        What the user should know: versions that are not those it was begun with.
    """
    before, where = folder.plan(), str(folder.directory)
    other = plan_difference(before, plan)
    if other:
        raise ConfigError(f"{where!r} is another search: its {other}. Leave that out, or give another --out")
    content = folder.about()
    if content["data"]["sha256"] != data.source.sha256:
        raise DataError(
            f"The data is not what {where!r} was started with ({content['data']['text']}); "
            "give the same file, or start anew"
        )
    names = [(name, was, run.installed_versions().get(name)) for name, was in content["versions"].items()]
    return [
        f"begun with {name} {was}, now it is {now}: results may differ in their last digits"
        for name, was, now in names
        if was != now
    ]


def search(
    record: SearchRecord,
    folder: SearchDirectory,
    load: Load,
    executor: Executor,
    watcher: SearchObserver,
    *,
    clock: TimeBudget | None = None,
    retries: int = 2,
) -> SearchResult:
    """Go on with a search until its end, or until its time is over.

    Args:
        executor: runs the trials; it is stopped in the end.
        clock: the time it may take.
        retries: how often a trial whose worker died is given to another.
    """
    _, keep, refitted = folder.purpose()
    done = run_trials(record, folder, executor, watcher, clock=clock or TimeBudget(None), keep=keep, retries=retries)
    runs = complete_best(record, folder, load, keep)
    again = refit_trial(record, folder, record.best(1)[0], runs[0], load) if refitted and done and runs else None
    return SearchResult(rank_trials(record.trials, record.plan.objective), done, runs, again)
