"""Read what a report says from the directory of a run or a search; what is missing or damaged is stated."""

import csv
import dataclasses
import itertools
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Config
from lstm_ae.config.options import declared_options
from lstm_ae.detection.sketch import TableSketch
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.report.figures import ReportFigure, read_figures
from lstm_ae.report.network import Network, read_network
from lstm_ae.report.source_report import ReportedValue, reported_values
from lstm_ae.run import Run, measured_parts
from lstm_ae.search.directory import SearchDirectory, open_search
from lstm_ae.search.journal import ended_trials
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.results import result_columns, result_statements
from lstm_ae.search.trial import COMPLETED, Trial, rank_trials
from lstm_ae.studies import history_columns


class Request(NamedTuple):
    """All but the options: the study, the command, the data, and where it was run."""

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
    """An option: its value and its default, as they are typed, what it is for, and whether the two differ."""

    name: str
    value: str
    default: str
    help: str
    differs: bool


def read_request(about: Mapping[str, Any]) -> Request:
    """The content of a file that holds a task and data; whatever else stands there is taken as text."""
    data, versions = about["data"], about.get("versions")
    several = {key: data[key] if isinstance(data.get(key), list | tuple) else () for key in ("notes", "symbols")}
    return Request(
        task=str(about["task"]),
        command=str(about.get("command", "")),
        created=str(about.get("created", ""))[:19].replace("T", " "),
        data=str(data.get("text", "")),
        sha256=str(data.get("sha256", "")),
        licence=str(data.get("licence", "")),
        notes=tuple(map(str, several["notes"])),
        leaky=str(data.get("leaky") or ""),
        symbols=tuple(str(symbol) for symbol in several["symbols"] if symbol),
        versions={str(k): str(v) for k, v in versions.items()} if isinstance(versions, dict) else {},
        machine=str(about.get("machine", "")),
    )


def choices_in_request(config: Config | None, values: Any = None) -> list[OptionInRequest]:
    """The options in the order of declaration.

    Args:
        config: None where it is not one of this version.
        values: the options as they stand in the file, for that case.
    """
    if config is None:
        values = values if isinstance(values, dict) else {}
        return [OptionInRequest(str(name), typed_options(value), "", "", True) for name, value in values.items()]
    found = []
    for field in declared_options(type(config)):
        value = getattr(config, field.name)
        found.append(
            OptionInRequest(
                field.name,
                typed_options(value),
                typed_options(field.default),
                field.option.help,
                value != field.default,
            )
        )
    return found


def typed_options(value: Any) -> str:
    """An option's value as it is typed; "-" for none."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    return "-" if value in (None, "") else str(value)


Found = TypeVar("Found")

# A baseline of this name is what the measure should be, not what it should beat.
WANTED = "wanted"


class MeasuredValue(NamedTuple):
    """A measured number; see `lstm_ae.evaluation.Metric`. None stands for what cannot be computed."""

    part: str
    name: str
    value: float | None
    unit: str
    baselines: Mapping[str, float | None]
    higher_is_better: bool

    @property
    def beats(self) -> Mapping[str, bool]:
        """By baseline, whether the value is better; without what cannot be compared."""
        if self.value is None:
            return {}
        sign = 1 if self.higher_is_better else -1
        known = {name: value for name, value in self.baselines.items() if value is not None and name != WANTED}
        return {name: sign * self.value > sign * value for name, value in known.items()}

    @property
    def better(self) -> bool | None:
        """Whether it is better than every baseline; None where there is nothing to compare it with."""
        return all(self.beats.values()) if self.beats else None


class TrainingFacts(NamedTuple):
    """How a training went; `stopped` says why it ended early, `refit` on what more it was trained, "" for neither."""

    epochs: int
    best_epoch: int
    stopped: str
    seconds: float
    parameters: int
    refit: str = ""


class ThresholdFacts(NamedTuple):
    """From which score on a row is an anomaly, by which rule, and what that rests on."""

    value: float
    rule: str
    how: str


def read_measures(metrics: Mapping[str, Any]) -> list[MeasuredValue]:
    """Every measure on every part, in the file's order."""
    return [
        MeasuredValue(
            part,
            name,
            _number(row["value"]),
            str(row["unit"]),
            {base: _number(value) for base, value in row["baselines"].items()},
            bool(row.get("higher_is_better")),
        )
        for part, rows in measured_parts(metrics).items()
        for name, row in rows.items()
    ]


def read_training(metrics: Mapping[str, Any]) -> TrainingFacts | None:
    """The training; None where there are no metrics at all."""
    if "training" not in metrics:
        return None
    found = metrics["training"]
    epochs, best, parameters = (int(found[key]) for key in ("epochs", "best_epoch", "parameters"))
    refit = str(found.get("refit", ""))
    return TrainingFacts(epochs, best, str(found["stopped"]), float(found["seconds"]), parameters, refit)


def read_threshold(metrics: Mapping[str, Any]) -> ThresholdFacts | None:
    """The threshold; None for a run that finds no anomalies."""
    if "threshold" not in metrics:
        return None
    found = metrics["threshold"]
    return ThresholdFacts(float(found["value"]), str(found["rule"]), str(found["how"]))


def read_verdicts(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What is said of a forecast, by part of the data."""
    return {part: str(verdict["text"]) for part, verdict in metrics.get("verdict", {}).items()}


def read_metrics_part(path: Path, reading: Callable[[Mapping[str, Any]], Found], metrics: Mapping[str, Any]) -> Found:
    """Read a part of the metrics in a file; raises `DataError` where that part is not what a training leaves."""
    try:
        return reading(metrics)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{str(path)!r} is damaged ({type(error).__name__}: {error})") from error


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise TypeError(f"no number: {str(value)[:40]!r}")
    return value


# Rows that a report shows, of a table and of a list of events; cells are cut to so many characters.
ROWS, EVENTS, LETTERS = 10, 200, 80


class ReportTable(NamedTuple):
    """A CSV file: its name, its columns, the first rows as texts, and the number of all rows."""

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    length: int


def read_table(path: Path) -> ReportTable:
    """A CSV file's first rows; raises `DataError` where it has no header or is no text."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = tuple(next(reader, ()))
            shown = EVENTS if path.name == "events.csv" else ROWS
            rows = tuple(tuple(cell[:LETTERS] for cell in row) for row in itertools.islice(reader, shown))
            length = len(rows) + sum(1 for _ in reader)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{str(path)!r} cannot be read ({type(error).__name__})") from error
    if not header:
        raise DataError(f"{str(path)!r} is empty")
    return ReportTable(path.name, header, rows, length)


class DetectedTable(NamedTuple):
    """The rows of a table that was searched, of several series those with the most anomalies.

    Args:
        series: the series' name; "" where there is one only.
        times: `(rows,)` datetime64, or row numbers.
        scores: `(rows,)`, NaN where there is none.
        anomalies: `(rows,)`, which rows are one.
    """

    series: str
    times: NDArray[Any]
    scores: NDArray[Any]
    anomalies: NDArray[np.bool_]


def read_detected(path: Path) -> DetectedTable:
    """The file that `lstmae series detect --scores` writes; raises `DataError` where it is another."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(r.get("series", ""), r["time"], r["score"], r["anomaly"]) for r in csv.DictReader(file)]
        series, times, scores, flags = (np.array(column) for column in zip(*rows, strict=True))
        anomalies = flags == "True"
        names, which = np.unique(series, return_inverse=True)
        most = int(np.bincount(which, anomalies).argmax())
        own = which == most
        whole = np.char.isdecimal(times[own]).all()
        numbers = np.where(scores[own] == "", "nan", scores[own]).astype(float)
        moments = times[own].astype(np.int64 if whole else "datetime64[s]")
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(f"{str(path)!r} is not what lstmae series detect --scores writes ({error})") from error
    return DetectedTable(str(names[most]), moments, numbers, anomalies[own])


class SourceReportValue(NamedTuple):
    """A number of the source report with ours; `baselines` are those that stand beside ours."""

    said: ReportedValue
    part: str
    value: float
    better: bool
    baselines: Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What is known of a run; what is not is empty or None.

    Args:
        name: its directory, as it was given.
        choices: every option, in the order of declaration.
        verdicts: by part of the data, what is said of a forecast.
        history: `history.csv` by column.
        pictures: its figures.
        tables: its other CSV files.
        events: the events of `events.csv`, where a detection has put them there.
        detected: the scores of `scores.csv`, likewise.
        detection: what was kept of the last detection.
        scores: the scores of normal rows that the threshold rests on.
        missing: what is missing or damaged, a sentence each.
    """

    name: str
    directory: Path
    asked: Request | None
    config: Config | None
    choices: Sequence[OptionInRequest]
    measures: Sequence[MeasuredValue]
    verdicts: Mapping[str, str]
    training: TrainingFacts | None
    threshold: ThresholdFacts | None
    history: Mapping[str, Sequence[float]]
    network: Network | None
    pictures: Sequence[ReportFigure]
    tables: Sequence[ReportTable]
    events: ReportTable | None
    detected: DetectedTable | None
    detection: TableSketch | None
    scores: Sequence[float]
    missing: Sequence[str]

    @property
    def kind(self) -> str:
        """What a reader calls it."""
        return "run"

    @property
    def differing(self) -> list[OptionInRequest]:
        """The options that are not at their defaults."""
        return [choice for choice in self.choices if choice.differs]

    @property
    def parts(self) -> list[str]:
        """The parts of the data that were measured on, the test part first."""
        return sorted(dict.fromkeys(measure.part for measure in self.measures), key=lambda part: part != "test")

    @property
    def beside(self) -> list[SourceReportValue]:
        """The source report's numbers beside ours."""
        found = []
        for line in reported_values(self.config, self.asked.data if self.asked else "") if self.config else ():
            for row in self.measures:
                if row.name == line.measure and row.part in line.parts and row.value is not None:
                    better = row.value > line.value if row.higher_is_better else row.value < line.value
                    known = {name: value for name, value in row.baselines.items() if value is not None}
                    found.append(SourceReportValue(line, row.part, row.value, better, known))
        return found


def gather_run(directory: Path) -> RunFacts:
    """All that a run's directory tells.

    Raises:
        DataError: there is no such directory, or nothing in it that a report could show.
    """
    if not directory.is_dir():
        raise DataError(f"There is no run at {str(directory)!r}; `lstmae runs list` shows those in 'runs'")
    run, missing = Run(directory), list[str]()

    def read(without: str, reading: Callable[[], Found]) -> Found | None:
        try:
            return reading()
        except (DataError, ConfigError) as error:
            missing.append(f"{without}: {error}")
            return None

    about = read("What was asked is not known", run.about) or {}
    asked = read_request(about) if about else None
    config = read("The options stand here as in config.json", run.config) if about else None
    metrics = read("There are no results", lambda: _metrics(run, asked)) or {}
    measuring = directory / "metrics.json"
    history = read("There are no training curves", lambda: _history(run)) or {}
    network = read("The layers are not known", lambda: read_network(run.model_file))
    pictures, damaged = read_figures(
        directory / "figures", directory, asked.task if asked else None, asked.command if asked else ""
    )
    if not pictures or damaged:
        which = ", ".join(map(repr, damaged)) + " damaged" if damaged else "none there"
        missing.append(f"Figures: {which}; {_draw_again(directory, asked)}")
    tables = [read("A table is not shown", lambda at=at: read_table(at)) for at in _tables(directory)]  # type: ignore[misc]
    named: dict[str, ReportTable] = {table.name: table for table in tables if table}
    if not (about or metrics or history or network or pictures or named):
        raise DataError(
            f"There is nothing to report of {str(directory)!r}: it has no readable config.json, metrics.json, "
            "history.csv, model.keras, table or figure; give the directory of a run or a search"
        )
    detected = None
    if "scores.csv" in named:
        detected = read("The scores of rows are not drawn", lambda: read_detected(directory / "scores.csv"))
    return RunFacts(
        name=str(directory),
        directory=directory,
        asked=asked,
        config=config,
        choices=choices_in_request(config, about.get("config")),
        measures=read("The measures are not known", lambda: read_metrics_part(measuring, read_measures, metrics)) or (),
        verdicts=read("The verdicts are not known", lambda: read_metrics_part(measuring, read_verdicts, metrics)) or {},
        training=read("The training is not known", lambda: read_metrics_part(measuring, read_training, metrics)),
        threshold=read("The threshold is not known", lambda: read_metrics_part(measuring, read_threshold, metrics)),
        history=history,
        network=network,
        pictures=pictures,
        tables=[table for name, table in named.items() if name not in ("events.csv", "scores.csv")],
        events=named.get("events.csv"),
        detected=detected,
        detection=read("The events are not drawn", run.detection),
        scores=read("The scores of normal rows are not known", lambda: _scores(run)) or (),
        missing=missing,
    )


def _metrics(run: Run, asked: Request | None) -> dict[str, Any]:
    if not asked and not run.finished:  # it cannot be said how to go on
        raise DataError(f"{str(run.directory)!r} has no metrics.json")
    return run.metrics()


def _history(run: Run) -> dict[str, list[float]]:
    try:
        rows = run.history()
    except (OSError, csv.Error) as error:
        raise DataError(f"{str(run.directory / 'history.csv')!r} cannot be read ({error})") from error
    if not rows:
        raise DataError(f"{str(run.directory)!r} has no history.csv, or an empty one")
    names = set(rows[-1])
    # The row of epoch 0, the untrained start, may lack values.
    whole = all(set(row) == names or (row.get("epoch") == 0 and set(row) <= names) for row in rows)
    if not all(name.removeprefix("val_") for name in names) or "epoch" not in names or not whole:
        raise DataError(f"{str(run.directory / 'history.csv')!r} is damaged")
    return history_columns(rows)


def _scores(run: Run) -> Sequence[float]:
    """Validation's scores, without the rows that have none."""
    if not (run.directory / "normal.npz").is_file():
        return ()
    return [score for score in run.normal()[0].scores.tolist() if score == score]


def _tables(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.glob("*.csv")) if path.name != "history.csv"]


def _draw_again(directory: Path, asked: Request | None) -> str:
    if asked and asked.task != "series":
        return f"draw them by lstmae {asked.task} plot --run {shlex.quote(str(directory))}"
    return "train a new run"


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
    asked: Request
    plan: SearchPlan
    axes: Mapping[str, str]
    choices: Sequence[OptionInRequest]
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
        trials = rank_trials(ended_trials(entries), plan.objective)
        header, rows = result_columns(plan, trials)
        lines = result_statements(plan, trials)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"The journal of {str(directory)!r} is not what a search leaves ({error})") from error
    if not trials:
        missing.append(f"No trial was begun; go on with {folder.resuming}")
    runs = _runs(folder, trials, missing)
    searched = {axis.name for axis in plan.axes}
    return SearchFacts(
        name=str(directory),
        directory=directory,
        asked=read_request(folder.about()),
        plan=plan,
        axes={axis.name: str(axis) for axis in plan.axes},
        choices=[choice for choice in choices_in_request(plan.config) if choice.name not in searched],
        header=header,
        rows=[[typed_options(cell) if isinstance(cell, list | tuple) else cell for cell in row] for row in rows],
        statements=lines,
        trials=trials,
        runs=runs,
        again=folder.resuming,
        missing=missing,
    )


def _runs(folder: SearchDirectory, trials: Sequence[Trial], missing: list[str]) -> dict[str, RunFacts]:
    """The winner's run, and its refit; what is not there is added to `missing`."""
    best = next((trial for trial in trials if trial.status == COMPLETED), None)
    if best is None:
        missing += ["No trial is complete, so there is no winner"] if trials else []
        return {}
    found = {}
    try:
        found["The winner"] = gather_run(folder.run(best.number).directory)
    except DataError:
        missing.append(f"The best trial, {best.number}, was not kept as a run")
    if folder.refit.directory.exists():
        try:
            found["The winner's setting, trained on more"] = gather_run(folder.refit.directory)
        except DataError as error:
            missing.append(str(error))
    return found
