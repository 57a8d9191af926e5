"""Console output: results to stdout, everything else to stderr."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lstm_ae.formatting import format_clock, format_name, format_value


def prepare_streams() -> None:
    """Make both usable, whatever the caller did to them."""
    # The next file opened would take the number of a closed stream, and what is meant for the stream.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def write_stderr(text: str, end: str = "\n") -> None:
    """Write to stderr. Work goes on where nobody reads it any more."""
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except OSError:
        discard_output(sys.stderr)


def discard_output(stream: Any) -> None:
    """Send what is left in a stream, and what comes, nowhere; Python would complain once more when it exits."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # not a file
        pass


class Console(NamedTuple):
    """How much a command says, from `--json`, `--quiet` and `--verbose`."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False

    def say(self, text: str) -> None:
        """A line for people, on stderr."""
        if not self.quiet:
            write_stderr(text)

    def show(self, text: str) -> None:
        """A line of the result, on stdout; with `--json` the document says it instead."""
        if not self.json:
            print(text)

    def document(self, content: Mapping[str, Any]) -> None:
        """The whole result as one JSON document, where it was asked for. NaN becomes null."""
        if self.json:
            plain = (sys.stdout.encoding or "").lower() != "utf-8"
            print(json.dumps(_replace_non_finite(content), indent=2, ensure_ascii=plain, allow_nan=False))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """An aligned table; numbers to the right."""
        cells = [[format_value(cell) for cell in row] for row in rows]
        widths = [max(len(line[k]) for line in [list(header), *cells]) for k in range(len(header))]
        numeric = [all(isinstance(row[k], int | float) or row[k] is None for row in rows) for k in range(len(header))]
        for line in [list(header), *cells]:
            pairs = zip(line, widths, numeric, strict=True)
            self.show("  ".join(cell.rjust(n) if right else cell.ljust(n) for cell, n, right in pairs).rstrip())

    def progress(self) -> "TrainingBar":
        """What shows how far a training is."""
        return TrainingBar(self)


class TrainingBar:
    """Progress of a training: a live line on a terminal, a plain line an epoch elsewhere."""

    def __init__(self, talk: Console) -> None:
        self.talk, self.drawn, self.width = talk, 0.0, 0
        self.live = sys.stderr.isatty() and not talk.quiet

    def __call__(self, progress: Any) -> None:
        """Take a `lstm_ae.training.loop.Progress`."""
        values = progress.values
        if progress.finished:
            numbers = "  ".join(
                f"{format_name(name)} {value:.4g}"
                for name, value in values.items()
                if name not in ("epoch", "learning_rate") and (name == "loss" or name.startswith("val_"))
            )
            self.clear()
            self.talk.say(f"epoch {progress.epoch}/{progress.epochs}  {numbers}  {progress.seconds:.0f} s")
        elif self.live and time.monotonic() - self.drawn > 0.2:
            self.drawn = time.monotonic()
            done = (progress.epoch - 1 - progress.first) * progress.steps + progress.step
            rate = done / max(progress.seconds, 1e-9)
            left = ((progress.epochs - progress.first) * progress.steps - done) / max(rate, 1e-9)
            self.draw(
                f"epoch {progress.epoch}/{progress.epochs}  step {progress.step}/{progress.steps}  "
                f"loss {values['loss']:.4g}  {rate:.0f} steps/s  {format_clock(left)} left"
            )

    def reading(self, rows: int, share: float) -> None:
        """Show how far a file is read, on a terminal."""
        if self.live and share < 1 and time.monotonic() - self.drawn > 0.2:
            self.drawn = time.monotonic()
            self.draw(f"read {rows:,} rows, {share:.0%} of the file")

    def scoring(self, rows: int, share: float) -> None:
        """Show how far a table is searched, on a terminal."""
        if self.live and time.monotonic() - self.drawn > 0.2:
            self.drawn = time.monotonic()
            self.draw(f"scored {rows:,} rows, {share:.0%} of the table")

    def draw(self, line: str) -> None:
        """Show a line in place of the last one."""
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        except OSError:
            columns = 80
        line = line[: columns - 1]
        write_stderr("\r" + line.ljust(min(self.width, columns - 1)), end="")
        self.width = len(line)

    def clear(self) -> None:
        """Wipe the live line away, for whatever is said next."""
        if self.width:
            write_stderr("\r" + " " * self.width + "\r", end="")
            self.width = 0


class ProgressCounter:
    """How many of many are done, as a live line on a terminal; nothing elsewhere."""

    def __init__(self, talk: Console, what: str) -> None:
        self.bar, self.what, self.began = TrainingBar(talk), what, time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        """So many are done, of so many."""
        if self.bar.live and time.monotonic() - self.bar.drawn > 0.2:
            self.bar.drawn = time.monotonic()
            left = (of - done) * (self.bar.drawn - self.began) / max(done, 1)
            self.bar.draw(f"{done:,}/{of:,} {self.what}  {format_clock(left)} left")

    def clear(self) -> None:
        """Wipe the live line away."""
        self.bar.clear()


def _replace_non_finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
