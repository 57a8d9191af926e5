"""Forecasts with a scale for each series: units, skill by series, backtests, and the exported model."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from machines import MACHINES, ROWS, table
from searches import call

QUICK = "--task forecast --id-col machine --scale series --window 24 --horizon 6 --units 6 --epochs 3 --batch-size 32"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tables and a run that forecasts."""
    folder = tmp_path_factory.mktemp("ahead")
    table(folder / "good.csv")
    table(folder / "turned.csv", {"new": (5000.0, 1000.0), **dict(reversed(MACHINES.items()))})
    said = call(f"series train {folder}/good.csv --out {folder}/run {QUICK}")
    assert said.code == 0, said.err
    return folder


def ahead(place: Path, name: str) -> tuple[dict[str, Any], str]:
    """Return forecasts and bounds of each machine, shape `(steps, 4)`, and the text of stderr."""
    said = call(f"series forecast {place}/run {place}/{name}.csv --horizon 8 --out {name}.csv")
    assert said.code == 0, said.err
    found: dict[str, Any] = {}
    for row in csv.DictReader(Path(f"{name}.csv").read_text().splitlines()):
        found.setdefault(row["machine"], []).append(
            [row["a"], row["b"], row["a low_80"] or "nan", row["a high_80"] or "nan"]
        )
    return {machine: np.array(rows, float) for machine, rows in found.items()}, said.err


@pytest.mark.slow
def test_each_series_is_forecast_in_its_own_units(place: Path) -> None:
    found, said = ahead(place, "good")
    assert "of their own" not in said
    for machine, (level, deviation) in MACHINES.items():
        step = 2 * np.pi * np.arange(ROWS, ROWS + 8)[:, None] / 12
        wanted = level * np.array([1, 2]) + deviation * np.sqrt(2) * np.sin(step + np.arange(2))
        assert np.abs(found[machine][:, :2] - wanted).max() < 0.5 * deviation
        width = found[machine][:6, 3] - found[machine][:6, 2]
        assert (width > 0).all()
        assert (width < deviation).all()
    other, said = ahead(place, "turned")
    assert "1 of 4 series have too few values in the training split for a scale of their own" in said
    for machine in MACHINES:
        np.testing.assert_array_equal(other[machine], found[machine])


@pytest.mark.slow
def test_each_fold_of_a_backtest_has_its_own_scale(place: Path) -> None:
    from lstm_ae.backtest.plans import plan_backtest
    from lstm_ae.config import Series

    options = {"id_col": ("machine",), "scale": "series", "task": "forecast", "window": 12, "horizon": 3}
    plan = plan_backtest(Series(data=str(place / "good.csv"), **options), 2)
    one, two = (plan.load(number).data for number in (1, 2))
    assert one.symbols == two.symbols == ("", *MACHINES)
    for data in (one, two):
        own = data.train.series[data.train.line == 1]
        np.testing.assert_allclose(data.scale.offset[1], own.mean(axis=0), rtol=1e-5)
    assert (one.scale.offset[1:] != two.scale.offset[1:]).all()
