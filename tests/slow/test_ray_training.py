"""Data-parallel trainings on local Ray clusters give the same model even if a worker or the driver dies."""

import importlib.util
import os
import re
import signal

import pytest
from processes import CEILING, children, command_of, finished, started, until, until_gone
from ray_clusters import ray_cluster

# Every suite collects this file, and importing Ray takes a second.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]

# An epoch has enough steps to be killed in.
TRAINING = "toy train --sequences 1500 --units 2 --batch-size 16 --epochs 4 --deterministic --parts 3"


def on_ray(workers, out):
    return f"{TRAINING} --engine ray --workers {workers} --out {out}"


def workers_of(process):
    """Return the processes of the cluster that compute gradients."""
    return [child for child in children(process.pid) if command_of(child).startswith(b"ray::GradientActor")]


def history(run):
    """Return the history without its column of seconds."""
    rows = [line.split(",") for line in (run / "history.csv").read_text().splitlines()]
    return [[cell for name, cell in zip(rows[0], row, strict=True) if name != "seconds"] for row in rows]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Return the run of a training with one worker."""
    place = tmp_path_factory.mktemp("reference")
    code, lines = finished(on_ray(1, "run"), place)
    assert code == 0, lines
    return place / "run"


def assert_same_model(run, reference):
    assert (run / "model.keras").read_bytes() == (reference / "model.keras").read_bytes()
    assert history(run) == history(reference)


def test_killed_worker_is_replaced_and_the_model_is_the_same(reference, tmp_path):
    with started(on_ray(2, "run"), tmp_path) as process:
        until(process, "epoch 1/4")
        os.kill(workers_of(process)[0], signal.SIGKILL)
        left = children(process.pid)
        out, err = process.communicate(timeout=CEILING)
    assert process.returncode == 0, err
    assert "4 epochs in" in out
    until_gone(left)
    (died,) = [line for line in err.splitlines() if "died" in line]
    assert re.fullmatch(
        r"a worker died in step [\d,]+ \(it was killed or ran out of memory\) and is replaced; "
        r"training (continues with 1 worker|waits for it)",
        died,
    )
    assert_same_model(tmp_path / "run", reference)


@pytest.mark.exhaustive
def test_killed_driver_leaves_no_processes_and_resumes_with_more_workers(reference, tmp_path):
    with started(on_ray(2, "run"), tmp_path) as process:
        until(process, "epoch 2/4")
        left = children(process.pid)
        process.kill()
        process.communicate(timeout=CEILING)
    until_gone(left)
    code, lines = finished("toy train --resume --out run --engine ray --workers 3", tmp_path)
    assert code == 0, lines
    shown = [line for line in lines if line.startswith("epoch")]
    assert shown[0].startswith("epoch 3/4"), lines
    assert_same_model(tmp_path / "run", reference)


@pytest.mark.exhaustive
def test_training_continues_after_the_loss_of_a_machine(reference, tmp_path):
    """The remaining machine has no core for a replacement, so that one worker computes all parts."""
    with ray_cluster(0) as cluster:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        with started(f"{on_ray(2, 'run')} --address {cluster.address}", tmp_path) as process:
            until(process, "epoch 1/4")
            cluster.remove_node(nodes[0], allow_graceful=False)
            _, err = process.communicate(timeout=CEILING)
        assert process.returncode == 0, err
        assert "is replaced; training continues with 1 worker" in err
    assert_same_model(tmp_path / "run", reference)
