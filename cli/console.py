"""Console output: results go to stdout, everything else to stderr."""

import codecs
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

from lstm_ae.formatting import format_duration, format_name, format_names, format_value
from lstm_ae.parallel import JobObserver

if TYPE_CHECKING:
    from lstm_ae.json_types import JsonMapping
    from lstm_ae.training.observer import Progress


def prepare_streams() -> None:
    """Make stdout and stderr usable, even if the caller closed them."""
    # Otherwise the next opened file gets the number of a closed stream, and its output.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def write_stderr(text: str, end: str = "\n") -> None:
    """Write to stderr; do nothing if its reader is gone."""
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except OSError:
        discard_output(sys.stderr)


def discard_output(stream: TextIO) -> None:
    """Discard the buffered and the later output of a stream; otherwise Python reports the error again at exit."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # not a file
        pass


def log_to_stderr(
    formatter: logging.Formatter,
    level: int = logging.INFO,
    record_filter: Callable[[logging.LogRecord], bool] = lambda record: True,
) -> None:
    """Write the log of this library to stderr only; call it within `scoped_logging`.

    Args:
        formatter: form of the lines.
        level: lowest level.
        record_filter: which records of these levels are written.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(record_filter)
    log = logging.getLogger("lstm_ae")
    log.handlers, log.propagate = [handler], False
    log.setLevel(level)


class JsonFormatter(logging.Formatter):
    """Formatter that writes each log record as one JSON object."""

    usual = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        """Return the time, the level, the text, and the extra fields of a record as JSON."""
        extra = {key: value for key, value in vars(record).items() if key not in self.usual}
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        timestamp, level = f"{seconds}.{int(record.msecs):03d}Z", record.levelname.lower()
        line = {"time": timestamp, "level": level, "text": record.getMessage()}
        if record.exc_info:
            extra["error"] = self.formatException(record.exc_info)
        return json.dumps(line | extra, default=str)


@contextlib.contextmanager
def scoped_logging() -> Iterator[None]:
    """Undo `log_to_stderr` at the end: the next command of the process may be quiet, or have another stderr."""
    log = logging.getLogger("lstm_ae")
    settings = log.handlers, log.propagate, log.level
    try:
        yield
    finally:
        log.handlers, log.propagate = settings[:2]
        log.setLevel(settings[2])


class Console(NamedTuple):
    """Output of a command, as `--json`, `--quiet`, and `--verbose` select it."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False

    def say(self, text: str) -> None:
        """Print a message to stderr, unless `--quiet` is given."""
        if not self.quiet:
            write_stderr(text)

    def show(self, text: str) -> None:
        """Print a line of the result to stdout; with `--json`, only the document is printed."""
        if not self.json:
            print(text)

    def flush(self) -> None:
        """Flush the shown lines before work that takes longer."""
        if not self.json:
            sys.stdout.flush()

    def document(self, content: "JsonMapping") -> None:
        """Print the whole result as one JSON document if `--json` is given; NaN becomes null, and a path text."""
        if self.json:
            values, ascii_only = _replace_non_finite(content), not _prints_utf8()
            print(json.dumps(values, indent=2, ensure_ascii=ascii_only, allow_nan=False, default=os.fspath))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table with aligned columns, numbers to the right.

        A table of Rich would be wrapped or cut to the width of the terminal, or to 80 columns in a pipe; these lines
        are complete, so that they can be searched and copied.
        """
        cells = [[format_value(cell) for cell in row] for row in rows]
        widths = [max(len(line[k]) for line in [list(header), *cells]) for k in range(len(header))]
        numeric = [all(isinstance(row[k], int | float) or row[k] is None for row in rows) for k in range(len(header))]
        for line in [list(header), *cells]:
            pairs = zip(line, widths, numeric, strict=True)
            self.show("  ".join(cell.rjust(n) if right else cell.ljust(n) for cell, n, right in pairs).rstrip())

    def progress(self) -> "TrainingBar":
        """Return a progress bar for a training."""
        return TrainingBar(self)


class TrainingBar:
    """Progress of a training: a live line on a terminal, else a line for each epoch."""

    def __init__(self, console: Console) -> None:
        self.console, self.drawn, self.width = console, 0.0, 0
        self.live = sys.stderr.isatty() and not console.quiet

    def __call__(self, progress: "Progress") -> None:
        """Show a `lstm_ae.training.observer.Progress`."""
        values = progress.values
        if progress.finished:
            numbers = [
                f"{format_name(name)} {value:.4g}"
                for name, value in values.items()
                if name not in ("epoch", "learning_rate") and (name == "loss" or name.startswith("val_"))
            ]
            self.clear()
            self.console.say("  ".join([_epoch_text(progress), *numbers, f"{progress.seconds:.0f} s"]))
        elif self.is_due():
            steps_done = (progress.epoch - 1 - progress.first) * progress.steps + progress.step
            rate = steps_done / max(progress.seconds, 1e-9)
            epochs = progress.epochs - progress.first + (progress.members - progress.member) * progress.epochs
            remaining = (epochs * progress.steps - steps_done) / max(rate, 1e-9)
            self.draw(
                f"{_epoch_text(progress)}  step {progress.step}/{progress.steps}  "
                f"loss {values['loss']:.4g}  {rate:.0f} steps/s  {format_duration(remaining)} left"
            )

    def __enter__(self) -> "TrainingBar":
        """Return the bar, whose live line is erased at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def is_due(self) -> bool:
        """Return whether the live line may be drawn, at most five times a second."""
        due = self.live and time.monotonic() - self.drawn > 0.2
        self.drawn = time.monotonic() if due else self.drawn
        return due

    def reading(self, rows: int, share: float) -> None:
        """Show on a terminal how much of a file has been read."""
        if share < 1 and self.is_due():
            self.draw(f"read {rows:,} rows, {share:.0%} of the file")

    def scoring(self, rows: int, share: float) -> None:
        """Show on a terminal how many rows of a table have been scored."""
        if self.is_due():
            self.draw(f"scored {rows:,} rows, {share:.0%} of the table")

    def draw(self, line: str) -> None:
        """Replace the live line."""
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        except OSError:
            columns = 80
        line = line[: columns - 1]
        write_stderr("\r" + line.ljust(min(self.width, columns - 1)), end="")
        self.width = len(line)

    def clear(self) -> None:
        """Erase the live line, so that other output can follow."""
        if self.width:
            write_stderr("\r" + " " * self.width + "\r", end="")
            self.width = 0


def _epoch_text(progress: "Progress") -> str:
    """Return the current epoch, and the current network if there are several."""
    network = f"network {progress.member}/{progress.members}  " if progress.members > 1 else ""
    return f"{network}epoch {progress.epoch}/{progress.epochs}"


class JobCounter(JobObserver):
    """Show the start of jobs, deaths of processes, and on a terminal the number of ended jobs as a live line."""

    def __init__(self, console: Console, verb: str, what: str) -> None:
        self.console, self.bar, self.verb, self.what = console, TrainingBar(console), verb, what
        self.began = time.monotonic()

    def begin(self, jobs: int, processes: int) -> None:
        """Print the numbers of jobs and of those that run at once."""
        self.clear()
        self.console.say(f"{self.verb} {jobs:,} {self.what}, {processes} at once")
        self.began = time.monotonic()

    def lost(self, titles: Sequence[str], how: str) -> None:
        """Print which jobs run again after the death of a process."""
        self.clear()
        self.console.say(f"a process died ({how}); run again, one at a time: {format_names(titles)}")

    def count(self, done: int, total: int) -> None:
        """Show the number of ended jobs."""
        if self.bar.is_due():
            remaining = (total - done) * (self.bar.drawn - self.began) / max(done, 1)
            self.bar.draw(f"{done:,}/{total:,} {self.what}  {format_duration(remaining)} left")

    def clear(self) -> None:
        """Erase the live line."""
        self.bar.clear()


def _prints_utf8() -> bool:
    return codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"


def _replace_non_finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
