"""Parse rules for thresholds: `quantile:0.995`, `pot:1e-3`, `budget:2/week`, or `fixed:0.4`."""

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from lstm_ae.errors import Code, ConfigError

if TYPE_CHECKING:
    import numpy as np


FORMS = "quantile:Q, pot:P, budget:N/hour|day|week|month|year, or fixed:X"

# End of a rule whose threshold is also not below the usual highest scores of windows.
AT_MOST = ":at-most"

# Seconds.
UNITS = {
    "hour": 3600,
    "day": 86_400,
    "week": 7 * 86_400,
    "month": 2_629_746,  # a twelfth of the year
    "year": 31_556_952,  # the Gregorian calendar's mean
}

_WORD = re.compile(
    r"(quantile|fixed):(\S+)|(?:(pot):([^:\s]+)|(budget):([^/\s]+)/(hour|day|week|month|year))(:at-most)?"
)


class Rule(NamedTuple):
    """Rule for a threshold.

    Args:
        kind: `quantile`, `pot`, `budget`, or `fixed`.
        number: the quantile, probability, number of alarms, or score.
        unit: period of a budget, one of `UNITS`; "" for other rules.
        at_most: whether the threshold is also not below the limit of the usual highest scores of windows, so that fewer
            normal rows may be above it; for `pot` and `budget`.
    """

    kind: str
    number: float
    unit: str = ""
    at_most: bool = False

    def divide(self, count: int) -> "Rule":
        """Return the rule for each of several series that share a budget; other rules do not depend on their number.

        >>> str(parse_threshold("budget:2/week").divide(4))
        'budget:0.5/week'
        """
        return self._replace(number=self.number / count) if self.kind == "budget" else self

    def __str__(self) -> str:
        return (
            f"{self.kind}:{self.number:.15g}"
            + (f"/{self.unit}" if self.unit else "")
            + (AT_MOST if self.at_most else "")
        )


def parse_threshold(text: str) -> Rule:
    """Parse a rule such as `quantile:0.995`, `budget:2/week`, or `budget:2/week:at-most`.

    Raises:
        ConfigError: if the text has none of the forms, or its number is out of range.

    >>> parse_threshold("budget:2/week")
    Rule(kind='budget', number=2.0, unit='week', at_most=False)
    """
    # Text in the Python interface may be anything.
    match = isinstance(text, str) and _WORD.fullmatch(text.strip().lower())
    if not match:
        raise ConfigError(f"--threshold must be {FORMS}. Received: {text!r}")
    kind, word, unit = match[1] or match[3] or match[5], match[2] or match[4] or match[6], match[7] or ""
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
    is_allowed, words = allowed[kind]
    if not is_allowed:
        raise ConfigError(f"--threshold {kind}: needs {words}. Received: {text!r}", code=Code.MISSING_OPTION)
    return Rule(kind, number, unit, at_most=bool(match[8]))


def rows_of_unit(unit: str, step: "np.timedelta64 | None") -> float:
    """Return the number of rows per unit of time.

    Args:
        unit: one of `UNITS`.
        step: sampling interval; None if it is not constant.

    Raises:
        ConfigError: if the sampling interval is unknown, not constant, or longer than the unit.
    """
    import numpy as np

    if step is None or not step > np.timedelta64(0, "ns"):
        raise ConfigError(
            "--threshold budget needs a constant sampling interval. Use quantile, pot, or fixed instead",
            code=Code.MISSING_OPTION,
        )
    rows = float(np.timedelta64(UNITS[unit], "s") / step)
    if rows < 1:
        raise ConfigError(f"--threshold budget: the sampling interval exceeds one {unit}. Use a longer period")
    return rows
