"""`lstmae snp`: what the stock study has besides the verbs of every study."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import TASKS, Snp
from lstm_ae.config.options import spell_option
from lstm_ae.errors import Code, ConfigError, LeakageError
from lstm_ae.formatting import format_count, format_setting
from lstm_ae.parallel import Engine

from . import dry_run, training
from .backend import import_tensorflow, show_library_log
from .backtest import FoldProgress, Reading, show_backtest
from .console import Console
from .options import (
    Folder,
    FoldJobs,
    Folds,
    GivenOptions,
    Levels,
    RequiredSkill,
    RunArgument,
    RunChoice,
    command,
    declare,
    parse_levels,
)
from .results import check_skill, show_files, show_metrics, show_predictions
from .search import split_values
from .snp_forecast import show_forecast

if TYPE_CHECKING:
    from lstm_ae.backtest.folds import BacktestPlan
    from lstm_ae.config.space import Axis
    from lstm_ae.data.windows import Data


def show_audit(where: str, console: Console, data: str | None) -> None:
    """Show what an audit of a run finds; raises `Leak` where the future reaches its forecasts."""
    from lstm_ae.run import open_run

    run = open_run(where, "snp")
    run.metrics()
    show_library_log(console)
    from lstm_ae.data.prices import read_prices
    from lstm_ae.experiment import open_trained
    from lstm_ae.studies.snp.audit import audit

    config = run.config()
    assert isinstance(config, Snp)
    config = config if data is None else dataclasses.replace(config, data=data)
    opened = open_trained(run, training.load(config, console))
    findings = audit(opened.model, config, opened.data, read_prices(config))
    console.table(["check", "outcome", "what was seen"], [tuple(finding) for finding in findings])
    console.document({"run": str(run.directory), "findings": [finding._asdict() for finding in findings]})
    leaks = [finding.check for finding in findings if finding.outcome == "leak"]
    if leaks:
        raise LeakageError(f"Something of the future reaches {str(run.directory)!r}: {', '.join(leaks)}")


def _split_kfold_values(given: GivenOptions) -> tuple[Snp, list["Axis"]]:
    """Return the single values, for one network as each setting is tried with one, and the lists."""
    from lstm_ae.studies.networks import reduce_to_single_network

    config, axes = split_values(given, Snp)
    assert isinstance(config, Snp)
    return reduce_to_single_network(config), axes


def show_kfold(given: GivenOptions, console: Console, out: Path | None, folds: int, keep: float, jobs: int) -> None:
    """Choose among listed settings; show the best one and its metrics on the test split."""
    config, axes = _split_kfold_values(given)
    import_tensorflow(console)
    from lstm_ae.backtest.kfold import kfold
    from lstm_ae.run import command_line
    from lstm_ae.search.plan import describe_unaligned_days

    note = describe_unaligned_days(config, axes)
    progress = FoldProgress(console)
    with progress.resumable("kfold", out) as folder:
        result = kfold(
            config, axes, folds, folder, keep=keep, command=command_line(), observer=progress, engine=Engine(jobs=jobs)
        )
    best = result.settings[0]
    chosen = " ".join(spell_option(name, format_setting(value)) for name, value in best.values.items())
    console.show(
        f"Best of {format_count(len(result.settings), 'setting')}: {chosen or 'the only one'} (mean validation loss "
        f"over {folds} folds {fmean(best.rounds[-1]):.4g})"
    )
    notes = [*filter(None, [note]), *result.notes]
    metrics = result.winner.metrics()
    show_metrics(console, metrics, result.winner.about()["data"]["leaky"])
    for each in notes:
        console.show(each)
    show_files(console, {"winner": result.winner.directory, "folder": folder})
    console.document(
        {
            "settings": [setting._asdict() for setting in result.settings],
            "data": result.winner.about()["data"],
            "winner": str(result.winner.directory),
            "metrics": metrics,
            "folds": str(folder),
            "notes": notes,
        }
    )


# Not part of a config: the same model forecasts any number of days.
Horizon = Annotated[
    int | None,
    declare(
        "horizon",
        int,
        "With --multistep: days to forecast (default: half a window before the end).",
        minimum=1,
        maximum=1000,
    ),
]

KeptShare = Annotated[
    float,
    declare("keep_share", float, "Share of the settings in the second round.", default=0.5, above=0, maximum=1),
]

SplitBy = Annotated[str, typer.Option(metavar="time|company", help="Test on later days, or on other companies.")]


def _planned_backtest(given: GivenOptions, folds: int, split_by: str) -> "Callable[[Reading], BacktestPlan]":
    if split_by not in ("time", "company"):
        raise ConfigError(f"--split-by must be time or company. Received: {split_by[:40]!r}")
    config = given.config(Snp)

    def make_plan(_: Reading) -> "BacktestPlan":
        from lstm_ae.backtest.plans import plan_price_backtest

        return plan_price_backtest(config, folds, by=split_by)

    return make_plan


def _dry_run_backtest(
    *, folds: int, split_by: str, out: Path | None, given: GivenOptions, console: Console, **_: object
) -> None:
    make_plan = _planned_backtest(given, folds, split_by)
    dry_run.show_fold_estimate(console, out, lambda reading: make_plan(reading).largest_training(folds))


def _dry_run_kfold(
    *, folds: int, keep_share: float, out: Path | None, given: GivenOptions, console: Console, **_: object
) -> None:
    config, axes = _split_kfold_values(given)

    def load(_: Callable[..., None]) -> "tuple[Snp, Data, int]":
        from lstm_ae.backtest import kfold
        from lstm_ae.data.prices import prepare_prices
        from lstm_ae.estimate import largest_setting

        panel, settings = kfold.plan_kfold(config, axes)
        largest = largest_setting(config, axes)
        assert isinstance(largest, Snp)
        data = prepare_prices(largest, panel, next(kfold.kfold_blocks(panel, folds, largest.window, 0)))
        # The winner is trained again on all folds.
        trainings = folds * (len(settings) + kfold.second_round_settings(len(settings), keep_share)) + 1
        return largest, data, trainings

    dry_run.show_fold_estimate(console, out, load)


def register(app: typer.Typer, small: str) -> None:
    """Add the commands."""

    @command(
        app, "predict", f"lstmae snp predict --multistep {small}", TASKS["snp"], hide=("goal",), advanced=("seed",)
    )
    def predict(
        *,
        multistep: Annotated[bool, typer.Option("--multistep", metavar="", help="Forecast many days ahead.")] = False,
        horizon: Horizon = None,
        level: Levels = "80,95",
        require_skill: RequiredSkill = None,
        choice: RunChoice,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Forecast prices, and compare the forecasts with "tomorrow = today"."""
        if horizon is not None and not multistep:
            raise ConfigError(
                "--horizon is for --multistep; add it, or leave --horizon out", code=Code.OPTION_NOT_APPLICABLE
            )
        ends = parse_levels(level)
        if multistep and given.get("with_open"):
            raise ConfigError(
                "--with-open is for one day ahead: of later days the open is not known. Leave out --multistep, or "
                "--with-open",
                code=Code.OPTION_NOT_APPLICABLE,
            )
        opened = training.obtain_run_for_data(given, TASKS["snp"], console, choice, goal="predict")
        skill = show_forecast(opened, console, ends, horizon, multistep=multistep)
        check_skill("The skill over persistence", skill, require_skill)

    @command(app, "audit", "lstmae snp audit latest")
    def audit(
        run: RunArgument,
        *,
        data: Annotated[
            str | None,
            typer.Option(metavar="<file>", help="Training file, if it has moved (default: as trained)."),
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
        hide=("goal", "split", "refit"),
        dry_run=_dry_run_backtest,
    )
    def backtest(
        *,
        folds: Folds = 5,
        split_by: SplitBy = "time",
        out: Folder = None,
        jobs: FoldJobs = 1,
        require_skill: RequiredSkill = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Train and test on successive periods of time, or on held-out companies."""
        skill = show_backtest(console, out, folds, jobs, _planned_backtest(given, folds, split_by))
        check_skill("The skill over all folds", skill, require_skill)

    @command(
        app,
        "kfold",
        f"lstmae snp kfold --units 2,4 --folds 2 {small}",
        TASKS["snp"],
        hide=("goal", "split", "seeds", "refit"),
        lists=True,
        dry_run=_dry_run_kfold,
    )
    def kfold(
        *,
        folds: Folds = 5,
        keep_share: KeptShare = 0.5,
        out: Folder = None,
        jobs: FoldJobs = 1,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Choose among settings by two rounds of cross-validation, as in the report."""
        show_kfold(given, console, out, folds, keep_share, jobs)

    @command(
        app,
        "reconstruct",
        f"lstmae snp reconstruct {small}",
        TASKS["snp"],
        hide=("goal", "last_day_only", "target", "inputs", "with_open", "seeds", "refit"),
    )
    def reconstruct(*, choice: RunChoice, given: GivenOptions, console: Console) -> None:
        """Reconstruct windows of prices."""
        show_predictions(training.obtain_run(given, TASKS["snp"], console, choice, goal="reconstruct"), console)
