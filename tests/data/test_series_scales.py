"""A scale per series of a table: fitted on training rows, matched by name, and converted to the common scale."""

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from machines import MACHINES, ROWS, table
from run_tables import read_prepared
from searches import CommandOutput, call

from lstm_ae.checks.table import collect_new_table_warnings
from lstm_ae.config import Series
from lstm_ae.data.frames import RowCodes, panel_from_rows
from lstm_ae.data.scaling import SeriesScales, describe_unknown_series, find_scale_lines
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.studies.series import defaults
from lstm_ae.training.batches import Batches

QUICK = "--id-col machine --window 12 --max-gap 1 --units 8 --code 4 --epochs 10 --batch-size 32 --learning-rate 0.01"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write tables and train a run with a scale per series."""
    folder = tmp_path_factory.mktemp("machines")
    table(folder / "good.csv")
    turned = dict(reversed(MACHINES.items()))
    table(folder / "turned.csv", turned)
    table(folder / "bad.csv", {"new": (5000.0, 1000.0), **turned}, spike=6)
    assert said(f"train good.csv --scale series --out run {QUICK}", folder).code == 0
    return folder


def said(line: str, folder: Path) -> CommandOutput:
    """Run a `series` command with its files in a folder."""
    words = [str(folder / word) if word.endswith(".csv") or word in ("run", "other") else word for word in line.split()]
    return call(shlex.join(["series", *words]))


def settled(folder: Path, **options: Any) -> Data:
    config = Series(data=str(folder / "good.csv"), id_col=("machine",), window=12, scale="series", **options)
    return defaults.load_complete(config).data


def test_series_scale_is_fitted_on_training_rows_of_each_series(place: Path) -> None:
    data = settled(place)
    assert data.symbols == ("", "large", "middle", "small")
    for line, name in enumerate(data.symbols[1:], 1):
        rows = np.genfromtxt(place / "good.csv", delimiter=",", dtype=None, encoding=None, names=True)
        own = rows[rows["machine"] == name][: int(0.7 * ROWS)]
        for column, key in enumerate("ab"):
            assert data.scale.offset[line, column] == pytest.approx(own[key].mean(), rel=1e-5)
            assert data.scale.range[line, column] == pytest.approx(own[key].std(), rel=1e-4)
    together = defaults.load_complete(Series(data=str(place / "good.csv"), id_col=("machine",), window=12)).data.scale
    np.testing.assert_array_equal(data.scale.offset[:1], together.offset)
    np.testing.assert_array_equal(data.scale.range[:1], together.range)
    level = data.in_common_scale
    assert (level.scale.kind, level.train.line, data.scaled_means) == ("fixed", None, ())
    scaled = level.scale.scaled(level.train.series[:, None], level.train.series[:, None])[:, 0]
    for line in (1, 2, 3):
        np.testing.assert_allclose(scaled[data.train.line == line].std(axis=0), 1, rtol=1e-4)


def test_batches_scale_rows_by_their_series(place: Path) -> None:
    data = settled(place)
    split = data.train
    network = SimpleNamespace(
        output={"reconstruction": SimpleNamespace(shape=(None, 12, 2))}, input={"sequence": SimpleNamespace()}
    )
    inputs, _ = Batches(split, data.scale, network).cut(np.arange(split.samples))
    level = data.in_common_scale
    windows = level.train.windows()
    np.testing.assert_allclose(inputs["sequence"], level.scale.scaled(windows, windows), atol=1e-5)


def test_series_with_few_training_values_uses_the_common_scale() -> None:
    values = np.r_[np.arange(60.0) % 7, 1000 + np.arange(9.0) % 7][:, None]
    places = np.repeat(np.arange(2), (60, 9)).astype(np.int32)
    rows = panel_from_rows(values, ["a"], series=RowCodes(("id",), places, ("long", "short")))
    config = Series(id_col=("id",), window=7, scale="series", freq="rows", max_gap=0)
    data = defaults.complete_from_table(config, rows).data
    assert data.symbols == ("", "long")
    assert np.unique(data.train.line).tolist() == [0, 1]
    (note,) = [note for note in data.source.notes if note.startswith("scale: ")]
    assert note.startswith("scale: 1 of 2 series have too few values in the training split")
    assert note.endswith(": short")


def test_series_scales_reject_wrong_number_of_names(place: Path) -> None:
    data = settled(place)
    later = read_prepared(Series(data=str(place / "turned.csv"), id_col=("machine",), window=12, freq="1h", max_gap=1))
    with pytest.raises(DataError, match="The run names 2 series and its scale has 4"):
        SeriesScales(data.scale, ("", "large")).to_common(later.grid)


def test_find_scale_lines_maps_unknown_series_to_common_scale() -> None:
    assert find_scale_lines(("", "b", "a"), ("a", "c", "b", "")).tolist() == [2, 0, 1, 0]
    assert describe_unknown_series((), ("a",)) == describe_unknown_series(("", "a"), ("a",)) == ""


def test_range_warning_uses_the_scale_of_each_series(place: Path) -> None:
    data = settled(place)
    config = Series(data=str(place / "turned.csv"), id_col=("machine",), window=12, freq="1h", max_gap=1)
    later = read_prepared(config)
    assert collect_new_table_warnings(later, data.scale, data.symbols) == []
    swapped = SeriesScales(data.scale, ("", "small", "middle", "large"))
    (said_of,) = collect_new_table_warnings(later, *swapped)
    assert said_of.startswith("Far outside the training range: 'a' in ")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "--scale series needs --id-col"),
        ({"id_col": ("id",), "split_by": "series"}, "--scale series needs training rows of all series"),
        (
            {"id_col": ("id",), "task": "classify", "label_col": "c"},
            "--scale series is not supported by --task classify",
        ),
    ],
)
def test_scale_series_is_refused_without_training_rows_of_each_series(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Series(**{"scale": "series", **options})
