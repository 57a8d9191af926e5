"""`lstmae series encode`, `reconstruct`, and `plot`: one output row per input row, as from the estimators."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from searches import call, done, refused

from lstm_ae.estimators import SequenceAutoencoder

QUICK = "--task reconstruct --units 4 --code 3 --epochs 1 --window 8"


def levels() -> pd.DataFrame:
    """Return five minutes of two pumps, one row per second, sorted by time, with missing values in one row."""
    times = pd.date_range("2024-01-01", periods=300, freq="s")
    frames = []
    for k, name in enumerate(("north", "south")):
        wave = np.sin(np.arange(300) / 4 + k).round(4)
        frames.append(pd.DataFrame({"time": times, "pump": name, "level": wave, "heat": wave * 2 + 5}))
    both = pd.concat(frames).sort_values(["time", "pump"], ignore_index=True)
    both.loc[101, ["level", "heat"]] = np.nan
    return both


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    levels().to_csv(folder / "pumps.csv", index=False)
    with contextlib.chdir(folder):
        said = call(f"series train {folder}/pumps.csv --id-col pump --out run {QUICK}")
    assert said.code == 0, said.err
    return folder


def test_codes_and_reconstructions_keep_the_row_order_of_the_file(place: Path) -> None:
    said = done(f"series encode {place}/run {place}/pumps.csv --out codes.csv --json")
    assert json.loads(said.out) == {"run": str(place / "run"), "rows": 600, "out": "codes.csv"}
    codes = pd.read_csv("codes.csv", parse_dates=["time"])
    assert list(codes) == ["pump", "time", "code0", "code1", "code2"]
    table = levels()
    assert codes["pump"].tolist() == table["pump"].tolist()
    assert codes["time"].tolist() == table["time"].tolist()
    # No window ends with the first seven rows of each pump.
    assert codes["code0"].isna().tolist() == [True] * 14 + [False] * 586
    loaded = SequenceAutoencoder.load(place / "run")
    for name, rows in table.groupby("pump"):
        alone = loaded.transform(rows.set_index("time")[["level", "heat"]])
        mine = codes[codes["pump"] == name].set_index("time")[["code0", "code1", "code2"]]
        # The codes are about 1 in size, and computed by NumPy and by the kernels.
        np.testing.assert_allclose(mine, alone, rtol=1e-5, atol=1e-5)

    said = done(f"series reconstruct {place}/run {place}/pumps.csv --out again.parquet")
    assert said.out == "rows: again.parquet\n"
    again = pd.read_parquet("again.parquet")
    assert list(again) == ["pump", "time", "level", "heat"]
    assert again["time"].iloc[0] == "2024-01-01T00:00:00"
    assert np.isfinite(again["level"]).all()  # also where the value is missing
    alone = loaded.reconstruct(table[table["pump"] == "south"].set_index("time")[["level", "heat"]])
    np.testing.assert_allclose(again.loc[again["pump"] == "south", ["level", "heat"]], alone, rtol=1e-5, atol=1e-6)


def test_reconstructed_table_can_be_reconstructed_again(place: Path) -> None:
    assert call(f"series reconstruct {place}/run {place}/pumps.csv --out once.csv").code == 0
    done(f"series reconstruct {place}/run once.csv --out twice.csv")
    assert pd.read_csv("twice.csv")["time"].tolist() == pd.read_csv("once.csv")["time"].tolist()


def test_codes_of_series_named_by_two_columns_contain_both(place: Path) -> None:
    table = levels()
    table.insert(0, "site", table["pump"].map({"north": "a, b", "south": "c"}))
    table.to_csv("sites.csv", index=False)
    done(f"series encode {place}/run sites.csv --id-col site,pump --out codes.csv")
    codes = pd.read_csv("codes.csv")
    assert list(codes)[:3] == ["site", "pump", "time"]
    assert codes[["site", "pump"]].to_numpy().tolist() == table[["site", "pump"]].to_numpy().tolist()


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("encode {0}/run {0}/pumps.csv --out codes.txt", 2, "--out must end in .csv or .parquet"),
        ("encode {0}/run {0}/pumps.csv", 2, "--out"),
        ("reconstruct {0}/run few.csv --out x.csv", 3, "and a window has 8. Pass more rows"),
        ("reconstruct {0}/run other.csv --out x.csv", 3, "'level'"),
        ("encode nowhere {0}/pumps.csv --out x.csv", 3, "There is no run at 'nowhere'"),
        ("evaluate {0}/run --label-col a", 2, "--label-col is for another table"),
        ("encode {0}/run few.csv --out few.csv", 2, "would overwrite the table 'few.csv'"),
        ("detect {0}/run few.csv --scores few.csv", 2, "would overwrite the table 'few.csv'"),
    ],
)
def test_invalid_options_tables_and_runs_are_refused(place: Path, line: str, code: int, words: str) -> None:
    levels()[:10].to_csv("few.csv", index=False)
    levels().rename(columns={"level": "height"}).to_csv("other.csv", index=False)
    assert words in refused("series " + line.format(place), code)
