"""Turn errors and signals into a line on stderr and an exit code."""

import contextlib
import errno
import sys
from collections.abc import Callable, Iterator
from typing import Any

from lstm_ae.addresses import hide_user
from lstm_ae.errors import Code, ConfigError, DataError, LstmAeError, UnprovenError

from .console import discard_output, prepare_streams, scoped_logging, write_stderr
from .signals import INTERRUPTED_CODE


class Interrupted(LstmAeError):
    """The command was stopped by Ctrl-C or a signal; the message says how to resume."""


@contextlib.contextmanager
def resumable(results: str, advice: str, clear: Callable[[], object] = lambda: None) -> Iterator[None]:
    """After an interruption, clear the live line and raise an error that says what is kept and how to resume."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted; {results} are kept. {advice}") from None
    finally:
        clear()


EXIT_CODES: tuple[tuple[type[LstmAeError], int], ...] = (
    (ConfigError, 2),
    (DataError, 3),
    (UnprovenError, 5),
    (LstmAeError, 1),
)

DEFAULT_INTERRUPTION = Interrupted("Interrupted; there is no training to resume")


def run_guarded(command: Callable[[], object], arguments: list[str], signals: list[int]) -> int:
    """Run the command line and return its exit code; print the reason if it is not 0.

    Args:
        signals: numbers of the signals received so far, see `handle_signals`.
    """
    prepare_streams()
    try:
        with scoped_logging():
            code = command()
        sys.stdout.flush()
        # Typer turns Ctrl-C into this code and prints nothing.
        return _print_error(DEFAULT_INTERRUPTION) if code == INTERRUPTED_CODE else code if isinstance(code, int) else 0
    except BaseException as error:
        if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
            discard_output(sys.stdout)  # the reader (`| head`) has closed the pipe
            return 0
        if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
            return 0
        if isinstance(error, SystemExit):  # the end of shell completion in Typer
            return error.code if isinstance(error.code, int) else 0
        interrupted = isinstance(error, KeyboardInterrupt) or (signals and not isinstance(error, Interrupted))
        if interrupted or _is_from_typer(error, "Abort"):
            return _print_error(DEFAULT_INTERRUPTION)
        if "--verbose" in arguments and not _is_from_typer(error, "TyperException"):
            import traceback

            write_stderr(hide_user(traceback.format_exc()), end="")
        return _print_error(error)


def _is_from_typer(error: BaseException, name: str) -> bool:
    """Return whether an error is of a class of `typer.exceptions`."""
    # Such an error exists only if Typer is imported already.
    exceptions = sys.modules.get("typer.exceptions")
    return exceptions is not None and isinstance(error, getattr(exceptions, name))


def describe_error(error: BaseException) -> tuple[str, Code | None, int]:
    """Return the message of an error, its code for `lstmae explain`, and the exit code.

    An interruption has no error code.
    """
    if isinstance(error, Interrupted):
        return str(error), None, INTERRUPTED_CODE
    for kind, exit_code in EXIT_CODES:
        if isinstance(error, kind):
            return str(error), error.code, exit_code
    if _is_from_typer(error, "TyperException"):
        refused: Any = error
        context = getattr(refused, "ctx", None)
        path = context.command_path if context else "lstmae"
        text = refused.format_message().rstrip(".")
        if "extra argument" in text:
            text += "; separate the items of a list by commas without spaces"
        return f"{text} (see {path} --help)", Code.USAGE, 2
    name = type(error).__name__
    first = (str(error).strip() or "no message").splitlines()[0][:300]
    if isinstance(error, OSError):
        path = f" {str(error.filename)!r}" if error.filename else ""
        return f"{error.strerror or error}{path}; {_os_error_advice(error.errno)}", Code.SYSTEM, 1
    if "No space left on device" in str(error):  # TensorFlow has errors of its own
        return f"No space left on device; {_os_error_advice(errno.ENOSPC)}", Code.SYSTEM, 1
    if isinstance(error, MemoryError) or name == "ResourceExhaustedError":
        return "Not enough memory. Reduce --batch-size, --units, or --window", Code.OUT_OF_MEMORY, 1
    return f"Unexpected {name}: {first} (run again with --verbose to see where)", Code.INTERNAL, 1


def _os_error_advice(number: int | None) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or write elsewhere"
    protected = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR)
    return "choose another path" if number in protected else "check the path"


def _print_error(error: BaseException) -> int:
    text, code, exit_code = describe_error(error)
    # The code comes first, since many messages end with a command to copy.
    write_stderr(f"lstmae: {f'[{code}] ' if code else ''}{hide_user(' '.join(text.splitlines()))}")
    return exit_code
