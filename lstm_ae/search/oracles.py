"""KerasTuner's oracles, which propose trials, corrected where they stop short."""

import logging
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import keras_tuner

from lstm_ae.config import Config
from lstm_ae.errors import ConfigError
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import RUNNING, Objective, Trial, trial_of_proposal


class _InMemory:
    """An oracle without files."""

    def save(self) -> None:
        """The journal is what is kept."""

    def _save_trial(self, trial: Any) -> None:
        pass


class GridOracle(_InMemory, keras_tuner.oracles.GridSearchOracle):
    """Every combination, in the order in which they are listed, whatever has finished by then.

    KerasTuner's waits for trials that run, since they could enlarge the space; here the space is known beforehand.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The combination after the one that was asked for last."""
        answer: dict[str, Any] = super().populate_space(trial_id)
        if answer["status"] == "RUNNING":
            self._populate_next.append(trial_id)
        return answer


class RandomOracle(_InMemory, keras_tuner.oracles.RandomSearchOracle):
    """Settings drawn at random, none twice."""


class BayesianOracle(_InMemory, keras_tuner.oracles.BayesianOptimizationOracle):
    """Where a Gaussian process promises most.

    KerasTuner's leaves out trials that failed, and so promises the same point again; here they are as bad as the worst.
    """

    def _vectorize_trials(self) -> tuple[Any, Any]:
        scores = [trial.score for trial in self.trials.values() if trial.status == "COMPLETED"]
        worst = (min if self.objective.direction == "max" else max)(scores)
        failed = [trial for trial in self.trials.values() if trial.status == "FAILED"]
        for trial in failed:
            trial.status, trial.score = "COMPLETED", worst
        try:
            answer: tuple[Any, Any] = super()._vectorize_trials()
            return answer
        finally:
            for trial in failed:
                trial.status = "FAILED"

    def _vector_to_values(self, vector: Any) -> dict[str, Any]:
        values: dict[str, Any] = super()._vector_to_values(vector)
        # At the end of a range KerasTuner's whole numbers in logarithms are one too high, and rounding leaves others.
        for hp in self.hyperparameters.space:
            if hp.name in values and hasattr(hp, "max_value"):
                values[hp.name] = min(max(values[hp.name], hp.min_value), hp.max_value)
        return values


class HyperbandOracle(_InMemory, keras_tuner.oracles.HyperbandOracle):
    """Many settings for few epochs, the best of them for more (Li et al. 2018, jmlr.org/papers/v18/16-558.html).

    KerasTuner's ends where a bracket wants more settings than there are, and where one fails its bracket never reaches
    the last epochs. Here a bracket is begun with the settings that are left, and who fails is among those thrown out.
    """

    _brackets: list[dict[str, Any]]

    def __init__(self, **details: Any) -> None:
        # By bracket: the settings it was begun with, where there were too few.
        self._fewer: dict[int, int] = {}
        super().__init__(**details)

    def _get_size(self, bracket_num: int, round_num: int) -> int:
        size: int = super()._get_size(bracket_num, round_num)
        fewer = self._fewer.get(bracket_num)
        return size if fewer is None else min(size, math.ceil(fewer / self.factor**round_num))

    def _sizes(self, bracket: dict[str, Any]) -> list[int]:
        """By round, how many trials a bracket comes to: no more than there are in the round before without failing."""
        sizes: list[int] = []
        for number in range(len(bracket["rounds"])):
            size = self._get_size(bracket["bracket_num"], number)
            sizes.append(min(size, sizes[-1] - self._failed(bracket, number - 1)) if sizes else size)
        return sizes

    def _failed(self, bracket: dict[str, Any], number: int) -> int:
        return sum(self.trials[member["id"]].status == "FAILED" for member in bracket["rounds"][number])

    def _remove_completed_brackets(self) -> None:
        self._brackets = [each for each in self._brackets if len(each["rounds"][-1]) != self._sizes(each)[-1]]

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The best trial that is sure to be among the best of its round, for longer; else a new one."""
        self._remove_completed_brackets()
        for bracket in self._brackets:
            sizes = self._sizes(bracket)
            if len(bracket["rounds"][0]) < sizes[0]:
                return self._random_trial(trial_id, bracket)
            for number in range(1, len(sizes)):
                thrown_out = sizes[number - 1] - sizes[number]
                best = self._promoted(bracket, number, thrown_out - self._failed(bracket, number - 1))
                if best is not None:
                    bracket["rounds"][number].append({"past_id": best.trial_id, "id": trial_id})
                    return {"status": "RUNNING", "values": self._longer(best, bracket["bracket_num"], number)}
        if self._current_bracket == 0:
            return {"status": "IDLE" if self.ongoing_trials else "STOPPED"}
        self._increment_bracket_num()
        self._start_new_bracket()
        return self._random_trial(trial_id, self._brackets[-1])

    def _promoted(self, bracket: dict[str, Any], number: int, thrown_out: int) -> Any:
        """The best of the round before that is not in this one, if more have ended than will yet be thrown out."""
        taken = {member["past_id"] for member in bracket["rounds"][number]}
        before = [self.trials[member["id"]] for member in bracket["rounds"][number - 1] if member["id"] not in taken]
        ended = [trial for trial in before if trial.status == "COMPLETED"]
        sign = -1 if self.objective.direction == "max" else 1
        return min(ended, key=lambda trial: sign * trial.score) if len(ended) > max(thrown_out, 0) else None

    def _longer(self, trial: Any, bracket_num: int, number: int) -> dict[str, Any]:
        until, begun = (self._get_epochs(bracket_num, each) for each in (number, number - 1))
        told = {"trial_id": trial.trial_id, "epochs": until, "initial_epoch": begun}
        told |= {"bracket": self._current_bracket, "round": number}
        return {**trial.hyperparameters.values, **{f"tuner/{name}": value for name, value in told.items()}}

    def _random_trial(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = super()._random_trial(trial_id, bracket)
        if answer["status"] == "RUNNING":
            return answer
        self._fewer[bracket["bracket_num"]] = len(bracket["rounds"][0])
        if not bracket["rounds"][0]:
            self._brackets.remove(bracket)
        again: dict[str, Any] = self.populate_space(trial_id)
        return again


logger = logging.getLogger(__name__)

Spaces = Callable[[Any, Config], Config]

# Of trials that end a search when they fail in a row: more than there will be.
NEVER = 10**9


class Proposal(NamedTuple):
    """What an oracle wants to be tried: a `trial`, or nothing now (`wait`), or nothing any more."""

    trial: Trial | None
    wait: bool = False


class Oracle:
    """KerasTuner's oracle of a plan, in this package's terms."""

    def __init__(self, plan: SearchPlan, space: Spaces) -> None:
        self.plan, self.space = plan, space
        self.oracle = _oracle(plan, registered_hyperparameters(space, plan.config))
        self.oracle.verbose = 0
        self.asked: list[Any] = []
        # Whether a random search has once found nothing new: asked again it could, but how often depends on who asks.
        self.exhausted = False

    def ask(self, recorded: dict[str, Any] | None = None) -> Proposal:
        """The next trial.

        Args:
            recorded: the values that the journal has for it; they win over what the oracle says now, which can be
                other on another processor.
        """
        number = len(self.asked)
        enough = self.plan.trials is not None and number >= self.plan.trials
        if recorded is None and (enough or self.exhausted):
            return Proposal(None)
        with warnings.catch_warnings():
            # Of scikit-learn on a fit that has not converged, and of KerasTuner's use of the standard library.
            warnings.simplefilter("ignore")
            made = self.oracle.create_trial(f"trial {number}")
        if made.status != "RUNNING":
            if recorded is None:
                self.exhausted = self.plan.search == "random"
                return Proposal(None, wait=made.status == "IDLE")
            made = self._inserted()
        values = {name: _own(value) for name, value in made.hyperparameters.values.items()}
        if recorded is not None and recorded != values:
            logger.info("trial %d: the journal's %s is taken, the oracle says otherwise now", number, recorded)
            values = dict(recorded)
        made.hyperparameters.values = values
        self.asked.append(made)
        return Proposal(trial_of_proposal(number, made.hyperparameters.values))

    def _inserted(self) -> Any:
        """A trial that the oracle would not ask for now: a line of the journal that was damaged would have told it."""
        identity = f"{len(self.oracle.trials):04}"  # as KerasTuner's own
        made = keras_tuner.engine.trial.Trial(self.oracle.get_space(), identity, status="RUNNING")
        self.oracle.trials[identity] = self.oracle.ongoing_trials[f"trial {len(self.asked)}"] = made
        self.oracle.start_order.append(identity)
        return made

    def raw(self, number: int) -> dict[str, Any]:
        """All that the oracle has in a trial's values: what the journal records."""
        return dict(self.asked[number].hyperparameters.values)

    def config(self, number: int) -> Config:
        """A trial's config; raises `ConfigError` where its values do not go together."""
        return self.space(self.asked[number].hyperparameters, self.plan.config)

    def tell(self, trial: Trial) -> None:
        """How a trial ended."""
        made = self.asked[trial.number]
        # KerasTuner takes an infinite score for a very good one.
        judged = trial.scored and math.isfinite(trial.score)
        made.status = "COMPLETED" if judged else "FAILED"
        made.message = trial.reason
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if judged:
                self.oracle.update_trial(made.trial_id, {"score": trial.score}, step=trial.until or 0)
            self.oracle.end_trial(made)

    def continued(self, trials: list[Trial]) -> set[int]:
        """The trials whose training may still be gone on with (by Hyperband; the others never do)."""
        if self.plan.search != "hyperband":
            return set()
        found = {trial.parent for trial in trials if trial.parent is not None and trial.status == RUNNING}
        for bracket in self.oracle.get_state()["brackets"]:
            *rounds, _ = bracket["rounds"]
            for place, members in enumerate(rounds):
                taken = {member["past_id"] for member in bracket["rounds"][place + 1]}
                found |= {int(member["id"]) for member in members if member["id"] not in taken}
        return {number for number in found if number is not None}


def _own(value: Any) -> Any:
    """A value in Python's type: of a range, the Gaussian process gives numpy's numbers."""
    return value.item() if hasattr(value, "item") else value


def registered_hyperparameters(space: Spaces, config: Config) -> keras_tuner.HyperParameters:
    """The hyperparameters that a space asks for."""
    hp = keras_tuner.HyperParameters()
    try:
        space(hp, config)
    except ConfigError:
        # The first values of all axes need not go together; that is for their own trial to say.
        logger.debug("the first setting of the space is none", exc_info=True)
    return hp


def _oracle(plan: SearchPlan, hyperparameters: keras_tuner.HyperParameters) -> Any:
    shared: dict[str, Any] = {
        "objective": keras_tuner.Objective("score", objective_direction(plan.objective)),
        "hyperparameters": hyperparameters,
        "allow_new_entries": False,
        "tune_new_entries": False,
        # KerasTuner draws a seed of its own in place of 0.
        "seed": plan.config.seed % (2**32 - 2) + 1,
        "max_consecutive_failed_trials": NEVER,
    }
    if plan.search == "hyperband":
        return HyperbandOracle(max_epochs=plan.config.epochs, **shared)
    kind = {"grid": GridOracle, "random": RandomOracle, "bayesian": BayesianOracle}[plan.search]
    # How many are asked for is counted here: those that the journal has are wanted even where fewer are asked for now.
    return kind(max_trials=None, **shared)


def count_trials(plan: SearchPlan) -> tuple[int, int | None]:
    """How many trials a search comes to, and how many epochs all trainings, where it gives out epochs; None elsewhere.

    At most: Hyperband may find fewer settings than it wants.
    """
    if plan.size is not None:
        return plan.size, None
    oracle = _oracle(plan, keras_tuner.HyperParameters())
    trials = epochs = 0
    for bracket in reversed(range(oracle._get_num_brackets())):
        reached = 0
        for number in range(oracle._get_num_rounds(bracket)):
            left = oracle._get_size(bracket, number) if plan.trials is None else plan.trials - trials
            size, until = min(oracle._get_size(bracket, number), left), oracle._get_epochs(bracket, number)
            trials += size
            # Of repeats the first one goes on, and the others begin anew.
            epochs += size * (plan.repeats * until - reached)
            reached = until
    return trials, epochs


def objective_direction(objective: Objective) -> str:
    """In KerasTuner's words."""
    return "max" if objective.higher_is_better else "min"
