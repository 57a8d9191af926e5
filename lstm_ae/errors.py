"""Errors of the package, their kinds, and the codes that identify their causes.

The kind of an error determines the exit code of a command. Its code, such as LAE201, identifies the cause, stays the
same when the text changes, and is explained in the documentation and by `lstmae explain`.
"""

from enum import Enum


class Code(Enum):
    """Cause of an error: number, title, and what it means and how to fix it."""

    number: int
    title: str
    explanation: str

    def __new__(cls, number: int, title: str, explanation: str) -> "Code":
        """Make the number the value of the member."""
        code = object.__new__(cls)
        code._value_ = number
        code.number, code.title, code.explanation = number, title, explanation
        return code

    def __str__(self) -> str:
        return f"LAE{self.number:03}"

    # Options and settings
    USAGE = (
        1,
        "The command line cannot be parsed",
        "A command or option does not exist, an option has no value, or an argument is missing. The message names it "
        "and, where there is one, the closest existing name. `lstmae COMMAND --help` lists the options of a command.",
    )
    INVALID_VALUE = (
        2,
        "The value of an option is not allowed",
        "The value is outside the range, of another type, or not among the choices. The message states the rule and "
        "the value received. The configuration reference lists the range of every option.",
    )
    UNKNOWN_NAME = (
        3,
        "An option names something that the data does not contain",
        "A column, series, or class that an option names is not in the table. The message lists the existing names or "
        "the closest one. Names are compared exactly, including case and spaces.",
    )
    CONFLICTING_OPTIONS = (
        4,
        "Options cannot be combined",
        "Two options exclude each other, or together would give meaningless results, for example by scaling with "
        "values that are to be forecast. Change or remove the option that the message names.",
    )
    MISSING_OPTION = (
        5,
        "An option needs another option or argument",
        "The command cannot run without a value that was not given, such as the table to read or the column of the "
        "classes. Add what the message names.",
    )
    OPTION_NOT_APPLICABLE = (
        6,
        "An option does not apply here",
        "The option belongs to another task, another kind of run, or another mode of the command. It would have no "
        "effect, so it is refused. Remove it, or choose the task or mode that the message names.",
    )
    CONFIG_FILE = (
        7,
        "A configuration file cannot be used",
        "The file given by `--config` is missing, is not valid, contains an unknown key, or belongs to another study. "
        "`lstmae config init` writes a valid file with all options.",
    )
    MISSING_PACKAGE = (
        8,
        "An optional package is not installed",
        "The feature needs an extra of this package. The message contains the `pip install` command.",
    )
    OUTPUT_EXISTS = (
        9,
        "The output path is taken or cannot be written",
        "The directory or file already contains something else, which is never overwritten, or cannot be created. "
        "Pass another path, or resume a run with `--resume`.",
    )
    IN_USE = (
        10,
        "Another process uses the run, the search, or the port",
        "A directory is locked while a process trains in it, and a port belongs to one server. Wait for the other "
        "process, stop it, or pass another directory or port. Locks of dead processes are released automatically.",
    )
    NOT_RESUMABLE = (
        11,
        "A training or search cannot be resumed",
        "It is finished, does not exist, or was started with other options, so that continuing it would not give the "
        "results of one uninterrupted training. Start a new one, or repeat the options of the first call.",
    )
    SEARCH_SPACE = (
        12,
        "The search space is not valid",
        "An axis of the search has no values, a reversed range, or values that the chosen search algorithm does not "
        "support, or nothing varies. Lists are written `8,16,32` and ranges `8..64` or `0.001..0.1:log`.",
    )
    # Tables and other data
    FILE_UNREADABLE = (
        101,
        "A file cannot be read",
        "It does not exist, its permissions do not allow reading, it is cut or damaged, or it changed while it was "
        "read. Check the path, or copy the file again.",
    )
    FILE_FORMAT = (
        102,
        "A file has an unsupported format, encoding, or size",
        "Tables are CSV text, optionally compressed, or Parquet. Text is UTF-8 unless `--encoding` names another "
        "encoding. The message says what was found instead.",
    )
    TABLE_HEADER = (
        103,
        "The header or the columns of a table are not valid",
        "The header is missing, incomplete, or ambiguous, rows have another number of cells, or no column contains "
        "numbers. `--skip-rows`, `--columns`, and `--value-cols` describe tables that start otherwise.",
    )
    CELL_VALUE = (
        104,
        "A cell does not match the type of its column",
        "A cell of a numeric column is not a number, or its notation is ambiguous. The message gives line, column, and "
        "content. Fix the cell, or describe the notation with `--decimal`, `--thousands`, or `--column-units`.",
    )
    TIME_VALUE = (
        105,
        "A time cannot be read or does not exist",
        "The time column contains a text that is not a time, a date that can be read in two ways, or an hour that "
        "daylight saving time skips. See `--date-order`, `--time-unit`, and `--time-zone`. Describe times in another "
        "format with `--time-format`, for example `--time-format %Y%m%d-%H`.",
    )
    TIME_ORDER = (
        106,
        "Times are duplicate, out of order, or irregular",
        "Several rows of a series have the same time, rows of a stream go back in time, or the sampling interval does "
        "not fit. See `--duplicates`, `--freq`, and `--max-gap`.",
    )
    EMPTY_COLUMN = (
        107,
        "A table or column contains no values",
        "There is nothing to learn from or to apply a model to. Remove the column with `--value-cols`, choose another "
        "`--split`, or pass a table with values.",
    )
    TOO_FEW_ROWS = (
        108,
        "There are too few consecutive rows",
        "A window, a split, or a fold of the backtest needs more rows without a long gap than there are. "
        "For a training, reduce `--window`, `--horizon`, or `--folds`, raise `--max-gap`, or pass more rows. A trained "
        "run fills gaps up to the `--max-gap` of its training: pass a table with enough rows after the last longer "
        "gap, or train again with a larger `--max-gap`.",
    )
    LABELS = (
        109,
        "The labels cannot be used",
        "The label column marks no row or every row, contains one class only, too many classes, or values that are "
        "not labels, or a split has no labeled window.",
    )
    MISSING_VALUES = (
        110,
        "Values are missing where none may be",
        "Some scalings and forecasts need complete windows. Fill the gaps, or train with another `--scale`.",
    )
    SERIES_NAME = (
        111,
        "The name of a series is missing",
        "With `--id-col` every row belongs to a named series. Write the name, or remove the row.",
    )
    ARRAY_INPUT = (
        112,
        "Arrays or frames passed to an estimator are not valid",
        "Shapes, index, or column names of the arguments do not fit together, or a value exceeds single precision.",
    )
    DIGIT_FILE = (
        113,
        "An image or a file of digits cannot be used",
        "Digits come from an .npz file or a folder with the four IDX files of MNIST, pictures from common image files. "
        "The message states what the file must contain.",
    )
    OTHER_DATA = (
        114,
        "The data differs from that of the run or search",
        "A run stores a fingerprint of its data. Evaluating or resuming with other data would give wrong results. "
        "Pass the same file to `--data`.",
    )
    PREDICTION_INPUT = (
        115,
        "The samples do not fit the served model",
        "The file of samples has other inputs, shapes, or columns than the signature of the model. The message states "
        "what the model reads.",
    )
    BENCHMARK_FILE = (
        116,
        "A file is not a series of the anomaly benchmark",
        "The name of a file must contain `tr_N`, the number of its first rows to train on, and the file a column "
        "`Label` of 0 and 1. All values must be present. The training rows must be fewer than all rows and not "
        "constant. `lstmae bench anomalies` lists such files and continues with the others.",
    )
    # Runs and training
    RUN_NOT_FOUND = (
        201,
        "There is no such run",
        "The path contains no run. `lstmae runs list` shows the runs in `runs`; `latest` is the newest one.",
    )
    RUN_DAMAGED = (
        202,
        "A file of a run is damaged or missing",
        "A file was changed, cut, or deleted after the training. Restore it from a copy, or train a new run.",
    )
    RUN_UNFINISHED = (
        203,
        "The training of a run is not complete",
        "The training was interrupted. The message contains the command that resumes it.",
    )
    RUN_MISMATCH = (
        204,
        "A run is of another study, task, or version",
        "The command needs a run of another kind, or the run was written by a newer version of this package.",
    )
    DIVERGED = (
        205,
        "The loss became NaN or infinite",
        "The training diverged. Reduce `--learning-rate`, limit gradients with `--clip 1`, or check the table for "
        "extreme values. If an epoch succeeded before, its weights are kept.",
    )
    INSUFFICIENT_SKILL = (
        206,
        "The forecast is worse than required",
        "`--require-skill` sets the smallest accepted skill, 1 - error / error of persistence. The command ends with "
        "exit code 4, so that scripts can react.",
    )
    LEAKAGE = (
        207,
        "Values of the future reach a forecast",
        "The audit changed values after the time of the forecast, and the forecast changed. Do not use this model.",
    )
    # Exported models and serving
    MODEL_NOT_FOUND = (
        301,
        "There is no exported model",
        "The directory contains no SavedModel. `lstmae export` writes one.",
    )
    MODEL_UNUSABLE = (
        302,
        "An exported model is damaged or not supported",
        "The SavedModel cannot be read, has no suitable signature, or does not fit the data. Export it again.",
    )
    MODEL_FORBIDDEN = (
        303,
        "An exported model contains forbidden operations",
        "The graph could read or write files or run code. Load such models only from sources you trust, with "
        "`--trust`.",
    )
    UNPROVEN = (
        304,
        "An exported model failed its verification",
        "What a fresh process computes with the exported files differs from the trained model, or the files changed "
        "after the export. Nothing was published. Export the model again.",
    )
    MODEL_LIMIT = (
        305,
        "An exported model exceeds a limit",
        "It has more files, weights, or versions than supported.",
    )
    SERVING_CONFIG = (
        306,
        "The configuration of a server cannot be used",
        "The models.config file is not valid, or describes something that this server does not support.",
    )
    SERVER_UNAVAILABLE = (
        307,
        "A server does not answer",
        "The address cannot be reached, or answers otherwise than TensorFlow Serving. Check address, port, and "
        "whether the server is running.",
    )
    # Searches
    SEARCH_DAMAGED = (
        401,
        "There is no usable search",
        "The directory contains no search, or its files are damaged. `--repair` runs damaged trials again.",
    )
    NO_TRIAL = (
        402,
        "No trial of a search succeeded",
        "Every trial failed or the time limit was reached before one was complete. The journal lists the reasons.",
    )
    CLUSTER_LOST = (
        403,
        "The Ray cluster cannot be reached or was lost",
        "Finished trials are kept. Check the cluster and resume, with `--engine ray` or without.",
    )
    # The machine
    OUT_OF_MEMORY = (
        501,
        "There is not enough memory",
        "Reduce `--batch-size`, `--units`, or `--window`. `--dry-run` estimates the memory of a training.",
    )
    SYSTEM = (
        502,
        "The operating system refused an operation",
        "The disk is full, a path cannot be written, or a limit of the process is too low. The message contains the "
        "reason that the system gave.",
    )
    INTERNAL = (
        599,
        "Unexpected error",
        "This is a defect of the program. Run the command again with `--verbose` and report the traceback.",
    )


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


class InsufficientSkillError(LstmAeError):
    """A forecast is worse than required."""

    code = Code.INSUFFICIENT_SKILL


class LeakageError(LstmAeError):
    """A value of the future reaches a forecast."""

    code = Code.LEAKAGE


class DivergedError(LstmAeError, ArithmeticError):
    """The loss became NaN or infinite; the last good weights have been kept."""

    code = Code.DIVERGED


class UnprovenError(LstmAeError):
    """An exported model that fails a check of what is served."""

    code = Code.UNPROVEN
