"""How `tune` goes: from what was typed to a plan, a search, and what is said of it."""

import dataclasses
import itertools
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from lstm_ae.config import Config, task_of
from lstm_ae.errors import ConfigError
from lstm_ae.options import flag
from lstm_ae.space import Axis, axes_of

from . import training
from .backend import import_tensorflow
from .going_on import begun, going_on
from .options import Given
from .talk import Talk

USUAL_TRIALS = 20


class Asked(NamedTuple):
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


def tune(given: Given, kind: type[Config], asked: Asked, talk: Talk) -> None:
    """Search, and show what was found."""
    from .found import show_found

    folder, plan, found, _ = search(given, kind, asked, talk)
    with going_on(folder):
        show_found(talk, folder, plan, found)


def search(given: Given, kind: type[Config], asked: Asked, talk: Talk) -> tuple[Any, Any, Any, Any]:
    """Search; returns the folder, the plan, what was found and the data."""
    from lstm_ae.about import command_line
    from lstm_ae.run import require_free
    from lstm_ae.search import folder as folders
    from lstm_ae.search.plan import of_other_days

    name = task_of(kind())
    if asked.repair and not asked.resume:
        raise ConfigError("--repair is for a search that goes on; add --resume")
    if asked.resume:
        folder = begun(name, asked.verb, asked.varied, asked.out)
        purpose = folder.purpose()
        if asked.keep is not None or asked.refit:
            keep = purpose.keep if asked.keep is None else asked.keep
            purpose = purpose._replace(keep=keep, refit=asked.refit or purpose.refit)
        plan = _again(folder.plan(), given, asked)
    else:
        purpose = folders.Purpose(asked.verb, 1 if asked.keep is None else asked.keep, asked.refit)
        if asked.out is not None:
            require_free(asked.out)
        plan = planned(given, kind, asked)
    if note := of_other_days(plan.config, plan.axes):
        talk.say(f"note: {note}")
    import_tensorflow(talk)
    plan, data = settled(plan, talk)
    if asked.resume:
        from lstm_ae.search.tuner import require_same

        for note in require_same(folder, plan, data):
            talk.say(note)
    else:
        folder = folders.create(asked.out, plan, data.source, data.symbols, command_line(), purpose)
    with going_on(folder):
        found = _search(folder, plan, purpose, data, asked, talk)
    return folder, plan, found, data


def _search(folder: Any, plan: Any, purpose: Any, data: Any, asked: Asked, talk: Talk) -> Any:
    from lstm_ae.search.driver import Clock
    from lstm_ae.search.executors import Executor, Here
    from lstm_ae.search.job import Loader, key_of
    from lstm_ae.search.tuner import opened
    from lstm_ae.search.tuner import search as go_on
    from lstm_ae.search.workers import Workers, cores, in_turn, usual_jobs

    from .board import Board

    retries = 2 if asked.max_retries is None else asked.max_retries
    with opened(folder, plan=plan, purpose=purpose, repair=asked.repair) as record:
        load = Loader({key_of(plan.config): data})
        jobs = asked.jobs or usual_jobs(plan)
        clock = Clock(asked.seconds)
        with Board(talk, record, folder, tensorboard=asked.tensorboard) as board:
            executor: Executor
            if asked.engine == "ray":
                from lstm_ae.search.cluster import Cluster

                slots = asked.jobs or (1 if in_turn(plan) else None)
                executor = Cluster(asked.address, slots, _for_all_seeds(plan), board.step)
            elif jobs == 1:
                executor = Here(load, board.step, lambda: clock.expired)
            else:
                executor = Workers(jobs, max(1, cores() // jobs), board.step, folder.log)
            talk.say(f"searching in {folder.directory}: {told(plan)}, {executor.slots} at once")
            found = go_on(record, folder, load, executor, board, clock=clock, retries=retries)
    return found


def _for_all_seeds(plan: Any) -> dict[str, Any]:
    """The data of every repeat, by key: other machines need not have the files."""
    from lstm_ae.search.job import key_of
    from lstm_ae.tasks import task

    seeds = [(plan.config.seed + number) % 2**32 for number in range(plan.repeats)]
    configs = [dataclasses.replace(plan.config, seed=seed) for seed in seeds]
    return {key_of(config): task(task_of(config)).load(config) for config in configs}


def told(plan: Any) -> str:
    """What a plan searches, in words."""
    axes = ", ".join(f"{flag(axis.name)} {axis}" for axis in plan.axes)
    trials = "" if plan.size is None else f", {plan.size} trial" + ("s" if plan.size != 1 else "")
    return f"{plan.search} over {axes}{trials}"


def settled(plan: Any, talk: Talk) -> tuple[Any, Any]:
    """The plan with a config that leaves nothing open, and its data; says what that is."""
    config, data = training.settled(plan.config, talk)
    return dataclasses.replace(plan, config=config), data


def planned(given: Given, kind: type[Config], asked: Asked) -> Any:
    """The plan of what was typed: what is listed is searched; the report's grid where nothing is."""
    from lstm_ae.search.plan import Plan, objective_of, on_the_same_days, require_comparable
    from lstm_ae.tasks import task

    name = task_of(kind())
    config, axes = divided(given, kind)
    if not axes:
        axes = [axis for axis in axes_of(task(name).space, config) if axis.name not in given]
    search = asked.search or "grid"
    usual = USUAL_TRIALS if search in ("random", "bayesian") else None
    plan = Plan(
        config=on_the_same_days(config, axes),
        axes=tuple(axes),
        search=search,
        trials=asked.trials or usual,
        repeats=asked.repeats or 1,
        objective=objective_of(config, asked.objective, axes),
        prune=asked.prune,
    )
    require_comparable(plan)
    return plan


def _again(plan: Any, given: Given, asked: Asked) -> Any:
    """A search's plan with what was typed this time in its place."""
    from lstm_ae.search.plan import objective_of

    base = Given(given).resting(given)
    base.before = plan.config.to_dict()
    axes = {axis.name: axis for axis in plan.axes if axis.name not in given}
    config, typed = divided(base, type(plan.config))
    every = _in_order(plan.axes, [*axes.values(), *typed])
    return dataclasses.replace(
        plan,
        config=config,
        axes=tuple(every),
        search=asked.search or plan.search,
        trials=asked.trials or plan.trials,
        repeats=asked.repeats or plan.repeats,
        objective=objective_of(config, asked.objective, every) if asked.objective else plan.objective,
        prune=asked.prune or plan.prune,
    )


def _in_order(before: tuple[Axis, ...], now: list[Axis]) -> list[Axis]:
    order = [axis.name for axis in before]
    return sorted(now, key=lambda axis: order.index(axis.name) if axis.name in order else len(order))


def divided(given: Given, kind: type[Config]) -> tuple[Config, list[Axis]]:
    """The single values as a config, and the lists and ranges."""
    axes = [value for value in given.values() if isinstance(value, Axis)]
    single = Given({name: value for name, value in given.items() if not isinstance(value, Axis)}).resting(given)
    # What is chosen by its name decides which other options there are: one choice that goes with them is enough.
    named = [axis for axis in axes if axis.values and isinstance(axis.values[0], str)]
    choices = itertools.product(*(axis.values for axis in named))
    tried = [{}, *(dict(zip((axis.name for axis in named), choice, strict=True)) for choice in choices if choice)]
    for number, chosen in enumerate(tried):
        with suppress(ConfigError) if number + 1 < len(tried) else nullcontext():
            return single.config(kind, **chosen), axes
    raise AssertionError("the last one returns or raises")
