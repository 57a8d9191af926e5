"""From a search's directory to all that a report says of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_ae.errors import DataError
from lstm_ae.report.asked import Asked, Choice, asked_of, choices_of, typed
from lstm_ae.report.gather import RunFacts, gather
from lstm_ae.search.folder import Folder, open_search
from lstm_ae.search.journal import told
from lstm_ae.search.plan import Plan
from lstm_ae.search.presentation import columns, statements
from lstm_ae.search.trials import COMPLETED, Trial, ranked


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchFacts:
    """What is known of a search.

    Args:
        name: its directory, as it was given.
        axes: what is searched, by option, in words.
        choices: the options that are not searched.
        header, rows: the table of all trials, the best first.
        statements: what the trials say of each option and of the source report's claims.
        trials: the best first.
        runs: by what they are, the run of the best trial, where it was kept, and that of its setting trained on more.
        again: the command that goes on with it, and draws its figures anew.
        missing: what is missing or damaged, a sentence each.
    """

    name: str
    directory: Path
    asked: Asked
    plan: Plan
    axes: Mapping[str, str]
    choices: Sequence[Choice]
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    statements: Sequence[str]
    trials: Sequence[Trial]
    runs: Mapping[str, RunFacts]
    again: str
    missing: Sequence[str]

    @property
    def kind(self) -> str:
        """What a reader calls it."""
        return "search"

    @property
    def best(self) -> Trial | None:
        """The best completed trial."""
        return next((trial for trial in self.trials if trial.status == COMPLETED), None)


def gather_search(directory: Path) -> SearchFacts:
    """All that a search's directory tells; raises `DataError` where it does not say what was searched."""
    folder = open_search(directory)
    plan = folder.plan()
    entries, damaged = folder.journal.read()
    missing = [f"Line {line} of the journal cannot be read: what happened there is not told" for line in damaged]
    try:
        trials = ranked(told(entries), plan.objective)
        header, rows = columns(plan, trials)
        lines = statements(plan, trials)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"The journal of {str(directory)!r} is not what a search leaves ({error})") from error
    if not trials:
        missing.append(f"No trial was begun; go on with {folder.resuming}")
    runs = _runs(folder, trials, missing)
    searched = {axis.name for axis in plan.axes}
    return SearchFacts(
        name=str(directory),
        directory=directory,
        asked=asked_of(folder.about()),
        plan=plan,
        axes={axis.name: str(axis) for axis in plan.axes},
        choices=[choice for choice in choices_of(plan.config) if choice.name not in searched],
        header=header,
        rows=[[typed(cell) if isinstance(cell, list | tuple) else cell for cell in row] for row in rows],
        statements=lines,
        trials=trials,
        runs=runs,
        again=folder.resuming,
        missing=missing,
    )


def _runs(folder: Folder, trials: Sequence[Trial], missing: list[str]) -> dict[str, RunFacts]:
    """The winner's run, and its refit; what is not there is added to `missing`."""
    best = next((trial for trial in trials if trial.status == COMPLETED), None)
    if best is None:
        missing += ["No trial is complete, so there is no winner"] if trials else []
        return {}
    found = {}
    try:
        found["The winner"] = gather(folder.run(best.number).directory)
    except DataError:
        missing.append(f"The best trial, {best.number}, was not kept as a run")
    if folder.refit.directory.exists():
        try:
            found["The winner's setting, trained on more"] = gather(folder.refit.directory)
        except DataError as error:
            missing.append(str(error))
    return found
