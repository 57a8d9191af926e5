"""The loop of a search: the executor gets what the oracle asks for, the oracle hears how it ended."""

import time
from collections import Counter, deque
from typing import Protocol

from lstm_ae.config import task_of
from lstm_ae.errors import ConfigError
from lstm_ae.search.executors import Executor
from lstm_ae.search.folder import Folder
from lstm_ae.search.job import Job, Outcome, key_of, state_of
from lstm_ae.search.record import Record
from lstm_ae.search.trials import FAILED, LOST, Trial


class Watcher(Protocol):
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


class Clock:
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


def drive(
    record: Record,
    folder: Folder,
    executor: Executor,
    watcher: Watcher,
    *,
    clock: Clock,
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
                    _end(record, watcher, Outcome(trial.number, FAILED, (), str(error)))
            if not running:
                complete = True
                break
            for end in executor.wait(clock.left):
                running.discard(end.number)
                trial = record.trials[end.number]
                if isinstance(end, Outcome):
                    _end(record, watcher, end)
                elif died[end.number] < retries:
                    died[end.number] += 1
                    queue.appendleft(trial)
                    watcher.lost(trial, end.how)
                else:
                    times = f"{retries + 1} times" if retries else "once"
                    reason = f"its worker died {times}; the last time {end.how}"
                    _end(record, watcher, Outcome(end.number, LOST, (), reason))
                _tidy(record, folder, keep)
    finally:
        executor.stop()
    _tidy(record, folder, keep)
    return complete


def _end(record: Record, watcher: Watcher, outcome: Outcome) -> None:
    watcher.ended(record.tell(outcome))


def _copied(number: int, same: Trial) -> Outcome:
    """The end of a trial that has come before; it takes no time."""
    executions = tuple(execution._replace(seconds=0.0) for execution in same.executions)
    why = f": {same.reason}" if same.diverged and same.reason else ""
    return Outcome(number, same.status, executions, f"as trial {same.number}{why}")


def _tidy(record: Record, folder: Folder, keep: int) -> None:
    best = [trial.number for trial in record.best(keep)]
    folder.tidy([trial.number for trial in record.pending], best, record.continued)


def _job(record: Record, folder: Folder, trial: Trial) -> Job:
    plan, config = record.plan, record.config(trial)
    # Searched options can be those of the data.
    same = key_of(config) == key_of(plan.config)
    parent = None if trial.parent is None else str(state_of(folder.states(trial.parent), 0))
    return Job(
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
