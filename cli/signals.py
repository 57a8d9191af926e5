"""Handle Ctrl-C and SIGTERM in commands.

This module imports little, so that signals are handled before anything large is imported.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# The exit code of an interrupted command.
INTERRUPTED_CODE = 130


@contextmanager
def handle_signals() -> Iterator[list[int]]:
    """Raise `KeyboardInterrupt` for the first signal, and yield the list of the signals received so far.

    An import that is interrupted can raise another error, so callers check the list.
    """

    def stop() -> None:
        raise KeyboardInterrupt

    with call_on_signal(stop) as signals:
        yield signals


@contextmanager
def defer_signals() -> Iterator[list[int]]:
    """Raise `KeyboardInterrupt` for a signal at the end only, and yield the list of the signals received so far.

    TensorFlow's C++ code calls Python functions, and an error that one of them does not expect can end the process.
    """
    with call_on_signal(lambda: None) as signals:
        yield signals
    if signals:
        raise KeyboardInterrupt


@contextmanager
def call_on_signal(stop: Callable[[], object]) -> Iterator[list[int]]:
    """Call a function for the first signal, ignore the second, and end the process at once for the third.

    The second signal does not interrupt what the first has started: saving the checkpoint and printing how to resume.
    The third is for a command that does not end. After a signal, both kinds stay ignored, because the process is about
    to end and another signal would change its exit code.

    A signal that the caller has chosen to ignore (`nohup`, a shell's background job) stays ignored.
    """
    signals: list[int] = []

    def handle(number: int, _: object) -> None:
        signals.append(number)
        if len(signals) == 1:
            stop()
        elif len(signals) > 2:
            os._exit(INTERRUPTED_CODE)

    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in handlers.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, handle)
        yield signals
    finally:
        for number, handler in handlers.items():
            # A nested context may have left the signal ignored.
            if signal.getsignal(number) is handle:
                signal.signal(number, signal.SIG_IGN if signals else handler)
