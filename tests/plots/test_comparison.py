"""Tests of the figure that compares the training curves of runs."""

import numpy as np
import pytest

from lstm_ae.plots.base import png
from lstm_ae.plots.comparison import compare_histories, training_style

ONE = {"epoch": [1, 2, 3], "loss": [3, 2, 1], "val_loss": [1.0, 0.1, 0.01], "val_label_accuracy": [0.5, 0.7, 0.9]}
TWO = {"epoch": [1, 2], "val_loss": [2.0, 0.2], "val_label_accuracy": [0.4, 0.8], "val_label_loss": [1, 2]}


def test_comparison_has_a_panel_per_measure_and_a_line_per_run():
    drawn = compare_histories({"runs/one": ONE, "runs/two": TWO})
    loss, accuracy = drawn.axes
    assert loss.get_ylabel() == "Validation loss"
    assert accuracy.get_ylabel() == "Validation label accuracy (%)"
    assert (loss.get_yscale(), accuracy.get_yscale()) == ("log", "linear")
    assert [list(line.get_ydata()) for line in loss.lines] == [[1.0, 0.1, 0.01], [2.0, 0.2]]
    np.testing.assert_allclose([line.get_ydata()[-1] for line in accuracy.lines], [90, 80])
    assert [list(line.get_xdata()) for line in loss.lines] == [[1, 2, 3], [1, 2]]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["one", "two"]
    assert len({(line.get_color(), line.get_linestyle()) for line in loss.lines}) == 2


def test_runs_differ_in_color_or_line_style():
    assert len({tuple(training_style(place).values()) for place in range(49)}) == 49
    loss = compare_histories({f"run {number}": ONE for number in range(8)}).axes[0]
    first, eighth = loss.lines[0], loss.lines[7]
    assert first.get_color() == eighth.get_color()
    assert first.get_linestyle() != eighth.get_linestyle()


def test_history_of_one_epoch_is_drawn_as_a_dot():
    drawn = compare_histories({"a": {"epoch": [1], "val_loss": [0.5]}, "b": {"epoch": [1], "val_loss": [float("nan")]}})
    assert drawn.axes[0].lines[0].get_marker() == "o"
    assert png(drawn)


def test_histories_without_common_measures_raise_value_error():
    with pytest.raises(ValueError, match="no measure in common"):
        compare_histories({"a": ONE, "b": {"epoch": [1], "val_mse": [0.5]}})
