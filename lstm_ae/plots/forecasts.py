"""Figures of forecasts: values with intervals, against the truth and the baseline, and measures by step."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from itertools import cycle

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from lstm_ae.arrays import Array
from lstm_ae.plots.base import BLACK, BLUE, GRAY, VERMILLION, Style, figure, label, largest, legend, shorten, with_title
from lstm_ae.plots.lines import (
    MODEL,
    PERSISTENCE,
    ZERO,
    format_date_axis,
    time_axis_label,
    time_numbers,
)

PALE = "#dbe6f0"


def _describe_band(ahead: Array, margin: Array) -> str:
    """Describe the band and its end."""
    available = np.flatnonzero(np.isfinite(margin))
    if not len(available):
        return "95% interval: not available"
    end = available[-1] + 1
    return "band: 95% interval" + (f", none from step {ahead[end]:g} on" if end < len(ahead) else "")


def coverage(steps: ArrayLike, covered: Mapping[int, ArrayLike]) -> Figure:
    """Draw the coverage of the prediction intervals at each step with the nominal coverage.

    Args:
        steps: `(steps,)` days ahead.
        covered: `(steps,)` shares of actual values within the interval, by level in percent.
    """
    ahead = np.asarray(steps, float)
    fig = figure(height=2.6)
    axes = fig.axes[0]
    lines = []
    styles = cycle(zip((BLUE, VERMILLION, BLACK, GRAY), "sDo^", strict=True))
    for (level, shares), (color, marker) in zip(sorted(covered.items()), styles, strict=False):
        axes.axhline(level, color=color, linestyle="--", linewidth=0.9)
        size = 4 if len(ahead) <= 40 else 0
        lines += axes.plot(ahead, 100 * np.asarray(shares, float), color=color, marker=marker, markersize=size)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_ylim(top=100)
    label(axes, x="Days ahead", y="Coverage (%)", title="Share of days within the interval (dashed: nominal)")
    legend(fig, lines, [f"{level}% interval" for level in sorted(covered)])
    return fig


def forecast_panels(
    times: Array,
    past: Array,
    times_ahead: Array,
    future: Array,
    naive: Array,
    *,
    baseline: str,
    names: Sequence[str],
    quantities: Sequence[str],
    truth: Array | None = None,
    intervals: Mapping[int, tuple[Array, Array]],
    zone: tzinfo | None = None,
    title: str = "",
) -> Figure:
    """Draw the actual values and the forecast with its intervals, one panel per forecast.

    Args:
        times: `(n, steps)` datetime64 or row numbers.
        past: `(n, steps)` past values, NaN where missing.
        times_ahead: `(n, horizon)` datetime64 or row numbers.
        future: `(n, horizon)` forecasts of the model.
        naive: `(n, horizon)` forecasts of the baseline.
        baseline: name of the baseline.
        names: `(n,)` titles of the panels.
        quantities: `(n,)` labels of the y axes.
        truth: `(n, horizon)` actual values; None if they are unknown.
        intervals: lower and upper ends, each `(n, horizon)`, by level in percent.
        zone: time zone of the axis.
        title: title of the figure, such as the drawn selection.
    """
    fig = figure(len(past), height=1.7 * len(past) + 0.9)
    dates = np.issubdtype(times.dtype, np.datetime64)
    for k, axes in enumerate(fig.axes):
        x, ahead = (time_numbers(each[k]) if dates else np.asarray(each[k], float) for each in (times, times_ahead))
        axes.axvspan(x[-1], ahead[-1], color="#f1f1f1", zorder=0, linewidth=0)
        known = (x, past[k]) if truth is None else (np.r_[x, ahead], np.r_[past[k], truth[k]])
        actual = axes.plot(*known, color=BLACK, linewidth=1.0)[0]
        bands = [
            axes.fill_between(ahead, low[k], high[k], color=color, linewidth=0, label=f"{level}%")
            for color, (level, (low, high)) in zip(
                colormaps["Blues"](np.linspace(0.15, 0.45, len(intervals))),
                sorted(intervals.items(), reverse=True),
                strict=True,
            )
        ]
        marker: Style = {"marker": "D", "markersize": 3.2} if len(ahead) == 1 else {}
        model = axes.plot(ahead, future[k], **MODEL, **marker, zorder=4)[0]
        base = axes.plot(ahead, naive[k], **PERSISTENCE, **marker, zorder=3)[0]
        if dates:
            format_date_axis(axes, zone=zone)
        label(axes, y=shorten(quantities[k], 18), title=shorten(names[k]))
    label(fig.axes[-1], x=time_axis_label(times, zone))
    # Intervals that are not available have no entry in the legend.
    available = {f"{level}%" for level, ends in intervals.items() if np.isfinite(ends).any()}
    bands = [band for band in bands if band.get_label() in available]
    handles = [actual, model, base, *bands]
    labels = ["Past" if truth is None else "Actual", "Forecast", baseline[0].upper() + baseline[1:]]
    legend(fig, handles, [*labels, *(f"{band.get_label()} interval" for band in bands)])
    return with_title(fig, title) if title else fig


def error_by_step(errors: Mapping[str, Array], baseline: str, margin: ArrayLike | None = None) -> Figure:
    """Draw the error of each predictor at each forecast step, and below it the skill of the model.

    Args:
        errors: `(horizon,)` mean squared errors of scaled values by predictor; the model, first, has the name "".
        baseline: the baseline of the skill.
        margin: `(horizon,)` half the width of the 95% interval of the skill, NaN where unknown; None for no band.
    """
    fig = figure(2, height=3.7, sharex=True, height_ratios=[1.5, 1])
    upper, lower = fig.axes
    ahead = np.arange(1, len(errors[""]) + 1)
    styles: list[Style] = [
        MODEL,
        PERSISTENCE,
        {"color": BLUE, "linewidth": 1.0},
        {"color": BLACK, "linewidth": 0.8},
    ]
    marker: Style = {"marker": "o", "markersize": 3.5} if len(ahead) <= 30 else {}
    # The model covers a baseline that it equals.
    lines = [
        upper.plot(ahead, np.sqrt(values), **line_style, **marker, zorder=5 - order)[0]
        for order, (values, line_style) in enumerate(zip(errors.values(), styles, strict=False))
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        gained = 100 * (1 - errors[""] / errors[baseline])
    lower.axhline(0, **ZERO)
    lower.plot(ahead, gained, **MODEL, **marker)
    limit, band = largest(gained, 2), ""
    if margin is not None:
        half_width = 100 * np.asarray(margin, float)
        lower.fill_between(ahead, gained - half_width, gained + half_width, color=PALE, linewidth=0)
        limit = max(limit, largest([*(gained - half_width), *(gained + half_width)]))
        band = f" ({_describe_band(ahead, half_width)})"
    lower.set_ylim(-1.15 * limit, 1.15 * limit)
    lower.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    label(upper, y="RMSE (scaled)")
    label(lower, x="Steps ahead", y="Skill (%)", title=f"Above 0: better than {baseline}{band}")
    names = ["Model", *(name[0].upper() + name[1:] for name in list(errors)[1:])]
    legend(fig, lines, names)
    fig.align_ylabels()
    return fig
