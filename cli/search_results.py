"""Show the progress and the results of a search."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lstm_ae.config.options import spell_option
from lstm_ae.errors import Code, LstmAeError
from lstm_ae.formatting import format_clock, format_count, format_names, format_setting, format_value

from .console import Console, describe_death
from .results import show_files

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

    from lstm_ae.json_types import JsonObject
    from lstm_ae.search.directory import SearchDirectory
    from lstm_ae.search.job import JobProgress
    from lstm_ae.search.plan import SearchPlan
    from lstm_ae.search.search import SearchResult
    from lstm_ae.search.state import SearchRecord
    from lstm_ae.search.trial import Objective, Trial


class SearchProgress:
    """Observer of a search that shows the finished and running trials, the best score, and the remaining time."""

    def __init__(self, console: Console, record: "SearchRecord") -> None:
        self.console, self.record = console, record
        self.objective = record.plan.objective
        self.began, self.ended_here = time.monotonic(), 0
        self.steps: dict[int, JobProgress | None] = {}
        self.live: Live | None = None
        if sys.stderr.isatty() and not console.quiet:
            from rich import console as rich_console
            from rich import live

            self.live = live.Live(
                console=rich_console.Console(file=sys.stderr, highlight=False, markup=False),
                get_renderable=self._table,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def __enter__(self) -> "SearchProgress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def started(self, trial: "Trial") -> None:
        """Show that a trial has started."""
        self.steps[trial.number] = None

    def step(self, step: "JobProgress") -> None:
        """Show the progress of a trial in this process."""
        self.steps[step.number] = step

    def ended(self, trial: "Trial") -> None:
        """Print a line about a finished trial."""
        self.steps.pop(trial.number, None)
        self.ended_here += 1
        self._say(f"trial {trial.number}: {describe_setting(trial)}: {describe_result(trial, self.objective)}")

    def lost(self, titles: Sequence[str], how: str) -> None:
        """Print which trials run again because a process died."""
        self._say(describe_death(titles, how))

    def _say(self, text: str) -> None:
        if self.live:
            self.live.console.print(text)
        else:
            self.console.say(text)

    def _table(self) -> "Group":
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for number, step in sorted(self.steps.items()):
            where = "running" if step is None else f"epoch {step.epoch}/{step.epochs}"
            value = "" if step is None else f"{self.objective.name} {format_value(step.value)}"
            table.add_row(f"trial {number}", describe_setting(self.record.trials[number]), where, value)
        return Group(Text(self._headline()), table)

    def _headline(self) -> str:
        trials = self.record.trials
        done = sum(trial.status in ("completed", "pruned") for trial in trials)
        failed = sum(trial.status in ("failed", "lost") for trial in trials)
        size = self.record.plan.size
        words = [f"{done}{f' of {size}' if size else ''} done, {len(self.steps)} running, {failed} failed"]
        if best := self.record.best(1):
            words.append(f"best {self.objective.name} {format_value(best[0].score)} (trial {best[0].number})")
        if size and self.ended_here:
            each = (time.monotonic() - self.began) / self.ended_here
            words.append(f"about {format_clock(each * max(0, size - done - failed))} left")
        return "; ".join(words)


def describe_setting(trial: "Trial") -> str:
    """Return the searched options of a trial as typed."""
    values = " ".join(spell_option(name, format_setting(value)) for name, value in trial.values.items())
    return f"{values} to epoch {trial.until}" if trial.until else values


def describe_result(trial: "Trial", objective: "Objective") -> str:
    """Return the result of a trial in one line."""
    if not trial.scored:
        return f"{trial.status} ({trial.reason})"
    spread = f" ± {format_value(trial.spread)}" if len(trial.executions) > 1 else ""
    why = f" ({trial.reason})" if trial.reason else ""
    return f"{objective.name} {format_value(trial.score)}{spread}{why}, {trial.seconds:.0f} s"


def show_results(console: Console, folder: "SearchDirectory", plan: "SearchPlan", result: "SearchResult") -> None:
    """Show the best trial, the baseline, and files; write the table of all trials, best first, and the figures.

    Raises:
        LstmAeError: no trial came to an end; the text has the reasons.
    """
    from lstm_ae.search.results import describe_baseline, read_baseline, result_columns, result_figures

    header, rows = result_columns(plan, result.trials)
    folder.write_table("table", {name: [row[place] for row in rows] for place, name in enumerate(header)})
    again = require_results(folder, result)
    figures = result_figures(folder, plan, result.trials)
    statements = describe_baseline(plan, result.trials, read_baseline(folder, result.trials))
    winner = result.trials[0]
    console.show(
        f"Best of {format_count(len(result.trials), 'trial')}: {describe_setting(winner)} "
        f"({describe_result(winner, plan.objective)}, trial {winner.number})"
    )
    for line in statements:
        console.show(line)
    if not result.complete:
        console.show(f"Time limit reached. Resume with: {again}")
    files = {
        "table": folder.directory / "table.csv",
        "figures": figures[0].parent,
        "winner": result.runs[0].directory,
    }
    show_files(console, files)
    if console.verbose:
        console.table(header, rows)
    console.document(
        {
            "search": str(folder.directory),
            "complete": result.complete,
            "objective": plan.objective.name,
            "trials": [_trial_row(trial) for trial in result.trials],
            "baseline": statements,
            "winner": {"trial": winner.number, "values": winner.values, "run": str(result.runs[0].directory)},
            "kept": [str(run.directory) for run in result.runs],
        }
    )


def require_results(folder: "SearchDirectory", result: "SearchResult") -> str:
    """Return the command that resumes a search.

    Raises:
        LstmAeError: no trial is complete; the message has the reasons.
    """
    again: str = folder.resume_command
    if any(trial.status == "completed" for trial in result.trials):
        return again
    if not result.complete:
        raise LstmAeError(
            f"The time limit was reached before a trial was complete. Resume with: {again}", code=Code.NO_TRIAL
        )
    reasons: dict[str, list[str]] = {}
    for trial in result.trials:
        if trial.reason:
            reasons.setdefault(trial.reason, []).append(str(trial.number))
    causes = "; ".join(
        f"trial{'s' * (len(numbers) > 1)} {format_names(numbers)}: {reason}" for reason, numbers in reasons.items()
    )
    advice = "Lower --learning-rate, or change what the reasons name"
    raise LstmAeError(f"All {len(result.trials)} trials failed. {causes}. {advice}", code=Code.NO_TRIAL)


def _trial_row(trial: "Trial") -> "JsonObject":
    return {
        "number": trial.number,
        "values": trial.values,
        "status": trial.status,
        "score": trial.score,
        "spread": trial.spread,
        "reason": trial.reason,
        "until": trial.until,
        "parent": trial.parent,
        "executions": [execution._asdict() for execution in trial.executions],
    }
