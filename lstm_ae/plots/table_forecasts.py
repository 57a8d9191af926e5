"""Figures of forecasts of a table: past values, forecasts with intervals, and the error by step."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstm_ae.arrays import Array
from lstm_ae.plots.base import BLACK, GRAY, Style, figure, label, largest, legend, shorten, with_title
from lstm_ae.plots.forecasts import interval_colors
from lstm_ae.plots.lines import MODEL, PERSISTENCE, TRUTH, ZERO, format_date_axis, time_axis_label, time_numbers


def forecasts(
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
    """Draw the end of the past and the forecast with its intervals, one panel per forecast.

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
        known = axes.plot(x, past[k], color=BLACK, linewidth=1.0)[0]
        bands = [
            axes.fill_between(ahead, low[k], high[k], color=color, linewidth=0, label=f"{level}%")
            for color, (level, (low, high)) in zip(
                interval_colors(len(intervals)), sorted(intervals.items(), reverse=True), strict=True
            )
        ]
        actual = [] if truth is None else axes.plot(ahead, truth[k], **TRUTH, zorder=2)
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
    handles = [known, *actual, model, base, *bands]
    labels = ["Past", *(["Actual"] if actual else []), "Forecast", baseline[0].upper() + baseline[1:]]
    legend(fig, handles, [*labels, *(f"{band.get_label()} interval" for band in bands)])
    return with_title(fig, title) if title else fig


def by_step(errors: Mapping[str, Array], baseline: str) -> Figure:
    """Draw the error of each predictor at each forecast step, and below it the skill of the model.

    Args:
        errors: `(horizon,)` mean squared errors of scaled values by predictor; the model, first, has the name "".
        baseline: the baseline of the skill.
    """
    fig = figure(2, height=3.7, sharex=True, height_ratios=[1.5, 1])
    upper, lower = fig.axes
    ahead = np.arange(1, len(errors[""]) + 1)
    styles: list[Style] = [
        MODEL,
        PERSISTENCE,
        {"color": GRAY, "linewidth": 1.0},
        {"color": BLACK, "linewidth": 0.8},
    ]
    marker: Style = {"marker": "o", "markersize": 3.5} if len(ahead) <= 30 else {}
    lines = [
        upper.plot(ahead, np.sqrt(values), **line_style, **marker)[0]
        for values, line_style in zip(errors.values(), styles, strict=False)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        gained = 1 - errors[""] / errors[baseline]
    lower.axhline(0, **ZERO)
    lower.plot(ahead, gained, color=BLACK, linewidth=1.2, **marker)
    limit = largest(gained, 0.02)
    lower.set_ylim(-1.15 * limit, 1.15 * limit)
    lower.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    label(upper, y="RMSE (scaled)")
    label(lower, x="Steps ahead", y="Skill (MSE)", title=f"Above 0: better than {baseline}")
    names = ["Model", *(name[0].upper() + name[1:] for name in list(errors)[1:])]
    legend(fig, lines, names)
    fig.align_ylabels()
    return fig
