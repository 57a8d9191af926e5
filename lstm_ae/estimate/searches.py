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
from lstm_ae.config.options import flag_name
from lstm_ae.config.space import Axis
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError
from lstm_ae.estimate.durations import CommandEstimate, Duration, EstimatePart
from lstm_ae.estimate.memory import peak_memory
from lstm_ae.estimate.training import MEMORY, MeasuredTraining, measure_training
from lstm_ae.formatting import format_count
from lstm_ae.models.scaling import inner_network
from lstm_ae.search.executors import cores, prepare_worker
from lstm_ae.search.job import DataLoader, Load, data_key
from lstm_ae.search.oracles import count_trials
from lstm_ae.search.plan import SearchPlan
from lstm_ae.startup import run_child_process
from lstm_ae.studies import load_study

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


class SearchExtremes(NamedTuple):
    """What was seen of the smallest and the largest setting.

    Args:
        small, large: the settings, measured.
        started: seconds until the processes that run trials were ready; 0 where this one does.
        memory: bytes of the peak of one of them.
    """

    small: MeasuredTraining
    large: MeasuredTraining
    started: float
    memory: int | None


def estimate_search(plan: SearchPlan, data: Data, *, jobs: int, keep: int = 1, refit: bool = False) -> CommandEstimate:
    """What a search takes until its runs are written.

    Args:
        data: of the plan's own config.
        jobs: trials at once.
        keep: trials that become runs.
        refit: whether the winner is trained once more.
    """
    load = DataLoader({data_key(plan.config): data})
    small, large = extreme_settings(corner_settings(plan.config, plan.axes), load)
    ends = _here(small, large, load) if jobs == 1 else _beside(small, large, jobs)
    trials, epochs = count_trials(plan)
    together = min(jobs, trials)
    low, high = (_trials(end, trials * plan.repeats, epochs) for end in ends[:2])
    # Rounds are whole: at the end of the last one processes wait for the others.
    rounds = math.ceil(trials / together)
    all_trials = Duration((low.usual + high.usual) / 2, max(low.slowest, high.slowest)) * (rounds / trials)
    each = " to ".join(f"{whole.usual / trials:.3g}" for whole in (low, high))
    parts = [EstimatePart("train", f"{format_count(trials, 'trial')} of {each} s, {together} at once", all_trials)]
    if ends.started:
        parts.insert(0, EstimatePart("start", f"{together} processes that run trials", Duration(1, 1) * ends.started))
    if keep:
        told = f"the best {format_count(keep, 'trial')} measured, drawn and saved"
        parts.append(EstimatePart("finish", told, ends.large.finish * keep))
    if refit:
        again = ends.large.pace.of(ends.large.work) + ends.large.finish
        parts.append(EstimatePart("refit", "the winner, on train and validation", again))
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
    return CommandEstimate(
        tuple(parts), memory, ends.large.run * (keep + refit), states * ends.large.state, tuple(notes)
    )


def _trials(found: MeasuredTraining, trainings: int, epochs: int | None) -> Duration:
    """So many trainings of one setting, one after another; `epochs` of all, where they are not trained to the end."""
    whole = found.work._replace(epochs=epochs or trainings * found.work.epochs)
    return found.pace.of(whole) + found.pace.before_epochs(whole) * (trainings - 1)


def corner_settings(config: Config, axes: Sequence[Axis]) -> Iterator[Config]:
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


def extreme_settings(configs: Iterable[Config], load: Load) -> tuple[Config, Config]:
    """The settings with the least and the most to compute: parameters, times steps of a sequence, times epochs.

    Of many settings only the first ones are looked at.
    """

    def size(config: Config) -> tuple[int, int]:
        data = load(config)
        network = inner_network(load_study(task_of(config)).build(config, data))
        return network.count_params() * data.train.span * config.epochs, -config.batch_size

    sized = [(size(config), config) for config in itertools.islice(configs, BUILT)]
    if not sized:
        raise ConfigError("None of the settings that were looked at is allowed; list others")
    return min(sized, key=lambda pair: pair[0])[1], max(sized, key=lambda pair: pair[0])[1]


def _sizes(plan: SearchPlan, small: Config, large: Config) -> str:
    names = [axis.name for axis in plan.axes if getattr(small, axis.name) != getattr(large, axis.name)]
    if not names:
        return "trials are taken to be alike, and one was timed"
    one, other = (" ".join(f"{flag_name(name)} {getattr(config, name)}" for name in names) for config in (small, large))
    return f"trials differ in size: the smallest ({one}) and the largest ({other}) were timed, and all taken as between"


def _here(small: Config, large: Config, load: Load) -> SearchExtremes:
    last = measure_training(large, load(large), seconds=SECONDS)
    first = last if small == large else measure_training(small, load(small), seconds=SECONDS, finish=False)
    return SearchExtremes(first, last, 0.0, peak_memory())


def _beside(small: Config, large: Config, jobs: int) -> SearchExtremes:
    """The same in processes like those that will run trials: so many at once, each with its share of the cores."""
    slots, threads = min(jobs, cores()), max(1, cores() // jobs)
    context = multiprocessing.get_context("spawn")
    began = time.time()
    beginning = (prepare_worker.__module__, prepare_worker.__name__, threads, os.devnull)
    with ProcessPoolExecutor(slots, context, run_child_process, beginning) as pool:
        asked = [pool.submit(_timed, task_of(small), small.to_dict(), large.to_dict()) for _ in range(slots)]
        found = [one.result() for one in asked]
    # More at once than there are cores share them.
    share = max(1.0, jobs / cores())
    slowest = max(found, key=lambda one: one[0].large.pace.step.usual)[0]
    ready = max(ready for _, ready in found) - began
    return slowest._replace(
        small=_slower(slowest.small, share), large=_slower(slowest.large, share), started=ready * share
    )


def _slower(found: MeasuredTraining, times: float) -> MeasuredTraining:
    pace = found.pace
    return found._replace(
        pace=pace._replace(start=pace.start * times, step=pace.step * times, window=pace.window * times)
    )


def _timed(name: str, small: dict[str, Any], large: dict[str, Any]) -> tuple[SearchExtremes, float]:
    """In a process of its own: both settings, and the time at which its data was loaded."""
    from lstm_ae.config import TASKS

    load = DataLoader()
    one, other = (TASKS[name].from_dict(config) for config in (small, large))
    load(other)
    ready = time.time()
    return _here(one, other, load), ready
