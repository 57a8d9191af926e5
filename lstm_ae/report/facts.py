"""Readers of the directories of finished runs and of searches for a report."""

import base64
import csv
import itertools
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lstm_ae.config import Config
from lstm_ae.config.options import declared_options
from lstm_ae.errors import Code, DataError
from lstm_ae.evaluation import NOMINAL
from lstm_ae.formatting import format_best_epochs, format_option
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.run import measured_splits, open_run
from lstm_ae.search.directory import open_search
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.results import result_columns
from lstm_ae.search.trial import Trial, rank_trials

# Limits of a report: rows of a table, events, and characters of a cell.
ROWS, EVENTS, CELL_LENGTH = 10, 200, 80

# The signature of a PNG file, and the bytes with its width and height.
_SIGNATURE, _SIZE = b"\x89PNG\r\n\x1a\n", slice(16, 24)


class OptionInReport(NamedTuple):
    """Option of a run or a search.

    Args:
        name: name of the option.
        value: its value as typed.
        default: its default as typed.
        help: its help text.
    """

    name: str
    value: str
    default: str
    help: str

    @property
    def differs(self) -> bool:
        """Whether the value differs from the default."""
        return self.value != self.default


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
        comparable = {name: value for name, value in self.baselines.items() if value is not None and name != NOMINAL}
        return {name: sign * self.value > sign * value for name, value in comparable.items()}

    @property
    def better(self) -> bool | None:
        """Whether the value is better than every baseline; None without a baseline that can be compared."""
        return all(self.beats.values()) if self.beats else None


class ReportFigure(NamedTuple):
    """Figure of a run or a search.

    Args:
        name: name of the file without its extension.
        uri: the figure as a data URI.
        width: width in pixels.
        height: height in pixels.
    """

    name: str
    uri: str
    width: int
    height: int


class ReportTable(NamedTuple):
    """First rows of a CSV file.

    Args:
        name: name of the file.
        header: names of the columns.
        rows: the first rows as text.
        length: number of all rows.
    """

    name: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    length: int


class RunFacts(NamedTuple):
    """Content of the directory of a finished run.

    Args:
        name: its directory as given.
        directory: its directory.
        about: content of `config.json`.
        options: all options in the order of declaration.
        metrics: content of `metrics.json`.
        measures: the measures of all splits, those of the test split first.
        figures: its figures.
        tables: its CSV files without the history.
    """

    name: str
    directory: Path
    about: JsonObject
    options: Sequence[OptionInReport]
    metrics: JsonObject
    measures: Sequence[MeasuredValue]
    figures: Sequence[ReportFigure]
    tables: Sequence[ReportTable]

    @property
    def kind(self) -> str:
        """The kind of the subject: "run"."""
        return "run"

    @property
    def splits(self) -> list[str]:
        """The splits that have measures."""
        return list(dict.fromkeys(measure.split for measure in self.measures))

    @property
    def weights(self) -> str:
        """Description of the epochs whose weights the run has."""
        return format_best_epochs(self.metrics["training"])

    @property
    def sections(self) -> dict[str, str]:
        """The headings of the sections that have content, by key."""
        return _list_sections(figures=bool(self.figures), tables=bool(self.tables))


class SearchFacts(NamedTuple):
    """Content of the directory of a search.

    Args:
        name: its directory as given.
        directory: its directory.
        about: content of `search.json`.
        plan: its plan.
        options: the options that are not searched.
        table: columns of the table of trials, best first.
        best: the best completed trial; None if no trial is complete.
        figures: its figures.
        run: the run of the best trial; None if it was not saved.
        resume_command: the command that resumes the search.
    """

    name: str
    directory: Path
    about: JsonObject
    plan: SearchPlan
    options: Sequence[OptionInReport]
    table: Mapping[str, Sequence[object]]
    best: Trial | None
    figures: Sequence[ReportFigure]
    run: RunFacts | None
    resume_command: str

    @property
    def kind(self) -> str:
        """The kind of the subject: "search"."""
        return "search"

    @property
    def sections(self) -> dict[str, str]:
        """The headings of the sections that have content, by key."""
        return _list_sections(figures=bool(self.figures), tables=False)

    @property
    def rows(self) -> list[list[object]]:
        """Rows of the table of trials, with lists as typed."""
        rows = zip(*self.table.values(), strict=True)
        return [[format_option(cell) if isinstance(cell, list | tuple) else cell for cell in row] for row in rows]


def _list_sections(**available: bool) -> dict[str, str]:
    """Return the headings of the sections of a page by key; False leaves a section out."""
    names = ("results", "figures", "tables", "settings", "environment")
    return {name: name.capitalize() for name in names if available.get(name, True)}


def gather_run(place: str | Path) -> RunFacts:
    """Read the directory of a finished run.

    Args:
        place: its directory, or "latest" for the latest finished run.

    Raises:
        DataError: there is no such run, it is unfinished, or a file is damaged.
    """
    run = open_run(place)
    metrics, directory = run.metrics(), run.directory
    tables = [path for path in sorted(directory.glob("*.csv")) if path.name != "history.csv"]
    try:
        measures = read_measures(metrics)
    except (AttributeError, TypeError) as error:
        path = str(directory / "metrics.json")
        raise DataError(f"{path!r} is damaged ({error}). Train a new run", code=Code.RUN_DAMAGED) from error
    return RunFacts(
        str(directory),
        directory,
        run.about(),
        list_options(run.config()),
        metrics,
        measures,
        read_figures(directory / "figures"),
        [read_table(path) for path in tables],
    )


def gather_search(directory: Path) -> SearchFacts:
    """Read the directory of a search.

    Raises:
        DataError: there is no search, or its plan or journal is invalid.
    """
    folder = open_search(directory)
    plan = folder.plan()
    trials = rank_trials(folder.journal.trials(), plan.objective)
    best = trials[0] if trials and trials[0].completed else None
    run = folder.run(best.number) if best else None
    searched = {axis.name for axis in plan.axes}
    return SearchFacts(
        str(directory),
        directory,
        folder.about(),
        plan,
        [option for option in list_options(plan.config) if option.name not in searched],
        result_columns(plan, trials),
        best,
        read_figures(directory / "figures"),
        gather_run(run.directory) if run and run.finished else None,
        folder.resume_command,
    )


def list_options(config: Config) -> list[OptionInReport]:
    """Return the options of a config in the order of declaration."""
    return [
        OptionInReport(
            field.name, format_option(getattr(config, field.name)), format_option(field.default), field.option.help
        )
        for field in declared_options(type(config))
    ]


def read_measures(metrics: JsonMapping) -> list[MeasuredValue]:
    """Return the measures of all splits, those of the test split first.

    Raises:
        AttributeError, TypeError: a measure is invalid.
    """
    measures = [
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
    return sorted(measures, key=lambda measure: measure.split != "test")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise TypeError(f"not a number: {str(value)[:40]!r}")
    return value


def read_figures(folder: Path) -> list[ReportFigure]:
    """Read the figures in a folder, in the order of their names.

    Raises:
        DataError: a file is not a PNG file.
    """
    figures = []
    for path in sorted(folder.glob("*.png")):
        png = path.read_bytes()
        if not png.startswith(_SIGNATURE) or len(png) < _SIZE.stop:
            raise DataError(f"{str(path)!r} is damaged. Delete it or draw it again", code=Code.RUN_DAMAGED)
        uri = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
        figures.append(ReportFigure(path.stem, uri, *struct.unpack(">II", png[_SIZE])))
    return figures


def read_table(path: Path) -> ReportTable:
    """Read the first rows of a CSV file.

    Raises:
        DataError: the file is empty or not text.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            limit = EVENTS if path.name.startswith("events") else ROWS
            rows = [[cell[:CELL_LENGTH] for cell in row] for row in itertools.islice(reader, limit)]
            length = len(rows) + sum(1 for _ in reader)
    except (ValueError, csv.Error) as error:
        raise DataError(
            f"{str(path)!r} cannot be read ({type(error).__name__}). Remove it", code=Code.FILE_UNREADABLE
        ) from error
    if not header:
        raise DataError(f"{str(path)!r} is empty. Remove it", code=Code.EMPTY_COLUMN)
    return ReportTable(path.name, header, rows, length)
