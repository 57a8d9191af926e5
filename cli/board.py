"""How far a search is: a live table on a terminal, a plain line for each trial elsewhere."""

import sys
import time
from typing import Any

from lstm_ae.options import flag

from .results import plain
from .talk import Talk, duration, shown


class Board:
    """Told by the search of every trial; shows what is done, what runs, the best so far and the time left."""

    def __init__(self, talk: Talk, record: Any, folder: Any, *, tensorboard: bool) -> None:
        self.talk, self.record = talk, record
        self.objective = record.plan.objective
        self.began, self.ended_here = time.monotonic(), 0
        self.steps: dict[int, Any] = {}
        self.hparams: Any = None
        if tensorboard:
            from lstm_ae.search.hparams import HParams

            self.hparams = HParams(folder, record.plan)
        self.live: Any = None
        if sys.stderr.isatty() and not talk.quiet:
            from rich.console import Console
            from rich.live import Live

            self.live = Live(
                console=Console(file=sys.stderr, highlight=False, markup=False),
                get_renderable=self._table,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def __enter__(self) -> "Board":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def started(self, trial: Any) -> None:
        """A trial runs."""
        self.steps[trial.number] = None

    def step(self, step: Any) -> None:
        """How far a trial is."""
        self.steps[step.number] = step

    def ended(self, trial: Any) -> None:
        """A trial has ended: one line."""
        self.steps.pop(trial.number, None)
        self.ended_here += 1
        if self.hparams:
            self.hparams.write(trial)
        self._say(f"trial {trial.number}: {setting(trial)}: {result(trial, self.objective)}")

    def lost(self, trial: Any, how: str) -> None:
        """A trial's worker died."""
        self.steps.pop(trial.number, None)
        self._say(f"trial {trial.number}: its worker died ({how}); it is given to another")

    def _say(self, text: str) -> None:
        if self.live:
            self.live.console.print(text)
        else:
            self.talk.say(text)

    def _table(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for number, step in sorted(self.steps.items()):
            where = "begins" if step is None else f"epoch {step.epoch}/{step.epochs}"
            value = "" if step is None else f"{self.objective.name} {shown(step.value)}"
            table.add_row(f"trial {number}", setting(self.record.trials[number]), where, value)
        return Group(Text(self._headline()), table)

    def _headline(self) -> str:
        trials = self.record.trials
        done = sum(trial.status in ("completed", "pruned") for trial in trials)
        failed = sum(trial.status in ("failed", "lost") for trial in trials)
        size = self.record.plan.size
        words = [f"{done}{f' of {size}' if size else ''} done, {len(self.steps)} running, {failed} failed"]
        if best := self.record.best(1):
            words.append(f"best {self.objective.name} {shown(best[0].score)} (trial {best[0].number})")
        if size and self.ended_here:
            each = (time.monotonic() - self.began) / self.ended_here
            words.append(f"about {duration(each * max(0, size - done - failed))} left")
        return "; ".join(words)


def setting(trial: Any) -> str:
    """A trial's searched options, as they are typed."""
    values = " ".join(f"{flag(name)} {_typed(value)}" for name, value in trial.values.items())
    return f"{values} to epoch {trial.until}" if trial.until else values


def result(trial: Any, objective: Any) -> str:
    """What came of a trial, in one line."""
    if not trial.scored:
        return f"{trial.status} ({trial.reason})"
    spread = f" ± {shown(trial.spread)}" if len(trial.executions) > 1 else ""
    why = f" ({trial.reason})" if trial.reason else ""
    return f"{objective.name} {shown(trial.score)}{spread}{why}, {trial.seconds:.0f} s"


def _typed(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else plain(value)
