"""What a disk or a hand has damaged in a search's directory: named, and taken away where it was asked for."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lstm_ae.errors import DataError
from lstm_ae.search.folder import Folder
from lstm_ae.search.job import state_of
from lstm_ae.search.record import Record


class Problem(NamedTuple):
    """Something that is damaged: a file, what is wrong with it, and the trial that has to be run again for it."""

    path: Path
    what: str
    number: int | None = None


def problems(folder: Folder, record: Record, keep: int) -> Iterator[Problem]:
    """Everything in the directory that cannot be gone on from."""
    kept = {trial.number for trial in record.best(keep)}
    for trial in record.trials:
        whole = trial.number in kept and folder.run(trial.number).finished
        for execution in range(record.plan.repeats):
            path = state_of(folder.states(trial.number), execution)
            if path.exists() and not readable(path):
                again = trial.number in kept and not whole and execution == 0
                yield Problem(path, "cannot be read", trial.number if again else None)


def without_weights(folder: Folder, record: Record, keep: int) -> Iterator[int]:
    """The best trials of which neither a run nor a training state is there: more are to be kept now than before."""
    for trial in record.best(keep):
        state = state_of(folder.states(trial.number), 0)
        if not folder.run(trial.number).finished and not state.exists():
            yield trial.number


def readable(path: Path) -> bool:
    """Whether a training state is whole."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError):
        return False


def repair(record: Record, found: list[Problem]) -> None:
    """Take away what is damaged. Trials that lose their training by it are begun anew."""
    for problem in found:
        problem.path.unlink(missing_ok=True)
        if problem.number is not None:
            record.drop(problem.number)


def require_none(found: list[Problem], folder: Folder) -> None:
    """Raise where something is damaged, naming it."""
    if found:
        named = "; ".join(f"{problem.path.relative_to(folder.directory)} {problem.what}" for problem in found)
        raise DataError(f"The search {str(folder.directory)!r} is damaged: {named}. Add --repair to run these again")
