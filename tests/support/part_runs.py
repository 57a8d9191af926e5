"""Parts of forecasters whose models are functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

from lstm_ae.config import Series
from lstm_ae.data.scaling import SeriesScales, fixed_scale

WINDOW = 3
SCALES = SeriesScales(fixed_scale())


class FunctionRollout(NamedTuple):
    """Rollout of a function that reads the known covariates of the horizon only."""

    forecast: Callable[..., Any]

    def __call__(self, past: Any, lines: Any, steps: int, *, known: Any = None, size: int | None = None) -> Any:
        return self.forecast(past, lines, steps, known=known, size=size)

    def read_steps(self, steps: int) -> int:
        return steps


def config_of(**options: Any) -> Series:
    fixed = {"window": WINDOW, "freq": "1min", "max_gap": 2, "value_cols": ("value 0",), "time_col": "time"}
    return Series(**fixed | options)
