"""Record of a search: its trials and its oracle, restored from the journal and kept consistent with it."""

from lstm_ae.search.journal import Journal
from lstm_ae.search.oracles import Oracle
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import RUNNING, Trial, rank_trials


class SearchRecord:
    """Trials of a search.

    Args:
        plan: the plan of the search.
        journal: records the trials; those in it are replayed.

    Raises:
        DataError: the journal is damaged.
    """

    def __init__(self, plan: SearchPlan, journal: Journal) -> None:
        self.plan, self.journal = plan, journal
        self.oracle = Oracle(plan)
        self.trials: list[Trial] = []
        for trial in journal.read():
            if trial.number == len(self.trials):
                self.oracle.ask(trial)
            self._apply(trial)

    @property
    def pending(self) -> list[Trial]:
        """The trials that were proposed and have not ended."""
        return [trial for trial in self.trials if trial.status == RUNNING]

    @property
    def ranked(self) -> list[Trial]:
        """All trials, best first."""
        return rank_trials(self.trials, self.plan.objective)

    @property
    def best(self) -> Trial | None:
        """The best completed trial."""
        return next((trial for trial in self.ranked if trial.completed), None)

    def ask(self) -> Trial | None:
        """Return the next trial, after writing it to the journal; None if there is none now."""
        trial = self.oracle.ask()
        if trial is not None:
            self.write(trial)
        return trial

    def write(self, trial: Trial) -> Trial:
        """Record the state of a trial, which has ended or has to run again, and return the trial."""
        self.journal.add(trial)
        self._apply(trial)
        return trial

    def rerun(self, trial: Trial) -> None:
        """Drop the results of a trial, so that it runs again. The oracle uses them until it receives new ones."""
        self.write(trial._replace(status=RUNNING, executions=(), reason=""))

    def _apply(self, trial: Trial) -> None:
        if trial.number == len(self.trials):
            self.trials.append(trial)
        else:
            self.trials[trial.number] = trial
        if trial.status != RUNNING:
            self.oracle.tell(trial)
