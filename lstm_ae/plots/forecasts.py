"""Figures of forecasts over several days: against truth and persistence (the last known price), and by step."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from lstm_ae.plots.base import BLACK, BLUE, GREY, VERMILLION, figure, label, largest, legend, short
from lstm_ae.plots.lines import MODEL, PERSISTENCE, ZERO, compare_three, date_numbers, errors, format_date_axis
from lstm_ae.plots.prices import Each

PALE, DARK = "#dbe6f0", "#8fb0cf"


def fans(count: int) -> list[str]:
    """Colours of so many intervals, under everything else: the widest pale, each narrower one darker."""
    ends = np.array([to_rgb(PALE), to_rgb(DARK)])
    shares = np.linspace(0, 1 if count > 2 else 0.5, count)[:, None]
    return [to_hex(colour) for colour in (1 - shares) * ends[0] + shares * ends[1]]


def multistep(
    dates_past: Each,
    past: ArrayLike,
    dates_future: Each,
    actual: ArrayLike | None,
    predicted: ArrayLike,
    persistence: ArrayLike,
    names: Sequence[str],
    *,
    quantity: str = "Price (USD)",
    intervals: Mapping[int, tuple[ArrayLike, ArrayLike]] = MappingProxyType({}),
    paths: ArrayLike | None = None,
) -> Figure:
    """The days given, then a forecast from its own outputs beside the truth and persistence; two companies a row.

    With intervals it is a fan chart: the wider the level, the paler.

    Args:
        dates_past, dates_future: one `(days,)` array a company.
        past: `(n, past days)` prices given.
        actual: `(n, future days)` what came, NaN past the end of the data; None where nothing is known.
        predicted, persistence: `(n, future days)`.
        intervals: by level in per cent, the two ends `(n, future days)`.
        paths: `(n, paths, future days)` drawn futures.
    """
    given, model, naive = (np.asarray(values, float) for values in (past, predicted, persistence))
    truth = np.full_like(model, np.nan) if actual is None else np.asarray(actual, float)
    columns = min(2, len(names))
    rows = math.ceil(len(names) / columns)
    drawn = figure(rows, columns, 2.3 * rows + 0.7)
    for k, (axes, name) in enumerate(zip(drawn.axes, names, strict=False)):
        before, after = date_numbers(dates_past[k]), date_numbers(dates_future[k])
        axes.axvspan(before[-1], after[-1], color="#f1f1f1", zorder=0, linewidth=0)
        marker = "o" if len(before) == 1 else ""
        known = axes.plot(before, given[k], color=BLACK, linewidth=1.2, marker=marker, markersize=3)[0]
        # From the last known price on, so that no line starts out of nowhere.
        ahead = np.r_[before[-1], after]
        fan: list[Artist] = []
        for colour, (level, ends) in zip(fans(len(intervals)), sorted(intervals.items(), reverse=True), strict=True):
            low, high = (np.r_[given[k, -1], np.asarray(end, float)[k]] for end in ends)
            fan.append(axes.fill_between(ahead, low, high, color=colour, linewidth=0, label=f"{level} %"))
        for future in [] if paths is None else np.asarray(paths, float)[k]:
            axes.plot(ahead, np.r_[given[k, -1], future], color=GREY, linewidth=0.5, alpha=0.7, zorder=1.5)
        joined = (np.r_[given[k, -1], values] for values in (truth[k], model[k], naive[k]))
        lines = compare_three(axes, ahead, *joined)
        format_date_axis(axes, 5)
        title = short(name)
        if np.isfinite(truth[k]).any():
            title = f"{short(name, 12)}: {errors(truth[k], model[k], naive[k])}"
        axes.set_title(title, loc="left", fontsize=8, parse_math=False)
        label(axes, x="Date", y="" if k % columns else quantity)
    for spare in drawn.axes[len(names) :]:
        spare.remove()
    words = ["Given", "Actual", "Forecast from its own outputs", "Persistence"]
    shown = [(line, word) for line, word in zip([known, *lines], words, strict=True)]
    if not np.isfinite(truth).any():
        del shown[1]
    shown += [(band, f"{band.get_label()} interval") for band in fan]
    legend(drawn, [line for line, _ in shown], [word for _, word in shown])
    return drawn


def skill_by_step(
    steps: ArrayLike,
    rmse_model: ArrayLike,
    rmse_persistence: ArrayLike,
    skill: ArrayLike,
    unit: str,
    margin: ArrayLike | None = None,
) -> Figure:
    """Error of model and persistence at each step of the forecast, and below it the skill.

    Args:
        steps, rmse_model, rmse_persistence: `(steps,)`, days ahead and the errors there.
        skill: `(steps,)`, 1 - error / error of persistence, in squared scaled errors.
        unit: of the errors drawn above.
        margin: `(steps,)` half the width of the skill's 95 % interval, NaN where it cannot be told.
    """
    ahead, model, naive, gained = (np.asarray(values, float) for values in (steps, rmse_model, rmse_persistence, skill))
    drawn = figure(2, height=3.7, sharex=True, height_ratios=[1.5, 1])
    upper, lower = drawn.axes
    size = 4 if len(ahead) <= 40 else 0
    ours = upper.plot(ahead, model, marker="D", markersize=size, markerfacecolor="white", **MODEL)[0]
    base = upper.plot(ahead, naive, marker="o", markersize=size, **PERSISTENCE)[0]
    lower.axhline(0, **ZERO)
    lower.plot(ahead, gained, color=BLACK, linewidth=1.2, marker="s", markersize=size)
    reach = largest(gained, 0.02)
    about = np.empty(0)
    if margin is not None:
        about = np.asarray(margin, float)
        lower.fill_between(ahead, gained - about, gained + about, color=PALE, linewidth=0)
        reach = max(reach, largest([*(gained - about), *(gained + about)]))
    lower.set_ylim(-1.15 * reach, 1.15 * reach)
    lower.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    label(upper, y=f"RMSE ({unit})")
    band = "" if margin is None else f" ({_told_until(ahead, about)})"
    label(lower, x="Days ahead", y="Skill (MSE)", title=f"Above 0: better than persistence{band}")
    legend(drawn, [ours, base], ["Model", "Persistence"])
    drawn.align_ylabels()
    return drawn


def _told_until(ahead: NDArray[Any], margin: NDArray[Any]) -> str:
    """What the band is, and from which day ahead on there is none."""
    told = np.flatnonzero(np.isfinite(margin))
    if not len(told):
        return "95 % interval: cannot be told"
    after = told[-1] + 1
    return "band: 95 % interval" + (f", none from day {ahead[after]:g} on" if after < len(ahead) else "")


def coverage(steps: ArrayLike, covered: Mapping[int, ArrayLike]) -> Figure:
    """Share of truths within the intervals at each day ahead, one line a level beside the share that was wanted.

    Args:
        steps: `(steps,)` days ahead.
        covered: by level in per cent, `(steps,)` shares.
    """
    ahead = np.asarray(steps, float)
    drawn = figure(height=2.6)
    axes = drawn.axes[0]
    lines = []
    looks = cycle(zip((BLUE, VERMILLION, BLACK, GREY), "sDo^", strict=True))
    for (level, shares), (color, marker) in zip(sorted(covered.items()), looks, strict=False):
        axes.axhline(level, color=color, linestyle="--", linewidth=0.9)
        size = 4 if len(ahead) <= 40 else 0
        lines += axes.plot(ahead, 100 * np.asarray(shares, float), color=color, marker=marker, markersize=size)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_ylim(top=100)
    label(axes, x="Days ahead", y="Coverage (%)", title="Share of days within the interval (dashed: wanted)")
    legend(drawn, lines, [f"{level} % interval" for level in sorted(covered)])
    return drawn


def skill_by_fold(
    folds: Sequence[int], names: Sequence[str], model: ArrayLike, linear: ArrayLike, baseline: str = "persistence"
) -> Figure:
    """Skill over a baseline of each fold of a backtest, of the model and of the linear regression, a line a fold.

    Args:
        folds: numbers.
        names: what each fold was tested on.
        model, linear: `(folds,)`.
    """
    ours, theirs = (100 * np.asarray(values, float) for values in (model, linear))
    drawn = figure(height=0.3 * len(folds) + 1.3)
    axes = drawn.axes[0]
    places = np.arange(len(folds))
    axes.axvline(0, **ZERO)
    axes.hlines(places, theirs, ours, color="#bdbdbd", linewidth=1.2, zorder=1)
    dots = axes.plot(theirs, places, color=BLUE, linestyle="none", marker="o", markersize=5)[0]
    gems = axes.plot(ours, places, linestyle="none", color=VERMILLION, marker="D", markerfacecolor="white")[0]
    axes.set_yticks(places, [f"{fold}: {short(name, 30)}" for fold, name in zip(folds, names, strict=True)])
    axes.set_ylim(len(folds) - 0.4, -0.6)
    label(axes, x=f"Skill over {baseline} (%)", title=f"Right of 0: better than {baseline}")
    legend(drawn, [gems, dots], ["Model", "Linear regression"])
    return drawn
