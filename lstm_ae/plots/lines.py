"""Lines that several figures share: truth, model and persistence always look the same, and dates too."""

from datetime import tzinfo
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from numpy.typing import ArrayLike, NDArray

from lstm_ae.plots.base import BLACK, GREY, SKY, VERMILLION, Floats, number, rmse

# The truth is wide and pale, so that a model's line stays visible where it lies exactly on it.
TRUTH: dict[str, Any] = {"color": SKY, "linestyle": "-", "linewidth": 2.6, "solid_capstyle": "round"}

MODEL: dict[str, Any] = {"color": VERMILLION, "linestyle": (0, (4, 1.5)), "linewidth": 1.2}

PERSISTENCE: dict[str, Any] = {"color": GREY, "linestyle": (0, (1, 1)), "linewidth": 1.1}

ZERO: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "zorder": 1}


def compare(upper: Axes, lower: Axes, x: ArrayLike, truth: Floats, model: Floats) -> list[Artist]:
    """Draw `truth` and `model` over `x` (all `(steps,)`), and their difference in `lower`; returns the two lines."""
    # Black: reconstructions lie so close that only the strongest contrast shows them in black and white print.
    marker = "o" if len(truth) == 1 else ""
    lines = [
        *upper.plot(x, truth, **{**TRUTH, "marker": marker}),
        *upper.plot(x, model, **{**MODEL, "color": BLACK, "marker": marker and "D", "markersize": 4}),
    ]
    lower.axhline(0, **ZERO)
    lower.plot(x, model - truth, color=VERMILLION, linewidth=0.9, marker=marker)
    return list(lines)


def compare_three(
    axes: Axes, x: Floats, truth: Floats, model: Floats, naive: Floats, *, thin: bool = False
) -> list[Artist]:
    """Draw truth, model and persistence over `x`, all `(days,)`; returns the three lines."""
    scale = 0.8 if thin else 1.0
    drawn: list[Artist] = []
    for values, look, marker, order in ((truth, TRUTH, "o", 2), (model, MODEL, "D", 4), (naive, PERSISTENCE, ".", 3)):
        dots = {"marker": marker, "markersize": 0 if thin and len(x) > 1 else 3.2, "markerfacecolor": "white"}
        drawn += axes.plot(x, values, **{**look, **dots, "linewidth": scale * look["linewidth"], "zorder": order})
    return drawn


def errors(truth: Floats, model: Floats, naive: Floats) -> str:
    """RMSE of the model beside that of persistence, over the days where both and the truth are known."""
    both = np.where(np.isfinite(model) & np.isfinite(naive), truth, np.nan)
    return f"RMSE {number(rmse(both, model))} (persistence {number(rmse(both, naive))})"


def date_numbers(dates: ArrayLike) -> Floats:
    """Dates as matplotlib's day numbers, `(days,)`."""
    return np.asarray(date2num(np.asarray(dates, "datetime64[D]")), np.float64)  # type: ignore[no-untyped-call]


def time_numbers(times: NDArray[np.datetime64]) -> Floats:
    """Times of any resolution as matplotlib's day numbers, with their fractions."""
    return np.asarray(date2num(times), np.float64)  # type: ignore[no-untyped-call]


def time_axis_label(times: NDArray[Any], zone: tzinfo | None) -> str:
    """What an axis of times, elapsed ones or row numbers is called; without a zone nobody knows by whose clock."""
    if np.issubdtype(times.dtype, np.floating):
        return "Elapsed"
    if not np.issubdtype(times.dtype, np.datetime64):
        return "Row"
    return f"Time ({zone})" if zone else "Time"


def format_date_axis(axes: Axes, ticks: int = 8, zone: tzinfo | None = None) -> None:
    """Date ticks in the shortest form that is clear: 2004, Apr, 15 Apr; by the clocks of a zone where there is one."""
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
