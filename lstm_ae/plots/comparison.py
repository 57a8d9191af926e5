"""Figure of several trainings over their epochs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstm_ae.formatting import shorten_paths
from lstm_ae.plots import base
from lstm_ae.plots.base import Style

# The palette of Okabe and Ito.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))


def training_style(index: int) -> Style:
    """Return the color and the line style of a training; the first 49 are different.

    Args:
        index: index of the training, from 0.
    """
    # The line styles are shifted by one with each cycle of the colors.
    line = index + index // len(COLORS)
    return {"color": COLORS[index % len(COLORS)], "linestyle": LINES[line % len(LINES)]}


def compare_histories(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the validation measures that all trainings have in common over the epochs, one panel per measure.

    Args:
        histories: columns of each training by name: "epoch" and those that begin with "val_".

    Raises:
        ValueError: the trainings have no measure in common.
    """
    first, *others = histories.values()
    shared = [column for column in first if column.startswith("val_") and all(column in other for other in others)]
    if not shared:
        raise ValueError("The trainings have no measure in common")
    columns = min(len(shared), 2)
    rows = -(-len(shared) // columns)
    fig = base.figure(rows, columns, 2.6 * rows + 0.4)
    for spare in fig.axes[len(shared) :]:
        spare.remove()
    lines: dict[str, Artist] = {}
    for axes, column in zip(fig.axes, shared, strict=True):
        percent = column.endswith("accuracy")
        all_values = np.concatenate([np.asarray(history[column], float) for history in histories.values()])
        for index, (name, history) in enumerate(histories.items()):
            values = np.asarray(history[column], float) * (100 if percent else 1)
            dot: Style = {"marker": "o", "markersize": 3} if len(values) == 1 else {}
            lines[name] = axes.plot(history["epoch"], values, linewidth=1.4, **training_style(index), **dot)[0]
        positive = all_values[all_values > 0]
        if not percent and positive.size and positive.max() > 10 * positive.min():
            axes.set_yscale("log", nonpositive="mask")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(base.Thousands())
        measure = column.removeprefix("val_").replace("_", " ")
        base.label(axes, x="Epoch", y=f"Validation {measure}" + (" (%)" if percent else ""))
    base.legend(fig, list(lines.values()), [base.shorten(name, 40) for name in shorten_paths(list(lines), 40)])
    return fig
