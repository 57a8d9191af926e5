"""The start of processes: without garbage collection during imports, and of child processes that end with their parent.

This module imports the standard library only, so that a child process follows its parent before it imports anything.
"""

import contextlib
import gc
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from typing import Any


@contextlib.contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Collect no garbage meanwhile, and never look again at the objects that are there at the end.

    For a process that is this package's own, while it imports what it needs. An import of TensorFlow and Keras leaves
    600,000 objects, most of which stay; the collector would walk over them again and again while they come, in every
    full collection later, and once more as the process ends.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def run_child_process(module: str, function: str, *arguments: Any) -> None:
    """Follow the parent process, then import a module and call one of its functions.

    A process that `multiprocessing` spawns with this function as its target ends with its parent even while it imports
    TensorFlow, which takes many seconds on a busy machine. The function itself as the target would be imported first.
    """
    follow_parent()
    getattr(importlib.import_module(module), function)(*arguments)


def follow_parent() -> None:
    """End this child process as soon as its parent process has ended, and leave Ctrl-C to the parent.

    Ctrl-C goes to the whole group of processes, and a parent that is killed cannot tell its children.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent: Any = multiprocessing.parent_process()

    def follow() -> None:
        with contextlib.suppress(OSError):
            wait([parent.sentinel])
        # Windows has no SIGKILL, and ends a process by SIGTERM.
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    threading.Thread(target=follow, daemon=True).start()
