"""Ctrl-C and SIGTERM: both stop a command in the same way."""

import signal
import threading
from collections.abc import Callable, Iterator
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


@contextmanager
def until_stopped(read: Callable[[int], bytes]) -> Iterator[Callable[[int], bytes]]:
    """What reads on until either signal comes, and then is at its end; what was read is worked off undisturbed."""
    stopped = waiting = False

    def stop(*_: Any) -> None:
        nonlocal stopped
        stopped = True
        if waiting:
            raise KeyboardInterrupt

    def reading(size: int) -> bytes:
        nonlocal waiting
        try:
            # Before the look at what has come: a signal between the two would be waited on.
            waiting = True
            return b"" if stopped else read(size)
        except KeyboardInterrupt:
            return b""
        finally:
            waiting = False

    if threading.current_thread() is not threading.main_thread():
        yield read
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, stop)
        yield reading
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
