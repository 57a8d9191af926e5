"""Watches in processes that kill themselves at a step, for any sources and sinks."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processes import CEILING

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["lstm_ae.watch.watcher", "lstm_ae.watch.mqtt", "paho.mqtt.client", "watching"])


def killer(kill_at: int) -> Callable[..., None]:
    """Return a function whose given call kills this process; no call does for 0."""
    left = kill_at

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def _run_in(place: Path, watch: Callable[..., None], kill_at: int) -> None:
    os.chdir(place)
    watch(killer(kill_at))


def run_watch(watch: Callable[..., None], place: Path, kill_at: int = 0) -> Any:
    """Run `watch(count)` in a folder in another process; return its exit code."""
    process = FORKS.Process(target=_run_in, args=(place, watch, kill_at))
    process.start()
    process.join(CEILING)
    return process.exitcode
