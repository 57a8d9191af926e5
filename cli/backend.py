"""TensorFlow, imported when a command needs it, without its start-up chatter."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from .talk import Talk


def import_tensorflow(talk: Talk) -> None:
    """Import TensorFlow and Keras; what they write to stderr meanwhile is shown with `--verbose` only.

    So is what this library logs.
    """
    if talk.verbose:
        import keras

        told = logging.StreamHandler(sys.stderr)
        told.setFormatter(logging.Formatter("%(message)s"))
        logging.getLogger("lstm_ae").handlers = [told]
        logging.getLogger("lstm_ae").setLevel(logging.INFO)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    with quiet(talk):
        import keras  # noqa: F401
        import tensorflow as tf

        tf.get_logger().setLevel(logging.ERROR)
        with contextlib.suppress(Exception):
            tf.config.list_logical_devices()


@contextlib.contextmanager
def quiet(talk: Talk) -> Iterator[None]:
    """Let nothing through to stderr meanwhile, unless with `--verbose`."""
    if talk.verbose:
        yield
        return
    sys.stderr.flush()
    # C++ libraries write to the descriptor, whatever log level was set.
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
