"""Table of the results of a search."""

from collections.abc import Sequence

from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import Trial


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
