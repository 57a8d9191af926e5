"""The endpoint of `lstmae watch` for Prometheus."""

from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from lstm_ae.errors import Code, ConfigError
from lstm_ae.watch.monitor import Monitor

PREFIX = "lstmae_watch_"


# Kind, name, help, and labels beside the monitor of each metric.
METRICS: tuple[tuple[Any, str, str, tuple[str, ...]], ...] = (
    (GaugeMetricFamily, "anomaly_score", "Latest anomaly score of a series.", ("series",)),
    (GaugeMetricFamily, "anomaly_score_ratio", "Latest score divided by the threshold.", ("series",)),
    (GaugeMetricFamily, f"{PREFIX}last_score_timestamp_seconds", "Time of the latest scored row.", ("series",)),
    (GaugeMetricFamily, f"{PREFIX}shifted", "1 if a series has left the training range for good.", ("series",)),
    (CounterMetricFamily, f"{PREFIX}rows", "Rows that were accepted.", ()),
    (CounterMetricFamily, f"{PREFIX}refused_rows", "Records that were refused.", ("reason",)),
    (CounterMetricFamily, f"{PREFIX}unscored_rows", "Rows that are missing or that no window contains.", ()),
    (CounterMetricFamily, "lstmae_alarms", "Alarms.", ("series",)),
    (CounterMetricFamily, "lstmae_false_alarms_announced", "False alarms expected in normal rows.", ("series",)),
    (CounterMetricFamily, "lstmae_alarms_suppressed", "Runs above the threshold without an alarm.", ("series",)),
    (GaugeMetricFamily, "lstmae_changed", "1 if scores above the threshold became usual.", ("series",)),
    (GaugeMetricFamily, f"{PREFIX}last_row_timestamp_seconds", "Time of the newest accepted row.", ()),
    (GaugeMetricFamily, f"{PREFIX}source_up", "1 if the source could be read.", ()),
    (InfoMetricFamily, f"{PREFIX}model", "Run and version that score the rows.", ()),
    (GaugeMetricFamily, f"{PREFIX}sink_up", "1 if the sink accepted the last message.", ("sink",)),
    (GaugeMetricFamily, f"{PREFIX}waiting_messages", "Messages that wait for a sink.", ("sink",)),
    (CounterMetricFamily, f"{PREFIX}dropped_messages", "Messages that a sink refused.", ("sink",)),
)


class MonitorCollector:
    """A collector that reads the status of monitors when the metrics are requested.

    Args:
        monitors: the monitors.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = monitors

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        families = {name: kind(name, text, labels=["monitor", *more]) for kind, name, text, more in METRICS}
        for monitor in self.monitors:
            for name, label, value in _samples(monitor):
                families[name].add_metric([monitor.name, *label], value)
        yield from families.values()


def _samples(monitor: Monitor) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield the name of each metric of a monitor, its label beside the monitor, and its value."""
    status = monitor.status
    for reason, count in list(status.refused.items()):
        yield f"{PREFIX}refused_rows", (reason,), count
    for name, value in (("rows", status.rows), ("unscored_rows", status.unscored)):
        yield f"{PREFIX}{name}", (), value
    yield f"{PREFIX}source_up", (), float(not monitor.backoff.failures)
    yield f"{PREFIX}model", (), {"run": monitor.options.run, "version": monitor.scorer.version[1]}
    if status.newest is not None:
        yield f"{PREFIX}last_row_timestamp_seconds", (), status.newest
    for series, latest in list(status.scores.items()):
        yield "anomaly_score", (series,), latest.score
        yield "anomaly_score_ratio", (series,), latest.ratio
        yield f"{PREFIX}last_score_timestamp_seconds", (series,), latest.time / 1e9
    for series, account in list(status.accounts.items()):
        yield "lstmae_alarms", (series,), account.alarms
        yield "lstmae_false_alarms_announced", (series,), account.expected.expected
        yield "lstmae_alarms_suppressed", (series,), account.suppressed
        yield "lstmae_changed", (series,), float(account.changed)
    for series, shifted in list(status.shifted.items()):
        yield f"{PREFIX}shifted", (series,), float(shifted)
    for sink, outbox in monitor.outboxes.items():
        yield f"{PREFIX}sink_up", (sink,), float(not outbox.backoff.failures)
        yield f"{PREFIX}waiting_messages", (sink,), outbox.waiting
        yield f"{PREFIX}dropped_messages", (sink,), outbox.dropped


class MetricsServer:
    """A server of the metrics, which runs in a thread.

    Args:
        host, port: address to listen at; port 0 takes a free one.
        monitors: the monitors.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(self, host: str, port: int, monitors: Sequence[Monitor]) -> None:
        registry = CollectorRegistry()
        registry.register(MonitorCollector(monitors))
        try:
            self.server, self.thread = start_http_server(port, host, registry)
        except OSError as error:
            raise ConfigError(
                f"[http]: {host}:{port} cannot be used: {error.strerror}. Change host or port", code=Code.IN_USE
            ) from None
        self.port = self.server.server_port

    def close(self) -> None:
        """Stop answering."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
