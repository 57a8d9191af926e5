"""Prometheus metrics with the names that TensorFlow Serving uses."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric

_LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _RequestCounter:
    """A counter without the suffix `_total`, which the client library would add but TensorFlow Serving does not use."""

    name = ":tensorflow:serving:request_count"

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()

    def collect(self) -> Iterator[Metric]:
        """Yield all counts for the registry."""
        metric = Metric(self.name, "Requests.", "unknown")
        for (model, protocol, code), count in list(self.counts.items()):
            labels = {"model_name": model, "entrypoint": protocol, "status": code}
            metric.add_sample(self.name, labels, count)
        yield metric


class ServerMetrics:
    """The metrics of requests and model calls."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = _RequestCounter()
        self._registry.register(self._requests)
        self._latency = Histogram(
            ":tensorflow:serving:request_latency_seconds",
            "Time from the arrival of a request to its response; over REST including the arrival of its body.",
            ["model_name", "entrypoint"],
            registry=self._registry,
            buckets=_LATENCY_BUCKETS,
        )
        self._calls = Histogram(
            ":tensorflow:serving:runtime_latency_seconds",
            "Time of model calls.",
            ["model_name"],
            registry=self._registry,
            buckets=_LATENCY_BUCKETS,
        )
        self._sizes = Histogram(
            ":tensorflow:serving:batching_session:processed_batch_size",
            "Samples per model call.",
            ["model_name"],
            registry=self._registry,
            buckets=_SIZE_BUCKETS,
        )

    def record_request(self, protocol: str, model: str, code: str, seconds: float) -> None:
        """Record a request with its status and duration in seconds."""
        self._requests.counts[model, protocol, code] += 1
        self._latency.labels(model, protocol).observe(seconds)

    def record_call(self, model: str, rows: int, seconds: float) -> None:
        """Record a call of a model with its samples and duration in seconds; may be called from any thread."""
        self._calls.labels(model).observe(seconds)
        self._sizes.labels(model).observe(rows)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)
