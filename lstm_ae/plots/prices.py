"""Figures of the stock study: prices, reconstructions, and forecasts of one day beside persistence."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from lstm_ae.plots.base import BLACK, BLUE, GREY, VERMILLION, figure, label, largest, legend, mean, number, rmse, short
from lstm_ae.plots.lines import MODEL, PERSISTENCE, ZERO, compare, compare_three, date_numbers, errors, format_date_axis

# One `(days,)` array a company, of equal or different lengths, or all as the rows of one `(companies, days)` array.
Each = Sequence[ArrayLike] | NDArray[Any]

MODEL_DOT: dict[str, Any] = {"color": VERMILLION, "linestyle": "none", "marker": "D", "markerfacecolor": "white"}


def history(
    dates: Each,
    prices: Each,
    names: Sequence[str],
    *,
    quantity: str = "Price (USD)",
    boundaries: Sequence[tuple[str, np.datetime64]] = (),
) -> Figure:
    """Prices over the dates, one panel a company, one below the other.

    Args:
        dates, prices: one `(days,)` array a company.
        boundaries: name and first day of each part of the data, marked in all panels.
    """
    count = len(names)
    drawn = figure(count, height=1.6 * count + 0.6, sharex=True)
    for axes, when, values, name in zip(drawn.axes, dates, prices, names, strict=True):
        values = np.asarray(values, float)
        axes.plot(date_numbers(when), values, color=BLUE, linewidth=0.9, marker="o" if len(values) == 1 else "")
        format_date_axis(axes)
        label(axes, y=f"{short(name, 18)}\n{quantity}")
    places = np.array([date_numbers(first) for _, first in boundaries])
    # A short part's name is wider than the part: neighbours then stand at two heights.
    crowded = bool((np.diff(places) < 0.13 * np.ptp(drawn.axes[0].get_xlim())).any())
    for k, (place, (part, _)) in enumerate(zip(places, boundaries, strict=True)):
        for axes in drawn.axes:
            axes.axvline(place, color=BLACK, linestyle="--", linewidth=0.9)
        drawn.axes[0].annotate(
            part,
            (place, 1),
            xycoords=("data", "axes fraction"),
            xytext=(2, 3 + 10 * (crowded and k % 2)),
            textcoords="offset points",
            fontsize=8,
            parse_math=False,
        )
    label(drawn.axes[-1], x="Date")
    drawn.align_ylabels()
    return drawn


def reconstruction(
    dates: Each, original: Each, reconstruction: Each, names: Sequence[str], *, quantity: str = "Price (USD)"
) -> Figure:
    """Original and reconstructed prices, one column a company, with the error below.

    Args:
        dates, original, reconstruction: one `(days,)` array a company; one to three companies stay legible.
    """
    count = len(names)
    drawn = figure(2, count, 3.6, sharex="col", height_ratios=[2, 1])
    for k, name in enumerate(names):
        upper, lower = drawn.axes[k], drawn.axes[count + k]
        truth, model = np.asarray(original[k], float), np.asarray(reconstruction[k], float)
        lines = compare(upper, lower, date_numbers(dates[k]), truth, model)
        format_date_axis(lower)
        label(upper, title=f"{short(name)}: RMSE {number(rmse(truth, model))}")
        label(lower, x="Date")
    label(drawn.axes[0], y=quantity)
    label(drawn.axes[count], y="Error")
    legend(drawn, [*lines, lower.lines[-1]], ["Original", "Reconstruction", "Error: reconstruction − original"])
    drawn.align_ylabels()
    return drawn


def last_days(names: Sequence[str], actual: ArrayLike, predicted: ArrayLike, persistence: ArrayLike) -> Figure:
    """The day after the window, one line a company, as change from the last known price: persistence is 0.

    Args:
        actual, predicted, persistence: `(n,)` prices; persistence is the last known price.
    """
    known = np.asarray(persistence, float)
    known = np.where(known > 0, known, np.nan)
    truth, model = (100 * (np.asarray(values, float) / known - 1) for values in (actual, predicted))
    count = len(names)
    drawn = figure(height=0.2 * count + 1.4)
    axes = drawn.axes[0]
    places = np.arange(count)
    zero = axes.axvline(0, **{**PERSISTENCE, "linewidth": 1.4})
    axes.hlines(places, truth, model, color="#bdbdbd", linewidth=1.2, zorder=1)
    dots = axes.plot(truth, places, color=BLUE, linestyle="none", marker="o", markersize=5)[0]
    gems = axes.plot(model, places, markersize=5, **MODEL_DOT)[0]
    axes.set_yticks(places, [short(name) for name in names], parse_math=False)
    axes.set_ylim(count - 0.4, -0.6)
    far = largest([*truth, *model]) or 1.0
    axes.set_xlim(-1.1 * far, 1.1 * far)
    ours, naive = number(mean(np.abs(model - truth))), number(mean(np.abs(truth + 0 * model)))
    found = f"{ours} percentage points, of persistence {naive}"
    label(axes, x="Change from the last known price (%)", title=f"Mean absolute error of the model {found}")
    legend(drawn, [dots, gems, zero], ["Actual", "Predicted", "Persistence (no change)"])
    return drawn


def skill_by_company(names: Sequence[str], skill: ArrayLike) -> Figure:
    """Skill over persistence of each company, the best first: few by name, many as a line with its ends named.

    Args:
        skill: `(n,)`, 1 - MSE / MSE of persistence; NaN is left out.
    """
    gained = 100 * np.asarray(skill, float)
    order = [k for k in np.argsort(-gained, kind="stable") if np.isfinite(gained[k])]
    ranked, count = gained[order], len(order)
    better = f"better than persistence for {int((ranked > 0).sum()):,} of {count:,} companies"
    few = count <= 30
    drawn = figure(height=0.2 * count + 1.2 if few else 3.0)
    axes = drawn.axes[0]
    if few:
        places = np.arange(count)
        axes.axvline(0, **ZERO)
        axes.plot(ranked, places, markersize=5, **MODEL_DOT)
        axes.set_yticks(places, [short(names[k]) for k in order], parse_math=False)
        axes.set_ylim(count - 0.4, -0.6)
        label(axes, x="Skill over persistence (%)", title=f"One day ahead: {better}")
        return drawn
    place = np.arange(1, count + 1)
    axes.axhline(0, **ZERO)
    axes.plot(place, ranked, color=VERMILLION, linewidth=1.4)
    for rank, side, aside in ((0, "left", 6), (count - 1, "right", -6)):
        text = f"{short(names[order[rank]])} {ranked[rank]:+.0f} %"
        axes.annotate(
            text,
            (place[rank], ranked[rank]),
            xytext=(aside, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=8,
            parse_math=False,
        )
    label(axes, x="Companies, the best first", y="Skill over persistence (%)", title=f"One day ahead: {better}")
    return drawn


def windows(
    dates: Each, actual: ArrayLike, predicted: ArrayLike, names: Sequence[str], *, quantity: str = "Price (USD)"
) -> Figure:
    """Whole windows as small multiples, four a row, each on its own price axis.

    Args:
        dates: one `(days,)` array a company; the first day is written above each panel.
        actual, predicted: `(n, days)`; a day's prediction stands at that day. Persistence is the day before's price.
    """
    truths, models = np.asarray(actual, float), np.asarray(predicted, float)
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    drawn = figure(rows, columns, 1.2 * rows + 1.0, sharex=True)
    day = np.arange(1, truths.shape[1] + 1)
    for k, (axes, name) in enumerate(zip(drawn.axes, names, strict=False)):
        lines = compare_three(axes, day, truths[k], models[k], np.r_[np.nan, truths[k, :-1]], thin=True)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        last_in_column = k + columns >= len(names)
        axes.tick_params(labelsize=7, labelbottom=last_in_column)
        axes.set_title(short(name, 10), loc="left", fontsize=8, pad=3, parse_math=False)
        axes.set_title(str(np.asarray(dates[k], "datetime64[D]")[0]), loc="right", fontsize=6.5, pad=3, color=GREY)
        if last_in_column:
            axes.set_xlabel("Day (1 = date above)", fontsize=7)
    for spare in drawn.axes[len(names) :]:
        spare.remove()
    drawn.supylabel(quantity, fontsize=9, parse_math=False)
    legend(drawn, lines, ["Actual", "Predicted a day ahead", "Persistence (the day before)"])
    return drawn


def window(
    dates: ArrayLike,
    actual: ArrayLike,
    predicted: ArrayLike,
    persistence: ArrayLike,
    name: str,
    *,
    quantity: str = "Price (USD)",
) -> Figure:
    """One company along the days of its window, with the errors of model and persistence below.

    Args:
        dates, actual, predicted, persistence: `(days,)`; a day's prediction stands at that day.
    """
    truth, model, naive = (np.asarray(values, float) for values in (actual, predicted, persistence))
    drawn = figure(2, height=3.9, sharex=True, height_ratios=[2, 1])
    upper, lower = drawn.axes
    lines = compare_three(upper, date_numbers(dates), truth, model, naive)
    lower.axhline(0, **ZERO)
    lower.plot(date_numbers(dates), model - truth, marker="D", markersize=3, markerfacecolor="white", **MODEL)
    lower.plot(date_numbers(dates), naive - truth, marker=".", markersize=4, **PERSISTENCE)
    format_date_axis(lower)
    label(upper, y=quantity, title=f"{short(name, 40)}: {errors(truth, model, naive)}")
    label(lower, x="Date", y="Error")
    legend(drawn, lines, ["Actual", "Predicted a day ahead", "Persistence (the day before)"])
    drawn.align_ylabels()
    return drawn
