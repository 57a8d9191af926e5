"""The choices of a model of anyone's own table."""

import dataclasses

from lstm_ae.anomaly.rules import parse_threshold
from lstm_ae.config.base import BIDIRECTIONAL, Config
from lstm_ae.config.series import Reading
from lstm_ae.options import option, redefault


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series(Reading, Config):
    """Anyone's own table: given back from a code, and searched for what the code cannot give back."""

    task: str = option(
        "anomaly",
        "What the model is for: to find anomalies, or to give windows back (reconstruct).",
        choices=("anomaly", "reconstruct"),
        tunable=False,
    )
    code: int = option(16, "Numbers that a window is given back from.", minimum=1, maximum=4096)
    threshold: str | None = option(
        None,
        "From which score on a step is an anomaly: quantile:Q, pot:P, budget:N/hour|day|week|month, or fixed:X "
        "(default: budget:1/month, or pot:1e-3 where rows have no even step).",
        tunable=False,
    )
    smooth: int | None = option(
        None,
        "Rows that a score is the mean of; 1 takes every row for itself (default: an eighth of the window).",
        minimum=1,
        maximum=100_000,
        tunable=False,
    )
    bidirectional: bool = BIDIRECTIONAL
    units: int = redefault(Config, "units", 32)
    epochs: int = redefault(Config, "epochs", 30)
    learning_rate: float = redefault(Config, "learning_rate", 0.005)
    schedule: str = redefault(Config, "schedule", "cosine")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None:
            parse_threshold(self.threshold)
