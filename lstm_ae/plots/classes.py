"""Figure of a classifier: confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lstm_ae.plots.base import BLACK, GRAY, figure, label, shorten

# A color map from light to dark, which keeps its order in black and white print.
HEAT = "Blues"

# Largest number of classes with names and counts; more have colors only.
MAX_CLASSES = 20


def confusion(matrix: ArrayLike, names: Sequence[str] | None = None, *, noun: str = "class") -> Figure:
    """Draw a confusion matrix: true classes in rows, predicted classes in columns, colored by the share of the row.

    Args:
        matrix: `(classes, classes)` counts.
        names: names of the classes; None for their numbers.
        noun: "class" or "digit".
    """
    counts = np.nan_to_num(np.asarray(matrix, float))
    accuracy = 100 * np.trace(counts) / total if (total := counts.sum()) else np.nan
    share = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    fig = figure(height=4.6, width=5.8)
    axes = fig.axes[0]
    # Each error of a good model is below 1% of its row. The square root makes it visible.
    norm = PowerNorm(0.5, 0, 100)
    image = axes.imshow(100 * share, cmap=HEAT, norm=norm)
    if len(counts) <= MAX_CLASSES:
        size = 7 if len(counts) <= 12 else 5
        for (true, predicted), count in np.ndenumerate(counts):
            if count:
                color = "white" if float(norm(100 * share[true, predicted])) > 0.6 else BLACK
                axes.text(predicted, true, f"{count:,.0f}", ha="center", va="center", fontsize=size, color=color)
        texts = [shorten(name, 12) for name in names or map(str, range(len(counts)))]
        long = max(map(len, texts)) > 2
        axes.set_xticks(range(len(counts)), texts, parse_math=False, rotation=90 if long else 0)
        axes.set_yticks(range(len(counts)), texts, parse_math=False)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set(visible=True, color=GRAY, linewidth=0.6)
    samples = {"class": "windows", "digit": "digits"}[noun]
    percent = "n/a" if np.isnan(accuracy) else f"{accuracy:.2f}%"
    label(axes, x=f"Predicted {noun}", y=f"True {noun}", title=f"Accuracy {percent} of {total:,.0f} {samples}")
    bar = fig.colorbar(image, ax=axes, ticks=[0, 1, 5, 20, 50, 100], pad=0.02)
    bar.set_label(f"Share of the true {noun} (%)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return fig
