"""Errors of the package, their kinds, and the codes that identify their causes.

The kind of an error determines the exit code of a command. Its code, such as LAE201, identifies the cause, stays the
same when the text changes, and is explained in the documentation and by `lstmae explain`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum


class Code(Enum):
    """Cause of an error; `errors.md` beside this module explains each."""

    def __str__(self) -> str:
        return f"LAE{self.value:03}"

    # Options and settings
    USAGE = 1
    INVALID_VALUE = 2
    UNKNOWN_NAME = 3
    CONFLICTING_OPTIONS = 4
    MISSING_OPTION = 5
    OPTION_NOT_APPLICABLE = 6
    CONFIG_FILE = 7
    MISSING_PACKAGE = 8
    OUTPUT_EXISTS = 9
    IN_USE = 10
    NOT_RESUMABLE = 11
    SEARCH_SPACE = 12
    # Tables and other data
    FILE_UNREADABLE = 101
    FILE_FORMAT = 102
    TABLE_HEADER = 103
    CELL_VALUE = 104
    TIME_VALUE = 105
    TIME_ORDER = 106
    EMPTY_COLUMN = 107
    TOO_FEW_ROWS = 108
    LABELS = 109
    MISSING_VALUES = 110
    SERIES_NAME = 111
    ARRAY_INPUT = 112
    DIGIT_FILE = 113
    OTHER_DATA = 114
    PREDICTION_INPUT = 115
    BENCHMARK_FILE = 116
    # Runs and training
    RUN_NOT_FOUND = 201
    RUN_DAMAGED = 202
    RUN_UNFINISHED = 203
    RUN_MISMATCH = 204
    DIVERGED = 205
    LEAKAGE = 207
    # Exported models and serving
    MODEL_NOT_FOUND = 301
    MODEL_UNUSABLE = 302
    MODEL_FORBIDDEN = 303
    UNPROVEN = 304
    SERVER_UNAVAILABLE = 307
    # Searches
    SEARCH_DAMAGED = 401
    NO_TRIAL = 402
    CLUSTER_LOST = 403
    # The machine
    OUT_OF_MEMORY = 501
    SYSTEM = 502
    INTERNAL = 599


class LstmAeError(Exception):
    """Base class of every error that this package raises on purpose; the text is one line that says what to do.

    Args:
        text: what is wrong and where, the rule, and what to do.
        code: cause of the error; by default that of the class.
    """

    code: Code = Code.INTERNAL

    def __init__(self, text: str = "", *, code: Code | None = None) -> None:
        super().__init__(text)
        if code is not None:
            self.code = code


class ConfigError(LstmAeError, ValueError):
    """A value that is not allowed: an option out of its range, an unknown key, or options that exclude each other."""

    code = Code.INVALID_VALUE


class DataError(LstmAeError, ValueError):
    """Data, a run, or a model file that cannot be used as it is."""


class LeakageError(LstmAeError):
    """A value of the future reaches a forecast."""

    code = Code.LEAKAGE


class DivergedError(LstmAeError, ArithmeticError):
    """The loss became NaN or infinite; the last good weights have been kept."""

    code = Code.DIVERGED


class UnprovenError(LstmAeError):
    """An exported model that failed a check of its verification."""

    code = Code.UNPROVEN


def install_hint(extra: str) -> str:
    """Return the command that installs an extra from the source folder, since no package index has this package."""
    return f"pip install '.[{extra}]' in the source folder"


@contextmanager
def require_extra(user: str, extra: str, package: str | None = None) -> Iterator[None]:
    """Name the command that installs an extra if the block imports a module that is missing.

    Args:
        user: what needs the module.
        extra: the extra that contains it.
        package: the package that contains it (default: name of the module).

    Raises:
        ConfigError: a module is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{user} needs {package or error.name}: {install_hint(extra)}", code=Code.MISSING_PACKAGE
        ) from None
