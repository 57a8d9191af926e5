"""What a command says: results to stdout, everything else to stderr."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .streams import say


class Talk(NamedTuple):
    """How much a command says, from `--json`, `--quiet` and `--verbose`."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False

    def say(self, text: str) -> None:
        """A line for people, on stderr."""
        if not self.quiet:
            say(text)

    def show(self, text: str) -> None:
        """A line of the result, on stdout; with `--json` the document says it instead."""
        if not self.json:
            print(text)

    def document(self, content: Mapping[str, Any]) -> None:
        """The whole result as one JSON document, where it was asked for. NaN becomes null."""
        if self.json:
            plain = (sys.stdout.encoding or "").lower() != "utf-8"
            print(json.dumps(_finite(content), indent=2, ensure_ascii=plain, allow_nan=False))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """An aligned table; numbers to the right."""
        cells = [[shown(cell) for cell in row] for row in rows]
        widths = [max(len(line[k]) for line in [list(header), *cells]) for k in range(len(header))]
        numeric = [all(isinstance(row[k], int | float) or row[k] is None for row in rows) for k in range(len(header))]
        for line in [list(header), *cells]:
            pairs = zip(line, widths, numeric, strict=True)
            self.show("  ".join(cell.rjust(n) if right else cell.ljust(n) for cell, n, right in pairs).rstrip())

    def progress(self) -> "Bar":
        """What shows how far a training is."""
        return Bar(self)


def shown(cell: Any) -> str:
    """A value as a table shows it."""
    if cell is None or cell != cell:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


class Bar:
    """Progress of a training: a live line on a terminal, a plain line an epoch elsewhere."""

    def __init__(self, talk: Talk) -> None:
        self.talk, self.drawn, self.width = talk, 0.0, 0
        self.live = sys.stderr.isatty() and not talk.quiet

    def __call__(self, progress: Any) -> None:
        """Take a `lstm_ae.training.Progress`."""
        values = progress.values
        if progress.finished:
            numbers = "  ".join(
                f"{name.replace('val_', 'validation ').replace('_', ' ')} {value:.4g}"
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
                f"loss {values['loss']:.4g}  {rate:.0f} steps/s  {duration(left)} left"
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
        import os

        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        except OSError:
            columns = 80
        line = line[: columns - 1]
        say("\r" + line.ljust(min(self.width, columns - 1)), end="")
        self.width = len(line)

    def clear(self) -> None:
        """Wipe the live line away, for whatever is said next."""
        if self.width:
            say("\r" + " " * self.width + "\r", end="")
            self.width = 0


class Count:
    """How many of many are done, as a live line on a terminal; nothing elsewhere."""

    def __init__(self, talk: Talk, what: str) -> None:
        self.bar, self.what, self.began = Bar(talk), what, time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        """So many are done, of so many."""
        if self.bar.live and time.monotonic() - self.bar.drawn > 0.2:
            self.bar.drawn = time.monotonic()
            left = (of - done) * (self.bar.drawn - self.began) / max(done, 1)
            self.bar.draw(f"{done:,}/{of:,} {self.what}  {duration(left)} left")

    def clear(self) -> None:
        """Wipe the live line away."""
        self.bar.clear()


def duration(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
