"""Figures of forecasts of anyone's own table: what was read, what was said of what follows, and the error by step."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lstm_ae.plots.base import BLACK, GREY, figure, label, largest, legend, short, with_title
from lstm_ae.plots.forecasts import fans
from lstm_ae.plots.lines import MODEL, PERSISTENCE, TRUTH, ZERO, format_date_axis, time_axis_label, time_numbers

Numbers = NDArray[Any]


def forecasts(
    times: Numbers,
    past: Numbers,
    times_ahead: Numbers,
    future: Numbers,
    naive: Numbers,
    *,
    baseline: str,
    names: Sequence[str],
    quantities: Sequence[str],
    truth: Numbers | None = None,
    intervals: Mapping[int, tuple[Numbers, Numbers]],
    zone: tzinfo | None = None,
    title: str = "",
) -> Figure:
    """One panel a forecast: the end of what was read, and the forecast with its intervals, the wider the paler.

    Args:
        times, times_ahead: `(n, steps)` and `(n, horizon)` datetime64, or row numbers.
        past: `(n, steps)`, NaN where missing.
        future, naive: `(n, horizon)`, by the model and by the baseline.
        names, quantities: `(n,)` of the panels and of their values.
        truth: `(n, horizon)` what came; None where it is not known.
        intervals: by level in per cent, the two ends `(n, horizon)`.
        zone: by whose clocks times are told.
        title: what is drawn, where that is not all.
    """
    drawn = figure(len(past), height=1.7 * len(past) + 0.9)
    dates = np.issubdtype(times.dtype, np.datetime64)
    for k, axes in enumerate(drawn.axes):
        x, ahead = (time_numbers(each[k]) if dates else np.asarray(each[k], float) for each in (times, times_ahead))
        axes.axvspan(x[-1], ahead[-1], color="#f1f1f1", zorder=0, linewidth=0)
        known = axes.plot(x, past[k], color=BLACK, linewidth=1.0)[0]
        bands = [
            axes.fill_between(ahead, low[k], high[k], color=colour, linewidth=0, label=f"{level} %")
            for colour, (level, (low, high)) in zip(
                fans(len(intervals)), sorted(intervals.items(), reverse=True), strict=True
            )
        ]
        came = [] if truth is None else axes.plot(ahead, truth[k], **TRUTH, zorder=2)
        marker: dict[str, Any] = {"marker": "D", "markersize": 3.2} if len(ahead) == 1 else {}
        model = axes.plot(ahead, future[k], **MODEL, **marker, zorder=4)[0]
        base = axes.plot(ahead, naive[k], **PERSISTENCE, **marker, zorder=3)[0]
        if dates:
            format_date_axis(axes, zone=zone)
        label(axes, y=short(quantities[k], 18), title=short(names[k]))
    label(drawn.axes[-1], x=time_axis_label(times, zone))
    # What nobody can tell is not drawn.
    told = {f"{level} %" for level, ends in intervals.items() if np.isfinite(ends).any()}
    bands = [fan for fan in bands if fan.get_label() in told]
    handles = [known, *came, model, base, *bands]
    words = ["Given", *(["What came"] if came else []), "Forecast", baseline[0].upper() + baseline[1:]]
    legend(drawn, handles, [*words, *(f"{fan.get_label()} interval" for fan in bands)])
    return with_title(drawn, title) if title else drawn


def by_step(errors: Mapping[str, Numbers], baseline: str) -> Figure:
    """The error of each predictor at each step ahead, and below it the model's skill.

    Args:
        errors: by predictor, the model "" first, `(horizon,)` mean squared errors of scaled values.
        baseline: the one that skill is counted against.
    """
    drawn = figure(2, height=3.7, sharex=True, height_ratios=[1.5, 1])
    upper, lower = drawn.axes
    ahead = np.arange(1, len(errors[""]) + 1)
    looks: list[dict[str, Any]] = [
        MODEL,
        PERSISTENCE,
        {"color": GREY, "linewidth": 1.0},
        {"color": BLACK, "linewidth": 0.8},
    ]
    marker: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(ahead) <= 30 else {}
    lines = [
        upper.plot(ahead, np.sqrt(values), **look, **marker)[0]
        for values, look in zip(errors.values(), looks, strict=False)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        gained = 1 - errors[""] / errors[baseline]
    lower.axhline(0, **ZERO)
    lower.plot(ahead, gained, color=BLACK, linewidth=1.2, **marker)
    reach = largest(gained, 0.02)
    lower.set_ylim(-1.15 * reach, 1.15 * reach)
    lower.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    label(upper, y="RMSE (scaled)")
    label(lower, x="Steps ahead", y="Skill (MSE)", title=f"Above 0: better than {baseline}")
    names = ["Model", *(name[0].upper() + name[1:] for name in list(errors)[1:])]
    legend(drawn, lines, names)
    drawn.align_ylabels()
    return drawn
