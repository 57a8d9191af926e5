"""Interactive chart of a series and its anomaly events, redrawn in the browser by `templates/zoom.js`.

This module calculates the y coordinates; the script gets times and y coordinates and changes only the time range.
Without the script, for example on paper, the chart shows the whole series.
"""

import base64
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from lstm_ae.arrays import Array, Float64Array, Int64Array
from lstm_ae.detection.sketch import SeriesSketch, SketchLine, TableSketch, thin_line
from lstm_ae.formatting import format_number
from lstm_ae.plots.base import shorten

SCRIPT = (Path(__file__).parent / "templates" / "zoom.js").read_text(encoding="utf-8")

# The source expression of the script in the content security policy of a page.
HASH = "sha256-" + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()

# Largest number of points of all lines of a page, about seven bytes each.
MAX_POINTS = 120_000

# Sizes in pixels: initial width of the drawing, left and right margin, height of a panel, space above each panel for
# its name, and space below the last panel for the times.
WIDTH, LEFT, RIGHT, PANEL_HEIGHT, ABOVE, BELOW = 800, 64, 12, 92, 26, 30

# Approximate width of a character of the time axis, in pixels.
CHARACTER_WIDTH = 7.4

# Steps between ticks of the time axis, in milliseconds, up to a year.
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000

STEPS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000),
    *(_MINUTE * k for k in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * k for k in (1, 2, 3, 6, 12)),
    *(_DAY * k for k in (1, 2, 4, 7, 14, 28, 56, 91, 182, 365)),
)


class ChartPanel(NamedTuple):
    """Panel of one line.

    Args:
        name: name of the column.
        top: y coordinate of the top.
        bottom: y coordinate of the bottom.
        path: SVG path of the line over the whole series.
        marks: labels of the y axis and their y coordinates.
    """

    name: str
    top: int
    bottom: int
    path: str
    marks: Sequence[tuple[str, float]]


class InteractiveChart(NamedTuple):
    """Interactive chart of one series.

    Args:
        title: its title.
        text: its description.
        height: height of the drawing in pixels.
        panels: the panels from top to bottom, the scores last.
        threshold: y coordinate of the threshold; None without a panel.
        bands: x coordinate and width of each event.
        ticks: label and x coordinate of each tick; "" for a label that would overlap the previous one.
        data: data for the script, as JSON.
    """

    title: str
    text: str
    height: int
    panels: Sequence[ChartPanel]
    threshold: float | None
    bands: Sequence[tuple[float, float]]
    ticks: Sequence[tuple[str, float]]
    data: str


def interactive_charts(detection: TableSketch, max_points: int) -> list[InteractiveChart]:
    """Return the charts of a detection, one per series.

    Args:
        detection: the sketch of the detection.
        max_points: largest number of points of each line.
    """
    return [_series_chart(series, detection, max_points) for series in detection.series]


def _series_chart(series: SeriesSketch, detection: TableSketch, max_points: int) -> InteractiveChart:
    lines = [_thin(line, max_points) for line in series.lines]
    begin = min(int(line.times[0]) for line in lines)
    end = max(int(line.times[-1]) for line in lines)
    unit = _unit(detection, lines, series, begin)
    span = max(1, (end - begin) // unit)
    ms = unit / 1e6 if detection.dated else 1
    panels, line_data, threshold = [], [], None
    for k, line in enumerate(lines):
        top = ABOVE + k * (PANEL_HEIGHT + ABOVE)
        bottom = top + PANEL_HEIGHT
        scores = k == len(lines) - 1
        log = scores and detection.threshold > 0 and bool(np.nanmin(line.values, initial=np.inf) > 0)
        height = _y_scale(line.values, top, bottom, detection.threshold if scores else None, log=log)
        x, y = (line.times - begin) // unit, height(line.values)
        heights = [None if v != v else round(10 * v) for v in y.tolist()]
        line_data.append({"x": np.diff(x, prepend=0).tolist(), "y": heights})
        name = ("Score (logarithmic)" if log else "Score") if scores else shorten(line.name, 40)
        panels.append(ChartPanel(name, top, bottom, _path(x / span, y), list(_marks(line.values, height))))
        if scores:
            threshold = float(height(np.array([detection.threshold]))[0])
    events = [((first - begin) // unit, (last - begin) // unit) for first, last in series.events.tolist()]
    step = max(1, detection.step // unit)
    data = {
        "begin": begin / 1e6 if detection.dated else begin,
        "unit": ms,
        "span": span,
        "step": step,
        "dated": detection.dated,
        "lines": line_data,
        "events": events,
        "steps": STEPS,
    }
    return InteractiveChart(
        f"The series {series.series} and its events" if series.series else "The table and its events",
        _describe(series, detection, lines, begin, end),
        panels[-1].bottom + BELOW,
        panels,
        threshold,
        [_band(first / span, last / span, step / span) for first, last in events],
        list(_ticks(begin / 1e6 if detection.dated else begin, span * ms, detection.dated)),
        json.dumps(data, separators=(",", ":"), allow_nan=False),
    )


def _thin(line: SketchLine, max_points: int) -> SketchLine:
    if len(line.times) <= max_points:
        return line
    selected = thin_line(line.values, np.empty((0, 2)), 0, max_points)
    return line._replace(times=line.times[selected], values=line.values[selected])


def _unit(detection: TableSketch, lines: Sequence[SketchLine], series: SeriesSketch, begin: int) -> int:
    """Return the greatest common divisor of all times, which makes the numbers for the script small."""
    times = [*(line.times for line in lines), series.events.ravel()]
    return int(np.gcd.reduce(np.concatenate(times) - begin)) or max(1, detection.step)


Share = TypeVar("Share", float, Float64Array)


def _y_scale(
    values: Array, top: int, bottom: int, threshold: float | None, *, log: bool
) -> Callable[[ArrayLike], Float64Array]:
    """Return a function from values to y coordinates; its range includes the threshold."""
    finite = values[np.isfinite(values)].astype(float)
    if threshold is not None:
        finite = np.r_[finite, threshold]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    scale = np.log if log else np.asarray
    first, last = float(scale(low)), float(scale(high))
    width = (last - first) or 1.0

    def height(value: ArrayLike) -> Float64Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return bottom - 4 - (scale(np.asarray(value, float)) - first) / width * (bottom - top - 8)

    return height


def _marks(values: Array, height: Callable[[ArrayLike], Float64Array]) -> Iterator[tuple[str, float]]:
    """Yield the lowest and the highest value and their y coordinates."""
    finite = values[np.isfinite(values)]
    for value in dict.fromkeys((float(finite.min()), float(finite.max()))) if len(finite) else ():
        yield format_number(float(f"{value:.3g}")), round(float(height(np.array([value]))[0]), 1)


def _x(share: Share) -> Share:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _path(shares: Float64Array, heights: Float64Array) -> str:
    """Return the SVG path of a line, with the first, lowest, highest, and last value of each pixel column."""
    x = np.round(_x(shares), 1)
    column = np.floor(x).astype(int)
    selected: list[int] = []
    for first, last in _runs(column):
        part = heights[first:last]
        if np.isnan(part).any() or last - first <= 2:
            selected += range(first, last) if last - first <= 6 else [first, last - 1]
        else:
            selected += sorted({first, first + int(np.argmin(part)), first + int(np.argmax(part)), last - 1})
    pieces, pen = [], "M"
    for k in selected:
        if math.isnan(heights[k]):
            pen = "M"
            continue
        pieces.append(f"{pen}{x[k]:g} {heights[k]:.1f}")
        pen = "L"
    return "".join(pieces)


def _runs(column: Int64Array) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(column)) + 1
    bounds = [0, *edges.tolist(), len(column)]
    yield from itertools.pairwise(bounds)


def _band(first: float, last: float, step: float) -> tuple[float, float]:
    """Return the x coordinate and the width of an event, at least 2 pixels, with half a step on either side."""
    left, right = _x(first - step / 2), _x(last + step / 2)
    return round(float(left), 1), round(float(max(2, right - left)), 1)


def _ticks(begin: float, span: float, dated: bool) -> Iterator[tuple[str, float]]:
    """Yield label and x coordinate of about six ticks at round times; "" for a label that would overlap."""
    step = round_step(span / 6, dated)
    time, occupied = math.ceil(begin / step) * step, 0.0
    while time <= begin + span:
        x, text = round(float(_x((time - begin) / span)), 1), format_chart_time(time, step, dated)
        width = CHARACTER_WIDTH * len(text)
        first = x - (width if x > WIDTH - 50 else width / 2)
        yield text if first >= occupied else "", x
        occupied = first + width + CHARACTER_WIDTH if first >= occupied else occupied
        time += step


def round_step(minimum: float, dated: bool) -> float:
    """Return the smallest round step that is not below a minimum.

    Args:
        minimum: in milliseconds, or in rows.
        dated: whether the unit is milliseconds.

    >>> round_step(7_000, True), round_step(7, False)
    (10000, 10.0)
    """
    if dated and minimum <= STEPS[-1]:
        return next(step for step in STEPS if step >= minimum)
    minimum /= STEPS[-1] if dated else 1
    power = 10.0 ** math.floor(math.log10(max(minimum, 1)))
    step: float = next(k * power for k in (1, 2, 5, 10) if k * power >= minimum)
    return step * (STEPS[-1] if dated else 1)


def format_chart_time(time: float, step: float, dated: bool) -> str:
    """Return a time with the precision that a step needs, or a row number.

    Args:
        time: in milliseconds since 1970, or a row number.
        step: in milliseconds.
        dated: whether `time` is in milliseconds.

    >>> format_chart_time(1_700_000_000_000, 60_000, True)
    '11-14 22:13'
    """
    if not dated:
        return f"{time:,.0f}"
    text = str(np.datetime64(round(time), "ms"))
    if step >= _DAY:
        return text[:10]
    if step >= _MINUTE:
        return text[5:16].replace("T", " ")
    return text[11:19] if step >= 1000 else text[11:23]


def _describe(series: SeriesSketch, detection: TableSketch, lines: Sequence[SketchLine], begin: int, end: int) -> str:
    first, last = (format_chart_time(t / 1e6, _MINUTE, True) if detection.dated else f"row {t:,}" for t in (begin, end))
    if detection.dated:
        first, last = (f"{str(np.datetime64(t, 'ns'))[:4]}-{text}" for t, text in ((begin, first), (end, last)))
    count = len(series.events)
    events = "no event" if not count else "1 event" if count == 1 else f"{count:,} events"
    columns = ", ".join(shorten(line.name, 40) for line in lines[:-1])
    points = max(len(line.times) for line in lines)
    reduction = ""
    if points < series.rows:
        reduction = (
            f" Each line shows at most {points:,} points: the lowest and the highest of every interval, and all points"
            " around events."
        )
    clock = " UTC" if detection.dated and detection.zoned else ""
    return (
        f"{series.rows:,} rows from {first} to {last}{clock}: {columns}, and the score; "
        f"{events} above the threshold of {format_number(detection.threshold)}.{reduction}"
    )
