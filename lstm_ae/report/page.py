"""One HTML file of runs and searches, which needs nothing else: no network, no script, no other file.

The prose stands in `templates/`, filled with what `gather` and `searches` have read; everything is escaped there.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from lstm_ae.about import versions
from lstm_ae.errors import ConfigError
from lstm_ae.files import write
from lstm_ae.report import charts
from lstm_ae.report.charts import Chart
from lstm_ae.report.compare import side_by_side
from lstm_ae.report.gather import RunFacts, gather
from lstm_ae.report.measures import WANTED
from lstm_ae.report.pictures import Picture, fitting
from lstm_ae.report.searches import SearchFacts, gather_search
from lstm_ae.report.vectors import svg
from lstm_ae.run import open_run
from lstm_ae.search.folder import is_search
from lstm_ae.search.presentation import draw

# A file with this line was written here and may be written anew.
MARK = '<meta name="generator" content="lstmae report">'
# Bytes that figures may take together: a page must pass as an attachment.
ROOM = 4_000_000
# Rows of a table of epochs; of more, every n-th is shown.
EPOCHS = 200

Facts = RunFacts | SearchFacts


class Page(NamedTuple):
    """A report: its HTML, and the names of figures that it had no room for."""

    html: str
    left_out: tuple[str, ...]


def gather_all(places: Sequence[str]) -> list[Facts]:
    """Runs and searches, by their directories, or "latest" for the latest finished run."""
    paths = [open_run(place).directory if place == "latest" else Path(place) for place in places]
    return [gather_search(path) if is_search(path) else gather(path) for path in paths]


def render(subjects: Sequence[Facts], *, command: str, written: str) -> Page:
    """The report of one or more runs and searches.

    Args:
        command: what makes this report again.
        written: when that was, for people.
    """
    runs = [each for each in subjects if isinstance(each, RunFacts)]
    searches = [each for each in subjects if isinstance(each, SearchFacts)]
    told = [*runs, *(search.winner for search in searches if search.winner)]
    pictures = [picture for run in told for picture in run.pictures if not _redrawn(picture, run)]
    kept, left = fitting(pictures, ROOM)
    shown = {id(before): after for before, after in _pairs(pictures, kept, left)}
    histories = {run.name: run.history for run in runs if run.history}
    page = (
        _templates()
        .get_template("page.html")
        .render(
            mark=Markup(MARK),
            title=_title(subjects),
            subjects=[_run(each, shown) if isinstance(each, RunFacts) else _search(each, shown) for each in subjects],
            compared=side_by_side(runs) if len(runs) > 1 else None,
            together=charts.together(histories) if len(histories) > 1 else [],
            command=command,
            written=written,
            version=versions()["lstm-ae"],
        )
    )
    return Page(page, tuple(picture.name for picture in left))


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


def _pairs(
    all_: Sequence[Picture], kept: Sequence[Picture], left: Sequence[Picture]
) -> Iterator[tuple[Picture, Picture | None]]:
    """Each picture with what the page has of it."""
    rest = list(kept)
    gone = [(picture.name, picture.shows, picture.command) for picture in left]
    for picture in all_:
        if (key := (picture.name, picture.shows, picture.command)) in gone:
            gone.remove(key)
            yield picture, None
        else:
            yield picture, rest.pop(0)


def _title(subjects: Sequence[Facts]) -> str:
    if len(subjects) == 1:
        return subjects[0].name
    return (
        f"{len(subjects)} runs" if all(isinstance(each, RunFacts) for each in subjects) else f"{len(subjects)} results"
    )


def _run(run: RunFacts, shown: Mapping[int, Picture | None]) -> dict[str, Any]:
    drawn = charts.training(run.history, run.training.best_epoch if run.training else None) if run.history else []
    threshold = run.threshold.value if run.threshold else None
    found = run.detected
    step = -(-len(run.history.get("epoch", ())) // EPOCHS) or 1
    return {
        "kind": "run",
        "run": run,
        "curves": drawn,
        "epochs": {"step": step, "rows": _epochs(run, step)},
        "scores": charts.scores(run.scores, threshold) if run.scores else None,
        "detected": charts.detected(found.times, found.scores, found.anomalies, _used(run)) if found else None,
        "redrawn": [picture for picture in run.pictures if _redrawn(picture, run)],
        "pictures": [shown[id(picture)] for picture in run.pictures if shown.get(id(picture))],
        "left": [picture for picture in run.pictures if id(picture) in shown and not shown[id(picture)]],
    }


def _redrawn(picture: Picture, run: RunFacts) -> bool:
    """Whether the page draws a figure anew, from the run's history."""
    return picture.name in ("loss", "curves") and bool(run.history)


def _epochs(run: RunFacts, step: int) -> list[Sequence[float]]:
    """Every `step`-th epoch, the last one, and the one whose weights were kept."""
    rows = list(zip(*run.history.values(), strict=True))
    best = run.training.best_epoch if run.training else None
    epochs = run.history.get("epoch", ())
    return [row for k, row in enumerate(rows) if k % step == 0 or k == len(rows) - 1 or epochs[k] == best]


def _used(run: RunFacts) -> float | None:
    """The run's threshold where the detection has gone by it, and by no other."""
    if not run.threshold or not run.detected:
        return None
    above = run.detected.scores > run.threshold.value
    return run.threshold.value if (above == run.detected.anomalies).all() else None


def _search(search: SearchFacts, shown: Mapping[int, Picture | None]) -> dict[str, Any]:
    return {
        "kind": "search",
        "search": search,
        "charts": list(_drawn(search)) if search.trials else [],
        "winner": _run(search.winner, shown) if search.winner else None,
    }


def _drawn(search: SearchFacts) -> Iterator[Chart]:
    best, objective = search.best, _words(search.plan.objective.name)
    setting = ", ".join(f"{_words(name)} {_number(value)}" for name, value in best.values.items()) if best else ""
    found = f" The best, {_number(best.score)}, is that of {setting}." if best else " No trial has a score."
    options = ", ".join(map(_words, search.axes))
    words = {
        "grid": ("All settings", f"The {objective} of every setting of {options}; the darker, the better."),
        "trials": ("All trials", f"Each trial as a line across {options} and its {objective}."),
        "curves": ("All trainings", f"The {objective} of each training over the epochs."),
    }
    for name, figure in draw(search.plan, search.trials).items():
        title, text = words[name]
        yield Chart(title, text + found, svg(figure, title=title, text=text + found, themed=False))


@functools.cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("lstm_ae.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": _number, "words": _words, "svg": _svg, "duration": _duration}
    made.globals |= {"wanted": WANTED}
    made.tests["figure"] = lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    return made


def _number(value: Any) -> str:
    """A number in four digits; anything else as it is, and "-" for none."""
    if value is None or value != value:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return text.replace("-", "−")


def _words(name: str) -> str:
    return str(name).replace("val_", "validation ").replace("_", " ")


def _svg(chart: Chart) -> Markup:
    # matplotlib has escaped every text in it.
    return Markup(chart.svg)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
