"""Results of a search for display: table, statements, and figures."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from lstm_ae.config import task_of
from lstm_ae.errors import DataError
from lstm_ae.formatting import format_count
from lstm_ae.plots.base import png
from lstm_ae.plots.search import curves, heat
from lstm_ae.search.directory import SearchDirectory
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import COMPLETED, RUNNING, WAITING, Trial
from lstm_ae.significance import SettingResult


def result_columns(plan: SearchPlan, trials: Sequence[Trial]) -> tuple[list[str], list[list[object]]]:
    """Return the header and the rows of the table of results, with one row per trial in the given order."""
    repeated, hyperband = plan.repeats > 1, plan.search == "hyperband"
    header = ["trial", *(axis.name for axis in plan.axes), plan.objective.name]
    header += ["spread"] if repeated else []
    header += ["resumed from"] if hyperband else []
    # "epochs" is the name of another column if --epochs is searched.
    trained = "epochs trained" if "epochs" in header else "epochs"
    header += [trained, "best epoch", "seconds", "status", "note"]
    rows = []
    for trial in trials:
        row = [
            trial.number,
            *(trial.values.get(axis.name) for axis in plan.axes),
            trial.score if trial.scored else None,
        ]
        row += [trial.spread] if repeated else []
        row += [trial.parent] if hyperband else []
        first = trial.executions[0] if trial.executions else None
        counts = [first.epochs, first.best_epoch, round(trial.seconds, 1)] if first else [None, None, None]
        stopped = first.stopped if first and trial.status == COMPLETED else ""
        rows.append([*row, *counts, trial.status, trial.reason or stopped])
    if not any(row[-1] for row in rows):
        return header[:-1], [row[:-1] for row in rows]
    return header, rows


def read_baseline(folder: SearchDirectory, trials: Sequence[Trial]) -> SettingResult | None:
    """Return the baseline of the validation loss, from the metrics of the best trial's run.

    Args:
        folder: the directory of the search.
        trials: its trials, best first.

    Returns:
        The baseline; None if no run is saved or the study has no baseline in the unit of its loss.
    """
    plan = folder.plan()
    best = next((trial for trial in trials if trial.status == COMPLETED), None)
    if best is None or task_of(plan.config) != "toy" or plan.objective.name != "val_loss":
        return None
    run = folder.run(best.number)
    try:
        metric = run.metrics().get("validation", {}).get("reconstruction_mse", {}) if run.finished else {}
    except DataError:  # The damage is reported where the run itself is used.
        return None
    level = metric.get("baselines", {}).get("mean sequence")
    return None if level is None else SettingResult("mean sequence", (level,), log=True)


def describe_baseline(plan: SearchPlan, trials: Sequence[Trial], baseline: SettingResult | None) -> list[str]:
    """Return a statement about the baseline of the objective and how many trials are better; none without one."""
    if baseline is None:
        return []
    scored = [trial for trial in trials if trial.scored and math.isfinite(trial.score)]
    above = sum(plan.objective.better(trial.score, baseline.values[0]) for trial in scored)
    count = f"{above} of {format_count(len(scored), 'trial')} {'is' if above == 1 else 'are'} better"
    return [f"baseline {baseline.name}: {plan.objective.name} {baseline}; {count}"]


def result_figures(folder: SearchDirectory, plan: SearchPlan, trials: Sequence[Trial]) -> list[Path]:
    """Draw the figures of a search into its directory and return their paths."""
    return [folder.write_figure(name, png(figure)) for name, figure in draw_search(plan, trials).items()]


def draw_search(plan: SearchPlan, trials: Sequence[Trial]) -> dict[str, Figure]:
    """Draw the grid as a heat map, and the learning curves.

    Args:
        plan: the plan of the search.
        trials: its trials, best first.

    Returns:
        The figures by name; "grid" only if all options have listed values and a trial has ended.
    """
    listed = [trial for trial in trials if trial.status not in (WAITING, RUNNING)]
    scored = bool(listed) and listed[0].scored
    figures = {}
    if listed and all(axis.values for axis in plan.axes):
        names = [axis.name for axis in plan.axes]
        figures["grid"] = heat(
            names,
            [axis.values for axis in plan.axes],
            [[trial.values[name] for name in names] for trial in listed],
            [trial.score if trial.scored else float("nan") for trial in listed],
            best=0 if scored else None,
            higher_is_better=plan.objective.higher_is_better,
            quantity=plan.objective.name,
        )
    figures["curves"] = curves(
        [execution.curve for trial in listed for execution in trial.executions],
        best=range(len(listed[0].executions) if scored else 0),
        quantity=plan.objective.name,
    )
    return figures
