"""Classes and forecasts of a data set in processes equal those in one process, and those of one table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from partitioned import parquet, results, write_dataset, write_table
from searches import call

pytestmark = pytest.mark.slow

DATASET = "data --id-col machine --engine local --jobs"


def test_forecasts_of_processes_equal_those_of_one_process_and_of_one_table() -> None:
    write_dataset(Path("data"))
    write_table(Path("table.parquet"))
    train = "--task forecast --id-col machine --window 12 --horizon 3 --units 4 --epochs 1 --out run"
    assert call(f"series train table.parquet {train}").code == 0
    for jobs in (1, 2):
        said = call(f"series forecast run {DATASET} {jobs} --out out{jobs}")
        assert said.code == 0, said.err
    assert "6 forecast steps" in said.out
    assert results(Path("out1"), "forecasts") == results(Path("out2"), "forecasts")
    parquet.write_table(parquet.read_table("table.parquet").slice(0, 10), "few.parquet")
    said = call("series forecast run few.parquet --id-col machine --engine local --jobs 1 --out few")
    assert (said.code, "no complete window at the end of a series: 12 rows" in said.err) == (3, True)
    # Only the last day of a machine has a forecast.
    assert sorted(results(Path("out1"), "forecasts")) == [
        f"forecasts/machine={name}/day=2/part.parquet" for name in "ab"
    ]
    assert call("series forecast run table.parquet --id-col machine --out ahead.parquet").code == 0
    expected = pd.read_parquet("ahead.parquet")
    found = pd.concat(pd.read_parquet(path) for path in sorted(Path("out1/forecasts").rglob("*.parquet")))
    np.testing.assert_allclose(found["flow"], expected["flow"], rtol=1e-5)
    assert found["time"].tolist() == expected["time"].tolist()


@pytest.mark.exhaustive
def test_classes_of_processes_equal_those_of_one_process_and_of_one_table() -> None:
    write_dataset(Path("data"))
    write_table(Path("table.parquet"))
    table = pd.read_parquet("table.parquet")
    table["state"] = np.where(np.arange(len(table)) % 480 < 240, "low", "high")
    table.to_parquet("labeled.parquet")
    train = "--task classify --label-col state --id-col machine --split-by time --window 12 --units 4 --epochs 1"
    assert call(f"series train labeled.parquet {train} --out run").code == 0
    for jobs in (1, 2):
        said = call(f"series classify run {DATASET} {jobs} --out out{jobs}")
        assert said.code == 0, said.err
    assert results(Path("out1"), "classes") == results(Path("out2"), "classes")
    assert call("series classify run table.parquet --id-col machine --out classes.parquet").code == 0
    expected = pd.read_parquet("classes.parquet")
    files = sorted(Path("out1/classes").rglob("*.parquet"))
    found = pd.concat(pd.read_parquet(path, partitioning=None) for path in files)
    np.testing.assert_allclose(found["probability low"], expected["probability low"], rtol=1e-5)
    assert found["class"].tolist() == expected["class"].tolist()
