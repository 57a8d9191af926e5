"""How the cost of a training step grows with steps, units, batch and data, and beside another training."""

import multiprocessing
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lstm_ae.bench.training import Shape, measure_laps
from lstm_ae.bench.turns import Spread, silence, spread

BASE = Shape(16, 50, 1)
GROWTH: dict[str, list[Shape]] = {
    "steps": [BASE._replace(steps=steps) for steps in (25, 50, 100, 200, 400)],
    "units": [BASE._replace(units=units) for units in (8, 16, 32, 64, 128)],
    "batch": [BASE._replace(batch=batch) for batch in (32, 64, 128, 256, 512)],
}
SAMPLES = (9_000, 18_000, 36_000, 72_000)


class ScalingPoint(NamedTuple):
    """A measured size.

    Args:
        milliseconds: of a training step; of an epoch for "data".
        growth: how many times more than for the size before it, over how many times larger the size is: 1 is linear.
    """

    axis: str
    size: int
    milliseconds: Spread
    growth: float | None


def scaling(rounds: int, done: Callable[[str], None]) -> Iterator[ScalingPoint]:
    """Measure every size of every axis; `done` is told what was measured."""
    for axis, shapes in GROWTH.items():
        before: ScalingPoint | None = None
        for shape in shapes:
            taken = [1000 * seconds / shape.laps for seconds in measure_laps(shape, rounds)]
            before = _point(axis, getattr(shape, axis), taken, before)
            done(f"{axis} {before.size}")
            yield before
    before = None
    for samples in SAMPLES:
        taken = [1000 * seconds for seconds in measure_laps(BASE, rounds, samples=samples)]
        before = _point("data", samples, taken, before)
        done(f"data {samples}")
        yield before


def _point(axis: str, size: int, taken: list[float], before: ScalingPoint | None) -> ScalingPoint:
    found = spread(taken)
    growth = None
    if before:
        growth = found.median / before.milliseconds.median / (size / before.size)
    return ScalingPoint(axis, size, found, growth)


class TwoProcesses(NamedTuple):
    """Training steps a second of one process alone, and of two at once, together."""

    alone: float
    together: float


def two_processes(rounds: int) -> TwoProcesses:
    """Train the base shape in one process, then in two at the same time."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, silence) as pool:
        pool.map(_rate, [1, 1])  # both have imported and compiled
        (alone,) = pool.map(_rate, [rounds])
        return TwoProcesses(alone, sum(pool.map(_rate, [rounds, rounds], chunksize=1)))


def _rate(rounds: int) -> float:
    return BASE.laps / spread(measure_laps(BASE, rounds)).median
