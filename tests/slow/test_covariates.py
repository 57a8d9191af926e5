"""Commands on a table with all kinds of covariates, on several series."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from searches import call, done

from lstm_ae.experiment import open_trained
from lstm_ae.run import Run

pytestmark = pytest.mark.slow

ROWS, AHEAD = 240, 8
COVARIATES = "--id-col shop --past-cols rain --known-future plan --static-cols size --calendar hour,holiday:DE"
SIZES = "--window 12 --horizon 4 --units 3 --deterministic"
TRAIN = f"--task forecast {COVARIATES} {SIZES} --epochs 2 --scale series --seeds 2 --segment 5"


def write_table(path: Path, seed: int) -> None:
    frames = []
    for number, name in enumerate(("north", "south")):
        random, rows = np.random.default_rng([seed, number]), ROWS + AHEAD
        plan = (random.random(rows) < 0.3).astype(float)
        sales = (10**number) * (5 + plan + np.sin(2 * np.pi * np.arange(rows) / 24) + 0.1 * random.normal(size=rows))
        frame = pd.DataFrame({"shop": name, "sales": sales, "rain": random.normal(size=rows), "plan": plan})
        frame["size"] = pd.Series(dict.fromkeys(range(0, ROWS, 60), 0.5 + number))
        frame.insert(0, "time", pd.date_range(f"202{4 + seed}-12-20", periods=rows, freq="h"))
        frame.loc[ROWS:, ["sales", "rain"]] = np.nan
        frames.append(frame.drop(index=[50, 51]))
    pd.concat(frames).to_csv(path, index=False, float_format="%.4f")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two tables and a run."""
    folder = tmp_path_factory.mktemp("covariates")
    for number, name in enumerate(("t.csv", "other.csv")):
        write_table(folder / name, number)
    done(f"series train {folder / 't.csv'} {TRAIN} --out {folder / 'run'}")
    return folder


def test_evaluation_is_repeated_and_applies_to_another_table(place: Path) -> None:
    run = Run(place / "run")
    stored = run.metrics()
    evaluated = open_trained(run).evaluate().as_json()
    assert evaluated["test"] == stored["test"]
    done(f"series evaluate {place / 'run'} {place / 'other.csv'}")
    done(f"series check {place / 't.csv'} --horizon 4 --window 12 {COVARIATES}")


def test_forecast_writes_the_columns_to_forecast(place: Path) -> None:
    said = done(f"series forecast {place / 'run'} {place / 't.csv'} --out next.csv --horizon {AHEAD}")
    found = pd.read_csv("next.csv")
    assert len(found) == 2 * AHEAD
    assert not {"rain", "plan", "size"} & set(found)
    said = call(f"series forecast {place / 'run'} {place / 't.csv'} --out next.csv --horizon {AHEAD + 1}")
    assert said.code != 0
    assert "the known future of 'plan' has no value at step 9" in said.last


@pytest.mark.exhaustive
def test_export_has_an_input_for_the_known_values(place: Path, proven_here: None) -> None:
    done(f"export {place / 'run'} --out models/shops")
    card = Path("models/shops/README.md").read_text()
    assert "| `forecast` | horizon, known, past, series | future |" in card
    done("export --verify-only models/shops")


def test_static_column_decides_the_effect_of_a_plan() -> None:
    """Sales follow the plan in shops of size 1 and its opposite in those of size -1, which no regression expresses."""

    def write(path: str, sizes: dict[str, float], ahead: int = 0) -> None:
        frames = []
        for number, (name, size) in enumerate(sizes.items()):
            plan = (np.random.default_rng(number).random(400 + ahead) < 0.5).astype(float)
            frame = pd.DataFrame({"shop": name, "size": size, "plan": plan, "sales": size * plan})
            frame.insert(0, "time", pd.date_range("2024-01-01", periods=len(frame), freq="h"))
            frame.loc[400:, "sales"], frame.loc[400:, "plan"] = np.nan, 1.0
            frames.append(frame)
        pd.concat(frames).to_csv(path, index=False)

    write("t.csv", {f"shop {number}": (-1.0) ** number for number in range(8)})
    options = "--id-col shop --static-cols size --known-future plan --window 4 --horizon 2 --units 8 --epochs 8"
    done(f"series train t.csv --task forecast {options} --learning-rate 0.02 --out run")
    for size in (1.0, -1.0):
        write("new.csv", {"new": size}, ahead=2)
        done("series forecast run new.csv --out next.csv")
        assert pd.read_csv("next.csv")["sales"].to_numpy() == pytest.approx([size, size], abs=0.5)
