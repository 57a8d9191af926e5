"""Plan of a search: the options, the method, and the objective."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

from lstm_ae.config import TASKS, Config, Mnist, Snp
from lstm_ae.config.options import flag_name
from lstm_ae.config.space import Axis
from lstm_ae.errors import Code, ConfigError
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.search.trial import Objective
from lstm_ae.startup import cores

SEARCHES = ("grid", "random", "bayesian")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """Everything that determines the trials of a search and their results.

    Args:
        config: values of the options that are not searched.
        axes: the searched options.
        search: grid, random, or bayesian (KerasTuner's).
        trials: largest number of trials; None for all settings.
        repeats: trainings of each setting, with consecutive seeds.
        objective: the objective of the search.

    Raises:
        ConfigError: the settings contradict each other.
    """

    config: Config
    axes: tuple[Axis, ...]
    search: str = "grid"
    trials: int | None = None
    repeats: int = 1
    objective: Objective

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise ConfigError(f"--search must be one of {', '.join(SEARCHES)}. Received: {self.search!r}")
        require_single_network(self.config)
        ranges = [flag_name(axis.name) for axis in self.axes if not axis.values]
        problem = ""
        if not self.axes:
            problem = "There is nothing to search. List several values of an option, as in --units 8,16."
        elif self.search == "grid" and ranges:
            problem = (
                f"{ranges[0]} is a range, and --search grid requires listed values. List them or pass --search random."
            )
        if problem:
            raise ConfigError(problem, code=Code.SEARCH_SPACE)

    @property
    def settings(self) -> float:
        """The number of different settings, infinite if a range contains all numbers."""
        return math.prod(axis.size for axis in self.axes)

    @property
    def size(self) -> int | None:
        """The largest number of trials; None if it is not known in advance."""
        size = min(self.settings, self.trials or math.inf)
        return None if size == math.inf else int(size)

    def to_dict(self) -> JsonObject:
        """Return the plan as JSON types."""
        fields = {name: getattr(self, name) for name in ("search", "trials", "repeats")}
        axes = [axis.to_dict() for axis in self.axes]
        return {"config": self.config.to_dict(), "axes": axes, "objective": self.objective.name, **fields}

    @classmethod
    def from_dict(cls, task: str, content: JsonMapping) -> "SearchPlan":
        """Create a plan of a study from the content that `to_dict` returns."""
        fields = {
            "config": TASKS[task].from_dict(content["config"]),
            "axes": tuple(Axis.from_dict(axis) for axis in content["axes"]),
            "objective": Objective(content["objective"]),
        }
        return cls(**{**content, **fields})


def require_single_network(config: Config) -> None:
    """Raise `ConfigError` if several networks would be trained for each setting that is compared."""
    if (count := config.networks) > 1:
        raise ConfigError(
            f"--seeds {count} is not supported here: each setting is tried with one network. Omit it, and train "
            "the best setting with --seeds",
            code=Code.OPTION_NOT_APPLICABLE,
        )


def choose_objective(config: Config, axes: Iterable[Axis] = ()) -> Objective:
    """Return the objective of a search: the accuracy of digits if it is trained, otherwise the loss."""
    # The losses of digits with different weights are not comparable.
    searched = any(axis.name == "reconstruction_weight" for axis in axes)
    labeled = isinstance(config, Mnist) and (searched or config.reconstruction_weight < 1)
    return Objective("val_label_accuracy" if labeled else "val_loss")


def describe_unaligned_days(config: Config, axes: Sequence[Axis]) -> str:
    """Return a note that the losses of the searched windows cover different days; "" if they cover the same days."""
    if all(axis.name != "window" for axis in axes) or not isinstance(config, Snp) or config.split != "time":
        return ""
    return (
        "Ranks are not comparable across window sizes: windows of different lengths are validated on different days, "
        "so their losses differ by a few percent whatever the model"
    )


# A training with at most this number of hidden units does not make good use of more than one core.
SMALL_UNITS = 64


def runs_in_turn(plan: SearchPlan) -> bool:
    """Return whether trials depend on the results of earlier ones.

    Such a search is reproducible only if its trials run one after another.
    """
    return plan.search == "bayesian"


def default_jobs(plan: SearchPlan) -> int:
    """Return the default number of trials that run at once: one per core for small models, and one on a GPU."""
    import tensorflow as tf

    if runs_in_turn(plan) or tf.config.list_physical_devices("GPU"):
        return 1
    widths = [axis.values or (axis.low, axis.high) for axis in plan.axes if axis.name == "units"]
    widest = max((max(values) for values in widths), default=plan.config.units)
    return max(1, min(cores(), plan.size or 1)) if widest <= SMALL_UNITS else 1
