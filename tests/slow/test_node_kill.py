"""A detection on a cluster of two nodes gives the same results if one of them is killed in the middle."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from partitioned import RUN, results, write_dataset
from processes import CEILING, completed, started, wait_for
from ray_clusters import ray_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

DETECT = f"series detect {RUN} data --id-col machine --out out"
MACHINES = "abcdefgh"


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Return a cluster whose head and whose other node have one core each."""
    with ray_cluster(1) as cluster:
        yield cluster


def test_killed_node_does_not_change_the_results(tmp_path: Path, cluster: Any) -> None:
    (tmp_path / "whole").mkdir()
    for place in (tmp_path, tmp_path / "whole"):
        write_dataset(place / "data", MACHINES)
    completed(f"{DETECT} --engine local --jobs 1", tmp_path / "whole")
    node = cluster.add_node(num_cpus=1)
    with started(f"{DETECT} --engine ray --address {cluster.address} --jobs 2", tmp_path) as process:
        scores = tmp_path / "out/scores"
        wait_for(lambda: list(scores.glob("*.parquet")), "no group was completed")
        cluster.remove_node(node, allow_graceful=False)
        out, err = process.communicate(timeout=CEILING)
    assert process.returncode == 0, err
    assert "a process died" in err
    assert f"{len(MACHINES)} groups" in out
    for one, other in zip(results(tmp_path / "out"), results(tmp_path / "whole/out"), strict=True):
        pd.testing.assert_frame_equal(one, other)
