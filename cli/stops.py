"""Ctrl-C and SIGTERM: both stop a command in the same way."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lstm_ae.errors import LstmAeError


class Interrupted(LstmAeError):
    """Stopped by Ctrl-C or a signal; its text says how to go on."""


@contextmanager
def signals() -> Iterator[list[int]]:
    """Raise `KeyboardInterrupt` for either signal; the list yielded holds those that have come.

    An interruption within an import can come out as another error, so the list is what to go by. A signal that the
    caller has chosen to ignore (`nohup`, a shell's background job) stays ignored.
    """
    came: list[int] = []

    def stop(number: int, _: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, stop)
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
