"""The engines that run jobs, and the start of their executors."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from lstm_ae.errors import Code, ConfigError
from lstm_ae.startup import cores
from lstm_ae.workers.jobs import Executor, InProcessExecutor, Job, Outcome, Report, Work, ignore_progress

# Engines of all commands, and of those whose jobs report no progress.
ENGINES, ALL_ENGINES = ("local", "ray"), ("local", "ray", "fugue")


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where jobs run.

    Args:
        name: "local" for this machine, "ray" for a Ray cluster, or "fugue" for Dask and Spark.
        jobs: number of jobs at once; None for one per core of this machine or of the cluster.
        address: address of a cluster, see `RayCluster` and `FuguePool`; None for a cluster on this machine.
        allowed: names of the engines that the command has.

    Raises:
        ConfigError: the engine is not allowed, or takes no address.
    """

    name: str = "local"
    jobs: int | None = None
    address: str | None = None
    allowed: tuple[str, ...] = ENGINES

    def __post_init__(self) -> None:
        """Check the options."""
        if self.name not in self.allowed:
            raise ConfigError(f"--engine must be one of {', '.join(self.allowed)}. Received: {self.name!r}")
        if self.address is not None and self.name == "local":
            raise ConfigError(
                f"--address is for --engine {' or '.join(self.allowed[1:])}. Add it, or remove --address",
                code=Code.OPTION_NOT_APPLICABLE,
            )

    def require(self) -> None:
        """Check early, without a connection, whether the engine can be used.

        Raises:
            ConfigError: the address is not allowed.
            ClusterLostError: nothing answers at the address, or a package is not installed.
        """
        if self.name == "ray":
            from lstm_ae.workers.ray_cluster import require_cluster

            require_cluster(self.address)
        if self.name == "fugue":
            from lstm_ae.workers.fugue_cluster import require_fugue

            require_fugue(self.jobs, self.address)

    def start(
        self,
        work: Work[Job, Outcome],
        *,
        max_jobs: int | None = None,
        log: Path | None = None,
        report: Report = ignore_progress,
        run: Callable[[Job], Outcome] | None = None,
    ) -> Executor[Job, Outcome]:
        """Start an executor.

        Args:
            work: what the jobs have in common.
            max_jobs: number of all jobs; None if it is unknown.
            log: file for the stderr of the processes; None for nowhere.
            report: called with the progress of each job.
            run: the function of the work, if it is loaded; for jobs in this process.

        Raises:
            ConfigError: the address is not allowed.
            ClusterLostError: there is no cluster at the address, or a package is not installed.
        """
        if self.name == "ray":
            from lstm_ae.workers.ray_cluster import RayPool

            slots = self.jobs if self.jobs is None or max_jobs is None else min(self.jobs, max_jobs)
            return RayPool(work, slots, self.address, report)
        if self.name == "fugue":
            from lstm_ae.workers.fugue_cluster import FuguePool

            return FuguePool(work, self.jobs, self.address)
        slots = min(self.jobs or cores(), max_jobs or 2**31)
        if slots == 1:
            return InProcessExecutor(run or work.load(report))
        from lstm_ae.workers.processes import ProcessPool  # the command line only needs the names of the engines

        return ProcessPool(work, slots, max(1, cores() // slots), log, report)
