"""Dask and Spark score a table through Fugue, with the results of one process."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from partitioned import RUN, machine_rows

from lstm_ae.apply.part_frames import FrameFunction

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

fugue = pytest.importorskip("fugue", reason="Fugue is not installed")

SCHEMA = "machine:str,time:datetime,score:double,p:double,anomaly:bool"


FUNCTION = FrameFunction(RUN, id_col="machine")


def make_score() -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a function that engines pickle by value, as they cannot import this module."""
    function = FUNCTION

    def score(frame: pd.DataFrame) -> pd.DataFrame:
        return function(frame)[["machine", "time", "score", "p", "anomaly"]]

    return score


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


def require_scores(found: pd.DataFrame, rows: pd.DataFrame) -> None:
    expected = FUNCTION(rows)[list(found)].sort_values(["machine", "time"], ignore_index=True)
    found = found.sort_values(["machine", "time"], ignore_index=True)
    assert found["machine"].tolist() == expected["machine"].tolist()
    assert found["time"].tolist() == expected["time"].tolist()
    for name in ("score", "p", "anomaly"):
        assert found[name].tolist() == expected[name].tolist()


def test_dask_scores_each_series(rows: pd.DataFrame, dask_client: Any) -> None:
    scored = fugue.transform(
        rows, make_score(), schema=SCHEMA, partition={"by": "machine"}, engine=dask_client, as_fugue=True
    ).as_pandas()
    require_scores(scored, rows)


def test_spark_scores_each_series(rows: pd.DataFrame, spark_session: Any) -> None:
    scored = fugue.transform(
        rows, make_score(), schema=SCHEMA, partition={"by": "machine"}, engine=spark_session, as_fugue=True
    ).as_pandas()
    require_scores(scored, rows)
