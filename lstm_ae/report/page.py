"""Report of runs and searches as one self-contained HTML file."""

import functools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from lstm_ae.errors import Code, ConfigError
from lstm_ae.files import is_own, write_own
from lstm_ae.formatting import format_cell, format_duration, format_measure, format_name, format_number
from lstm_ae.report import charts
from lstm_ae.report.charts import ReportChart, svg
from lstm_ae.report.comparison import compare_runs
from lstm_ae.report.facts import TARGET, RunFacts, SearchFacts, gather_run, gather_search
from lstm_ae.report.figures import ReportFigure, fit_figures
from lstm_ae.run import installed_versions, open_run
from lstm_ae.search.directory import SearchDirectory
from lstm_ae.search.results import draw_search


class RunView(NamedTuple):
    """Content of a run for the page.

    Args:
        run: the run.
        curves: a chart of each measure over the epochs.
        detected: the chart of the scores of a table's rows.
        pictures: the embedded figures.
        omitted: figures that exceed the size limit of the page.
    """

    run: RunFacts
    curves: Sequence[ReportChart]
    detected: ReportChart | None
    pictures: Sequence[ReportFigure]
    omitted: Sequence[ReportFigure]

    @property
    def kind(self) -> str:
        """The kind of the subject: "run"."""
        return self.run.kind

    @property
    def sections(self) -> dict[str, str]:
        """The headings of the sections that have content, by key."""
        run = self.run
        sections = {
            "results": ("Results", run.measures or run.training or run.verdicts),
            "settings": ("Settings", run.request or run.choices),
            "training": ("Training", self.curves),
            "anomalies": ("Anomalies", run.threshold or run.events or self.detected),
            "figures": ("Figures", self.pictures or self.omitted),
            "tables": ("Tables", run.tables),
            "environment": ("Environment", run.request),
        }
        return {key: title for key, (title, content) in sections.items() if content}


class SearchView(NamedTuple):
    """Content of a search for the page.

    Args:
        search: the search.
        charts: its charts.
        runs: its runs by title.
    """

    search: SearchFacts
    charts: Sequence[ReportChart]
    runs: Mapping[str, RunView]

    @property
    def kind(self) -> str:
        """The kind of the subject: "search"."""
        return self.search.kind

    @property
    def sections(self) -> dict[str, str]:
        """The headings of the sections that have content, by key."""
        titles = {"results": "Results", "figures": "Figures", "settings": "Settings", "environment": "Environment"}
        return {key: title for key, title in titles.items() if key != "figures" or self.charts}


def embedded_figures(run: RunFacts) -> list[ReportFigure]:
    """Return the figures of a run that the page embeds, that is, those that it does not redraw."""
    return [picture for picture in run.pictures if not _is_redrawn(picture, run)]


def view_run(run: RunFacts, fitted: Iterator[ReportFigure | None]) -> RunView:
    """Return the content of a run for the page.

    Args:
        run: the run.
        fitted: its embedded figures; None for a figure that exceeds the size limit.
    """
    best = run.training.best_epoch if run.training else None
    detected = run.detected
    pictures = [(picture, next(fitted)) for picture in embedded_figures(run)]
    return RunView(
        run=run,
        curves=charts.training_charts(run.history, best) if run.history else (),
        detected=charts.score_chart(detected.times, detected.scores, detected.anomalies, _drawn_threshold(run))
        if detected
        else None,
        pictures=[embedded for _, embedded in pictures if embedded],
        omitted=[picture for picture, embedded in pictures if not embedded],
    )


def view_search(search: SearchFacts, fitted: Iterator[ReportFigure | None]) -> SearchView:
    """Return the content of a search for the page.

    Args:
        search: the search.
        fitted: the embedded figures of its runs; None for a figure that exceeds the size limit.
    """
    runs = {title: view_run(run, fitted) for title, run in search.runs.items()}
    return SearchView(search, list(_search_charts(search)) if search.trials else (), runs)


def _is_redrawn(picture: ReportFigure, run: RunFacts) -> bool:
    """Return whether the page redraws a figure from the run's history."""
    return picture.name in ("loss", "curves") and bool(run.history)


def _drawn_threshold(run: RunFacts) -> float | None:
    """Return the run's threshold if the detection used it, else None."""
    if not run.threshold or not run.detected:
        return None
    above = run.detected.scores > run.threshold.value
    return run.threshold.value if (above == run.detected.anomalies).all() else None


def _search_charts(search: SearchFacts) -> Iterator[ReportChart]:
    best, objective = search.best, format_name(search.plan.objective.name)
    setting = (
        ", ".join(f"{format_name(name)} {format_number(value)}" for name, value in best.values.items()) if best else ""
    )
    result = f" The best is {format_number(best.score)} with {setting}." if best else " No trial is complete."
    options = ", ".join(map(format_name, search.axes))
    texts = {
        "grid": ("All settings", f"The {objective} of every setting of {options}; darker is better."),
        "curves": ("All trainings", f"The {objective} of each training over the epochs."),
    }
    for name, figure in draw_search(search.plan, search.trials).items():
        title, text = texts[name]
        yield ReportChart(title, text + result, svg(figure, title=title, text=text + result))


# Reports contain this line, and only files with this line are overwritten.
MARK = '<meta name="generator" content="lstmae report">'

# Largest number of bytes of all figures of a page, so that it can be sent as an attachment.
MAX_FIGURE_BYTES = 4_000_000

Facts = RunFacts | SearchFacts


class ReportPage(NamedTuple):
    """Report as HTML.

    Args:
        html: the page.
        left_out: names of the figures that exceed the size limit.
    """

    html: str
    left_out: tuple[str, ...]


def gather_sources(directories: Sequence[str]) -> list[Facts]:
    """Read runs and searches.

    Args:
        directories: their directories, or "latest" for the latest finished run.

    Raises:
        DataError: a directory is neither a run nor a search.
    """
    paths = dict.fromkeys(open_run(name).directory if name == "latest" else Path(name) for name in directories)
    return [gather_search(path) if SearchDirectory(path).begun else gather_run(path) for path in paths]


def render_report(
    subjects: Sequence[Facts], *, command: str, written: str, max_figure_bytes: int = MAX_FIGURE_BYTES
) -> ReportPage:
    """Return the report of one or more runs and searches.

    Args:
        subjects: the runs and searches.
        command: the command that creates this report.
        written: time of the report, as text.
        max_figure_bytes: largest number of bytes of all figures.
    """
    runs = [each for each in subjects if isinstance(each, RunFacts)]
    owners = [run for each in subjects for run in ([each] if isinstance(each, RunFacts) else each.runs.values())]
    pictures = [picture for run in owners for picture in embedded_figures(run)]
    fitted = fit_figures(pictures, max_figure_bytes)
    remaining = iter(fitted)
    views = [
        view_run(each, remaining) if isinstance(each, RunFacts) else view_search(each, remaining) for each in subjects
    ]
    histories = {run.name: run.history for run in runs if run.history}
    one_study = len({run.request.task if run.request else "" for run in runs}) == 1
    html = render_page(
        "page.html",
        title=_title(subjects),
        command=command,
        written=written,
        subjects=views,
        comparison=compare_runs(runs) if len(runs) > 1 else None,
        comparison_charts=charts.compare_charts(histories) if one_study and len(histories) > 1 else (),
    )
    omitted = tuple(picture.name for picture, embedded in zip(pictures, fitted, strict=True) if not embedded)
    return ReportPage(html, omitted)


def render_page(template: str, *, title: str, command: str, written: str, **content: object) -> str:
    """Return a page that extends `layout.html` as HTML.

    Args:
        template: file name of the template.
        title: title and main heading of the page.
        command: the command that creates the page.
        written: time of the page, as text.
        content: further variables of the template.
    """
    version = installed_versions()["lstm-ae"]
    return (
        page_templates()
        .get_template(template)
        .render(mark=Markup(MARK), title=title, command=command, written=written, version=version, **content)
    )


def write_report(path: Path, html: str) -> Path:
    """Write a report and return its path.

    Raises:
        ConfigError: the path is no HTML file, or a file that is not a report.
    """
    require_report_path(path)
    try:
        return write_own(path, MARK, html)
    except FileExistsError:
        raise ConfigError(
            f"Another process has just written {str(path)!r}. Pass another --out.", code=Code.IN_USE
        ) from None


def require_report_path(path: Path) -> None:
    """Check that a report can be written to a path.

    Raises:
        ConfigError: the path is no HTML file, or a file that is not a report.
    """
    if path.is_dir() or path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--out must be a file that ends in .html. Received: {str(path)!r}")
    if not is_own(path, MARK):
        raise ConfigError(
            f"{str(path)!r} was not written by lstmae; not overwriting it. Pass another --out.", code=Code.OUTPUT_EXISTS
        )


def _title(subjects: Sequence[Facts]) -> str:
    if len(subjects) == 1:
        return subjects[0].name
    kinds = {subject.kind for subject in subjects}
    return f"{len(subjects)} {'results' if len(kinds) > 1 else 'runs' if kinds == {'run'} else 'searches'}"


@functools.cache
def page_templates() -> jinja2.Environment:
    """Return the environment of the page templates with its filters, globals, and tests."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lstm_ae.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": format_number,
        "words": format_name,
        "svg": _svg,
        "duration": format_duration,
        "short": format_cell,
    }
    environment.filters["measure"] = lambda value, name: format_measure(name, value, format_number)
    environment.filters["quoted"] = lambda path: shlex.quote(str(path))
    environment.globals["target"] = TARGET
    environment.tests["numeric"] = _is_number
    return environment


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _svg(chart: ReportChart) -> Markup:
    # matplotlib escapes all text in a figure.
    return Markup(chart.svg)
