"""Tests of the content of search figures, including gaps, single trials, and unusual names."""

import math
from itertools import product

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from lstm_ae.plots import base
from lstm_ae.plots.search import BEST_CELL, curves, heat, score_colors

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


def panels(drawn):
    return [axes for axes in drawn.axes if axes.images]


def written(axes):
    """Return the annotations of a heat map, as rows."""
    cells = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    rows, columns = axes.images[0].get_array().shape
    return [[cells.get((y, x), "") for x in range(columns)] for y in range(rows)]


def marked(drawn):
    """Return panel, column, and row of the cells with the thick frame."""
    return [
        (k, round(box.get_x() + 0.5), round(box.get_y() + 0.5))
        for k, axes in enumerate(panels(drawn))
        for box in axes.patches
        if box.get_linewidth() == BEST_CELL["linewidth"]
    ]


def test_heat_map_has_a_panel_for_each_clip_value():
    drawn = checked(heat(NAMES, LEVELS, SETTINGS, SCORES, best=9, quantity="val_loss"))
    one, five = panels(drawn)
    assert (one.get_title("left"), five.get_title("left")) == ("clip 1", "clip 5")
    assert (one.get_xlabel(), one.get_ylabel()) == ("learning rate", "units")
    assert [text.get_text() for text in one.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert [text.get_text() for text in one.get_yticklabels()] == ["8", "16", "32"]
    assert written(one) == [[base.number(SCORES[6 * y + 2 * x]) for x in range(3)] for y in range(3)]
    np.testing.assert_allclose(five.images[0].get_array()[1], SCORES[[7, 9, 11]])
    assert marked(drawn) == [(1, 1, 1)]
    assert isinstance(one.images[0].norm, LogNorm)
    assert drawn.axes[-1].get_ylabel() == "val loss"


@pytest.mark.parametrize(("scores", "log"), [([1, 11], True), ([1, 9], False), ([0, 11], False), ([-1, 11], False)])
def test_colors_are_logarithmic_if_scores_span_a_factor_of_ten(scores, log):
    assert isinstance(score_colors(np.array([*scores, math.nan])), LogNorm) is log


def test_heat_map_distinguishes_failed_from_untried_settings():
    scores = SCORES[:-2].copy()
    scores[[0, 2]] = math.nan, math.inf
    one, five = panels(checked(heat(NAMES, LEVELS, SETTINGS[:-2], scores, best=1)))
    assert written(one)[0] == ["failed", "failed", "0.00250"]
    assert written(five)[2] == ["0.0196", "0.0256", ""]


@pytest.mark.parametrize(("higher", "text"), [(False, "0.100"), (True, "0.200")])
def test_heat_map_of_one_option_is_a_row_with_the_best_scores(higher, text):
    settings = [(8,), (16,), (8,)]
    drawn = checked(heat(["units"], LEVELS[:1], settings, [0.1, 0.3, 0.2], best=1, higher_is_better=higher))
    (axes,) = panels(drawn)
    assert written(axes) == [[text, "0.300", ""]]
    assert (axes.get_xlabel(), axes.get_ylabel(), marked(drawn)) == ("units", "", [(0, 1, 0)])


def test_heat_map_shows_the_best_panels_and_the_winner():
    levels = [range(4), range(4), (0, 1), range(4)]
    settings = list(product((0,), (0,), *levels[2:]))
    scores = [10.0 - setting[3] + 5 * setting[2] for setting in settings]
    drawn = checked(heat(list("abcd"), levels, settings, scores, best=4))
    # The best are d 3, 2, 1, 0 with c 0, then d 3 with c 1; the winner has d 0 with c 1.
    assert [axes.get_title("left") for axes in panels(drawn)] == [
        *(f"c 0, d {d}" for d in range(4)),
        *("c 1, d 0", "c 1, d 3"),
    ]
    assert drawn.get_suptitle() == "The best 6 of 8 combinations of the options above the panels"
    assert marked(drawn) == [(4, 0, 0)]


def test_large_heat_map_has_no_numbers_and_fits_a_page():
    levels = [range(300), range(2)]
    drawn = heat(["units", "layers"], levels, list(product(*levels)), np.arange(600.0))
    assert drawn.get_figheight() == 18
    assert not panels(drawn)[0].texts


@pytest.mark.parametrize("scores", [[math.nan] * 3, [0.0, 100.0, math.inf]])
def test_search_figures_accept_missing_scores_and_long_names(scores):
    levels = [LONG, (1, 2), LONG]
    settings = list(product(*levels))[: len(scores)]
    for drawn in (heat(LONG, levels, settings, scores, quantity=LONG[0]), curves([scores, []], quantity=LONG[0])):
        checked(drawn)
        assert all(len(text.get_text()) <= 80 for text in drawn.findobj(matplotlib.text.Text))
        assert drawn.axes[0].get_yscale() == "linear"


def test_search_curves_draw_the_best_trial_on_top():
    drawn = checked(curves([[1.0, 0.5, 0.01], [0.9, 0.8], [0.4]], best=[0], quantity="val_loss"))
    axes = drawn.axes[0]
    best, other, dot = axes.lines
    np.testing.assert_allclose(best.get_xydata(), [[1, 1.0], [2, 0.5], [3, 0.01]])
    assert best.get_zorder() > max(dot.get_zorder(), other.get_zorder())
    assert best.get_color() != other.get_color()
    assert (other.get_marker(), dot.get_marker()) == ("", "o")
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("Epoch", "val loss", "log")
    assert axes.get_title("left").startswith("3 trainings")
