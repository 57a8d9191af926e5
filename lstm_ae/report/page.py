"""One self-contained HTML file of runs and searches."""

import functools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup

from lstm_ae.errors import ConfigError
from lstm_ae.files import write
from lstm_ae.formatting import format_cell, format_duration, format_epoch, format_name, format_number
from lstm_ae.report import charts, interactive_chart
from lstm_ae.report.charts import ReportChart, svg
from lstm_ae.report.comparison import compare_runs
from lstm_ae.report.facts import EVENTS, WANTED, DetectedTable, RunFacts, SearchFacts, gather_run, gather_search
from lstm_ae.report.figures import ReportFigure, fit_figures
from lstm_ae.report.interactive_chart import InteractiveChart, interactive_charts
from lstm_ae.run import installed_versions, open_run
from lstm_ae.search.directory import is_search
from lstm_ae.search.results import draw_search

# Rows of a table of values; of more, every n-th is shown.
ROWS = 200


class RunView(NamedTuple):
    """A run as the page shows it.

    Args:
        curves: a chart of each quantity over the epochs.
        step: every so many epochs stand in `epochs`, the rows of the values behind the curves.
        scores: the chart of the scores of normal rows, and `shares` the values behind it.
        detected: the chart of the scores of a table's rows, and `rows` the values behind it.
        zooms: the charts of the last detection that can be looked into.
        pictures: the figures that are embedded.
        redrawn: figures that the curves stand for.
        left: figures that there was no room for.
    """

    run: RunFacts
    curves: Sequence[ReportChart]
    step: int
    epochs: Sequence[Sequence[float]]
    scores: ReportChart | None
    shares: Sequence[tuple[str, float]]
    detected: ReportChart | None
    rows: Sequence[tuple[str, float, str]]
    zooms: Sequence[InteractiveChart]
    pictures: Sequence[ReportFigure]
    redrawn: Sequence[ReportFigure]
    left: Sequence[ReportFigure]

    @property
    def kind(self) -> str:
        """Which template it is for."""
        return self.run.kind

    @property
    def sections(self) -> dict[str, str]:
        """The sections there are, in their order, and their headings."""
        run = self.run
        there = {
            "results": ("What came out", run.measures or run.training or run.verdicts),
            "asked": ("What was asked", run.asked or run.choices),
            "training": ("Training", self.curves),
            "anomalies": ("Anomalies", run.threshold or run.events or run.detection or self.detected),
            "figures": ("Figures", self.pictures or self.left),
            "model": ("Model", run.network),
            "tables": ("Tables", run.tables),
            "made": ("Where it was made", run.asked),
        }
        return {key: title for key, (title, content) in there.items() if content}


class SearchView(NamedTuple):
    """A search as the page shows it: its charts, and its runs, by what they are."""

    search: SearchFacts
    charts: Sequence[ReportChart]
    runs: Mapping[str, RunView]

    @property
    def kind(self) -> str:
        """Which template it is for."""
        return self.search.kind

    @property
    def sections(self) -> dict[str, str]:
        """The sections there are, in their order, and their headings."""
        titles = {
            "results": "What came out",
            "figures": "Figures",
            "asked": "What was asked",
            "made": "Where it was made",
        }
        return {key: title for key, title in titles.items() if key != "figures" or self.charts}


def embedded_figures(run: RunFacts) -> list[ReportFigure]:
    """The figures that stand in the page as they are."""
    return [picture for picture in run.pictures if not _redrawn(picture, run) and not _searched(picture, run)]


def view_run(run: RunFacts, fitted: Iterator[ReportFigure | None], points: int) -> RunView:
    """A run as the page shows it.

    Args:
        fitted: gives its embedded figures, None where there was no room.
        points: at most, of each line of a chart that can be looked into.
    """
    best = run.training.best_epoch if run.training else None
    found = run.detected
    step = -(-len(run.history.get("epoch", ())) // ROWS) or 1
    pictures = [(picture, next(fitted)) for picture in embedded_figures(run)]
    return RunView(
        run=run,
        curves=charts.training_charts(run.history, best) if run.history else (),
        step=step,
        epochs=_epochs(run, step, best),
        scores=charts.normal_score_chart(run.scores, run.threshold.value if run.threshold else None)
        if run.scores
        else None,
        shares=_shares(run.scores),
        detected=charts.score_chart(found.times, found.scores, found.anomalies, _used(run)) if found else None,
        rows=_rows(found) if found else (),
        zooms=interactive_charts(run.detection, points) if run.detection else (),
        pictures=[kept for _, kept in pictures if kept],
        redrawn=[picture for picture in run.pictures if _redrawn(picture, run)],
        left=[picture for picture, kept in pictures if not kept],
    )


def view_search(search: SearchFacts, fitted: Iterator[ReportFigure | None], points: int) -> SearchView:
    """A search as the page shows it; `fitted` and `points` are for its runs, as for `view_run`."""
    runs = {title: view_run(run, fitted, points) for title, run in search.runs.items()}
    return SearchView(search, list(_drawn(search)) if search.trials else (), runs)


def _redrawn(picture: ReportFigure, run: RunFacts) -> bool:
    """Whether the page draws a figure anew, from the run's history."""
    return picture.name in ("loss", "curves") and bool(run.history)


def _searched(picture: ReportFigure, run: RunFacts) -> bool:
    """Whether a figure shows a search for anomalies, of which the page draws the last one: the figure may be older."""
    return picture.name == "detection" and run.detection is not None


def _epochs(run: RunFacts, step: int, best: int | None) -> list[Sequence[float]]:
    """Every `step`-th epoch, the last one, and the one whose weights were kept."""
    rows = list(zip(*run.history.values(), strict=True))
    epochs = run.history.get("epoch", ())
    return [row for k, row in enumerate(rows) if k % step == 0 or k == len(rows) - 1 or epochs[k] == best]


def _shares(scores: Sequence[float]) -> list[tuple[str, float]]:
    """What so many of the scores are at most."""
    shares = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0)
    values = np.quantile(scores, shares).tolist() if scores else []
    return [(f"{share:.1%}", value) for share, value in zip(shares, values, strict=False)]


def _rows(found: DetectedTable) -> list[tuple[str, float, str]]:
    """Rows of a searched table, evenly apart."""
    return [
        (str(found.times[k]).replace("T", " "), float(found.scores[k]), "yes" if found.anomalies[k] else "no")
        for k in range(0, len(found.scores), -(-len(found.scores) // ROWS))
    ]


def _used(run: RunFacts) -> float | None:
    """The run's threshold where the detection has gone by it, and by no other."""
    if not run.threshold or not run.detected:
        return None
    above = run.detected.scores > run.threshold.value
    return run.threshold.value if (above == run.detected.anomalies).all() else None


def _drawn(search: SearchFacts) -> Iterator[ReportChart]:
    best, objective = search.best, format_name(search.plan.objective.name)
    setting = (
        ", ".join(f"{format_name(name)} {format_number(value)}" for name, value in best.values.items()) if best else ""
    )
    found = f" The best, {format_number(best.score)}, is that of {setting}." if best else " No trial is complete."
    options = ", ".join(map(format_name, search.axes))
    told = {
        "grid": ("All settings", f"The {objective} of every setting of {options}; the darker, the better."),
        "trials": ("All trials", f"Each trial as a line across {options} and its {objective}."),
        "curves": ("All trainings", f"The {objective} of each training over the epochs."),
    }
    for name, figure in draw_search(search.plan, search.trials).items():
        title, text = told[name]
        yield ReportChart(title, text + found, svg(figure, title=title, text=text + found, themed=False))


# A file with this line was written here and may be written anew.
MARK = '<meta name="generator" content="lstmae report">'

# Bytes that figures may take together: a page must pass as an attachment.
ROOM = 4_000_000

Facts = RunFacts | SearchFacts


class ReportPage(NamedTuple):
    """A report: its HTML, and the names of figures that it had no room for."""

    html: str
    left_out: tuple[str, ...]


def gather_sources(places: Sequence[str]) -> list[Facts]:
    """Runs and searches, by their directories, or "latest" for the latest finished run."""
    paths = dict.fromkeys(open_run(place).directory if place == "latest" else Path(place) for place in places)
    return [gather_search(path) if is_search(path) else gather_run(path) for path in paths]


def render_report(subjects: Sequence[Facts], *, command: str, written: str, room: int = ROOM) -> ReportPage:
    """The report of one or more runs and searches.

    Args:
        command: what makes this report again.
        written: when that was, for people.
        room: bytes that figures may take together.
    """
    runs = [each for each in subjects if isinstance(each, RunFacts)]
    owners = [run for each in subjects for run in ([each] if isinstance(each, RunFacts) else each.runs.values())]
    pictures = [picture for run in owners for picture in embedded_figures(run)]
    fitted = fit_figures(pictures, room)
    rest = iter(fitted)
    lines = sum(len(each.lines) for run in owners if run.detection for each in run.detection.series)
    points = interactive_chart.ROOM // max(1, lines)
    views = [
        view_run(each, rest, points) if isinstance(each, RunFacts) else view_search(each, rest, points)
        for each in subjects
    ]
    histories = {run.name: run.history for run in runs if run.history}
    one_study = len({run.asked.task if run.asked else "" for run in runs}) == 1
    html = (
        page_templates()
        .get_template("page.html")
        .render(
            mark=Markup(MARK),
            title=_title(subjects),
            subjects=views,
            compared=compare_runs(runs) if len(runs) > 1 else None,
            together=charts.compare_charts(histories) if one_study and len(histories) > 1 else (),
            script=Markup(interactive_chart.SCRIPT) if lines else "",
            script_hash=interactive_chart.HASH,
            command=command,
            written=written,
            version=installed_versions()["lstm-ae"],
        )
    )
    return ReportPage(html, tuple(picture.name for picture, kept in zip(pictures, fitted, strict=True) if not kept))


def write_report(path: Path, html: str) -> Path:
    """Write a report; raises `ConfigError` where that would overwrite a file that is none."""
    require_own(path)
    try:
        return write(path, html.encode(errors="replace"), new=not path.exists())
    except FileExistsError:
        raise ConfigError(f"{str(path)!r} has just been written by another; give another --out") from None


def require_own(path: Path) -> None:
    """Raise where a report cannot be written to a path: it is no `.html`, or a file that is no report of ours."""
    if path.is_dir() or path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--out must be a file that ends in .html. Received: {str(path)!r}")
    if (path.exists() or path.is_symlink()) and not _ours(path):
        raise ConfigError(f"{str(path)!r} is no report of this program, and is not overwritten; give another --out")


def _ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(4096)
    except OSError:
        return False


def _title(subjects: Sequence[Facts]) -> str:
    if len(subjects) == 1:
        return subjects[0].name
    kinds = {subject.kind for subject in subjects}
    return f"{len(subjects)} {'results' if len(kinds) > 1 else 'runs' if kinds == {'run'} else 'searches'}"


@functools.cache
def page_templates() -> jinja2.Environment:
    """The templates of pages, with the filters that they use."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("lstm_ae.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": format_number,
        "words": format_name,
        "epoch_name": format_epoch,
        "svg": _svg,
        "duration": format_duration,
        "short": format_cell,
    }
    made.filters["quoted"] = lambda path: shlex.quote(str(path))
    made.globals |= {
        "wanted": WANTED,
        "most": EVENTS,
        "width": interactive_chart.WIDTH,
        "left": interactive_chart.LEFT,
        "right": interactive_chart.RIGHT,
    }
    made.globals["letter"] = interactive_chart.LETTER
    made.tests["figure"] = _is_figure
    return made


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _svg(chart: ReportChart) -> Markup:
    # matplotlib has escaped every text in it.
    return Markup(chart.svg)
