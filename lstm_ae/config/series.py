"""Options of models for tables."""

import dataclasses
import functools

from lstm_ae.config.base import BIDIRECTIONAL, Config
from lstm_ae.config.options import DATA, MODEL, TASK, TRAINING, option, redefault
from lstm_ae.config.reading import Reading
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.errors import Code, ConfigError

# Views of an anomaly score.
VIEW_NAMES = ("network", "shape", "windows")

# Requirements of options that apply to some tasks only.
DETECTION = (("task", ("anomaly",)),)
RECONSTRUCTION = (("task", ("anomaly", "reconstruct")),)
FORECAST = (("task", ("forecast",)),)
CLASSIFY = (("task", ("classify",)),)
AVERAGED = (("task", ("classify", "forecast")),)
DECODING = (("task", ("anomaly", "reconstruct", "forecast")),)


_task = functools.partial(option, group=TASK, advanced=True, tunable=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series(Reading, Config):
    """Options of models for tables: anomaly detection, reconstruction, forecasting, and classification."""

    task: str = option(
        "anomaly",
        "Task (classify needs --label-col).",
        TASK,
        details="anomaly detects anomalies.",
        choices=("anomaly", "reconstruct", "forecast", "classify"),
        tunable=False,
    )
    test: str | None = option(
        None,
        "Table of the test split (default: a share of DATA).",
        DATA,
        details="It is read with the options, columns, classes, scale, and sampling interval of DATA. The rows of DATA "
        "are then divided between training and validation, in the ratio of --split.",
        advanced=True,
        tunable=False,
    )
    code: int | None = option(
        None,
        "Size of the code (default: 16, or less for short windows).",
        MODEL,
        details="At most a third of the values of a window by default.",
        advanced=True,
        minimum=1,
        maximum=4096,
        needs=RECONSTRUCTION,
    )
    threshold: str | None = option(
        None,
        "Threshold rule, such as budget:1/month (default: from the sampling interval).",
        TASK,
        details="quantile:Q, pot:P, budget:N/hour|day|week|month|year (expected false alarms per series), or fixed:X. "
        "With :at-most after it, the threshold of pot or budget is also not below the usual highest scores. "
        "Default: budget:1/month:at-most; budget:1/year:at-most if a month has few rows or windows; pot:1e-3:at-most "
        "if a year has few, or without a constant sampling interval.",
        tunable=False,
        needs=DETECTION,
    )
    keep_outliers: bool = option(
        False,
        "Fit the threshold to outlying normal rows as well.",
        TASK,
        details="By default, rows of the validation split that are many robust deviations above the rest are left out "
        "and named, since one fault among the normal rows would hide all later ones.",
        advanced=True,
        tunable=False,
        needs=DETECTION,
    )
    views: tuple[str, ...] = _task(
        (),
        "Views of the anomaly score: network, shape, windows (default: automatic).",
        details="network: residuals of the network; required. shape: distance from the most similar shape of a "
        "training window; only ranks rows. windows: Mahalanobis distance of the windows of continuous columns. "
        "Default: all; alarms depend on network and windows.",
        needs=DETECTION,
    )
    season: int | None = _task(
        None,
        "Season of the forecast baseline in steps (default: detected).",
        details="At most the window; also the default horizon and half of the default window. By default, it is "
        "detected per column in the training rows, or a multiple of a day, a week, or a year if that lowers the "
        "validation error.",
        minimum=2,
        maximum=100_000,
        needs=FORECAST,
    )
    classes: tuple[str, ...] = _task(
        (),
        "Classes to learn, separated by commas (default: all).",
        details="Rows of other classes count as unlabeled.",
        needs=CLASSIFY,
    )
    link: str = option(
        "baseline",
        "Start the network at a fitted linear model, or not.",
        MODEL,
        details="The network learns the residuals of the linear model. Reconstruction: as many principal components as "
        "the code has numbers. Detectors of one column: the first three. Classes: the better logistic regression on "
        "validation, on windows or on convolutions of them. Forecasts: the linear regression that is also their "
        "baseline; without it, an untrained network equals persistence.",
        advanced=True,
        choices=("baseline", "none"),
    )
    segment: int = option(
        0,
        "Rows per recurrent step of a forecaster; 0 for one.",
        MODEL,
        details="For long horizons; 24 is a day of hourly rows. All columns share one network, and all segments of the "
        "horizon are forecast at once. At most the window.",
        advanced=True,
        minimum=0,
        maximum=100_000,
        needs=FORECAST,
    )
    seeds: int | None = option(
        None,
        "Networks to average (default: 3 for short trainings, otherwise 1).",
        MODEL,
        details="They have the seeds --seed, --seed + 1, and so on. Each is trained independently, with the same "
        "--link. The average is saved as one model.",
        advanced=True,
        minimum=1,
        maximum=100,
        tunable=False,
        needs=AVERAGED,
    )
    past_cols: tuple[str, ...] = redefault(Reading, "past_cols", (), needs=FORECAST)
    known_future: tuple[str, ...] = redefault(Reading, "known_future", (), needs=FORECAST)
    static_cols: tuple[str, ...] = redefault(Reading, "static_cols", (), needs=FORECAST)
    calendar: tuple[str, ...] = redefault(Reading, "calendar", (), needs=FORECAST)
    horizon: int | None = redefault(Reading, "horizon", None, needs=FORECAST)
    normal: tuple[str, ...] = redefault(Reading, "normal", (), needs=RECONSTRUCTION)
    decoder_units: int | None = redefault(Config, "decoder_units", None, needs=DECODING)
    bidirectional: bool = BIDIRECTIONAL
    units: int = redefault(Config, "units", 32)
    layers: int = redefault(Config, "layers", 1, advanced=True)
    # `lstm_ae.studies.series.defaults` replaces None by a number before training.
    batch_size: int | None = redefault(  # type: ignore[assignment]
        Config,
        "batch_size",
        None,
        help="Samples per training step (default: 128, or fewer for few windows).",
        details="With few windows, as small as 8, for 40 steps per epoch.",
        advanced=True,
    )
    epochs: int = redefault(Config, "epochs", 30)
    steps_per_epoch: int | None = option(
        None,
        "Training steps per epoch (default: all windows of small tables).",
        TRAINING,
        details="Windows are drawn at random. In large tables, the default steps contain 4 million rows.",
        advanced=True,
        minimum=1,
        maximum=10_000_000,
    )
    learning_rate: float = redefault(Config, "learning_rate", 0.005)
    schedule: str = redefault(Config, "schedule", "cosine")

    @property
    def forecasts(self) -> bool:
        """Whether samples contain steps to forecast after the window."""
        return self.task == "forecast"

    @property
    def tests(self) -> bool:
        """Whether rows of the table are the test split; it may be another table instead, or empty."""
        return self.test is None and super().tests

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None:
            parse_threshold(self.threshold)
        if self.views and not {"network"} <= set(self.views) <= set(VIEW_NAMES):
            raise ConfigError(f"--set views needs network; optional: shape, windows. Received: {','.join(self.views)}")
        if self.task == "classify" and self.label_col is None:
            raise ConfigError("--task classify needs --label-col, the column of the classes", code=Code.MISSING_OPTION)
        if self.task == "classify" and self.scale == "series":
            # A new series has no scale of its own yet, so that it could not be classified.
            raise ConfigError(
                "--scale series is not supported by --task classify, which must classify series without training "
                "rows. Use another --scale, such as window",
                code=Code.CONFLICTING_OPTIONS,
            )
        if len(self.classes) == 1 or len(set(self.classes)) < len(self.classes):
            raise ConfigError(
                f"--classes must be two or more different classes. Received: {','.join(self.classes)[:60]}"
            )
