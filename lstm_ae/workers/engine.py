"""The engines that run jobs, as options name them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from lstm_ae.errors import Code, ConfigError
from lstm_ae.startup import cores
from lstm_ae.workers.jobs import Executor, InProcessExecutor, Job, Outcome, Report, Work, ignore_progress

ENGINES = ("local", "ray")


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where jobs run.

    Args:
        name: "local" for this machine, or "ray" for a Ray cluster.
        jobs: number of jobs at once; None for one per core of this machine or of the cluster.
        address: address of a Ray cluster; None for a cluster on this machine.

    Raises:
        ConfigError: there is no such engine, or it has no address.
    """

    name: str = "local"
    jobs: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        if self.name not in ENGINES:
            raise ConfigError(f"--engine must be one of {', '.join(ENGINES)}. Received: {self.name!r}")
        if self.address is not None and self.name != "ray":
            raise ConfigError(
                "--address is for --engine ray. Add it, or remove --address", code=Code.OPTION_NOT_APPLICABLE
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
            ClusterLostError: there is no cluster at the address, or Ray is not installed.
        """
        if self.name == "ray":
            from lstm_ae.workers.ray_cluster import RayPool

            slots = self.jobs if self.jobs is None or most is None else min(self.jobs, most)
            return RayPool(work, slots, self.address, report)
        slots = min(self.jobs or cores(), most or 2**31)
        if slots == 1:
            return InProcessExecutor(run or work.load(report))
        from lstm_ae.workers.processes import ProcessPool  # the command line only needs the names of the engines

        return ProcessPool(work, slots, max(1, cores() // slots), log, report)
