"""What a search takes: its smallest and its largest setting are timed, as many at once as will run."""

import contextlib
import itertools
import math
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

from lstm_ae.config import Config, task_of
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError
from lstm_ae.estimate.durations import Duration, Estimate, Part
from lstm_ae.estimate.memory import peak_memory
from lstm_ae.estimate.training import MEMORY, Measured, measure
from lstm_ae.models.scaling import network_of
from lstm_ae.options import flag
from lstm_ae.search.job import Load, Loader, key_of
from lstm_ae.search.oracles import trials_of
from lstm_ae.search.plan import Plan
from lstm_ae.search.workers import cores, prepare
from lstm_ae.space import Axis
from lstm_ae.starting import run_child
from lstm_ae.tasks import task
from lstm_ae.words import count

# Seconds of training steps to time of each setting.
SECONDS = 1.5
# Options that change what is learnt, and not how long it takes.
SAME_SIZE = (
    *("learning_rate", "schedule", "warmup", "beta_2", "epsilon", "weight_decay", "clip"),
    *("gates", "memory", "recurrent"),
    *("seed", "patience", "reconstruction_weight", "label_smoothing"),
)
# Settings to build, to find the smallest and the largest.
BUILT = 32


class Ends(NamedTuple):
    """What was seen of the smallest and the largest setting.

    Args:
        small, large: the settings, measured.
        started: seconds until the processes that run trials were ready; 0 where this one does.
        memory: bytes of the peak of one of them.
    """

    small: Measured
    large: Measured
    started: float
    memory: int | None


def estimate(plan: Plan, data: Data, *, jobs: int, keep: int = 1, refit: bool = False) -> Estimate:
    """What a search takes until its runs are written.

    Args:
        data: of the plan's own config.
        jobs: trials at once.
        keep: trials that become runs.
        refit: whether the winner is trained once more.
    """
    load = Loader({key_of(plan.config): data})
    small, large = extremes(corners(plan.config, plan.axes), load)
    ends = _here(small, large, load) if jobs == 1 else _beside(small, large, jobs)
    trials, epochs = trials_of(plan)
    together = min(jobs, trials)
    low, high = (_trials(end, trials * plan.repeats, epochs) for end in ends[:2])
    # Rounds are whole: at the end of the last one processes wait for the others.
    rounds = math.ceil(trials / together)
    all_trials = Duration((low.usual + high.usual) / 2, max(low.slowest, high.slowest)) * (rounds / trials)
    each = " to ".join(f"{whole.usual / trials:.3g}" for whole in (low, high))
    parts = [Part("train", f"{count(trials, 'trial')} of {each} s, {together} at once", all_trials)]
    if ends.started:
        parts.insert(0, Part("start", f"{together} processes that run trials", Duration(1, 1) * ends.started))
    if keep:
        told = f"the best {count(keep, 'trial')} measured, drawn and saved"
        parts.append(Part("finish", told, ends.large.finish * keep))
    if refit:
        again = ends.large.pace.of(ends.large.work) + ends.large.finish
        parts.append(Part("refit", "the winner, on train and validation", again))
    notes = [_sizes(plan, small, large)]
    if plan.prune or 0 < plan.config.patience < plan.config.epochs:
        notes.append("trainings that end early take less")
    memory, own = ends.memory, peak_memory()
    if jobs == 1 or memory is None or own is None:
        notes.append(MEMORY)
    else:
        memory = own + together * memory
        notes.append(f"memory is the peak of this process and of {together} that run trials")
    # What may be gone on with, or become a run, is kept until then.
    states = trials * plan.repeats if plan.search == "hyperband" else together + keep
    return Estimate(tuple(parts), memory, ends.large.run * (keep + refit), states * ends.large.state, tuple(notes))


def _trials(found: Measured, trainings: int, epochs: int | None) -> Duration:
    """So many trainings of one setting, one after another; `epochs` of all, where they are not trained to the end."""
    whole = found.work._replace(epochs=epochs or trainings * found.work.epochs)
    return found.pace.of(whole) + found.pace.before_epochs(whole) * (trainings - 1)


def corners(config: Config, axes: Sequence[Axis]) -> Iterator[Config]:
    """Settings at the ends of what is searched and changes their size; all of them where there are names.

    Those with all numbers at their low ends, or all at their high ones, come first: who looks at some sees these.
    """
    choices = [axis.values[:1] if axis.name in SAME_SIZE and axis.values else _ends(axis) for axis in axes]
    named = [bool(axis.values) and isinstance(axis.values[0], str) for axis in axes]

    def all_at(place: int) -> Iterator[tuple[Any, ...]]:
        return itertools.product(*(c if name else (c[place],) for c, name in zip(choices, named, strict=True)))

    first = itertools.chain.from_iterable(zip(all_at(0), all_at(-1), strict=True))
    seen = set()
    for values in itertools.chain(first, itertools.product(*choices)):
        if values in seen:
            continue
        seen.add(values)
        with contextlib.suppress(ConfigError):  # such a setting fails when it is its turn
            yield config.with_values({axis.name: value for axis, value in zip(axes, values, strict=True)})


def _ends(axis: Axis) -> Sequence[Any]:
    if not axis.values:
        return (axis.low,) if axis.name in SAME_SIZE else (axis.low, axis.high)
    if isinstance(axis.values[0], str):
        return axis.values
    return tuple(dict.fromkeys((min(axis.values), max(axis.values))))


def extremes(configs: Iterable[Config], load: Load) -> tuple[Config, Config]:
    """The settings with the least and the most to compute: parameters, times steps of a sequence, times epochs.

    Of many settings only the first ones are looked at.
    """

    def size(config: Config) -> tuple[int, int]:
        data = load(config)
        network = network_of(task(task_of(config)).build(config, data))
        return network.count_params() * data.train.span * config.epochs, -config.batch_size

    sized = [(size(config), config) for config in itertools.islice(configs, BUILT)]
    if not sized:
        raise ConfigError("None of the settings that were looked at is allowed; list others")
    return min(sized, key=lambda pair: pair[0])[1], max(sized, key=lambda pair: pair[0])[1]


def _sizes(plan: Plan, small: Config, large: Config) -> str:
    names = [axis.name for axis in plan.axes if getattr(small, axis.name) != getattr(large, axis.name)]
    if not names:
        return "trials are taken to be alike, and one was timed"
    one, other = (" ".join(f"{flag(name)} {getattr(config, name)}" for name in names) for config in (small, large))
    return f"trials differ in size: the smallest ({one}) and the largest ({other}) were timed, and all taken as between"


def _here(small: Config, large: Config, load: Load) -> Ends:
    last = measure(large, load(large), seconds=SECONDS)
    first = last if small == large else measure(small, load(small), seconds=SECONDS, finish=False)
    return Ends(first, last, 0.0, peak_memory())


def _beside(small: Config, large: Config, jobs: int) -> Ends:
    """The same in processes like those that will run trials: so many at once, each with its share of the cores."""
    slots, threads = min(jobs, cores()), max(1, cores() // jobs)
    context = multiprocessing.get_context("spawn")
    began = time.time()
    beginning = (prepare.__module__, prepare.__name__, threads, os.devnull)
    with ProcessPoolExecutor(slots, context, run_child, beginning) as pool:
        asked = [pool.submit(_timed, task_of(small), small.to_dict(), large.to_dict()) for _ in range(slots)]
        found = [one.result() for one in asked]
    # More at once than there are cores share them.
    share = max(1.0, jobs / cores())
    slowest = max(found, key=lambda one: one[0].large.pace.step.usual)[0]
    ready = max(ready for _, ready in found) - began
    return slowest._replace(
        small=_slower(slowest.small, share), large=_slower(slowest.large, share), started=ready * share
    )


def _slower(found: Measured, times: float) -> Measured:
    pace = found.pace
    return found._replace(
        pace=pace._replace(start=pace.start * times, step=pace.step * times, window=pace.window * times)
    )


def _timed(name: str, small: dict[str, Any], large: dict[str, Any]) -> tuple[Ends, float]:
    """In a process of its own: both settings, and the time at which its data was loaded."""
    from lstm_ae.config import TASKS

    load = Loader()
    one, other = (TASKS[name].from_dict(config) for config in (small, large))
    load(other)
    ready = time.time()
    return _here(one, other, load), ready
