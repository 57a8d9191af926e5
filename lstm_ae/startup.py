"""The start of processes: without garbage collection during imports, and of child processes that end with their parent.

This module imports the standard library only, so that a child process follows its parent before it imports anything.
"""

import contextlib
import gc
import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any


@contextlib.contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Disable garbage collection within the context, and exclude all objects that exist at its end from later ones.

    For processes of this package while they import. Importing TensorFlow and Keras creates 600,000 objects, most of
    which stay alive; the collector would traverse them repeatedly during the import, in every later full collection,
    and once more when the process ends.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
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
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


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
        # TensorFlow imports Keras where it finds it, and does without where it does not.
        hidden = "keras" not in sys.modules
        if hidden:
            sys.modules["keras"] = None  # type: ignore[assignment]
        try:
            return importlib.import_module("tensorflow")
        finally:
            if hidden:
                del sys.modules["keras"]


def start_child_process(module: str, function: str, *arguments: object) -> tuple[BaseProcess, Connection]:
    """Start a process that calls a function with one end of a pipe and the arguments, see `run_child_process`.

    Args:
        module: name of the module of the function.
        function: name of the function.
        arguments: its arguments after the pipe.

    Returns:
        The process, which ignores Ctrl-C from its start, and the other end of the pipe.
    """
    context = multiprocessing.get_context("spawn")
    pipe, child_pipe = context.Pipe()
    process = context.Process(target=run_child_process, args=(module, function, child_pipe, *arguments), daemon=True)
    with _block_interrupts():
        process.start()
    child_pipe.close()
    return process, pipe


@contextlib.contextmanager
def _block_interrupts() -> Iterator[None]:
    """Block SIGINT, so that processes started in this context ignore Ctrl-C from their start."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started later, the resource tracker would unblock the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_child_process(module: str, function: str, *arguments: object) -> None:
    """Follow the parent process, then import a module and call one of its functions.

    A process that `multiprocessing` spawns with this function as its target ends with its parent even while it imports
    TensorFlow, which can take many seconds; with the function itself as the target, the import would come first.

    Args:
        module: name of the module to import.
        function: name of the function.
        arguments: its arguments.
    """
    follow_parent()
    getattr(importlib.import_module(module), function)(*arguments)


def follow_parent() -> None:
    """End this child process as soon as its parent process has ended, and ignore Ctrl-C, which the parent handles.

    Ctrl-C is sent to all processes of the group, and a killed parent cannot notify its children.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent: Any = multiprocessing.parent_process()

    def follow() -> None:
        with contextlib.suppress(OSError):
            wait([parent.sentinel])
        # Windows has no SIGKILL; SIGTERM ends the process there.
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    threading.Thread(target=follow, daemon=True).start()


_LIMIT: list[int] = []


def limit_cores(number: int) -> None:
    """Limit the number of cores that `cores` returns in this process, which shares the machine with others."""
    _LIMIT[:] = [number]


def cores() -> int:
    """Return the number of cores that this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([found, *_LIMIT])
