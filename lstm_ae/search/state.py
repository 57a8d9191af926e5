"""What a search knows: its trials and its oracle, brought back from the journal and kept in step with it."""

import statistics
from collections.abc import Iterable
from itertools import accumulate

from lstm_ae.config import Config
from lstm_ae.search.job import JobOutcome
from lstm_ae.search.journal import ASKED, DROPPED, TOLD, Journal, JournalEntry, executions_in_entry
from lstm_ae.search.oracles import Oracle, Proposal, Spaces
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import COMPLETED, RUNNING, Trial, rank_trials

# Trials that must have ended before one can be called worse than their median.
ENOUGH = 3


class SearchRecord:
    """The trials of a search.

    Args:
        entries: what the journal holds; the oracle is asked and told the same again.
    """

    def __init__(self, plan: SearchPlan, space: Spaces, journal: Journal, entries: Iterable[JournalEntry] = ()) -> None:
        self.plan, self.journal = plan, journal
        self.oracle = Oracle(plan, space)
        self.trials: list[Trial] = []
        self.bars: list[tuple[float, ...]] = []
        self._replay(entries)

    @property
    def pending(self) -> list[Trial]:
        """Trials that were asked for and have not ended."""
        return [trial for trial in self.trials if trial.status == RUNNING]

    @property
    def continued(self) -> set[int]:
        """Trials whose training may still be gone on with."""
        return self.oracle.continued(self.trials)

    def best(self, number: int) -> list[Trial]:
        """The best completed trials, at most so many, no setting twice: of Hyperband, how far it has come."""
        completed = [t for t in rank_trials(self.trials, self.plan.objective) if t.status == COMPLETED]
        first: dict[str, Trial] = {}
        for trial in completed:
            first.setdefault(str(trial.values), trial)
        return list(first.values())[:number]

    def same(self, trial: Trial) -> Trial | None:
        """An earlier trial of the same setting that says how this one would end: Bayesian search can ask for one twice.

        One that is complete does, and one that diverged; others failed of what need not be so again.
        """
        for other in self.trials[: trial.number]:
            if (other.values, other.until) == (trial.values, trial.until) and (
                other.status == COMPLETED or other.diverged
            ):
                return other
        return None

    def ask(self) -> Proposal:
        """What to try next; it is in the journal before it is returned."""
        asked = self.oracle.ask()
        if asked.trial is None:
            return asked
        bar = self._bar() if self.plan.prune else ()
        number = asked.trial.number
        self.journal.add(ASKED, number=number, values=self.oracle.raw(number), bar=[_plain(value) for value in bar])
        return Proposal(self._begin(asked.trial, bar))

    def config(self, trial: Trial) -> Config:
        """A trial's config; raises `ConfigError` where its values do not go together."""
        return self.oracle.config(trial.number)

    def tell(self, outcome: JobOutcome) -> Trial:
        """Take down how a trial ended; returns the trial."""
        executions = [execution._asdict() | {"score": _plain(execution.score)} for execution in outcome.executions]
        self.journal.add(
            TOLD, number=outcome.number, status=outcome.status, executions=executions, reason=outcome.reason
        )
        return self._end(outcome)

    def drop(self, number: int) -> None:
        """A trial has to be run again."""
        self.journal.add(DROPPED, number=number)
        self._again(number)

    def _begin(self, trial: Trial, bar: tuple[float, ...]) -> Trial:
        trial = trial._replace(status=RUNNING)
        self.trials.append(trial)
        self.bars.append(bar)
        return trial

    def _again(self, number: int) -> None:
        # The oracle goes on from what it was told before, until it hears more.
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
                while len(self.trials) < number and (lost := self.oracle.ask()).trial:
                    self._begin(lost.trial, ())  # its line could not be read
                if len(self.trials) == number and (asked := self.oracle.ask(content["values"])).trial:
                    bar = (self._worst if value is None else value for value in content.get("bar", ()))
                    self._begin(asked.trial, tuple(bar))
            elif event == DROPPED and number < len(self.trials):
                self._again(number)
            elif event == TOLD and number < len(self.trials) and self.trials[number].status == RUNNING:
                self._end(JobOutcome(number, content["status"], executions_in_entry(content), content["reason"]))

    def _bar(self) -> tuple[float, ...]:
        """By epoch, the median over ended trials of the best objective until then; empty while there are too few."""
        objective = self.plan.objective
        curves = [trial.executions[0].curve for trial in self.trials if trial.scored]
        if len(curves) < ENOUGH:
            return ()
        epochs = self.plan.config.epochs

        def better(one: float, other: float) -> float:
            return min(one, other, key=objective.key)

        so_far = [list(accumulate(curve, better)) for curve in curves]
        bar = []
        for epoch in range(1, epochs + 1):
            best = [values[min(epoch, len(values)) - 1] for values in so_far]
            # The first quarter says little: learning rates that rise slowly would not live through it.
            bar.append(statistics.median(best) if 4 * epoch > epochs else self._worst)
        return tuple(bar)

    @property
    def _worst(self) -> float:
        return float("-inf") if self.plan.objective.higher_is_better else float("inf")


def _plain(value: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return value if abs(value) < float("inf") else None
