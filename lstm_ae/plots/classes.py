"""Figures of a classifier: what is taken for what, how often each class is found, and what a probability is worth."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from lstm_ae.plots.base import BLACK, BLUE, GREY, VERMILLION, Thousands, figure, label, legend, short

# Light to dark keeps its order in black and white print.
HEAT = "Blues"

# Classes that have a line of their own; the others share one.
MOST = 20

BINS = 10


def confusion(matrix: ArrayLike, names: Sequence[str] | None = None, *, what: str = "class") -> Figure:
    """Counts of true (rows) against predicted (columns) classes; the colour is the share of the row.

    Args:
        matrix: `(classes, classes)` counts.
        names: of the classes; their numbers where None. Of many the most frequent are drawn, and the others as one.
        what: the noun of a class.
    """
    counts = np.nan_to_num(np.asarray(matrix, float))
    names = list(names) if names is not None else [str(place) for place in range(len(counts))]
    accuracy = 100 * np.trace(counts) / total if (total := counts.sum()) else np.nan
    if len(counts) > MOST:
        counts, names = _together(counts, names)
    share = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    drawn = figure(height=4.6, width=5.8)
    axes = drawn.axes[0]
    # Of a good model's errors each is below 1 % of its row: the root makes them visible.
    norm = PowerNorm(0.5, 0, 100)
    shown = axes.imshow(100 * share, cmap=HEAT, norm=norm)
    size = 7 if len(counts) <= 12 else 5
    for (true, given), count in np.ndenumerate(counts):
        if count:
            colour = "white" if float(norm(100 * share[true, given])) > 0.6 else BLACK
            axes.text(given, true, f"{count:,.0f}", ha="center", va="center", fontsize=size, color=colour)
    ticks = range(len(counts))
    axes.set(xticks=ticks, yticks=ticks)
    texts = [short(name, 12) for name in names]
    long = max(map(len, texts)) > 2
    axes.set_xticklabels(texts, parse_math=False, rotation=90 if long else 0)
    axes.set_yticklabels(texts, parse_math=False)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set(visible=True, color=GREY, linewidth=0.6)
    many = {"class": "windows", "digit": "digits"}[what]
    shared = "n/a" if np.isnan(accuracy) else f"{accuracy:.2f} %"
    label(axes, x=f"Predicted {what}", y=f"True {what}", title=f"Accuracy {shared} of {total:,.0f} {many}")
    bar = drawn.colorbar(shown, ax=axes, ticks=[0, 1, 5, 20, 50, 100], pad=0.02)
    bar.set_label(f"Share of the true {what} (%)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return drawn


def _together(counts: NDArray[np.float64], names: Sequence[str]) -> tuple[NDArray[np.float64], list[str]]:
    """The most frequent classes, and the others as one."""
    kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[: MOST - 1])
    place = np.full(len(counts), MOST - 1)
    place[kept] = np.arange(MOST - 1)
    merged = np.zeros((MOST, MOST))
    np.add.at(merged, (place[:, None], place[None]), counts)
    return merged, [*(names[k] for k in kept), f"{len(counts) - MOST + 1} others"]


def reliability(probability: ArrayLike, truth: ArrayLike, names: Sequence[str]) -> Figure:
    """How often an answer of a probability is right, and how many windows of each class are named rightly.

    Args:
        probability: `(samples, classes)`.
        truth: `(samples,)` places in `names`.
        names: of the classes; of many the most frequent are drawn.
    """
    said, true = np.asarray(probability, float), np.asarray(truth)
    best, right = said.max(axis=1), said.argmax(axis=1) == true
    drawn = figure(1, 2, 3.4)
    left, by_class = drawn.axes
    bins = np.minimum((best * BINS).astype(int), BINS - 1)
    held = np.bincount(bins, minlength=BINS)
    some = held > 0
    mean, share = (np.bincount(bins, values, BINS)[some] / held[some] for values in (best, right))
    even = left.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1)[0]
    sizes = 15 + 120 * held[some] / held.max()
    points = left.scatter(100 * mean, 100 * share, s=sizes, color=BLUE, marker="o", edgecolor=BLACK, linewidth=0.5)
    left.set(xlim=(0, 103), ylim=(0, 103))
    label(left, x="Probability of the answer (%)", y="Right answers (%)")
    counts = np.bincount(true, minlength=len(names))
    kept = np.sort(np.argsort(-counts, kind="stable")[:MOST])
    kept = kept[counts[kept] > 0]
    found = np.bincount(true[right], minlength=len(names))[kept] / counts[kept]
    by_class.barh(np.arange(len(kept)), 100 * found, color=BLUE, height=0.7)
    overall = by_class.axvline(100 * right.mean(), color=VERMILLION, linestyle=":", linewidth=1.3)
    by_class.set(yticks=range(len(kept)), xlim=(0, 103))
    by_class.set_yticklabels([f"{short(names[k], 12)} ({counts[k]:,})" for k in kept], parse_math=False)
    by_class.invert_yaxis()
    by_class.grid(False, axis="y")
    by_class.xaxis.set_major_formatter(Thousands())
    label(by_class, x="Windows named rightly (%)", title="By class (windows)")
    legend(drawn, [points, even, overall], ["Answers, by number", "As probable as said", "All classes"])
    return drawn
