"""Run jobs in this process, in processes of this machine, or on a cluster of Ray, Dask, or Spark, with joblib.

joblib has a backend for each of them. A cluster is imported and connected to only here; its machines share a disk with
this one.
"""

import contextlib
import dataclasses
import importlib
import io
import itertools
import logging
import os
import signal
import socket
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from lstm_ae.errors import Code, ConfigError, LstmAeError, install_hint
from lstm_ae.startup import cores, follow_parent, mute_stderr

# Packages of each engine, whose name is also that of the extra.
ENGINES = {"local": (), "ray": ("ray",), "dask": ("distributed",), "spark": ("pyspark", "joblibspark")}

# Jobs of a round per process: Ray starts its processes again for each round, and its last jobs leave some idle.
ROUND = 8

# In place of the number of a job.
WHOLE_POOL = -1

# If this number of jobs is given up before any job is finished, the others are not tried.
MAX_GIVEN_UP = 3


class ClusterLostError(LstmAeError):
    """Raised if a cluster cannot be reached; what the jobs have written remains on disk."""

    code = Code.CLUSTER_LOST


class WorkersDiedError(LstmAeError):
    """Raised if processes die without finishing any job."""

    code = Code.SYSTEM


class NumberedJob(Protocol):
    """Job with a number and a name."""

    @property
    def number(self) -> int:
        """The number of the job."""
        ...

    @property
    def title(self) -> str:
        """The name of the job in messages."""
        ...


class JobObserver:
    """Observer of jobs, which does nothing."""

    def begin(self, jobs: int, processes: int) -> None:
        """Handle the start, with the numbers of jobs and of those that run at once."""

    def count(self, done: int, total: int) -> None:
        """Handle the end of a job, with the number of ended ones and of all."""

    def lost(self, titles: Sequence[str], how: str) -> None:
        """Handle the death of a process, after which the jobs with these names run again, one at a time."""


NO_OBSERVER = JobObserver()

Job = TypeVar("Job", bound=NumberedJob)
Outcome = TypeVar("Outcome")
_Job = TypeVar("_Job", bound=NumberedJob, contravariant=True)
_Outcome = TypeVar("_Outcome", covariant=True)


class Work(Protocol[_Job, _Outcome]):
    """Shared data and function of the jobs of a pool, pickled with each job."""

    def prepare(self, threads: int) -> None:
        """Limit the threads of a new process, and import what its jobs need."""
        ...

    def load(self) -> Callable[[_Job], _Outcome]:
        """Return the function from a job to its outcome; called once in each process."""
        ...


class _Failure(NamedTuple):
    """Exception of a job."""

    error: Exception


class _Death(NamedTuple):
    """End of a pool whose process died, or of a job whose processes died."""

    how: str


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where jobs run.

    Args:
        name: "local" for this machine, "ray", "dask", or "spark".
        jobs: number of jobs at once; None for one per core of this machine or of the cluster.
        address: address of a cluster for `ray.init`, of a Dask scheduler, or of a master of Spark; None for a cluster
            on this machine, which ends with the jobs.

    Raises:
        ConfigError: the engine does not exist, or takes no address.
    """

    name: str = "local"
    jobs: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        if self.name not in ENGINES:
            raise ConfigError(f"--engine must be one of {', '.join(ENGINES)}. Received: {self.name!r}")
        if self.address is not None and self.name == "local":
            raise ConfigError(
                "--address is for --engine ray, dask, or spark. Add it, or remove --address",
                code=Code.OPTION_NOT_APPLICABLE,
            )

    def require(self) -> None:
        """Check early whether the engine can be used, because clients retry a connection for many minutes.

        Raises:
            ClusterLostError: a package is not installed, or nothing answers at the address.
        """
        for package in ENGINES[self.name]:
            try:
                importlib.import_module(package)
            except ImportError:
                raise ClusterLostError(
                    f"{package} is not installed. Install it with: {install_hint(self.name)}"
                ) from None
        if self.address and ":" in self.address:
            host, _, port = self.address.rpartition("://")[2].rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            except (OSError, ValueError, OverflowError) as error:
                raise self.lost(error) from error

    def lost(self, error: Exception) -> ClusterLostError:
        """Return the error that states why the cluster cannot be used."""
        return ClusterLostError(f"Cannot reach {self.name} at {self.address!r} ({_first_line(error)})")

    @contextlib.contextmanager
    def open(self, work: Work[Job, Outcome], total: int | None = None) -> Iterator["Pool[Job, Outcome]"]:
        """Return a context with a pool, at the end of which all its processes and connections end.

        Args:
            work: what the jobs have in common.
            total: number of all jobs; None if it is unknown.

        Raises:
            ClusterLostError: the cluster cannot be used.
        """
        pool = Pool(self, work, total)
        try:
            pool.connect()
            yield pool
        finally:
            pool.close()

    def is_sequential(self, total: int | None = None) -> bool:
        """Return whether jobs run one after another in this process.

        Args:
            total: number of all jobs; None if it is unknown.
        """
        return self.name == "local" and 1 in (self.jobs or cores(), total)


# One job after another in this process.
THIS_PROCESS = Engine(jobs=1)


class Pool(Generic[Job, Outcome]):
    """Pool that runs jobs, see `Engine.open`.

    Args:
        engine: where they run.
        work: what they have in common.
        total: number of all jobs; None if it is unknown.

    Attributes:
        processes: number of jobs that run at once.
    """

    def __init__(self, engine: Engine, work: Work[Job, Outcome], total: int | None) -> None:
        self.engine, self.work, self.total, self.processes = engine, work, total, 1
        self.function = work.load() if engine.is_sequential(total) else None
        # The processes of a cluster outlive a pool, and the work may read other files the next time.
        self.token = uuid.uuid4().hex
        self.connection = contextlib.ExitStack()

    def connect(self) -> None:
        """Connect to the engine, again if it is connected.

        Raises:
            ClusterLostError: the cluster cannot be used.
        """
        if self.function:
            return
        self.close()
        self.engine.require()
        connect = {"local": _prepare_processes, "ray": _connect_ray, "dask": _connect_dask, "spark": _connect_spark}
        with mute_stderr():  # Clusters print advice.
            slots, self.options = connect[self.engine.name](self.engine, self.connection)
        self.processes = min(slots, self.total or slots)
        self.threads = max(1, cores() // self.processes) if self.engine.name == "local" else 1

    def close(self) -> None:
        """End all processes and connections."""
        with mute_stderr():  # Clusters print stack traces of what was interrupted.
            self.connection.close()

    def run(
        self,
        jobs: Iterable[Job],
        give_up: Callable[[Job, str], Outcome],
        lost: Callable[[Sequence[str], str], None],
    ) -> Generator[Outcome, None, None]:
        """Yield the outcomes of jobs as they end.

        If a process dies, the pool starts again and runs the unfinished jobs one at a time, so that one whose process
        dies again is identified and given up. A cluster of Dask or Spark may repeat a job several times before that.

        Args:
            jobs: the jobs. They are taken as they are needed, in any thread.
            give_up: function from a job that is given up, and the reason, to its outcome.
            lost: see `JobObserver.lost`.

        Raises:
            WorkersDiedError: processes die without finishing any job, so that the other jobs are not tried.
            ClusterLostError: the cluster cannot be used any more.
            Exception: a job or the iterable raised it.
        """
        if self.function:
            yield from map(self.function, jobs)
            return
        queue = iter(jobs)
        groups, finished, given_up = [queue], 0, 0
        while groups:
            group, running, retries = groups.pop(), dict[int, Job](), list[Job]()
            for number, end in self._run_group(group, running):
                if isinstance(end, _Failure):
                    raise end.error
                if not isinstance(end, _Death):
                    finished += 1
                    del running[number]
                    yield end
                    continue
                died = [running.pop(number)] if number in running else list(running.values())
                if not died:
                    raise self.engine.lost(RuntimeError(end.how))
                if number == WHOLE_POOL:
                    self.connect()
                if group is queue:
                    lost([job.title for job in died], end.how)
                    retries += died
                    continue
                given_up += 1
                if given_up == MAX_GIVEN_UP and not finished:
                    raise WorkersDiedError(
                        f"{given_up} jobs ended their processes, and none was finished; the last time: {end.how}. Pass "
                        "fewer --jobs, or remove the cause"
                    )
                yield give_up(died[0], f"its process died twice; the last time: {end.how}")
            if retries:
                groups = [queue, *(iter([job]) for job in reversed(retries))]

    def _run_group(
        self, jobs: Iterator[Job], running: dict[int, Job]
    ) -> "Iterator[tuple[int, Outcome | _Failure | _Death]]":
        """Yield the numbers and the ends of jobs; `WHOLE_POOL` if the pool ended.

        Args:
            jobs: the jobs.
            running: receives the jobs that were taken, by number.

        Raises:
            Exception: the iterator raised it.
        """
        import joblib

        problems = list[Exception]()

        def calls() -> Iterator[object]:
            try:
                for job in jobs:
                    running[job.number] = job
                    yield joblib.delayed(_run_job)(self.token, self.work, self.threads, job)
            except Exception as error:  # joblib would attribute it to a job.
                problems.append(error)

        waiting, death = calls(), None
        # The backends of Ray and Spark return outcomes when all jobs of a round have ended.
        size = self.processes * ROUND if self.processes > 1 else 1
        rounds = iter(lambda: list(itertools.islice(waiting, size)), [])
        parts: Iterable[Iterable[object]] = [waiting] if "return_as" in self.options else rounds
        # joblib runs a single job in this process, unless there is room for two.
        parallel = joblib.Parallel(
            max(2, self.processes), batch_size=1, pre_dispatch=self.processes, max_nbytes=None, **self.options
        )
        try:
            for part in parts:
                # joblib warns if its generator is closed early; a chain does not close it.
                yield from itertools.chain(parallel(part))
        except Exception as error:
            death = _Death(_first_line(error))
        if problems:
            raise problems[0]
        if death:
            yield WHOLE_POOL, death


class JobEnd(NamedTuple):
    """End of a job that writes its results to a disk.

    Args:
        number: number of the job.
        failure: why there are no results; "" if there are.
    """

    number: int
    failure: str = ""


def end_without_results(job: NumberedJob, reason: str) -> JobEnd:
    """Return the end of a job that is given up, or that has failed."""
    return JobEnd(job.number, reason)


def run_jobs(
    work: Work[Job, Outcome],
    jobs: Iterable[Job],
    waiting: int,
    give_up: Callable[[Job, str], Outcome],
    engine: Engine,
    observer: JobObserver,
    completed: int = 0,
) -> list[Outcome]:
    """Return the outcomes of jobs in the order in which they ended; their processes end with them.

    Args:
        work, jobs, give_up, engine: see `Engine.open` and `Pool.run`.
        waiting: number of the jobs.
        observer: receives the progress.
        completed: number of jobs that ended earlier, which the observer counts as well.
    """
    outcomes = list[Outcome]()
    if not waiting:
        return outcomes
    with engine.open(work, waiting) as pool:
        observer.begin(waiting, pool.processes)
        with contextlib.closing(pool.run(jobs, give_up, observer.lost)) as ends:
            for outcome in ends:
                outcomes.append(outcome)
                observer.count(completed + len(outcomes), completed + waiting)
    return outcomes


_LOADING = threading.Lock()

# The function of the pool whose jobs this process runs, by the token of the pool.
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {}


def _run_job(token: str, work: Work[Job, Outcome], threads: int, job: Job) -> tuple[int, Outcome | _Failure]:
    """Run a job in a process of a pool."""
    try:
        with _LOADING:  # A process of Dask can have several threads.
            if token not in _FUNCTIONS:
                work.prepare(threads)
                _FUNCTIONS.clear()
                _FUNCTIONS[token] = work.load()
            function = _FUNCTIONS[token]
        return job.number, function(job)
    except Exception as error:
        # The other process may not know the class of the exception.
        picklable = isinstance(error, LstmAeError | OSError)
        return job.number, _Failure(error if picklable else RuntimeError(repr(error)))


def _first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, up to 300 characters."""
    # An exception of Java has the message of the cause; its text is a stack trace.
    java = getattr(error, "java_exception", None)
    text = str(java.getMessage() if java is not None else error) or type(error).__name__
    return " ".join(text.split("\n")[0].split())[:300]


# Number of jobs at once, and options of `joblib.Parallel`.
_Connected = tuple[int, dict[str, Any]]


def _prepare_processes(engine: Engine, connection: contextlib.ExitStack) -> _Connected:
    connection.callback(_end_processes)
    options = {"initializer": _begin_process, "initargs": (os.getpid(),), "return_as": "generator_unordered"}
    return engine.jobs or cores(), {"backend": "loky", **options}


def _begin_process(parent: int) -> None:
    """Discard the messages of a new process, and end it with its parent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    follow_parent(parent)


def _end_processes() -> None:
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor(reuse=True).shutdown(kill_workers=True)


def _connect_ray(engine: Engine, connection: contextlib.ExitStack) -> _Connected:
    # Clusters may not be installed where types are checked.
    ray: Any = importlib.import_module("ray")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    terminate = signal.getsignal(signal.SIGTERM)
    # Ray prints advice and the logs of dead processes to stdout.
    connection.enter_context(contextlib.redirect_stdout(io.StringIO()))
    quiet = {"logging_level": "ERROR", "log_to_driver": False, "configure_logging": False}
    if engine.address is None:
        quiet |= {"num_cpus": max(2, engine.jobs or cores()), "include_dashboard": False}
    try:
        ray.init(engine.address or "local", **quiet)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise engine.lost(error) from error
    connection.callback(ray.shutdown)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)  # Ray's handler ends the process without a message.
    importlib.import_module("ray.util.joblib").register_ray()
    slots = int(ray.cluster_resources().get("CPU", 1))
    if slots < 2:
        raise engine.lost(ValueError("it has one core; joblib needs two"))
    return min(engine.jobs or slots, slots), {"backend": "ray"}


def _connect_dask(engine: Engine, connection: contextlib.ExitStack) -> _Connected:
    dask: Any = importlib.import_module("dask")
    distributed: Any = importlib.import_module("distributed")
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        """Backend that reports a job whose processes die; joblib's own backend waits for such a job forever."""

        def effective_n_jobs(self, n_jobs: int) -> int:
            """Return at least 2: joblib would run jobs in this process while the cluster replaces a dead one."""
            return max(2, int(super().effective_n_jobs(n_jobs)))

        def submit(self, func: Any, callback: Any = None) -> Any:
            """Run a batch of one job."""
            future = super().submit(func, callback)
            ((_, (*_, job), _),) = func.items

            def report(done: Any) -> None:
                if error := done.exception():
                    callback([(job.number, _Death(_first_line(error)))])

            future.add_done_callback(report)
            return future

    # They log stack traces of what Ctrl-C interrupts.
    for name in ("distributed", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    address = engine.address
    try:
        if address is None:
            connection.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
            cluster = distributed.LocalCluster(
                engine.jobs or cores(), threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
            )
            address = connection.enter_context(cluster).scheduler_address
        client = connection.enter_context(distributed.Client(address, timeout=10))
    except (OSError, ValueError, RuntimeError) as error:
        raise engine.lost(error) from error
    slots = sum(client.ncores().values()) or 1
    return min(engine.jobs or slots, slots), {"backend": Backend(client=client), "return_as": "generator_unordered"}


def _connect_spark(engine: Engine, connection: contextlib.ExitStack) -> _Connected:
    logging.getLogger("py4j").setLevel(logging.CRITICAL + 1)
    master = engine.address or f"local[{engine.jobs or cores()}]"
    if master.startswith("local"):
        # The interpreter of this process, in place of the first one on the path.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = importlib.import_module("pyspark.sql").SparkSession.builder.master(master)
    for name, value in {"ui.enabled": "false", "ui.showConsoleProgress": "false", "log.level": "OFF"}.items():
        builder = builder.config(f"spark.{name}", value)
    try:
        session = builder.getOrCreate()
    except Exception as error:  # Java errors have no common class
        raise engine.lost(error) from error
    connection.callback(session.stop)
    importlib.import_module("joblibspark").register_spark()
    connection.enter_context(warnings.catch_warnings())
    warnings.filterwarnings("ignore", category=UserWarning, module="(joblib|py)spark")
    return engine.jobs or session.sparkContext.defaultParallelism, {"backend": "spark"}
