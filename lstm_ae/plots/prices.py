"""Figures of the stock study: prices, and one-day forecasts with persistence."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from lstm_ae.arrays import Array
from lstm_ae.plots.base import (
    BLACK,
    BLUE,
    GRAY,
    VERMILLION,
    Style,
    figure,
    label,
    largest,
    legend,
    mean,
    number,
    shorten,
)
from lstm_ae.plots.lines import FORECAST, PERSISTENCE, compare_three, format_date_axis, time_numbers

# One `(days,)` array per company, of equal or different lengths, or one `(companies, days)` array.
PerCompany = Sequence[ArrayLike] | Array

MODEL_DOT: Style = {"color": VERMILLION, "linestyle": "none", "marker": "D", "markerfacecolor": "white"}


def history(
    dates: PerCompany,
    prices: PerCompany,
    names: Sequence[str],
    *,
    quantity: str = "Price (USD)",
    boundaries: Sequence[tuple[str, np.datetime64]] = (),
) -> Figure:
    """Draw prices over the dates, one panel per company.

    Args:
        dates: one `(days,)` array per company.
        prices: one `(days,)` array per company.
        names: names of the companies.
        quantity: label of the y axis.
        boundaries: name and first day of each split, marked in all panels.
    """
    count = len(names)
    fig = figure(count, height=1.6 * count + 0.6, sharex=True)
    for axes, days, values, name in zip(fig.axes, dates, prices, names, strict=True):
        values = np.asarray(values, float)
        axes.plot(time_numbers(days), values, color=BLUE, linewidth=0.9, marker="o" if len(values) == 1 else "")
        format_date_axis(axes)
        label(axes, y=f"{shorten(name, 18)}\n{quantity}")
    positions = np.array([time_numbers(first) for _, first in boundaries])
    # The name of a short split is wider than the split, so names alternate between two heights.
    crowded = bool((np.diff(positions) < 0.13 * np.ptp(fig.axes[0].get_xlim())).any())
    for k, (position, (split, _)) in enumerate(zip(positions, boundaries, strict=True)):
        for axes in fig.axes:
            axes.axvline(position, color=BLACK, linestyle="--", linewidth=0.9)
        fig.axes[0].annotate(
            split,
            (position, 1),
            xycoords=("data", "axes fraction"),
            xytext=(2, 3 + 10 * (crowded and k % 2)),
            textcoords="offset points",
            fontsize=8,
            parse_math=False,
        )
    label(fig.axes[-1], x="Date")
    fig.align_ylabels()
    return fig


def last_days(names: Sequence[str], actual: ArrayLike, predicted: ArrayLike, persistence: ArrayLike) -> Figure:
    """Draw the changes from the last known price on the day after the window, one line per company.

    Args:
        names: names of the companies.
        actual: `(n,)` actual prices.
        predicted: `(n,)` forecasts.
        persistence: `(n,)` last known prices.
    """
    last = np.asarray(persistence, float)
    last = np.where(last > 0, last, np.nan)
    truth, model = (100 * (np.asarray(values, float) / last - 1) for values in (actual, predicted))
    count = len(names)
    fig = figure(height=0.2 * count + 1.4)
    axes = fig.axes[0]
    positions = np.arange(count)
    zero = axes.axvline(0, **{**PERSISTENCE, "linewidth": 1.4})
    axes.hlines(positions, truth, model, color="#bdbdbd", linewidth=1.2, zorder=1)
    actual_dots = axes.plot(truth, positions, color=BLUE, linestyle="none", marker="o", markersize=5)[0]
    model_dots = axes.plot(model, positions, markersize=5, **MODEL_DOT)[0]
    axes.set_yticks(positions, [shorten(name) for name in names], parse_math=False)
    axes.set_ylim(count - 0.4, -0.6)
    limit = largest([*truth, *model]) or 1.0
    axes.set_xlim(-1.1 * limit, 1.1 * limit)
    model_error, naive_error = number(mean(np.abs(model - truth))), number(mean(np.abs(truth + 0 * model)))
    errors_text = f"{model_error} percentage points (persistence {naive_error})"
    label(axes, x="Change from the last known price (%)", title=f"Mean absolute error of the model: {errors_text}")
    legend(fig, [actual_dots, model_dots, zero], ["Actual", "Predicted", "Persistence (no change)"])
    return fig


def windows(
    dates: PerCompany, actual: ArrayLike, predicted: ArrayLike, names: Sequence[str], *, quantity: str = "Price (USD)"
) -> Figure:
    """Draw whole windows, four panels per row, each with its own price axis.

    Args:
        dates: one `(days,)` array per company; the first day is written above each panel.
        actual: `(n, days)` actual prices.
        predicted: `(n, days)` forecasts of each day from the days before it.
        names: names of the companies.
        quantity: label of the y axis.
    """
    truths, models = np.asarray(actual, float), np.asarray(predicted, float)
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    fig = figure(rows, columns, 1.2 * rows + 1.0, sharex=True)
    day = np.arange(1, truths.shape[1] + 1)
    for k, (axes, name) in enumerate(zip(fig.axes, names, strict=False)):
        lines = compare_three(axes, day, truths[k], models[k], np.r_[np.nan, truths[k, :-1]], thin=True)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        last_in_column = k + columns >= len(names)
        axes.tick_params(labelsize=7, labelbottom=last_in_column)
        axes.set_title(shorten(name, 10), loc="left", fontsize=8, pad=3, parse_math=False)
        axes.set_title(str(np.asarray(dates[k], "datetime64[D]")[0]), loc="right", fontsize=6.5, pad=3, color=GRAY)
        if last_in_column:
            axes.set_xlabel("Day (1 = date above)", fontsize=7)
    for spare in fig.axes[len(names) :]:
        spare.remove()
    fig.supylabel(quantity, fontsize=9, parse_math=False)
    legend(fig, lines, FORECAST)
    return fig
