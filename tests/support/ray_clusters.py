"""Ray clusters of several nodes on one machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def ray_cluster(cores: int) -> Iterator[Any]:
    """Start a cluster whose first node has some cores; it ends with the context, and no other cluster does.

    Args:
        cores: Number of cores of the first node.
    """
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Otherwise all machines need the same token.
        patch.setenv("RAY_AUTH_MODE", "disabled")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cores, "include_dashboard": False})
        try:
            yield cluster
        finally:
            cluster.shutdown()
