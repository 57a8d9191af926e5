"""Jobs of a run on a data set in parts, which need no TensorFlow."""

import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from lstm_ae.apply.part_tasks import LOADERS
from lstm_ae.apply.partition import (
    PartContext,
    PartScan,
    PartSource,
    PartTask,
    TaskResult,
    compute_part,
    save_record,
    scan_part,
)
from lstm_ae.apply.run_table import refuse_output_names
from lstm_ae.data.parquet import read_part_columns
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.files import write
from lstm_ae.json_types import JsonMapping
from lstm_ae.run import open_run
from lstm_ae.startup import limit_cores
from lstm_ae.workers.jobs import Report


class RunTask(NamedTuple):
    """What is applied to each part.

    Args:
        run: directory of the run.
        task: what is computed, a key of `lstm_ae.apply.part_tasks.LOADERS`.
        reading: reading options that differ from the run's.
        options: further arguments of the loader, such as the horizon of a forecast.
    """

    run: str
    task: str
    reading: JsonMapping
    options: JsonMapping = {}

    def open(self) -> PartTask:
        """Load the run."""
        return LOADERS[self.task](open_run(self.run, "series"), self.reading, **self.options)

    def prepare(self, threads: int) -> None:
        """Limit the threads of the kernels, of BLAS, and of pyarrow in a new process."""
        import pyarrow

        limit_cores(threads)
        threadpool_limits(threads)
        pyarrow.set_cpu_count(threads)

    def load(self, report: Report) -> "Callable[[PartJob], PartOutcome]":
        """Return the function that runs a job; a part is short and reports no progress."""
        return partial(run_part, self.open())


class PartJob(NamedTuple):
    """Part to scan or to compute.

    Args:
        number: number of the part.
        source: its rows.
        context: rows around it; None to scan it.
        output: file for the results.
        record: file that says what the part was computed from.
        digest: what the part is computed from.
    """

    number: int
    source: PartSource
    context: PartContext | None = None
    output: str = ""
    record: str = ""
    digest: str = ""


class PartOutcome(NamedTuple):
    """Outcome of a job.

    Args:
        number: number of the part.
        scan: contents of a scanned part.
        error: why the part cannot be read; "" if there is no error.
        memory: largest memory of the process so far, in bytes; 0 if it is unknown.
    """

    number: int
    scan: PartScan | None = None
    error: str = ""
    memory: int = 0


def run_part(task: PartTask, job: PartJob) -> PartOutcome:
    """Run a job. A part that cannot be read has an error; errors of the system are raised."""
    try:
        if job.context is None:
            return PartOutcome(job.number, scan_part(task, job.source))
        result = compute_part(task, job.source, job.context)
        if result.rows:
            write_results(Path(job.output), job.source, result)
        # Written last: a part without this file is not complete.
        save_record(Path(job.record), {"digest": job.digest}, result)
    except (ConfigError, DataError) as error:
        return PartOutcome(job.number, error=str(error))
    return PartOutcome(job.number, memory=_peak_memory())


def _peak_memory() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def write_results(path: Path, source: PartSource, result: TaskResult) -> None:
    """Write the results of a part as a Parquet file, atomically, without columns that the path of the part holds.

    Raises:
        ConfigError: a column of the series or of the time has the name of an output column.
    """
    import pyarrow
    import pyarrow.parquet

    refuse_output_names(result.key_columns, result.columns)
    arrays = {}
    if result.key_columns:
        table = read_part_columns(source.path, source.rows, result.key_columns)
        arrays = {name: table.column(name) for name in table.column_names}
    for name, values in result.columns.items():
        if result.key_columns or name not in source.rows.keys:
            arrays[name] = pyarrow.array(values)
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), content)
    write(path, content.getvalue())
