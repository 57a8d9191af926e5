"""The chart of a searched series that can be looked into: drawn whole here, and redrawn by `templates/zoom.js`.

Heights are settled here, once: what the script gets are times and heights, so that it moves and stretches only. Without
script, on paper and before it has run, the chart shows the whole series.
"""

import base64
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.detection.sketch import SeriesSketch, SketchLine, TableSketch, thin_line
from lstm_ae.formatting import format_number
from lstm_ae.plots.base import short

SCRIPT = (Path(__file__).parent / "templates" / "zoom.js").read_text(encoding="utf-8")

# What a page's content security policy calls it.
HASH = "sha256-" + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()

# Points of all lines of a page: some seven bytes each.
ROOM = 120_000

# The drawing: its width before a script knows better, where its lines begin and end, the height of a panel and of what
# stands above it, and the room below for the times.
WIDTH, LEFT, RIGHT, HIGH, ABOVE, BELOW = 800, 64, 12, 92, 26, 30

# The width of a letter below it, roughly.
LETTER = 7.4

# Steps between marks of the time, in milliseconds, up to a year.
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000

STEPS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000),
    *(_MINUTE * k for k in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * k for k in (1, 2, 3, 6, 12)),
    *(_DAY * k for k in (1, 2, 4, 7, 14, 28, 56, 91, 182, 365)),
)


class ChartPanel(NamedTuple):
    """A line's place: its name, top and bottom, its path over the whole, and marks with their heights."""

    name: str
    top: int
    bottom: int
    path: str
    marks: Sequence[tuple[str, float]]


class InteractiveChart(NamedTuple):
    """A chart.

    Args:
        title, text: its name, and what it shows in words.
        height: of the drawing.
        panels: from the top, the scores last.
        threshold: its height; None where it lies outside.
        bands: the events over the whole, left edge and width.
        ticks: the times over the whole, "" where there is no room for one, and where they stand.
        data: for the script, as JSON.
    """

    title: str
    text: str
    height: int
    panels: Sequence[ChartPanel]
    threshold: float | None
    bands: Sequence[tuple[float, float]]
    ticks: Sequence[tuple[str, float]]
    data: str


def interactive_charts(found: TableSketch, points: int) -> list[InteractiveChart]:
    """The charts of a search, one a series; `points` of each line at most."""
    return [_zoom(each, found, points) for each in found.series]


def _zoom(series: SeriesSketch, found: TableSketch, points: int) -> InteractiveChart:
    lines = [_fewer(line, points) for line in series.lines]
    begin = min(int(line.times[0]) for line in lines)
    end = max(int(line.times[-1]) for line in lines)
    unit = _unit(found, lines, series, begin)
    span = max(1, (end - begin) // unit)
    ms = unit / 1e6 if found.dated else 1
    panels, told, threshold = [], [], None
    for k, line in enumerate(lines):
        top = ABOVE + k * (HIGH + ABOVE)
        scores = k == len(lines) - 1
        log = scores and found.threshold > 0 and bool(np.nanmin(line.values, initial=np.inf) > 0)
        height = _heights(line.values, top, top + HIGH, found.threshold if scores else None, log=log)
        x, y = (line.times - begin) // unit, height(line.values)
        told.append({"x": np.diff(x, prepend=0).tolist(), "y": [None if v != v else round(10 * v) for v in y.tolist()]})
        name = ("Score (logarithmic)" if log else "Score") if scores else short(line.name, 40)
        panels.append(ChartPanel(name, top, top + HIGH, _path(x / span, y), list(_marks(line.values, height))))
        if scores:
            threshold = float(height(np.array([found.threshold]))[0])
    events = [((first - begin) // unit, (last - begin) // unit) for first, last in series.events.tolist()]
    around = max(1, found.step // unit)
    data = {
        "begin": begin / 1e6 if found.dated else begin,
        "unit": ms,
        "span": span,
        "step": around,
        "dated": found.dated,
        "lines": told,
        "events": events,
        "steps": STEPS,
    }
    return InteractiveChart(
        f"The series {series.series} and its events" if series.series else "The table and its events",
        _words(series, found, lines, begin, end),
        panels[-1].bottom + BELOW,
        panels,
        threshold,
        [_band(first / span, last / span, around / span) for first, last in events],
        list(_ticks(begin / 1e6 if found.dated else begin, span * ms, found.dated)),
        json.dumps(data, separators=(",", ":"), allow_nan=False),
    )


def _fewer(line: SketchLine, points: int) -> SketchLine:
    if len(line.times) <= points:
        return line
    kept = thin_line(line.values, np.empty((0, 2)), 0, points)
    return line._replace(times=line.times[kept], values=line.values[kept])


def _unit(found: TableSketch, lines: Sequence[SketchLine], series: SeriesSketch, begin: int) -> int:
    """The largest time of which all are multiples: the script gets small numbers then."""
    every = [*(line.times for line in lines), series.events.ravel()]
    return int(np.gcd.reduce(np.concatenate(every) - begin)) or max(1, found.step)


def _heights(values: Any, top: int, bottom: int, threshold: float | None, *, log: bool) -> Any:
    """A function from values to heights in the drawing, where the threshold has its place as well."""
    finite = values[np.isfinite(values)].astype(float)
    if threshold is not None:
        finite = np.r_[finite, threshold]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    scale = np.log if log else np.asarray
    first, last = float(scale(low)), float(scale(high))
    width = (last - first) or 1.0

    def height(of: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            return bottom - 4 - (scale(np.asarray(of, float)) - first) / width * (bottom - top - 8)

    return height


def _marks(values: Any, height: Any) -> Iterator[tuple[str, float]]:
    """The lowest and the highest value, and their heights."""
    finite = values[np.isfinite(values)]
    for value in dict.fromkeys((float(finite.min()), float(finite.max()))) if len(finite) else ():
        yield format_number(float(f"{value:.3g}")), round(float(height(np.array([value]))[0]), 1)


def _across(share: Any) -> Any:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _path(shares: Any, heights: Any) -> str:
    """The line over the whole: of what falls on one pixel, the lowest and the highest."""
    x = np.round(_across(shares), 1)
    column = np.floor(x).astype(int)
    kept: list[int] = []
    for first, last in _runs(column):
        part = heights[first:last]
        if np.isnan(part).any() or last - first <= 2:
            kept += range(first, last) if last - first <= 6 else [first, last - 1]
        else:
            kept += sorted({first, first + int(np.argmin(part)), first + int(np.argmax(part)), last - 1})
    pieces, pen = [], "M"
    for k in kept:
        if math.isnan(heights[k]):
            pen = "M"
            continue
        pieces.append(f"{pen}{x[k]:g} {heights[k]:.1f}")
        pen = "L"
    return "".join(pieces)


def _runs(column: Any) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(column)) + 1
    bounds = [0, *edges.tolist(), len(column)]
    yield from itertools.pairwise(bounds)


def _band(first: float, last: float, step: float) -> tuple[float, float]:
    """An event's left edge and width; half a row on either side, and never too narrow to be seen."""
    left, right = _across(first - step / 2), _across(last + step / 2)
    return round(float(left), 1), round(float(max(2, right - left)), 1)


def _ticks(begin: float, span: float, dated: bool) -> Iterator[tuple[str, float]]:
    """Times at round steps, about six of them; "" for one that has no room behind the one before."""
    step = round_step(span / 6, dated)
    place, taken = math.ceil(begin / step) * step, 0.0
    while place <= begin + span:
        x, text = round(float(_across((place - begin) / span)), 1), format_chart_time(place, step, dated)
        wide = LETTER * len(text)
        first = x - (wide if x > WIDTH - 50 else wide / 2)
        yield text if first >= taken else "", x
        taken = first + wide + LETTER if first >= taken else taken
        place += step


def round_step(least: float, dated: bool) -> float:
    """The smallest round step that is no smaller."""
    if dated and least <= STEPS[-1]:
        return next(step for step in STEPS if step >= least)
    least /= STEPS[-1] if dated else 1
    power = 10.0 ** math.floor(math.log10(max(least, 1)))
    step: float = next(k * power for k in (1, 2, 5, 10) if k * power >= least)
    return step * (STEPS[-1] if dated else 1)


def format_chart_time(place: float, step: float, dated: bool) -> str:
    """A time at a step, in as few characters as it takes; or a row's number."""
    if not dated:
        return f"{place:,.0f}"
    text = str(np.datetime64(round(place), "ms"))
    if step >= _DAY:
        return text[:10]
    if step >= _MINUTE:
        return text[5:16].replace("T", " ")
    return text[11:19] if step >= 1000 else text[11:23]


def _words(series: SeriesSketch, found: TableSketch, lines: Sequence[SketchLine], begin: int, end: int) -> str:
    first, last = (format_chart_time(t / 1e6, _MINUTE, True) if found.dated else f"row {t:,}" for t in (begin, end))
    if found.dated:
        first, last = (f"{str(np.datetime64(t, 'ns'))[:4]}-{text}" for t, text in ((begin, first), (end, last)))
    count = len(series.events)
    events = "no event" if not count else "1 event" if count == 1 else f"{count:,} events"
    columns = ", ".join(short(line.name, 40) for line in lines[:-1])
    kept = max(len(line.times) for line in lines)
    fewer = ""
    if kept < series.rows:
        fewer = (
            f" Of each line {kept:,} points at most are kept, the lowest and the highest of every stretch"
            " and all around events."
        )
    clock = " UTC" if found.dated and found.zoned else ""
    return (
        f"{series.rows:,} rows from {first} to {last}{clock}: {columns}, and the score; "
        f"{events} above the threshold of {format_number(found.threshold)}.{fewer}"
    )
