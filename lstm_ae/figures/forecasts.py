"""Figures of forecasts over several days: against truth and persistence (the last known price), and by step."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from lstm_ae.figures.base import BLACK, figure, label, largest, legend, short
from lstm_ae.figures.lines import MODEL, PERSISTENCE, ZERO, dated, days, errors, three
from lstm_ae.figures.prices import Each


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
) -> Figure:
    """The days given, then a forecast from its own outputs beside the truth and persistence; two companies a row.

    Args:
        dates_past, dates_future: one `(days,)` array a company.
        past: `(n, past days)` prices given.
        actual: `(n, future days)` what came, NaN past the end of the data; None where nothing is known.
        predicted, persistence: `(n, future days)`.
    """
    given, model, naive = (np.asarray(values, float) for values in (past, predicted, persistence))
    truth = np.full_like(model, np.nan) if actual is None else np.asarray(actual, float)
    columns = min(2, len(names))
    rows = math.ceil(len(names) / columns)
    drawn = figure(rows, columns, 2.3 * rows + 0.7)
    for k, (axes, name) in enumerate(zip(drawn.axes, names, strict=False)):
        before, after = days(dates_past[k]), days(dates_future[k])
        axes.axvspan(before[-1], after[-1], color="#f1f1f1", zorder=0, linewidth=0)
        marker = "o" if len(before) == 1 else ""
        known = axes.plot(before, given[k], color=BLACK, linewidth=1.2, marker=marker, markersize=3)[0]
        # From the last known price on, so that no line starts out of nowhere.
        joined = (np.r_[given[k, -1], values] for values in (truth[k], model[k], naive[k]))
        lines = three(axes, np.r_[before[-1], after], *joined)
        dated(axes, 5)
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
    legend(drawn, [line for line, _ in shown], [word for _, word in shown])
    return drawn


def skill_by_step(
    steps: ArrayLike, rmse_model: ArrayLike, rmse_persistence: ArrayLike, skill: ArrayLike, unit: str
) -> Figure:
    """Error of model and persistence at each step of the forecast, and below it the skill.

    Args:
        steps, rmse_model, rmse_persistence: `(steps,)`, days ahead and the errors there.
        skill: `(steps,)`, 1 - error / error of persistence, in squared scaled errors.
        unit: of the errors drawn above.
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
    lower.set_ylim(-1.15 * reach, 1.15 * reach)
    lower.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    label(upper, y=f"RMSE ({unit})")
    label(lower, x="Days ahead", y="Skill (MSE)", title="Above 0: better than persistence")
    legend(drawn, [ours, base], ["Model", "Persistence"])
    drawn.align_ylabels()
    return drawn
