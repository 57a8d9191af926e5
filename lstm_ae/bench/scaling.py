"""Benchmark of the cost of a training step by steps, units, batch size, and data, and of two trainings at once."""

import multiprocessing
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lstm_ae.bench.runner import Spread, silence, spread
from lstm_ae.bench.training import Shape, measure_laps

BASE = Shape(16, 50, 1)
GROWTH: dict[str, list[Shape]] = {
    "steps": [BASE._replace(steps=steps) for steps in (25, 50, 100, 200, 400)],
    "units": [BASE._replace(units=units) for units in (8, 16, 32, 64, 128)],
    "batch": [BASE._replace(batch=batch) for batch in (32, 64, 128, 256, 512)],
}
SAMPLES = (9_000, 18_000, 36_000, 72_000)


class ScalingPoint(NamedTuple):
    """Measured size.

    Args:
        axis: the varied quantity.
        size: its value.
        milliseconds: duration of a training step; of an epoch for "data".
        growth: ratio of the durations of this and the previous size, divided by the ratio of the sizes; 1 is linear.
    """

    axis: str
    size: int
    milliseconds: Spread
    growth: float | None


def scaling(rounds: int, done: Callable[[str], None]) -> Iterator[ScalingPoint]:
    """Measure every size of every axis.

    Args:
        rounds: number of measured laps.
        done: called with each measured size, as text.
    """
    for axis, shapes in GROWTH.items():
        before: ScalingPoint | None = None
        for shape in shapes:
            durations = [1000 * seconds / shape.laps for seconds in measure_laps(shape, rounds)]
            before = _point(axis, getattr(shape, axis), durations, before)
            done(f"{axis} {before.size}")
            yield before
    before = None
    for samples in SAMPLES:
        durations = [1000 * seconds for seconds in measure_laps(BASE, rounds, samples=samples)]
        before = _point("data", samples, durations, before)
        done(f"data {samples}")
        yield before


def _point(axis: str, size: int, durations: list[float], before: ScalingPoint | None) -> ScalingPoint:
    milliseconds = spread(durations)
    growth = None
    if before:
        growth = milliseconds.median / before.milliseconds.median / (size / before.size)
    return ScalingPoint(axis, size, milliseconds, growth)


class TwoProcesses(NamedTuple):
    """Rates of one and of two trainings.

    Args:
        alone: training steps per second of one process.
        together: training steps per second of two concurrent processes, in total.
    """

    alone: float
    together: float


def two_processes(rounds: int) -> TwoProcesses:
    """Measure the base shape in one process, then in two concurrent processes."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, silence) as pool:
        pool.map(_rate, [1, 1])  # Imports and compilation are not measured.
        (alone,) = pool.map(_rate, [rounds])
        return TwoProcesses(alone, sum(pool.map(_rate, [rounds, rounds], chunksize=1)))


def _rate(rounds: int) -> float:
    return BASE.laps / spread(measure_laps(BASE, rounds)).median
