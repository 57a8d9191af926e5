"""The endpoint of `lstmae watch` for Prometheus: `/metrics`, `/health`, and `/ready`."""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from lstm_ae.errors import Code, ConfigError
from lstm_ae.json_types import JsonObject
from lstm_ae.watch.monitor import Clock, Monitor

LOG = logging.getLogger(__name__)


class MonitorCollector:
    """Metrics of monitors, made when they are asked for.

    Args:
        monitors: the monitors.
        clock: the module `time`, or a replacement.
    """

    def __init__(self, monitors: Sequence[Monitor], clock: Clock) -> None:
        self.monitors, self.clock = monitors, clock

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
        lag = GaugeMetricFamily("lstmae_watch_lag_seconds", "Time since the newest accepted row.", labels=each)
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
            up.add_metric([name], float(not status.source.failures))
            version.add_metric([name], {"run": monitor.options.run, "version": status.version})
            if status.newest is not None:
                newest.add_metric([name], status.newest)
                lag.add_metric([name], self.clock.time() - status.newest)
            for key, latest in list(status.scores.items()):
                score.add_metric([name, key], latest.score)
                ratio.add_metric([name, key], latest.ratio)
                if status.newest is not None:
                    scored.add_metric([name, key], latest.time / 1e9)
            for key, left in list(status.shifted.items()):
                shifted.add_metric([name, key], float(left))
            for key, backoff in status.sinks.items():
                sink_up.add_metric([name, key], float(not backoff.failures))
                waiting.add_metric([name, key], status.waiting.get(key, 0))
                dropped.add_metric([name, key], status.dropped[key])
        yield from (score, ratio, scored, shifted, rows, refused, unscored, events, newest, lag, up, version)
        yield from (sink_up, waiting, dropped)


def readiness(monitors: Sequence[Monitor]) -> JsonObject:
    """Return the sources and sinks that cannot be reached, by monitor; empty if there are none."""
    problems: JsonObject = {}
    for monitor in monitors:
        failing = {name: each.error for name, each in monitor.status.sinks.items() if each.failures}
        if monitor.status.source.failures:
            failing["source"] = monitor.status.source.error
        if failing:
            problems[monitor.name] = failing
    return problems


class MetricsServer:
    """Server of the metrics, in threads of its own.

    Args:
        host, port: address to listen at; port 0 takes a free one.
        monitors: the monitors.
        alive: function that returns whether all monitors are running.
        clock: the module `time`, or a replacement.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(
        self, host: str, port: int, monitors: Sequence[Monitor], alive: Callable[[], bool], clock: Clock
    ) -> None:
        registry = CollectorRegistry()
        registry.register(MonitorCollector(monitors, clock))

        class Handler(BaseHTTPRequestHandler):
            """Answer requests."""

            timeout = 10

            def do_GET(self) -> None:
                """Answer with metrics, health, or readiness."""
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif path == "/health":
                    good = alive()
                    self._answer(200 if good else 503, json.dumps({"alive": good}).encode())
                elif path == "/ready":
                    problems = readiness(monitors)
                    self._answer(503 if problems else 200, json.dumps({"problems": problems}).encode())
                else:
                    self._answer(404, b'{"error": "Use /metrics, /health, or /ready"}')

            def _answer(self, code: int, content: bytes, kind: str = "application/json") -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Log no request."""

        class AnyFamilyServer(ThreadingHTTPServer):
            """Server for both families of addresses."""

            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Log the error of a connection, such as a client that has gone."""
                LOG.info("The endpoint failed to answer a request", exc_info=True)

        try:
            self.server = AnyFamilyServer((host, port), Handler)
        except OSError as error:
            raise ConfigError(
                f"[http]: {host}:{port} cannot be used: {error.strerror or error}. Change host or port",
                code=Code.IN_USE,
            ) from None
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop the server."""
        self.server.shutdown()
        self.server.server_close()
