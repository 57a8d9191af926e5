"""Lines and date axes of several figures: truth, model, and persistence have the same style everywhere."""

from collections.abc import Sequence
from datetime import tzinfo

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from lstm_ae.arrays import Array, FloatArray
from lstm_ae.plots.base import BLACK, GRAY, SKY, VERMILLION, Style, figure, label, legend, number, rmse, shorten

# The truth is wide and pale, so that the model's line is visible on top of it.
TRUTH: Style = {"color": SKY, "linestyle": "-", "linewidth": 2.6, "solid_capstyle": "round"}

MODEL: Style = {"color": VERMILLION, "linestyle": (0, (4, 1.5)), "linewidth": 1.2}

PERSISTENCE: Style = {"color": GRAY, "linestyle": (0, (1, 1)), "linewidth": 1.1}

# Above bands and below lines.
ZERO: Style = {"color": GRAY, "linewidth": 0.8, "zorder": 1.5}

# Labels of the lines.
RECONSTRUCTION = ("Original", "Reconstruction", "Error: reconstruction − original")
FORECAST = ("Actual", "One-day forecast", "Persistence (the day before)")


def comparison(
    x: Sequence[Array] | Array,
    actual: ArrayLike,
    model: ArrayLike,
    names: Sequence[str],
    *,
    naive: ArrayLike | None = None,
    quantity: str = "Value",
    zone: tzinfo | None = None,
) -> Figure:
    """Draw originals and reconstructions, or actual values with forecasts and persistence, and the errors below.

    Args:
        x: `(steps,)` days or step numbers of each sample; up to three samples are legible.
        actual: `(n, steps)` values.
        model: `(n, steps)` reconstructions or forecasts.
        names: names of the samples.
        naive: `(n, steps)` persistence; None for reconstructions.
        quantity: label of the y axis.
        zone: time zone of the x axis.
    """
    truths, models = np.asarray(actual, float), np.asarray(model, float)
    count, dates = len(truths), np.issubdtype(x[0].dtype, np.datetime64)
    fig = figure(2, count, 3.6, sharex="col", height_ratios=[2, 1])
    for k, (name, truth, ours) in enumerate(zip(names, truths, models, strict=True)):
        upper, lower = fig.axes[k], fig.axes[count + k]
        steps = time_numbers(x[k]) if dates else np.asarray(x[k], float)
        lower.axhline(0, **ZERO)
        if naive is None:
            # Reconstructions are so close to the truth that they need the contrast of black in black and white print.
            marker = "o" if len(truth) == 1 else ""
            black = {**MODEL, "color": BLACK, "marker": marker and "D", "markersize": 4}
            lines = [*upper.plot(steps, truth, **TRUTH, marker=marker), *upper.plot(steps, ours, **black)]
            lines += lower.plot(steps, ours - truth, color=VERMILLION, linewidth=0.9, marker=marker)
            text, texts = f"RMSE {number(rmse(truth, ours))}", RECONSTRUCTION
        else:
            theirs = np.asarray(naive, float)[k]
            lines, text, texts = compare_three(upper, steps, truth, ours, theirs), errors(truth, ours, theirs), FORECAST
            lower.plot(steps, ours - truth, marker="D", markersize=3, markerfacecolor="white", **MODEL)
            lower.plot(steps, theirs - truth, marker=".", markersize=4, **PERSISTENCE)
        if dates:
            format_date_axis(lower, 8 // min(count, 2), zone)
        label(upper, title=f"{shorten(name)}: {text}")
        label(lower, x="Date" if dates else "Step")
    label(fig.axes[0], y=shorten(quantity))
    label(fig.axes[count], y="Error")
    legend(fig, lines, texts)
    fig.align_ylabels()
    return fig


def compare_three(
    axes: Axes, x: FloatArray, truth: FloatArray, model: FloatArray, naive: FloatArray, *, thin: bool = False
) -> list[Line2D]:
    """Draw truth, model, and persistence.

    Args:
        axes: the panel.
        x: `(days,)`.
        truth: `(days,)`.
        model: `(days,)`.
        naive: `(days,)` persistence.
        thin: whether to draw thin lines without markers.

    Returns:
        The three lines.
    """
    scale = 0.8 if thin else 1.0
    lines: list[Line2D] = []
    for values, line_style, marker, order in (
        (truth, TRUTH, "o", 2),
        (model, MODEL, "D", 4),
        (naive, PERSISTENCE, ".", 3),
    ):
        dots = {"marker": marker, "markersize": 0 if thin and len(x) > 1 else 3.2, "markerfacecolor": "white"}
        lines += axes.plot(
            x, values, **{**line_style, **dots, "linewidth": scale * line_style["linewidth"], "zorder": order}
        )
    return lines


def errors(truth: FloatArray, model: FloatArray, naive: FloatArray) -> str:
    """Return the RMSE of the model and of persistence as text, over the days where all three values are finite."""
    common = np.where(np.isfinite(model) & np.isfinite(naive), truth, np.nan)
    return f"RMSE {number(rmse(common, model))} (persistence {number(rmse(common, naive))})"


def time_numbers(times: ArrayLike) -> FloatArray:
    """Return datetime64 values as matplotlib's day numbers with fractions."""
    return np.asarray(date2num(np.asarray(times, np.datetime64)), np.float64)  # type: ignore[no-untyped-call]


def time_axis_label(times: Array, zone: tzinfo | None) -> str:
    """Return the label of an axis of times, elapsed times, or row numbers.

    Args:
        times: datetime64, elapsed times as floating point numbers, or row numbers.
        zone: the time zone; None if it is unknown.
    """
    if np.issubdtype(times.dtype, np.floating):
        return "Elapsed"
    if not np.issubdtype(times.dtype, np.datetime64):
        return "Row"
    return f"Time ({zone})" if zone else "Time"


def format_date_axis(axes: Axes, ticks: int = 8, zone: tzinfo | None = None) -> None:
    """Format the x axis with short date ticks: 2004, Apr, 15 Apr.

    Args:
        axes: the panel.
        ticks: largest number of ticks.
        zone: time zone of the ticks.
    """
    locator = AutoDateLocator(zone, minticks=2, maxticks=ticks)  # type: ignore[no-untyped-call]
    formatter = ConciseDateFormatter(  # type: ignore[no-untyped-call]
        locator,
        zone,
        formats=["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S.%f"],
        zero_formats=["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
        offset_formats=["", "%Y", "%Y", "%Y", "%Y", "%Y"],
    )
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.get_offset_text().set_fontsize(8)
