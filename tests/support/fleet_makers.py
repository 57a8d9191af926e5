"""Small tables of several series, and fleets of their models."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np

from lstm_ae.data.synthetic import generate_pump
from lstm_ae.detection.calibration import NormalScores
from lstm_ae.fleets.directory import FORMAT, Fleet, directory_names

PUMP = Path(__file__).parents[2] / "saved_models/pump"

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


def copy_pump_fleet(folder: Path, series: tuple[str, ...], without: tuple[str, ...] = ()) -> Path:
    """Write a fleet whose runs are copies of the saved run of a pump; the series `without` have no run.

    The normal scores of each copy differ, so that the thresholds and the p-values of the series differ.
    """
    fleet, names = Fleet(folder), directory_names((*series, *without))
    for number, run in enumerate((fleet.common, *(fleet.run(names[each]) for each in series))):
        shutil.copytree(PUMP, run.directory)
        normal = run.artifact(NormalScores)
        scaled = dataclasses.replace(normal, scores=normal.scores * (1 + number / 10))
        (run.directory / normal.file).write_bytes(scaled.content())
    (folder / "fleet.json").write_text(json.dumps({"format": FORMAT, "series": names}))
    fleet.write_series([{"series": each} for each in names])
    return folder


def write_pumps(path: Path, series: tuple[str, ...], rows: int = 400) -> Path:
    """Write rows of pumps, with an anomaly in the first one."""
    lines = ["time,machine,flow,pressure,vibration"]
    for number, name in enumerate(series):
        pump = generate_pump(number, days=20)
        columns = [np.array(pump[column])[:rows] for column in ("flow", "pressure", "vibration")]
        columns[1][300:320] += 3 * (number == 0)
        times = np.datetime64("2024-03-01T00:00") + np.arange(rows) * np.timedelta64(10, "m")
        lines += [f"{time},{name},{','.join(map(str, cells))}" for time, *cells in zip(times, *columns, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path
