"""Import TensorFlow for the commands that need it, without its start-up messages, and show the log of the library."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator

from lstm_ae.startup import load_tensorflow, mute_stderr, pause_garbage_collection

from .console import Console, log_to_stderr


def show_library_log(console: Console) -> None:
    """Show the log of this library and the warnings of other libraries with `--verbose`.

    Without `--verbose` and `--quiet`, show warnings of this library and the compilation of kernels.
    """
    if console.verbose:
        log_to_stderr(logging.Formatter("%(message)s"))
        return
    if not console.quiet:
        log_to_stderr(logging.Formatter("%(message)s"), record_filter=_is_always_shown)
    warnings.simplefilter("ignore")


def _is_always_shown(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name == "lstm_ae.kernels.compiled"


def import_tensorflow(console: Console, *, keras: bool = True) -> None:
    """Import TensorFlow and Keras, and show their output and the log of this library with `--verbose` only.

    Args:
        keras: False for a server, which runs SavedModels with TensorFlow alone and starts in half the time.
    """
    first = "tensorflow" not in sys.modules
    show_library_log(console)
    with pause_garbage_collection() if first else contextlib.nullcontext():
        tf = load_tensorflow(keras=keras, muted=not console.verbose)
    if not console.verbose:
        tf.get_logger().setLevel(logging.ERROR)
        with silence_stderr(console), contextlib.suppress(Exception):
            tf.config.list_logical_devices()


@contextlib.contextmanager
def silence_stderr(console: Console) -> Iterator[None]:
    """Mute stderr within the context, unless `--verbose` is given."""
    with contextlib.nullcontext() if console.verbose else mute_stderr():
        yield
