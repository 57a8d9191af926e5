"""Small tables of several series, and fleets of their models."""

from pathlib import Path

import numpy as np

SERIES = ("m1", "site A/m2")
TOO_SHORT = "short"
ROWS = 90
# The smallest network that has a verdict.
OPTIONS = "--id-col machine --window 6 --units 2 --code 2 --epochs 5 --batch-size 32"


def write_series(path: Path, rows: int = ROWS, seed: int = 0, names: tuple[str, ...] = SERIES) -> Path:
    """Write a table of sine waves of other levels, periods, and sizes, and of a series with too few rows."""
    random, lines = np.random.default_rng(seed), ["time,machine,load"]
    for number, name in enumerate((*names, TOO_SHORT)):
        length = 5 if name == TOO_SHORT else rows
        wave = 10 * number + (1 + number) * np.sin(np.arange(length) / (2 + number)) + random.normal(0, 0.1, length)
        times = np.datetime64("2024-01-01T00:00") + np.arange(length) * np.timedelta64(1, "h")
        lines += [f"{time},{name},{value:.5f}" for time, value in zip(times, wave, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path
