"""Plan of a search: what to search, how, and by which objective."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

from lstm_ae.config import DATA_PATHS, TASKS, Config, Mnist, Series, Snp, task_of
from lstm_ae.config.options import flag_name
from lstm_ae.config.space import Axis
from lstm_ae.errors import Code, ConfigError
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.search.trial import Objective
from lstm_ae.startup import cores

SEARCHES = ("grid", "random", "bayesian", "hyperband")
# The objectives of each study, the default first; see `study_objectives`.
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
    """Everything that determines the trials of a search and their results.

    Args:
        config: values of the options that are not searched.
        axes: the searched options.
        search: grid, random, bayesian, or hyperband (KerasTuner's).
        trials: largest number of trials; None for the whole grid or all trials of Hyperband.
        repeats: trainings of each setting, with consecutive seeds.
        objective: the objective of the search.
        prune: whether to stop trainings that are worse than the median of earlier ones at the same epoch.

    Raises:
        ConfigError: the settings contradict each other.
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
            raise ConfigError(
                "There is nothing to search. List several values of an option, as in --units 8,16.",
                code=Code.SEARCH_SPACE,
            )
        require_single_network(self.config)
        ranges = [flag_name(axis.name) for axis in self.axes if not axis.values]
        if self.search == "grid" and ranges:
            raise ConfigError(
                f"{ranges[0]} is a range, and --search grid requires listed values. List them or pass --search random.",
                code=Code.SEARCH_SPACE,
            )
        if self.search == "hyperband":
            if self.prune:
                raise ConfigError(
                    "--prune cannot be combined with --search hyperband, which stops trainings itself. Remove --prune.",
                    code=Code.CONFLICTING_OPTIONS,
                )
            if any(axis.name == "epochs" for axis in self.axes):
                raise ConfigError(
                    "--epochs cannot be searched with --search hyperband, which allocates the epochs. Pass one number.",
                    code=Code.SEARCH_SPACE,
                )
            if self.config.epochs < 3:
                raise ConfigError(
                    "--search hyperband needs at least 3 epochs, because it starts with a third of them. "
                    f"Received: --epochs {self.config.epochs}",
                    code=Code.SEARCH_SPACE,
                )

    @property
    def size(self) -> int | None:
        """The largest number of trials; None if it is not known in advance."""
        if self.search == "hyperband":
            return None
        # Bayesian search can propose a setting twice, so the size of the grid is no limit.
        if self.search == "bayesian" or not all(axis.values for axis in self.axes):
            return self.trials
        size = math.prod(len(axis.values) for axis in self.axes)
        return min(size, self.trials or size)

    def to_dict(self) -> JsonObject:
        """Return the plan as JSON types."""
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
    def from_dict(cls, content: JsonMapping) -> "SearchPlan":
        """Create a plan from the content that `to_dict` returns."""
        others = {key: content[key] for key in ("search", "trials", "repeats", "prune")}
        return cls(
            config=TASKS[content["task"]].merge(content["config"], {}),
            axes=tuple(Axis.from_dict(axis) for axis in content["axes"]),
            objective=Objective(**content["objective"]),
            **others,
        )


def require_single_network(config: Config) -> None:
    """Raise `ConfigError` if several networks would be trained for each setting that is compared."""
    if (count := config.networks) > 1:
        raise ConfigError(
            f"--seeds {count} is not supported here: each setting is tried with one network. Leave it out, and train "
            "the best setting with --seeds",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    require_no_refit(config)


def require_no_refit(config: Config) -> None:
    """Raise `ConfigError` if models that are compared would be trained on the data that compares or calibrates them."""
    if getattr(config, "refit", False):
        raise ConfigError(
            "refit in the config is not supported here, where the validation split compares or calibrates the models. "
            "Remove it",
            code=Code.OPTION_NOT_APPLICABLE,
        )


def study_objectives(config: Config, axes: Iterable[Axis] = ()) -> tuple[Objective, ...]:
    """Return the objectives that a study's models are trained for, the default first.

    Args:
        config: the config of the study.
        axes: the searched options, whose values in the config do not count.
    """
    untrained = ""
    if isinstance(config, Series) and config.task != "classify":
        untrained = "label"
    elif isinstance(config, Mnist) and all(axis.name != "reconstruction_weight" for axis in axes):
        untrained = {1.0: "label", 0.0: "reconstruction"}.get(config.reconstruction_weight, "")
    objectives = OBJECTIVES[task_of(config)]
    return tuple(objective for objective in objectives if not untrained or untrained not in objective.name)


def choose_objective(config: Config, name: str | None, axes: Iterable[Axis] = ()) -> Objective:
    """Return a study's objective by name.

    Args:
        config: the config of the study.
        name: the objective; None for the default.
        axes: the searched options.

    Raises:
        ConfigError: the study's models are not trained for this objective.
    """
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
    """Check that the trials of a new search are comparable.

    Raises:
        ConfigError: the objectives of the trials are not comparable.
    """
    searched = {axis.name: str(axis) for axis in plan.axes}
    if plan.prune and "epochs" in searched:
        raise ConfigError(
            "--prune compares trainings at the same epoch, which is not comparable if --epochs is searched. "
            f"Remove --prune or pass one number of epochs. Received: --epochs {searched['epochs']}",
            code=Code.CONFLICTING_OPTIONS,
        )
    name = plan.objective.name
    if name == "val_loss" and "reconstruction_weight" in searched:
        others = " or ".join(o.name for o in study_objectives(plan.config) if o.name != name)
        raise ConfigError(
            "--objective val_loss depends on --reconstruction-weight and is not comparable if that is searched. "
            f"Pass --objective {others}. Received: --reconstruction-weight {searched['reconstruction_weight']}",
            code=Code.CONFLICTING_OPTIONS,
        )


def describe_unaligned_days(config: Config, axes: Sequence[Axis]) -> str:
    """Return a note that the losses of the searched windows cover different days; "" if they cover the same days."""
    if all(axis.name != "window" for axis in axes) or not isinstance(config, Snp) or config.split != "time":
        return ""
    return (
        "Ranks are not comparable across window sizes: windows of different lengths are validated on different days, "
        "so their losses differ by a few percent whatever the model"
    )


def plan_difference(before: SearchPlan, now: SearchPlan) -> str:
    """Describe the first difference of two plans except the number of trials; "" if there is none."""
    old, new = ({axis.name: axis for axis in plan.axes} for plan in (before, now))
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            before_text, now_text = (str(axes[name]) if name in axes else "not searched" for axes in (old, new))
            return f"{flag_name(name)} was {before_text} and is now {now_text}"
    if list(old) != list(new):
        return f"the order of the options was {', '.join(old)} and is now {', '.join(new)}"
    one, other = before.config.to_dict(), now.config.to_dict()
    for name, value in one.items():
        if value != other[name] and name not in (*DATA_PATHS, *old):
            return f"{flag_name(name)} was {value} and is now {other[name]}"
    for name in ("search", "repeats", "prune"):
        if getattr(before, name) != getattr(now, name):
            return f"{flag_name(name)} was {getattr(before, name)} and is now {getattr(now, name)}"
    if before.objective != now.objective:
        return f"--objective was {before.objective.name} and is now {now.objective.name}"
    return ""


# A training with at most this number of hidden units does not make good use of more than one core.
SMALL_UNITS = 64


def runs_in_turn(plan: SearchPlan) -> bool:
    """Return whether trials depend on the results of earlier ones.

    Such a search is reproducible only if its trials run one after another.
    """
    return plan.prune or plan.search in ("bayesian", "hyperband")


def default_jobs(plan: SearchPlan) -> int:
    """Return the default number of trials that run at once: one per core for small models, and one on a GPU."""
    import tensorflow as tf

    if runs_in_turn(plan) or tf.config.list_physical_devices("GPU"):
        return 1
    widths = [axis.values or (axis.low, axis.high) for axis in plan.axes if axis.name == "units"]
    widest = max((max(values) for values in widths), default=plan.config.units)
    return max(1, min(cores(), plan.size or 1)) if widest <= SMALL_UNITS else 1
