"""The directory of a search.

    search.json     the plan and the purpose of the search; command, data (with hash and license), versions
    journal.jsonl   every proposed trial and its outcome; see `journal`
    states/         training states of running trials, of the best trials, and of trials that Hyperband may resume
    trials/0007/    the best trials, each a run directory
    table.csv       all trials
    figures/*.png

No other module uses these names.
"""

import dataclasses
import itertools
import shlex
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, NamedTuple

from lstm_ae import run as runs
from lstm_ae.config import Config, task_of
from lstm_ae.data.windows import Source
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.files import as_json, write
from lstm_ae.json_types import JsonObject
from lstm_ae.run import Run, config_record, read_record
from lstm_ae.search.journal import Journal, ended_trials
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import COMPLETED, FAILED, LOST, PRUNED, Trial, rank_trials, total_training_seconds
from lstm_ae.workdir import Workdir


class SearchPurpose(NamedTuple):
    """Purpose of a search.

    Args:
        verb: the command that started the search: `lstmae STUDY verb`.
        keep: number of best trials to save as runs.
    """

    verb: str = "tune"
    keep: int = 1


@dataclasses.dataclass(frozen=True)
class SearchDirectory(Workdir):
    """Directory of a search."""

    ABOUT: ClassVar[str] = "search.json"

    @property
    def journal(self) -> Journal:
        """The journal of the trials."""
        return Journal(self.directory / "journal.jsonl")

    def states(self, number: int) -> str:
        """Return the path prefix of a trial's training states and create the directory.

        Returns:
            The path without the suffix "-0.npz" of the execution.
        """
        path = self.directory / "states"
        path.mkdir(exist_ok=True)
        return str(path / f"{number:04}")

    def run(self, number: int) -> Run:
        """Return a trial's run; its directory exists only for the best trials."""
        return Run(self.directory / "trials" / f"{number:04}")

    def about(self) -> JsonObject:
        """Return the content of `search.json`.

        Raises:
            DataError: the file is not the record of a search.
        """
        about = read_record(self.about_file)
        if not isinstance(about.get("data"), dict) or not isinstance(about.get("plan"), dict):
            raise DataError(
                f"{str(self.about_file)!r} has no data or no plan. Start a new search.",
                code=Code.SEARCH_DAMAGED,
            )
        return about

    def plan(self) -> SearchPlan:
        """Return the plan of the search.

        Raises:
            DataError: the plan in `search.json` is invalid.
        """
        try:
            return SearchPlan.from_dict(self.about()["plan"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{str(self.about_file)!r} is not a valid search record ({error}). Start a new search.",
                code=Code.SEARCH_DAMAGED,
            ) from error

    def purpose(self) -> SearchPurpose:
        """Return the purpose of the search; the default one if `search.json` has none."""
        content = self.about().get("purpose")
        known = content if isinstance(content, dict) else {}
        purpose = SearchPurpose(**{name: known[name] for name in SearchPurpose._fields if name in known})
        return purpose if isinstance(purpose.keep, int) and isinstance(purpose.verb, str) else SearchPurpose()

    @property
    def resume_command(self) -> str:
        """The command that resumes the search."""
        return f"lstmae {self.about()['task']} {self.purpose().verb} --resume --out {shlex.quote(str(self.directory))}"

    def rewrite(self, plan: SearchPlan, purpose: SearchPurpose) -> None:
        """Replace the plan and the purpose in `search.json`."""
        changes = {"plan": plan.to_dict(), "purpose": purpose._asdict()}
        write(self.about_file, as_json(self.about() | changes))

    def new_run(self, run: Run, config: Config, source: Source, symbols: Sequence[str]) -> Run:
        """Create a run, replacing an incomplete one.

        A run with exported versions is renamed to a free name, because the versions refer to it.

        Args:
            run: the run to create; its directory may exist.
            config: the setting of the trial.
            source: the source of the data.
            symbols: names of the series or companies.

        Returns:
            The created run.
        """
        if run.exported:
            numbers = itertools.count(1)
            run.directory.rename(next(path for k in numbers if not (path := Path(f"{run.directory}-{k}")).exists()))
        elif run.directory.exists():
            shutil.rmtree(run.directory)
        return runs.create_run(run.directory, config, source, symbols, self.about()["command"])

    def tidy(self, running: Iterable[int], best: Iterable[int], continued: Iterable[int]) -> None:
        """Delete the training states and runs that no trial needs.

        Runs of earlier winners stay until the runs of the current ones are complete. Runs with exported versions stay.

        Args:
            running: trials that have not ended.
            best: the best trials; the state of their first execution stays until their run is complete.
            continued: trials whose state stays even if their run is complete.
        """
        running, best, continued = set(running), set(best), set(continued)
        for path in (self.directory / "states").glob("[0-9]*-*"):
            number, _, execution = path.name.partition("-")
            if not number.isdecimal():
                continue
            first = execution == "0.npz"
            needed = int(number) in continued or (int(number) in best and not self.run(int(number)).finished)
            if int(number) not in running and not (needed and first):
                path.unlink(missing_ok=True)
        if not all(self.run(number).finished for number in best):
            return
        for path in (self.directory / "trials").glob("[0-9]*"):
            if path.name.isdecimal() and int(path.name) not in best and not Run(path).exported:
                shutil.rmtree(path)


def create_search(
    directory: Path | None,
    plan: SearchPlan,
    source: Source,
    symbols: Sequence[str],
    command: str,
    purpose: SearchPurpose | None = None,
) -> SearchDirectory:
    """Create the directory of a search and write `search.json`.

    Args:
        directory: a new or empty directory; None for a new one below `saved_models`.
        plan: what to search.
        source: the data.
        symbols: the stock symbols in the data, if any.
        command: the command line.
        purpose: the purpose of the search.
    """
    purpose = purpose or SearchPurpose()
    unused = SearchDirectory.unused(f"{task_of(plan.config)}-{purpose.verb}")
    folder = unused if directory is None else SearchDirectory(directory)
    content = config_record(plan.config, source, symbols, command, datetime.now(UTC))
    del content["config"]  # The plan contains the config.
    return folder.create(content | {"plan": plan.to_dict(), "purpose": purpose._asdict()})


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
    if not folder.directory.is_dir():
        raise DataError(
            f"There is no search at {str(path)!r}. Pass the directory of a search.", code=Code.SEARCH_DAMAGED
        )
    if not folder.begun:
        raise DataError(
            f"{str(path)!r} is not a search directory: search.json is missing. Start a new search.",
            code=Code.SEARCH_DAMAGED,
        )
    actual = folder.about()["task"]
    if task not in (None, actual):
        raise ConfigError(
            f"{str(path)!r} is a search of {actual}. Pass a search of {task}, or use lstmae {actual}.",
            code=Code.RUN_MISMATCH,
        )
    return folder


class SearchSummary(NamedTuple):
    """Settings and trials of a search.

    Args:
        choices: value of each option; the values or the range of a searched option.
        objective: name of the objective.
        trials: all trials, best first.
    """

    choices: JsonObject
    objective: str
    trials: list[Trial]

    @property
    def best(self) -> Trial | None:
        """The best completed trial."""
        return next((trial for trial in self.trials if trial.status == COMPLETED), None)

    @property
    def measures(self) -> dict[str, float | None]:
        """Numbers of trials, seconds of training, and the best trial's score with its standard deviation."""
        measures: dict[str, float | None] = {
            "trials ended": sum(trial.status in (COMPLETED, PRUNED) for trial in self.trials),
            "trials failed": sum(trial.status in (FAILED, LOST) for trial in self.trials),
            "training seconds": total_training_seconds(self.trials),
        }
        if self.best:
            measures |= {f"best {self.objective}": self.best.score, "spread of the best": self.best.spread}
        return measures


def summarize_search(folder: SearchDirectory) -> SearchSummary:
    """Return the summary of a search.

    Raises:
        DataError: its files are damaged.
        ConfigError: its files are of another version.
    """
    try:
        about, plan = folder.about(), folder.plan()
        settings = plan.to_dict()
        choices = {"study": about["task"], **settings["config"]} | {axis.name: str(axis) for axis in plan.axes}
        choices |= {key: settings[key] for key in ("search", "trials", "repeats", "prune")}
        choices |= {"objective": plan.objective.name, "leaky": "LEAKY" if about["data"]["leaky"] else None}
        return SearchSummary(
            choices, plan.objective.name, rank_trials(ended_trials(folder.journal.read()[0]), plan.objective)
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{str(folder.directory)!r} is not a valid search directory ({error}). Leave it out or start a new search.",
            code=Code.SEARCH_DAMAGED,
        ) from error
