"""Classes of a table: labels, splits by series, padding, baselines, and figures, with hand-computed values."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ae.checks.table import inspect_table
from lstm_ae.classification.labels import encode_labels
from lstm_ae.classification.padding import pad_segments
from lstm_ae.config import Reading, Series
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import prepare_table
from lstm_ae.data.split import draw_series_order, find_series_labels
from lstm_ae.data.table_reader import read_panel
from lstm_ae.data.windows import Split
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.plots.classes import confusion
from lstm_ae.significance import compare_classifiers
from lstm_ae.studies.series.defaults import CompletedConfig, load_complete

NAN = float("nan")


def table_of(rows: list[str], header: str = "run,a,kind", **options: Any) -> tuple[Series, Panel]:
    Path("t.csv").write_text("\n".join([header, *rows]) + "\n")
    config = Series(data="t.csv", task="classify", id_col=("run",) if "run" in header else (), label_col="kind")
    config = Series.from_dict(config.to_dict() | options)
    return config, read_panel(config)


def settled(rows: list[str], header: str = "run,a,kind", **options: Any) -> CompletedConfig:
    return load_complete(table_of(rows, header, **options)[0])


def runs(series: int, rows: int = 4, classes: int = 2) -> list[str]:
    """Return rows of series of equal length; the number of a series determines its class."""
    return [f"r{name},{name + row},{'abcdefgh'[name % classes]}" for name in range(series) for row in range(rows)]


def notes(found: CompletedConfig) -> str:
    return "\n".join(found.data.source.notes)


def test_split_is_by_series_when_each_series_has_one_class() -> None:
    config, data = settled(runs(20))
    assert (config.split_by, config.window, config.classes) == ("series", 4, ("a", "b"))
    assert [split.samples for split in data[:3]] == [14, 3, 3]
    assert any(note.startswith("split_by: series, as 20 series have a single class") for note in data.source.notes)
    assert "window: 4 steps, the longest series" in data.source.notes
    assert "classes: a, b" in data.source.notes
    assert not any(note.startswith("max_gap") for note in data.source.notes)  # nothing is missing without times
    # The first value of a series is its number, which determines its class.
    for split in data[:3]:
        assert split.label is not None
        assert (split.windows()[:, 0, 0] % 2 == split.label).all()
    # The completed config has no open options and gives the same data.
    again = load_complete(config)
    assert again.config == config
    assert again.data.source.sha256 == data.source.sha256
    assert not any(note.startswith(("split_by", "window", "classes")) for note in again.data.source.notes)


def test_short_series_are_padded_with_missing_rows_at_start() -> None:
    rows = [f"r{name},{name},{'ab'[name % 2]}" for name in range(20) for _ in range(3 + name % 2)]
    config, data = settled(rows)
    assert config.window == 4
    for split in data[:3]:
        for window, label in zip(split.windows()[..., 0], split.label, strict=True):  # type: ignore[arg-type]
            assert np.isnan(window).tolist() == [label == 0, False, False, False]
            assert len(set(window[1:].tolist())) == 1
    with pytest.raises(ConfigError, match="--scale window needs values without gaps"):
        settled(rows, scale="window")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [(runs(9, rows=40), "9 series have a single"), ([*runs(20, rows=40), "r3,1,a"], "a series has several")],
    ids=["few", "mixed"],
)
def test_split_is_by_time_for_few_series_or_mixed_classes(rows: list[str], reason: str) -> None:
    config, data = settled(rows)
    assert config.split_by == "time"
    assert any(note.startswith(f"split_by: time, as {reason}") for note in data.source.notes)


def test_explicit_split_by_and_window_are_not_changed() -> None:
    config, _ = settled(runs(20, rows=40), split_by="time", window=3)
    assert (config.split_by, config.window) == ("time", 3)
    config, data = settled(runs(20), window=3)
    assert (config.split_by, config.window) == ("series", 3)
    assert [split.samples for split in data[:3]] == [28, 6, 6]
    config, _ = settled(runs(9), split_by="series")
    assert config.window == 4
    # Longer series get the default window instead of their length.
    config, data = settled(runs(10, rows=1001))
    assert config.split_by == "series"
    assert config.window == 30


def test_a_window_has_the_class_of_its_last_row() -> None:
    rows = [f"{row},{'walk' if row // 5 % 2 else 'run'}" for row in range(100)]
    config, data = settled(rows, "a,kind", window=3)
    assert config.classes == ("run", "walk")
    for split in data[:3]:
        last = split.windows()[:, -1, 0]
        assert (last // 5 % 2 == split.label).all()
    assert not any(note.startswith("split_by") for note in data.source.notes)


def test_windows_without_a_class_are_left_out() -> None:
    rows = [f"{row},{'' if row % 5 == 4 else row // 2 % 2}" for row in range(100)]
    found = settled(rows, "a,kind", window=2)
    ends = np.concatenate([split.windows()[:, -1, 0] for split in found.data[:3]])
    assert (ends % 5 != 4).all()
    # 70, 15, and 15 rows give 69, 14, and 14 windows, and every fifth window has no class.
    assert [split.samples for split in found.data[:3]] == [55, 11, 11]
    assert "20 windows without a class omitted" in found.data.source.notes


def test_classes_option_selects_and_orders_the_classes() -> None:
    found = settled(runs(40, classes=4), classes=("d", "a"))
    assert found.data.classes == ("d", "a")
    assert sum(split.samples for split in found.data[:3]) == 20
    for split in found.data[:3]:
        first = split.windows()[:, 0, 0] % 4
        assert (first == np.where(split.label == 0, 3, 0)).all()
    assert "classes: " not in notes(found)
    other = settled(runs(40, classes=4), classes=("a", "d"))
    assert other.data.source.sha256 != found.data.source.sha256


def test_class_missing_from_training_is_noted() -> None:
    kinds = ["ab"[row % 2] for row in range(70)] + ["c" for _ in range(15)] + ["a" for _ in range(15)]
    found = settled([f"{row},{kind}" for row, kind in enumerate(kinds)], "a,kind", window=2)
    assert "no training window has the class c; other windows of it count as errors" in notes(found)


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (runs(20, classes=1), {}, "'t.csv': kind holds only one class, a,"),
        ([f"r{k},{k}," for k in range(20)], {}, "kind holds no class"),
        ([f"r{k},1,{k + 0.5}" for k in range(1001)], {}, "kind holds 1,001 distinct labels"),
        (runs(20), {"classes": ("a", "x")}, "--classes names x, which is not a label in kind. The labels are a, b"),
        (
            [f"r0,{k},{'ab'[k > 75]}" for k in range(100)],
            {"window": 2},
            "The training split holds windows of only one class, a. Pass --split-by series",
        ),
        (
            [f"r0,{k},{'ab'[k % 2] if k < 80 else ''}" for k in range(100)],
            {"window": 2},
            "The test split holds no window whose last row has a class in kind. Pass --split-by series",
        ),
        ([*runs(30)[:-1], "r29,1,a"], {"window": 4}, "Pass a shorter --window or --horizon"),
    ],
)
def test_tables_unfit_for_classification_are_rejected(rows: list[str], options: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        settled(rows, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "classify"}, "--task classify needs --label-col"),
        ({"task": "anomaly", "classes": ("a", "b")}, "--classes is for --task classify. Received: --task anomaly"),
        ({"task": "anomaly", "views": ("shape",)}, "--set views needs network"),
        ({"task": "classify", "label_col": "k", "classes": ("a",)}, "--classes must be two or more different classes"),
        ({"task": "classify", "label_col": "k", "classes": ("a", "a")}, "different classes. Received: a,a"),
        ({"task": "classify", "label_col": "k", "code": 3}, "--code is for --task anomaly or reconstruct"),
        ({"task": "classify", "label_col": "k", "decoder_units": 3}, "--set decoder_units is for --task anomaly, rec"),
    ],
)
def test_series_rejects_invalid_classification_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Series(**options)
    assert words in str(caught.value)


def test_encode_labels_uses_the_class_order_of_a_run() -> None:
    _, table = table_of(["0,1,1.0", "0,2,2", "0,3,x", "0,4,", "0,5,7", "0,6,1"])
    found = encode_labels(table, ("2", "1", "x"))
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0, 2, -1, -1, 1]
    assert found.classes == ("2", "1", "x")


def test_find_series_labels_needs_one_class_per_series() -> None:
    _, table = table_of(["0,1,a", "0,2,", "1,1,b", "2,1,"])
    assert find_series_labels(table).tolist() == [0, 1, -1]  # type: ignore[union-attr]
    assert find_series_labels(table_of(["0,1,a", "0,2,b"])[1]) is None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=120))
@settings(max_examples=60)
def test_draw_series_order_spreads_classes_over_all_splits(kinds: list[int]) -> None:
    """Each position occurs once, and every split gets some series of a class that has at least thirteen."""
    _, table = table_of([f"{k},1,{kind}" for k, kind in enumerate(kinds)])
    place = draw_series_order(table)
    assert sorted(place) == pytest.approx((np.arange(len(kinds)) + 0.5) / len(kinds))
    np.testing.assert_array_equal(place, draw_series_order(table))
    for kind in set(kinds):
        own = place[np.array(kinds) == kind]
        if len(own) >= 13:
            assert {int(part) for part in np.searchsorted([0.7, 0.85], own)} == {0, 1, 2}


def test_pad_segments_fills_short_series() -> None:
    config, table = table_of(["x,1,a", "x,2,a", "y,3,b", "y,4,b", "y,5,b"], window=3, split_by="series")
    before = prepare_table(config, table)
    after = pad_segments(before)
    np.testing.assert_array_equal(after.grid.values[:, 0], [NAN, 1, 2, 3, 4, 5])
    assert after.grid.series.tolist() == after.grid.segment.tolist() == [0, 0, 0, 1, 1, 1]
    assert after.grid.times.tolist() == [-1, 0, 1, 0, 1, 2]
    assert after.grid.known.tolist() == [False, True, True, True, True, True]
    assert after.grid.labels.tolist() == [-1, 0, 0, 1, 1, 1]  # type: ignore[union-attr]
    assert after.split.tolist() == [before.split[0], *before.split.tolist()]
    np.testing.assert_array_equal(pad_segments(after).grid.values, after.grid.values)
    every = pad_segments(before, every=True)
    np.testing.assert_array_equal(every.grid.values[:, 0], [NAN, NAN, 1, 2, NAN, NAN, 3, 4, 5])
    assert every.grid.times.tolist() == [-2, -1, 0, 1, -2, -1, 0, 1, 2]


@pytest.mark.parametrize(
    ("every", "padded_values"),
    [
        (True, [NAN, NAN, 1, 2, NAN, NAN, NAN, NAN, 5, 6, 7]),
        (False, [1, 2, NAN, NAN, 5, 6, 7]),
    ],
)
def test_rows_of_a_long_gap_are_not_padded(every: bool, padded_values: list[float]) -> None:
    rows = [f"x,{value},a" for value in (1, 2, "", "", 5, 6, 7)]
    config, table = table_of(rows, window=3, split_by="series", max_gap=1)
    after = pad_segments(prepare_table(config, table), every=every)
    np.testing.assert_array_equal(after.grid.values[:, 0], padded_values)


def test_padding_with_too_many_rows_is_rejected() -> None:
    """Ten thousand series of one row would become ten million rows."""
    rows = [f"r{number},1,a" for number in range(10_000)]
    config, table = table_of(rows, window=1000, split_by="series")
    with pytest.raises(
        DataError, match="10,000 segments shorter than the window of 1000 steps would be padded with 9,99"
    ):
        pad_segments(prepare_table(config, table))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(2, 6), st.booleans())
@settings(max_examples=40)
def test_padding_keeps_all_values_and_fills_short_segments(lengths: list[int], window: int, every: bool) -> None:
    rows = [f"{name},{100 * name + row},a" for name, length in enumerate(lengths) for row in range(length)]
    config, table = table_of(rows, window=window, split_by="series")
    before = prepare_table(config, table)
    after = pad_segments(before, every=every)
    np.testing.assert_array_equal(after.grid.values[after.grid.known], before.grid.values)
    counts = np.bincount(after.grid.segment).tolist()
    assert counts == [length + window - 1 if every else max(length, window) for length in lengths]


def test_disjoint_samples_share_no_row() -> None:
    split = Split(np.zeros((20, 1), np.float32), np.array([0, 1, 2, 3, 5, 6, 10, 12, 13]), 3)
    assert split.disjoint_samples().tolist() == [0, 3, 5, 6, 8]


def test_compare_classifiers_matches_mcnemar_test_by_hand() -> None:
    """With 9 against 1 discordant windows, p is 2 * (1 + 10) / 1024; concordant windows do not count."""
    ours = np.array([True] * 9 + [False] + [True] * 80 + [False] * 10)
    theirs = np.array([False] * 9 + [True] + [True] * 80 + [False] * 10)
    found = compare_classifiers(ours, theirs, name="it", what="windows")
    assert found.p == pytest.approx(22 / 1024)
    assert found.statistic == pytest.approx(8 / math.sqrt(10))
    assert found.skill == pytest.approx(1 - 11 / 19)
    assert str(found) == "beats it (accuracy 89.00% against 81.00% in 100 windows, p = 0.021)"
    assert compare_classifiers(theirs, ours, name="it", what="windows").outcome == "loses to"
    same = compare_classifiers(ours, ours, name="it", what="windows")
    assert (same.outcome, same.p, same.statistic) == ("ties with", 1, 0)
    assert compare_classifiers(ours[5:], theirs[5:], name="it", what="windows").outcome == "ties with"  # four to one


def test_confusion_figure_shows_counts_classes_and_accuracy() -> None:
    drawn_ = confusion(np.array([[8, 2], [0, 5]]), ["walk", "run $x$"])
    axes = drawn_.axes[0]
    assert [text.get_text() for text in axes.texts] == ["8", "2", "5"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["walk", "run $x$"]
    assert axes.get_title("left") == "Accuracy 86.67% of 15 windows"
    # Text is dark on light cells and light on dark cells.
    assert [text.get_color() for text in axes.texts] == ["white", "#000000", "white"]


@pytest.mark.parametrize("by_time", [False, True])
def test_check_counts_the_windows_that_a_classifier_is_trained_on(by_time: bool) -> None:
    rows = [f"r{name},{name + row},{'ab'[name % 2]}" for name in range(20) for row in range(4 + name % 3)]
    if by_time:
        rows = [f"r{name},{row * row % 7},{'ab'[row // 3 % 2]}" for name in range(2) for row in range(60)]
    config, _ = table_of(rows)
    reading = Reading(data="t.csv", id_col=config.id_col, label_col=config.label_col)
    inspection, trained = inspect_table(reading), load_complete(config)
    assert inspection.windows == tuple(split.samples for split in trained.data[:3])
    assert inspection.prepared.window == trained.config.window
    assert inspection.usable
