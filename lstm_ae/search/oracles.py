"""KerasTuner's oracles, which propose trials, with corrections for early ends of a search."""

import logging
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import keras_tuner
from keras_tuner.engine.trial import Trial as TunerTrial

from lstm_ae.arrays import Float64Array
from lstm_ae.config import Config
from lstm_ae.errors import ConfigError
from lstm_ae.json_types import JsonObject
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import RUNNING, Objective, Trial, trial_of_proposal


class _InMemory:
    """Oracle without files."""

    def save(self) -> None:
        """Do nothing, because the journal records the search."""

    def _save_trial(self, trial: TunerTrial) -> None:
        pass


class GridOracle(_InMemory, keras_tuner.oracles.GridSearchOracle):
    """Oracle that proposes every combination in the listed order, whatever trials have finished.

    KerasTuner's oracle waits for running trials, which could enlarge the space. Here the space is fixed.
    """

    def populate_space(self, trial_id: str) -> JsonObject:
        """Return the combination after the last proposed one."""
        answer: JsonObject = super().populate_space(trial_id)
        if answer["status"] == "RUNNING":
            self._populate_next.append(trial_id)
        return answer


class RandomOracle(_InMemory, keras_tuner.oracles.RandomSearchOracle):
    """Oracle that draws settings at random without repetition."""


class BayesianOracle(_InMemory, keras_tuner.oracles.BayesianOptimizationOracle):
    """Oracle that proposes the setting with the best acquisition value of a Gaussian process.

    KerasTuner's oracle leaves out failed trials and so proposes the same point again. Here a failed trial gets the
    worst score of the completed ones.
    """

    def _vectorize_trials(self) -> tuple[Float64Array, Float64Array]:
        scores = [trial.score for trial in self.trials.values() if trial.status == "COMPLETED"]
        worst = (min if self.objective.direction == "max" else max)(scores)
        failed = [trial for trial in self.trials.values() if trial.status == "FAILED"]
        for trial in failed:
            trial.status, trial.score = "COMPLETED", worst
        try:
            answer: tuple[Float64Array, Float64Array] = super()._vectorize_trials()
            return answer
        finally:
            for trial in failed:
                trial.status = "FAILED"

    def _vector_to_values(self, vector: Float64Array) -> JsonObject:
        values: JsonObject = super()._vector_to_values(vector)
        # KerasTuner's logarithmic integers can exceed the range by one, and rounding can exceed other ranges.
        for hp in self.hyperparameters.space:
            if hp.name in values and hasattr(hp, "max_value"):
                values[hp.name] = min(max(values[hp.name], hp.min_value), hp.max_value)
        return values


class HyperbandOracle(_InMemory, keras_tuner.oracles.HyperbandOracle):
    """Oracle that trains many settings for few epochs, and the best of them longer.

    KerasTuner's oracle stops if a bracket needs more settings than exist, and a bracket with a failed trial never
    reaches the last epochs. Here a bracket starts with the remaining settings, and failed trials count as eliminated.

    Reference: Li et al. 2018, jmlr.org/papers/v18/16-558.html
    """

    _brackets: list[JsonObject]

    def __init__(self, **details: Any) -> None:
        # By bracket, the number of settings it started with if there were too few.
        self._fewer: dict[int, int] = {}
        super().__init__(**details)

    def _get_size(self, bracket_num: int, round_num: int) -> int:
        size: int = super()._get_size(bracket_num, round_num)
        fewer = self._fewer.get(bracket_num)
        return size if fewer is None else min(size, math.ceil(fewer / self.factor**round_num))

    def _sizes(self, bracket: JsonObject) -> list[int]:
        """Return the trials of a bracket by round: at most as many as the previous round has without failed ones."""
        sizes: list[int] = []
        for number in range(len(bracket["rounds"])):
            size = self._get_size(bracket["bracket_num"], number)
            sizes.append(min(size, sizes[-1] - self._failed(bracket, number - 1)) if sizes else size)
        return sizes

    def _failed(self, bracket: JsonObject, number: int) -> int:
        return sum(self.trials[member["id"]].status == "FAILED" for member in bracket["rounds"][number])

    def _remove_completed_brackets(self) -> None:
        self._brackets = [each for each in self._brackets if len(each["rounds"][-1]) != self._sizes(each)[-1]]

    def populate_space(self, trial_id: str) -> JsonObject:
        """Promote the best trial that is certain to be among the best of its round, else draw a new setting."""
        self._remove_completed_brackets()
        for bracket in self._brackets:
            sizes = self._sizes(bracket)
            if len(bracket["rounds"][0]) < sizes[0]:
                return self._random_trial(trial_id, bracket)
            for number in range(1, len(sizes)):
                eliminated = sizes[number - 1] - sizes[number]
                best = self._next_promotion(bracket, number, eliminated - self._failed(bracket, number - 1))
                if best is not None:
                    bracket["rounds"][number].append({"past_id": best.trial_id, "id": trial_id})
                    return {"status": "RUNNING", "values": self._longer(best, bracket["bracket_num"], number)}
        if self._current_bracket == 0:
            return {"status": "IDLE" if self.ongoing_trials else "STOPPED"}
        self._increment_bracket_num()
        self._start_new_bracket()
        return self._random_trial(trial_id, self._brackets[-1])

    def _next_promotion(self, bracket: JsonObject, number: int, eliminated: int) -> TunerTrial | None:
        """Return the best unpromoted trial of the previous round; None unless more have ended than are eliminated."""
        promoted = {member["past_id"] for member in bracket["rounds"][number]}
        previous = [member["id"] for member in bracket["rounds"][number - 1] if member["id"] not in promoted]
        ended = [trial for trial in map(self.trials.__getitem__, previous) if trial.status == "COMPLETED"]
        sign = -1 if self.objective.direction == "max" else 1
        return min(ended, key=lambda trial: sign * trial.score) if len(ended) > max(eliminated, 0) else None

    def _longer(self, trial: TunerTrial, bracket_num: int, number: int) -> JsonObject:
        until, initial = (self._get_epochs(bracket_num, each) for each in (number, number - 1))
        fields = {"trial_id": trial.trial_id, "epochs": until, "initial_epoch": initial}
        fields |= {"bracket": self._current_bracket, "round": number}
        return {**trial.hyperparameters.values, **{f"tuner/{name}": value for name, value in fields.items()}}

    def _random_trial(self, trial_id: str, bracket: JsonObject) -> JsonObject:
        answer: JsonObject = super()._random_trial(trial_id, bracket)
        if answer["status"] == "RUNNING":
            return answer
        self._fewer[bracket["bracket_num"]] = len(bracket["rounds"][0])
        if not bracket["rounds"][0]:
            self._brackets.remove(bracket)
        retry: JsonObject = self.populate_space(trial_id)
        return retry


logger = logging.getLogger(__name__)

Spaces = Callable[[keras_tuner.HyperParameters, Config], Config]

# Larger than any number of trials, so that failed trials never end a search.
UNLIMITED = 10**9


class Proposal(NamedTuple):
    """Proposal of an oracle.

    Args:
        trial: the next trial; None if there is none.
        wait: whether there may be one after a running trial ends.
    """

    trial: Trial | None
    wait: bool = False


class Oracle:
    """KerasTuner oracle of a plan, with the types of this package.

    Args:
        plan: the plan of the search.
        space: turns hyperparameters and the plan's config into the config of a trial.
    """

    def __init__(self, plan: SearchPlan, space: Spaces) -> None:
        self.plan, self.space = plan, space
        self.oracle = _create_oracle(plan, registered_hyperparameters(space, plan.config))
        self.oracle.verbose = 0
        self.proposed: list[TunerTrial] = []
        # Whether a random search has drawn no new setting. Another draw could find one, but whether there is another
        # draw depends on the timing of the workers, so the search ends here to stay reproducible.
        self.exhausted = False

    def ask(self, recorded: JsonObject | None = None) -> Proposal:
        """Return the next trial.

        Args:
            recorded: values of the trial in the journal; they override the oracle's values, which can differ on
                another processor.
        """
        number = len(self.proposed)
        enough = self.plan.trials is not None and number >= self.plan.trials
        if recorded is None and (enough or self.exhausted):
            return Proposal(None)
        with warnings.catch_warnings():
            # scikit-learn warns about fits that have not converged, and Python about KerasTuner's deprecated calls.
            warnings.simplefilter("ignore")
            kt_trial = self.oracle.create_trial(f"trial {number}")
        if kt_trial.status != "RUNNING":
            if recorded is None:
                self.exhausted = self.plan.search == "random"
                return Proposal(None, wait=kt_trial.status == "IDLE")
            kt_trial = self._insert_trial()
        values = {name: _python_value(value) for name, value in kt_trial.hyperparameters.values.items()}
        if recorded is not None and recorded != values:
            logger.info("trial %d: using %s from the journal; the oracle proposes other values", number, recorded)
            values = dict(recorded)
        kt_trial.hyperparameters.values = values
        self.proposed.append(kt_trial)
        return Proposal(trial_of_proposal(number, kt_trial.hyperparameters.values))

    def _insert_trial(self) -> TunerTrial:
        """Add a trial that the oracle does not propose, because a line of the journal was damaged."""
        identity = f"{len(self.oracle.trials):04}"  # The format of KerasTuner's own trials.
        kt_trial = keras_tuner.engine.trial.Trial(self.oracle.get_space(), identity, status="RUNNING")
        self.oracle.trials[identity] = self.oracle.ongoing_trials[f"trial {len(self.proposed)}"] = kt_trial
        self.oracle.start_order.append(identity)
        return kt_trial

    def raw(self, number: int) -> JsonObject:
        """Return all of the oracle's values of a trial, including `tuner/...`, as the journal records them."""
        return dict(self.proposed[number].hyperparameters.values)

    def config(self, number: int) -> Config:
        """Return the config of a trial.

        Raises:
            ConfigError: its values are not a valid combination.
        """
        return self.space(self.proposed[number].hyperparameters, self.plan.config)

    def tell(self, trial: Trial) -> None:
        """Report the outcome of a trial to the oracle."""
        kt_trial = self.proposed[trial.number]
        # KerasTuner treats an infinite score as a very good one.
        valid = trial.scored and math.isfinite(trial.score)
        kt_trial.status = "COMPLETED" if valid else "FAILED"
        kt_trial.message = trial.reason
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if valid:
                self.oracle.update_trial(kt_trial.trial_id, {"score": trial.score}, step=trial.until or 0)
            self.oracle.end_trial(kt_trial)

    def continued(self, trials: list[Trial]) -> set[int]:
        """Return the trials whose training Hyperband may still continue; other searches continue none."""
        if self.plan.search != "hyperband":
            return set()
        numbers = {trial.parent for trial in trials if trial.parent is not None and trial.status == RUNNING}
        for bracket in self.oracle.get_state()["brackets"]:
            *rounds, _ = bracket["rounds"]
            for index, members in enumerate(rounds):
                promoted = {member["past_id"] for member in bracket["rounds"][index + 1]}
                numbers |= {int(member["id"]) for member in members if member["id"] not in promoted}
        return {number for number in numbers if number is not None}


def _python_value(value: Any) -> object:
    """Return a value as a Python type, because the Gaussian process returns NumPy scalars for ranges."""
    return value.item() if hasattr(value, "item") else value


def registered_hyperparameters(space: Spaces, config: Config) -> keras_tuner.HyperParameters:
    """Return the hyperparameters that a space registers."""
    hp = keras_tuner.HyperParameters()
    try:
        space(hp, config)
    except ConfigError:
        # The first values of all axes can be an invalid combination. The trial with these values reports it.
        logger.debug("the first setting of the space is invalid", exc_info=True)
    return hp


def _create_oracle(plan: SearchPlan, hyperparameters: keras_tuner.HyperParameters) -> keras_tuner.Oracle:
    shared: JsonObject = {
        "objective": keras_tuner.Objective("score", objective_direction(plan.objective)),
        "hyperparameters": hyperparameters,
        "allow_new_entries": False,
        "tune_new_entries": False,
        # KerasTuner replaces a seed of 0 by a random one.
        "seed": plan.config.seed % (2**32 - 2) + 1,
        "max_consecutive_failed_trials": UNLIMITED,
    }
    if plan.search == "hyperband":
        return HyperbandOracle(max_epochs=plan.config.epochs, **shared)
    kind = {"grid": GridOracle, "random": RandomOracle, "bayesian": BayesianOracle}[plan.search]
    # `Oracle.ask` counts the trials, because recorded trials are replayed even if the limit is lower now.
    return kind(max_trials=None, **shared)


def count_trials(plan: SearchPlan) -> tuple[int, int | None]:
    """Return upper limits of the trials of a search and, with Hyperband, of the epochs of all trainings.

    Hyperband runs fewer trials if the space has fewer settings than a bracket needs.

    Returns:
        The number of trials, and the number of epochs; None for the epochs of other searches.
    """
    if plan.size is not None:
        return plan.size, None
    oracle = _create_oracle(plan, keras_tuner.HyperParameters())
    trials = epochs = 0
    for bracket in reversed(range(oracle._get_num_brackets())):
        reached = 0
        for number in range(oracle._get_num_rounds(bracket)):
            left = oracle._get_size(bracket, number) if plan.trials is None else plan.trials - trials
            size, until = min(oracle._get_size(bracket, number), left), oracle._get_epochs(bracket, number)
            trials += size
            # The first execution of a promoted trial continues. The others start from the first epoch.
            epochs += size * (plan.repeats * until - reached)
            reached = until
    return trials, epochs


def objective_direction(objective: Objective) -> str:
    """Return KerasTuner's name of an objective's direction."""
    return "max" if objective.higher_is_better else "min"
