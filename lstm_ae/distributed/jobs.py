"""Jobs of a detection in parts, and the processes that run them. They need no TensorFlow."""

import io
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from lstm_ae.apply.partition import (
    PartContext,
    PartDetector,
    PartScan,
    PartScores,
    PartSource,
    load_part_detector,
    save_pieces,
    scan_part,
    score_part,
)
from lstm_ae.data.parquet import read_part_columns
from lstm_ae.errors import Code, ConfigError, DataError, LstmAeError
from lstm_ae.files import write
from lstm_ae.json_types import JsonMapping
from lstm_ae.run import open_run
from lstm_ae.search.executors import log_stderr
from lstm_ae.startup import limit_cores


class DetectionTask(NamedTuple):
    """What is applied to each part.

    Args:
        run: directory of the run.
        reading: reading options that differ from the run's.
        rule: the threshold rule; None for the run's own rule.
        online: whether to score each row as if it were the last one.
    """

    run: str
    reading: JsonMapping
    rule: str | None = None
    online: bool = False

    def load(self) -> PartDetector:
        """Load the detector."""
        return load_part_detector(open_run(self.run, "series"), self.reading, rule=self.rule, online=self.online)


class PartJob(NamedTuple):
    """Part to scan or to score.

    Args:
        number: number of the part.
        source: its rows.
        context: rows around it; None to scan it.
        output: file for the scores.
        pieces: file for the rows of events, which also says what the part was computed from.
        digest: what the part is computed from.
    """

    number: int
    source: PartSource
    context: PartContext | None = None
    output: str = ""
    pieces: str = ""
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


def run_part(detector: PartDetector, job: PartJob) -> PartOutcome:
    """Run a job. A part that cannot be read has an error; errors of the system are raised."""
    try:
        if job.context is None:
            return PartOutcome(job.number, scan_part(detector, job.source))
        scored = score_part(detector, job.source, job.context)
        write_scores(Path(job.output), job.source, scored)
        # Written last: a part without this file is not complete.
        meta = {"digest": job.digest, "rows": len(scored.scores), "scored": int((scored.scores == scored.scores).sum())}
        save_pieces(Path(job.pieces), meta, scored.pieces)
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


def write_scores(path: Path, source: PartSource, scored: PartScores) -> None:
    """Write the scores of a part as a Parquet file, atomically, one row per row of the part.

    The columns of the series and of the time are those of the part, unless its path holds them.

    Raises:
        ConfigError: one of these columns has the name of an output column.
    """
    import pyarrow
    import pyarrow.parquet

    columns: Mapping[str, object] = {"score": scored.scores, "p": scored.p, "anomaly": scored.anomaly}
    if len(scored.columns) > 1:
        columns = {**columns, **{f"error {name}": scored.errors[:, k] for k, name in enumerate(scored.columns)}}
    for name in scored.key_columns:
        if name in columns:
            raise ConfigError(
                f"The column {name!r} has the name of an output column. Rename it in the table", code=Code.TABLE_HEADER
            )
    table = read_part_columns(source.path, source.rows, scored.key_columns)
    arrays = {name: table.column(name) for name in table.column_names} | {
        name: pyarrow.array(values) for name, values in columns.items()
    }
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), content)
    write(path, content.getvalue())


def serve_parts(pipe: Connection, task: DetectionTask, threads: int, log: str) -> None:
    """Run the jobs from a pipe until it is closed.

    Args:
        pipe: receives jobs and sends outcomes and exceptions.
        task: what is applied.
        threads: threads of the process.
        log: file for stderr.
    """
    log_stderr(log)
    limit_cores(threads)
    detector: PartDetector | None = None
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        answer: PartOutcome | Exception
        try:
            detector = detector or task.load()
            answer = run_part(detector, job)
        except Exception as error:
            answer = error if isinstance(error, LstmAeError | OSError) else RuntimeError(repr(error))
        pipe.send(answer)


class PartActor:
    """Actor that runs jobs in a process of a Ray cluster, on one core.

    Args:
        task: what is applied.
    """

    def __init__(self, task: DetectionTask) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Only the process that started the detection handles Ctrl-C.
        limit_cores(1)
        threadpool_limits(1, user_api="blas")
        self.detector = task.load()

    def run(self, job: PartJob) -> PartOutcome:
        """Run a job and return its outcome."""
        return run_part(self.detector, job)

    def step(self) -> None:
        """Return nothing: a part is short."""
