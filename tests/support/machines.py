"""Tables of machines with very different levels."""

from pathlib import Path
from typing import Any

import numpy as np

# Level and deviation of each machine.
MACHINES = {"large": (10_000.0, 3000.0), "middle": (100.0, 30.0), "small": (1.0, 0.02)}


ROWS = 240


def values_of(machine: str, level: float, deviation: float) -> Any:
    """Return two columns with a season of 12 steps, `(rows, 2)`."""
    step, random = 2 * np.pi * np.arange(ROWS)[:, None] / 12, np.random.default_rng(len(machine))
    waves = np.sqrt(2) * np.sin(step + np.arange(2)) + 0.05 * random.normal(size=(ROWS, 2))
    return level * np.array([1, 2]) + deviation * waves


def table(path: Path, machines: dict[str, tuple[float, float]] = MACHINES, spike: float = 0) -> Path:
    """Write hourly values of machines in this order, with a spike at row 150 in deviations of the small machine."""
    lines = ["machine,time,a,b"]
    for machine, (level, deviation) in machines.items():
        values = values_of(machine, level, deviation)
        if machine == "small":
            values[150, 0] += spike * deviation
        times = np.datetime64("2024-01-01T00", "h") + np.arange(ROWS)
        lines += [f"{machine},{time}:00,{a:.7g},{b:.7g}" for time, (a, b) in zip(times, values, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path
