"""`lstmae snp predict|reconstruct`: what the stock study has besides the verbs of every study."""

from typing import Annotated

import typer

from lstm_ae.config import TASKS
from lstm_ae.errors import ConfigError, NotEnoughSkill
from lstm_ae.options import Declared, Option, checked

from . import forecasts, training
from .options import Given, Retrain, RunPath, command, option
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
SKILL = Declared(
    "require_skill",
    float,
    optional=True,
    default=None,
    option=Option("End with code 4 unless the skill on test reaches this (0.01 is 1 %).", minimum=-1e6, maximum=1),
)
Level = Annotated[str, typer.Option("--level", metavar="<int,...>", help="Intervals to give, in per cent.")]


def levels(text: str) -> tuple[int, ...]:
    """The levels of intervals that a user typed."""
    found = [item.strip() for item in text.split(",")]
    plain = all(item.isascii() and item.isdigit() and len(item) < 3 and int(item) for item in found)
    if not plain or len(set(found)) != len(found):
        raise ConfigError(f"--level must be different whole numbers from 1 to 99, as in 80,95. Received: {text[:60]!r}")
    return tuple(sorted(map(int, found)))


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
        ends = levels(level)
        ahead, futures, wanted = checked(HORIZON, horizon), checked(PATHS, paths), checked(SKILL, require_skill)
        if multistep and given.get("with_open"):
            raise ConfigError(
                "--with-open is for one day ahead: of later days the open is not known. Leave out --multistep, or "
                "--with-open"
            )
        opened = training.obtain_for(given, TASKS["snp"], talk, run=run, retrain=retrain, goal="predict")
        new = opened.data.train.samples == 0
        show = forecasts.show_many_days if multistep else forecasts.show_new_days if new else forecasts.show_one_day
        verdict = show(opened, talk, ends, **({"horizon": ahead, "paths": futures or 0} if multistep else {}))
        if wanted is not None and not (verdict and (verdict["skill"] or 0) >= wanted):
            found = f"{verdict['skill']:+.2%}" if verdict and verdict["skill"] is not None else "not known"
            raise NotEnoughSkill(f"The skill is {found}, less than --require-skill {wanted:g}")

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
