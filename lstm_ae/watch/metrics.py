"""The endpoint of `lstmae watch` for Prometheus."""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from lstm_ae.errors import Code, ConfigError
from lstm_ae.watch.monitor import Monitor


class MonitorCollector:
    """Metrics of monitors, made when they are asked for.

    Args:
        monitors: the monitors.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = monitors

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        each, series = ["monitor"], ["monitor", "series"]
        score = GaugeMetricFamily("anomaly_score", "Latest anomaly score of a series.", labels=series)
        ratio = GaugeMetricFamily("anomaly_score_ratio", "Latest score divided by the threshold.", labels=series)
        scored = GaugeMetricFamily(
            "lstmae_watch_last_score_timestamp_seconds", "Time of the latest scored row of a series.", labels=series
        )
        shifted = GaugeMetricFamily(
            "lstmae_watch_shifted", "1 if a series has left the training range for good.", labels=series
        )
        rows = CounterMetricFamily("lstmae_watch_rows", "Rows that were accepted.", labels=each)
        refused = CounterMetricFamily(
            "lstmae_watch_refused_rows", "Records that could not be used.", labels=[*each, "reason"]
        )
        unscored = CounterMetricFamily(
            "lstmae_watch_unscored_rows", "Rows that are missing or that no window contains.", labels=each
        )
        events = CounterMetricFamily("lstmae_watch_events", "Events that began.", labels=each)
        newest = GaugeMetricFamily(
            "lstmae_watch_last_row_timestamp_seconds", "Time of the newest accepted row.", labels=each
        )
        up = GaugeMetricFamily("lstmae_watch_source_up", "1 if the source could be read.", labels=each)
        version = InfoMetricFamily("lstmae_watch_model", "Run and version that score the rows.", labels=each)
        sink = [*each, "sink"]
        sink_up = GaugeMetricFamily("lstmae_watch_sink_up", "1 if the sink accepted the last message.", labels=sink)
        waiting = GaugeMetricFamily("lstmae_watch_waiting_messages", "Messages that wait for a sink.", labels=sink)
        dropped = CounterMetricFamily("lstmae_watch_dropped_messages", "Messages that a sink refused.", labels=sink)
        for monitor in self.monitors:
            name, status = monitor.name, monitor.status
            rows.add_metric([name], status.rows)
            for reason, count in list(status.refused.items()):
                refused.add_metric([name, reason], count)
            unscored.add_metric([name], status.unscored)
            events.add_metric([name], status.events)
            up.add_metric([name], float(not monitor.backoff.failures))
            version.add_metric([name], {"run": monitor.options.run, "version": status.version})
            if status.newest is not None:
                newest.add_metric([name], status.newest)
            for key, latest in list(status.scores.items()):
                score.add_metric([name, key], latest.score)
                ratio.add_metric([name, key], latest.ratio)
                if status.newest is not None:
                    scored.add_metric([name, key], latest.time / 1e9)
            for key, left in list(status.shifted.items()):
                shifted.add_metric([name, key], float(left))
            for key, outbox in monitor.outboxes.items():
                sink_up.add_metric([name, key], float(not outbox.backoff.failures))
                waiting.add_metric([name, key], outbox.waiting)
                dropped.add_metric([name, key], outbox.dropped)
        yield from (score, ratio, scored, shifted, rows, refused, unscored, events, newest, up, version)
        yield from (sink_up, waiting, dropped)


class MetricsServer:
    """Server of the metrics, in a thread of its own.

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
