"""Processes that train the models of a fleet, on this machine or on a Ray cluster."""

import signal
from multiprocessing.connection import Connection
from pathlib import Path

from lstm_ae.distributed.dispatch import InProcessExecutor, JobExecutor, answer_jobs
from lstm_ae.fleets.training import FleetTask, SeriesJob, SeriesOutcome, SeriesTrainer
from lstm_ae.search.executors import ProcessPool, WorkerProcess, prepare_worker
from lstm_ae.startup import cores


def start_executor(
    engine: str, task: FleetTask, series: int, jobs: int | None, address: str | None, log: Path
) -> JobExecutor[SeriesJob, SeriesOutcome]:
    """Start an executor.

    Args:
        engine: "local" or "ray".
        task: what the trainings have in common.
        series: number of models.
        jobs: models that are trained at once; None for one per core of this machine or of the cluster.
        address: address of a Ray cluster; None for this machine.
        log: file for errors of the processes.

    Raises:
        ClusterLostError: there is no cluster at the address, or Ray is not installed.
    """
    if engine == "ray":
        from lstm_ae.search.ray_executor import RayPool

        return RayPool(address, None if jobs is None else min(jobs, series), SeriesActor, task, lambda step: None)
    jobs = min(jobs or cores(), series)
    if jobs == 1:
        return InProcessExecutor(SeriesTrainer(task).run)

    def worker() -> WorkerProcess[SeriesJob, SeriesOutcome]:
        return WorkerProcess(__name__, serve_series.__name__, task, log=log)

    return ProcessPool(jobs, worker, lambda step: None, log)


def serve_series(pipe: Connection, task: FleetTask, log: str) -> None:
    """Train the models from a pipe until it is closed, on one core.

    Args:
        pipe: receives jobs and sends outcomes and exceptions.
        task: what the trainings have in common.
        log: file for stderr.
    """
    prepare_worker(1, log)
    answer_jobs(pipe, lambda: SeriesTrainer(task).run)


class SeriesActor:
    """Actor that trains models in a process of a Ray cluster, on one core.

    Args:
        task: what the trainings have in common.
    """

    def __init__(self, task: FleetTask) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Only the process that started the command handles Ctrl-C.
        prepare_worker(1, None)
        self.trainer = SeriesTrainer(task)

    def run(self, job: SeriesJob) -> SeriesOutcome:
        """Train a model and return its outcome."""
        return self.trainer.run(job)

    def step(self) -> None:
        """Return nothing: a training is short."""
