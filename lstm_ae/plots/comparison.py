"""Colors and line styles of several trainings in one figure."""

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
