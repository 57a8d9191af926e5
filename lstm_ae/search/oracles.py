"""KerasTuner's oracles, which propose trials, with the corrections that make a search exact and resumable.

KerasTuner writes its state in place and cannot restore all of it (keras-tuner#1055). Here the journal is the only
record, and a search that resumes repeats its calls. That requires proposals that depend on nothing but the order of
the calls, and trials that fail must not change the kind of search.
"""

import itertools
import math
import warnings

import keras_tuner
from keras_tuner.engine.trial import Trial as TunerTrial

from lstm_ae.errors import Code, DataError
from lstm_ae.json_types import JsonObject
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import Trial

# Larger than any number of trials, so that failed trials never end a search.
UNLIMITED = 10**9

# Consecutive repeated draws after which a space counts as exhausted. KerasTuner's limit of 20 often misses settings.
MAX_COLLISIONS = 1000


class _InMemory:
    """Oracle without files, whose trials are scored by `Oracle.tell`."""

    def save(self) -> None:
        """Do nothing, because the journal records the search."""

    def _save_trial(self, trial: TunerTrial) -> None:
        pass

    def score_trial(self, trial: TunerTrial) -> None:
        """Do nothing, because the trial has its score."""


class GridOracle(_InMemory, keras_tuner.Oracle):
    """Oracle that proposes every combination in the listed order.

    KerasTuner's oracle waits for running trials, which could enlarge the space, so that it depends on their order.
    """

    def populate_space(self, trial_id: str) -> JsonObject:
        """Return the combination after the last proposed one."""
        space = self.hyperparameters.space
        combinations = itertools.product(*(hp.values for hp in space))
        for values in itertools.islice(combinations, len(self.start_order), None):
            return {"status": "RUNNING", "values": dict(zip((hp.name for hp in space), values, strict=True))}
        return {"status": "STOPPED"}


class RandomOracle(_InMemory, keras_tuner.oracles.RandomSearchOracle):
    """Oracle that draws settings at random without repetition."""


class BayesianOracle(_InMemory, keras_tuner.oracles.BayesianOptimizationOracle):
    """Oracle that proposes the setting with the best acquisition value of a Gaussian process."""

    def populate_space(self, trial_id: str) -> JsonObject:
        """Return a proposal; a random one if the setting was tried before, which KerasTuner would train again."""
        answer: JsonObject = super().populate_space(trial_id)
        if answer["status"] == "RUNNING" and self._duplicate(answer["values"]):
            answer = self._random_populate_space()
        return answer

    def _vector_to_values(self, vector: object) -> JsonObject:
        values: JsonObject = super()._vector_to_values(vector)
        for hp in self.hyperparameters.space:
            value = values[hp.name]
            # KerasTuner's logarithmic integers can exceed the range by one, and rounding can exceed other ranges.
            value = min(max(value, hp.min_value), hp.max_value) if hasattr(hp, "max_value") else value
            values[hp.name] = value.item() if hasattr(value, "item") else value
        return values


ORACLES = {"grid": GridOracle, "random": RandomOracle, "bayesian": BayesianOracle}


class Oracle:
    """KerasTuner oracle of a plan, with the types of this package.

    Args:
        plan: the plan of the search.
    """

    def __init__(self, plan: SearchPlan) -> None:
        self.plan = plan
        self.proposed: list[TunerTrial] = []
        self.worst: float | None = None
        # Whether nothing was left to draw. Another draw could find a setting, but whether there is another draw depends
        # on the timing of the workers, so the search ends here to stay reproducible.
        self.exhausted = False
        self.oracle = _create_oracle(plan)

    def ask(self, recorded: Trial | None = None) -> Trial | None:
        """Return the next trial; None if there is none, or none before a running one ends.

        Args:
            recorded: the trial in the journal; its values override the oracle's, which can differ on another processor.

        Raises:
            DataError: the oracle proposes no trial although there is one in the journal.
        """
        number = len(self.proposed)
        complete = self.plan.trials is not None and number >= self.plan.trials
        if recorded is None and (complete or self.exhausted):
            return None
        with warnings.catch_warnings():
            # scikit-learn warns about fits that have not converged, and Python about KerasTuner's deprecated calls.
            warnings.simplefilter("ignore")
            proposal = self.oracle.create_trial(f"trial {number}")
        if proposal.status != "RUNNING":
            if recorded is not None:
                raise DataError(
                    f"This version does not propose trial {number} of the journal. Start a new search",
                    code=Code.SEARCH_DAMAGED,
                )
            self.exhausted = self.plan.search != "grid"
            return None
        values = proposal.hyperparameters.values
        trial = recorded or Trial(number, {axis.name: values[axis.name] for axis in self.plan.axes})
        values.update(trial.values)
        self.proposed.append(proposal)
        return trial

    def tell(self, trial: Trial) -> None:
        """Report the end of a trial to the oracle.

        A failed trial gets the worst score, since KerasTuner leaves it out: a Gaussian process would propose the same
        point again.
        """
        score = self.plan.objective.key(trial.score)
        valid = trial.completed and math.isfinite(score)
        if valid and self.plan.search == "bayesian":
            self.worst = score if self.worst is None else max(score, self.worst)
        proposal = self.proposed[trial.number]
        proposal.score = score if valid else self.worst
        proposal.status = "FAILED" if proposal.score is None else "COMPLETED"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.oracle.end_trial(proposal)


def _create_oracle(plan: SearchPlan) -> keras_tuner.Oracle:
    hyperparameters = keras_tuner.HyperParameters()
    for axis in plan.axes:
        axis.sample(hyperparameters)
    shared: JsonObject = {
        "objective": keras_tuner.Objective("score", "min"),
        "hyperparameters": hyperparameters,
        "allow_new_entries": False,
        "tune_new_entries": False,
        # KerasTuner replaces a seed of 0 by a random one.
        "seed": plan.config.seed % (2**32 - 2) + 1,
        "max_consecutive_failed_trials": UNLIMITED,
    }
    # `Oracle.ask` counts the trials, because recorded trials are replayed even if the limit is lower now.
    oracle: keras_tuner.Oracle = ORACLES[plan.search](max_trials=None, **shared)
    oracle.verbose = 0
    oracle._max_collisions = MAX_COLLISIONS
    return oracle
