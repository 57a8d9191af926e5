"""The directory of a search.

    search.json     what is searched and what is to be left of it; command, data (with hash and licence), versions
    journal.jsonl   every trial that was asked for and how it ended; see `journal`
    states/         training states: of trials that run, of the best, and of those that Hyperband may go on with
    trials/0007/    the best trials, each a run like any other
    refit/          with --refit, the winner's setting trained on train and validation: a run as well; refit-1 and so
                    on are former ones from which versions were exported
    table.csv       all trials
    figures/*.png

Only this module knows these names.
"""

import dataclasses
import itertools
import secrets
import shlex
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from lstm_ae import run as runs
from lstm_ae.config import task_of
from lstm_ae.data.windows import Source
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.files import as_json, write
from lstm_ae.run import Run, config_record, read_record
from lstm_ae.search.job import execution_state
from lstm_ae.search.journal import Journal, ended_trials
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.state import SearchRecord
from lstm_ae.search.trial import COMPLETED, FAILED, LOST, PRUNED, Trial, rank_trials, total_training_seconds
from lstm_ae.table_files import table


class SearchPurpose(NamedTuple):
    """What a search is for.

    Args:
        verb: the command that began it: `lstmae STUDY verb`.
        keep: the best trials that become runs.
        refit: whether the winner's setting is trained on train and validation as well.
    """

    verb: str = "tune"
    keep: int = 1
    refit: bool = False


@dataclasses.dataclass(frozen=True)
class SearchDirectory:
    """A directory with a `search.json`."""

    directory: Path

    @property
    def journal(self) -> Journal:
        """What happened."""
        return Journal(self.directory / "journal.jsonl")

    @property
    def lock(self) -> Path:
        """The file that a search holds locked."""
        return self.directory / ".lock"

    @property
    def log(self) -> Path:
        """What worker processes write to stderr."""
        return self.directory / "workers.log"

    @property
    def tensorboard(self) -> Path:
        """The directory of TensorBoard's logs."""
        return self.directory / "tensorboard"

    def states(self, number: int | str) -> str:
        """Where a trial's training states go, but for "-0.npz" and so on."""
        path = self.directory / "states"
        path.mkdir(exist_ok=True)
        return str(path / (number if isinstance(number, str) else f"{number:04}"))

    def run(self, number: int) -> Run:
        """A trial's run; there only where the trial is kept."""
        return Run(self.directory / "trials" / f"{number:04}")

    @property
    def refit(self) -> Run:
        """The winner's setting trained on more data."""
        return Run(self.directory / "refit")

    def about(self) -> dict[str, Any]:
        """The content of `search.json`; raises `DataError` where it is not that of a search."""
        about = read_record(self.directory / "search.json")
        if not isinstance(about.get("data"), dict) or not isinstance(about.get("plan"), dict):
            raise DataError(f"{str(self.directory / 'search.json')!r} lacks data or plan; start a new search")
        return about

    def plan(self) -> SearchPlan:
        """What is searched."""
        try:
            return SearchPlan.from_dict(self.about()["plan"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{str(self.directory / 'search.json')!r} is not what a search leaves ({error}); start a new one"
            ) from error

    def purpose(self) -> SearchPurpose:
        """What it is for."""
        content = self.about().get("purpose")
        try:
            purpose = SearchPurpose(**content) if isinstance(content, dict) else SearchPurpose()
        except TypeError:
            purpose = SearchPurpose()
        return purpose if isinstance(purpose.keep, int) and isinstance(purpose.verb, str) else SearchPurpose()

    @property
    def resuming(self) -> str:
        """The command that goes on with it."""
        return f"lstmae {self.about()['task']} {self.purpose().verb} --resume --out {shlex.quote(str(self.directory))}"

    def rewrite(self, plan: SearchPlan, purpose: SearchPurpose) -> None:
        """Save a plan that has grown, and what is wanted of it now."""
        now = {"plan": plan.to_dict(), "purpose": purpose._asdict()}
        write(self.directory / "search.json", as_json(self.about() | now))

    def new_run(self, run: Run, plan: SearchPlan, config: Any, source: Source, symbols: Sequence[str]) -> Run:
        """Make a run anew, whatever a kill has left of it. One with exported versions is renamed to a free name."""
        if run.exported:
            numbers = itertools.count(1)
            run.directory.rename(next(path for k in numbers if not (path := Path(f"{run.directory}-{k}")).exists()))
        elif run.directory.exists():
            shutil.rmtree(run.directory)
        return runs.create_run(run.directory, config, source, symbols, self.about()["command"])

    def tidy(self, running: Iterable[int], kept: Iterable[int], continued: Iterable[int]) -> None:
        """Delete what no trial needs any more.

        Runs of former winners stay until those of the present ones are written, and where versions were exported.

        Args:
            running: trials that have not ended.
            kept: the best, of which the first execution is kept.
            continued: trials of which the state is needed even where they are complete runs.
        """
        running, kept, continued = set(running), set(kept), set(continued)
        for path in (self.directory / "states").glob("[0-9]*-*"):
            number, _, execution = path.name.partition("-")
            if not number.isdecimal():
                continue
            first = execution == "0.npz"
            wanted = int(number) in continued or (int(number) in kept and not self.run(int(number)).finished)
            if int(number) not in running and not (wanted and first):
                path.unlink(missing_ok=True)
        if not all(self.run(number).finished for number in kept):
            return
        for path in (self.directory / "trials").glob("[0-9]*"):
            if path.name.isdecimal() and int(path.name) not in kept and not Run(path).exported:
                shutil.rmtree(path)

    def write_table(self, columns: Mapping[str, Sequence[Any]]) -> Path:
        """Save columns of equal length as `table.csv`; returns where."""
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        return write(self.directory / "table.csv", table(list(columns), rows))

    def write_figure(self, name: str, png: bytes) -> Path:
        """Save a figure; returns where."""
        return write(self.directory / "figures" / f"{name}.png", png)


def create_search(
    directory: Path | None,
    plan: SearchPlan,
    source: Source,
    symbols: Sequence[str],
    command: str,
    purpose: SearchPurpose | None = None,
) -> SearchDirectory:
    """Make a search's directory, new or empty, and write what is asked of it."""
    now, purpose = datetime.now(UTC), purpose or SearchPurpose()
    if directory is None:
        name = f"{task_of(plan.config)}-{purpose.verb}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        directory = runs.RUNS / name
    runs.require_free(directory)
    directory.mkdir(parents=True, exist_ok=True)
    content = config_record(plan.config, source, symbols, command, now)
    del content["config"]  # the plan's
    content |= {"plan": plan.to_dict(), "purpose": purpose._asdict()}
    try:
        write(directory / "search.json", as_json(content), new=True)
    except FileExistsError:
        runs.require_free(directory)
        raise
    return SearchDirectory(directory)


def open_search(where: str | Path, task: str | None = None) -> SearchDirectory:
    """The search at a path; raises where there is none, or one of another study."""
    folder = SearchDirectory(Path(where))
    if not folder.directory.is_dir():
        raise DataError(f"There is no search at {str(where)!r}; give the directory of one")
    if not (folder.directory / "search.json").exists():
        raise DataError(
            f"{str(where)!r} is not a search, or has lost its search.json, which says what is searched; start a new one"
        )
    found = folder.about()["task"]
    if task not in (None, found):
        raise ConfigError(f"{str(where)!r} is a search of {found}; give one of {task}, or use lstmae {found}")
    return folder


def is_search(where: str | Path) -> bool:
    """Whether there is a search at a path."""
    return (Path(where) / "search.json").is_file()


def list_searches(root: Path | None = None) -> list[SearchDirectory]:
    """The readable searches below a directory, newest first."""
    found = []
    for path in (root or runs.RUNS).glob("*/search.json"):
        try:
            found.append((str(SearchDirectory(path.parent).about()["created"]), path.parent))
        except (DataError, ConfigError, KeyError):
            continue
    return [SearchDirectory(directory) for _, directory in sorted(found, reverse=True)]


class DamagedFile(NamedTuple):
    """Something that is damaged: a file, what is wrong with it, and the trial that has to be run again for it."""

    path: Path
    what: str
    number: int | None = None


def find_damage(folder: SearchDirectory, record: SearchRecord, keep: int) -> Iterator[DamagedFile]:
    """Everything in the directory that cannot be gone on from."""
    kept = {trial.number for trial in record.best(keep)}
    for trial in record.trials:
        whole = trial.number in kept and folder.run(trial.number).finished
        for execution in range(record.plan.repeats):
            path = execution_state(folder.states(trial.number), execution)
            if path.exists() and not is_readable_state(path):
                again = trial.number in kept and not whole and execution == 0
                yield DamagedFile(path, "cannot be read", trial.number if again else None)


def best_without_weights(folder: SearchDirectory, record: SearchRecord, keep: int) -> Iterator[int]:
    """The best trials of which neither a run nor a training state is there: more are to be kept now than before."""
    for trial in record.best(keep):
        state = execution_state(folder.states(trial.number), 0)
        if not folder.run(trial.number).finished and not state.exists():
            yield trial.number


def is_readable_state(path: Path) -> bool:
    """Whether a training state is whole."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError):
        return False


def repair_search(record: SearchRecord, found: list[DamagedFile]) -> None:
    """Take away what is damaged. Trials that lose their training by it are begun anew."""
    for problem in found:
        problem.path.unlink(missing_ok=True)
        if problem.number is not None:
            record.drop(problem.number)


def require_undamaged(found: list[DamagedFile], folder: SearchDirectory) -> None:
    """Raise where something is damaged, naming it."""
    if found:
        named = "; ".join(f"{problem.path.relative_to(folder.directory)} {problem.what}" for problem in found)
        raise DataError(f"The search {str(folder.directory)!r} is damaged: {named}. Add --repair to run these again")


class SearchSummary(NamedTuple):
    """What is known of a search.

    Args:
        choices: what it was asked, by option; of a searched one, what is searched.
        objective: what it goes by.
        trials: the best first.
    """

    choices: dict[str, Any]
    objective: str
    trials: list[Trial]

    @property
    def best(self) -> Trial | None:
        """The best completed trial."""
        return next((trial for trial in self.trials if trial.status == COMPLETED), None)

    @property
    def measures(self) -> dict[str, Any]:
        """What came of it: trials, seconds of training, and the best one's score."""
        found: dict[str, Any] = {
            "trials ended": sum(trial.status in (COMPLETED, PRUNED) for trial in self.trials),
            "trials failed": sum(trial.status in (FAILED, LOST) for trial in self.trials),
            "training seconds": total_training_seconds(self.trials),
        }
        if self.best:
            found |= {f"best {self.objective}": self.best.score, "its spread": self.best.spread}
        return found


def summarize_search(folder: SearchDirectory) -> SearchSummary:
    """A search's summary; raises `DataError` or `ConfigError` where it is damaged, or of another version."""
    try:
        about, plan = folder.about(), folder.plan()
        asked = plan.to_dict()
        choices = {"study": about["task"], **asked["config"]} | {axis.name: str(axis) for axis in plan.axes}
        choices |= {key: asked[key] for key in ("search", "trials", "repeats", "prune")}
        choices |= {"objective": plan.objective.name, "leaky": "LEAKY" if about["data"]["leaky"] else None}
        return SearchSummary(
            choices, plan.objective.name, rank_trials(ended_trials(folder.journal.read()[0]), plan.objective)
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{str(folder.directory)!r} is not what a search leaves ({error}); leave it out, or start a new one"
        ) from error
