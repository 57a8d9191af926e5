"""Figure of the error against the code size, of trained autoencoders and their baselines."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from lstm_ae.plots import base
from lstm_ae.plots.base import Style


def limits(sizes: Sequence[int], errors: Mapping[str, Sequence[float | None]]) -> Figure:
    """Draw mean squared errors over code sizes on logarithmic axes.

    Args:
        sizes: the code sizes.
        errors: the errors of each model by name; None for a missing one. Errors of 0 are left out, because a
            logarithmic axis cannot show them.
    """
    fig = base.figure(height=3.4)
    axes = fig.axes[0]
    styles: list[Style] = [
        {"color": base.VERMILLION, "marker": "o", "linewidth": 2},
        {"color": base.BLUE, "marker": "s", "linestyle": (0, (4, 1.5))},
        {"color": base.GRAY, "marker": "^", "linestyle": (0, (1, 1))},
        {"color": base.BLACK, "marker": "", "linestyle": "-", "linewidth": 0.8},
    ]
    handles = []
    for line_style, values in zip(styles, errors.values(), strict=False):
        positive = np.array([np.nan if value is None or value < 1e-20 else value for value in values])
        handles += axes.plot(sizes, positive, markersize=4, **line_style)
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_locator(FixedLocator(list(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(base.Thousands())
    base.label(axes, x="Code size", y="Mean squared error (validation)")
    base.legend(fig, handles, list(errors))
    return fig
