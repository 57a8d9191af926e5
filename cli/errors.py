"""Turn errors and signals into one line on stderr and an exit code."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.exceptions import TyperException

from lstm_ae.errors import ConfigError, DataError, InsufficientSkillError, LstmAeError, UnprovenError

from .console import discard_output, standard_streams, write_stderr

# The exit code of an interrupted command.
INTERRUPTED = 130


class Interrupted(LstmAeError):
    """Stopped by Ctrl-C or a signal; its text says how to go on."""


@contextmanager
def handle_signals() -> Iterator[list[int]]:
    """Raise `KeyboardInterrupt` for the first signal; the list yielded holds those that have come.

    An interruption within an import can come out as another error, so the list is what to go by.
    """

    def stop() -> None:
        raise KeyboardInterrupt

    with _handled(stop) as came:
        yield came


@contextmanager
def until_stopped(read: Callable[[int], bytes]) -> Iterator[Callable[[int], bytes]]:
    """Yield a function that reads on until either signal comes; what was read is worked off undisturbed."""
    waiting = False

    def stop() -> None:
        if waiting:
            raise KeyboardInterrupt

    with _handled(stop) as came:

        def reading(size: int) -> bytes:
            nonlocal waiting
            try:
                # Before the look at what has come: a signal between the two would be waited on.
                waiting = True
                return b"" if came else read(size)
            except KeyboardInterrupt:
                return b""
            finally:
                waiting = False

        yield reading


@contextmanager
def _handled(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call a function for the first signal, ignore the second, and end the process at once for the third.

    Two signals in quick succession are one wish, and the second must not disturb what the first has begun: saving the
    state, and saying how to go on. The third is for a command that does not come to its end. Both signals stay ignored
    afterwards if one has come: the process is about to end, and another signal would decide its exit code.

    A signal that the caller has chosen to ignore (`nohup`, a shell's background job) stays ignored.
    """
    came: list[int] = []

    def handle(number: int, _: Any) -> None:
        came.append(number)
        if len(came) == 1:
            stop()
        elif len(came) > 2:
            os._exit(INTERRUPTED)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, handle)
        yield came
    finally:
        for number, handler in before.items():
            # Within this context another can have left it ignored.
            if signal.getsignal(number) is handle:
                signal.signal(number, signal.SIG_IGN if came else handler)


CODES: tuple[tuple[type[LstmAeError], int], ...] = (
    (ConfigError, 2),
    (DataError, 3),
    (InsufficientSkillError, 4),
    (UnprovenError, 5),
    (Interrupted, INTERRUPTED),
    (LstmAeError, 1),
)

NOTHING_LOST = Interrupted("Interrupted; nothing was being trained")


def run_guarded(command: Callable[[], Any], arguments: list[str]) -> int:
    """Run the command line; return the exit code, having said why where it is not 0."""
    standard_streams()
    with handle_signals() as stopped:
        try:
            code = command()
            sys.stdout.flush()
            # Typer turns Ctrl-C into this code, without a word.
            return _fail(NOTHING_LOST) if code == INTERRUPTED else code if isinstance(code, int) else 0
        except BaseException as error:
            if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
                discard_output(sys.stdout)  # the reader (`| head`) has what it wanted
                return 0
            if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
                return 0
            if isinstance(error, SystemExit):  # Typer ends its answers to the shell's completion so
                return error.code if isinstance(error.code, int) else 0
            if isinstance(error, KeyboardInterrupt | typer.Abort) or (stopped and not isinstance(error, Interrupted)):
                return _fail(NOTHING_LOST)
            if "--verbose" in arguments and not isinstance(error, TyperException):
                import traceback

                traceback.print_exc()
            return _fail(error)


def explain_error(error: BaseException) -> tuple[str, int]:
    """An error's line and exit code."""
    for kind, code in CODES:
        if isinstance(error, kind):
            return str(error), code
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "lstmae"
        text = error.format_message().rstrip(".")
        if "extra argument" in text:
            text += "; a list is one word, its items separated by commas"
        return f"{text} (see {path} --help)", 2
    name = type(error).__name__
    first = (str(error).strip() or "no message").splitlines()[0][:300]
    if isinstance(error, OSError):
        where = f" {str(error.filename)!r}" if error.filename else ""
        return f"{error.strerror or error}{where}; {_advice(error.errno)}", 1
    if "No space left on device" in str(error):  # TensorFlow has errors of its own
        return f"No space left on device; {_advice(errno.ENOSPC)}", 1
    # The loader of libraries has a message of its own where there is no room for one.
    unmapped = isinstance(error, ImportError) and "failed to map segment" in str(error)
    if unmapped or isinstance(error, MemoryError) or name == "ResourceExhaustedError":
        return "Not enough memory; lower --batch-size, --units or --window", 1
    return f"Unexpected {name}: {first} (run again with --verbose to see where)", 1


def _advice(number: int | None) -> str:
    return {
        errno.ENOSPC: "free some space, or write elsewhere",
        errno.EDQUOT: "free some space, or write elsewhere",
        errno.EROFS: "choose a place that can be written",
        errno.EACCES: "choose another place, or change its permissions",
        errno.EPERM: "choose another place, or change its permissions",
        errno.ENAMETOOLONG: "choose a shorter name",
        errno.EEXIST: "choose another place",
        errno.ENOTDIR: "choose another place",
        errno.EISDIR: "give a file",
        errno.ENOENT: "check the path",
    }.get(number or 0, "run again with --verbose to see where")


def _fail(error: BaseException) -> int:
    text, code = explain_error(error)
    write_stderr(f"lstmae: {' '.join(text.splitlines())}")
    return code
