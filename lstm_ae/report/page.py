"""One HTML file of runs and searches, which needs nothing else: no network and no other file.

Its only script lets a reader look into the charts of detections, and is there only with them.

The prose stands in `templates/`, filled with what `gather` and `searches` have read; everything is escaped there.
"""

import functools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from lstm_ae.about import versions
from lstm_ae.errors import ConfigError
from lstm_ae.files import write
from lstm_ae.report import charts, zoom
from lstm_ae.report.charts import Chart
from lstm_ae.report.compare import side_by_side
from lstm_ae.report.gather import RunFacts, gather
from lstm_ae.report.measures import WANTED
from lstm_ae.report.pictures import fitting
from lstm_ae.report.searches import SearchFacts, gather_search
from lstm_ae.report.tables import EVENTS
from lstm_ae.report.views import embedded, view_run, view_search
from lstm_ae.run import open_run
from lstm_ae.search.folder import is_search
from lstm_ae.words import duration, epoch_name, number, short, words

# A file with this line was written here and may be written anew.
MARK = '<meta name="generator" content="lstmae report">'
# Bytes that figures may take together: a page must pass as an attachment.
ROOM = 4_000_000

Facts = RunFacts | SearchFacts


class Page(NamedTuple):
    """A report: its HTML, and the names of figures that it had no room for."""

    html: str
    left_out: tuple[str, ...]


def gather_all(places: Sequence[str]) -> list[Facts]:
    """Runs and searches, by their directories, or "latest" for the latest finished run."""
    paths = dict.fromkeys(open_run(place).directory if place == "latest" else Path(place) for place in places)
    return [gather_search(path) if is_search(path) else gather(path) for path in paths]


def render(subjects: Sequence[Facts], *, command: str, written: str, room: int = ROOM) -> Page:
    """The report of one or more runs and searches.

    Args:
        command: what makes this report again.
        written: when that was, for people.
        room: bytes that figures may take together.
    """
    runs = [each for each in subjects if isinstance(each, RunFacts)]
    owners = [run for each in subjects for run in ([each] if isinstance(each, RunFacts) else each.runs.values())]
    pictures = [picture for run in owners for picture in embedded(run)]
    fitted = fitting(pictures, room)
    rest = iter(fitted)
    lines = sum(len(each.lines) for run in owners if run.detection for each in run.detection.series)
    points = zoom.ROOM // max(1, lines)
    views = [
        view_run(each, rest, points) if isinstance(each, RunFacts) else view_search(each, rest, points)
        for each in subjects
    ]
    histories = {run.name: run.history for run in runs if run.history}
    one_study = len({run.asked.task if run.asked else "" for run in runs}) == 1
    html = (
        templates()
        .get_template("page.html")
        .render(
            mark=Markup(MARK),
            title=_title(subjects),
            subjects=views,
            compared=side_by_side(runs) if len(runs) > 1 else None,
            together=charts.together(histories) if one_study and len(histories) > 1 else (),
            script=Markup(zoom.SCRIPT) if lines else "",
            script_hash=zoom.HASH,
            command=command,
            written=written,
            version=versions()["lstm-ae"],
        )
    )
    return Page(html, tuple(picture.name for picture, kept in zip(pictures, fitted, strict=True) if not kept))


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
def templates() -> jinja2.Environment:
    """The templates of pages, with the filters that they use."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("lstm_ae.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "words": words,
        "epoch_name": epoch_name,
        "svg": _svg,
        "duration": duration,
        "short": short,
    }
    made.filters["quoted"] = lambda path: shlex.quote(str(path))
    made.globals |= {"wanted": WANTED, "most": EVENTS, "width": zoom.WIDTH, "left": zoom.LEFT, "right": zoom.RIGHT}
    made.globals["letter"] = zoom.LETTER
    made.tests["figure"] = _is_figure
    return made


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _svg(chart: Chart) -> Markup:
    # matplotlib has escaped every text in it.
    return Markup(chart.svg)
