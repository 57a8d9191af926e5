"""What a search is asked to do."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lstm_ae.config import TASKS, Config, task_of
from lstm_ae.errors import ConfigError
from lstm_ae.options import flag
from lstm_ae.search.trials import Objective
from lstm_ae.space import Axis

SEARCHES = ("grid", "random", "bayesian", "hyperband")
# What a study's search can go by, its usual one first.
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
class Plan:
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
        ranges = [flag(axis.name) for axis in self.axes if not axis.values]
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
        """How many settings it will try, where that is known in advance."""
        if self.search == "hyperband":
            return None
        if self.search == "grid":
            size = 1
            for axis in self.axes:
                size *= len(axis.values)
            return min(size, self.trials or size)
        return self.trials

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
    def from_dict(cls, content: Mapping[str, Any]) -> "Plan":
        """Back from JSON."""
        others = {key: content[key] for key in ("search", "trials", "repeats", "prune")}
        return cls(
            config=TASKS[content["task"]].from_dict(content["config"]),
            axes=tuple(Axis.from_dict(axis) for axis in content["axes"]),
            objective=Objective(**content["objective"]),
            **others,
        )


def objective_of(task: str, name: str | None) -> Objective:
    """A study's objective of this name, or its usual one."""
    for objective in OBJECTIVES[task]:
        if name in (None, objective.name):
            return objective
    names = ", ".join(objective.name for objective in OBJECTIVES[task])
    raise ConfigError(f"--objective of {task} must be one of {names}. Received: {name!r}")


def difference(before: Plan, now: Plan) -> str:
    """The first thing in which two plans differ, in words; "" where they agree. More trials are no difference."""
    old, new = ({axis.name: axis for axis in plan.axes} for plan in (before, now))
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            was, wanted = (str(axes[name]) if name in axes else "not searched" for axes in (old, new))
            return f"{flag(name)} was {was}, and now it is {wanted}"
    if list(old) != list(new):
        return f"the options were searched in the order {', '.join(old)}, and now it is {', '.join(new)}"
    one, other = before.config.to_dict(), now.config.to_dict()
    for name, value in one.items():
        if value != other[name] and name not in ("data", *old):
            return f"{flag(name)} was {value}, and now it is {other[name]}"
    for name in ("search", "repeats", "prune"):
        if getattr(before, name) != getattr(now, name):
            return f"{flag(name)} was {getattr(before, name)}, and now it is {getattr(now, name)}"
    if before.objective != now.objective:
        return f"--objective was {before.objective.name}, and now it is {now.objective.name}"
    return ""
