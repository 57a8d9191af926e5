"""A search from its beginning, or from where it was stopped, to its best models, table and figures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import filelock

from lstm_ae import about
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.run import Run
from lstm_ae.search import repair as repairs
from lstm_ae.search.driver import Clock, Watcher, drive
from lstm_ae.search.executors import Executor
from lstm_ae.search.folder import Folder, Purpose
from lstm_ae.search.job import Load
from lstm_ae.search.oracles import Spaces
from lstm_ae.search.plan import Plan, difference
from lstm_ae.search.record import Record
from lstm_ae.search.trials import LOST, Trial, ranked
from lstm_ae.search.winner import complete_best, refit
from lstm_ae.space import Space


class Found(NamedTuple):
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
def opened(
    folder: Folder,
    *,
    plan: Plan | None = None,
    purpose: Purpose | None = None,
    repair: bool = False,
    space: Spaces | None = None,
) -> Iterator[Record]:
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
        record = Record(plan, spaces, journal, entries)
        found = list(repairs.problems(folder, record, purpose.keep))
        # Before a repair: while one of the best is run again, the next one stands in its place and needs no weights.
        without = set(repairs.without_weights(folder, record, purpose.keep))
        if repair:
            repairs.repair(record, found)
        else:
            repairs.require_none(found, folder)
        for trial in record.trials:
            if trial.status == LOST or trial.number in without:
                record.drop(trial.number)
        yield record


def require_same(folder: Folder, plan: Plan, data: Data) -> list[str]:
    """Raise where a search is another one than that of this plan and data.

    Returns:
        What the user should know: versions that are not those it was begun with.
    """
    before, where = folder.plan(), str(folder.directory)
    other = difference(before, plan)
    if other:
        raise ConfigError(f"{where!r} is another search: its {other}. Leave that out, or give another --out")
    content = folder.about()
    if content["data"]["sha256"] != data.source.sha256:
        raise DataError(
            f"The data is not what {where!r} was started with ({content['data']['text']}); "
            "give the same file, or start anew"
        )
    names = [(name, was, about.versions().get(name)) for name, was in content["versions"].items()]
    return [
        f"begun with {name} {was}, now it is {now}: results may differ in their last digits"
        for name, was, now in names
        if was != now
    ]


def search(
    record: Record,
    folder: Folder,
    load: Load,
    executor: Executor,
    watcher: Watcher,
    *,
    clock: Clock | None = None,
    retries: int = 2,
) -> Found:
    """Go on with a search until its end, or until its time is over.

    Args:
        executor: runs the trials; it is stopped in the end.
        clock: the time it may take.
        retries: how often a trial whose worker died is given to another.
    """
    _, keep, refitted = folder.purpose()
    done = drive(record, folder, executor, watcher, clock=clock or Clock(None), keep=keep, retries=retries)
    runs = complete_best(record, folder, load, keep)
    again = refit(record, folder, record.best(1)[0], runs[0], load) if refitted and done and runs else None
    return Found(ranked(record.trials, record.plan.objective), done, runs, again)
