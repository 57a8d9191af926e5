"""What a search has found: the table, the findings, where the winner is."""

from typing import Any

from lstm_ae.errors import LstmAeError

from .results import show_files
from .talk import Talk


def show_found(talk: Talk, folder: Any, plan: Any, found: Any) -> None:
    """Show the table of all trials, the best first; write it, and the figures.

    Raises:
        LstmAeError: no trial came to an end; the text has the reasons.
    """
    from lstm_ae.search.presentation import columns, figures, statements

    header, rows = columns(plan, found.trials)
    folder.write_table({name: [row[place] for row in rows] for place, name in enumerate(header)})
    again = require_some(folder, found)
    talk.table(header, rows)
    told = statements(plan, found.trials)
    if told:
        talk.show("")
    for line in told:
        talk.show(line)
    talk.show("")
    if not found.complete:
        talk.show(f"Time was over. Go on with: {again}")
    drawn = figures(folder, plan, found.trials)
    winner = found.trials[0]
    files = {
        "table": folder.directory / "table.csv",
        "figures": drawn[0].parent,
        "winner": found.runs[0].directory,
    }
    if found.refit:
        files["refit"] = found.refit.directory
        talk.show(f"The setting of the winner was {found.refit.metrics()['training']['refit']}.")
    show_files(talk, files)
    talk.document(
        {
            "search": str(folder.directory),
            "complete": found.complete,
            "objective": plan.objective.name,
            "trials": [_row(trial) for trial in found.trials],
            "findings": told,
            "winner": {"trial": winner.number, "values": winner.values, "run": str(found.runs[0].directory)},
            "kept": [str(run.directory) for run in found.runs],
            "refit": str(found.refit.directory) if found.refit else None,
        }
    )


def require_some(folder: Any, found: Any) -> str:
    """The command that goes on with the search; raises where no trial came to an end, with the reasons."""
    again: str = folder.resuming
    if any(trial.status == "completed" for trial in found.trials):
        return again
    if not found.complete:
        raise LstmAeError(f"Time was over before a trial was complete. Go on with: {again}")
    reasons: dict[str, list[str]] = {}
    for trial in found.trials:
        if trial.reason:
            reasons.setdefault(trial.reason, []).append(str(trial.number))
    told = "; ".join(f"{_trials(numbers)}: {reason}" for reason, numbers in reasons.items())
    advice = "Lower --learning-rate, or change what the reasons name"
    raise LstmAeError(f"All {len(found.trials)} trials failed. {told}. {advice}")


def _trials(numbers: list[str]) -> str:
    """The trials of one reason; of many, how many."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    more = f" and {len(numbers) - 3} more" if len(numbers) > 4 else ""
    return f"trials {', '.join(numbers[: 3 if more else None])}{more}"


def _row(trial: Any) -> dict[str, Any]:
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
