"""`lstmae snp`: the commands that only the stock study has."""

import dataclasses
from typing import Annotated

import typer

from lstm_ae.config import TASKS, Snp
from lstm_ae.config.snp import MAX_DAYS
from lstm_ae.errors import Code, ConfigError, LeakageError

from . import training
from .backtest import show_backtest
from .console import Console
from .options import (
    ChosenRun,
    Folder,
    FoldJobs,
    Folds,
    GivenOptions,
    Levels,
    RunArgument,
    command,
    named,
    parse_levels,
    switch,
)
from .results import show_predictions
from .snp_forecast import show_forecast


def show_audit(run: str, console: Console, data: str | None) -> None:
    """Show the findings of an audit; raise `LeakageError` if values of the future reach the forecasts of the run."""
    opened_run = training.open_finished_run(run, console, "snp")
    from lstm_ae.data.prices import read_prices
    from lstm_ae.experiment import open_trained
    from lstm_ae.studies.snp.audit import audit

    config = opened_run.config()
    assert isinstance(config, Snp)
    config = config if data is None else dataclasses.replace(config, data=data)
    opened = open_trained(opened_run, training.complete_config(config, console)[1])
    findings = audit(opened.model, config, opened.data, read_prices(config))
    console.table(["check", "outcome", "observation"], [tuple(finding) for finding in findings])
    console.document({"run": opened_run.directory, "findings": [finding._asdict() for finding in findings]})
    leaks = [finding.check for finding in findings if finding.outcome == "leak"]
    if leaks:
        forecasts = f"the forecasts of {str(opened_run.directory)!r}"
        raise LeakageError(f"Values of the future reach {forecasts}: {', '.join(leaks)}. Fix this and train a new run")


# Not part of a config: the same model forecasts any number of days.
Horizon = Annotated[
    int | None,
    named("<int>", "With --multistep: days ahead (default: half a window before the end).", min=1, max=MAX_DAYS),
]


def register(app: typer.Typer, small: str) -> None:
    """Add the commands."""

    @command(
        app, "predict", f"lstmae snp predict --multistep {small}", TASKS["snp"], hide=("goal",), advanced=("seed",)
    )
    def predict(
        *,
        multistep: Annotated[bool, switch("multistep", "Forecast many days ahead.")] = False,
        horizon: Horizon = None,
        level: Levels = "80,95",
        run: ChosenRun = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Forecast prices, and compare the forecasts with "tomorrow = today"."""
        if horizon is not None and not multistep:
            raise ConfigError(
                "--horizon is for --multistep; add it, or leave --horizon out", code=Code.OPTION_NOT_APPLICABLE
            )
        ends = parse_levels(level)
        opened = training.obtain_run_for_data(given, TASKS["snp"], console, run, goal="predict")
        show_forecast(opened, console, ends, horizon, multistep=multistep)

    @command(app, "audit", "lstmae snp audit latest")
    def audit(
        run: RunArgument,
        *,
        data: Annotated[
            str | None,
            named("<file>", "Training file, if it has moved (default: as trained)."),
        ] = None,
        console: Console,
    ) -> None:
        """Check whether a run's forecasts use the future."""
        show_audit(run, console, data)

    @command(
        app,
        "backtest",
        f"lstmae snp backtest --folds 2 {small}",
        TASKS["snp"],
        hide=("goal", "split"),
    )
    def backtest(
        *,
        folds: Folds = 5,
        out: Folder = None,
        jobs: FoldJobs = 1,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Train and test on successive periods of time."""
        show_backtest(console, out, folds, jobs, given.config(Snp))

    @command(
        app,
        "reconstruct",
        f"lstmae snp reconstruct {small}",
        TASKS["snp"],
        hide=("goal", "last_day_only", "target", "inputs", "seeds"),
    )
    def reconstruct(*, run: ChosenRun = None, given: GivenOptions, console: Console) -> None:
        """Reconstruct windows of prices."""
        show_predictions(training.obtain_run(given, TASKS["snp"], console, run, goal="reconstruct"), console)
