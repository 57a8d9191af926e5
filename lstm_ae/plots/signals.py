"""Figures of the toy study: noise with a damped stretch, and how well it comes back."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lstm_ae.plots.base import BLACK, GREY, figure, label, legend, number, rmse, short
from lstm_ae.plots.lines import compare


def signals(series: ArrayLike, centres: ArrayLike, half_width: int = 5) -> Figure:
    """A few sequences, one below the other, with the damped stretch shaded and its centre marked.

    Args:
        series: `(n, steps)` values; up to about six sequences stay legible.
        centres: `(n,)` step in the middle of each damped stretch.
        half_width: steps damped on either side of the centre.
    """
    rows = np.asarray(series, float)
    count, steps = rows.shape
    drawn = figure(count, height=1.05 * count + 0.8, sharex=True, sharey=True)
    for k, (axes, values, centre) in enumerate(zip(drawn.axes, rows, np.asarray(centres, int), strict=True), 1):
        # Half a step more on each side: the first and last damped step then lie inside the shade.
        shade = axes.axvspan(
            centre - half_width - 0.5, centre + half_width + 0.5, color="#dcdcdc", zorder=0, linewidth=0
        )
        middle = axes.axvline(centre, color=GREY, linestyle=(0, (1, 1)), linewidth=1.1, zorder=1)
        line = axes.plot(values, color=BLACK, linewidth=0.9, marker="o", markersize=2.5)[0]
        axes.set_xlim(-1, steps)
        label(axes, y="Value", title=f"Sequence {k}: steps {centre - half_width} to {centre + half_width} damped")
    label(drawn.axes[-1], x="Step")
    legend(drawn, [line, shade, middle], ["Value", "Damped stretch", "Its centre"])
    return drawn


def reconstructions(original: ArrayLike, reconstruction: ArrayLike, quantity: str = "Value") -> Figure:
    """Originals and reconstructions over the steps, one column a sample, with the error below.

    Args:
        original, reconstruction: `(n, steps)`; one to three samples stay legible.
        quantity: what is drawn.
    """
    truths, models = np.asarray(original, float), np.asarray(reconstruction, float)
    count = len(truths)
    drawn = figure(2, count, 3.4, sharex=True, sharey="row", height_ratios=[2, 1])
    for k, (upper, lower, truth, model) in enumerate(
        zip(drawn.axes[:count], drawn.axes[count:], truths, models, strict=True), 1
    ):
        lines = compare(upper, lower, np.arange(len(truth)), truth, model)
        label(upper, title=f"Sample {k}: MSE {number(rmse(truth, model) ** 2)}")
        label(lower, x="Step")
    label(drawn.axes[0], y=short(quantity))
    label(drawn.axes[count], y="Error")
    legend(drawn, [*lines, lower.lines[-1]], ["Original", "Reconstruction", "Error: reconstruction − original"])
    drawn.align_ylabels()
    return drawn
