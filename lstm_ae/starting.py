"""A quick start of processes that import packages as large as TensorFlow."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
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
