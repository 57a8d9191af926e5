"""A detection on a cluster of two nodes is completed by the same command if one of them is killed in the middle."""

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
MACHINES = "abcdefghijkl"


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Return a cluster whose head has two cores, as joblib needs, and can go on alone."""
    with ray_cluster(2) as cluster:
        yield cluster


def test_same_command_completes_the_results_after_a_node_is_killed(tmp_path: Path, cluster: Any) -> None:
    (tmp_path / "whole").mkdir()
    for place in (tmp_path, tmp_path / "whole"):
        write_dataset(place / "data", MACHINES)
    completed(f"{DETECT} --engine local --jobs 1", tmp_path / "whole")
    node = cluster.add_node(num_cpus=1)
    with started(f"{DETECT} --engine ray --address {cluster.address} --jobs 3", tmp_path) as process:
        scores = tmp_path / "out/scores"
        wait_for(lambda: list(scores.glob("*.parquet")), "no group was completed")
        cluster.remove_node(node, allow_graceful=False)
        _, err = process.communicate(timeout=CEILING)
    # A group whose second process was begun on the dying node is given up, and named.
    assert process.returncode in (0, 3), err
    completed(f"{DETECT} --engine local --jobs 1", tmp_path)
    for one, other in zip(results(tmp_path / "out"), results(tmp_path / "whole/out"), strict=True):
        pd.testing.assert_frame_equal(one, other)
