"""Figures of the digit study: reconstructions, confusion matrix, and digits as sequences."""

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from lstm_ae.plots.base import BLACK, VERMILLION, WIDTH, figure, label, largest, number, rmse, style, tick_label
from lstm_ae.plots.classes import HEAT

# A color map from white to black, which keeps its order in black and white print.
INK = "gray_r"


def reconstructions(
    original: ArrayLike,
    reconstruction: ArrayLike,
    labels: ArrayLike | None = None,
    predicted: ArrayLike | None = None,
    total: int | None = None,
) -> Figure:
    """Draw digits, their reconstructions, and the absolute errors, with the MSE of each digit.

    Args:
        original: `(n, height, width)` intensities from 0 to 1; up to ten digits are legible.
        reconstruction: `(n, height, width)` intensities.
        labels: `(n,)` true classes.
        predicted: `(n,)` predicted classes; wrong ones are bold if the true classes are known.
        total: number of all digits, of which these are the first.
    """
    truths, models = np.asarray(original, float), np.asarray(reconstruction, float)
    errors = np.abs(models - truths)
    count = len(truths)
    cell = min(1.1, (WIDTH - 1.5) / count)
    fig = figure(3, count, 3 * cell + 0.9, width=max(3.4, cell * count + 1.5))
    rows = [fig.axes[k * count : (k + 1) * count] for k in range(3)]
    top = largest(errors) or 1.0
    for k in range(count):
        for axes, image, cmap, vmax in (
            (rows[0][k], truths[k], INK, 1.0),
            (rows[1][k], models[k], INK, 1.0),
            (rows[2][k], errors[k], HEAT, top),
        ):
            drawn = axes.imshow(image, cmap=cmap, vmin=0, vmax=vmax, interpolation="nearest")
            axes.grid(False)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="#bbbbbb", linewidth=0.6)
        rows[2][k].set_xlabel(number(rmse(truths[k], models[k]) ** 2), fontsize=7)
        classes_of = [int(np.asarray(each)[k]) for each in (labels, predicted) if each is not None]
        if classes_of:
            title, wrong = " → ".join(map(str, classes_of)), len(set(classes_of)) > 1
            rows[0][k].set_title(title, fontsize=8, fontweight="bold" if wrong else "normal")
    for row, name in zip(rows, ("Original", "Recon-\nstruction", "Absolute\nerror"), strict=True):
        row[0].set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
    # The color bar takes its space from all rows. Taken from the last row only, it would shift that row.
    bar = fig.colorbar(drawn, ax=fig.axes, anchor=(0, 0.02), shrink=0.28, aspect=8, pad=0.02)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_linewidth(0.5)
    caption = "MSE of each digit (intensities 0 to 1)"
    above = {
        (True, False): "Above: true class. ",
        (False, True): "Above: predicted class. ",
        (True, True): "Above: true → predicted class, errors bold. ",
    }.get((labels is not None, predicted is not None), "")
    caption = f"{above}Below: {caption}" if above else caption
    if total is not None and total > count:
        caption = f"The first {count} of {total:,}. {caption}"
    fig.supxlabel("\n".join(textwrap.wrap(caption, int(16 * fig.get_figwidth()))), fontsize=8)
    return fig


def readings(image: ArrayLike) -> Figure:
    """Draw a digit as a sequence of rows and as a sequence of pixels, with one row marked in both.

    Args:
        image: `(height, width)` intensities from 0 to 1.
    """
    pixels = np.asarray(image, float)
    height, width = pixels.shape
    row = int(np.argmax(np.nansum(pixels, axis=1)))
    fig = figure(height=4.2)
    fig.clear()
    grid = fig.add_gridspec(2, 2, height_ratios=[1.7, 1], width_ratios=[1, 1.25])
    picture, step, series = (fig.add_subplot(cell) for cell in (grid[0, 0], grid[0, 1], grid[1, :]))
    for axes in (picture, step, series):
        style(axes)
    picture.imshow(pixels, cmap=INK, vmin=0, vmax=1, interpolation="nearest")
    picture.hlines(np.arange(height + 1) - 0.5, -0.5, width - 0.5, color="#c8c8c8", linewidth=0.4)
    picture.grid(False)
    picture.add_patch(Rectangle((-0.5, row - 0.5), width, 1, fill=False, edgecolor=VERMILLION, linewidth=1.5))
    label(picture, x="Value within the step", y="Step", title=f"By rows: {height:,} steps of {width:,}")
    step.bar(np.arange(width), pixels[row], width=0.9, color=VERMILLION)
    step.set(xlim=(-1, width), ylim=(0, 1.05))
    label(step, x="Value within the step", y="Intensity", title=f"Step {row} of the row reading")
    series.axvspan(row * width - 0.5, (row + 1) * width - 0.5, color=VERMILLION, alpha=0.25, linewidth=0)
    series.plot(pixels.ravel(), color=BLACK, linewidth=0.7)
    series.set(xlim=(0, pixels.size - 1), ylim=(0, 1.05))
    note = f"steps {row * width:,} to {(row + 1) * width - 1:,} are the marked row"
    label(series, x="Step", y="Intensity", title=f"By pixels: {pixels.size:,} steps of 1; {note}")
    series.xaxis.set_major_formatter(tick_label)
    return fig
