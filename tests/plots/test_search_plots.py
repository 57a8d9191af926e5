"""Tests of the content of search figures, including gaps, single trials, and unusual names."""

import io
import math
from itertools import product

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from lstm_ae.plots import base
from lstm_ae.plots.search import MARKS, curves, heat, score_colors

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


def keys(drawn):
    return [text.get_text() for text in drawn.legends[0].get_texts()]


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
        if box.get_linewidth() == MARKS["Best"]["linewidth"]
    ]


def test_heat_map_has_a_panel_for_each_clip_value():
    drawn = checked(heat(NAMES, LEVELS, SETTINGS, SCORES, quantity="val_loss"))
    one, five = panels(drawn)
    assert (one.get_title("left"), five.get_title("left")) == ("clip 1", "clip 5")
    assert (one.get_xlabel(), one.get_ylabel()) == ("learning rate", "units")
    assert [text.get_text() for text in one.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert [text.get_text() for text in one.get_yticklabels()] == ["8", "16", "32"]
    assert written(one) == [[base.number(SCORES[6 * y + 2 * x]) for x in range(3)] for y in range(3)]
    np.testing.assert_allclose(five.images[0].get_array()[1], SCORES[[7, 9, 11]])
    assert marked(drawn) == [(0, 0, 0)]
    assert keys(drawn) == ["Best"]
    assert isinstance(one.images[0].norm, LogNorm)
    assert drawn.axes[-1].get_ylabel() == "val loss"


def test_heat_map_marks_the_highest_or_the_given_trial():
    drawn = checked(heat(NAMES, LEVELS, SETTINGS, SCORES, higher_is_better=True))
    assert marked(drawn) == [(1, 2, 2)]
    assert marked(heat(NAMES, LEVELS, SETTINGS, SCORES, best=9)) == [(1, 1, 1)]


@pytest.mark.parametrize(("scores", "log"), [([1, 11], True), ([1, 9], False), ([0, 11], False), ([-1, 11], False)])
def test_colors_are_logarithmic_if_scores_span_a_factor_of_ten(scores, log):
    assert isinstance(score_colors(np.array([*scores, math.nan])), LogNorm) is log


def test_heat_map_distinguishes_failed_from_untried_settings():
    scores = SCORES[:-2].copy()
    scores[[0, 2]] = math.nan, math.inf
    drawn = checked(heat(NAMES, LEVELS, SETTINGS[:-2], scores))
    one, five = panels(drawn)
    assert written(one)[0] == ["failed", "failed", "0.00250"]
    assert written(five)[2] == ["0.0196", "0.0256", ""]
    assert [box.get_hatch() for box in one.patches if box.get_hatch()] == ["xxxx", "xxxx", "///"]
    assert keys(drawn) == ["Best", "Failed", "Not tried"]
    drawn.savefig(io.BytesIO(), dpi=30)
    assert marked(drawn) == [(1, 0, 0)]


def test_heat_map_of_one_option_is_a_row():
    drawn = checked(heat(["units"], LEVELS[:1], [(8,), (16,), (8,), (None,)], [0.1, 0.3, 0.2, 0.0], best=2))
    (axes,) = panels(drawn)
    assert written(axes) == [["0.100", "0.300", ""]]  # the better of the two trials with 8
    assert axes.get_ylabel() == ""
    assert marked(drawn) == [(0, 0, 0)]
    assert written(panels(checked(heat(NAMES[:1], [(8,)], [(8,)], [0.5])))[0]) == [["0.500"]]


def test_heat_map_puts_the_option_with_most_values_on_the_y_axis():
    levels = [range(3), "ab", range(9), (0.0,)]
    settings = list(product(*levels))
    scores = [10.0 + setting[0] for setting in settings]
    scores[settings.index((2, "b", 3, 0.0))] = 9.0
    drawn = checked(heat(["layers", "kind", "units", "dropout"], levels, settings, scores))
    first, second = panels(drawn)
    assert (first.get_ylabel(), second.get_xlabel()) == ("units", "layers")
    assert second.get_title("left") == "kind b, dropout 0"
    assert marked(drawn) == [(1, 2, 3)]


def test_heat_map_shows_the_best_panels_and_the_winner():
    levels = [range(4), range(4), (0, 1), range(4)]
    settings = list(product((0,), (0,), *levels[2:]))
    scores = [10.0 - setting[3] + 5 * setting[2] for setting in settings]
    drawn = checked(heat(list("abcd"), levels, settings, scores, best=4))
    # The best are d 3, 2, 1, 0 with c 0, then d 3 with c 1; the winner has d 0 with c 1.
    assert [axes.get_title("left") for axes in panels(drawn)] == [
        "c 0, d 0",
        "c 0, d 1",
        "c 0, d 2",
        "c 0, d 3",
        "c 1, d 0",
        "c 1, d 3",
    ]
    assert drawn.get_suptitle() == "The best 6 of 8 combinations of the options above the panels"
    assert marked(drawn) == [(4, 0, 0)]


@pytest.mark.parametrize("scores", [[], [math.nan] * 3])
def test_search_figures_accept_missing_scores(scores):
    settings = SETTINGS[: len(scores)]
    drawn = checked(heat(NAMES, LEVELS, settings, scores))
    assert drawn.get_suptitle() == "No trial has a score"
    assert keys(drawn) == (["Failed", "Not tried"] if scores else ["Not tried"])
    drawn = checked(curves([scores, []]))
    assert drawn.axes[0].get_title("left") == "2 trainings, none with a score"
    checked(curves([]))


def test_search_figures_shorten_long_names():
    levels = [LONG, (1, 2), LONG]
    settings = list(product(*levels))
    scores = np.linspace(0.1, 0.9, len(settings))
    for drawn in (
        heat(LONG, levels, settings, scores, quantity=LONG[0]),
        curves([scores], quantity=LONG[0]),
    ):
        checked(drawn)
        assert all(len(line) <= 80 for text in drawn.findobj(matplotlib.text.Text) for line in [text.get_text()])


def test_search_curves_draw_the_best_trial_on_top():
    drawn = checked(
        curves([[1.0, 0.5, 0.01], [0.9, 0.8], [1.0, math.nan, 0.3]], best=[0], pruned=[1], quantity="val_loss")
    )
    axes = drawn.axes[0]
    best, cut, other = axes.lines
    np.testing.assert_allclose(best.get_xydata(), [[1, 1.0], [2, 0.5], [3, 0.01]])
    assert best.get_zorder() > max(cut.get_zorder(), other.get_zorder())
    assert best.get_linewidth() > 2 * other.get_linewidth()
    assert (cut.get_linestyle(), other.get_linestyle()) == ("--", "-")
    assert cut.get_color() == other.get_color() != best.get_color()
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("Epoch", "val loss", "log")
    assert axes.get_title("left") == "3 trainings, 1 pruned"
    assert keys(drawn) == ["Best", "Others", "Pruned"]


def test_curves_accept_a_single_epoch_and_infinite_losses():
    drawn = checked(curves([[0.5], [math.inf, 0.4, math.nan], [math.inf]], best=[0]))
    dot, other = drawn.axes[0].lines
    assert dot.get_marker() == other.get_marker() == "o"
    assert drawn.axes[0].get_yscale() == "linear"
    assert drawn.axes[0].get_title("left") == "3 trainings"
    assert curves([[0.0, 100.0]]).axes[0].get_yscale() == "linear"
