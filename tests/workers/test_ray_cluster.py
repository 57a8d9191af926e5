"""The connection to a Ray cluster tells the loss of an actor from that of the cluster. These tests need no Ray."""

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from lstm_ae.workers.clusters import ClusterLostError
from lstm_ae.workers.ray_cluster import MAX_FAILED_CHECKS, RayCluster


class LostActorError(Exception):
    """Loss of an actor."""


class TaskError(Exception):
    """Exception of an actor."""

    cause = ValueError("of the actor")


class OtherError(Exception):
    """Another error of Ray."""


def connection(head: str, error: Exception | None = None) -> RayCluster:
    """Return a connection whose results raise an error, or never come."""

    def get(reference: object) -> object:
        assert error
        raise error

    cluster = RayCluster.__new__(RayCluster)
    exceptions = SimpleNamespace(RayTaskError=TaskError, RayError=OtherError)
    ray: Any = SimpleNamespace(get=get, wait=lambda references, timeout: ([], references), exceptions=exceptions)
    cluster.ray, cluster.head, cluster.failed_checks, cluster.losses = ray, head, 0, (LostActorError,)
    return cluster


@pytest.fixture
def head() -> Any:
    """Return the address of a head that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


NOWHERE = "127.0.0.1:1"
REFERENCE: Any = None


def test_dead_actor_is_lost_alone_while_the_head_answers(head: str) -> None:
    with pytest.raises(LostActorError):
        connection(head, LostActorError()).get(REFERENCE)


def test_dead_actor_without_a_head_means_that_the_cluster_is_lost() -> None:
    with pytest.raises(ClusterLostError, match=f"The Ray cluster is lost: no answer from {NOWHERE}"):
        connection(NOWHERE, LostActorError()).get(REFERENCE)


def test_exception_of_an_actor_is_raised_unchanged(head: str) -> None:
    with pytest.raises(ValueError, match="of the actor"):
        connection(head, TaskError()).get(REFERENCE)


def test_other_errors_mean_that_the_cluster_is_lost(head: str) -> None:
    with pytest.raises(ClusterLostError, match="OtherError"):
        connection(head, OtherError()).get(REFERENCE)


def test_waiting_ends_after_several_failed_connections_to_the_head(head: str) -> None:
    cluster = connection(NOWHERE)
    for _ in range(MAX_FAILED_CHECKS - 1):
        assert cluster.wait([REFERENCE], 0.0) == []
    cluster.head = head  # A connection that succeeds starts the count anew.
    assert cluster.wait([REFERENCE], 0.0) == []
    cluster.head = NOWHERE
    for _ in range(MAX_FAILED_CHECKS - 1):
        assert cluster.wait([REFERENCE], 0.0) == []
    with pytest.raises(ClusterLostError, match="no answer"):
        cluster.wait([REFERENCE], 0.0)
