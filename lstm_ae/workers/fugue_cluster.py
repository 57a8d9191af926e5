"""Executor of jobs on Dask or Spark, through Fugue. Files are on a disk that all machines share.

Fugue is the extra `[fugue]` and is imported only here. See https://fugue-tutorials.readthedocs.io.
"""

import base64
import contextlib
import functools
import logging
import os
import pickle
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic

from lstm_ae.errors import Code, ConfigError
from lstm_ae.startup import cores, mute_stderr
from lstm_ae.workers.clusters import ClusterLostError, first_line, import_package, require_reachable
from lstm_ae.workers.jobs import RETRIES, Job, LostJob, Outcome, Work, ignore_progress, portable_error

if TYPE_CHECKING:
    import pandas as pd

# Jobs of a round per core of the cluster: outcomes come at the end of a round, and its last jobs leave cores idle.
JOBS_PER_CORE = 8

# Seconds within which a cluster must replace its processes.
RESTART_SECONDS = 60

# Clusters on this machine that a command starts and stops.
STARTED = ("dask", "spark")

# Addresses of Dask schedulers and of masters of Spark start with these.
DASK = ("tcp://", "tls://", "ws://", "wss://")
SPARK = ("local", "spark://", "k8s://", "yarn")

_LOADING = threading.Lock()


def _is_no_log_of_fugue(record: logging.LogRecord) -> bool:
    """Return whether another package than Fugue's scheduler logs, which repeats each exception."""
    return "adagio" not in record.pathname


class FuguePool(Generic[Job, Outcome]):
    """Executor that runs jobs on Dask or Spark, in rounds.

    Dask and Spark repeat a job whose process dies. A round in which one dies again and again is divided, until the job
    is found that ends its process.

    Args:
        work: what the jobs have in common.
        jobs: number of processes of a cluster that is started; None for one per core.
        address: "dask" or "spark" to start a cluster on this machine, the address of a Dask scheduler, or a master of
            Spark; None for "dask".

    Raises:
        ConfigError: the address is none of these, or `jobs` is given with the address of a cluster.
        ClusterLostError: there is no cluster at the address, or a package is not installed.
    """

    def __init__(self, work: Work[Job, Outcome], jobs: int | None, address: str | None) -> None:
        require_fugue(jobs, address)
        self.fugue = import_package("fugue", "fugue", "fugue")
        logging.getLogger().addFilter(_is_no_log_of_fugue)
        with contextlib.ExitStack() as stack:
            self.engine = self.fugue.make_execution_engine(_connect(address or STARTED[0], jobs, stack))
            self.cluster = stack.pop_all()
        self.processes = max(1, self.engine.get_current_parallelism())
        self.slots = JOBS_PER_CORE * self.processes
        # The processes of a cluster outlive a command, and the run may be another one the next time.
        self.work = pickle.dumps((uuid.uuid4().hex, work))
        self.jobs: list[Job] = []

    def start(self, job: Job) -> None:
        """Store the job; `wait` runs all stored jobs as a round."""
        self.jobs.append(job)

    def wait(self, timeout: float | None) -> list[Outcome | LostJob]:
        """Run a round to its end, without regard to the timeout."""
        jobs, self.jobs = self.jobs, []
        return self._run(jobs) if jobs else []

    def _run(self, jobs: list[Job]) -> list[Outcome | LostJob]:
        import pandas as pd

        work = self.work

        # Engines pickle an inner function by value.
        def run(frame: pd.DataFrame) -> pd.DataFrame:
            return run_frame(work, frame)

        rows = pd.DataFrame({"number": range(len(jobs)), "job": [_pack(job) for job in jobs]})
        options = {"schema": "number:long,answer:str", "partition": {"num": len(jobs), "algo": "even"}}
        try:
            frame = self.fugue.transform(rows, run, engine=self.engine, as_fugue=True, **options).as_pandas()
        except Exception as error:  # Dask and Spark have no common class
            if not _is_lost_process(error):
                raise ClusterLostError(f"The cluster is lost ({type(error).__name__}: {first_line(error)})") from error
            self._wait_for_processes()
            if len(jobs) == 1:
                return [LostJob(jobs[0].number, "its processes on the cluster died")]
            half = len(jobs) // 2
            return [*self._run(jobs[:half]), *self._run(jobs[half:])]
        answers = [_unpack(answer) for answer in frame.sort_values("number")["answer"]]
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def _wait_for_processes(self) -> None:
        """Wait until the cluster has started a process in place of one that died."""
        end = time.monotonic() + RESTART_SECONDS
        while not self.engine.get_current_parallelism():
            if time.monotonic() > end:
                raise ClusterLostError("The cluster has no processes any more")
            time.sleep(0.1)

    def stop(self) -> None:
        """Close the connection, and the cluster if this process started it."""
        self.jobs = []
        logging.getLogger().removeFilter(_is_no_log_of_fugue)
        with mute_stderr():  # Both print stack traces of what was interrupted.
            self.cluster.close()


def require_fugue(jobs: int | None, address: str | None) -> None:
    """Check the address and the packages, without a connection to a cluster.

    Args:
        jobs, address: see `FuguePool`.

    Raises:
        ConfigError: the address is not allowed, or `jobs` is given with the address of a cluster.
        ClusterLostError: nothing answers, or a package is not installed.
    """
    address = address or STARTED[0]
    dask, spark = address == "dask" or address.startswith(DASK), address == "spark" or address.startswith(SPARK)
    if not dask and not spark:
        raise ConfigError(
            "--address of --engine fugue must be dask, spark, the address of a Dask scheduler such as tcp://host:8786, "
            f"or a master of Spark such as spark://host:7077. Received: {address!r}"
        )
    if jobs is not None and address not in STARTED:
        raise ConfigError(
            "--jobs is for a cluster that the command starts. Remove it, or remove --address",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    import_package("fugue", "fugue", "fugue")
    if dask:
        import_package("distributed", "distributed", "fugue")
    else:
        import_package("pyspark.sql", "pyspark")
    if address.startswith((*DASK, "spark://")):
        require_reachable(address, "a Dask scheduler" if dask else "Spark")


def run_frame(work: bytes, frame: "pd.DataFrame") -> "pd.DataFrame":
    """Run jobs in a process of a cluster, which keeps what it has loaded for a command.

    Args:
        work: a token of the command, and what its jobs have in common, pickled.
        frame: the column `job` with pickled jobs.

    Returns:
        The frame with pickled outcomes or exceptions in the column `answer`.
    """

    def answer(job: str) -> str:
        try:
            with _LOADING:  # A process of Dask can have several threads.
                run = _load(work)
            return _pack(run(_unpack(job)))
        except Exception as error:
            return _pack(portable_error(error))

    return frame[["number"]].assign(answer=[answer(job) for job in frame["job"]])


def _pack(value: object) -> str:
    """Return a value as text, which the columns of all engines can hold.

    Pickle is safe here: both ends run the same command, and who can send to these processes can run code in them.
    """
    return base64.b64encode(pickle.dumps(value)).decode()


def _unpack(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))


@functools.lru_cache(1)
def _load(work: bytes) -> Callable[[Any], Any]:
    loaded: Work[Any, Any] = pickle.loads(work)[1]
    loaded.prepare(1)
    return loaded.load(ignore_progress)


def _is_lost_process(error: Exception) -> bool:
    """Return whether processes died that ran a job, and not the cluster."""
    return type(error).__name__ == "KilledWorker" or "stage failure" in str(error)


def _connect(address: str, jobs: int | None, stack: contextlib.ExitStack) -> object:
    """Return a client of Dask or a session of Spark, which the stack closes.

    Raises:
        ClusterLostError: the cluster cannot be started or reached.
    """
    if address == "dask" or address.startswith(DASK):
        distributed: Any = import_package("distributed", "distributed", "fugue")
        # They log stack traces of what Ctrl-C interrupts.
        for name in ("distributed", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            if address == "dask":
                cluster = distributed.LocalCluster(
                    jobs or cores(), threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
                )
                address = stack.enter_context(cluster).scheduler_address
            return stack.enter_context(distributed.Client(address, timeout=10))
        except (OSError, ValueError, RuntimeError) as error:
            raise ClusterLostError(f"Cannot reach a Dask scheduler at {address!r} ({first_line(error)})") from error
    sql: Any = import_package("pyspark.sql", "pyspark")
    logging.getLogger("py4j").setLevel(logging.CRITICAL + 1)
    master = f"local[{jobs or cores()},{RETRIES + 1}]" if address == "spark" else address
    if master.startswith("local"):
        # The interpreter of this process, in place of the first one on the path.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = sql.SparkSession.builder.master(master)
    for name, value in {"ui.enabled": "false", "ui.showConsoleProgress": "false", "log.level": "OFF"}.items():
        builder = builder.config(f"spark.{name}", value)
    try:
        session = builder.getOrCreate()
    except Exception as error:  # Java errors have no common class
        raise ClusterLostError(f"Cannot start Spark at {master!r} ({first_line(error)})") from error
    stack.callback(session.stop)
    return session
