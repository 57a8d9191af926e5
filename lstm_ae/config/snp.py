"""Options of the stock price study."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Self

from lstm_ae.config.base import Config, ReconstructionConfig
from lstm_ae.config.options import DATA, TASK, TRAINING, option, redefault
from lstm_ae.config.reading import Reading, TableFormat
from lstm_ae.config.series import Series
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_names, quote

# Prices of a day.
PRICES = ("open", "high", "low", "close")
# Headings of the columns of symbols and of days, in lower case. The Kaggle file names the symbols "Name".
SYMBOL_HEADINGS, DAY_HEADINGS = ("symbol", "ticker", "name"), ("date",)
# Largest number of days to forecast, since each forecast reads all days before it.
MAX_DAYS = 250
# Options of a table that apply to prices as well.
READING_OPTIONS = tuple(field.name for field in dataclasses.fields(TableFormat) if field.name != "data")
PREDICT = (("goal", ("predict",)),)
RECONSTRUCT = (("goal", ("reconstruct",)),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriceReading(Reading):
    """Options for reading a table of prices, whose columns are recognized by their headings in any case."""

    @property
    def selects_columns(self) -> bool:
        """False: the options of the study determine the values that the model reads."""
        return False

    def for_columns(self, names: Sequence[str], where: str) -> Self:
        """Return the options with the columns of symbols, days, and values as spelled in the header.

        Raises:
            DataError: if a column is missing, or two have the same heading.
        """
        headings = [name.lower() for name in names]

        def find(choices: Sequence[str], option: str) -> str:
            heading = next((choice.lower() for choice in choices if choice.lower() in headings), "")
            if headings.count(heading) != 1:
                received = format_names([quote(name)[:40] for name in names])
                raise DataError(
                    f"{where}: the header must have one column {' or '.join(choices)}. Rename a column{option}. "
                    f"Received: {received}",
                    code=Code.TABLE_HEADER,
                )
            return names[headings.index(heading)]

        day = self.time_col or find(DAY_HEADINGS, " or pass --time-col")
        values = tuple(find([field], " or pass another --field or --inputs") for field in self.value_cols)
        symbols = self.id_col or (find(SYMBOL_HEADINGS, " or pass --id-col"),)
        return dataclasses.replace(self, id_col=symbols, time_col=day, value_cols=values)


_reading = functools.partial(option, group=DATA, tunable=False)
_rare = functools.partial(_reading, advanced=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snp(TableFormat, ReconstructionConfig):
    """Options of the report's third study: reconstruction or forecasts of stock prices."""

    data: str | None = redefault(
        TableFormat,
        "data",
        None,
        help="Table of prices: CSV, plain or compressed, or Parquet.",
        details="Columns: symbol, date, and the prices and volume to read.",
    )
    id_col: tuple[str, ...] = redefault(
        TableFormat, "id_col", (), help="Column of the symbols (default: symbol, ticker, or name).", advanced=True
    )
    time_col: str | None = redefault(
        TableFormat, "time_col", None, help="Column of the days (default: date).", details="", advanced=True
    )
    goal: str = option("predict", "Goal of training.", TASK, choices=("predict", "reconstruct"), tunable=False)
    field: str = _reading("high", "Price to model.", choices=PRICES)
    inputs: str | None = _reading(
        None,
        "Inputs per day (default: --field).",
        details="ohlc: all four prices; ohlcv: with the volume. The report reads one price.",
        choices=("ohlc", "ohlcv"),
        needs=PREDICT,
    )
    symbols: tuple[str, ...] = _reading((), "Companies to use, separated by commas (default: all).")
    start: str = _reading("", "First day to use (YYYY-MM-DD).")
    end: str = _reading("", "Last day to use (YYYY-MM-DD).")
    window: int = option(30, "Days that the model reads.", DATA, minimum=2, maximum=10_000)
    stride: int = option(
        1, "Days between the starts of two training windows.", DATA, advanced=True, minimum=1, maximum=10_000
    )
    split: str = _rare(
        "time",
        "Split by date (70/15/15), or shuffled as in the report.",
        details="A shuffled split leaks: training windows contain days of the test windows and their neighbors.",
        choices=("time", "report"),
    )
    scale: str = _rare(
        "auto",
        "Scale of the prices.",
        details="log: logarithms. company: each company's range on training days. report: its range on all days, which "
        "leaks. auto: log for forecasts of changes, else company.",
        choices=("auto", "log", "company", "report", "none"),
    )
    last_day_only: bool = option(
        False, "Train on the day after the window only, not after every day.", TRAINING, advanced=True, needs=PREDICT
    )
    target: str = option(
        "change",
        "Target: change from the last day, or level.",
        TASK,
        details="The report uses the level.",
        advanced=True,
        choices=("change", "level"),
        tunable=False,  # It determines the scale, and losses of different scales are not comparable.
        needs=PREDICT,
    )
    link: str = redefault(
        Series,
        "link",
        "baseline",
        details="The linear regression is also the baseline. The network learns its residuals; without it, an "
        "untrained network equals persistence, and a linear layer learns from the last day.",
        needs=(*PREDICT, ("target", ("change",))),
    )
    seeds: int | None = redefault(Series, "seeds", None, needs=PREDICT)
    # A forecaster must be causal and needs the states of all steps.
    bidirectional: bool = redefault(ReconstructionConfig, "bidirectional", False, needs=RECONSTRUCT)
    latent: str = redefault(ReconstructionConfig, "latent", "steps", needs=RECONSTRUCT, advanced=True)
    code: int | None = redefault(ReconstructionConfig, "code", None, advanced=True)
    layers: int = redefault(Config, "layers", 1, advanced=True)
    batch_size: int = redefault(Config, "batch_size", 128, advanced=True)
    units: int = redefault(Config, "units", 32)
    schedule: str = redefault(Config, "schedule", "cosine")
    clip: float = redefault(Config, "clip", 5.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reading  # noqa: B018 - checks the options
        if len(self.fields) > 1 and (self.scaling != "log" or self.target != "change"):
            raise ConfigError(
                f"--inputs {self.inputs} needs --scale log and --target change, as prices are relative to each other. "
                "Omit both",
                code=Code.OPTION_NOT_APPLICABLE,
            )

    @property
    def reading(self) -> PriceReading:
        """Options for reading the table."""
        options = {name: getattr(self, name) for name in READING_OPTIONS}
        return PriceReading(data=self.data, value_cols=self.fields, **options)

    @property
    def scaling(self) -> str:
        """Scale with `auto` resolved."""
        if self.scale != "auto":
            return self.scale
        return "log" if self.goal == "predict" and self.target == "change" else "company"

    @property
    def features(self) -> int:
        """Values per step."""
        return len(self.fields)

    @property
    def fields(self) -> tuple[str, ...]:
        """Inputs per day, the price to model first."""
        chosen = {"ohlc": PRICES, "ohlcv": (*PRICES, "volume")}.get(self.inputs or "", (self.field,))
        return tuple(dict.fromkeys((self.field, *chosen)))
