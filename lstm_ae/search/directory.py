"""The directory of a search.

    search.json     the plan of the search; command, data (with hash and license), versions
    journal.jsonl   every proposed trial and its outcome; see `journal`
    states/0007/    training states of trials that run, or of the best one until it is saved as a run
    trials/0007/    the best trial, a run directory
    table.csv       all trials
    figures/*.png

No other module uses these names.
"""

import dataclasses
import shlex
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from lstm_ae.config import task_of
from lstm_ae.data.windows import Data, Source
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.files import as_json, write
from lstm_ae.json_types import JsonObject
from lstm_ae.run import Run, config_record, describe_other_versions, read_record
from lstm_ae.search.journal import Journal
from lstm_ae.search.plan import SearchPlan
from lstm_ae.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class SearchDirectory(Workdir):
    """Directory of a search."""

    ABOUT: ClassVar[str] = "search.json"

    @property
    def journal(self) -> Journal:
        """The journal of the trials."""
        return Journal(self.directory / "journal.jsonl")

    def states(self, number: int) -> Path:
        """Return the folder of a trial's training states, see `lstm_ae.search.job.state_file`."""
        return self.directory / "states" / f"{number:04}"

    def run(self, number: int) -> Run:
        """Return a trial's run; its directory exists only for the best trial."""
        return Run(self.directory / "trials" / f"{number:04}")

    def about(self) -> JsonObject:
        """Return the content of `search.json`.

        Raises:
            DataError: the file is not the record of a search.
        """
        about = read_record(self.about_file)
        if not isinstance(about.get("data"), dict) or not isinstance(about.get("plan"), dict):
            raise DataError(
                f"{str(self.about_file)!r} has no data or no plan. Start a new search.", code=Code.SEARCH_DAMAGED
            )
        return about

    def plan(self) -> SearchPlan:
        """Return the plan of the search.

        Raises:
            DataError: the plan in `search.json` is invalid.
        """
        about = self.about()
        try:
            return SearchPlan.from_dict(about["task"], about["plan"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{str(self.about_file)!r} is damaged or of another version ({error}). Start a new search.",
                code=Code.SEARCH_DAMAGED,
            ) from error

    @property
    def resume_command(self) -> str:
        """The command that resumes the search."""
        plan = self.plan()
        return f"lstmae {task_of(plan.config)} tune --resume --out {shlex.quote(str(self.directory))}"

    def rewrite(self, plan: SearchPlan) -> None:
        """Replace the plan in `search.json`."""
        write(self.about_file, as_json(self.about() | {"plan": plan.to_dict()}))

    def require_data(self, data: Data) -> str:
        """Check that data is that of the search.

        Returns:
            A note if the search was started with other versions of packages; "" otherwise.

        Raises:
            DataError: the data is different.
        """
        about = self.about()
        if about["data"]["sha256"] != data.source.sha256:
            raise DataError(
                f"{str(self.directory)!r} was started with different data ({about['data']['text']}). "
                "Pass the same file or start a new search.",
                code=Code.OTHER_DATA,
            )
        return describe_other_versions([about["versions"]], "searches")

    def tidy(self, running: Iterable[int], best: int | None) -> None:
        """Delete the training states and runs that no trial needs.

        The run of an earlier winner stays until that of the current one is complete. Runs with exported versions stay.

        Args:
            running: trials whose training states stay.
            best: the best trial, whose states stay until its run is complete; None if there is none.
        """
        unsaved = best is not None and not self.run(best).finished
        needed = {*running, *([best] if unsaved else [])}
        for path in (self.directory / "states").glob("[0-9]*"):
            if path.name.isdecimal() and int(path.name) not in needed:
                shutil.rmtree(path)
        for path in (self.directory / "trials").glob("[0-9]*"):
            if path.name.isdecimal() and not (unsaved or int(path.name) == best or Run(path).exported):
                shutil.rmtree(path)


def create_search(
    directory: Path | None, plan: SearchPlan, source: Source, symbols: Sequence[str], command: str
) -> SearchDirectory:
    """Create the directory of a search and write `search.json`.

    Args:
        directory: a new or empty directory; None for a new one below `runs`.
        plan: plan of the search.
        source: the data.
        symbols: the stock symbols in the data, if any.
        command: the command line.
    """
    unused = SearchDirectory.unused(f"{task_of(plan.config)}-tune")
    content = config_record(plan.config, source, symbols, command)
    del content["config"]  # The plan contains the config.
    folder = unused if directory is None else SearchDirectory(directory)
    return folder.create(content | {"plan": plan.to_dict()})


def open_search(path: str | Path, task: str | None = None) -> SearchDirectory:
    """Return the search at a path.

    Args:
        path: directory of the search.
        task: the expected study; None for any.

    Raises:
        DataError: there is no search at the path.
        ConfigError: the search is of another study.
    """
    folder = SearchDirectory(Path(path))
    if not folder.begun:
        raise DataError(
            f"There is no search at {str(path)!r}, which contains no search.json. Pass the directory of a search.",
            code=Code.SEARCH_DAMAGED,
        )
    actual = folder.about()["task"]
    if task not in (None, actual):
        raise ConfigError(
            f"{str(path)!r} is a search of {actual}. Pass a search of {task}, or use lstmae {actual}.",
            code=Code.RUN_MISMATCH,
        )
    return folder
