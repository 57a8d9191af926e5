"""The engines that run jobs, as options name them."""

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
        known: the engines that are allowed.

    Raises:
        ConfigError: the engine is not allowed, or it has no address.
    """

    name: str = "local"
    jobs: int | None = None
    address: str | None = None
    known: tuple[str, ...] = ENGINES

    def __post_init__(self) -> None:
        """Check the options."""
        if self.name not in self.known:
            raise ConfigError(f"--engine must be one of {', '.join(self.known)}. Received: {self.name!r}")
        if self.address is not None and self.name == "local":
            raise ConfigError(
                f"--address is for --engine {' and '.join(self.known[1:])}. Add it, or remove --address",
                code=Code.OPTION_NOT_APPLICABLE,
            )

    def require(self) -> None:
        """Check early, without a connection, whether the engine can be used.

        Raises:
            ClusterLostError: nothing answers at the address, or Ray is not installed.
        """
        if self.name == "ray":
            from lstm_ae.workers.ray_cluster import require_cluster

            require_cluster(self.address)

    def start(
        self,
        work: Work[Job, Outcome],
        *,
        most: int | None = None,
        log: Path | None = None,
        report: Report = ignore_progress,
        run: Callable[[Job], Outcome] | None = None,
    ) -> Executor[Job, Outcome]:
        """Start an executor.

        Args:
            work: what the jobs have in common.
            most: number of jobs, more than which never run at once; None if it is unknown.
            log: file for the stderr of the processes; None for nowhere.
            report: called with the progress of each job.
            run: the function of the work, if it is loaded; for jobs in this process.

        Raises:
            ConfigError: the address is not one of the engine.
            ClusterLostError: there is no cluster at the address, or a package is not installed.
        """
        if self.name == "ray":
            from lstm_ae.workers.ray_cluster import RayPool

            slots = self.jobs if self.jobs is None or most is None else min(self.jobs, most)
            return RayPool(work, slots, self.address, report)
        if self.name == "fugue":
            from lstm_ae.workers.fugue_cluster import FuguePool

            return FuguePool(work, self.jobs, self.address)
        slots = min(self.jobs or cores(), most or 2**31)
        if slots == 1:
            return InProcessExecutor(run or work.load(report))
        from lstm_ae.workers.processes import ProcessPool  # the command line only needs the names of the engines

        return ProcessPool(work, slots, max(1, cores() // slots), log, report)
