"""The one place where errors become one line on stderr and an exit code.

0 success; 1 failure; 2 the command or its options; 3 data, runs or models that cannot be used; 130 interrupted.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.exceptions import TyperException

from lstm_ae.errors import ConfigError, DataError, LstmAeError

from .talk import Interrupted

CODES: tuple[tuple[type[LstmAeError], int], ...] = (
    (ConfigError, 2),
    (DataError, 3),
    (Interrupted, 130),
    (LstmAeError, 1),
)


def guarded(command: Callable[[], Any], arguments: list[str]) -> int:
    """Run the command line; return the exit code, having said why where it is not 0."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = command()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted; Python would complain once more when it flushes on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return _fail("Interrupted; nothing was being trained", 130)
    except BaseException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
            return 0
        if isinstance(error, SystemExit) or ("--verbose" in arguments and not isinstance(error, TyperException)):
            if isinstance(error, SystemExit):
                raise
            import traceback

            traceback.print_exc()
        return _fail(*explained(error))


def explained(error: BaseException) -> tuple[str, int]:
    """An error's line and exit code."""
    for kind, code in CODES:
        if isinstance(error, kind):
            return str(error), code
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        where = f" (see {context.command_path} --help)" if context else ""
        return getattr(error, "format_message", error.__str__)() + where, 2
    if isinstance(error, OSError):
        where = f" {str(error.filename)!r}" if error.filename else ""
        advice = {
            errno.ENOSPC: "free some space, or choose another --out",
            errno.EROFS: "choose an --out that can be written",
            errno.EACCES: "choose another file or --out, or change its permissions",
            errno.ENAMETOOLONG: "choose a shorter name",
        }.get(error.errno or 0, "run again with --verbose to see where")
        return f"{error.strerror or error}{where}; {advice}", 1
    name = type(error).__name__
    if isinstance(error, MemoryError) or name == "ResourceExhaustedError":
        return "Not enough memory; lower --batch-size, --units or --window", 1
    first = (str(error).strip() or "no message").splitlines()[0][:300]
    return f"Unexpected {name}: {first} (run again with --verbose to see where)", 1


def _fail(text: str, code: int) -> int:
    line = " ".join(text.split())
    print(f"lstmae: {line}", file=sys.stderr)
    return code


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
