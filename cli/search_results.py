"""Show the progress and the results of a search."""

import time
from typing import TYPE_CHECKING

from lstm_ae.config.options import spell_option
from lstm_ae.errors import Code, LstmAeError
from lstm_ae.formatting import format_count, format_setting, format_value

from .console import Console, JobCounter
from .results import show_files

if TYPE_CHECKING:
    from lstm_ae.search.directory import SearchDirectory
    from lstm_ae.search.plan import SearchPlan
    from lstm_ae.search.record import SearchRecord
    from lstm_ae.search.search import SearchResult
    from lstm_ae.search.trial import Objective, Trial
    from lstm_ae.training.observer import Progress


class SearchProgress(JobCounter):
    """Observer of a search that prints each ended trial, and on a terminal draws the progress of the search."""

    def __init__(self, console: Console, record: "SearchRecord") -> None:
        super().__init__(console, "searching", "trials")
        self.objective, self.size, self.ended_here = record.plan.objective, record.plan.size, 0
        self.ended_before = sum(trial.status != "running" for trial in record.trials)

    def step(self, trial: "Trial", progress: "Progress") -> None:
        """Draw the progress of a trial in this process."""
        if self.bar.live and time.monotonic() - self.bar.drawn > 0.2:
            self.bar.drawn = time.monotonic()
            epochs = f"epoch {progress.epoch}/{trial.until or progress.epochs}"
            self.bar.draw(f"trial {trial.number}, {epochs}: {describe_setting(trial)}")

    def ended(self, trial: "Trial") -> None:
        """Print a line about an ended trial, and draw how many are left."""
        self.ended_here += 1
        self.clear()
        self.console.say(f"trial {trial.number}: {describe_setting(trial)}: {describe_result(trial, self.objective)}")
        if self.size:
            self.count(self.ended_here, self.size - self.ended_before)


def describe_setting(trial: "Trial") -> str:
    """Return the searched options of a trial as typed."""
    values = " ".join(spell_option(name, format_setting(value)) for name, value in trial.values.items())
    return f"{values} to epoch {trial.until}" if trial.until else values


def describe_result(trial: "Trial", objective: "Objective") -> str:
    """Return the result of a trial in one line."""
    if not trial.completed:
        return f"{trial.status} ({trial.reason})"
    spread = f" ± {format_value(trial.spread)}" if len(trial.executions) > 1 else ""
    return f"{objective.name} {format_value(trial.score)}{spread}, {trial.seconds:.0f} s"


def show_results(console: Console, folder: "SearchDirectory", plan: "SearchPlan", result: "SearchResult") -> None:
    """Show the best trial, the baseline, and files; write the table of all trials, best first, and the figures.

    Raises:
        LstmAeError: no trial came to an end; the text has the reasons.
    """
    from lstm_ae.plots.base import png
    from lstm_ae.search.results import describe_baseline, draw_search, result_columns

    columns = result_columns(plan, result.trials)
    table = folder.write_table("table", columns)
    again, winner = require_results(folder, result), result.trials[0]
    figures = [folder.write_figure(name, png(figure)) for name, figure in draw_search(plan, result.trials).items()]
    console.show(
        f"Best of {format_count(len(result.trials), 'trial')}: {describe_setting(winner)} "
        f"({describe_result(winner, plan.objective)}, trial {winner.number})"
    )
    if baseline := describe_baseline(folder, plan, result.trials):
        console.show(baseline)
    if not result.complete:
        console.show(f"Time limit reached. Resume with: {again}")
    best_run = result.runs[0].directory
    show_files(console, {"table": table, "figures": figures[0].parent, "winner": best_run})
    if console.verbose:
        console.table(list(columns), list(zip(*columns.values(), strict=True)))
    console.document(
        {
            "search": str(folder.directory),
            "complete": result.complete,
            "objective": plan.objective.name,
            "trials": [trial.to_dict() | {"score": trial.score, "spread": trial.spread} for trial in result.trials],
            "baseline": baseline,
            "winner": {"trial": winner.number, "values": winner.values, "run": str(best_run)},
            "kept": [str(run.directory) for run in result.runs],
        }
    )


def require_results(folder: "SearchDirectory", result: "SearchResult") -> str:
    """Return the command that resumes a search.

    Raises:
        LstmAeError: no trial is complete; the message has the reasons.
    """
    again: str = folder.resume_command
    if any(trial.completed for trial in result.trials):
        return again
    if not result.complete:
        raise LstmAeError(
            f"The time limit was reached before a trial was complete. Resume with: {again}", code=Code.NO_TRIAL
        )
    reason = next((trial.reason for trial in result.trials if trial.reason), "no reason is recorded")
    raise LstmAeError(
        f"All {len(result.trials)} trials failed, the first of them: {reason}. Lower --learning-rate, or change what "
        f"the reasons in {str(folder.directory / 'table.csv')!r} name",
        code=Code.NO_TRIAL,
    )
