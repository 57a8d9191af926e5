"""Generate synthetic tables: a pump for anomalies, an electric load to forecast, and walks to classify."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import BoolArray, Float64Array, Int64Array

Columns = dict[str, NDArray[np.generic]]

STEPS_PER_DAY = 144
# First and last day of each failure of the pump: a bearing shakes, the valve moves slowly, the valve is stuck.
BEARING_DAYS, SLOW_VALVE_DAYS, STUCK_VALVE_DAYS = (48.3, 48.9), (51.2, 52.2), (54.5, 55.1)
# Steps after which the slow valve has completed 63% of a change: three hours.
VALVE_TIME_CONSTANT = 18
WALK_KINDS = ("level", "stairs", "run")
WALK_COUNT = 150


class ExampleTable(NamedTuple):
    """Synthetic table.

    Args:
        make: function of the seed of the noise that returns the columns.
        words: description of the content.
    """

    make: Callable[[int], Columns]
    words: str


def generate_pump(seed: int, days: int = 60) -> Columns:
    """Return the flow, pressure, and vibration of a pump every ten minutes, with failures on days 48, 51, and 54.

    The pump is busy by day, and less at night and on Sundays. On day 51 its valve reacts slowly: each value stays in
    its usual range and the columns keep their relation to each other; only the duration of a change is unusual.

    Returns:
        time (UTC), flow (liters per second), pressure (bar), vibration (millimeters per second), and failure (1 during
        a failure, else 0).
    """
    random = np.random.default_rng(seed)
    row = np.arange(days * STEPS_PER_DAY)
    day = row / STEPS_PER_DAY
    shakes, lags, sticks = (
        (day >= first) & (day < last) for first, last in (BEARING_DAYS, SLOW_VALVE_DAYS, STUCK_VALVE_DAYS)
    )
    opening = 0.4 + 0.6 * np.clip(2 * np.sin(2 * np.pi * (day - 0.25)), 0, 1)
    load = _lag_valve(opening * np.where(_weekday(day) == 6, 0.5, 1.0), lags)
    flow = 40 * load + random.normal(0, 0.6, len(row))
    pressure = 6 - 2 * load + random.normal(0, 0.06, len(row))
    vibration = 1 + 1.5 * load + np.abs(random.normal(0, 0.1, len(row)))
    vibration[shakes] += 1.2 + 0.4 * random.random(int(shakes.sum()))
    flow[sticks] = flow[sticks][:1].repeat(sticks.sum())
    pressure[sticks] += 0.8
    return {
        "time": _times_from("2024-01-01", 600 * row),
        "flow": flow.round(2),
        "pressure": pressure.round(3),
        "vibration": vibration.round(3),
        "failure": (shakes | lags | sticks).astype(np.int64),
    }


def generate_load(seed: int, days: int = 120) -> Columns:
    """Return the hourly electric load of a town and its temperature.

    The load depends on the hour, the day of the week, and the heating, which starts below 15 degrees Celsius.

    Returns:
        time (UTC), load (megawatts), and temperature (degrees Celsius).
    """
    random = np.random.default_rng(seed)
    row = np.arange(days * 24)
    hour, day = row % 24, row / 24
    temperature = 10 - 8 * np.cos(2 * np.pi * day / 365) - 3 * np.cos(2 * np.pi * (hour - 3) / 24)
    temperature += _autoregressive_noise(random, len(row), 0.98, 0.6)
    busy = np.exp(-(((hour - 9) / 3) ** 2)) + 1.3 * np.exp(-(((hour - 19) / 2.5) ** 2))
    use = 220 + 90 * busy * np.where(_weekday(day) >= 5, 0.6, 1.0)
    use += 7 * np.clip(15 - temperature, 0, None) + _autoregressive_noise(random, len(row), 0.9, 4)
    return {
        "time": _times_from("2024-01-01", 3600 * row),
        "load": use.round(1),
        "temperature": temperature.round(1) + 0.0,
    }


def generate_walks(seed: int) -> Columns:
    """Return the acceleration of persons who walk on level ground, climb stairs, or run, 20 times per second.

    A walk starts at any phase of a step and has a random pace and strength; the kinds differ in the shape of a step.

    Returns:
        walk (its name), time (UTC), forward and upward (meters per second squared), and kind.
    """
    random = np.random.default_rng(seed)
    columns: dict[str, list[NDArray[np.generic]]] = {name: [] for name in ("walk", "time", "forward", "upward", "kind")}
    for number in range(WALK_COUNT):
        kind, rows = number % len(WALK_KINDS), int(random.integers(45, 66))
        pace = random.uniform(1.5, 2.2) if kind < 2 else random.uniform(2.0, 2.8)
        turn = 2 * np.pi * (pace * np.arange(rows) / 20 + random.random())
        strength = random.uniform(0.7, 1.4)
        # On stairs, the upward push precedes the forward push more than on level ground; running has a stronger second
        # push.
        forward = np.sin(turn - (0.5, 1.6, 0.5)[kind])
        upward = np.sin(turn) + (0.3, 0.3, 0.7)[kind] * np.sin(2 * turn + (0.0, 0.8, 1.5)[kind])
        columns["walk"].append(np.full(rows, f"w{number}"))
        columns["time"].append(
            _times_from("2024-03-01T08:00", 60 * number) + np.arange(rows) * np.timedelta64(50, "ms")
        )
        for name, values in (("forward", forward), ("upward", 2 * upward)):
            columns[name].append((strength * values + random.normal(0, 0.3, rows)).round(2))
        columns["kind"].append(np.full(rows, WALK_KINDS[kind]))
    return {name: np.concatenate(parts) for name, parts in columns.items()}


# Example table by task of `lstmae series train`.
EXAMPLES = {
    "anomaly": ExampleTable(generate_pump, "a pump, its failures from day 48 on labeled in the column failure"),
    "forecast": ExampleTable(generate_load, "the hourly electric load of a town, and its temperature"),
    "classify": ExampleTable(generate_walks, f"{WALK_COUNT} walks, their kinds in the column kind"),
}


def _times_from(start: str, seconds: Int64Array | int) -> NDArray[np.datetime64]:
    return np.datetime64(start, "s") + np.asarray(seconds).astype("timedelta64[s]")


def _weekday(day: Float64Array) -> Int64Array:
    """Return the weekday of each day, 0 (Monday) to 6 (Sunday); day 0 is a Monday."""
    return day.astype(np.int64) % 7


def _lag_valve(setting: Float64Array, lags: BoolArray) -> Float64Array:
    """Return the valve opening, which follows the setting slowly in the rows where `lags` is True."""
    opening = setting.copy()
    for row in np.flatnonzero(lags):
        opening[row] = opening[row - 1] + (setting[row] - opening[row - 1]) / VALVE_TIME_CONSTANT
    return opening


def _autoregressive_noise(random: np.random.Generator, rows: int, memory: float, size: float) -> Float64Array:
    """Return first-order autoregressive noise with coefficient `memory` and innovation standard deviation `size`."""
    noise = random.normal(0, size, rows)
    for row in range(1, rows):
        noise[row] += memory * noise[row - 1]
    return noise
