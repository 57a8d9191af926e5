"""Threads for work that would block the event loop."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

# In bytes. Smaller content takes less time to process than to pass to a thread and back.
LARGE_BYTES = 2**17


async def call_in_thread(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function, in a thread if it processes many bytes, so that other requests continue.

    Args:
        size: Number of bytes that the function reads or writes.
        work: The function.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
    """
    return work(*args, **kwargs) if size < LARGE_BYTES else await asyncio.to_thread(work, *args, **kwargs)
