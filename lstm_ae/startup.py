"""The start of processes: without garbage collection during imports, and the end of child processes with their parent.

This module imports the standard library only, so that a child process follows its parent before it imports anything.
"""

import contextlib
import gc
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def pause_garbage_collection(*, freeze: bool = True) -> Iterator[None]:
    """Disable garbage collection within the context.

    Importing TensorFlow and Keras creates 600,000 objects, most of which stay alive; the collector would traverse them
    repeatedly during the import, in every later full collection, and once more when the process ends.

    Args:
        freeze: whether to exclude all objects that exist at the end from later collections; for processes of this
            package only.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if freeze:
            gc.freeze()
        if enabled:
            gc.enable()


@contextlib.contextmanager
def mute_stderr() -> Iterator[None]:
    """Drop what this process writes to stderr within the context.

    C++ libraries write to the descriptor, whatever log level was set.
    """
    if sys.stderr is None:  # a program without a console
        yield
        return
    sys.stderr.flush()
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def load_tensorflow(*, keras: bool = True, muted: bool = True) -> Any:
    """Return TensorFlow; import it and Keras at the first call.

    Args:
        keras: False to import TensorFlow alone, in half the time.
        muted: whether to drop what they write to stderr meanwhile, and later messages of TensorFlow's C++ code unless
            the environment variable `TF_CPP_MIN_LOG_LEVEL` is set.
    """
    muted &= "tensorflow" not in sys.modules
    if muted:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with mute_stderr() if muted else contextlib.nullcontext():
        if keras:
            importlib.import_module("keras")
            return importlib.import_module("tensorflow")
        # TensorFlow imports Keras only if it is available, so Keras is hidden during the import.
        hidden = "keras" not in sys.modules
        if hidden:
            sys.modules["keras"] = None  # type: ignore[assignment]
        try:
            return importlib.import_module("tensorflow")
        finally:
            if hidden:
                del sys.modules["keras"]


def import_tensorflow(threads: int) -> None:
    """Import TensorFlow in a new process, without its messages.

    Args:
        threads: threads of TensorFlow.
    """
    if "tensorflow" in sys.modules:
        return  # Its threads cannot be changed any more.
    with pause_garbage_collection():
        tf = load_tensorflow()
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def follow_parent(parent: int) -> None:
    """End this child process soon after its parent has ended, and ignore Ctrl-C, which the parent handles.

    Ctrl-C is sent to all processes of the group, and a killed parent cannot notify its children.

    Args:
        parent: the process ID of the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()


_LIMIT: list[int] = []


def limit_cores(number: int) -> None:
    """Limit the cores that `cores` returns and the threads of BLAS in this process, which shares the machine."""
    from threadpoolctl import threadpool_limits

    _LIMIT[:] = [number]
    threadpool_limits(number)


def cores() -> int:
    """Return the number of cores that this process may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([available, *_LIMIT])
