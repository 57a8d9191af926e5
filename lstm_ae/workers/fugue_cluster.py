"""Executor of jobs on Dask or Spark, through Fugue. Files are on a disk that all machines share.

Fugue is the extra `[fugue]` and is imported only here. See https://fugue-tutorials.readthedocs.io.
"""

import base64
import contextlib
import functools
import importlib
import logging
import os
import pickle
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic

from lstm_ae.errors import ConfigError
from lstm_ae.installation import install_hint
from lstm_ae.startup import cores
from lstm_ae.workers.jobs import RETRIES, ClusterLostError, Job, LostJob, Outcome, Work, ignore_progress, portable_error

if TYPE_CHECKING:
    import pandas as pd

# Jobs of a round per core of the cluster: outcomes come at the end of a round, and its last jobs leave cores idle.
JOBS_PER_CORE = 8

# Addresses of Dask schedulers and of masters of Spark start with these.
DASK = ("tcp://", "tls://", "ws://", "wss://")
SPARK = ("local[", "spark://", "k8s://", "mesos://")


class FuguePool(Generic[Job, Outcome]):
    """Executor that runs jobs on Dask or Spark, in rounds. Dask and Spark repeat jobs whose process dies.

    Args:
        work: what the jobs have in common.
        jobs: number of processes of a cluster that is started; None for one per core.
        address: "dask" or "spark" to start one on this machine, the address of a Dask scheduler, or a master of Spark;
            None for "dask".

    Raises:
        ConfigError: there is no such address.
        ClusterLostError: there is no cluster at the address, or a package is not installed.
    """

    def __init__(self, work: Work[Job, Outcome], jobs: int | None, address: str | None) -> None:
        self.fugue = _import("fugue")
        self.ended = contextlib.ExitStack()
        with self.ended.pop_all() as stack:
            self.engine = self.fugue.make_execution_engine(_connect(address or "dask", jobs, stack))
            self.ended = stack.pop_all()
        self.slots = JOBS_PER_CORE * max(1, self.engine.get_current_parallelism())
        self.work = pickle.dumps(work)
        self.jobs: list[Job] = []

    def start(self, job: Job) -> None:
        """Store the job; `wait` runs all stored jobs as a round."""
        self.jobs.append(job)

    def wait(self, timeout: float | None) -> list[Outcome | LostJob]:
        """Run a round to its end, without regard to the timeout."""
        import pandas as pd

        jobs, self.jobs, work = self.jobs, [], self.work
        if not jobs:
            return []

        # Engines pickle an inner function by value.
        def run(frame: pd.DataFrame) -> pd.DataFrame:
            return run_frame(work, frame)

        rows = pd.DataFrame({"number": range(len(jobs)), "job": [_pack(job) for job in jobs]})
        try:
            frame = self.fugue.transform(
                rows,
                run,
                schema="number:long,answer:str",
                partition={"num": len(jobs), "algo": "even"},
                engine=self.engine,
                as_fugue=True,
            ).as_pandas()
        except Exception as error:  # Dask and Spark have no common class
            first = " ".join(str(error).split("\n")[0].split())[:200]
            raise ClusterLostError(f"The cluster has lost a job ({type(error).__name__}: {first})") from error
        answers = [_unpack(answer) for answer in frame.sort_values("number")["answer"]]
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def stop(self) -> None:
        """Close the connection, and the cluster if this process started it."""
        self.jobs = []
        self.ended.close()


def run_frame(work: bytes, frame: "pd.DataFrame") -> "pd.DataFrame":
    """Run jobs in a process of a cluster, which keeps what it has loaded.

    Args:
        work: what the jobs have in common, pickled.
        frame: the column `job` with pickled jobs.

    Returns:
        The frame with pickled outcomes or exceptions in the column `answer`.
    """

    def answer(job: str) -> str:
        try:
            return _pack(_load(work)(_unpack(job)))
        except Exception as error:
            return _pack(portable_error(error))

    return frame[["number"]].assign(answer=[answer(job) for job in frame["job"]])


def _pack(value: object) -> str:
    """Return a value as text, which the columns of all engines can hold."""
    return base64.b64encode(pickle.dumps(value)).decode()


def _unpack(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))


@functools.lru_cache(1)
def _load(work: bytes) -> Callable[[Any], Any]:
    loaded: Work[Any, Any] = pickle.loads(work)
    loaded.prepare(1)
    return loaded.load(ignore_progress)


def _connect(address: str, jobs: int | None, stack: contextlib.ExitStack) -> object:
    """Return a client of Dask or a session of Spark, which the stack closes if this process started it."""
    if address == "dask" or address.startswith(DASK):
        distributed = _import("distributed")
        try:
            if address == "dask":
                cluster = distributed.LocalCluster(
                    jobs or cores(), threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
                )
                address = stack.enter_context(cluster).scheduler_address
            return stack.enter_context(distributed.Client(address, timeout=10))
        except (OSError, ValueError, RuntimeError) as error:
            raise ClusterLostError(f"Cannot reach a Dask scheduler at {address!r} ({error})") from error
    if address == "spark" or address.startswith(SPARK) or address == "yarn":
        sql = _import("pyspark.sql", "pyspark")
        master = f"local[{jobs or cores()},{RETRIES + 1}]" if address == "spark" else address
        # The interpreter of this process, in place of the first one on the path.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "OFF"}
        try:
            session = sql.SparkSession.builder.master(master).config(map=quiet).getOrCreate()
        except Exception as error:  # Java errors have no common class
            first = " ".join(str(error).split("\n")[0].split())[:200]
            raise ClusterLostError(f"Cannot start Spark at {master!r} ({first})") from error
        stack.callback(session.stop)
        return session
    raise ConfigError(
        "--address of --engine fugue must be dask, spark, the address of a Dask scheduler such as tcp://host:8786, or "
        f"a master of Spark such as spark://host:7077. Received: {address!r}"
    )


def _import(module: str, package: str = "") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        name = package or module
        command = install_hint("fugue") if name == "fugue" else f"pip install {name}"
        raise ClusterLostError(f"{name} is not installed. Install it with: {command}") from None
