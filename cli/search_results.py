"""Show the progress and the results of a search."""

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
        if self.bar.is_due():
            epochs = f"epoch {progress.epoch}/{progress.epochs}"
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
    return " ".join(spell_option(name, format_setting(value)) for name, value in trial.values.items())


def describe_result(trial: "Trial", objective: "Objective") -> str:
    """Return the result of a trial in one line."""
    if not trial.completed:
        return f"{trial.status} ({trial.reason})"
    spread = f" ± {format_value(trial.spread)}" if len(trial.executions) > 1 else ""
    return f"{objective.name} {format_value(trial.score)}{spread}, {trial.seconds:.0f} s"


def show_results(console: Console, folder: "SearchDirectory", plan: "SearchPlan", result: "SearchResult") -> None:
    """Show the best trial and files; write the table of all trials, best first, and the figure of a grid.

    Raises:
        LstmAeError: no trial came to an end; the text has the reasons.
    """
    from lstm_ae.plots.base import png
    from lstm_ae.search.results import draw_grid, result_columns

    columns = result_columns(plan, result.trials)
    table = folder.write_table("table", columns)
    winner = result.trials[0]
    if result.run is None:
        reason = next((trial.reason for trial in result.trials if trial.reason), "no reason is recorded")
        raise LstmAeError(
            f"All {len(result.trials)} trials failed, the first of them: {reason}. Lower --learning-rate, or change "
            f"what the reasons in {str(table)!r} name",
            code=Code.NO_TRIAL,
        )
    figure = draw_grid(plan, result.trials)
    drawn = {"figure": folder.write_figure("grid", png(figure))} if figure else {}
    console.show(
        f"Best of {format_count(len(result.trials), 'trial')}: {describe_setting(winner)} "
        f"({describe_result(winner, plan.objective)}, trial {winner.number})"
    )
    best_run = result.run.directory
    show_files(console, {"table": table, **drawn, "winner": best_run})
    if console.verbose:
        console.table(list(columns), list(zip(*columns.values(), strict=True)))
    console.document(
        {
            "search": folder.directory,
            "objective": plan.objective.name,
            "trials": [trial.to_dict() | {"score": trial.score, "spread": trial.spread} for trial in result.trials],
            "winner": {"trial": winner.number, "values": winner.values, "run": best_run},
        }
    )
