"""State of a search: its trials and its oracle, restored from the journal and kept consistent with it."""

import statistics
from collections.abc import Iterable
from itertools import accumulate

from lstm_ae.config import Config
from lstm_ae.search.job import JobOutcome
from lstm_ae.search.journal import ASKED, DROPPED, TOLD, Journal, JournalEntry, executions_in_entry
from lstm_ae.search.oracles import Oracle, Proposal, Spaces
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import COMPLETED, RUNNING, Trial, rank_trials

# Number of scored trials from which the median of the pruning rule is used.
MIN_TRIALS_FOR_MEDIAN = 3


class SearchRecord:
    """Trials of a search.

    Args:
        plan: the plan of the search.
        space: turns hyperparameters and the plan's config into the config of a trial.
        journal: records the proposals and outcomes.
        entries: the entries of the journal, which are replayed.
    """

    def __init__(self, plan: SearchPlan, space: Spaces, journal: Journal, entries: Iterable[JournalEntry] = ()) -> None:
        self.plan, self.journal = plan, journal
        self.oracle = Oracle(plan, space)
        self.trials: list[Trial] = []
        self.bars: list[tuple[float, ...]] = []
        self._replay(entries)

    @property
    def pending(self) -> list[Trial]:
        """The trials that were proposed and have not ended."""
        return [trial for trial in self.trials if trial.status == RUNNING]

    @property
    def continued(self) -> set[int]:
        """The trials whose training may still be continued."""
        return self.oracle.continued(self.trials)

    def best(self, number: int) -> list[Trial]:
        """Return the best completed trials, one per setting (with Hyperband, the best of its rounds).

        Args:
            number: the largest number of trials.
        """
        completed = [t for t in rank_trials(self.trials, self.plan.objective) if t.status == COMPLETED]
        first: dict[str, Trial] = {}
        for trial in completed:
            first.setdefault(str(trial.values), trial)
        return list(first.values())[:number]

    def equal_trial(self, trial: Trial) -> Trial | None:
        """Return an earlier trial with the same setting and outcome; None if there is none.

        Bayesian search can propose a setting twice. A completed or diverged trial would end in the same way again.
        Other failures, such as a lack of memory, may not repeat.
        """
        for other in self.trials[: trial.number]:
            if (other.values, other.until) == (trial.values, trial.until) and (
                other.status == COMPLETED or other.diverged
            ):
                return other
        return None

    def ask(self) -> Proposal:
        """Return the next trial, after writing it to the journal."""
        proposal = self.oracle.ask()
        if proposal.trial is None:
            return proposal
        bar = self._bar() if self.plan.prune else ()
        number = proposal.trial.number
        values = self.oracle.raw(number)
        self.journal.add(ASKED, number=number, values=values, bar=[_finite_or_none(value) for value in bar])
        return Proposal(self._begin(proposal.trial, bar))

    def config(self, trial: Trial) -> Config:
        """Return the config of a trial.

        Raises:
            ConfigError: its values are not a valid combination.
        """
        return self.oracle.config(trial.number)

    def tell(self, outcome: JobOutcome) -> Trial:
        """Record the outcome of a trial and return the trial."""
        executions = [
            execution._asdict() | {"score": _finite_or_none(execution.score)} for execution in outcome.executions
        ]
        self.journal.add(
            TOLD, number=outcome.number, status=outcome.status, executions=executions, reason=outcome.reason
        )
        return self._end(outcome)

    def drop(self, number: int) -> None:
        """Drop the results of a trial, so that it runs again."""
        self.journal.add(DROPPED, number=number)
        self._reset(number)

    def _begin(self, trial: Trial, bar: tuple[float, ...]) -> Trial:
        trial = trial._replace(status=RUNNING)
        self.trials.append(trial)
        self.bars.append(bar)
        return trial

    def _reset(self, number: int) -> None:
        # The oracle uses the dropped result until it receives a new one.
        self.trials[number] = self.trials[number]._replace(status=RUNNING, executions=(), reason="")

    def _end(self, outcome: JobOutcome) -> Trial:
        trial = self.trials[outcome.number]._replace(
            status=outcome.status, executions=outcome.executions, reason=outcome.reason
        )
        self.trials[outcome.number] = trial
        self.oracle.tell(trial)
        return trial

    def _replay(self, entries: Iterable[JournalEntry]) -> None:
        for event, content in entries:
            number = content["number"]
            if event == ASKED:
                while len(self.trials) < number and (missing := self.oracle.ask()).trial:
                    self._begin(missing.trial, ())  # The line of this trial could not be read.
                if len(self.trials) == number and (proposal := self.oracle.ask(content["values"])).trial:
                    bar = (self._worst if value is None else value for value in content.get("bar", ()))
                    self._begin(proposal.trial, tuple(bar))
            elif event == DROPPED and number < len(self.trials):
                self._reset(number)
            elif event == TOLD and number < len(self.trials) and self.trials[number].status == RUNNING:
                self._end(JobOutcome(number, content["status"], executions_in_entry(content), content["reason"]))

    def _bar(self) -> tuple[float, ...]:
        """Return by epoch the median of the ended trials' best objectives so far; empty if there are too few trials."""
        objective = self.plan.objective
        curves = [trial.executions[0].curve for trial in self.trials if trial.scored]
        if len(curves) < MIN_TRIALS_FOR_MEDIAN:
            return ()
        epochs = self.plan.config.epochs

        def better(one: float, other: float) -> float:
            return min(one, other, key=objective.key)

        so_far = [list(accumulate(curve, better)) for curve in curves]
        bar = []
        for epoch in range(1, epochs + 1):
            best = [values[min(epoch, len(values)) - 1] for values in so_far]
            # No training is stopped in the first quarter, because a slow warm-up would always be stopped there.
            bar.append(statistics.median(best) if 4 * epoch > epochs else self._worst)
        return tuple(bar)

    @property
    def _worst(self) -> float:
        return float("-inf") if self.plan.objective.higher_is_better else float("inf")


def _finite_or_none(value: float) -> float | None:
    """Return a value, or None if it is NaN or infinite, because JSON has neither."""
    return value if abs(value) < float("inf") else None
