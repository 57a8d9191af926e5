"""Figures of the toy study: noise with a damped segment and its reconstruction."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lstm_ae.plots.base import BLACK, GRAY, figure, label, legend


def signals(series: ArrayLike, centers: ArrayLike, half_width: int) -> Figure:
    """Draw sequences, one panel each, with the damped segment shaded and its center marked.

    Args:
        series: `(n, steps)` values; up to six sequences are legible.
        centers: `(n,)` center step of each damped segment.
        half_width: damped steps on either side of the center.
    """
    rows = np.asarray(series, float)
    count, steps = rows.shape
    fig = figure(count, height=1.05 * count + 0.8, sharex=True, sharey=True)
    for k, (axes, values, center) in enumerate(zip(fig.axes, rows, np.asarray(centers, int), strict=True), 1):
        # The shaded area includes half a step on each side, so that the first and last damped steps are inside.
        shade = axes.axvspan(
            center - half_width - 0.5, center + half_width + 0.5, color="#dcdcdc", zorder=0, linewidth=0
        )
        middle = axes.axvline(center, color=GRAY, linestyle=(0, (1, 1)), linewidth=1.1, zorder=1)
        line = axes.plot(values, color=BLACK, linewidth=0.9, marker="o", markersize=2.5)[0]
        axes.set_xlim(-1, steps)
        label(axes, y="Value", title=f"Sequence {k}: steps {center - half_width} to {center + half_width} damped")
    label(fig.axes[-1], x="Step")
    legend(fig, [line, shade, middle], ["Value", "Damped segment", "Center"])
    return fig
