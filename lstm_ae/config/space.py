"""What a search varies: lists and ranges, as they are typed and as KerasTuner asks for them."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from lstm_ae.config import Config
from lstm_ae.config.options import Declared, check_value, flag_name
from lstm_ae.errors import ConfigError

Kind = TypeVar("Kind", bound=Config)


class Axis(NamedTuple):
    """One option that is searched: either its `values` or a range.

    Args:
        name: the field of the config.
        values: what is listed, in its order; empty for a range.
        low, high: the ends of a range, both included.
        log: whether a range is walked in logarithms.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False

    def ask(self, hp: Any) -> Any:
        """Ask KerasTuner's `HyperParameters` for a value."""
        if self.values:
            return hp.Choice(self.name, list(self.values))
        kind = hp.Int if isinstance(self.low, int) else hp.Float
        return kind(self.name, self.low, self.high, sampling="log" if self.log else "linear")

    def to_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        if self.values:
            return {"name": self.name, "values": list(self.values)}
        return {"name": self.name, "low": self.low, "high": self.high, "log": self.log}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Axis":
        """Back from JSON."""
        return cls(**{**content, "values": tuple(content.get("values", ()))})

    def __str__(self) -> str:
        if self.values:
            return ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in self.values)
        return f"{self.low:g}..{self.high:g}" + (":log" if self.log else "")


def parse_axis(field: Declared, text: str) -> Any:
    """What was typed for a tunable option: a single value, or an `Axis` of a list or a range.

    >>> from lstm_ae.config import Toy
    >>> from lstm_ae.config.options import declared_options
    >>> units = next(field for field in declared_options(Toy) if field.name == "units")
    >>> parse_axis(units, "8"), str(parse_axis(units, "8,16")), str(parse_axis(units, "8..64:log"))
    (8, '8,16', '8..64:log')

    Raises:
        ConfigError: an empty list, a value twice, ends swapped, or a value that breaks the option's rule.
    """
    if field.kind in (int, float) and ".." in text:
        return _range(field, text)
    if "," not in text and text.strip():
        return _one(field, text)
    values = [_one(field, item) for item in text.split(",") if item.strip()]
    if not values:
        raise ConfigError(f"{flag_name(field.name)} has an empty list; give a value, or several separated by commas")
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ConfigError(f"{flag_name(field.name)} lists {value!r} twice; give every value once")
    return Axis(field.name, tuple(values)) if len(values) > 1 else values[0]


def _one(field: Declared, text: str) -> Any:
    """A value, in the option's own type; the option's rule says what is wrong with another."""
    value: Any = text.strip()
    if field.kind in (int, float):
        with contextlib.suppress(ValueError):
            value = field.kind(value)
    return check_value(field, value)


def _range(field: Declared, text: str) -> Axis:
    """`1e-4..1e-1`, with `:log` where it is walked in logarithms."""
    ends, _, scale = text.partition(":")
    low, _, high = ends.partition("..")
    if scale not in ("", "log", "linear"):
        raise ConfigError(f"{flag_name(field.name)} has a range that ends in :{scale}; it can be :log or :linear")
    first, last = _one(field, low), _one(field, high)
    if not first < last:
        what = "has the ends of its range swapped" if first > last else "has a range of a single value"
        better = f"{last:g}..{first:g}" if first > last else f"{first:g}"
        raise ConfigError(f"{flag_name(field.name)} {what}. Received: {text}. Write {better}")
    if scale == "log" and first <= 0:
        raise ConfigError(f"{flag_name(field.name)}: a range in logarithms starts above 0. Received: {text}")
    return Axis(field.name, low=first, high=last, log=scale == "log")


@dataclasses.dataclass(frozen=True)
class Space:
    """A search space: called with KerasTuner's `HyperParameters` and a config, it returns the config to try.

    `Space(axes)` and any function of this form can stand in for each other.
    """

    axes: tuple[Axis, ...]

    def __call__(self, hp: Any, config: Kind) -> Kind:
        """The config with a value for each axis."""
        return config.with_values({axis.name: axis.ask(hp) for axis in self.axes})


# The report's grid, of its toy study, which its other studies use as well.
REPORT = Space(
    (
        Axis("learning_rate", (0.1, 0.01, 0.001)),
        Axis("units", (8, 16, 32)),
        Axis("clip", (1.0, 5.0)),
    )
)


def is_searchable(field: Declared) -> bool:
    """Whether an option can be listed: it decides the model or its training, and has a value to list."""
    return field.option.tunable and field.kind in (int, float, str)


class _Listing:
    """Stands in for KerasTuner's `HyperParameters`, to list what a space asks for."""

    def __init__(self) -> None:
        self.axes: list[Axis] = []

    def Choice(self, name: str, values: list[Any]) -> Any:  # noqa: N802
        self.axes.append(Axis(name, tuple(values)))
        return values[0]

    def Int(self, name: str, low: float, high: float, *, sampling: str = "linear") -> Any:  # noqa: N802
        self.axes.append(Axis(name, low=low, high=high, log=sampling == "log"))
        return low

    Float = Int


def find_axes(space: Callable[[Any, Config], Config], config: Config) -> tuple[Axis, ...]:
    """What a space varies; it may ask for `Choice`, `Int` and `Float`."""
    listing = _Listing()
    space(listing, config)
    return tuple(listing.axes)
