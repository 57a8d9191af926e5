"""What a search is asked to do."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lstm_ae.config import TASKS, Config, Mnist, Series, Snp, task_of
from lstm_ae.config.options import flag_name
from lstm_ae.config.space import Axis
from lstm_ae.errors import ConfigError
from lstm_ae.search.trial import Objective

SEARCHES = ("grid", "random", "bayesian", "hyperband")
# What a study's search can go by, its usual one first; see `study_objectives`.
OBJECTIVES = {
    "toy": (Objective("val_loss"),),
    "mnist": (
        Objective("val_label_accuracy", higher_is_better=True),
        Objective("val_loss"),
        Objective("val_label_loss"),
        Objective("val_reconstruction_loss"),
    ),
    "snp": (Objective("val_loss"),),
    "series": (Objective("val_loss"), Objective("val_label_accuracy", higher_is_better=True)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """Everything that decides which settings a search tries and what comes of each.

    Args:
        config: what is not searched.
        axes: what is.
        search: grid, random, bayesian or hyperband (KerasTuner's).
        trials: settings to try at most; None for the whole grid, or what Hyperband comes to.
        repeats: trainings of each setting, with one seed after the other.
        objective: what the search goes by.
        prune: stop trainings that do worse than the median of those before them, at the same epoch.
    """

    config: Config
    axes: tuple[Axis, ...]
    search: str = "grid"
    trials: int | None = None
    repeats: int = 1
    objective: Objective
    prune: bool = False

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise ConfigError(f"--search must be one of {', '.join(SEARCHES)}. Received: {self.search!r}")
        if not self.axes:
            raise ConfigError("There is nothing to search: list values of an option, as in --units 8,16")
        ranges = [flag_name(axis.name) for axis in self.axes if not axis.values]
        if self.search == "grid" and ranges:
            raise ConfigError(
                f"{ranges[0]} is a range, which a grid cannot walk through; list its values, or choose --search random"
            )
        if self.search == "hyperband":
            if self.prune:
                raise ConfigError(
                    "--prune is not for --search hyperband, which stops hopeless trainings itself; leave it out"
                )
            if any(axis.name == "epochs" for axis in self.axes):
                raise ConfigError(
                    "--epochs cannot be searched by hyperband, which gives out epochs by itself; give one number"
                )
            if self.config.epochs < 3:
                raise ConfigError(
                    "--search hyperband starts with a third of the epochs, so it needs at least 3. "
                    f"Received: --epochs {self.config.epochs}"
                )

    @property
    def size(self) -> int | None:
        """How many settings it will try at most, where that is known in advance."""
        if self.search == "hyperband":
            return None
        # A process may well ask for a setting twice.
        if self.search == "bayesian" or not all(axis.values for axis in self.axes):
            return self.trials
        size = math.prod(len(axis.values) for axis in self.axes)
        return min(size, self.trials or size)

    def to_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "task": task_of(self.config),
            "config": self.config.to_dict(),
            "axes": [axis.to_dict() for axis in self.axes],
            "search": self.search,
            "trials": self.trials,
            "repeats": self.repeats,
            "objective": self.objective._asdict(),
            "prune": self.prune,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "SearchPlan":
        """Back from JSON."""
        others = {key: content[key] for key in ("search", "trials", "repeats", "prune")}
        return cls(
            config=TASKS[content["task"]].merge(content["config"], {}),
            axes=tuple(Axis.from_dict(axis) for axis in content["axes"]),
            objective=Objective(**content["objective"]),
            **others,
        )


def study_objectives(config: Config, axes: Iterable[Axis] = ()) -> tuple[Objective, ...]:
    """What a search of a study can go by, the usual one first: only what its models are trained for.

    Args:
        axes: what is searched, and so is no choice of the config.
    """
    untrained = ""
    if isinstance(config, Series) and config.task != "classify":
        untrained = "label"
    elif isinstance(config, Mnist) and all(axis.name != "reconstruction_weight" for axis in axes):
        untrained = {1.0: "label", 0.0: "reconstruction"}.get(config.reconstruction_weight, "")
    found = OBJECTIVES[task_of(config)]
    return tuple(objective for objective in found if not untrained or untrained not in objective.name)


def choose_objective(config: Config, name: str | None, axes: Iterable[Axis] = ()) -> Objective:
    """A study's objective of this name, or its usual one; `axes` as of `study_objectives`."""
    allowed = study_objectives(config, axes)
    for objective in allowed:
        if name in (None, objective.name):
            return objective
    study = task_of(config)
    if isinstance(config, Series):
        study += f" --task {config.task}"
    elif isinstance(config, Mnist) and len(allowed) < len(OBJECTIVES["mnist"]):
        study += f" --reconstruction-weight {config.reconstruction_weight:g}"
    names = ", ".join(objective.name for objective in allowed)
    raise ConfigError(f"--objective of {study} must be one of {names}. Received: {name!r}")


def require_comparable_trials(plan: SearchPlan) -> None:
    """Raise `ConfigError` where the trials of a plan could not be set beside each other.

    Only for a search that begins: what an older one has found can still be looked at.
    """
    searched = {axis.name: str(axis) for axis in plan.axes}
    if plan.prune and "epochs" in searched:
        raise ConfigError(
            "--prune compares trainings after the same epoch, which is early in one and late in another where --epochs "
            f"is searched. Leave --prune out, or give one number. Received: --epochs {searched['epochs']}"
        )
    name = plan.objective.name
    if name == "val_loss" and "reconstruction_weight" in searched:
        others = " or ".join(o.name for o in study_objectives(plan.config) if o.name != name)
        raise ConfigError(
            "--objective val_loss is weighted by --reconstruction-weight, so it says nothing where that is searched. "
            f"Give --objective {others}. Received: --reconstruction-weight {searched['reconstruction_weight']}"
        )


def align_days(config: Config, axes: Sequence[Axis]) -> Config:
    """The config with which forecasts of the day after windows of all searched lengths are judged on the same days.

    A window lies within its part, so that longer ones leave out its first days, which may be calm or wild.
    """
    longest = _longest(axes)
    if not longest or not isinstance(config, Snp) or config.validate_after or config.split != "time":
        return config
    return dataclasses.replace(config, validate_after=longest) if config.last_day_only else config


def describe_unaligned_days(config: Config, axes: Sequence[Axis]) -> str:
    """That losses of searched windows are not of the same days, in words; "" where they are."""
    if not _longest(axes) or not isinstance(config, Snp) or config.split != "time" or config.last_day_only:
        return ""
    return (
        "losses over all days of longer and shorter windows are not of the same days, so that they differ by some per "
        "cent whatever the model. --last-day-only judges all lengths of --window on the same days"
    )


def _longest(axes: Sequence[Axis]) -> int | None:
    """The longest window that is searched; None where --window is not."""
    return next((int(max(axis.values, default=axis.high)) for axis in axes if axis.name == "window"), None)


def plan_difference(before: SearchPlan, now: SearchPlan) -> str:
    """The first thing in which two plans differ, in words; "" where they agree. More trials are no difference."""
    old, new = ({axis.name: axis for axis in plan.axes} for plan in (before, now))
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            was, wanted = (str(axes[name]) if name in axes else "not searched" for axes in (old, new))
            return f"{flag_name(name)} was {was}, and now it is {wanted}"
    if list(old) != list(new):
        return f"the options were searched in the order {', '.join(old)}, and now it is {', '.join(new)}"
    one, other = before.config.to_dict(), now.config.to_dict()
    for name, value in one.items():
        if value != other[name] and name not in ("data", *old):
            return f"{flag_name(name)} was {value}, and now it is {other[name]}"
    for name in ("search", "repeats", "prune"):
        if getattr(before, name) != getattr(now, name):
            return f"{flag_name(name)} was {getattr(before, name)}, and now it is {getattr(now, name)}"
    if before.objective != now.objective:
        return f"--objective was {before.objective.name}, and now it is {now.objective.name}"
    return ""
