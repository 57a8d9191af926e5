"""`lstmae snp predict|reconstruct`: what the stock study has besides the verbs of every study."""

from pathlib import Path
from typing import Annotated

import typer

from lstm_ae.config import TASKS
from lstm_ae.errors import ConfigError, NotEnoughSkill
from lstm_ae.options import Declared, Option, checked
from lstm_ae.words import gain

from . import estimating, forecasts, training, trials
from .fields import option
from .options import Given, Retrain, RunArgument, RunPath, command
from .results import show_predictions
from .talk import Talk

# Not part of a config: the same model forecasts any number of days.
HORIZON = Declared(
    "horizon",
    int,
    optional=True,
    default=None,
    option=Option(
        "With --multistep: days ahead, past the end of the data (default: the second half of the last window, from "
        "its first half).",
        minimum=1,
        maximum=1000,
    ),
)
PATHS = Declared(
    "paths",
    int,
    optional=True,
    default=None,
    option=Option(
        "With --multistep: so many drawn futures of each company, into paths.csv and the figure.",
        minimum=1,
        maximum=10_000,
    ),
)
FOLDS = Declared(
    "folds",
    int,
    optional=False,
    default=5,
    option=Option("How often to train and test.", minimum=2, maximum=100),
)
SHARE = Declared(
    "keep",
    float,
    optional=False,
    default=0.5,
    option=Option("Share of the settings that comes to the second round.", above=0, maximum=1),
)
SKILL = Declared(
    "require_skill",
    float,
    optional=True,
    default=None,
    option=Option("End with code 4 unless the skill on test reaches this (0.01 is 1 %).", minimum=-1e6, maximum=1),
)
Folder = Annotated[
    Path | None,
    typer.Option(
        metavar="<folder>",
        help="Where the results go; that of an interrupted command goes on (default: a new one below runs).",
    ),
]
Level = Annotated[str, typer.Option("--level", metavar="<int,...>", help="Intervals to give, in per cent.")]


def levels(text: str) -> tuple[int, ...]:
    """The levels of intervals that a user typed."""
    found = [item.strip() for item in text.split(",")]
    plain = all(item.isascii() and item.isdigit() and len(item) < 3 and int(item) for item in found)
    if not plain or len(set(found)) != len(found):
        raise ConfigError(f"--level must be different whole numbers from 1 to 99, as in 80,95. Received: {text[:60]!r}")
    return tuple(sorted(map(int, found)))


def _classical(text: str | None) -> tuple[str, ...]:
    """The further baselines that a user typed."""
    from lstm_ae.classical import MODELS

    names = tuple(name.strip().lower() for name in (text or "").split(",") if name.strip())
    if text is not None and (not names or not set(names) <= set(MODELS) or len(set(names)) < len(names)):
        raise ConfigError(f"--baselines must be ets, theta or both, as in ets,theta. Received: {text[:60]!r}")
    return names


def _require_split_by(text: str) -> None:
    if text not in ("time", "company"):
        raise ConfigError(f"--split-by must be time or company. Received: {text[:40]!r}")


def _dry_backtest(
    *,
    folds: int,
    split_by: str,
    no_refit: bool,
    out: Path | None,
    require_skill: float | None,
    given: Given,
    talk: Talk,
) -> None:
    _require_split_by(split_by)
    number, _ = checked(FOLDS, folds), checked(SKILL, require_skill)
    estimating.show_backtest(given.config(TASKS["snp"]), talk, out, number, split_by, refit=not no_refit)


def _dry_kfold(*, folds: int, keep: float, out: Path | None, given: Given, talk: Talk) -> None:
    estimating.show_kfold(given, talk, out, checked(FOLDS, folds), checked(SHARE, keep))


def register(app: typer.Typer, small: str) -> None:
    """Add the commands."""

    @command(app, "predict", f"lstmae snp predict --multistep {small}", TASKS["snp"], hide=("goal",))
    def predict(
        *,
        multistep: Annotated[
            bool, typer.Option("--multistep", metavar="", help="Forecast many days, each from the forecasts before it.")
        ] = False,
        horizon: option(HORIZON) = None,  # type: ignore[valid-type]
        level: Level = "80,95",
        paths: option(PATHS) = None,  # type: ignore[valid-type]
        baselines: Annotated[
            str | None,
            typer.Option(
                metavar="<a,b>",
                help="Further baselines, of the extra [baselines]: ets (exponential smoothing), theta, or both.",
            ),
        ] = None,
        require_skill: option(SKILL) = None,  # type: ignore[valid-type]
        run: RunPath = None,
        retrain: Retrain = False,
        given: Given,
        talk: Talk,
    ) -> None:
        """Forecast prices and say whether that beats "tomorrow = today"."""
        for name, value in (("horizon", horizon), ("paths", paths)):
            if value is not None and not multistep:
                raise ConfigError(f"--{name} is for --multistep; add it, or leave --{name} out")
        ends, classical = levels(level), _classical(baselines)
        ahead, futures, wanted = checked(HORIZON, horizon), checked(PATHS, paths), checked(SKILL, require_skill)
        if multistep and given.get("with_open"):
            raise ConfigError(
                "--with-open is for one day ahead: of later days the open is not known. Leave out --multistep, or "
                "--with-open"
            )
        opened = training.obtain_for(given, TASKS["snp"], talk, run=run, retrain=retrain, goal="predict")
        new = opened.data.train.samples == 0
        if new and classical:
            raise ConfigError("--baselines are fitted on training days, and new data has none. Leave out --baselines")
        if multistep:
            skill = forecasts.show_many_days(opened, talk, ends, horizon=ahead, paths=futures or 0, classical=classical)
        elif new:
            skill = forecasts.show_new_days(opened, talk, ends)
        else:
            skill = forecasts.show_one_day(opened, talk, ends, classical=classical)
        if wanted is not None and not (skill is not None and skill >= wanted):
            found = "not known" if skill is None else gain(skill)
            raise NotEnoughSkill(f"The skill over persistence is {found}, less than --require-skill {wanted:g}")

    @command(app, "audit", "lstmae snp audit latest")
    def audit(
        run: RunArgument,
        *,
        data: Annotated[
            str | None,
            typer.Option(metavar="<file>", help="The file it was trained on, where that has moved (default: as then)."),
        ] = None,
        talk: Talk,
    ) -> None:
        """Look for what of the future reaches a run's forecasts, and whether they only repeat yesterday."""
        trials.show_audit(run, talk, data)

    @command(
        app,
        "backtest",
        f"lstmae snp backtest --folds 2 {small}",
        TASKS["snp"],
        hide=("goal", "split"),
        dry_run=_dry_backtest,
    )
    def backtest(
        *,
        folds: option(FOLDS) = 5,  # type: ignore[valid-type]
        split_by: Annotated[
            str,
            typer.Option(metavar="time|company", help="Test on later days (time), or on companies held out (company)."),
        ] = "time",
        no_refit: Annotated[
            bool,
            typer.Option("--no-refit", metavar="", help="Train once, before the first test, instead of before each."),
        ] = False,
        out: Folder = None,
        require_skill: option(SKILL) = None,  # type: ignore[valid-type]
        given: Given,
        talk: Talk,
    ) -> None:
        """Train up to a day and test on the days after it, several times over."""
        _require_split_by(split_by)
        number, wanted = checked(FOLDS, folds), checked(SKILL, require_skill)
        found = trials.show_backtest(given.config(TASKS["snp"]), talk, out, number, split_by, refit=not no_refit)
        if wanted is not None and not found >= wanted:
            raise NotEnoughSkill(f"The skill over all folds is {gain(found)}, less than --require-skill {wanted:g}")

    @command(
        app,
        "kfold",
        f"lstmae snp kfold --units 2,4 --folds 2 {small}",
        TASKS["snp"],
        hide=("goal", "split"),
        lists=True,
        dry_run=_dry_kfold,
    )
    def kfold(
        *,
        folds: option(FOLDS) = 5,  # type: ignore[valid-type]
        keep: option(SHARE) = 0.5,  # type: ignore[valid-type]
        out: Folder = None,
        given: Given,
        talk: Talk,
    ) -> None:
        """Choose as the report does: folds to drop weak settings, folds again for those left, the winner on test."""
        trials.show_kfold(given, talk, out, checked(FOLDS, folds), checked(SHARE, keep))

    @command(
        app,
        "reconstruct",
        f"lstmae snp reconstruct {small}",
        TASKS["snp"],
        hide=("goal", "last_day_only", "target", "inputs", "with_open"),
    )
    def reconstruct(*, run: RunPath = None, retrain: Retrain = False, given: Given, talk: Talk) -> None:
        """Give back windows of prices."""
        show_predictions(training.obtain(given, TASKS["snp"], talk, run=run, retrain=retrain, goal="reconstruct"), talk)
