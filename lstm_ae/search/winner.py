"""The best trials as runs, with the very weights that their trials have found."""

import dataclasses
from typing import Any

from lstm_ae.data.windows import joined
from lstm_ae.errors import Diverged
from lstm_ae.experiment import complete, identity, learn
from lstm_ae.run import Run
from lstm_ae.search.folder import Folder
from lstm_ae.search.job import Load, state_of
from lstm_ae.search.record import Record
from lstm_ae.search.trials import Trial


def complete_best(record: Record, folder: Folder, load: Load, keep: int) -> list[Run]:
    """Make runs of the best trials that are none yet; returns all of them, the winner first."""
    runs = []
    for trial in record.best(keep):
        run = folder.run(trial.number)
        if not run.finished:
            _complete(record, folder, trial, run, load)
        runs.append(run)
    folder.tidy([t.number for t in record.pending], [t.number for t in record.best(keep)], record.continued)
    return runs


def _complete(record: Record, folder: Folder, trial: Trial, run: Run, load: Load) -> None:
    config = record.config(trial)
    data = load(config)
    # Nothing is left to train: what comes back is the trained model.
    state = state_of(folder.states(trial.number), 0)
    model, fitted = learn(config, data, state=state, identity=identity(config, data), until=trial.executions[0].epochs)
    folder.new_run(run, record.plan, config, data.source, data.symbols)
    complete(run, config, data, model, fitted, note={"trial": trial.number})


def refit(record: Record, folder: Folder, trial: Trial, first: Run, load: Load, notify: Any = None) -> Run:
    """Train a trial's setting anew on train and validation, for as many epochs as were best; returns the run.

    Its weights are those of the last epoch, since nothing is left to choose by. What intervals and thresholds rest on
    is what `first`, the trial's own run, was found to do on validation: it has learned from fewer rows, so they are
    careful ones.
    """
    config = dataclasses.replace(record.config(trial), patience=0)
    data = load(config)
    run, epochs = folder.refit, trial.executions[0].best_epoch
    note = f"trained on train and validation together, {epochs} epochs as trial {trial.number} had at its best"
    if run.finished and run.metrics()["training"].get("refit") == note:
        return run
    state = state_of(folder.states("refit"), trial.number)
    known = identity(config, data) | {"refit": epochs}
    whole = joined(data)
    model, fitted = learn(config, whole, state=state, identity=known, until=epochs, best=False, notify=notify)
    if fitted.diverged:
        raise Diverged(f"Trained on train and validation, trial {trial.number} fails: {fitted.stopped}")
    fitted = fitted._replace(best_epoch=fitted.epochs)
    folder.new_run(run, record.plan, config, data.source, data.symbols)
    complete(run, config, data, model, fitted, note={"refit": note}, judged_by=first, built_from=whole)
    state.unlink(missing_ok=True)
    return run
