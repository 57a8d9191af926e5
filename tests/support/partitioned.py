"""Small data sets in parts: for the saved run of a pump, and random ones."""

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from lstm_ae.apply.partition import (
    PartSource,
    PartTask,
    TaskResult,
    compute_part,
    find_contexts,
    move_borders,
    scan_part,
)
from lstm_ae.data.parquet import ParquetPart
from lstm_ae.data.synthetic import generate_pump

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet")

RUN = Path(__file__).parents[2] / "saved_models/pump"
COLUMNS = ("flow", "pressure", "vibration")
ROWS = 480
# The anomaly of machine a is on both sides of the border between its first two days.
DAYS = 3


def machine_rows(machine: str) -> dict[str, Any]:
    """Return the rows of a machine, every 10 minutes: normal for the run, with an anomaly of machine a."""
    pump = generate_pump(20, ord(machine))
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


def results(folder: Path, kind: str = "scores") -> dict[str, bytes]:
    """Return the scores and events, or other results, of a directory of results."""
    files = [*(folder / kind).rglob("*"), folder / "events.parquet"]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files if file.is_file()}


def read_scores(folder: Path, results: str = "scores") -> Any:
    """Return the scores, or other results, by machine and time."""
    return parquet.read_table(folder / results).to_pandas().astype({"machine": str}).sort_values(["machine", "time"])


def damage(path: Path) -> Path:
    """Cut a file and return a copy of the whole one."""
    whole = path.with_suffix(".whole")
    shutil.copy2(path, whole)
    path.write_bytes(path.read_bytes()[:-40])
    return whole


def write_steps(path: str, steps: Sequence[int], values: Any, ids: Sequence[str] | None = None) -> str:
    """Write rows of one column; `steps` are the minutes since the row before."""
    times = np.datetime64("2024-03-01T00:00:00", "us") + np.cumsum(steps) * np.timedelta64(1, "m")
    columns: dict[str, Any] = {"time": pa.array(times), "value 0": pa.array(values, pa.float32(), from_pandas=True)}
    parquet.write_table(pa.table(columns | ({} if ids is None else {"machine": ids})), path)
    return path


def compute_parts(task: PartTask, path: str, cuts: Sequence[int]) -> list[TaskResult]:
    """Return the results of a file that is divided at some rows."""
    bounds = sorted({0, *cuts, parquet.read_metadata(path).num_rows})
    sources = [PartSource(path, ParquetPart(start, stop, {})) for start, stop in itertools.pairwise(bounds)]
    sources = move_borders(sources, [scan_part(task, source) for source in sources])
    sources = [source for source in sources if source.rows.start < source.rows.stop]
    contexts = find_contexts(task, sources, [scan_part(task, source) for source in sources])
    return [compute_part(task, source, context) for source, context in zip(sources, contexts, strict=True)]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], list[float], list[int]]:
    """Return the steps and the values of rows, with gaps, missing values and anomalies, and where to divide them."""
    rows = draw(st.integers(2, 60))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 1, 2, 3, 4, 9]), min_size=rows, max_size=rows))
    cell = st.sampled_from([0.0, 0.1, -0.2, 0.3, 0.15, 7.0, -9.0, np.nan])
    values = draw(st.lists(cell, min_size=rows, max_size=rows))
    return steps, values, draw(st.lists(st.integers(1, rows - 1), max_size=6))
