"""Dask and Spark score a table through Fugue, with the results of one process."""

import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from partitioned import RUN, machine_rows

from lstm_ae.apply.part_frames import FrameFunction

# Every suite collects this file, and importing the engines takes seconds.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("fugue") is None, reason="Fugue is not installed"),
    pytest.mark.filterwarnings("ignore"),
]

SCHEMA = "machine:str,time:datetime,score:double,p:double,anomaly:bool"


@pytest.fixture(scope="module")
def function() -> FrameFunction:
    return FrameFunction(RUN, id_col="machine")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    frames = [pd.DataFrame({"machine": machine, **machine_rows(machine)}) for machine in "abc"]
    return pd.concat(frames).sample(frac=1, random_state=0, ignore_index=True)


@pytest.fixture
def dask_client() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def spark_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    spark = pytest.importorskip("pyspark.sql", reason="PySpark is not installed")
    session = spark.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    yield session
    session.stop()


def require_scores(function: FrameFunction, rows: pd.DataFrame, engine: Any) -> None:
    """Compare the scores that an engine computes with those of one process."""
    import fugue

    # Engines pickle an inner function by value, as they cannot import this module.
    def score(frame: pd.DataFrame) -> pd.DataFrame:
        return function(frame)[["machine", "time", "score", "p", "anomaly"]]

    found = fugue.transform(
        rows, score, schema=SCHEMA, partition={"by": "machine"}, engine=engine, as_fugue=True
    ).as_pandas()
    found = found.sort_values(["machine", "time"], ignore_index=True)
    expected = score(rows).sort_values(["machine", "time"], ignore_index=True)
    assert found["time"].tolist() == expected["time"].tolist()
    for name in ("machine", "score", "p", "anomaly"):
        assert found[name].tolist() == expected[name].tolist()


@pytest.mark.exhaustive
def test_dask_scores_each_series(function: FrameFunction, rows: pd.DataFrame, dask_client: Any) -> None:
    require_scores(function, rows, dask_client)


@pytest.mark.exhaustive
def test_spark_scores_each_series(function: FrameFunction, rows: pd.DataFrame, spark_session: Any) -> None:
    require_scores(function, rows, spark_session)
