"""Estimate of a search from its smallest and its largest setting, timed in as many processes as will run."""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from lstm_ae.config import TASKS, Config, task_of
from lstm_ae.config.options import flag_name
from lstm_ae.config.space import Axis
from lstm_ae.data.windows import Data
from lstm_ae.errors import Code, ConfigError
from lstm_ae.estimate.durations import CommandEstimate, Duration, EstimatePart
from lstm_ae.estimate.memory import peak_memory
from lstm_ae.estimate.training import MEMORY, MeasuredTraining, measure_training
from lstm_ae.formatting import format_count
from lstm_ae.json_types import JsonObject
from lstm_ae.models.scaling import inner_network
from lstm_ae.search.job import DataLoader, Load
from lstm_ae.search.oracles import count_trials
from lstm_ae.search.plan import SearchPlan
from lstm_ae.startup import cores
from lstm_ae.studies import load_study
from lstm_ae.workers.jobs import Report, run_jobs
from lstm_ae.workers.processes import ProcessPool, import_tensorflow

# Seconds of training steps to time of each setting.
SECONDS = 1.5
# Options that do not change the duration of a training step.
SAME_SIZE = (
    *("learning_rate", "schedule", "warmup", "beta_2", "epsilon", "weight_decay", "clip"),
    *("gates", "memory", "recurrent"),
    *("seed", "patience", "reconstruction_weight", "label_smoothing"),
)
# Largest number of settings that are built to find the smallest and the largest.
MAX_BUILT = 32


class SearchExtremes(NamedTuple):
    """Measurements of the smallest and the largest setting.

    Args:
        small: measurements of the smallest setting.
        large: measurements of the largest setting.
        started: seconds until the worker processes were ready; 0 without worker processes.
        memory: peak memory of one process in bytes; None if the system does not report it.
    """

    small: MeasuredTraining
    large: MeasuredTraining
    started: float
    memory: int | None


def estimate_search(plan: SearchPlan, data: Data, *, jobs: int, keep: int = 1, refit: bool = False) -> CommandEstimate:
    """Estimate the cost of a search including the runs of the best trials.

    Args:
        plan: the plan of the search.
        data: data of the plan's config.
        jobs: trials at once.
        keep: number of best trials that become runs.
        refit: whether the winner is trained again on train and validation.
    """
    load = DataLoader({plan.config.data_key: data})
    small, large = extreme_settings(corner_settings(plan.config, plan.axes), load)
    extremes = _measure_here(small, large, load) if jobs == 1 else _measure_in_processes(small, large, jobs)
    trials, epochs = count_trials(plan)
    parallel = min(jobs, trials)
    low, high = (_sequential_trials(end, trials * plan.repeats, epochs) for end in extremes[:2])
    # In the last round, idle processes wait for the others.
    rounds = math.ceil(trials / parallel)
    all_trials = Duration((low.usual + high.usual) / 2, max(low.slowest, high.slowest)) * (rounds / trials)
    each = " to ".join(f"{total.usual / trials:.3g}" for total in (low, high))
    parts = [EstimatePart("train", f"{format_count(trials, 'trial')} of {each} s, {parallel} at once", all_trials)]
    if extremes.started:
        parts.insert(0, EstimatePart("start", f"{parallel} worker processes", Duration(1, 1) * extremes.started))
    if keep:
        how = f"evaluate, draw, and save the best {format_count(keep, 'trial')}"
        parts.append(EstimatePart("finish", how, extremes.large.finish * keep))
    if refit:
        refit_duration = extremes.large.pace.of(extremes.large.work) + extremes.large.finish
        parts.append(EstimatePart("refit", "the winner, on train and validation", refit_duration))
    notes = [_describe_sizes(plan, small, large)]
    if plan.prune or 0 < plan.config.patience < plan.config.epochs:
        notes.append("trainings that end early take less time")
    memory, main_memory = extremes.memory, peak_memory()
    if jobs == 1 or memory is None or main_memory is None:
        notes.append(MEMORY)
    else:
        memory = main_memory + parallel * memory
        notes.append(f"memory is the peak of this process and of {parallel} worker processes")
    # Hyperband keeps the states of all trials, other searches those of running and best trials.
    states = trials * plan.repeats if plan.search == "hyperband" else parallel + keep
    return CommandEstimate(
        tuple(parts), memory, extremes.large.run * (keep + refit), states * extremes.large.state, tuple(notes)
    )


def _sequential_trials(measured: MeasuredTraining, trainings: int, epochs: int | None) -> Duration:
    """Return the duration of several trainings in sequence.

    Args:
        measured: one training.
        trainings: number of trainings.
        epochs: epochs of all trainings; None if every training runs to its last epoch.
    """
    total = measured.work._replace(epochs=epochs or trainings * measured.work.epochs)
    return measured.pace.of(total) + measured.pace.before_epochs(total) * (trainings - 1)


def corner_settings(config: Config, axes: Sequence[Axis]) -> Iterator[Config]:
    """Yield the settings with the lowest and highest values of the options that change the size of a training.

    Options with named values take all of their values. Settings with all numbers at their lowest or all at their
    highest values come first. Invalid combinations are left out.

    Args:
        config: values of the options that are not searched.
        axes: the searched options.
    """
    choices = [axis.values[:1] if axis.name in SAME_SIZE and axis.values else _ends(axis) for axis in axes]
    named = [bool(axis.values) and isinstance(axis.values[0], str) for axis in axes]

    def all_at(index: int) -> Iterator[tuple[object, ...]]:
        return itertools.product(*(c if name else (c[index],) for c, name in zip(choices, named, strict=True)))

    first = itertools.chain.from_iterable(zip(all_at(0), all_at(-1), strict=True))
    seen = set()
    for values in itertools.chain(first, itertools.product(*choices)):
        if values in seen:
            continue
        seen.add(values)
        with contextlib.suppress(ConfigError):
            yield config.with_values({axis.name: value for axis, value in zip(axes, values, strict=True)})


def _ends(axis: Axis) -> Sequence[Any]:
    if not axis.values:
        return (axis.low,) if axis.name in SAME_SIZE else (axis.low, axis.high)
    if isinstance(axis.values[0], str):
        return axis.values
    return tuple(dict.fromkeys((min(axis.values), max(axis.values))))


def extreme_settings(configs: Iterable[Config], load: Load) -> tuple[Config, Config]:
    """Return the settings with the smallest and the largest product of parameters, sequence length, and epochs.

    Args:
        configs: the settings, of which the first `MAX_BUILT` are considered.
        load: returns the data of a config.

    Raises:
        ConfigError: there is no valid setting.
    """

    def size(config: Config) -> tuple[int, int]:
        data = load(config)
        network = inner_network(load_study(task_of(config)).build(config, data))
        return network.count_params() * data.train.span * config.epochs, -config.batch_size

    sized = [(size(config), config) for config in itertools.islice(configs, MAX_BUILT)]
    if not sized:
        raise ConfigError("The searched options have no valid combination. List other values.", code=Code.SEARCH_SPACE)
    return min(sized, key=lambda pair: pair[0])[1], max(sized, key=lambda pair: pair[0])[1]


def _describe_sizes(plan: SearchPlan, small: Config, large: Config) -> str:
    names = [axis.name for axis in plan.axes if getattr(small, axis.name) != getattr(large, axis.name)]
    if not names:
        return "all trials have the same size; one was timed"
    low, high = (" ".join(f"{flag_name(name)} {getattr(config, name)}" for name in names) for config in (small, large))
    return (
        f"trials differ in size: the smallest ({low}) and the largest ({high}) were timed, and the others are assumed "
        "to lie between them"
    )


def measure_extremes(small: Config, large: Config, load: Load) -> tuple[MeasuredTraining, MeasuredTraining]:
    """Measure the largest and the smallest setting; equal settings are measured once.

    Args:
        small: the smallest setting, which is measured without finishing its run.
        large: the largest setting.
        load: returns the data of a config.

    Returns:
        The measurements of the largest and of the smallest setting.
    """
    largest = measure_training(large, load(large), seconds=SECONDS)
    if small == large:
        return largest, largest
    return largest, measure_training(small, load(small), seconds=SECONDS, finish=False)


def _measure_here(small: Config, large: Config, load: Load) -> SearchExtremes:
    largest, smallest = measure_extremes(small, large, load)
    return SearchExtremes(smallest, largest, 0.0, peak_memory())


def _measure_in_processes(small: Config, large: Config, jobs: int) -> SearchExtremes:
    """Measure both settings in concurrent processes like those of the search, each with its share of the cores."""
    slots, threads = min(jobs, cores()), max(1, cores() // jobs)
    start = time.time()
    pool = ProcessPool(_Work(task_of(small), small.to_dict(), large.to_dict()), slots, threads, None)
    try:
        results = list(
            run_jobs(map(_Job, range(slots)), pool, lambda number: "A measurement", what="measurement", resumable=False)
        )
    finally:
        pool.stop()
    # Jobs share the cores if there are more jobs than cores.
    factor = max(1.0, jobs / cores())
    slowest = max((result.extremes for result in results), key=lambda found: found.large.pace.step.usual)
    started = max(result.ready for result in results) - start
    return slowest._replace(
        small=_slow_down(slowest.small, factor), large=_slow_down(slowest.large, factor), started=started * factor
    )


def _slow_down(measured: MeasuredTraining, factor: float) -> MeasuredTraining:
    pace = measured.pace
    return measured._replace(
        pace=pace._replace(start=pace.start * factor, step=pace.step * factor, window=pace.window * factor)
    )


class _Job(NamedTuple):
    """A measurement; all of them are equal."""

    number: int


class _Outcome(NamedTuple):
    """Outcome of a measurement.

    Args:
        number: number of the job.
        extremes: the measurements.
        ready: time at which the data was loaded.
    """

    number: int
    extremes: SearchExtremes
    ready: float


class _Work(NamedTuple):
    """What is measured: the task, and the smallest and the largest setting."""

    task: str
    small: JsonObject
    large: JsonObject

    def prepare(self, threads: int) -> None:
        import_tensorflow(threads)

    def load(self, report: Report) -> Callable[[_Job], _Outcome]:
        load = DataLoader()
        small, large = (TASKS[self.task].from_dict(config) for config in (self.small, self.large))
        load(large)
        ready = time.time()
        return lambda job: _Outcome(job.number, _measure_here(small, large, load), ready)
