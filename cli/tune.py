"""`lstmae toy|mnist|snp tune`: search over options."""

from typing import Annotated, Any

import typer

from lstm_ae.config import Config
from lstm_ae.config.options import Declared, Option, check_value
from lstm_ae.errors import ConfigError

from .console import Console
from .dry_run import show_search_estimate
from .options import GivenOptions, Out, command, make_option

SEARCH_EXAMPLE_OPTIONS = {
    "toy": "--units 4,8 --learning-rate 0.1,0.01 --sequences 500 --epochs 1 --jobs 1",
    "mnist": "--units 2,4 --epochs 1 --search random --trials 1 --jobs 1",
    "snp": "--clip 1,5 --units 4 --symbols IBM --start 2009-01-01 --epochs 1 --jobs 1",
    "series": "pump.csv --code 2,8 --units 8 --epochs 1 --jobs 1",
}


SEARCH_METHODS = ("grid", "random", "bayesian", "hyperband")


def _number_option(name: str, help: str, **rules: Any) -> Declared:
    """Return an optional integer that belongs to no config."""
    return Declared(name, int, optional=True, default=None, option=Option(help, **rules))


TRIALS_OPTION = _number_option(
    "trials",
    "Settings to try at most (default: the whole grid, 20 of random and bayesian, what hyperband comes to).",
    minimum=1,
    maximum=1_000_000,
)

REPEATS_OPTION = _number_option(
    "repeats", "Trainings of each setting, one seed after the other (default: 1).", minimum=1, maximum=1000
)

JOBS_OPTION = _number_option(
    "jobs",
    "Trials that run at once, each with its share of the cores (default: one a core while models are small; 1 where "
    "the search goes by what has finished).",
    minimum=1,
    maximum=1024,
)

KEEP_OPTION = _number_option(
    "keep", "Best trials that become runs, with their weights (default: 1).", minimum=1, maximum=1000
)

RETRIES_OPTION = _number_option(
    "max_retries",
    "How often a trial whose worker died is given to another one (default: 2).",
    minimum=0,
    maximum=1000,
)

_SEARCH_OPTIONS = (TRIALS_OPTION, REPEATS_OPTION, JOBS_OPTION, KEEP_OPTION, RETRIES_OPTION)


Resume = Annotated[
    bool, typer.Option("--resume", metavar="", help="Resume the search at --out, or the study's latest one.")
]

Repair = Annotated[
    bool, typer.Option("--repair", metavar="", help="With --resume: run again what is damaged in the directory.")
]


def register(app: typer.Typer, name: str, config: type[Config]) -> None:
    """Add the verb to a study."""

    # A table is an argument; what the studies read is an option among the others.
    hide, without = (("data",), ()) if name == "series" else ((), ("data",))

    def dry_run(*, given: GivenOptions, console: Console, data: str | None = None, **values: Any) -> None:
        _set_table(given, data, name, values["resume"])
        show_search_estimate(given, _search_request(**values), config, console)

    @command(
        app,
        "tune",
        f"lstmae {name} tune {SEARCH_EXAMPLE_OPTIONS[name]}",
        config,
        hide,
        lists=True,
        dry_run=dry_run,
        without=without,
    )
    def tune(
        data: Annotated[
            str | None, typer.Argument(metavar="DATA", help="The table: CSV, plain or compressed, or Parquet.")
        ] = None,
        *,
        search: Annotated[
            str | None,
            typer.Option(
                metavar="<name>",
                help="How to search: grid (all that is listed), random, bayesian or hyperband (default: grid).",
                autocompletion=lambda incomplete: [s for s in SEARCH_METHODS if s.startswith(incomplete)],
            ),
        ] = None,
        trials: make_option(TRIALS_OPTION) = None,  # type: ignore[valid-type]
        repeats: make_option(REPEATS_OPTION) = None,  # type: ignore[valid-type]
        objective: Annotated[
            str | None,
            typer.Option(metavar="<name>", help="What to go by: a column of the history (default: the study's usual)."),
        ] = None,
        prune: Annotated[
            bool,
            typer.Option(
                "--prune", metavar="", help="Stop trainings that do worse than the median of earlier ones did."
            ),
        ] = False,
        max_time: Annotated[
            str | None,
            typer.Option(metavar="<time>", help="Stop after so long, such as 90s, 10m or 2h; --resume goes on."),
        ] = None,
        jobs: make_option(JOBS_OPTION) = None,  # type: ignore[valid-type]
        engine: Annotated[
            str, typer.Option(metavar="<name>", help="Who runs trials: local, or ray (a cluster; the extra [ray]).")
        ] = "local",
        address: Annotated[
            str | None,
            typer.Option(metavar="<address>", help="Of the Ray cluster, as ray.init takes it (default: this machine)."),
        ] = None,
        max_retries: make_option(RETRIES_OPTION) = None,  # type: ignore[valid-type]
        keep: make_option(KEEP_OPTION) = None,  # type: ignore[valid-type]
        refit: Annotated[
            bool,
            typer.Option("--refit", metavar="", help="Train the winner's setting on train and validation as well."),
        ] = False,
        resume: Resume = False,
        repair: Repair = False,
        tensorboard: Annotated[
            bool, typer.Option("--tensorboard", metavar="", help="Write logs for TensorBoard's HParams page.")
        ] = False,
        out: Out = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Search for better options: each one that is given a list (8,16,32) or a range (1e-4..1e-1:log) is varied."""
        from .search import tune_study

        _set_table(given, data, name, resume)
        asked = _search_request(
            search=search,
            trials=trials,
            repeats=repeats,
            objective=objective,
            prune=prune,
            max_time=max_time,
            jobs=jobs,
            engine=engine,
            address=address,
            max_retries=max_retries,
            keep=keep,
            refit=refit,
            resume=resume,
            repair=repair,
            tensorboard=tensorboard,
            out=out,
        )
        tune_study(given, config, asked, console)


def _search_request(*, max_time: str | None, engine: str, address: str | None, **others: Any) -> Any:
    """Return the search request after checking its values."""
    from . import search

    for field in _SEARCH_OPTIONS:
        check_value(field, others[field.name])
    if address is not None and engine != "ray":
        raise ConfigError("--address is for --engine ray; add it, or leave --address out")
    if engine not in ("local", "ray"):
        raise ConfigError(f"--engine must be one of local, ray. Received: {engine!r}")
    return search.SearchRequest(seconds=_parse_duration(max_time), engine=engine, address=address, **others)


def _set_table(given: GivenOptions, data: str | None, name: str, resume: bool) -> None:
    """Move the table argument into the config options."""
    if data is not None:
        given["data"] = data
    elif name == "series" and not resume and given.file is None:
        raise ConfigError("Give the table to train on: lstmae series tune DATA, or --resume to continue a search")


def _parse_duration(text: str | None) -> float | None:
    """Parse a duration such as `90s`, `10m`, or `2h`; a number alone is in seconds."""
    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"--max-time must be a time such as 90s, 10m or 2h. Received: {text!r}")
    return seconds
