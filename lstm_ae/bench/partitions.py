"""Benchmark of a detection in parts with different numbers of processes."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.apply.partition import PartTask
from lstm_ae.data.dataset import DatasetFile, find_files
from lstm_ae.distributed.dataset import apply_to_dataset
from lstm_ae.distributed.jobs import RunTask
from lstm_ae.workers.processes import ProcessPool


class ScaleLap(NamedTuple):
    """One detection.

    Args:
        processes: number of processes.
        seconds: duration without the start of the processes, which score one file before.
        memory: largest memory of a process, in bytes.
    """

    processes: int
    seconds: float
    memory: int


def write_noise(folder: Path, columns: Sequence[str], time_column: str | None, step: int, rows: int, files: int) -> int:
    """Write noise as series of one file each, and return the size of all files in bytes.

    Args:
        folder: new folder.
        columns: names of the columns.
        time_column: name of the column of times; None for no times.
        step: nanoseconds between rows.
        rows: rows of all files.
        files: number of files.
    """
    import pyarrow
    import pyarrow.parquet

    random, size = np.random.default_rng(0), 0
    for number in range(files):
        count = rows // files
        data = {name: pyarrow.array(random.normal(size=count).astype(np.float32)) for name in columns}
        if time_column is not None:
            data[time_column] = pyarrow.array((np.arange(count) * step).astype("datetime64[ns]"))
        path = folder / f"series={number}/part.parquet"
        path.parent.mkdir(parents=True)
        pyarrow.parquet.write_table(pyarrow.table(data), path)
        size += path.stat().st_size
    return size


def measure_scale(
    task: RunTask, data: Path, counts: Sequence[int], rounds: int, done: Callable[[ScaleLap], None]
) -> list[ScaleLap]:
    """Time detections in a data set with different numbers of processes, in turn and in alternating order.

    Args:
        task: what is applied; each process has one thread.
        data: the data set.
        counts: the numbers of processes.
        rounds: number of measured detections for each. A round that is not measured precedes them.
        done: called after each measured detection.
    """
    files, loaded, laps = find_files(str(data)), task.open(), []
    for number in range(rounds + 1):
        for processes in counts if number % 2 else reversed(counts):
            lap = _measure_lap(task, loaded, files, processes)
            if number:
                laps.append(lap)
                done(lap)
    return laps


def _measure_lap(task: RunTask, loaded: PartTask, files: Sequence[DatasetFile], processes: int) -> ScaleLap:
    with tempfile.TemporaryDirectory() as folder:
        pool = ProcessPool(task, processes, 1, Path(folder) / "workers.log")
        # Each process loads the model with its first part.
        apply_to_dataset(files[:processes], loaded, pool, Path(folder) / "first", stop=False)
        start = time.perf_counter()
        found = apply_to_dataset(files, loaded, pool, Path(folder) / "all")
        return ScaleLap(processes, time.perf_counter() - start, found.memory)
