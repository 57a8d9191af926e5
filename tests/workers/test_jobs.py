"""Jobs whose processes die."""

from typing import NamedTuple

import pytest

from lstm_ae.errors import LstmAeError
from lstm_ae.workers.jobs import LostJob, run_jobs


class Job(NamedTuple):
    """Job without content."""

    number: int


class Dying:
    """Executor all of whose processes die."""

    slots = processes = 1

    def __init__(self) -> None:
        self.job = Job(-1)

    def start(self, job: Job) -> None:
        """Store the job."""
        self.job = job

    def wait(self, timeout: float | None) -> list[Job | LostJob]:
        """Lose the job."""
        return [LostJob(self.job.number, "it was killed (SIGKILL)")]

    def stop(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("kept", "advice"),
    [
        (True, "Complete models are kept. Pass fewer --jobs, or remove the cause, and resume with the same command"),
        (False, "Pass fewer --jobs, or remove the cause"),
    ],
)
def test_advice_to_resume_is_given_where_outcomes_are_kept(kept: bool, advice: str) -> None:
    lost: list[str] = []
    outcomes = run_jobs(
        map(Job, range(4)),
        Dying(),
        "job {}".format,
        lambda name, how: lost.append(name),
        lambda number, reason: Job(number),
        "model",
        resumable=kept,
    )
    with pytest.raises(LstmAeError) as raised:
        list(outcomes)
    where = "9 processes died in a row without finishing a model; the last one of job 2: it was killed (SIGKILL). "
    assert str(raised.value) == where + advice
    assert lost == ["job 0", "job 0", "job 1", "job 1", "job 2", "job 2"]
