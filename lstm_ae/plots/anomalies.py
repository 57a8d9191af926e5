"""A table's columns with its events and the scores that they were found by, or with what a model gives back."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from lstm_ae.plots.base import BLACK, BLUE, GREY, VERMILLION, figure, label, legend, short, with_title
from lstm_ae.plots.lines import format_date_axis, time_axis_label, time_numbers

# Columns that are drawn; the others are in the scores.
MOST = 6

# Points of a line; of more, the lowest and the highest of each stretch are drawn.
POINTS = 4000


def anomalies(
    times: NDArray[Any],
    values: NDArray[Any],
    scores: NDArray[Any],
    threshold: float,
    events: Sequence[tuple[int, int]],
    *,
    names: Sequence[str],
    labels: NDArray[np.bool_] | None = None,
    zone: tzinfo | None = None,
    title: str = "",
) -> Figure:
    """One panel a column, and below them the scores with the threshold.

    Args:
        times: `(rows,)` datetime64, or row numbers.
        values: `(rows, features)`, of which the first `MOST` are drawn.
        scores: `(rows,)`, NaN where there is none.
        events: first and last row of each, marked in all panels.
        labels: `(rows,)` known anomalies, marked below the scores.
        zone: by whose clocks times are told.
        title: what is drawn, where that is not all.
    """
    shown = min(MOST, values.shape[1])
    drawn = figure(shown + 1, height=1.5 * shown + 2.2, sharex=True)
    dates = np.issubdtype(times.dtype, np.datetime64)
    x = time_numbers(times) if dates else np.asarray(times, float)
    step = float(np.median(np.diff(x))) if len(x) > 1 else 1.0
    for axes, column, name in zip(drawn.axes, values.T[:shown], names, strict=False):
        axes.plot(*thinned(x, column), color=BLUE, linewidth=0.8)
        label(axes, y=short(name, 18))
    lowest = drawn.axes[-1]
    lowest.plot(*thinned(x, scores), color=BLACK, linewidth=0.8)
    lowest.axhline(threshold, color=VERMILLION, linestyle="--", linewidth=1)
    if np.nanmin(scores) > 0:
        lowest.set_yscale("log")
    label(lowest, x=time_axis_label(times, zone), y="Score")
    for axes in drawn.axes:
        for first, last in events:
            axes.axvspan(x[first] - step / 2, x[last] + step / 2, color=VERMILLION, alpha=0.25, linewidth=0)
        if dates:
            format_date_axis(axes, zone=zone)
    handles: list[Any] = [lowest.lines[1], Patch(color=VERMILLION, alpha=0.25)]
    texts = ["threshold", "event"]
    if labels is not None and labels.any():
        bounds = np.flatnonzero(np.diff(np.r_[False, labels, False]))
        for first, end in bounds.reshape(-1, 2):
            lowest.axvspan(x[first], x[end - 1] + step, ymax=0.06, color=GREY, linewidth=0)
        handles.append(Patch(color=GREY))
        texts.append("labelled")
    legend(drawn, handles, texts)
    return with_title(drawn, title) if title else drawn


def reconstruction(
    times: NDArray[Any],
    values: NDArray[Any],
    reconstruction: NDArray[Any],
    *,
    names: Sequence[str],
    zone: tzinfo | None = None,
    title: str = "",
) -> Figure:
    """One panel a column: its values, and what a model gives back of them.

    Args:
        times: `(rows,)` datetime64, or row numbers.
        values, reconstruction: `(rows, features)`, NaN where there is none; the first `MOST` are drawn.
        zone, title: as for `anomalies`.
    """
    shown = min(MOST, values.shape[1])
    drawn = figure(shown, height=1.5 * shown + 0.9, sharex=True)
    dates = np.issubdtype(times.dtype, np.datetime64)
    x = time_numbers(times) if dates else np.asarray(times, float)
    for axes, column, again, name in zip(drawn.axes, values.T[:shown], reconstruction.T, names, strict=False):
        axes.plot(*thinned(x, column), color=BLACK, linewidth=0.8)
        axes.plot(*thinned(x, again), color=BLUE, linewidth=0.8)
        label(axes, y=short(name, 18))
        if dates:
            format_date_axis(axes, zone=zone)
    label(drawn.axes[-1], x=time_axis_label(times, zone))
    legend(drawn, drawn.axes[0].lines, ["Original", "Reconstruction"])
    return with_title(drawn, title) if title else drawn


def thinned(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The lowest and the highest point of each stretch, where there are more than can be seen."""
    if len(x) <= POINTS:
        return x, y
    size = -(-len(x) // (POINTS // 2))
    kept: list[int] = []
    for start in range(0, len(x), size):
        part = y[start : start + size]
        if np.isnan(part).all():
            kept.append(start)
        else:
            kept += sorted({start + int(np.nanargmin(part)), start + int(np.nanargmax(part))})
    return x[kept], y[kept]
