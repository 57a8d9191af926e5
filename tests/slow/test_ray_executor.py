"""Searches on local Ray clusters give the same table even if an actor, the driver, or the cluster dies."""

import importlib.util
import os
import re
import signal

import pytest
from processes import CEILING, children, command_of, completed, started, until, until_gone, until_there
from ray_clusters import ray_cluster
from search_kills import GRID, RESUME, assert_equal
from searches import table_of

# Every suite collects this file, and importing Ray takes a second.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]

ON_RAY = f"{GRID} --engine ray --jobs 2 --out s"


def lines_of_trials(stream):
    """Yield the lines about trials, up to the first completed trial."""
    for line in stream:
        if line.startswith("trial "):
            yield line.rstrip()
            if "its worker died" not in line:
                return


def actors(pid):
    """Return the processes of the cluster that run trials."""
    return [child for child in children(pid) if command_of(child).startswith(b"ray::JobActor")]


def test_ray_actor_that_dies_is_replaced_and_processes_end(references, tmp_path):
    with started(ON_RAY, tmp_path) as process:
        until_there(tmp_path / "s/states/0000-0.npz")
        os.kill(actors(process.pid)[0], signal.SIGKILL)
        lines = list(lines_of_trials(process.stderr))
        left = children(process.pid)
        out, err = process.communicate(timeout=CEILING)
    assert process.returncode == 0, err
    assert "winner:" in out
    until_gone(left)
    lines += err.splitlines()
    (died,) = [line for line in lines if "its worker died" in line]
    assert re.fullmatch(
        r"trial [0-3]: its worker died \(it was killed or ran out of memory\); it is given to another", died
    )
    assert [line for line in lines if not line.startswith("trial ")] == []
    assert_equal(tmp_path / "s", references("grid"))


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_stopped_ray_driver_leaves_no_processes_and_can_be_resumed(references, tmp_path, number):
    with started(ON_RAY, tmp_path, own_group=True) as process:
        until(process, "trial 0: ")
        left = children(process.pid)
        if number == signal.SIGKILL:
            process.kill()
        else:
            os.killpg(process.pid, number)
        out, err = process.communicate(timeout=CEILING)
    if number == signal.SIGINT:
        assert (process.returncode, out) == (130, "")
        assert err.splitlines()[-1] == (
            "lstmae: Interrupted; nothing is lost. Resume with: lstmae toy tune --resume --out s"
        )
    until_gone(left)  # the processes of Ray check for each other only occasionally
    # A search may be resumed without Ray.
    more = "--engine ray --jobs 2" if number == signal.SIGINT else "--jobs 1"
    completed(f"{RESUME} {more}", tmp_path)
    assert_equal(tmp_path / "s", references("grid"))


@pytest.mark.exhaustive
def test_search_resumes_without_ray_after_the_cluster_is_lost(tmp_path):
    with ray_cluster(2) as cluster, started(f"{ON_RAY} --epochs 60 --address {cluster.address}", tmp_path) as process:
        until_there(tmp_path / "s/states/0000-0.npz")
        cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        out, err = process.communicate(timeout=CEILING)
    assert (process.returncode, out) == (1, ""), err
    # Ray's threads may write after it.
    (said,) = [line for line in err.splitlines() if line.startswith("lstmae: ")]
    assert said.startswith("lstmae: [LAE403] The Ray cluster is lost")
    assert said.endswith(
        "; nothing is lost. Resume with: lstmae toy tune --resume --out s, with --engine ray or without"
    )
    completed(f"{RESUME} --jobs 1", tmp_path)
    assert [row[-1] for row in table_of(tmp_path / "s")] == ["status", *["completed"] * 4]
