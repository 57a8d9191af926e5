"""`lstmae watch` with the real Alertmanager of Debian."""

import json
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from processes import wait_for
from watching import HEADER, drain, lines, monitor_of, use_run, webhook_server

from lstm_ae.watch.sinks import Alertmanager

PROGRAM = shutil.which("prometheus-alertmanager")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="prometheus-alertmanager is not installed"),
]
CONFIG = """
route: {{ receiver: hook, group_by: ["..."], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}
receivers: [{{ name: hook, webhook_configs: [{{ url: "{url}", send_resolved: true }}] }}]
"""


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready") as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def alerts(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/api/v2/alerts") as answer:
        return json.load(answer)


def test_fault_is_one_alert_that_is_resolved_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    use_run(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    url, values, live = f"http://{address}", [0.0] * 23, Path("live.csv")
    values[20] = 20.0
    with webhook_server() as hook:
        Path("alertmanager.yml").write_text(CONFIG.format(url=hook.url))
        words = [
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]
        with subprocess.Popen([str(PROGRAM), *words, f"--web.listen-address={address}"]) as process:
            try:
                wait_for(lambda: is_ready(url) or process.poll() is not None, "Alertmanager did not start")
                options = Alertmanager(url=url)
                sink = options.open()
                sink.check()
                live.write_text(HEADER + lines(values))
                monitor = monitor_of(sinks={"alerts": (options, sink)})
                drain(monitor)
                wait_for(lambda: len(hook.received) == 1, "no notification")
                (alert,) = alerts(url)
                assert alert["status"]["state"] == "active"
                assert alert["labels"]["monitor"] == "pump"
                assert alert["startsAt"] == "2024-01-01T00:20:00.000Z"
                fingerprint = alert["fingerprint"]
                for _ in range(3):
                    monitor.refreshed["alerts"] = float("-inf")
                    drain(monitor)
                assert [each["fingerprint"] for each in alerts(url)] == [fingerprint]
                with live.open("a") as file:
                    file.write(lines([0.0] * 10, 23))
                drain(monitor)
                wait_for(lambda: len(hook.received) == 2, "the alert was not resolved")
                assert alerts(url) == []
            finally:
                process.kill()
        found = [json.loads(body) for _, body in hook.received]
    assert [each["status"] for each in found] == ["firing", "resolved"]
    assert {alert["fingerprint"] for each in found for alert in each["alerts"]} == {fingerprint}
