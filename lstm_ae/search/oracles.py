"""KerasTuner's oracles, which say what to try next.

They are used without KerasTuner's tuners and state files: these do not survive a kill, and a worker's death even less
(keras-tuner issue 1055). What an oracle was asked and told is in the search's journal, from which it is brought back.
"""

import logging
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import keras_tuner

from lstm_ae.config import Config
from lstm_ae.errors import ConfigError
from lstm_ae.search.plan import Plan
from lstm_ae.search.strategies import Bayesian, Grid, Hyperband, Random
from lstm_ae.search.trials import RUNNING, Objective, Trial, proposed

logger = logging.getLogger(__name__)

Spaces = Callable[[Any, Config], Config]
# Of trials that end a search when they fail in a row: more than there will be.
NEVER = 10**9


class Asked(NamedTuple):
    """What an oracle wants to be tried: a `trial`, or nothing now (`wait`), or nothing any more."""

    trial: Trial | None
    wait: bool = False


class Oracle:
    """KerasTuner's oracle of a plan, in this package's terms."""

    def __init__(self, plan: Plan, space: Spaces) -> None:
        self.plan, self.space = plan, space
        self.oracle = _oracle(plan, registered(space, plan.config))
        self.oracle.verbose = 0
        self.asked: list[Any] = []
        # Whether a random search has once found nothing new: asked again it could, but how often depends on who asks.
        self.exhausted = False

    def ask(self, recorded: dict[str, Any] | None = None) -> Asked:
        """The next trial.

        Args:
            recorded: the values that the journal has for it; they win over what the oracle says now, which can be
                other on another processor.
        """
        number = len(self.asked)
        enough = self.plan.trials is not None and number >= self.plan.trials
        if recorded is None and (enough or self.exhausted):
            return Asked(None)
        with warnings.catch_warnings():
            # Of scikit-learn on a fit that has not converged, and of KerasTuner's use of the standard library.
            warnings.simplefilter("ignore")
            made = self.oracle.create_trial(f"trial {number}")
        if made.status != "RUNNING":
            if recorded is None:
                self.exhausted = self.plan.search == "random"
                return Asked(None, wait=made.status == "IDLE")
            made = self._inserted()
        values = {name: _own(value) for name, value in made.hyperparameters.values.items()}
        if recorded is not None and recorded != values:
            logger.info("trial %d: the journal's %s is taken, the oracle says otherwise now", number, recorded)
            values = dict(recorded)
        made.hyperparameters.values = values
        self.asked.append(made)
        return Asked(proposed(number, made.hyperparameters.values))

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


def registered(space: Spaces, config: Config) -> keras_tuner.HyperParameters:
    """The hyperparameters that a space asks for."""
    hp = keras_tuner.HyperParameters()
    try:
        space(hp, config)
    except ConfigError:
        # The first values of all axes need not go together; that is for their own trial to say.
        logger.debug("the first setting of the space is none", exc_info=True)
    return hp


def _oracle(plan: Plan, hyperparameters: keras_tuner.HyperParameters) -> Any:
    shared: dict[str, Any] = {
        "objective": keras_tuner.Objective("score", direction(plan.objective)),
        "hyperparameters": hyperparameters,
        "allow_new_entries": False,
        "tune_new_entries": False,
        # KerasTuner draws a seed of its own in place of 0.
        "seed": plan.config.seed % (2**32 - 2) + 1,
        "max_consecutive_failed_trials": NEVER,
    }
    if plan.search == "hyperband":
        return Hyperband(max_epochs=plan.config.epochs, **shared)
    kind = {"grid": Grid, "random": Random, "bayesian": Bayesian}[plan.search]
    # How many are asked for is counted here: those that the journal has are wanted even where fewer are asked for now.
    return kind(max_trials=None, **shared)


def trials_of(plan: Plan) -> tuple[int, int | None]:
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


def direction(objective: Objective) -> str:
    """In KerasTuner's words."""
    return "max" if objective.higher_is_better else "min"
