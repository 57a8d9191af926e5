"""Several trainings over their epochs, in one figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstm_ae.formatting import shorten_paths
from lstm_ae.plots import base

# Of Okabe and Ito.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))


def training_style(place: int) -> dict[str, Any]:
    """The colour and the line of the training at a place, from 0 on: no two of the first 49 have the same."""
    # With each round of the colours the lines are one further on.
    line = place + place // len(COLOURS)
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": LINES[line % len(LINES)]}


def compare_histories(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """What was measured on the validation part after each epoch, a panel a measure that all trainings have.

    Args:
        histories: by the name of the training, its columns: "epoch", and those that begin with "val_".

    Raises:
        ValueError: the trainings have no measure in common.
    """
    first, *others = histories.values()
    shared = [column for column in first if column.startswith("val_") and all(column in other for other in others)]
    if not shared:
        raise ValueError("The trainings have no measure in common")
    columns = min(len(shared), 2)
    rows = -(-len(shared) // columns)
    drawn = base.figure(rows, columns, 2.6 * rows + 0.4)
    for spare in drawn.axes[len(shared) :]:
        spare.remove()
    lines: dict[str, Artist] = {}
    for axes, column in zip(drawn.axes, shared, strict=True):
        percent = column.endswith("accuracy")
        everything = np.concatenate([np.asarray(history[column], float) for history in histories.values()])
        for place, (name, history) in enumerate(histories.items()):
            values = np.asarray(history[column], float) * (100 if percent else 1)
            dot: dict[str, Any] = {"marker": "o", "markersize": 3} if len(values) == 1 else {}
            lines[name] = axes.plot(history["epoch"], values, linewidth=1.4, **training_style(place), **dot)[0]
        positive = everything[everything > 0]
        if not percent and positive.size and positive.max() > 10 * positive.min():
            axes.set_yscale("log", nonpositive="mask")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(base.Thousands())
        words = column.removeprefix("val_").replace("_", " ")
        base.label(axes, x="Epoch", y=f"Validation {words}" + (" (%)" if percent else ""))
    base.legend(drawn, list(lines.values()), [base.short(name, 40) for name in shorten_paths(list(lines), 40)])
    return drawn
