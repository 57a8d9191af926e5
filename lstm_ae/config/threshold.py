"""How a threshold is asked for: `quantile:0.995`, `pot:1e-3`, `budget:2/week`, `fixed:0.4`; see `thresholds`."""

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from lstm_ae.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np


FORMS = "quantile:Q, pot:P, budget:N/hour|day|week|month|year or fixed:X"

# Seconds.
UNITS = {
    "hour": 3600,
    "day": 86_400,
    "week": 7 * 86_400,
    "month": 2_629_746,  # a twelfth of the year
    "year": 31_556_952,  # the Gregorian calendar's mean
}

_WORD = re.compile(r"(quantile|pot|fixed):(\S+)|(budget):([^/\s]+)/(hour|day|week|month|year)")


class Rule(NamedTuple):
    """What was asked for: `quantile`, `pot`, `budget` or `fixed`, its number, and the time of a budget."""

    kind: str
    number: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.number:.15g}" + (f"/{self.unit}" if self.unit else "")


def parse_threshold(text: str) -> Rule:
    """The rule that a text such as `quantile:0.995` or `budget:2/week` asks for.

    Raises:
        ConfigError: it has none of the forms, or its number is out of its range.
    """
    found = _WORD.fullmatch(text.strip().lower())
    if not found:
        raise ConfigError(f"--threshold must be {FORMS}. Received: {text!r}")
    kind, word, unit = found[1] or found[3], found[2] or found[4], found[5] or ""
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    allowed = {
        "quantile": (0 < number < 1, "a number above 0 and below 1"),
        "pot": (0 < number <= 0.1, "a probability above 0 and at most 0.1"),
        "budget": (0 < number < math.inf, "a number of alarms above 0"),
        "fixed": (0 <= number < math.inf, "a score, 0 or more"),
    }
    inside, words = allowed[kind]
    if not inside:
        raise ConfigError(f"--threshold {kind}: needs {words}. Received: {text!r}")
    return Rule(kind, number, unit)


def rows_of_unit(unit: str, step: "np.timedelta64 | None") -> float:
    """Rows in that time, `step` from row to row; raises `ConfigError` where that is not known or longer."""
    import numpy as np

    if step is None or not step > np.timedelta64(0, "ns"):
        raise ConfigError("--threshold budget needs rows at times of an even step. Give quantile, pot or fixed instead")
    rows = float(np.timedelta64(UNITS[unit], "s") / step)
    if rows < 1:
        raise ConfigError(f"--threshold budget: a row takes longer than one {unit}. Give a longer time")
    return rows
