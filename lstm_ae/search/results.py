"""A search for people: its table, what its trials say, and its figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lstm_ae.config import task_of
from lstm_ae.plots.base import png
from lstm_ae.plots.grid import heat
from lstm_ae.plots.trials import curves, parallel
from lstm_ae.search.directory import SearchDirectory
from lstm_ae.search.findings import findings
from lstm_ae.search.plan import SearchPlan, describe_unaligned_days
from lstm_ae.search.report_claims import NETWORK, report_findings, reported_loss
from lstm_ae.search.trial import COMPLETED, PRUNED, RUNNING, WAITING, Trial


def result_columns(plan: SearchPlan, trials: Sequence[Trial]) -> tuple[list[str], list[list[Any]]]:
    """The header and the rows of the table: a trial a row, in the order given."""
    repeated, hyperband = plan.repeats > 1, plan.search == "hyperband"
    header = ["trial", *(axis.name for axis in plan.axes), plan.objective.name]
    header += ["spread"] if repeated else []
    report = [reported_result(plan, trial) for trial in trials]
    header += ["report"] if any(report) else []
    header += ["goes on from"] if hyperband else []
    # No two columns of a table have one name.
    trained = "epochs trained" if "epochs" in header else "epochs"
    header += [trained, "best epoch", "seconds", "status", "note"]
    rows = []
    for trial, theirs in zip(trials, report, strict=True):
        row = [
            trial.number,
            *(trial.values.get(axis.name) for axis in plan.axes),
            trial.score if trial.scored else None,
        ]
        row += [trial.spread] if repeated else []
        row += [theirs] if any(report) else []
        row += [trial.parent] if hyperband else []
        first = trial.executions[0] if trial.executions else None
        counts = [first.epochs, first.best_epoch, round(trial.seconds, 1)] if first else [None, None, None]
        stopped = first.stopped if first and trial.status == COMPLETED else ""
        rows.append([*row, *counts, trial.status, trial.reason or stopped])
    if not any(row[-1] for row in rows):
        return header[:-1], [row[:-1] for row in rows]
    return header, rows


def reported_result(plan: SearchPlan, trial: Trial) -> float | None:
    """What the report found for a trial's setting."""
    return reported_loss(task_of(plan.config), plan.config.to_dict() | trial.values)


def result_statements(plan: SearchPlan, trials: Sequence[Trial]) -> list[str]:
    """What the trials say of each option, and of the report's claims; of windows nothing where days differ."""
    claims = report_findings([_whole(plan, trial) for trial in trials], plan.objective, task_of(plan.config))
    found = findings(trials, plan.axes, plan.objective)
    note = describe_unaligned_days(plan.config, plan.axes)
    if note:
        found = [finding for finding in found if finding.axis != "window"]
    told = [f"window is not judged: {note}"] if note and trials else []
    return [str(line) for line in (*found, *told, *claims)]


def _whole(plan: SearchPlan, trial: Trial) -> Trial:
    """A trial with the options that the report speaks of among its values, searched or not."""
    config = plan.config.to_dict()
    names = ("learning_rate", "units", "clip", *NETWORK)
    return trial._replace(values={name: config[name] for name in names if name in config} | trial.values)


def result_figures(folder: SearchDirectory, plan: SearchPlan, trials: Sequence[Trial]) -> list[Path]:
    """Draw the search into its directory."""
    return [folder.write_figure(name, png(figure)) for name, figure in draw_search(plan, trials).items()]


def draw_search(plan: SearchPlan, trials: Sequence[Trial]) -> dict[str, Figure]:
    """The grid as a heat map, all trials across the options, their curves; `trials` has the best first."""
    listed = sorted((t for t in trials if t.status not in (WAITING, RUNNING)), key=lambda trial: trial.number)
    best = next((place for place, trial in enumerate(listed) if trial.number == trials[0].number), None)
    best = best if trials and trials[0].scored else None
    names = [axis.name for axis in plan.axes]
    levels = [axis.values or (axis.low, axis.high) for axis in plan.axes]
    settings = [[trial.values.get(name) for name in names] for trial in listed]
    scores = [trial.score if trial.scored else float("nan") for trial in listed]
    shared: dict[str, Any] = {
        "best": best,
        "higher_is_better": plan.objective.higher_is_better,
        "quantity": plan.objective.name,
    }
    drawn = {}
    if all(axis.values for axis in plan.axes):
        drawn["grid"] = heat(names, levels, settings, scores, **shared)
    ranges = {axis.name: axis.log for axis in plan.axes if not axis.values}
    drawn["trials"] = parallel(names, levels, settings, scores, ranges=ranges, **shared)
    owners = [place for place, trial in enumerate(listed) for _ in trial.executions]
    drawn["curves"] = curves(
        [execution.curve for trial in listed for execution in trial.executions],
        pruned=[place for place, owner in enumerate(owners) if listed[owner].status == PRUNED],
        best=[place for place, owner in enumerate(owners) if owner == best],
        quantity=plan.objective.name,
    )
    return drawn
