"""The choices of a model of anyone's own table."""

import dataclasses

from lstm_ae.config.base import BIDIRECTIONAL, Config
from lstm_ae.config.options import option, redefault
from lstm_ae.config.reading import Reading
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.errors import ConfigError

# Options that some tasks alone know.
FINDING = (("task", ("anomaly",)),)
GIVING_BACK = (("task", ("anomaly", "reconstruct")),)
FORECAST = (("task", ("forecast",)),)
CLASSIFY = (("task", ("classify",)),)
DECODING = (("task", ("anomaly", "reconstruct", "forecast")),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series(Reading, Config):
    """Anyone's own table: its anomalies, its windows from a code, what follows them, or their class."""

    task: str = option(
        "anomaly",
        "What the model is for: to find anomalies, to give windows back (reconstruct), to say what follows them "
        "(forecast), or to name their class (classify; needs --label-col).",
        choices=("anomaly", "reconstruct", "forecast", "classify"),
        tunable=False,
    )
    code: int | None = option(
        None,
        "Numbers that a window is given back from (default: 16, but no more than a third of the window's numbers).",
        minimum=1,
        maximum=4096,
        needs=GIVING_BACK,
    )
    threshold: str | None = option(
        None,
        "From which score on a step is an anomaly: quantile:Q, pot:P, budget:N/hour|day|week|month|year (so many "
        "false alarms a series, on average), or fixed:X (default: budget:1/month; budget:1/year where a month holds "
        "few rows or windows, and pot:1e-3 where a year does or rows have no even step of the calendar).",
        tunable=False,
        needs=FINDING,
    )
    smooth: int | None = option(
        None,
        "Rows that a score is the mean of; 1 takes every row for itself (default: an eighth of the window).",
        minimum=1,
        maximum=100_000,
        tunable=False,
        needs=FINDING,
    )
    season: int | None = option(
        None,
        "Steps after which values repeat, at most a window's, for the baseline of forecasts (default: as found in the "
        "training rows, where it helps on the validation part, column by column).",
        minimum=2,
        maximum=100_000,
        tunable=False,
        needs=FORECAST,
    )
    classes: tuple[str, ...] = option(
        (),
        "Classes to tell apart, separated by commas; rows of any other count as unlabelled (default: all that "
        "--label-col holds).",
        tunable=False,
        needs=CLASSIFY,
    )
    horizon: int | None = redefault(Reading, "horizon", None, needs=FORECAST)
    normal: tuple[str, ...] = redefault(Reading, "normal", (), needs=GIVING_BACK)
    decoder_units: int | None = redefault(Config, "decoder_units", None, needs=DECODING)
    bidirectional: bool = BIDIRECTIONAL
    units: int = redefault(Config, "units", 32)
    # What is trained holds a number, see `lstm_ae.studies.series.defaults`.
    batch_size: int | None = redefault(  # type: ignore[assignment]
        Config,
        "batch_size",
        None,
        help="Samples in a training step (default: 128, and of few windows so many less that an epoch has 40 steps, "
        "though not below 8).",
    )
    epochs: int = redefault(Config, "epochs", 30)
    steps_per_epoch: int | None = option(
        None,
        "Training steps in an epoch, which draws its windows anew (default: all windows; of a large table as many as "
        "hold 4 million rows together).",
        minimum=1,
        maximum=10_000_000,
    )
    learning_rate: float = redefault(Config, "learning_rate", 0.005)
    schedule: str = redefault(Config, "schedule", "cosine")

    @property
    def forecasts(self) -> bool:
        """Whether a sample holds steps to forecast behind its window."""
        return self.task == "forecast"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None:
            parse_threshold(self.threshold)
        if self.task == "classify" and self.label_col is None:
            raise ConfigError("--task classify needs --label-col, the column of the classes. Add it")
        if self.task == "classify" and self.scale == "series":
            # Whole series may be divided, and a new one has no class without a scale.
            raise ConfigError(
                "--scale series is not for --task classify, which names the class of series that training did not "
                "hold. Leave it out, or give --scale window"
            )
        if len(self.classes) == 1 or len(set(self.classes)) < len(self.classes):
            raise ConfigError(
                f"--classes must name at least two classes, each once. Received: {','.join(self.classes)[:60]}"
            )
