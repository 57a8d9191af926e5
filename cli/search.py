"""Start, continue, and show a search; what its commands share."""

import dataclasses
import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from lstm_ae.config import Config, task_of
from lstm_ae.config.options import flag_name
from lstm_ae.config.space import Axis, find_axes
from lstm_ae.errors import ConfigError, LstmAeError
from lstm_ae.formatting import format_clock, format_count, format_names, format_setting, format_value

from . import training
from .backend import import_tensorflow
from .console import Console
from .errors import Interrupted
from .options import GivenOptions
from .training import show_files


def find_search(study: str, verb: str, varied: str | None, out: Path | None) -> Any:
    """Return the search at `out`, or the latest one of a command.

    Args:
        varied: the option that the command itself varies.

    Raises:
        ConfigError: there is none, or it is of another study, command or version.
    """
    from lstm_ae.search.directory import open_search

    folder = _latest_search(study, verb) if out is None else open_search(out, study)
    if folder.purpose().verb != verb:
        raise ConfigError(f"{str(folder.directory)!r} belongs to another command. Resume with: {folder.resume_command}")
    names = [axis.name for axis in folder.plan().axes]
    if varied is not None and varied not in names:
        raise ConfigError(
            f"{str(folder.directory)!r} was begun by another version, whose {verb} varied "
            f"{', '.join(map(flag_name, names))}; this one varies {flag_name(varied)}. Start a new one without --resume"
        )
    return folder


def _latest_search(study: str, verb: str) -> Any:
    from lstm_ae.search.directory import list_searches

    for folder in list_searches():
        if (folder.about()["task"], folder.purpose().verb) == (study, verb):
            return folder
    raise ConfigError(f"There is no search of {study} {verb} in 'runs'; give its directory with --out")


@contextmanager
def add_resume_command(folder: Any) -> Iterator[None]:
    """Add the command that resumes a search to the error that ends it early."""
    from lstm_ae.search.ray_executor import ClusterLostError

    again = f"Resume with: {folder.resume_command}"
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted; nothing is lost. {again}") from None
    except ClusterLostError as error:
        raise ClusterLostError(f"{error}; nothing is lost. {again}, with --engine ray or without") from error


class SearchProgress:
    """Observer of a search that shows the finished and running trials, the best score, and the remaining time."""

    def __init__(self, console: Console, record: Any, folder: Any, *, tensorboard: bool) -> None:
        self.console, self.record = console, record
        self.objective = record.plan.objective
        self.began, self.ended_here = time.monotonic(), 0
        self.steps: dict[int, Any] = {}
        self.hparams: Any = None
        if tensorboard:
            from lstm_ae.search.tensorboard import TensorBoardWriter

            self.hparams = TensorBoardWriter(folder, record.plan)
        self.live: Any = None
        if sys.stderr.isatty() and not console.quiet:
            from rich.console import Console
            from rich.live import Live

            self.live = Live(
                console=Console(file=sys.stderr, highlight=False, markup=False),
                get_renderable=self._table,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def __enter__(self) -> "SearchProgress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def started(self, trial: Any) -> None:
        """Show that a trial has started."""
        self.steps[trial.number] = None

    def step(self, step: Any) -> None:
        """Show the progress of a trial."""
        self.steps[step.number] = step

    def ended(self, trial: Any) -> None:
        """Print a line about a finished trial."""
        self.steps.pop(trial.number, None)
        self.ended_here += 1
        if self.hparams:
            self.hparams.write(trial)
        self._say(f"trial {trial.number}: {describe_setting(trial)}: {describe_result(trial, self.objective)}")

    def lost(self, trial: Any, how: str) -> None:
        """Print that the worker of a trial died."""
        self.steps.pop(trial.number, None)
        self._say(f"trial {trial.number}: its worker died ({how}); it is given to another")

    def _say(self, text: str) -> None:
        if self.live:
            self.live.console.print(text)
        else:
            self.console.say(text)

    def _table(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for number, step in sorted(self.steps.items()):
            where = "begins" if step is None else f"epoch {step.epoch}/{step.epochs}"
            value = "" if step is None else f"{self.objective.name} {format_value(step.value)}"
            table.add_row(f"trial {number}", describe_setting(self.record.trials[number]), where, value)
        return Group(Text(self._headline()), table)

    def _headline(self) -> str:
        trials = self.record.trials
        done = sum(trial.status in ("completed", "pruned") for trial in trials)
        failed = sum(trial.status in ("failed", "lost") for trial in trials)
        size = self.record.plan.size
        words = [f"{done}{f' of {size}' if size else ''} done, {len(self.steps)} running, {failed} failed"]
        if best := self.record.best(1):
            words.append(f"best {self.objective.name} {format_value(best[0].score)} (trial {best[0].number})")
        if size and self.ended_here:
            each = (time.monotonic() - self.began) / self.ended_here
            words.append(f"about {format_clock(each * max(0, size - done - failed))} left")
        return "; ".join(words)


def describe_setting(trial: Any) -> str:
    """Return the searched options of a trial as typed."""
    values = " ".join(f"{flag_name(name)} {format_setting(value)}" for name, value in trial.values.items())
    return f"{values} to epoch {trial.until}" if trial.until else values


def describe_result(trial: Any, objective: Any) -> str:
    """Return the result of a trial in one line."""
    if not trial.scored:
        return f"{trial.status} ({trial.reason})"
    spread = f" ± {format_value(trial.spread)}" if len(trial.executions) > 1 else ""
    why = f" ({trial.reason})" if trial.reason else ""
    return f"{objective.name} {format_value(trial.score)}{spread}{why}, {trial.seconds:.0f} s"


def show_results(console: Console, folder: Any, plan: Any, found: Any) -> None:
    """Show the table of all trials, the best first; write it, and the figures.

    Raises:
        LstmAeError: no trial came to an end; the text has the reasons.
    """
    from lstm_ae.search.results import result_columns, result_figures, result_statements

    header, rows = result_columns(plan, found.trials)
    folder.write_table({name: [row[place] for row in rows] for place, name in enumerate(header)})
    again = require_results(folder, found)
    drawn = result_figures(folder, plan, found.trials)
    console.table(header, rows)
    told = result_statements(plan, found.trials)
    if told:
        console.show("")
    for line in told:
        console.show(line)
    console.show("")
    if not found.complete:
        console.show(f"Time limit reached. Resume with: {again}")
    winner = found.trials[0]
    files = {
        "table": folder.directory / "table.csv",
        "figures": drawn[0].parent,
        "winner": found.runs[0].directory,
    }
    if found.refit:
        files["refit"] = found.refit.directory
        console.show(f"The setting of the winner was {found.refit.metrics()['training']['refit']}.")
    show_files(console, files)
    console.document(
        {
            "search": str(folder.directory),
            "complete": found.complete,
            "objective": plan.objective.name,
            "trials": [_trial_row(trial) for trial in found.trials],
            "findings": told,
            "winner": {"trial": winner.number, "values": winner.values, "run": str(found.runs[0].directory)},
            "kept": [str(run.directory) for run in found.runs],
            "refit": str(found.refit.directory) if found.refit else None,
        }
    )


def require_results(folder: Any, found: Any) -> str:
    """Return the command that resumes a search.

    Raises:
        LstmAeError: no trial is complete; the message has the reasons.
    """
    again: str = folder.resume_command
    if any(trial.status == "completed" for trial in found.trials):
        return again
    if not found.complete:
        raise LstmAeError(f"The time limit was reached before a trial was complete. Resume with: {again}")
    reasons: dict[str, list[str]] = {}
    for trial in found.trials:
        if trial.reason:
            reasons.setdefault(trial.reason, []).append(str(trial.number))
    told = "; ".join(
        f"trial{'s' * (len(numbers) > 1)} {format_names(numbers)}: {reason}" for reason, numbers in reasons.items()
    )
    advice = "Lower --learning-rate, or change what the reasons name"
    raise LstmAeError(f"All {len(found.trials)} trials failed. {told}. {advice}")


def _trial_row(trial: Any) -> dict[str, Any]:
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


DEFAULT_TRIALS = 20


class SearchRequest(NamedTuple):
    """What was typed besides the config, and as what command; None where nothing was.

    Args:
        varied: the option that the command itself varies.
    """

    verb: str = "tune"
    varied: str | None = None
    search: str | None = None
    objective: str | None = None
    prune: bool = False
    seconds: float | None = None
    engine: str = "local"
    address: str | None = None
    refit: bool = False
    resume: bool = False
    repair: bool = False
    tensorboard: bool = False
    out: Path | None = None
    trials: int | None = None
    repeats: int | None = None
    jobs: int | None = None
    keep: int | None = None
    max_retries: int | None = None


def tune_study(given: GivenOptions, kind: type[Config], asked: SearchRequest, console: Console) -> None:
    """Run a search and show its results."""

    folder, plan, found, _ = search(given, kind, asked, console)
    with add_resume_command(folder):
        show_results(console, folder, plan, found)


def search(
    given: GivenOptions, kind: type[Config], asked: SearchRequest, console: Console
) -> tuple[Any, Any, Any, Any]:
    """Run a search; return its directory, plan, result, and data."""
    from lstm_ae.run import command_line, require_free
    from lstm_ae.search.directory import SearchPurpose, create_search
    from lstm_ae.search.plan import describe_unaligned_days

    name = task_of(kind())
    if asked.repair and not asked.resume:
        raise ConfigError("--repair is for a search that goes on; add --resume")
    if asked.resume:
        folder = find_search(name, asked.verb, asked.varied, asked.out)
        purpose = folder.purpose()
        if asked.keep is not None or asked.refit:
            keep = purpose.keep if asked.keep is None else asked.keep
            purpose = purpose._replace(keep=keep, refit=asked.refit or purpose.refit)
        plan = _update_plan(folder.plan(), given, asked)
    else:
        purpose = SearchPurpose(asked.verb, 1 if asked.keep is None else asked.keep, asked.refit)
        if asked.out is not None:
            require_free(asked.out)
        plan = make_plan(given, kind, asked)
    if note := describe_unaligned_days(plan.config, plan.axes):
        console.say(f"note: {note}")
    import_tensorflow(console)
    plan, data = complete_plan(plan, console)
    if asked.resume:
        from lstm_ae.search.search import require_same_search

        for note in require_same_search(folder, plan, data):
            console.say(note)
    else:
        folder = create_search(asked.out, plan, data.source, data.symbols, command_line(), purpose)
    with add_resume_command(folder):
        found = _run_search(folder, plan, purpose, data, asked, console)
    return folder, plan, found, data


def _run_search(folder: Any, plan: Any, purpose: Any, data: Any, asked: SearchRequest, console: Console) -> Any:
    from lstm_ae.search.executors import Executor, LocalExecutor, WorkerPool, cores, default_jobs, runs_in_turn
    from lstm_ae.search.job import DataLoader, data_key
    from lstm_ae.search.search import TimeBudget, open_record
    from lstm_ae.search.search import search as run_search

    retries = 2 if asked.max_retries is None else asked.max_retries
    with open_record(folder, plan=plan, purpose=purpose, repair=asked.repair) as record:
        load = DataLoader({data_key(plan.config): data})
        jobs = asked.jobs or default_jobs(plan)
        clock = TimeBudget(asked.seconds)
        with SearchProgress(console, record, folder, tensorboard=asked.tensorboard) as board:
            executor: Executor
            if asked.engine == "ray":
                from lstm_ae.search.ray_executor import RayExecutor

                slots = asked.jobs or (1 if runs_in_turn(plan) else None)
                executor = RayExecutor(asked.address, slots, _load_all_seeds(plan), board.step)
            elif jobs == 1:
                executor = LocalExecutor(load, board.step, lambda: clock.expired)
            else:
                executor = WorkerPool(jobs, max(1, cores() // jobs), board.step, folder.log)
            console.say(f"searching in {folder.directory}: {describe_plan(plan)}, {executor.slots} at once")
            found = run_search(record, folder, load, executor, board, clock=clock, retries=retries)
    return found


def _load_all_seeds(plan: Any) -> dict[str, Any]:
    """Return the data of every repeat by its key, because other machines may not have the files."""
    from lstm_ae.search.job import data_key
    from lstm_ae.studies import load_study

    seeds = [(plan.config.seed + number) % 2**32 for number in range(plan.repeats)]
    configs = [dataclasses.replace(plan.config, seed=seed) for seed in seeds]
    return {data_key(config): load_study(task_of(config)).load(config) for config in configs}


def describe_plan(plan: Any) -> str:
    """Describe what a plan searches."""
    axes = ", ".join(f"{flag_name(axis.name)} {axis}" for axis in plan.axes)
    trials = "" if plan.size is None else f", {format_count(plan.size, 'trial')}"
    return f"{plan.search} over {axes}{trials}"


def complete_plan(plan: Any, console: Console) -> tuple[Any, Any]:
    """Return the plan with a complete config, and its data; print a description of the data."""
    config, data = training.complete_config(plan.config, console)
    return dataclasses.replace(plan, config=config), data


def make_plan(given: GivenOptions, kind: type[Config], asked: SearchRequest) -> Any:
    """Return the plan for the given options: the listed values, else the grid of the source report."""
    from lstm_ae.search.plan import SearchPlan, align_days, choose_objective, require_comparable_trials
    from lstm_ae.studies import load_study

    name = task_of(kind())
    config, axes = split_values(given, kind)
    if not axes:
        axes = [axis for axis in find_axes(load_study(name).space, config) if axis.name not in given]
    search = asked.search or "grid"
    usual = DEFAULT_TRIALS if search in ("random", "bayesian") else None
    plan = SearchPlan(
        config=align_days(config, axes),
        axes=tuple(axes),
        search=search,
        trials=asked.trials or usual,
        repeats=asked.repeats or 1,
        objective=choose_objective(config, asked.objective, axes),
        prune=asked.prune,
    )
    require_comparable_trials(plan)
    return plan


def _update_plan(plan: Any, given: GivenOptions, asked: SearchRequest) -> Any:
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
        search=asked.search or plan.search,
        trials=asked.trials or plan.trials,
        repeats=asked.repeats or plan.repeats,
        objective=choose_objective(config, asked.objective, every) if asked.objective else plan.objective,
        prune=asked.prune or plan.prune,
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
    tried = [{}, *(dict(zip((axis.name for axis in named), choice, strict=True)) for choice in choices if choice)]
    for number, chosen in enumerate(tried):
        with suppress(ConfigError) if number + 1 < len(tried) else nullcontext():
            return single.config(kind, **chosen), axes
    raise AssertionError("the last one returns or raises")
