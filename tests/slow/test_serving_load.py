"""Under load, versions are added and removed without a failed request, and memory does not grow."""

import asyncio
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from sampling import sampled
from served_models import save
from servers import Live, live

PREDICT = "/v1/models/plus:predict"
ONE = json.dumps({"instances": [[1.0]]}).encode()
MESSAGE = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(ONE)}\r\n\r\n".encode() + ONE

pytestmark = pytest.mark.slow


async def client(port: int, stop: threading.Event, pause: float, first: float, found: list[Any]) -> None:
    """Send requests over one connection: at fixed times if there is a pause, otherwise after each answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    clock = asyncio.get_running_loop().time
    due = clock() + first
    while not stop.is_set():
        await asyncio.sleep(max(0.0, due - clock()) if pause else 0)
        due += pause
        writer.write(MESSAGE)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        found.append((int(head.split()[1]), await reader.readexactly(length)))
    writer.close()


def load(server: Live, stop: threading.Event, clients: int, rate: float, found: list[Any]) -> None:
    pause = clients / rate if rate else 0.0

    async def all_of_them() -> None:
        firsts = [pause * place / clients for place in range(clients)]
        await asyncio.gather(*(client(server.rest, stop, pause, first, found) for first in firsts))

    asyncio.run(all_of_them())


@pytest.mark.parametrize(
    ("clients", "rate"), sampled(((50, 500.0), (64, 0.0)), slow=((64, 0.0),)), ids=["500 a second", "64 clients"]
)
def test_requests_succeed_while_versions_are_added_and_removed(tmp_path: Path, clients: int, rate: float) -> None:
    for version in (1, 2, 3):
        save(tmp_path / "kept", version, float(version))
    base = tmp_path / "plus"
    shutil.copytree(tmp_path / "kept" / "1", base / "1")
    with live(base) as server:
        stop, found, errors = threading.Event(), list[Any](), list[BaseException]()

        def loading() -> None:
            try:
                load(server, stop, clients, rate, found)
            except BaseException as error:  # a broken connection
                errors.append(error)

        asking = threading.Thread(target=loading)
        asking.start()

        def until(answer: float) -> None:
            """Wait until the last 20 answers are those of one version."""
            for _ in range(600):
                if found[-20:] and {content for _, content in found[-20:]} == {b'{"predictions":[[%.1f]]}' % answer}:
                    return
                assert not errors, errors
                stop.wait(0.05)
            raise AssertionError(f"never {answer}: {found[-5:]}, {server.log}")

        def arrives(version: int) -> None:
            shutil.copytree(tmp_path / "kept" / str(version), base / ".part")
            (base / ".part").rename(base / str(version))

        try:
            until(2.0)
            arrives(2)
            until(3.0)
            arrives(3)
            until(4.0)
            shutil.rmtree(base / "3")  # rolled back
            until(3.0)
            shutil.rmtree(base / "1")  # an old version that receives no requests
            until(3.0)
            arrives(3)
            until(4.0)
            shutil.rmtree(base / "2")
            until(4.0)
            for _ in range(600):  # wait longer on a slow machine
                if len(found) > 500 or errors:
                    break
                stop.wait(0.1)
        finally:
            stop.set()
            asking.join(30)
        assert not errors, errors
        assert {status for status, _ in found} == {200}
        assert {json.loads(content)["predictions"][0][0] for _, content in set(found)} == {2.0, 3.0, 4.0}
        assert len(found) > 500
        assert server.stop() == 0
        assert not [line for line in server.log if '"level": "error"' in line]
