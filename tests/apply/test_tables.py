"""`lstmae series encode`, `reconstruct`, and `plot`: one output row per input row, as from the estimators."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from searches import call

from lstm_ae.apply.encode import RunAutoencoder, code_columns, reconstruction_columns
from lstm_ae.config import Series
from lstm_ae.data.frames import panel_from_rows
from lstm_ae.data.preparation import SeriesScales, prepare_table
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.sliding import sliding_windows, sum_windows
from lstm_ae.estimators import SequenceAutoencoder
from lstm_ae.models.sliding import SlidingAutoencoder
from lstm_ae.run import open_run

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


@pytest.mark.slow
def test_evaluate_reports_reconstruction_error_by_series(place: Path) -> None:
    table = levels()
    bad = table["pump"] == "south"
    table.loc[bad, "level"] *= -2
    table.to_csv("bad.csv", index=False)
    said = call(f"series evaluate {place}/run bad.csv --out series.csv --json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    assert document["out"] == "series.csv"
    found = document["metrics"]["series"]["new data"]
    assert list(found) == ["north", "south"]
    assert found["south"]["reconstruction_mse"]["value"] > 1.5 * found["north"]["reconstruction_mse"]["value"]
    for name, rows in table.groupby("pump"):
        rows.to_csv("alone.csv", index=False)
        alone = json.loads(call(f"series evaluate {place}/run alone.csv --json").out)["metrics"]["new data"]
        wanted = alone["reconstruction_mse"]
        assert found[name]["reconstruction_mse"] == pytest.approx(
            wanted | {"value": pytest.approx(wanted["value"]), "baselines": pytest.approx(wanted["baselines"])}
        )
    written = pd.read_csv("series.csv", index_col="pump")
    assert list(written) == ["reconstruction_mse", "reconstruction_mse PCA with 3 numbers"]
    assert written.loc["south", "reconstruction_mse"] == pytest.approx(found["south"]["reconstruction_mse"]["value"])
    shown = call(f"series evaluate {place}/run bad.csv").out.splitlines()
    place_of = shown.index("2 series, from the worst to the best:")
    assert [line.split()[0] for line in shown[place_of + 2 : place_of + 4]] == ["south", "north"]
    said = call(f"series evaluate {place}/run --out series.csv")
    assert said.code == 2
    assert "--out is for another table" in said.err
    before = Path("bad.csv").read_bytes()
    for line in (
        "evaluate {0}/run bad.csv --out ./bad.csv",
        "encode {0}/run bad.csv --out bad.csv",
        "detect {0}/run bad.csv --scores bad.csv",
    ):
        said = call(f"series {line.format(place)}")
        assert said.code == 2, said.err
        assert "would overwrite the table 'bad.csv'" in said.err
    assert Path("bad.csv").read_bytes() == before


def test_codes_and_reconstructions_keep_the_row_order_of_the_file(place: Path) -> None:
    said = call(f"series encode {place}/run {place}/pumps.csv --out codes.csv --json")
    assert said.code == 0, said.err
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

    pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    said = call(f"series reconstruct {place}/run {place}/pumps.csv --out again.parquet")
    assert said.code == 0, said.err
    assert said.out == "rows: again.parquet\n"
    again = pd.read_parquet("again.parquet")
    assert list(again) == ["pump", "time", "level", "heat"]
    assert again["time"].iloc[0] == "2024-01-01T00:00:00"
    assert np.isfinite(again["level"]).all()  # also where the value is missing
    alone = loaded.reconstruct(table[table["pump"] == "south"].set_index("time")[["level", "heat"]])
    np.testing.assert_allclose(again.loc[again["pump"] == "south", ["level", "heat"]], alone, rtol=1e-5, atol=1e-6)


def test_reconstructed_table_can_be_reconstructed_again(place: Path) -> None:
    assert call(f"series reconstruct {place}/run {place}/pumps.csv --out once.csv").code == 0
    said = call(f"series reconstruct {place}/run once.csv --out twice.csv")
    assert said.code == 0, said.err
    assert pd.read_csv("twice.csv")["time"].tolist() == pd.read_csv("once.csv")["time"].tolist()


def test_codes_of_series_named_by_two_columns_contain_both(place: Path) -> None:
    table = levels()
    table.insert(0, "site", table["pump"].map({"north": "a, b", "south": "c"}))
    table.to_csv("sites.csv", index=False)
    said = call(f"series encode {place}/run sites.csv --id-col site,pump --out codes.csv")
    assert said.code == 0, said.err
    codes = pd.read_csv("codes.csv")
    assert list(codes)[:3] == ["site", "pump", "time"]
    assert codes[["site", "pump"]].to_numpy().tolist() == table[["site", "pump"]].to_numpy().tolist()


def test_plot_writes_a_figure_to_a_path_or_the_run(place: Path) -> None:
    assert call(f"series plot {place}/run {place}/pumps.csv --figure f.png").out == "figure: f.png\n"
    assert Path("f.png").stat().st_size > 10_000
    said = call(f"series plot {place}/run {place}/pumps.csv")
    assert said.out == f"figure: {place}/run/figures/table.png\n"
    assert open_run(place / "run").finished


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("encode {0}/run {0}/pumps.csv --out codes.txt", 2, "--out must end in .csv or .parquet"),
        ("encode {0}/run {0}/pumps.csv", 2, "--out"),
        ("reconstruct {0}/run few.csv --out x.csv", 3, "and a window has 8. Pass more rows"),
        ("reconstruct {0}/run other.csv --out x.csv", 3, "'level'"),
        ("encode nowhere {0}/pumps.csv --out x.csv", 3, "There is no run at 'nowhere'"),
        ("plot {0}/run {0}/pumps.csv --figure f.pdf", 2, "--figure must be a file that ends in .png"),
    ],
)
def test_invalid_options_tables_and_runs_are_refused(place: Path, line: str, code: int, words: str) -> None:
    levels()[:10].to_csv("few.csv", index=False)
    levels().rename(columns={"level": "height"}).to_csv("other.csv", index=False)
    said = call("series " + line.format(place))
    assert said.code == code, said.err
    assert words in said.err
    assert not Path("x.csv").exists()


def test_output_times_keep_fractions_of_a_second() -> None:
    index = pd.DatetimeIndex(["2024-01-01 00:00:00.5", "2024-01-01 00:00:00.0", "2024-01-01 00:00:01.0"], name="when")
    table = panel_from_rows(np.array([[2.0], [1], [3]]), ["a"], index)
    sums = SlidingAutoencoder(
        2,
        1,
        1,
        encode=lambda rows: rows[1:] + rows[:-1],
        decode=None,
        rebuild=lambda rows: sum_windows(sliding_windows(rows, 2)),
        residuals=lambda rows: 0 * sliding_windows(rows, 2),
    )
    config = Series(window=2, freq="500ms")
    autoencoder, prepared = (
        RunAutoencoder(config, SeriesScales(fixed_scale()), None, sums),
        prepare_table(config, table),
    )
    assert code_columns(autoencoder, prepared)["when"].tolist() == [
        "2024-01-01T00:00:00.500000000",
        "2024-01-01T00:00:00.000000000",
        "2024-01-01T00:00:01.000000000",
    ]
    np.testing.assert_array_equal(code_columns(autoencoder, prepared)["code0"], [3, np.nan, 5])
    assert reconstruction_columns(autoencoder, prepared)["a"].tolist() == [2, 1, 3]


@pytest.mark.parametrize("command", ["encode", "reconstruct"])
def test_series_names_with_formulas_are_escaped(place: Path, command: str) -> None:
    levels().replace({"pump": {"north": "=HYPERLINK(1)"}}).to_csv("pumps.csv", index=False)
    said = call(f"series {command} {place}/run pumps.csv --out o.csv")
    assert said.code == 0, said.err
    assert set(pd.read_csv("o.csv")["pump"]) == {"'=HYPERLINK(1)", "south"}
