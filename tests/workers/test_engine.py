import os
import sys
from pathlib import Path
from unittest import mock

import pytest
from numbered_work import SquareJob, SquareOutcome, SquareWork

from lstm_ae.errors import ConfigError, LstmAeError
from lstm_ae.startup import cores
from lstm_ae.workers import ray_cluster
from lstm_ae.workers.engine import ALL_ENGINES, Engine
from lstm_ae.workers.jobs import InProcessExecutor, JobStopped
from lstm_ae.workers.processes import ProcessPool


def test_unknown_engines_and_addresses_without_a_cluster_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--engine must be one of local, ray\. Received: 'spark'"):
        Engine("spark")
    with pytest.raises(ConfigError, match=r"--address is for --engine ray\. Add it"):
        Engine(address="127.0.0.1:1")
    with pytest.raises(ConfigError, match="--address is for --engine ray or fugue"):
        Engine(address="dask", allowed=ALL_ENGINES)


def test_missing_clusters_are_reported_early(monkeypatch: pytest.MonkeyPatch) -> None:
    Engine().require()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LstmAeError, match="Ray is not installed"):
        Engine("ray").require()
    monkeypatch.setitem(sys.modules, "ray", mock.Mock())
    with pytest.raises(LstmAeError, match="Cannot reach a Ray cluster"):
        Engine("ray", address="127.0.0.1:1").require()


def test_missing_packages_and_addresses_of_fugue_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fugue", None)
    with pytest.raises(LstmAeError, match=r"fugue is not installed\. Install it with: .*fugue"):
        Engine("fugue", allowed=ALL_ENGINES).start(SquareWork())
    monkeypatch.setitem(sys.modules, "fugue", mock.Mock())
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(LstmAeError, match=r"distributed is not installed\. Install it with: .*fugue"):
        Engine("fugue", allowed=ALL_ENGINES).start(SquareWork())
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(LstmAeError, match="pyspark is not installed"):
        Engine("fugue", address="spark://host:7077", allowed=ALL_ENGINES).start(SquareWork())
    with pytest.raises(ConfigError, match="--address of --engine fugue must be dask, spark"):
        Engine("fugue", address="flink", allowed=ALL_ENGINES).require()
    with pytest.raises(ConfigError, match="--jobs is for a cluster that the command starts"):
        Engine("fugue", 2, "tcp://127.0.0.1:1", ALL_ENGINES).require()
    monkeypatch.setitem(sys.modules, "distributed", mock.Mock())
    with pytest.raises(LstmAeError, match=r"Cannot reach a Dask scheduler at 'tcp://127\.0\.0\.1:1'"):
        Engine("fugue", address="tcp://127.0.0.1:1", allowed=ALL_ENGINES).require()


def test_one_job_at_a_time_runs_in_this_process() -> None:
    progress: list[str] = []
    executor = Engine(jobs=1).start(SquareWork(), report=progress.append)
    assert isinstance(executor, InProcessExecutor)
    assert executor.wait(None) == []
    executor.start(SquareJob(3))
    (outcome,) = executor.wait(None)
    assert isinstance(outcome, SquareOutcome)
    assert (outcome.square, outcome.process) == (9, os.getpid())
    assert progress == ["job 3"]


def test_stopped_job_has_no_outcome() -> None:
    def stop(progress: object) -> None:
        raise JobStopped

    executor = Engine(jobs=1).start(SquareWork(), run=SquareWork().load(stop))
    executor.start(SquareJob(3))
    assert executor.wait(None) == []


@pytest.mark.parametrize(("jobs", "most", "slots"), [(None, None, cores()), (3, None, 3), (5, 2, 2), (None, 2, 2)])
def test_processes_share_the_cores(jobs: int | None, most: int | None, slots: int) -> None:
    if cores() < 2:
        pytest.skip("a single core runs one job in this process")
    pool = Engine(jobs=jobs).start(SquareWork(), max_jobs=most, log=Path("workers.log"))
    assert isinstance(pool, ProcessPool)
    assert (pool.slots, pool.threads) == (min(slots, most or slots), max(1, cores() // pool.slots))


def test_ray_uses_the_cores_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = mock.Mock()
    monkeypatch.setattr(ray_cluster, "RayPool", pool)
    for jobs in (None, 2, 50):
        Engine("ray", jobs).start(SquareWork(), max_jobs=20)
    assert [call.args[1] for call in pool.call_args_list] == [None, 2, 20]
