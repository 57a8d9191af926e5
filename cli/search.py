"""`lstmae ... tune`, and what all commands that search have in common: plan, start, and resume a search."""

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import Config, task_of
from lstm_ae.config.options import flag_name, spell_option
from lstm_ae.config.reading import parse_duration
from lstm_ae.config.space import Axis, find_axes
from lstm_ae.errors import Code, ConfigError
from lstm_ae.formatting import format_count
from lstm_ae.parallel import Engine

from . import dry_run, training
from .backend import import_tensorflow
from .console import Console
from .errors import Interrupted
from .options import (
    RUN,
    SEARCH,
    Address,
    GivenOptions,
    Jobs,
    OptionalTable,
    Out,
    Repeats,
    command,
    declare,
    named,
)
from .search_results import SearchProgress, show_results

if TYPE_CHECKING:
    from lstm_ae.data.windows import Data
    from lstm_ae.search.directory import SearchDirectory, SearchPurpose
    from lstm_ae.search.plan import SearchPlan
    from lstm_ae.search.search import SearchResult

SEARCH_EXAMPLE_OPTIONS = {
    "toy": "--units 4,8 --learning-rate 0.1,0.01 --sequences 500 --epochs 1 --jobs 1",
    "mnist": "--units 2,4 --epochs 1 --search random --trials 1 --jobs 1",
    "snp": "--clip 1,5 --units 4 --symbols IBM --start 2009-01-01 --epochs 1 --jobs 1",
    "series": "pump.csv --code 2,8 --units 8 --epochs 1 --jobs 1",
}

SEARCH_METHODS = ("grid", "random", "bayesian", "hyperband")

DEFAULT_TRIALS = 20

# Options of a config that only the full help of a search shows, so that the options of the search itself have room.
ADVANCED_OPTIONS = {
    "toy": ("batch_size", "seed"),
    "mnist": ("data", "batch_size", "seed"),
    "snp": ("goal", "inputs", "start", "end", "seed"),
    "series": ("value_cols", "id_col", "threshold", "normal", "seed"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridRequest:
    """Options of every command that searches; None where nothing was given."""

    repeats: Repeats = None
    jobs: Jobs = None
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            metavar="",
            help="Resume the search at --out, or the latest one of this command.",
            rich_help_panel=RUN,
        ),
    ] = False
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            metavar="",
            help="With --resume: repeat trials whose files are damaged.",
            rich_help_panel=RUN,
            hidden=True,
        ),
    ] = False
    out: Out = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchRequest(GridRequest):
    """Options of `tune`, and the search that a command makes.

    Args:
        verb: name of the command.
        varied: option that the command itself varies.
    """

    verb: str = "tune"
    varied: str | None = None
    search: Annotated[
        str | None,
        typer.Option(
            metavar="<name>",
            help="Search method: grid, random, bayesian, or hyperband (default: grid).",
            rich_help_panel=SEARCH,
            autocompletion=lambda incomplete: [method for method in SEARCH_METHODS if method.startswith(incomplete)],
        ),
    ] = None
    trials: Annotated[
        int | None,
        declare(
            "trials",
            int,
            "Maximum number of settings to try (default: the whole grid, or 20).",
            SEARCH,
            minimum=1,
            maximum=1_000_000,
        ),
    ] = None
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="<name>",
            help="Column of the history to optimize (default: depends on the task).",
            rich_help_panel=SEARCH,
            hidden=True,
        ),
    ] = None
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            metavar="",
            help="Stop trials that are worse than the median of earlier ones.",
            rich_help_panel=SEARCH,
            hidden=True,
        ),
    ] = False
    max_time: Annotated[
        str | None,
        typer.Option(metavar="<time>", help="Time limit, such as 90s, 10min, or 2h.", rich_help_panel=SEARCH),
    ] = None
    engine: Annotated[str, named("<name>", "Where trials run: local, ray, dask, or spark.", SEARCH, hidden=True)] = (
        "local"
    )
    address: Address = None
    keep: Annotated[
        int | None,
        declare(
            "keep",
            int,
            "Number of best trials to keep as runs (default: 1).",
            SEARCH,
            advanced=True,
            minimum=1,
            maximum=1000,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuse values that are not allowed, or contradict each other."""
        Engine(self.engine, address=self.address)
        _ = self.max_seconds

    @property
    def max_seconds(self) -> float | None:
        """The time limit in seconds."""
        return parse_duration("--max-time", self.max_time) if self.max_time is not None else None


def request_grid(
    given: GivenOptions, axis: Axis, request: GridRequest, verb: str, keep: int
) -> tuple[GivenOptions, SearchRequest]:
    """Return the options with a grid over one of them, and the request that keeps `keep` runs of its search."""
    options = GivenOptions(given | {axis.name: axis}).resting(given)
    return options, SearchRequest(**vars(request), verb=verb, varied=axis.name, keep=keep)


def register(app: typer.Typer, name: str, config: type[Config]) -> None:
    """Add `tune` to a study."""
    # Each setting is tried with one network, and compared on the validation split.
    single = ("seeds", "refit")
    # A table is an argument; the data of the other studies is one of the options.
    hide, without = (("data", *single), ()) if name == "series" else (single, ("data",))

    def estimate(*, request: SearchRequest, given: GivenOptions, console: Console, data: str | None = None) -> None:
        _set_table(given, data, name, request.resume)
        show_search_estimate(given, request, config, console)

    @command(
        app,
        "tune",
        f"lstmae {name} tune {SEARCH_EXAMPLE_OPTIONS[name]}",
        config,
        hide,
        lists=True,
        dry_run=estimate,
        without=without,
        advanced=ADVANCED_OPTIONS[name],
    )
    def tune(data: OptionalTable = None, *, request: SearchRequest, given: GivenOptions, console: Console) -> None:
        """Search for better options over lists (8,16,32) and ranges (1e-4..1e-1:log)."""
        _set_table(given, data, name, request.resume)
        folder, plan, result, _ = search(given, config, request, console)
        with add_resume_command(folder):
            show_results(console, folder, plan, result)


def _set_table(given: GivenOptions, data: str | None, name: str, resume: bool) -> None:
    """Move the table argument into the config options."""
    if data is not None:
        given["data"] = data
    elif name == "series" and not resume and given.file is None:
        raise ConfigError(
            "Pass the table to train on: lstmae series tune DATA, or --resume to continue a search",
            code=Code.MISSING_OPTION,
        )


def find_search(study: str, verb: str, varied: str | None, out: Path | None) -> "SearchDirectory":
    """Return the search at `out`, or the latest one of a command.

    Args:
        varied: the option that the command itself varies.

    Raises:
        ConfigError: there is none, or it is of another study, command or version.
    """
    from lstm_ae.search.directory import open_search

    folder = _latest_search(study, verb) if out is None else open_search(out, study)
    if folder.purpose().verb != verb:
        raise ConfigError(
            f"{str(folder.directory)!r} belongs to another command. Resume with: {folder.resume_command}",
            code=Code.NOT_RESUMABLE,
        )
    names = [axis.name for axis in folder.plan().axes]
    if varied is not None and varied not in names:
        raise ConfigError(
            f"{str(folder.directory)!r} was begun by another version, whose {verb} varied "
            f"{', '.join(map(flag_name, names))}; this one varies {flag_name(varied)}. Start a new one without "
            "--resume",
            code=Code.NOT_RESUMABLE,
        )
    return folder


def _latest_search(study: str, verb: str) -> "SearchDirectory":
    from lstm_ae.search.directory import SearchDirectory

    for folder in SearchDirectory.list_all():
        if (folder.about()["task"], folder.purpose().verb) == (study, verb):
            return folder
    raise ConfigError(
        f"There is no search of {study} {verb} in 'runs'. Pass its directory with --out", code=Code.NOT_RESUMABLE
    )


@contextmanager
def add_resume_command(folder: "SearchDirectory") -> Iterator[None]:
    """Add the command that resumes a search to the error that ends it early."""
    from lstm_ae.parallel import ClusterLostError, WorkersDiedError

    again = f"Resume with: {folder.resume_command}"
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted; nothing is lost. {again}") from None
    except ClusterLostError as error:
        raise ClusterLostError(f"{error}; nothing is lost. {again}, on this engine or another") from error
    except WorkersDiedError as error:
        raise WorkersDiedError(f"{error}. {again}") from error


def show_search_estimate(given: GivenOptions, request: SearchRequest, kind: type[Config], console: Console) -> None:
    """Estimate a search."""
    from lstm_ae.search.directory import SearchDirectory

    dry_run.forbid_resume(request.resume)
    if request.engine != "local":
        raise ConfigError(dry_run.ENGINE_REFUSED, code=Code.CONFLICTING_OPTIONS)
    if request.out is not None:
        SearchDirectory(request.out).require_free()
    plan = make_plan(given, kind, request)
    import_tensorflow(console)
    plan, data = complete_plan(plan, console)
    from lstm_ae.estimate import largest_setting
    from lstm_ae.search.job import DataLoader
    from lstm_ae.search.oracles import count_trials

    largest = largest_setting(plan.config, plan.axes)
    trials, epochs = count_trials(plan)
    trainings = epochs / plan.config.epochs if epochs else trials * plan.repeats
    notes = ["the setting with the largest values was timed, and trials in sequence are assumed"]
    if request.max_time is not None:
        notes.append("this is the whole search without --max-time")
    data = DataLoader({plan.config.data_key: data})(largest)
    dry_run.show_estimate(largest, data, console, trainings, *notes)


def search(
    given: GivenOptions, kind: type[Config], request: SearchRequest, console: Console
) -> tuple["SearchDirectory", "SearchPlan", "SearchResult", "Data"]:
    """Run a search; return its directory, plan, result, and data."""
    from lstm_ae.run import command_line
    from lstm_ae.search.directory import SearchDirectory, SearchPurpose, create_search
    from lstm_ae.search.plan import describe_unaligned_days

    name = task_of(kind())
    if request.repair and not request.resume:
        raise ConfigError("--repair needs --resume. Add --resume or remove --repair", code=Code.MISSING_OPTION)
    if request.resume:
        folder = find_search(name, request.verb, request.varied, request.out)
        purpose = folder.purpose()
        if request.keep is not None:
            purpose = purpose._replace(keep=request.keep)
        plan = _update_plan(folder.plan(), given, request)
    else:
        purpose = SearchPurpose(request.verb, 1 if request.keep is None else request.keep)
        if request.out is not None:
            SearchDirectory(request.out).require_free()
        plan = make_plan(given, kind, request)
    if note := describe_unaligned_days(plan.config, plan.axes):
        console.say(f"note: {note}")
    import_tensorflow(console)
    plan, data = complete_plan(plan, console)
    if request.resume:
        from lstm_ae.search.search import require_same_search

        for note in require_same_search(folder, plan, data):
            console.say(note)
    else:
        folder = create_search(request.out, plan, data.source, data.symbols, command_line(), purpose)
    with add_resume_command(folder):
        result = _run_search(folder, plan, purpose, data, request, console)
    return folder, plan, result, data


def _run_search(
    folder: "SearchDirectory",
    plan: "SearchPlan",
    purpose: "SearchPurpose",
    data: "Data",
    request: SearchRequest,
    console: Console,
) -> "SearchResult":
    from lstm_ae.search.job import DataLoader, TrialWork
    from lstm_ae.search.plan import default_jobs, runs_in_turn
    from lstm_ae.search.search import TimeBudget, open_record
    from lstm_ae.search.search import search as run_search

    with open_record(folder, plan=plan, purpose=purpose, repair=request.repair) as record:
        load = DataLoader({plan.config.data_key: data})
        clock = TimeBudget(request.max_seconds)
        # A cluster has its own number of cores.
        usual = default_jobs(plan) if request.engine == "local" or runs_in_turn(plan) else None
        engine = Engine(request.engine, request.jobs or usual, request.address)
        with SearchProgress(console, record) as board:
            work = TrialWork(load, board.step) if engine.is_sequential() else TrialWork()
            with engine.open(work) as pool:
                console.say(f"searching in {folder.directory}: {describe_plan(plan)}, {pool.processes} at once")
                result = run_search(record, folder, load, pool, board, clock=clock)
    return result


def describe_plan(plan: "SearchPlan") -> str:
    """Describe what a plan searches."""
    axes = ", ".join(spell_option(axis.name, str(axis)) for axis in plan.axes)
    trials = "" if plan.size is None else f", {format_count(plan.size, 'trial')}"
    return f"{plan.search} over {axes}{trials}"


def complete_plan(plan: "SearchPlan", console: Console) -> tuple["SearchPlan", "Data"]:
    """Return the plan with a complete config, and its data; print a description of the data."""
    config, data = training.complete_config(plan.config, console)
    return dataclasses.replace(plan, config=config), data


def make_plan(given: GivenOptions, kind: type[Config], request: SearchRequest) -> "SearchPlan":
    """Return the plan for the given options: the listed values, else the grid of the source report."""
    from lstm_ae.search.plan import SearchPlan, choose_objective, require_comparable_trials
    from lstm_ae.studies import load_study
    from lstm_ae.studies.networks import reduce_to_single_network

    name = task_of(kind())
    config, axes = split_values(given, kind)
    if not axes:
        axes = [axis for axis in find_axes(load_study(name).space, config) if axis.name not in given]
    search = request.search or "grid"
    usual = DEFAULT_TRIALS if search in ("random", "bayesian") else None
    plan = SearchPlan(
        config=reduce_to_single_network(config),
        axes=tuple(axes),
        search=search,
        trials=request.trials or usual,
        repeats=request.repeats or 1,
        objective=choose_objective(config, request.objective, axes),
        prune=request.prune,
    )
    require_comparable_trials(plan)
    return plan


def _update_plan(plan: "SearchPlan", given: GivenOptions, request: SearchRequest) -> "SearchPlan":
    """Return the plan of a search, updated by the given options."""
    from lstm_ae.search.plan import choose_objective

    base = GivenOptions(given).resting(given)
    base.before = plan.config.to_dict()
    axes = {axis.name: axis for axis in plan.axes if axis.name not in given}
    config, typed = split_values(base, type(plan.config))
    every = _restore_order(plan.axes, [*axes.values(), *typed])
    return dataclasses.replace(
        plan,
        config=config,
        axes=tuple(every),
        search=request.search or plan.search,
        trials=request.trials or plan.trials,
        repeats=request.repeats or plan.repeats,
        objective=choose_objective(config, request.objective, every) if request.objective else plan.objective,
        prune=request.prune or plan.prune,
    )


def _restore_order(before: tuple[Axis, ...], now: list[Axis]) -> list[Axis]:
    order = [axis.name for axis in before]
    return sorted(now, key=lambda axis: order.index(axis.name) if axis.name in order else len(order))


def split_values(given: GivenOptions, kind: type[Config]) -> tuple[Config, list[Axis]]:
    """Return the single values as a config, and the lists and ranges as axes."""
    axes = [value for value in given.values() if isinstance(value, Axis)]
    single = GivenOptions({name: value for name, value in given.items() if not isinstance(value, Axis)}).resting(given)
    # What is chosen by its name decides which other options there are: one choice that goes with them is enough.
    named = [axis for axis in axes if axis.values and isinstance(axis.values[0], str)]
    choices = itertools.product(*(axis.values for axis in named))
    attempts = [{}, *(dict(zip((axis.name for axis in named), choice, strict=True)) for choice in choices if choice)]
    for number, chosen in enumerate(attempts):
        with suppress(ConfigError) if number + 1 < len(attempts) else nullcontext():
            return single.config(kind, **chosen), axes
    raise AssertionError("the last one returns or raises")
