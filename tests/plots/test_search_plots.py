"""Tests of the content of search figures, including gaps, single trials, and unusual names."""

import math
from itertools import product

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from lstm_ae.plots import base
from lstm_ae.plots.search import BEST_CELL, heat, score_colors

NAMES = ["units", "learning_rate", "clip"]
LEVELS = [(8, 16, 32), (0.001, 0.01, 0.1), (1.0, 5.0)]
SETTINGS = list(product(*LEVELS))
SCORES = np.array([1e-4 * (k + 1) ** 2 for k in range(18)])
LONG = ["$A_B$" * 20, "_HIDDEN", "日本" + "x" * 60]


def checked(drawn):
    """Lay out a figure, check that it has labels and that `$` starts no formula, and return it."""
    assert isinstance(drawn, Figure)
    drawn.draw_without_rendering()
    for text in drawn.findobj(matplotlib.text.Text):
        if "$A" in text.get_text():
            assert not text.get_parse_math()
    assert drawn.get_suptitle() or all(a.get_xlabel() or a.get_ylabel() or a.get_title("left") for a in drawn.axes)
    return drawn


def written(axes):
    """Return the annotations of a heat map, as rows."""
    cells = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    rows, columns = axes.images[0].get_array().shape
    return [[cells.get((y, x), "") for x in range(columns)] for y in range(rows)]


def marked(axes):
    """Return the column and row of the cells with the thick frame."""
    boxes = [box for box in axes.patches if box.get_linewidth() == BEST_CELL["linewidth"]]
    return [(round(box.get_x() + 0.5), round(box.get_y() + 0.5)) for box in boxes]


@pytest.mark.parametrize(("higher", "kept"), [(False, SCORES[0::2]), (True, SCORES[1::2])])
def test_heat_map_shows_the_best_score_over_the_other_options(higher, kept):
    drawn = checked(heat(NAMES, LEVELS, SETTINGS, SCORES, best=9, quantity="val_loss", higher_is_better=higher))
    axes, bar = drawn.axes
    assert axes.get_title("left") == "Best over the values of clip"
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("learning rate", "units", "val loss")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["8", "16", "32"]
    assert written(axes) == [[base.number(kept[3 * y + x]) for x in range(3)] for y in range(3)]
    assert marked(axes) == [(1, 1)]
    assert isinstance(axes.images[0].norm, LogNorm)


@pytest.mark.parametrize(("scores", "log"), [([1, 11], True), ([1, 9], False), ([0, 11], False), ([-1, 11], False)])
def test_colors_are_logarithmic_if_scores_span_a_factor_of_ten(scores, log):
    assert isinstance(score_colors(np.array([*scores, math.nan])), LogNorm) is log


def test_heat_map_of_one_option_distinguishes_failed_from_untried_values():
    axes = checked(heat(["units"], LEVELS[:1], [(8,), (16,), (8,)], [0.1, math.inf, 0.2], best=0)).axes[0]
    assert written(axes) == [["0.100", "failed", ""]]
    assert (axes.get_xlabel(), axes.get_ylabel(), marked(axes)) == ("units", "", [(0, 0)])


def test_large_heat_map_has_no_numbers_and_fits_a_page():
    levels = [range(300), range(2)]
    drawn = heat(["units", "layers"], levels, list(product(*levels)), np.arange(600.0))
    assert drawn.get_figheight() == 18
    assert not drawn.axes[0].texts


@pytest.mark.parametrize("scores", [[math.nan] * 3, [0.0, 100.0, math.inf]])
def test_search_figures_accept_missing_scores_and_long_names(scores):
    levels = [LONG, (1, 2), LONG]
    settings = list(product(*levels))[: len(scores)]
    drawn = checked(heat(LONG, levels, settings, scores, quantity=LONG[0]))
    assert all(len(text.get_text()) <= 80 for text in drawn.findobj(matplotlib.text.Text))
