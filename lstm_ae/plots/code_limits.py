"""Error against code size: trained autoencoders between what needs no training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from lstm_ae.plots import base


def limits(sizes: Sequence[int], errors: Mapping[str, Sequence[float | None]]) -> Figure:
    """Draw mean squared errors over code sizes, both logarithmic; a line for each of `errors`, by its name.

    Errors of 0 (a code that holds everything) lie below any logarithmic axis and are left out.
    """
    drawn = base.figure(height=3.4)
    axes = drawn.axes[0]
    looks: list[dict[str, Any]] = [
        {"color": base.VERMILLION, "marker": "o", "linewidth": 2},
        {"color": base.BLUE, "marker": "s", "linestyle": (0, (4, 1.5))},
        {"color": base.GREY, "marker": "^", "linestyle": (0, (1, 1))},
        {"color": base.BLACK, "marker": "", "linestyle": "-", "linewidth": 0.8},
    ]
    handles = []
    for look, values in zip(looks, errors.values(), strict=False):
        found = np.array([np.nan if value is None or value < 1e-20 else value for value in values])
        handles += axes.plot(sizes, found, markersize=4, **look)
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_locator(FixedLocator(list(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(base.Thousands())
    base.label(axes, x="Numbers in the code", y="Mean squared error (validation)")
    base.legend(drawn, handles, list(errors))
    return drawn
