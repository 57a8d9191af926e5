"""Jobs on Dask, and scores of Dask and Spark, through Fugue, with the results of one process."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numbered_work import SquareJob, SquareOutcome, SquareWork
from partitioned import RUN, machine_rows

from lstm_ae.apply.score_frame import FrameFunction
from lstm_ae.errors import DataError
from lstm_ae.workers import jobs as jobs_module
from lstm_ae.workers.fugue_cluster import FuguePool
from lstm_ae.workers.jobs import run_jobs

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
    import dask

    with (
        # A task whose process dies is not run again by Dask, which takes seconds for a new process.
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
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
    for name in ("machine", "anomaly"):
        assert found[name].tolist() == expected[name].tolist()
    for name in ("score", "p"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


def run_on(client: Any, *jobs: SquareJob, work: SquareWork | None = None, **options: Any) -> list[SquareOutcome]:
    """Run jobs on a cluster."""
    pool: FuguePool[SquareJob, SquareOutcome] = FuguePool(work or SquareWork(), None, client.scheduler.address)
    assert (pool.processes, pool.slots) == (2, 16)
    try:
        return list(run_jobs(jobs, pool, lambda number: f"job {number}", **options))
    finally:
        pool.stop()


def test_jobs_of_a_cluster_are_run_and_given_up(
    dask_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "RETRIES", 0)
    ends = run_on(dask_client, *map(SquareJob, range(20)))
    assert sorted(end[:2] for end in ends) == [(number, number**2) for number in range(20)]
    assert {end.threads for end in ends} == {1}
    with pytest.raises(RuntimeError, match=r"KeyError\('text'\)"):
        run_on(dask_client, SquareJob(0, error="text"))
    with pytest.raises(DataError, match="the work is broken"):
        run_on(dask_client, SquareJob(0), work=SquareWork(broken=True))
    (tmp_path / "deaths").touch()
    deadly = SquareJob(3, deaths=99, counter=str(tmp_path / "deaths"))
    given_up: list[tuple[int, str]] = []

    def give_up(number: int, reason: str) -> SquareOutcome:
        given_up.append((number, reason))
        return SquareOutcome(number, -1, 0, 0)

    ends = run_on(dask_client, SquareJob(1), SquareJob(2), deadly, SquareJob(4), give_up=give_up)
    assert sorted(end[:2] for end in ends) == [(1, 1), (2, 4), (3, -1), (4, 16)]
    assert given_up == [(3, "its process died 1 times; the last time its processes on the cluster died")]


def test_changed_run_is_loaded_again_by_a_running_cluster(dask_client: Any, tmp_path: Path) -> None:
    factor = tmp_path / "factor"
    for expected in (2, 3):
        factor.write_text(str(expected))
        (end,) = run_on(dask_client, SquareJob(5), work=SquareWork(factor=str(factor)))
        assert end.square == 25 * expected


@pytest.mark.exhaustive
def test_dask_scores_each_series(function: FrameFunction, rows: pd.DataFrame, dask_client: Any) -> None:
    require_scores(function, rows, dask_client)


@pytest.mark.exhaustive
def test_spark_scores_each_series(function: FrameFunction, rows: pd.DataFrame, spark_session: Any) -> None:
    require_scores(function, rows, spark_session)
