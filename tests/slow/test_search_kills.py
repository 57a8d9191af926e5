"""A search that is killed at any moment or loses its workers gives bitwise equal results after resuming."""

import json
import os
import signal

import pytest
from processes import (
    CEILING,
    children,
    completed,
    finished,
    interrupt,
    started,
    until,
    until_gone,
    until_there,
    wait_for,
    workers,
)
from search_kills import GRID, KINDS, RESUME, assert_equal

pytestmark = pytest.mark.slow


def test_search_killed_at_every_stage_resumes_to_equal_results(references, tmp_path):
    place = tmp_path / "s"
    # While search.json is written, before any other file exists.
    code, _ = finished(f"{GRID} --jobs 1 --out s", tmp_path, kill_at_write=1)
    assert code == -signal.SIGKILL
    assert not (place / "search.json").exists()
    with started(f"{GRID} --jobs 1 --out s", tmp_path) as process:  # before the first trial
        until_there(place / "search.json")
        process.kill()
    # While writing the journal line of a trial, its checkpoint at the start and after an epoch, and its end.
    for write in (1, 2, 3, 6):
        code, lines = finished(f"{RESUME} --jobs 1", tmp_path, kill_at_write=write)
        assert code == -signal.SIGKILL, lines
    with started(f"{RESUME} --jobs 1", tmp_path) as process:  # at the end of a trial or within the next one
        until(process, "trial ")
        process.kill()
    with started(f"{RESUME} --jobs 1", tmp_path) as process:  # while the best trial becomes a run
        until_there(place / "trials")
        process.kill()
    completed(f"{RESUME} --jobs 1", tmp_path)
    assert_equal(place, references("grid"))


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("kind", "first", "later"),
    [("repeats", 4, (9,)), ("hyperband", 4, (12,))],
)
def test_search_kinds_killed_within_trials_resume_to_equal_results(references, tmp_path, kind, first, later):
    code, _ = finished(f"{KINDS[kind]} --jobs 1 --out s", tmp_path, kill_at_write=first)
    assert code == -signal.SIGKILL
    for write in later:
        code, lines = finished(f"{RESUME} --jobs 1", tmp_path, kill_at_write=write)
        assert code == -signal.SIGKILL, lines
    completed(f"{RESUME} --jobs 1", tmp_path)
    assert_equal(tmp_path / "s", references(kind))


@pytest.mark.exhaustive
def test_search_with_two_jobs_killed_at_every_stage_resumes(references, tmp_path):
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
    assert_equal(place, references("grid"))


def test_search_repeats_trials_of_workers_that_die(references, tmp_path):
    place = tmp_path / "s"
    with started(f"{GRID} --jobs 2 --out s --json", tmp_path) as process:
        until_there(place / "states/0001/0.npz")
        os.kill(workers(process.pid)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=CEILING)
    assert process.returncode == 0, err
    (died,) = [line for line in err.splitlines() if line.startswith("a process died (")]
    assert "trial 0" in died or "trial 1" in died
    assert json.loads(out)["complete"]
    assert_equal(place, references("grid"))


@pytest.mark.parametrize(
    ("number", "jobs"),
    [(signal.SIGINT, 1), pytest.param(signal.SIGTERM, 2, marks=pytest.mark.exhaustive)],
    ids=["SIGINT alone", "SIGTERM with two at once"],
)
def test_interrupted_search_resumes_with_the_printed_command(references, tmp_path, number, jobs):
    command, left = interrupt(f"{GRID} --jobs {jobs} --out 'my s'", tmp_path, "trial 0: ", number)
    until_gone(left)
    completed(f"{command} --jobs {jobs}", tmp_path)
    assert_equal(tmp_path / "my s", references("grid"))
