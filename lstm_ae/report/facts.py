"""Readers of the directories of runs and searches for a report; missing and damaged files are listed."""

import csv
import dataclasses
import itertools
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from lstm_ae.arrays import Array, BoolArray
from lstm_ae.config import Config
from lstm_ae.config.options import declared_options
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_best_epochs, format_option
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.model_store import history_names
from lstm_ae.report.figures import ReportFigure, read_figures
from lstm_ae.run import Run, measured_splits
from lstm_ae.search.directory import SearchDirectory, open_search
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.results import describe_baseline, result_columns
from lstm_ae.search.trial import Trial, rank_trials
from lstm_ae.studies import history_columns


class Request(NamedTuple):
    """Study, command, data, and environment of a run or a search.

    Args:
        task: the study.
        command: the command line.
        created: start time in UTC.
        data: description of the data.
        sha256: hash of the data.
        licence: license of the data.
        notes: notes on the data.
        leaky: why the split leaks; "" if it does not.
        symbols: names of the series.
        versions: version of each package.
        machine: the machine.
    """

    task: str
    command: str
    created: str
    data: str
    sha256: str
    licence: str
    notes: tuple[str, ...]
    leaky: str
    symbols: tuple[str, ...]
    versions: Mapping[str, str]
    machine: str


class OptionInRequest(NamedTuple):
    """Option of a run or a search.

    Args:
        name: name of the option.
        value: its value as typed.
        default: its default as typed.
        help: its help text.
        differs: whether the value differs from the default.
    """

    name: str
    value: str
    default: str
    help: str
    differs: bool


def read_request(about: JsonMapping) -> Request:
    """Return the request in the content of a `config.json` or `search.json`.

    Args:
        about: the content; only "task" and "data" are required, and other values are converted to text.
    """
    data, versions = about["data"], about.get("versions")
    lists = {key: data[key] if isinstance(data.get(key), list | tuple) else () for key in ("notes", "symbols")}
    return Request(
        task=str(about["task"]),
        command=str(about.get("command", "")),
        created=str(about.get("created", ""))[:19].replace("T", " "),
        data=str(data.get("text", "")),
        sha256=str(data.get("sha256", "")),
        licence=str(data.get("licence", "")),
        notes=tuple(map(str, lists["notes"])),
        leaky=str(data.get("leaky") or ""),
        symbols=tuple(str(symbol) for symbol in lists["symbols"] if symbol),
        versions={str(k): str(v) for k, v in versions.items()} if isinstance(versions, dict) else {},
        machine=str(about.get("machine", "")),
    )


def choices_in_request(config: Config | None, values: object = None) -> list[OptionInRequest]:
    """Return the options of a config in the order of declaration.

    Args:
        config: the config; None if it is not of this version.
        values: the options in the file, used if `config` is None.
    """
    if config is None:
        values = values if isinstance(values, dict) else {}
        return [OptionInRequest(str(name), format_option(value), "", "", True) for name, value in values.items()]
    options = []
    for field in declared_options(type(config)):
        value = getattr(config, field.name)
        options.append(
            OptionInRequest(
                field.name,
                format_option(value),
                format_option(field.default),
                field.option.help,
                value != field.default,
            )
        )
    return options


T = TypeVar("T")

# A baseline of this name is the target of the measure, such as the nominal coverage, and not a value to beat.
TARGET = "wanted"


class MeasuredValue(NamedTuple):
    """Measured value; see `lstm_ae.evaluation.Metric`.

    Args:
        split: the split.
        name: the measure.
        value: its value; None if it cannot be computed.
        unit: its unit; "" for none.
        baselines: value of each baseline; None if it cannot be computed.
        higher_is_better: whether a higher value is better.
    """

    split: str
    name: str
    value: float | None
    unit: str
    baselines: Mapping[str, float | None]
    higher_is_better: bool

    @property
    def beats(self) -> Mapping[str, bool]:
        """Whether the value is better than each baseline that can be compared."""
        if self.value is None:
            return {}
        sign = 1 if self.higher_is_better else -1
        comparable = {name: value for name, value in self.baselines.items() if value is not None and name != TARGET}
        return {name: sign * self.value > sign * value for name, value in comparable.items()}

    @property
    def better(self) -> bool | None:
        """Whether the value is better than every baseline; None without a baseline that can be compared."""
        return all(self.beats.values()) if self.beats else None


class TrainingFacts(NamedTuple):
    """Training of a run.

    Args:
        epochs: trained epochs.
        best_epoch: the epoch whose weights the run has; None if it averages several networks.
        weights: description of the epochs whose weights the run has.
        stopped: why the training ended early; "" if it did not.
        seconds: training time.
        parameters: number of parameters of the network.
        refit: description of a training on train and validation; "" for none.
    """

    epochs: int
    best_epoch: int | None
    weights: str
    stopped: str
    seconds: float
    parameters: int
    refit: str = ""


class ThresholdFacts(NamedTuple):
    """Threshold of the anomaly score.

    Args:
        value: rows with a higher score are anomalies.
        rule: the threshold rule.
        how: how the value was calculated.
    """

    value: float
    rule: str
    how: str


def read_measures(metrics: JsonMapping) -> list[MeasuredValue]:
    """Return the measures of all splits in the order of the file."""
    return [
        MeasuredValue(
            split,
            name,
            _number(row["value"]),
            str(row["unit"]),
            {base: _number(value) for base, value in row["baselines"].items()},
            bool(row.get("higher_is_better")),
        )
        for split, rows in measured_splits(metrics).items()
        for name, row in rows.items()
    ]


def read_training(metrics: JsonMapping) -> TrainingFacts | None:
    """Return the training; None if the metrics have none."""
    if "training" not in metrics:
        return None
    training = metrics["training"]
    epochs, best, parameters = (int(training[key]) for key in ("epochs", "best_epoch", "parameters"))
    return TrainingFacts(
        epochs,
        None if "members" in training else best,
        format_best_epochs(training),
        str(training["stopped"]),
        float(training["seconds"]),
        parameters,
        str(training.get("refit", "")),
    )


def read_threshold(metrics: JsonMapping) -> ThresholdFacts | None:
    """Return the threshold; None if the run detects no anomalies."""
    if "threshold" not in metrics:
        return None
    threshold = metrics["threshold"]
    return ThresholdFacts(float(threshold["value"]), str(threshold["rule"]), str(threshold["how"]))


def read_verdicts(metrics: JsonMapping) -> dict[str, str]:
    """Return the verdict on the forecasts of each split."""
    return {split: str(verdict["text"]) for split, verdict in metrics.get("verdict", {}).items()}


def read_metrics_part(path: Path, reader: Callable[[JsonMapping], T], metrics: JsonMapping) -> T:
    """Read an entry of the metrics.

    Args:
        path: the file of the metrics, for the message.
        reader: returns the entry.
        metrics: the content of the file.

    Raises:
        DataError: the entry is invalid.
    """
    try:
        return reader(metrics)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{str(path)!r} is damaged ({type(error).__name__}: {error})", code=Code.RUN_DAMAGED) from error


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise TypeError(f"not a number: {str(value)[:40]!r}")
    return value


# Limits of a report: rows of a table, events, and characters of a cell.
ROWS, EVENTS, CELL_LENGTH = 10, 200, 80


class ReportTable(NamedTuple):
    """First rows of a CSV file.

    Args:
        name: name of the file.
        header: names of the columns.
        rows: the first rows as text.
        length: number of all rows.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    length: int


def read_table(path: Path) -> ReportTable:
    """Read the first rows of a CSV file.

    Raises:
        DataError: the file is empty or not text.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = tuple(next(reader, ()))
            shown = EVENTS if path.name == "events.csv" else ROWS
            rows = tuple(tuple(cell[:CELL_LENGTH] for cell in row) for row in itertools.islice(reader, shown))
            length = len(rows) + sum(1 for _ in reader)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{str(path)!r} cannot be read ({type(error).__name__})", code=Code.RUN_DAMAGED) from error
    if not header:
        raise DataError(f"{str(path)!r} is empty", code=Code.EMPTY_COLUMN)
    return ReportTable(path.name, header, rows, length)


class DetectedTable(NamedTuple):
    """Scores and anomalies of a table; of lists series, those of the series with the most anomalies.

    Args:
        series: name of the series; "" if there is only one.
        times: `(rows,)` datetime64 or row numbers.
        scores: `(rows,)`, NaN for a row without a score.
        anomalies: `(rows,)` whether a row is an anomaly.
    """

    series: str
    times: Array
    scores: Array
    anomalies: BoolArray


def read_detected(path: Path) -> DetectedTable:
    """Read a file written by `lstmae series detect --scores`.

    Raises:
        DataError: the file has a different format.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(r.get("series", ""), r["time"], r["score"], r["anomaly"]) for r in csv.DictReader(file)]
        series, times, scores, flags = (np.array(column) for column in zip(*rows, strict=True))
        anomalies = flags == "True"
        names, indices = np.unique(series, return_inverse=True)
        chosen = int(np.bincount(indices, anomalies).argmax())
        selected = indices == chosen
        row_numbers = np.char.isdecimal(times[selected]).all()
        values = np.where(scores[selected] == "", "nan", scores[selected]).astype(float)
        parsed_times = times[selected].astype(np.int64 if row_numbers else "datetime64[s]")
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(
            f"{str(path)!r} was not written by lstmae series detect --scores ({error})", code=Code.RUN_DAMAGED
        ) from error
    return DetectedTable(str(names[chosen]), parsed_times, values, anomalies[selected])


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Content of a run directory; values that cannot be read are empty or None.

    Args:
        name: its directory as given.
        directory: its directory.
        request: its study, command, data, and environment.
        config: its config.
        choices: all options in the order of declaration.
        measures: the measures of all splits.
        verdicts: the verdict on the forecasts of each split.
        training: its training.
        threshold: the threshold of its anomaly scores.
        history: the columns of `history.csv`.
        pictures: its figures.
        tables: its other CSV files.
        events: the events in `events.csv`, written by a detection.
        detected: the scores in `scores.csv`, written by a detection.
        missing: one sentence for each missing or damaged file.
    """

    name: str
    directory: Path
    request: Request | None
    config: Config | None
    choices: Sequence[OptionInRequest]
    measures: Sequence[MeasuredValue]
    verdicts: Mapping[str, str]
    training: TrainingFacts | None
    threshold: ThresholdFacts | None
    history: Mapping[str, Sequence[float]]
    pictures: Sequence[ReportFigure]
    tables: Sequence[ReportTable]
    events: ReportTable | None
    detected: DetectedTable | None
    missing: Sequence[str]

    @property
    def kind(self) -> str:
        """The kind of the subject: "run"."""
        return "run"

    @property
    def differing(self) -> list[OptionInRequest]:
        """The options that differ from their defaults."""
        return [choice for choice in self.choices if choice.differs]

    @property
    def splits(self) -> list[str]:
        """The splits that have measures, test first."""
        return sorted(dict.fromkeys(measure.split for measure in self.measures), key=lambda split: split != "test")


def gather_run(directory: Path) -> RunFacts:
    """Read the directory of a run.

    Raises:
        DataError: there is no such directory, or it contains nothing that a report can show.
    """
    if not directory.is_dir():
        raise DataError(
            f"There is no run at {str(directory)!r}. `lstmae runs list` shows the runs in 'runs'.",
            code=Code.RUN_NOT_FOUND,
        )
    run, missing = Run(directory), list[str]()

    def read(consequence: str, reader: Callable[[], T]) -> T | None:
        try:
            return reader()
        except (DataError, ConfigError) as error:
            missing.append(f"{consequence}: {error}")
            return None

    def read_part(name: str, reader: Callable[[JsonMapping], T]) -> T | None:
        return read(
            f"The {name} cannot be read", lambda: read_metrics_part(directory / "metrics.json", reader, metrics)
        )

    about = read("The settings cannot be read", run.about) or {}
    request = read_request(about) if about else None
    config = read("The options are shown as in config.json", run.config) if about else None
    metrics = read("There are no results", lambda: _metrics(run, request)) or {}
    read_part("notes", lambda content: missing.extend(map(str, content.get("notes", ()))))
    history = read("There are no training curves", lambda: _history(run)) or {}
    pictures, damaged = read_figures(directory / "figures")
    if not pictures or damaged:
        state = f"{', '.join(map(repr, damaged))} damaged" if damaged else "none"
        missing.append(f"Figures: {state}. {_figure_remedy(run, request)}")
    tables = [read("A table is not shown", lambda at=at: read_table(at)) for at in _tables(directory)]  # type: ignore[misc]
    named: dict[str, ReportTable] = {table.name: table for table in tables if table}
    if not (about or metrics or history or pictures or named):
        raise DataError(
            f"There is nothing to report in {str(directory)!r}: it has no readable config.json, metrics.json, "
            "history.csv, table, or figure. Pass the directory of a run or a search.",
            code=Code.RUN_NOT_FOUND,
        )
    detected = None
    if "scores.csv" in named:
        detected = read("The scores of rows are not drawn", lambda: read_detected(directory / "scores.csv"))
    return RunFacts(
        name=str(directory),
        directory=directory,
        request=request,
        config=config,
        choices=choices_in_request(config, about.get("config")),
        measures=read_part("measures", read_measures) or (),
        verdicts=read_part("verdicts", read_verdicts) or {},
        training=read_part("training", read_training),
        threshold=read_part("threshold", read_threshold),
        history=history,
        pictures=pictures,
        tables=[table for name, table in named.items() if name not in ("events.csv", "scores.csv")],
        events=named.get("events.csv"),
        detected=detected,
        missing=missing,
    )


def _metrics(run: Run, request: Request | None) -> JsonObject:
    if not request and not run.finished:  # Without a config, `run.metrics` has no command to name in its message.
        raise DataError(f"{str(run.directory)!r} has no metrics.json", code=Code.RUN_DAMAGED)
    return run.metrics()


def _history(run: Run) -> dict[str, list[float]]:
    try:
        rows = run.history()
    except (OSError, csv.Error) as error:
        raise DataError(
            f"{str(run.directory / 'history.csv')!r} cannot be read ({error})", code=Code.RUN_DAMAGED
        ) from error
    if not rows:
        raise DataError(f"{str(run.directory)!r} has no history.csv or an empty one", code=Code.RUN_DAMAGED)
    names = set(history_names(rows))
    # The row of epoch 0, the untrained start, may lack values.
    complete = all(set(row) == names or (row.get("epoch") == 0 and set(row) <= names) for row in rows)
    if not all(name.removeprefix("val_") for name in names) or "epoch" not in names or not complete:
        raise DataError(f"{str(run.directory / 'history.csv')!r} is damaged", code=Code.RUN_DAMAGED)
    return history_columns(rows)


def _tables(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.glob("*.csv")) if path.name != "history.csv"]


def _figure_remedy(run: Run, request: Request | None) -> str:
    directory = run.directory
    if not run.finished:
        return "A finished run has them."
    if request and request.task != "series":
        return f"Draw them with: lstmae {request.task} plot --run {shlex.quote(str(directory))}"
    return "Train a new run."


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchFacts:
    """Content of a search directory.

    Args:
        name: its directory as given.
        directory: its directory.
        request: its study, command, data, and environment.
        plan: its plan.
        axes: values or range of each searched option.
        choices: the options that are not searched.
        header: header of the table of trials.
        rows: rows of the table of trials, best first.
        statements: a statement about the baseline, if there is one.
        trials: the trials, best first.
        runs: the run of the best trial by title, if it exists.
        resume_command: the command that resumes the search and draws its figures.
        missing: one sentence for each missing or damaged file.
    """

    name: str
    directory: Path
    request: Request
    plan: SearchPlan
    axes: Mapping[str, str]
    choices: Sequence[OptionInRequest]
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    statements: Sequence[str]
    trials: Sequence[Trial]
    runs: Mapping[str, RunFacts]
    resume_command: str
    missing: Sequence[str]

    @property
    def kind(self) -> str:
        """The kind of the subject: "search"."""
        return "search"

    @property
    def best(self) -> Trial | None:
        """The best completed trial."""
        return next((trial for trial in self.trials if trial.completed), None)


def gather_search(directory: Path) -> SearchFacts:
    """Read the directory of a search.

    Raises:
        DataError: there is no search, or its plan or journal is invalid.
    """
    folder = open_search(directory)
    plan = folder.plan()
    trials, missing = list[Trial](), list[str]()
    try:
        trials = rank_trials(folder.journal.trials(), plan.objective)
    except DataError as error:
        missing.append(str(error))
    columns, baseline = result_columns(plan, trials), describe_baseline(folder, plan, trials)
    rows = zip(*columns.values(), strict=True)
    if not trials:
        missing.append(f"No trial was started. Resume with: {folder.resume_command}")
    runs = _runs(folder, trials, missing)
    searched = {axis.name for axis in plan.axes}
    return SearchFacts(
        name=str(directory),
        directory=directory,
        request=read_request(folder.about()),
        plan=plan,
        axes={axis.name: str(axis) for axis in plan.axes},
        choices=[choice for choice in choices_in_request(plan.config) if choice.name not in searched],
        header=list(columns),
        rows=[[format_option(cell) if isinstance(cell, list | tuple) else cell for cell in row] for row in rows],
        statements=[baseline] if baseline else [],
        trials=trials,
        runs=runs,
        resume_command=folder.resume_command,
        missing=missing,
    )


def _runs(folder: SearchDirectory, trials: Sequence[Trial], missing: list[str]) -> dict[str, RunFacts]:
    """Return the run of the best trial by title; a missing one is added to `missing`."""
    best = next((trial for trial in trials if trial.completed), None)
    if best is None:
        missing += ["No trial is complete, so there is no winner"] if trials else []
        return {}
    runs = {}
    try:
        runs["The winner"] = gather_run(folder.run(best.number).directory)
    except DataError:
        missing.append(f"The best trial, {best.number}, was not saved as a run")
    return runs
