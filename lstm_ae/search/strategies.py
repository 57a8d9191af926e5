"""KerasTuner's ways of searching, mended where they stop short of what they promise."""

import math
from typing import Any

import keras_tuner


class _InMemory:
    """An oracle without files."""

    def save(self) -> None:
        """The journal is what is kept."""

    def _save_trial(self, trial: Any) -> None:
        pass


class Grid(_InMemory, keras_tuner.oracles.GridSearchOracle):
    """Every combination, in the order in which they are listed, whatever has finished by then.

    KerasTuner's waits for trials that run, since they could enlarge the space; here the space is known beforehand.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The combination after the one that was asked for last."""
        answer: dict[str, Any] = super().populate_space(trial_id)
        if answer["status"] == "RUNNING":
            self._populate_next.append(trial_id)
        return answer


class Random(_InMemory, keras_tuner.oracles.RandomSearchOracle):
    """Settings drawn at random, none twice."""


class Bayesian(_InMemory, keras_tuner.oracles.BayesianOptimizationOracle):
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


class Hyperband(_InMemory, keras_tuner.oracles.HyperbandOracle):
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
