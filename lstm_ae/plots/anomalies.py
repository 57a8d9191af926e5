"""Figure of a table with anomaly events and scores."""

from collections.abc import Sequence
from datetime import tzinfo

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lstm_ae.arrays import Array, BoolArray
from lstm_ae.plots.base import BLACK, BLUE, GRAY, VERMILLION, figure, label, legend, shorten, with_title
from lstm_ae.plots.lines import format_date_axis, time_axis_label, time_numbers

# Largest number of columns of a figure.
MAX_COLUMNS = 6

# Number of points of a line above which only the extremes of each interval are drawn.
MAX_POINTS = 4000

# Smallest drawn width of an event as a share of the time axis, a few pixels.
MIN_EVENT_WIDTH = 0.003


def anomalies(
    times: Array,
    values: Array,
    scores: Array,
    threshold: float,
    events: Sequence[tuple[int, int]],
    *,
    names: Sequence[str],
    segment: Array | None = None,
    labels: BoolArray | None = None,
    zone: tzinfo | None = None,
    title: str = "",
) -> Figure:
    """Draw the columns of a table, one panel each, and below them the scores with the threshold.

    Args:
        times: `(rows,)` datetime64 or row numbers.
        values: `(rows, features)`, of which the first `MAX_COLUMNS` are drawn.
        scores: `(rows,)`, NaN for a row without a score.
        threshold: the threshold of the scores.
        events: first and last row of each event, marked in all panels and above them.
        names: names of the columns.
        segment: `(rows,)` segment of each row; lines break where it changes. None for one segment.
        labels: `(rows,)` known anomalies, marked below the scores.
        zone: time zone of the axis.
        title: title of the figure, such as the drawn selection.
    """
    shown = min(MAX_COLUMNS, values.shape[1])
    fig = figure(shown + 1, height=1.5 * shown + 2.2, sharex=True)
    dates = np.issubdtype(times.dtype, np.datetime64)
    x = time_numbers(times) if dates else np.asarray(times, float)
    step = float(np.median(np.diff(x))) if len(x) > 1 else 1.0
    for axes, column, name in zip(fig.axes, values.T[:shown], names, strict=False):
        axes.plot(*line_points(x, column, segment), color=BLUE, linewidth=0.8)
        label(axes, y=shorten(name, 18))
    lowest = fig.axes[-1]
    lowest.plot(*line_points(x, scores, segment), color=BLACK, linewidth=0.8)
    lowest.axhline(threshold, color=VERMILLION, linestyle="--", linewidth=1)
    if np.nanmin(scores) > 0:
        lowest.set_yscale("log")
    label(lowest, x=time_axis_label(times, zone), y="Score")
    top = fig.axes[0]
    for first, last in events:
        center, width = (x[first] + x[last]) / 2, max(x[last] - x[first] + step, MIN_EVENT_WIDTH * np.ptp(x))
        for axes in fig.axes:
            axes.axvspan(center - width / 2, center + width / 2, color=VERMILLION, alpha=0.25, linewidth=0)
        top.plot(center, 1.03, "v", color=VERMILLION, ms=4, transform=top.get_xaxis_transform(), clip_on=False)
    if dates:
        for axes in fig.axes:
            format_date_axis(axes, zone=zone)
    handles: list[Artist] = [lowest.lines[1], Patch(color=VERMILLION, alpha=0.25)]
    texts = ["threshold", "event, from the first row that causes it"]
    if labels is not None and labels.any():
        bounds = np.flatnonzero(np.diff(np.r_[False, labels, False]))
        for first, end in bounds.reshape(-1, 2):
            lowest.axvspan(x[first], x[end - 1] + step, ymax=0.06, color=GRAY, linewidth=0)
        handles.append(Patch(color=GRAY))
        texts.append("labeled anomaly")
    legend(fig, handles, texts)
    return with_title(fig, title) if title else fig


def line_points(x: Array, y: Array, segment: Array | None = None) -> tuple[Array, Array]:
    """Return the points of a line as `reduce_points` does, with a NaN between two segments, which breaks the line."""
    begins = np.flatnonzero(np.diff(np.zeros(len(x)) if segment is None else segment)) + 1
    pieces = [reduce_points(*piece, len(x)) for piece in zip(np.split(x, begins), np.split(y, begins), strict=True)]
    xs, ys = [pieces[0][0]], [pieces[0][1]]
    for more_x, more_y in pieces[1:]:
        xs += [more_x[:1], more_x]
        ys += [np.array([np.nan]), more_y]
    return np.concatenate(xs), np.concatenate(ys)


def reduce_points(x: Array, y: Array, points: int | None = None) -> tuple[Array, Array]:
    """Return the lowest and the highest point of each interval if there are more than `MAX_POINTS` points.

    Args:
        x, y: `(points,)` coordinates.
        points: number of points of the whole line if these are a piece of it.
    """
    points = points or len(x)
    if points <= MAX_POINTS:
        return x, y
    size = -(-points // (MAX_POINTS // 2))
    intervals = np.pad(y, (0, -len(y) % size), constant_values=np.nan).reshape(-1, size)
    missing, starts = np.isnan(intervals), np.arange(0, len(y), size)
    lowest, highest = np.where(missing, np.inf, intervals), np.where(missing, -np.inf, intervals)
    indices = np.unique([starts + lowest.argmin(axis=1), starts + highest.argmax(axis=1)])
    return x[indices], y[indices]
