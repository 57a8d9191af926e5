"""Results of a search for display: table and figure."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from lstm_ae.plots.search import heat
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import RUNNING, Trial


def result_columns(plan: SearchPlan, trials: Sequence[Trial]) -> dict[str, list[object]]:
    """Return the columns of the table of results, with one row per trial in the given order."""
    first = [trial.executions[0] if trial.executions else None for trial in trials]
    columns: dict[str, list[object]] = {"trial": [trial.number for trial in trials]}
    columns |= {axis.name: [trial.values.get(axis.name) for trial in trials] for axis in plan.axes}
    # "epochs" is the name of another column if --epochs is searched.
    trained = "epochs trained" if "epochs" in columns else "epochs"
    columns[plan.objective.name] = [trial.score if trial.completed else None for trial in trials]
    if plan.repeats > 1:
        columns["spread"] = [trial.spread for trial in trials]
    columns[trained] = [each and each.epochs for each in first]
    columns["best epoch"] = [each and each.best_epoch for each in first]
    columns["seconds"] = [round(trial.seconds, 1) if trial.executions else None for trial in trials]
    columns["status"] = [trial.status for trial in trials]
    notes: list[object] = [
        trial.reason or (each.stopped if each else "") for trial, each in zip(trials, first, strict=True)
    ]
    return columns | ({"note": notes} if any(notes) else {})


def draw_grid(plan: SearchPlan, trials: Sequence[Trial]) -> Figure | None:
    """Draw the grid as a heat map; None if an option has no listed values or no trial has ended.

    Args:
        plan: the plan of the search.
        trials: its trials, best first.
    """
    listed = [trial for trial in trials if trial.status != RUNNING]
    if not listed or not all(axis.values for axis in plan.axes):
        return None
    names = [axis.name for axis in plan.axes]
    return heat(
        names,
        [axis.values for axis in plan.axes],
        [[trial.values[name] for name in names] for trial in listed],
        [trial.score if trial.completed else float("nan") for trial in listed],
        best=0 if listed[0].completed else None,
        higher_is_better=plan.objective.higher_is_better,
        quantity=plan.objective.name,
    )
