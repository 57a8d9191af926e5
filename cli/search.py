"""`lstmae ... tune`: plan, start, and resume a search."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import DATA_PATHS, Config, task_of
from lstm_ae.config.options import flag_name, spell_option
from lstm_ae.config.space import REPORT, Axis
from lstm_ae.errors import Code, ConfigError
from lstm_ae.formatting import format_count
from lstm_ae.parallel import Engine
from lstm_ae.search.plan import (
    SearchPlan,
    choose_objective,
    default_jobs,
    describe_unaligned_days,
    runs_in_turn,
)

from . import training
from .backend import import_tensorflow
from .console import Console
from .errors import resumable
from .options import (
    SEARCH,
    Address,
    GivenOptions,
    Jobs,
    OptionalTable,
    Out,
    Repeats,
    Resume,
    command,
    named,
    refuse_options,
    require_directory,
)
from .search_results import SearchProgress, show_results

if TYPE_CHECKING:
    from lstm_ae.data.windows import Data
    from lstm_ae.search.directory import SearchDirectory
    from lstm_ae.search.search import SearchResult

SEARCH_EXAMPLE_OPTIONS = {
    "toy": "--units 4,8 --learning-rate 0.1,0.01 --sequences 500 --epochs 1 --jobs 1",
    "mnist": "--units 2,4 --epochs 1 --search random --trials 1 --jobs 1",
    "snp": "--clip 1,5 --units 4 --symbols IBM --start 2009-01-01 --epochs 1 --jobs 1",
    "series": "pump.csv --code 2,8 --units 8 --epochs 1 --jobs 1",
}

DEFAULT_TRIALS = 20

# Options of a config that only the full help of a search shows, so that the options of the search itself have room.
ADVANCED_OPTIONS = {
    "toy": ("batch_size", "seed"),
    "mnist": ("data", "batch_size", "seed"),
    "snp": ("goal", "inputs", "start", "end", "seed"),
    "series": ("value_cols", "id_col", "threshold", "normal", "seed"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """Options of `tune`; None for an option that was not given."""

    repeats: Repeats = None
    jobs: Jobs = None
    resume: Resume = False
    out: Out = None
    search: Annotated[
        str | None,
        named("<name>", "Search method: grid, random, or bayesian (default: grid).", SEARCH),
    ] = None
    trials: Annotated[
        int | None,
        named("<int>", "Maximum number of settings to try (default: the whole grid, or 20).", SEARCH, min=1, max=10**6),
    ] = None
    engine: Annotated[str, named("<name>", "Where trials run: local, ray, dask, or spark.", SEARCH, hidden=True)] = (
        "local"
    )
    address: Address = None

    def __post_init__(self) -> None:
        """Refuse values that are not allowed, or contradict each other."""
        Engine(self.engine, address=self.address)


def register(app: typer.Typer, name: str, config: type[Config]) -> None:
    """Add `tune` to a study."""
    # Each setting is tried with one network, and compared on the validation split.
    # A table is an argument; the data of the other studies is one of the options.
    hide, without = (("data", "seeds"), ()) if name == "series" else (("seeds",), ("data",))

    @command(
        app,
        "tune",
        f"lstmae {name} tune {SEARCH_EXAMPLE_OPTIONS[name]}",
        config,
        hide,
        lists=True,
        without=without,
        advanced=ADVANCED_OPTIONS[name],
    )
    def tune(data: OptionalTable = None, *, request: SearchRequest, given: GivenOptions, console: Console) -> None:
        """Search for better options over lists (8,16,32) and ranges (1e-4..1e-1:log)."""
        _set_table(given, data, name, request.resume)
        search(given, config, request, console)


def _set_table(given: GivenOptions, data: str | None, name: str, resume: bool) -> None:
    """Move the table argument into the config options."""
    if data is not None:
        given["data"] = data
    elif name == "series" and not resume and given.file is None:
        raise ConfigError(
            "Pass the table to train on: lstmae series tune DATA, or --resume to continue a search",
            code=Code.MISSING_OPTION,
        )


@contextmanager
def add_resume_command(folder: "SearchDirectory") -> Iterator[None]:
    """Add the command that resumes a search to the error that ends it early."""
    from lstm_ae.parallel import ClusterLostError, WorkersDiedError

    advice = f"Resume with: {folder.resume_command}"
    try:
        with resumable("finished trials", advice):
            yield
    except (ClusterLostError, WorkersDiedError) as error:
        raise type(error)(f"{error}; nothing is lost. {advice}") from error


def search(given: GivenOptions, kind: type[Config], request: SearchRequest, console: Console) -> None:
    """Run or resume a search and show its results."""
    from lstm_ae.run import command_line
    from lstm_ae.search.directory import create_search, open_search

    folder = open_search(require_directory(request.out), task_of(kind())) if request.resume else None
    plan = resumed_plan(folder.plan(), given, request) if folder else make_plan(given, kind, request)
    if note := describe_unaligned_days(plan.config, plan.axes):
        console.say(f"note: {note}")
    import_tensorflow(console)
    config, data = training.complete_config(plan.config, console)
    plan = dataclasses.replace(plan, config=config)
    if folder is None:
        folder = create_search(request.out, plan, data.source, data.symbols, command_line())
    elif note := folder.require_data(data):
        console.say(f"note: {note}")
    with add_resume_command(folder):
        show_results(console, folder, plan, _run_search(folder, plan, data, request, console))


def resumed_plan(plan: SearchPlan, given: GivenOptions, request: SearchRequest) -> SearchPlan:
    """Return the plan of a search with the number of trials and the path of the data that are given.

    Raises:
        ConfigError: another option is given.
    """
    scope = "a search that resumes, whose options are in search.json"
    training.refuse_config(given, scope, free=DATA_PATHS)
    refuse_options({flag_name(name): getattr(request, name) for name in ("search", "repeats")}, scope)
    return dataclasses.replace(
        plan,
        config=plan.config.with_values(given),
        trials=request.trials or plan.trials,
    )


def _run_search(
    folder: "SearchDirectory", plan: SearchPlan, data: "Data", request: SearchRequest, console: Console
) -> "SearchResult":
    from lstm_ae.search.job import DataLoader, TrialWork
    from lstm_ae.search.search import open_record
    from lstm_ae.search.search import search as run_search

    # A cluster has its own number of cores.
    usual = default_jobs(plan) if request.engine == "local" or runs_in_turn(plan) else None
    engine = Engine(request.engine, request.jobs or usual, request.address)
    load = DataLoader({plan.config.data_key: data})
    axes = ", ".join(spell_option(axis.name, str(axis)) for axis in plan.axes)
    size = "" if plan.size is None else f", {format_count(plan.size, 'trial')}"
    with open_record(folder, plan) as record:
        board = SearchProgress(console, record)
        work = TrialWork(load, board.step) if engine.is_sequential() else TrialWork()
        with engine.open(work) as pool:
            console.say(f"searching in {folder.directory}: {plan.search} over {axes}{size}, {pool.processes} at once")
            try:
                return run_search(record, folder, load, pool, board)
            finally:
                board.clear()


def make_plan(given: GivenOptions, kind: type[Config], request: SearchRequest) -> SearchPlan:
    """Return the plan for the given options: the listed values, else the grid of the source report."""
    from lstm_ae.search.directory import SearchDirectory
    from lstm_ae.studies.networks import reduce_to_single_network

    if request.out is not None:
        SearchDirectory(request.out).require_free()
    axes = [value for value in given.values() if isinstance(value, Axis)]
    single = {name: value for name, value in given.items() if not isinstance(value, Axis)}
    config = kind.merge(given.base(kind), single)
    if not axes:
        axes = [axis for axis in REPORT if axis.name not in given]
    search = request.search or "grid"
    usual = DEFAULT_TRIALS if search in ("random", "bayesian") else None
    return SearchPlan(
        config=reduce_to_single_network(config),
        axes=tuple(axes),
        search=search,
        trials=request.trials or usual,
        repeats=request.repeats or 1,
        objective=choose_objective(config, axes),
    )
