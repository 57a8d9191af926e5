"""A detection in a data set gives the same results if one of its processes is killed."""

import importlib.util
import os
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from partitioned import RUN, results, write_dataset
from processes import CEILING, children, command_of, completed, started, until, until_gone, wait_for

pytestmark = pytest.mark.slow

MACHINES = "abc"
DETECT = f"series detect {RUN} data --id-col machine --out out --engine"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    place = tmp_path_factory.mktemp("reference")
    write_dataset(place / "data", MACHINES)
    completed(f"{DETECT} local --jobs 1", place)
    return results(place / "out")


def require_equal(found: tuple[Any, Any], reference: tuple[Any, Any]) -> None:
    for one, other in zip(found, reference, strict=True):
        pd.testing.assert_frame_equal(one, other)


def without(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


@pytest.mark.parametrize(
    ("engine", "process_name"),
    [
        ("local", b"popen_loky"),
        # test_node_kill.py loses a process of Ray as well.
        pytest.param("ray", b"ray::PoolActor", marks=[pytest.mark.exhaustive, without("ray")]),
        pytest.param("dask", b"spawn_main", marks=without("distributed")),
        pytest.param("spark", b"pyspark.daemon", marks=without("joblibspark")),
    ],
)
def test_killed_process_is_replaced(
    reference: tuple[Any, Any], tmp_path: Path, engine: str, process_name: bytes
) -> None:
    write_dataset(tmp_path / "data", MACHINES)
    # The processes of Dask cannot be started by a process that was forked.
    with started(f"{DETECT} {engine} --jobs 2", tmp_path, fresh=engine == "dask") as process:
        until(process, "scoring 3 groups of series, ")
        found: list[int] = []

        def find() -> bool:
            found[:] = [child for child in children(process.pid) if process_name in command_of(child)]
            return bool(found)

        wait_for(find, "no process")
        os.kill(found[-1], signal.SIGKILL)
        left = children(process.pid)
        out, err = process.communicate(timeout=CEILING)
    assert process.returncode == 0, err
    assert "3 groups of series in " in out
    until_gone(left)
    require_equal(results(tmp_path / "out"), reference)
