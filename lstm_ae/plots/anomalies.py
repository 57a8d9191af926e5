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
    columns = min(MAX_COLUMNS, values.shape[1])
    fig = figure(columns + 1, height=1.5 * columns + 2.2, sharex=True)
    dates = np.issubdtype(times.dtype, np.datetime64)
    x = time_numbers(times) if dates else np.asarray(times, float)
    step = float(np.median(np.diff(x))) if len(x) > 1 else 1.0
    for axes, column, name in zip(fig.axes, values.T[:columns], names, strict=False):
        axes.plot(*break_line(x, column, segment), color=BLUE, linewidth=0.8)
        label(axes, y=shorten(name, 18))
    lowest = fig.axes[-1]
    lowest.plot(*break_line(x, scores, segment), color=BLACK, linewidth=0.8)
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
    texts = ["threshold", "event"]
    if labels is not None and labels.any():
        bounds = np.flatnonzero(np.diff(np.r_[False, labels, False]))
        for first, end in bounds.reshape(-1, 2):
            lowest.axvspan(x[first], x[end - 1] + step, ymax=0.06, color=GRAY, linewidth=0)
        handles.append(Patch(color=GRAY))
        texts.append("labeled anomaly")
    legend(fig, handles, texts)
    return with_title(fig, title) if title else fig


def break_line(x: Array, y: Array, segment: Array | None) -> tuple[Array, Array]:
    """Return the points of a line with a NaN between two segments, which breaks the line."""
    if segment is None:
        return x, y
    begins = np.flatnonzero(np.diff(segment)) + 1
    return np.insert(x, begins, x[begins]), np.insert(y, begins, np.nan)
