"""Report of runs and searches as one self-contained HTML file."""

import functools
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from lstm_ae.errors import Code, ConfigError
from lstm_ae.evaluation import NOMINAL
from lstm_ae.files import is_own, write_own
from lstm_ae.formatting import format_cell, format_duration, format_measure, format_name, format_number
from lstm_ae.report.comparison import compare_runs
from lstm_ae.report.facts import RunFacts, SearchFacts, gather_run, gather_search
from lstm_ae.run import command_line, installed_versions
from lstm_ae.search.directory import SearchDirectory

# Reports contain this line, and only files with this line are overwritten.
MARK = '<meta name="generator" content="lstmae report">'

Facts = RunFacts | SearchFacts


def gather_sources(directories: Sequence[str]) -> list[Facts]:
    """Read runs and searches.

    Args:
        directories: their directories, or "latest" for the latest finished run.

    Raises:
        DataError: a directory is neither a finished run nor a search, or a file is damaged.
    """
    paths = [Path(name) for name in dict.fromkeys(directories)]
    return [gather_search(path) if SearchDirectory(path).begun else gather_run(path) for path in paths]


def render_report(subjects: Sequence[Facts]) -> str:
    """Return the report of one or more runs and searches as HTML."""
    runs = [each for each in subjects if isinstance(each, RunFacts)]
    return render_page(
        "page.html",
        title=subjects[0].name if len(subjects) == 1 else f"{len(subjects)} results",
        subjects=subjects,
        comparison=compare_runs(runs) if len(runs) > 1 else None,
    )


def render_page(template: str, *, title: str, **content: object) -> str:
    """Return a page that extends `layout.html` as HTML, with the current command and time.

    Args:
        template: file name of the template.
        title: title and main heading of the page.
        content: further variables of the template.
    """
    page = page_templates().get_template(template)
    version, written = installed_versions()["lstm-ae"], f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return page.render(
        mark=Markup(MARK), title=title, command=command_line(), written=written, version=version, **content
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
        "duration": format_duration,
        "short": format_cell,
    }
    environment.filters["measure"] = lambda value, name: format_measure(name, value, format_number)
    environment.filters["quoted"] = lambda path: shlex.quote(str(path))
    environment.globals["nominal"] = NOMINAL
    environment.tests["numeric"] = lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    return environment
