"""Jobs in this process and in others: results, deaths of processes, and options that do not fit."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from numbered_work import SquareJob, SquareOutcome, SquareWork

from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.parallel import ClusterLostError, Engine, WorkersDiedError
from lstm_ae.startup import cores


def run(
    engine: Engine, *jobs: SquareJob, work: SquareWork | None = None, lost: list[str] | None = None
) -> list[tuple[int, int]]:
    """Return the numbers and the squares of jobs; -1 for a job that is given up."""
    return sorted(end[:2] for end in ends(engine, *jobs, work=work, lost=lost))


def ends(
    engine: Engine, *jobs: SquareJob, work: SquareWork | None = None, lost: list[str] | None = None
) -> list[SquareOutcome]:
    def note(titles: Sequence[str], how: str) -> None:
        if lost is not None:
            lost.extend(titles)

    def give_up(job: SquareJob, reason: str) -> SquareOutcome:
        assert reason.startswith("its process died twice; the last time: ")
        return SquareOutcome(job.number, -1, 0, 0)

    with (
        engine.open(work or SquareWork()) as pool,
        closing(pool.run(iter(jobs), give_up, note)) as outcomes,
    ):
        return list(outcomes)


@pytest.fixture
def deaths(tmp_path: Path) -> str:
    """Return the path of a file that counts deaths."""
    path = tmp_path / "deaths"
    path.touch()
    return str(path)


def test_unknown_engines_and_addresses_without_a_cluster_are_refused() -> None:
    with pytest.raises(ConfigError, match="--engine must be one of local, ray, dask, spark"):
        Engine("fugue")
    with pytest.raises(ConfigError) as raised:
        Engine(address="127.0.0.1:1")
    assert raised.value.code == Code.OPTION_NOT_APPLICABLE


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("dask", "distributed"), ("spark", "joblibspark")])
def test_missing_packages_and_clusters_are_reported_early(
    monkeypatch: pytest.MonkeyPatch, engine: str, package: str
) -> None:
    for name in ("ray", "distributed", "pyspark", "joblibspark"):
        monkeypatch.setitem(sys.modules, name, mock.Mock())
    with pytest.raises(ClusterLostError, match=f"Cannot reach {engine} at"):
        Engine(engine, address="tcp://127.0.0.1:1").require()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ClusterLostError, match=rf"{package} is not installed\. Install it with: .*{engine}"):
        Engine(engine).require()


def test_one_job_at_a_time_runs_in_this_process_as_it_is_taken() -> None:
    taken: list[int] = []

    def jobs() -> Iterator[SquareJob]:
        for number in range(3):
            taken.append(number)
            yield SquareJob(number)

    with Engine(jobs=1).open(SquareWork()) as pool:
        for end in pool.run(jobs(), lambda job, reason: pytest.fail(reason), lambda titles, how: None):
            assert (end.square, end.process) == (end.number**2, os.getpid())
            assert taken == list(range(end.number + 1))


def test_processes_share_the_cores() -> None:
    found = ends(Engine(jobs=2), *map(SquareJob, range(5)))
    assert sorted(end[:2] for end in found) == [(number, number**2) for number in range(5)]
    assert {end.threads for end in found} == {max(1, cores() // 2)}
    assert os.getpid() not in {end.process for end in found}


def test_exceptions_of_jobs_and_of_their_iterable_are_raised() -> None:
    with pytest.raises(RuntimeError, match=r"KeyError\('text'\)"):
        run(Engine(jobs=2), SquareJob(0, error="text"))
    with pytest.raises(DataError, match="the work is broken"):
        run(Engine(jobs=2), SquareJob(0), work=SquareWork(broken=True))

    def jobs() -> Iterator[SquareJob]:
        yield SquareJob(0)
        raise OSError("the disk is full")

    with Engine(jobs=2).open(SquareWork()) as pool, pytest.raises(OSError, match="the disk is full"):
        list(pool.run(jobs(), lambda job, reason: pytest.fail(reason), lambda titles, how: None))


@pytest.mark.slow
def test_job_whose_process_dies_once_is_repeated(deaths: str) -> None:
    lost: list[str] = []
    jobs = [SquareJob(0, deaths=1, counter=deaths), *map(SquareJob, range(1, 5))]
    assert run(Engine(jobs=2), *jobs, lost=lost) == [(number, number**2) for number in range(5)]
    assert "job 0" in lost
    assert len(lost) < 5


@pytest.mark.slow
def test_job_whose_process_dies_twice_is_given_up_and_named(deaths: str) -> None:
    jobs = [SquareJob(1), SquareJob(2, deaths=9, counter=deaths), SquareJob(3), SquareJob(4)]
    assert run(Engine(jobs=2), *jobs) == [(1, 1), (2, -1), (3, 9), (4, 16)]
    assert Path(deaths).read_text() == "xx"


@pytest.mark.slow
def test_jobs_are_not_tried_if_all_processes_die(deaths: str) -> None:
    with pytest.raises(WorkersDiedError) as raised:
        run(Engine(jobs=2), *(SquareJob(number, deaths=99, counter=deaths) for number in range(20)))
    assert raised.value.code == Code.SYSTEM
    assert len(Path(deaths).read_text()) < 20


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("dask", "distributed"), ("spark", "joblibspark")])
def test_local_clusters_run_repeat_and_give_up_jobs(
    engine: str, package: str, deaths: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")
    if engine == "spark" and not shutil.which("java"):
        pytest.skip("Java is not installed")
    # For the processes of Ray and Spark, which import the jobs.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "support"))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    once = tmp_path / "once"
    once.touch()
    jobs = [
        SquareJob(1, deaths=1, counter=str(once)),
        SquareJob(2),
        SquareJob(3, deaths=99, counter=deaths),
        SquareJob(4),
    ]
    # A cluster starts again after each death, which takes most of the time.
    found = sorted(ends(Engine(engine, 2), *jobs))
    assert [end[:2] for end in found] == [(1, 1), (2, 4), (3, -1), (4, 16)]
    assert {end.threads for end in found if end.square > 0} == {1}
    assert os.getpid() not in {end.process for end in found}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_changed_run_is_loaded_again_by_a_running_cluster(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    factor = tmp_path / "factor"
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
        for expected in (2, 3):
            factor.write_text(str(expected))
            engine = Engine("dask", address=cluster.scheduler_address)
            assert run(engine, SquareJob(5), work=SquareWork(factor=str(factor))) == [(5, 25 * expected)]
