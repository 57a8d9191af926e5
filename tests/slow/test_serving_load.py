"""Under load, versions are added and removed without a failed request."""

import json
import shutil
import threading
from pathlib import Path

import pytest
from processes import wait_for
from served_models import save
from servers import live

from lstm_ae.bench.serving import Load, _load

PREDICT = "/v1/models/plus:predict"
ONE = json.dumps({"instances": [[1.0]]}).encode()

pytestmark = pytest.mark.slow


def test_requests_succeed_while_versions_are_added_and_removed(tmp_path: Path) -> None:
    """Version N adds N to each number."""
    for version in (1, 2, 3):
        save(tmp_path / "kept", version, float(version))
    base = tmp_path / "plus"
    shutil.copytree(tmp_path / "kept" / "1", base / "1")
    with live(base) as server:
        stop, loads = threading.Event(), list[Load]()

        def ask() -> None:
            while not stop.is_set():
                loads.append(_load(server.rest, PREDICT, ONE, 64, 0.5))

        asking = threading.Thread(target=ask)
        asking.start()

        def serves(version: int) -> None:
            answer = (200, {"predictions": [[1.0 + version]]})
            wait_for(lambda: server.ask(PREDICT, ONE) == answer, f"version {version} is not served: {server.log}")
            count = len(loads)
            wait_for(lambda: len(loads) > count + 1 or not asking.is_alive(), "no answers")

        def arrives(version: int) -> None:
            shutil.copytree(tmp_path / "kept" / str(version), base / ".part")
            (base / ".part").rename(base / str(version))
            serves(version)

        try:
            serves(1)
            arrives(2)
            arrives(3)
            shutil.rmtree(base / "3")  # rolled back
            serves(2)
            shutil.rmtree(base / "1")  # an old version that receives no requests
            arrives(3)
            shutil.rmtree(base / "2")
            serves(3)
        finally:
            stop.set()
            asking.join()
        assert [load.failed for load in loads] == [0] * len(loads)
        assert len(loads) > 10
        assert server.stop() == 0
        assert not [line for line in server.log if '"level": "error"' in line]
