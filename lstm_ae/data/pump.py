"""A made-up table to try things on: a pump's flow, pressure and vibration, every ten minutes, with two failures."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STEPS_A_DAY = 144
# From which day to which, and what happens: a bearing that shakes, a valve that sticks.
SHAKES, STICKS = (48.3, 48.9), (54.5, 55.1)


class Pump(NamedTuple):
    """All columns, `(rows,)` each.

    Args:
        time: datetime64[s], UTC.
        flow: litres a second.
        pressure: bar.
        vibration: millimetres a second.
        failure: 1 while something is broken.
    """

    time: NDArray[np.datetime64]
    flow: NDArray[np.float64]
    pressure: NDArray[np.float64]
    vibration: NDArray[np.float64]
    failure: NDArray[np.int64]


def generate(days: int = 60, seed: int = 0) -> Pump:
    """The pump of so many days: busy by day and slow by night, and on Sundays. The failures come on days 48 and 54."""
    random = np.random.default_rng(seed)
    row = np.arange(days * STEPS_A_DAY)
    day = row / STEPS_A_DAY
    sunday = (day.astype(int) % 7) == 6
    load = (0.4 + 0.6 * np.clip(2 * np.sin(2 * np.pi * (day - 0.25)), 0, 1)) * np.where(sunday, 0.5, 1.0)
    flow = 40 * load + random.normal(0, 0.6, len(row))
    pressure = 6 - 2 * load + random.normal(0, 0.06, len(row))
    vibration = 1 + 1.5 * load + np.abs(random.normal(0, 0.1, len(row)))
    shakes, sticks = ((day >= first) & (day < last) for first, last in (SHAKES, STICKS))
    vibration[shakes] += 1.2 + 0.4 * random.random(int(shakes.sum()))
    stuck = flow[sticks][:1]
    flow[sticks] = stuck.mean() if len(stuck) else 0
    pressure[sticks] += 0.8
    time = np.datetime64("2024-01-01T00:00:00") + (600 * row).astype("timedelta64[s]")
    return Pump(time, flow.round(2), pressure.round(3), vibration.round(3), (shakes | sticks).astype(np.int64))
