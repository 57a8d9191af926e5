"""A search that is killed at any moment or loses its workers gives bitwise equal results after resuming."""

import json
import os
import signal

import pytest
from processes import (
    CEILING,
    children,
    completed,
    interrupt,
    started,
    until,
    until_gone,
    until_there,
    wait_for,
    workers,
)
from search_kills import GRID, RESUME, assert_equal

pytestmark = pytest.mark.slow


@pytest.mark.exhaustive
def test_search_with_two_jobs_killed_at_every_stage_resumes(search_reference, tmp_path):
    place = tmp_path / "s"
    with started(f"{GRID} --jobs 2 --out s", tmp_path) as process:  # while a worker process imports its modules
        wait_for(lambda: workers(process.pid), "no worker was started")
        left = children(process.pid)
        process.kill()
    until_gone(left)
    with started(f"{RESUME} --jobs 2", tmp_path) as process:
        until(process, "trial ")
        left = children(process.pid)
        assert len(workers(process.pid)) == 2
        process.kill()
    until_gone(left)
    with started(f"{RESUME} --jobs 2", tmp_path) as process:
        until_there(place / "trials")
        process.kill()
    completed(f"{RESUME} --jobs 2", tmp_path)
    assert_equal(place, search_reference)


def test_search_repeats_trials_of_workers_that_die(search_reference, tmp_path):
    place = tmp_path / "s"
    with started(f"{GRID} --jobs 2 --out s --json", tmp_path) as process:
        until_there(place / "states/0001/0.npz")
        os.kill(workers(process.pid)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=CEILING)
    assert process.returncode == 0, err
    (died,) = [line for line in err.splitlines() if line.startswith("a process died (")]
    assert "trial 0" in died or "trial 1" in died
    assert json.loads(out)["complete"]
    assert_equal(place, search_reference)


@pytest.mark.parametrize(
    ("number", "jobs"),
    [(signal.SIGINT, 1), pytest.param(signal.SIGTERM, 2, marks=pytest.mark.exhaustive)],
    ids=["SIGINT alone", "SIGTERM with two at once"],
)
def test_interrupted_search_resumes_with_the_printed_command(search_reference, tmp_path, number, jobs):
    command, left = interrupt(f"{GRID} --jobs {jobs} --out 'my s'", tmp_path, "trial 0: ", number)
    until_gone(left)
    completed(f"{command} --jobs {jobs}", tmp_path)
    assert_equal(tmp_path / "my s", search_reference)
