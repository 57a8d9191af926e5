"""TensorFlow, imported when a command needs it, without its start-up chatter, and the log of the library."""

import contextlib
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from lstm_ae.errors import Code, LstmAeError
from lstm_ae.startup import mute_stderr, pause_garbage_collection

from .console import Console, log_to_stderr

# Bytes of address space below which TensorFlow cannot be imported: libraries of 1.9 GB, their threads and arenas.
MIN_ADDRESS_SPACE = 2_350_000_000


def show_library_log(console: Console) -> None:
    """Show what the library logs with `--verbose`, and warnings of other libraries then only.

    Without it, show the warnings of the library and, unless `--quiet` is given, that kernels are being compiled.
    """
    if console.verbose:
        log_to_stderr(logging.Formatter("%(message)s"))
        return
    if not console.quiet:
        log_to_stderr(logging.Formatter("%(message)s"), shown=_is_always_shown)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")


def _is_always_shown(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name == "lstm_ae.kernels.compiled"


def import_tensorflow(console: Console, *, keras: bool = True) -> None:
    """Import TensorFlow and Keras; what they write to stderr meanwhile is shown with `--verbose` only.

    So is what this library logs.

    Args:
        keras: False for a server, which runs SavedModels and needs TensorFlow alone: it then starts in half the time.

    Raises:
        LstmAeError: the address space is limited to less than an import needs.
    """
    if "tensorflow" not in sys.modules:
        _require_address_space()
    if console.verbose:
        _import_without_collection(keras)
    show_library_log(console)
    if console.verbose:
        return
    with silence_stderr(console):
        tf = _import_without_collection(keras)
        tf.get_logger().setLevel(logging.ERROR)
        with contextlib.suppress(Exception):
            tf.config.list_logical_devices()


@contextlib.contextmanager
def silence_stderr(console: Console) -> Iterator[None]:
    """Let nothing through to stderr meanwhile, unless with `--verbose`."""
    with contextlib.nullcontext() if console.verbose else mute_stderr():
        yield


def _require_address_space() -> None:
    """Refuse a limit (`ulimit -v`) within which an import hangs, aborts or fails with countless errors."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < MIN_ADDRESS_SPACE:
        raise LstmAeError(
            f"The address space is limited to {limit / 1e9:.2g} GB (ulimit -v), and TensorFlow needs "
            f"{MIN_ADDRESS_SPACE / 1e9:.2g} GB; raise the limit",
            code=Code.SYSTEM,
        )


def _import_without_collection(keras: bool) -> Any:
    if "tensorflow" in sys.modules:
        return _import_modules(keras)
    with pause_garbage_collection():
        return _import_modules(keras)


def _import_modules(keras: bool) -> Any:
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
