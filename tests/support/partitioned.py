"""Small data sets of several files for the saved run of a pump."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from lstm_ae.data.synthetic import generate_pump

RUN = Path(__file__).parents[2] / "saved_models/pump"
COLUMNS = ("flow", "pressure", "vibration")
ROWS = 480
# The anomaly of machine a is on both sides of the border between its first two days.
DAYS = 3


def machine_rows(machine: str) -> dict[str, Any]:
    """Return the rows of a machine, every 10 minutes: normal for the run, with an anomaly of machine a."""
    pump = generate_pump(ord(machine), days=20)
    columns = {name: np.asarray(pump[name], np.float32)[:ROWS].copy() for name in COLUMNS}
    if machine == "a":
        columns["pressure"][ROWS // DAYS - 8 : ROWS // DAYS + 8] += 3
    times = np.datetime64("2024-03-01T00:00:00", "us") + np.arange(ROWS) * np.timedelta64(10, "m")
    return {"time": times, **columns}


def write_dataset(folder: Path, machines: str = "ab") -> Path:
    """Write one file per machine and day."""
    for machine in machines:
        columns = machine_rows(machine)
        for day in range(DAYS):
            rows = slice(day * ROWS // DAYS, (day + 1) * ROWS // DAYS)
            path = folder / f"machine={machine}/day={day}/part.parquet"
            path.parent.mkdir(parents=True)
            parquet.write_table(pa.table({name: column[rows] for name, column in columns.items()}), path)
    return folder


def write_table(path: Path, machines: str = "ab") -> Path:
    """Write the same rows to one file."""
    tables = [pa.table({"machine": [machine] * ROWS, **machine_rows(machine)}) for machine in machines]
    parquet.write_table(pa.concat_tables(tables), path)
    return path


def results(folder: Path) -> tuple[Any, Any]:
    """Return the scores and the events of a directory of results as frames in the order of machine and time."""
    scores, events = (parquet.read_table(folder / name).to_pandas() for name in ("scores", "events"))
    scores = scores.astype({"machine": str}).sort_values(["machine", "time"], ignore_index=True)
    return scores, events.sort_values(["series", "start"], ignore_index=True)
