"""Run directories: their files, their config, and how they are created, opened, and listed."""

import dataclasses
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from lstm_ae.addresses import hide_user
from lstm_ae.config import TASKS, Config, task_of
from lstm_ae.data.windows import Source
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.files import (
    as_json,
    open_regular,
    read_object,
    temporary_folder,
    write,
)
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.model_store import (
    CONFIG_FILE,
    HISTORY_FILE,
    METRICS_FILE,
    MODEL_FILE,
    FittedModel,
    ModelStore,
    config_in_record,
    format_history,
)
from lstm_ae.workdir import RUNS, Workdir

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Version of the format of runs; runs of other formats are refused.
FORMAT = 3


def config_record(config: Config, source: Source, symbols: Sequence[str], command: str) -> JsonObject:
    """Return the content of `config.json`: everything that determines a result, with the time and the machine."""
    return {
        "format": FORMAT,
        "task": task_of(config),
        "config": config.to_dict(),
        "data": source._asdict() | {"symbols": list(symbols)},
        "command": command,
        "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "versions": installed_versions(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def read_record(path: Path) -> JsonObject:
    """Read a `config.json`.

    Raises:
        DataError: the file is missing, damaged, or has another format.
        ConfigError: the task is unknown.
    """
    about = read_object(path)
    number = about.get("format", FORMAT)
    if number != FORMAT:
        raise DataError(
            f"{str(path)!r} has format {number!r}, and this version reads format {FORMAT}. Train again",
            code=Code.RUN_MISMATCH,
        )
    task = about.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise ConfigError(
            f"{str(path)!r}: 'task' must be one of {', '.join(TASKS)}. Received: {task!r}", code=Code.CONFIG_FILE
        )
    return about


def read_config(path: Path, task: str) -> JsonObject:
    """Read the config values of a study from a run directory, or from a `config.json`.

    Raises:
        ConfigError: the file is missing, belongs to another study, or contains invalid values.
        DataError: the file is damaged or has another format.
    """
    path = path / "config.json" if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(
            f"There is no file {str(path)!r}. Pass the directory of a run, or its config.json", code=Code.CONFIG_FILE
        )
    config = config_in_record(read_record(path), path)
    if task_of(config) != task:
        raise ConfigError(
            f"{str(path)!r} is a config of {task_of(config)}. Pass a config of {task}", code=Code.CONFIG_FILE
        )
    return config.to_dict()


def installed_versions() -> dict[str, str]:
    """Return the versions of all packages that affect results."""
    names = ("lstm-ae", "tensorflow", "keras", "numpy", "numba")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def describe_other_versions(records: Sequence[Mapping[str, str]], noun: str) -> str:
    """Return a note on how many of several trainings used other versions than the installed ones; "" for none.

    Args:
        records: versions of each training; {} if unknown.
        noun: plural noun for the trainings.
    """
    installed = installed_versions()
    others = [{name: version for name, version in each.items() if installed.get(name) != version} for each in records]
    names = sorted({f"{name} {version}" for each in others for name, version in each.items()})
    return f"{sum(map(bool, others))} of {len(records)} {noun} used other versions: {', '.join(names)}" if names else ""


def command_line() -> str:
    """Return the current command as typed in a shell, without users in addresses."""
    return shlex.join(["lstmae", *map(hide_user, sys.argv[1:])])


# Entries of `metrics.json` that are no split.
OTHER_METRICS = (
    "training",
    "leaky",
    "verdict",
    "threshold",
    "outliers",
    "columns",
    "notes",
    "seasons",
    "training_period",
)

# Files that a training writes besides the metrics and the model; later commands write others.
TRAINING_FILES = (
    CONFIG_FILE,
    HISTORY_FILE,
    "normal.npz",
    "pca.npz",
    "mahalanobis.npz",
    "components.npz",
    "logistic.npz",
    "convolutions.npz",
    "regression.npz",
    "spread.npz",
)


@dataclasses.dataclass(frozen=True)
class Run(Workdir, ModelStore):
    """Run directory: a `config.json` and the files that training has written so far."""

    ABOUT: ClassVar[str] = CONFIG_FILE

    @property
    def name(self) -> str:
        """Path of the directory."""
        return str(self.directory)

    @property
    def state(self) -> Path:
        """Checkpoint of the training."""
        return self.directory / "state.npz"

    @property
    def model_file(self) -> Path:
        """File of the trained model."""
        return self.directory / MODEL_FILE

    model_source = model_file

    @property
    def finished(self) -> bool:
        """Whether training is complete."""
        return (self.directory / METRICS_FILE).is_file()

    @property
    def exported(self) -> bool:
        """Whether the directory contains exported versions."""
        return any(path.name.isdecimal() and path.is_dir() for path in self.directory.glob("[0-9]*"))

    def about(self) -> JsonObject:
        """Read `config.json`.

        Raises:
            DataError: the file is missing, damaged, or not that of a run.
        """
        about = read_record(self.about_file)
        data = about.get("data")
        texts = isinstance(about.get("created"), str) and isinstance(about.get("command"), str)
        if not texts or not isinstance(data, dict) or not set(Source._fields) <= set(data):
            raise DataError(
                f"{str(self.directory)!r} is not a run: its config.json lacks created, command, or data. Pass a run",
                code=Code.RUN_DAMAGED,
            )
        return about

    def metrics(self) -> JsonObject:
        """Read `metrics.json`.

        Raises:
            DataError: training is not complete, or the file is damaged.
        """
        if not self.finished:
            raise DataError(
                f"The run {str(self.directory)!r} is unfinished. Resume with: "
                f"lstmae {self.about()['task']} train --resume --out {shlex.quote(str(self.directory))}",
                code=Code.RUN_UNFINISHED,
            )
        path = self.directory / METRICS_FILE
        content = read_object(path)
        splits = measured_splits(content)
        metrics = [metric for row in splits.values() for metric in (row.values() if isinstance(row, dict) else [None])]
        complete = all(isinstance(metric, dict) and {"value", "baselines", "unit"} <= set(metric) for metric in metrics)
        if not complete or not isinstance(content.get("training"), dict):
            raise DataError(f"{str(path)!r} is damaged. Train a new run", code=Code.RUN_DAMAGED)
        return content

    def read(self) -> FittedModel:
        """Read a finished run into memory.

        Raises:
            DataError: the run is unfinished or damaged; damage of the model is reported when it is used.
        """
        metrics = self.metrics()
        try:
            with open_regular(self.model_file) as file:
                model = file.read()
        except OSError as error:
            raise DataError(
                f"{str(self.model_file)!r} cannot be read: {error.strerror}. Restore it or train a new run",
                code=Code.RUN_DAMAGED,
            ) from error
        contents = {name: self.find_content(name) for name in TRAINING_FILES}
        files = {name: content for name, content in contents.items() if content is not None}
        return FittedModel(files | {METRICS_FILE: as_json(metrics), MODEL_FILE: model}, self.name)

    def find_content(self, name: str) -> bytes | None:
        """Read a file; return None if there is none."""
        path = self.directory / name
        return path.read_bytes() if path.is_file() else None

    def write(self, fitted: FittedModel, figures: "Mapping[str, Figure]" = MappingProxyType({})) -> None:
        """Write a fitted model with Matplotlib figures by name; the metrics last, which mark the run as finished."""
        files = {MODEL_FILE: fitted.model_source} | fitted.files
        for name in files.keys() - {self.ABOUT, METRICS_FILE}:
            write(self.directory / name, files[name])
        if figures:
            self.write_figures(figures)
        self.write_metrics(fitted.metrics())

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write `history.csv`; cells are empty where a row lacks a value that a later epoch has."""
        write(self.directory / HISTORY_FILE, format_history(rows))

    def write_metrics(self, content: JsonMapping) -> None:
        """Write `metrics.json`, which marks the run as finished."""
        write(self.directory / METRICS_FILE, as_json(content))

    def write_figures(self, figures: "Mapping[str, Figure]") -> list[Path]:
        """Write Matplotlib figures by name and return their paths; figures of leaky runs get a note."""
        from lstm_ae.plots.base import png, with_title

        leaky = self.about()["data"]["leaky"]
        if leaky:
            figures = {name: with_title(figure, f"Leaky: {leaky}") for name, figure in figures.items()}
        return [self.write_figure(name, png(figure)) for name, figure in figures.items()]


def measured_splits(metrics: JsonMapping) -> JsonObject:
    """Return the entries of `metrics.json` that contain metrics, by split."""
    return {split: row for split, row in metrics.items() if split not in OTHER_METRICS}


def create_run(directory: Path | None, config: Config, source: Source, symbols: Sequence[str], command: str) -> Run:
    """Create a run directory with its `config.json`.

    Args:
        directory: a new or empty directory; None for a new one in `RUNS`.
        config: config of the training.
        source: description of the data.
        symbols: names of the rows of the scale table.
        command: command to record.

    Raises:
        ConfigError: the directory is in use or cannot be created.
    """
    run = Run.unused(task_of(config)) if directory is None else Run(directory)
    return run.create(config_record(config, source, symbols, command))


def save_run(fitted: FittedModel, directory: Path) -> Run:
    """Write a fitted model to a new or empty directory; the directory appears whole or not at all.

    Raises:
        ConfigError: the directory is in use or cannot be created.
    """
    Run(directory).require_free()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder("run", directory.parent) as folder:
        Run(folder).create(fitted.about()).write(fitted)
        folder.chmod(0o755)
        if directory.is_dir():
            directory.rmdir()
        folder.rename(directory)
    return Run(directory)


def open_run(where: str | Path, task: str | None = None) -> Run:
    """Open a run.

    Args:
        where: run directory, or "latest" for the latest finished run in `RUNS`.
        task: name of the study that the run must belong to; None for any.

    Raises:
        DataError: there is no such run.
        ConfigError: the run belongs to another study.
    """
    if str(where) == "latest":
        for run in Run.list_all():
            if run.finished and task in (None, run.about()["task"]):
                return run
        which = f"{task} run" if task else "run"
        raise DataError(
            f"There is no finished {which} in {str(RUNS)!r}. Train one or pass its directory", code=Code.RUN_NOT_FOUND
        )
    run = Run(Path(where))
    if not run.directory.is_dir():
        raise DataError(
            f"There is no run at {str(where)!r}. `lstmae runs list` shows those in {str(RUNS)!r}",
            code=Code.RUN_NOT_FOUND,
        )
    folders = (("search", "trials/*", "trials/0000"), ("fleet", "runs/[!.]*", "common"))
    for what, pattern, other in folders:
        if (run.directory / f"{what}.json").is_file():
            one = next(iter(sorted(run.directory.glob(pattern))), run.directory / other)
            raise DataError(
                f"{str(where)!r} is a {what}. Pass one of its runs, such as {str(one)!r}", code=Code.RUN_NOT_FOUND
            )
    actual = run.about()["task"]
    if task not in (None, actual):
        raise ConfigError(
            f"{str(where)!r} is a run of {actual}. Pass a run of {task}, or use lstmae {actual}", code=Code.RUN_MISMATCH
        )
    return run


def find_run(config: Config, source: Source) -> Run | None:
    """Return the latest finished run of the same config on the same data; None if there is none."""
    for run in Run.list_all():
        about = run.about()
        if not run.finished or about["task"] != task_of(config) or about["data"]["sha256"] != source.sha256:
            continue
        # Runs of other versions may contain unknown options.
        with suppress(ConfigError):
            if run.config() == config:
                return run
    return None
