"""Search spaces: lists and ranges of option values, as typed and as KerasTuner hyperparameters."""

import math
from typing import Any, NamedTuple

from lstm_ae.config.options import Declared, flag_name, parse_text
from lstm_ae.errors import Code, ConfigError
from lstm_ae.json_types import JsonMapping, JsonObject


class Axis(NamedTuple):
    """Option to search: a list of values or a range.

    Args:
        name: field of the config.
        values: values in their order; empty for a range.
        low: lower end of a range, inclusive.
        high: upper end of a range, inclusive.
        log: whether a range is sampled logarithmically.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False

    @property
    def size(self) -> float:
        """Number of values; infinite for a range of real numbers."""
        if self.values:
            return len(self.values)
        return self.high - self.low + 1 if isinstance(self.low, int) else math.inf

    def sample(self, hp: Any) -> Any:
        """Return a value from KerasTuner's `HyperParameters`."""
        if self.values:
            return hp.Choice(self.name, list(self.values))
        kind = hp.Int if isinstance(self.low, int) else hp.Float
        return kind(self.name, self.low, self.high, sampling="log" if self.log else "linear")

    def to_dict(self) -> JsonObject:
        """Return the axis in JSON types."""
        if self.values:
            return {"name": self.name, "values": list(self.values)}
        return {"name": self.name, "low": self.low, "high": self.high, "log": self.log}

    @classmethod
    def from_dict(cls, content: JsonMapping) -> "Axis":
        """Return the axis from the result of `to_dict`."""
        return cls(**{**content, "values": tuple(content.get("values", ()))})

    def __str__(self) -> str:
        if self.values:
            return ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in self.values)
        return f"{self.low:g}..{self.high:g}" + (":log" if self.log else "")


def parse_axis(field: Declared, text: str) -> Any:
    """Parse the text of a tunable option into a single value or an `Axis`.

    Raises:
        ConfigError: if a list is empty or repeats a value, the ends of a range are swapped, or a value is not allowed.

    >>> from lstm_ae.config import Toy
    >>> from lstm_ae.config.options import declared_options
    >>> units = next(field for field in declared_options(Toy) if field.name == "units")
    >>> parse_axis(units, "8"), str(parse_axis(units, "8,16")), str(parse_axis(units, "8..64:log"))
    (8, '8,16', '8..64:log')
    """
    if field.kind in (int, float) and ".." in text:
        return _range(field, text)
    if "," not in text and text.strip():
        return parse_text(field, text)
    values = [parse_text(field, item) for item in text.split(",") if item.strip()]
    if not values:
        raise ConfigError(
            f"{flag_name(field.name)} needs a value, or several separated by commas. Received: {text!r}",
            code=Code.SEARCH_SPACE,
        )
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ConfigError(
                f"{flag_name(field.name)} lists {value!r} twice. List each value once", code=Code.SEARCH_SPACE
            )
    return Axis(field.name, tuple(values)) if len(values) > 1 else values[0]


def _range(field: Declared, text: str) -> Axis:
    """Parse a range such as `1e-4..1e-1` or `1e-4..1e-1:log`."""
    ends, _, scale = text.partition(":")
    low, _, high = ends.partition("..")
    if scale not in ("", "log", "linear"):
        raise ConfigError(
            f"{flag_name(field.name)}: a range must end in :log or :linear, or neither. Received: :{scale}",
            code=Code.SEARCH_SPACE,
        )
    first, last = parse_text(field, low), parse_text(field, high)
    if not first < last:
        problem = "range has swapped ends" if first > last else "range contains a single value"
        better = f"{last:g}..{first:g}" if first > last else f"{first:g}"
        raise ConfigError(f"{flag_name(field.name)}: {problem}. Received: {text}. Use {better}", code=Code.SEARCH_SPACE)
    if scale == "log" and first <= 0:
        raise ConfigError(
            f"{flag_name(field.name)}: a logarithmic range must start above 0. Received: {text}", code=Code.SEARCH_SPACE
        )
    return Axis(field.name, low=first, high=last, log=scale == "log")


# Grid of the report's toy study, also used for the other studies.
REPORT = (
    Axis("learning_rate", (0.1, 0.01, 0.001)),
    Axis("units", (8, 16, 32)),
    Axis("clip", (1.0, 5.0)),
)


def is_searchable(field: Declared) -> bool:
    """Return whether a search can vary an option."""
    return field.option.tunable and field.kind in (int, float, str)
