"""The choices of the stock study."""

import dataclasses

from lstm_ae.config.base import Config, ReconstructionConfig
from lstm_ae.config.options import option, redefault
from lstm_ae.errors import ConfigError

# The prices of a day.
PRICES = ("open", "high", "low", "close")
PREDICT = (("goal", ("predict",)),)
RECONSTRUCT = (("goal", ("reconstruct",)),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snp(ReconstructionConfig):
    """The report's third study: stock prices, reconstructed or forecast."""

    data: str | None = option(
        None,
        "A CSV with the columns symbol, date, and those of open, high, low, close and volume that the model reads; may "
        "be compressed.",
        tunable=False,
    )
    goal: str = option("predict", "What the model learns.", choices=("predict", "reconstruct"), tunable=False)
    field: str = option("high", "The price to model.", choices=PRICES, tunable=False)
    inputs: str | None = option(
        None,
        "What the model reads of every day: one price, all four (ohlc), or those and the volume (ohlcv) (default: the "
        "price to model alone, as the report).",
        choices=(*PRICES, "ohlc", "ohlcv"),
        tunable=False,
        needs=PREDICT,
    )
    with_open: bool = option(
        False, "Forecast a day whose open is known already; for one day ahead only.", tunable=False, needs=PREDICT
    )
    symbols: tuple[str, ...] = option(
        (), "Only these companies, separated by commas; all where not given.", tunable=False
    )
    start: str = option("", "Leave out days before this date (YYYY-MM-DD).", tunable=False)
    end: str = option("", "Leave out days after this date (YYYY-MM-DD).", tunable=False)
    window: int = option(30, "Days that the model reads.", minimum=2, maximum=10_000)
    stride: int = option(1, "Days between the starts of two training windows.", minimum=1, maximum=10_000)
    split: str = option(
        "time",
        "How windows are divided: by date (70/15/15), or shuffled as in the report, which leaks.",
        choices=("time", "report"),
        tunable=False,
    )
    scale: str = option(
        "auto",
        "How prices are scaled: as logarithms (log; changes are then relative), by each company's range on its "
        "training days (company), by that on all days (report; it leaks), by the window's own range (window), or not "
        "(none); auto is log for forecasts of changes, else company.",
        choices=("auto", "log", "company", "report", "window", "none"),
        tunable=False,
    )
    last_day_only: bool = option(
        False, "Learn to predict the day after the window alone, not the day after every day.", needs=PREDICT
    )
    validate_after: int | None = option(
        None,
        "Validate on days alone that have so many days before them in their part (default: --window). A search over "
        "--window sets it, so that all lengths are judged on the same days.",
        minimum=2,
        maximum=10_000,
        tunable=False,
        needs=(("last_day_only", (True,)), ("split", ("time",))),
    )
    target: str = option(
        "change",
        "Predict the change from the last known day (starts as persistence), or the level itself as the report does.",
        choices=("change", "level"),
        tunable=False,  # it decides the scale as well, and losses of two scales do not compare
        needs=PREDICT,
    )
    # A forecaster reads forward only and keeps every step.
    bidirectional: bool = redefault(ReconstructionConfig, "bidirectional", False, needs=RECONSTRUCT)
    latent: str = redefault(ReconstructionConfig, "latent", "steps", needs=RECONSTRUCT)
    units: int = redefault(Config, "units", 32)
    schedule: str = redefault(Config, "schedule", "cosine")
    clip: float = redefault(Config, "clip", 5.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.goal == "predict" and self.scale == "window" and not self.last_day_only:
            raise ConfigError(
                "--scale window needs --last-day-only: the range of a whole window tells its earlier days how high "
                "the later ones go. Add --last-day-only, or choose another --scale"
            )
        self._check_inputs()

    def _check_inputs(self) -> None:
        if self.inputs in PRICES and self.inputs != self.field:
            raise ConfigError(
                f"--inputs {self.inputs} does not hold the price to model, --field {self.field}. Leave it out, or "
                "choose ohlc or ohlcv"
            )
        if self.with_open and self.field == "open":
            raise ConfigError("--with-open tells the model the day's open, so it cannot be --field as well")
        if len(self.fields) > 1 and (self.scaling != "log" or self.target != "change"):
            name = "--with-open" if self.with_open else f"--inputs {self.inputs}"
            raise ConfigError(
                f"{name} needs --scale log and --target change, where one price is told relative to another. Leave "
                "--scale and --target out"
            )

    @property
    def scaling(self) -> str:
        """The scale that is meant."""
        if self.scale != "auto":
            return self.scale
        return "log" if self.goal == "predict" and self.target == "change" else "company"

    @property
    def features(self) -> int:
        """Numbers a step."""
        return len(self.fields)

    @property
    def fields(self) -> tuple[str, ...]:
        """What the model reads of a day: the price to model first, then the open where it is read, then the others."""
        chosen = {"ohlc": PRICES, "ohlcv": (*PRICES, "volume")}.get(self.inputs or "", (self.field,))
        if self.with_open:
            chosen = ("open", *chosen)
        return tuple(dict.fromkeys((self.field, *chosen)))
