"""A detection in a data set gives the same files if it is killed at any write, or if one of its processes is killed."""

import importlib.util
import os
import signal
from pathlib import Path

import pytest
from partitioned import RUN, results, write_dataset
from processes import CEILING, children, command_of, finished, started, until_gone, until_there
from sampling import sampled

pytestmark = pytest.mark.slow

DETECT = f"series detect {RUN} data --id-col machine --out out --engine"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    place = tmp_path_factory.mktemp("reference")
    write_dataset(place / "data")
    code, lines = finished(f"{DETECT} local --jobs 1", place)
    assert code == 0, lines
    return results(place / "out")


# The first writes are the claim of the directory; each part has two, its scores and the rows of its events.
@pytest.mark.parametrize("kill", sampled((1, 2, 3, 6, 13, 14), slow=(6,)))
def test_detection_resumes_after_a_kill_at_a_write(reference: dict[str, bytes], tmp_path: Path, kill: int) -> None:
    write_dataset(tmp_path / "data")
    code, _ = finished(f"{DETECT} local --jobs 1", tmp_path, kill_at_write=kill)
    assert code == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/parts").rglob("*.npz")}
    code, lines = finished(f"{DETECT} local --jobs 1", tmp_path)
    assert code == 0, lines
    assert results(tmp_path / "out") == reference
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    "engine",
    [
        "local",
        pytest.param(
            "ray",
            marks=[
                # test_node_kill.py loses a process of Ray as well.
                pytest.mark.exhaustive,
                pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
            ],
        ),
    ],
)
def test_killed_process_is_replaced(reference: dict[str, bytes], tmp_path: Path, engine: str) -> None:
    write_dataset(tmp_path / "data")
    with started(f"{DETECT} {engine} --jobs 2", tmp_path) as process:
        until_there(tmp_path / "out/parts")
        name = b"ray::JobActor" if engine == "ray" else b"spawn_main"
        found = [child for child in children(process.pid) if name in command_of(child)]
        os.kill(found[0], signal.SIGKILL)
        left = children(process.pid)
        out, err = process.communicate(timeout=CEILING)
    assert process.returncode == 0, err
    assert "6 parts" in out
    until_gone(left)
    assert results(tmp_path / "out") == reference
