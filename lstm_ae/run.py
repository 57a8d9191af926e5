"""What a run was asked: the content of its `config.json`, and the config in it."""

import csv
import dataclasses
import os
import platform
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lstm_ae.artifacts import ArtifactFiles
from lstm_ae.config import TASKS, Config, task_of
from lstm_ae.data.windows import Source
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.files import as_json, read_object, write
from lstm_ae.table_files import table

FORMAT = 1


def config_record(
    config: Config, source: Source, symbols: Sequence[str], command: str, now: datetime
) -> dict[str, Any]:
    """Everything that decides a result, and when and where it was asked for."""
    return {
        "format": FORMAT,
        "task": task_of(config),
        "config": config.to_dict(),
        "data": source._asdict() | {"symbols": list(symbols)},
        "command": command,
        "created": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
        "versions": installed_versions(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def read_record(path: Path) -> dict[str, Any]:
    """The content of a `config.json`, of a known format and task."""
    about = read_object(path)
    number = about.get("format", FORMAT)
    if not isinstance(number, int) or number > FORMAT:
        raise DataError(f"{str(path)!r} has format {number!r}, newer than this version knows; update lstm-ae")
    task = about.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise ConfigError(f"{str(path)!r}: 'task' must be one of {', '.join(TASKS)}. Received: {task!r}")
    return about


def read_config(path: Path, task: str) -> dict[str, Any]:
    """The config values of a study in a run's `config.json`, or in a file of the same form."""
    if not path.exists():
        raise ConfigError(f"There is no file {str(path)!r}; give a run's config.json by --config")
    if path.is_dir():
        path = path / "config.json"
    about = read_record(path)
    if about["task"] != task:
        raise ConfigError(f"{str(path)!r} is a config of {about['task']}; give one of {task}")
    return config_in_record(about, path).to_dict()


def config_in_record(about: Mapping[str, Any], path: Path) -> Config:
    """The config in the content of a `config.json`."""
    values = about.get("config")
    if not isinstance(values, dict):
        raise ConfigError(f"{str(path)!r} has no config: the key 'config' must hold the options. Received: {values!r}")
    try:
        # What means nothing beside the rest was once kept as it was typed.
        return TASKS[about["task"]].chosen(values, {})
    except ConfigError as error:
        raise ConfigError(f"{str(path)!r}: {error}") from None


def installed_versions() -> dict[str, str]:
    """Versions of everything that decides a result."""
    names = ("lstm-ae", "tensorflow", "keras", "numpy", "numba")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def describe_other_versions(made: Sequence[Mapping[str, str]], what: str) -> str:
    """How many of several trainings were made with other versions than those at work, in words; "" where none was.

    Args:
        made: the versions of each; {} where they are not known.
        what: they are called, in the plural.
    """
    now = installed_versions()
    others = [{name: version for name, version in each.items() if now.get(name) != version} for each in made]
    told = sorted({f"{name} {version}" for each in others for name, version in each.items()})
    return f"{sum(map(bool, others))} of {len(made)} {what} are of other versions: {', '.join(told)}" if told else ""


def command_line() -> str:
    """The command that runs now, as a person would type it again."""
    return shlex.join(["lstmae", *sys.argv[1:]])


RUNS = Path("runs")


@dataclasses.dataclass(frozen=True)
class Run(ArtifactFiles):
    """A directory with a `config.json`; the rest as far as it has come."""

    @property
    def state(self) -> Path:
        """The training state."""
        return self.directory / "state.npz"

    @property
    def lock(self) -> Path:
        """The file that a training holds locked."""
        return self.directory / ".lock"

    @property
    def model_file(self) -> Path:
        """The trained model."""
        return self.directory / "model.keras"

    @property
    def tensorboard(self) -> Path:
        """The directory of TensorBoard's logs."""
        return self.directory / "tensorboard"

    @property
    def begun(self) -> bool:
        """Whether it says what was asked; a training that was killed at its very start may have left it empty."""
        return (self.directory / "config.json").is_file()

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return (self.directory / "metrics.json").is_file()

    @property
    def exported(self) -> bool:
        """Whether versions were exported into it."""
        return any(path.name.isdecimal() and path.is_dir() for path in self.directory.glob("[0-9]*"))

    def about(self) -> dict[str, Any]:
        """The content of `config.json`; raises `DataError` where it is not that of a run."""
        about = read_record(self.directory / "config.json")
        data = about.get("data")
        texts = isinstance(about.get("created"), str) and isinstance(about.get("command"), str)
        if not texts or not isinstance(data, dict) or not set(Source._fields) <= set(data):
            raise DataError(f"{str(self.directory)!r} is not a run: its config.json lacks created, command or data")
        return about

    @property
    def symbols(self) -> tuple[str, ...]:
        """The names of the lines of its scale, the first ""; empty where it has no line for each of many."""
        found = self.about()["data"].get("symbols", [])
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise DataError(f"The config.json of {str(self.directory)!r} is damaged at 'symbols'; train a new run")
        return tuple(found)

    def config(self) -> Config:
        """The config it was asked to train."""
        return config_in_record(self.about(), self.directory / "config.json")

    def metrics(self) -> dict[str, Any]:
        """The content of `metrics.json`; raises `DataError` where the training has not ended."""
        if not self.finished:
            raise DataError(
                f"The run {str(self.directory)!r} is unfinished; go on with: "
                f"lstmae {self.about()['task']} train --resume --out {shlex.quote(str(self.directory))}"
            )
        path = self.directory / "metrics.json"
        content = read_object(path)
        parts = measured_parts(content)
        metrics = [metric for row in parts.values() for metric in (row.values() if isinstance(row, dict) else [None])]
        whole = all(isinstance(metric, dict) and {"value", "baselines", "unit"} <= set(metric) for metric in metrics)
        if not whole or not isinstance(content.get("training"), dict):
            raise DataError(f"{str(path)!r} is not what a training leaves; train a new run")
        return content

    def history(self) -> list[dict[str, float]]:
        """The rows of `history.csv`; empty where there is none.

        The row of epoch 0, the untrained start, holds only what is known of it.
        """
        path = self.directory / "history.csv"
        if not path.is_file():
            return []
        try:
            with path.open(newline="", encoding="utf-8") as file:
                return [_epoch_of(row) for row in csv.DictReader(file)]
        except (ValueError, TypeError) as error:
            raise DataError(f"{str(path)!r} is not what a training leaves ({error}); train a new run") from error

    def model(self) -> Any:
        """Load `model.keras`, looked at first and ready to be applied. Raises `DataError` where that fails."""
        from lstm_ae.models.archive import load

        parameters = self.metrics()["training"].get("parameters")
        try:
            return load(self.model_file, parameters if isinstance(parameters, int) else None)
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"{str(self.model_file)!r} is missing, damaged or no model ({first[:200]}); "
                "restore it, or train a new run"
            ) from error

    def write_model(self, model: Any) -> None:
        """Save the model; equal models give equal files."""
        from lstm_ae.models.archive import normalize_archive

        beside = self.directory / ".part.keras"
        try:
            model.save(beside)
            content = normalize_archive(beside)
        finally:
            beside.unlink(missing_ok=True)
        write(self.model_file, content)

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Save the rows of the epochs; a cell is empty where a row lacks a value that the last row has."""
        if rows:
            names = list(rows[-1])
            write(self.directory / "history.csv", table(names, [[row.get(name) for name in names] for row in rows]))

    def write_metrics(self, content: Mapping[str, Any]) -> None:
        """Save what came out; this finishes the run."""
        write(self.directory / "metrics.json", as_json(content))

    def write_figure(self, name: str, png: bytes) -> Path:
        """Save a figure; returns where."""
        return write(self.directory / "figures" / f"{name}.png", png)

    def write_figures(self, figures: Mapping[str, Any]) -> list[Path]:
        """Save matplotlib's figures by their names; those of a leaky run say so."""
        from lstm_ae.plots.base import png, with_title

        leaky = self.about()["data"]["leaky"]
        if leaky:
            figures = {name: with_title(figure, f"Leaky: {leaky}") for name, figure in figures.items()}
        return [self.write_figure(name, png(figure)) for name, figure in figures.items()]

    def write_table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> Path:
        """Save columns of equal length as a CSV file; returns where."""
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        return write(self.directory / f"{name}.csv", table(list(columns), rows))


def _epoch_of(row: Mapping[str, str]) -> dict[str, float]:
    """A row of `history.csv`; empty cells are left out of that of epoch 0 and refused in others."""
    start = row.get("epoch") in ("0", "0.0")
    return {key: float(value) for key, value in row.items() if value or not start}


def measured_parts(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of the content of `metrics.json` that hold measures: validation and test."""
    others = ("training", "leaky", "verdict", "threshold", "columns", "seasons")
    return {part: row for part, row in metrics.items() if part not in others}


def create_run(directory: Path | None, config: Config, source: Source, symbols: Sequence[str], command: str) -> Run:
    """Make a run's directory, new or empty, and write what is asked of it."""
    task = task_of(config)
    now = datetime.now(UTC)
    if directory is None:
        directory = RUNS / f"{task}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    require_free(directory)
    made = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        write(directory / "config.json", as_json(config_record(config, source, symbols, command, now)), new=True)
    except FileExistsError:
        require_free(directory)
        raise
    except OSError:
        if made:
            directory.rmdir()
        raise
    return Run(directory)


def require_free(directory: Path) -> None:
    """Raise where a new run cannot be put into `directory`."""
    # What a training killed at its very start leaves is as good as nothing.
    if directory.is_dir() and all(path.match(".*.part") for path in directory.iterdir()):
        return
    if directory.exists() or directory.is_symlink():
        what = "is not empty" if directory.is_dir() else "is not a directory"
        raise ConfigError(f"--out {str(directory)!r} {what}; give a new directory, or go on there by --resume")
    above = next(path for path in directory.absolute().parents if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        what = "cannot be written" if above.is_dir() else "is not a directory"
        raise ConfigError(f"--out {str(directory)!r} cannot be made, since {str(above)!r} {what}; give another one")


def open_run(where: str | Path, task: str | None = None) -> Run:
    """The run at a path, or the latest finished one of a study where `where` is "latest"."""
    if str(where) == "latest":
        for run in list_runs():
            if run.finished and task in (None, run.about()["task"]):
                return run
        which = f"{task} run" if task else "run"
        raise DataError(f"There is no finished {which} in {str(RUNS)!r}; train one, or give its directory")
    run = Run(Path(where))
    if not run.directory.is_dir():
        raise DataError(f"There is no run at {str(where)!r}; `lstmae runs list` shows those in {str(RUNS)!r}")
    if (run.directory / "search.json").is_file():
        best = next(iter(sorted(run.directory.glob("trials/*"))), run.directory / "trials/0000")
        raise DataError(f"{str(where)!r} is a search; give one of its runs, such as {str(best)!r}")
    found = run.about()["task"]
    if task not in (None, found):
        raise ConfigError(f"{str(where)!r} is a run of {found}; give one of {task}, or use lstmae {found}")
    return run


def list_runs(root: Path | None = None) -> list[Run]:
    """The readable runs below a directory, newest first."""
    found = []
    for path in (root or RUNS).glob("*/config.json"):
        try:
            found.append((Run(path.parent).about()["created"], path.parent))
        except (DataError, ConfigError):
            continue
    return [Run(directory) for _, directory in sorted(found, reverse=True)]


def find_run(config: Config, source: Source) -> Run | None:
    """The latest finished run of the same config on the same data."""
    for run in list_runs():
        about = run.about()
        if not run.finished or about["task"] != task_of(config) or about["data"]["sha256"] != source.sha256:
            continue
        # One of another version may hold options that are no more.
        with suppress(ConfigError):
            if run.config() == config:
                return run
    return None
