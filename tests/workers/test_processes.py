import os
from pathlib import Path

import pytest
from numbered_work import SquareJob, SquareOutcome, SquareWork

from lstm_ae.errors import DataError, LstmAeError
from lstm_ae.workers.jobs import LostJob, run_jobs
from lstm_ae.workers.processes import ProcessPool, describe_exit


def run(pool: ProcessPool[SquareJob, SquareOutcome], *jobs: SquareJob, **options: object) -> list[SquareOutcome]:
    """Run jobs and stop the pool."""
    try:
        return list(run_jobs(jobs, pool, lambda number: f"job {number}", **options))  # type: ignore[arg-type]
    finally:
        pool.stop()


def test_processes_run_jobs_with_their_threads_and_report_progress() -> None:
    progress: list[str] = []
    pool = ProcessPool(SquareWork(), 2, 3, Path("workers.log"), progress.append)
    ends = run(pool, *map(SquareJob, range(5)))
    assert sorted(end[:2] for end in ends) == [(number, number**2) for number in range(5)]
    assert {end.threads for end in ends} == {3}
    assert os.getpid() not in {end.process for end in ends}
    assert "job 0" in progress
    assert Path("workers.log").read_text() == "prepared\n" * len({end.process for end in ends})


def test_job_whose_process_dies_runs_again_in_a_new_process() -> None:
    Path("deaths").touch()
    lost: list[tuple[str, str]] = []
    jobs = [SquareJob(0, deaths=2, counter=str(Path("deaths").absolute())), SquareJob(1)]
    ends = run(ProcessPool(SquareWork(), 1, 1, None), *jobs, lost=lambda *how: lost.append(how))
    assert [end[:2] for end in ends] == [(0, 0), (1, 1)]
    assert lost == 2 * [("job 0", "it was killed (SIGKILL), perhaps for lack of memory")]


@pytest.mark.parametrize("give_up", [False, True])
def test_job_that_always_dies_is_given_up(give_up: bool) -> None:
    Path("deaths").touch()
    job = SquareJob(7, deaths=9, counter=str(Path("deaths").absolute()))
    pool, reason = ProcessPool(SquareWork(), 1, 1, None), "its process died 3 times; the last time it was killed"
    if not give_up:
        with pytest.raises(LstmAeError, match=f"job 7: {reason}"):
            run(pool, job)
        return
    reasons: list[str] = []

    def refuse(number: int, reason: str) -> SquareOutcome:
        reasons.append(reason)
        return SquareOutcome(number, -1, 0, 0)

    assert [end.square for end in run(pool, job, give_up=refuse)] == [-1]
    assert reasons[0].startswith(reason)


def test_exceptions_of_jobs_are_raised() -> None:
    with pytest.raises(RuntimeError, match=r"KeyError\('text'\)"):
        run(ProcessPool(SquareWork(), 1, 1, None), SquareJob(0, error="text"))
    with pytest.raises(DataError, match="the work is broken"):
        run(ProcessPool(SquareWork(broken=True), 1, 1, None), SquareJob(0))


def test_idle_process_that_died_is_replaced() -> None:
    pool = ProcessPool(SquareWork(), 1, 1, Path("workers.log"))
    try:
        pool.start(SquareJob(1))
        (first,) = pool.wait(None)
        os.kill(first.process, 9) if not isinstance(first, LostJob) else pytest.fail(first.how)
        pool.workers[0].process.join()
        pool.start(SquareJob(2))
        (second,) = pool.wait(None)
        assert not isinstance(second, LostJob)
        assert second.square == 4
    finally:
        pool.stop()


def test_describe_exit_of_a_process() -> None:
    log = Path("workers.log")
    assert describe_exit(-9, log) == "it was killed (SIGKILL), perhaps for lack of memory"
    assert describe_exit(-11, log) == "it was killed (SIGSEGV)"
    assert describe_exit(-200, log) == "it was killed (signal 200)"
    assert describe_exit(1, log) == describe_exit(1, None) == "it ended with exit code 1"
    log.write_text("Traceback\n")
    assert describe_exit(1, log) == "it ended with exit code 1; see 'workers.log'"
