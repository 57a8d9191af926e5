"""Test the colors and line styles of several trainings."""

from lstm_ae.plots.comparison import training_style


def test_trainings_differ_in_color_or_line_style():
    assert len({tuple(training_style(place).values()) for place in range(49)}) == 49
