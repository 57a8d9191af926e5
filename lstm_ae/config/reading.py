"""The choices about anyone's own table: how it is read, put on a grid and cut into windows."""

import codecs
import dataclasses
import re
import zoneinfo
from typing import NamedTuple

from lstm_ae.config.options import Options, flag_name, option
from lstm_ae.errors import ConfigError

# Nanoseconds of each unit of a step; months differ in length and are counted by the calendar.
UNITS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
# A unit of times that are numbers: they count, and are of no time.
STEPS = "steps"
# What of a table may differ from the one that a run was trained on, as it changes nothing that the run has learned.
REREAD = (
    *("time_col", "clock_col", "id_col", "skip_rows", "encoding", "missing"),
    *("decimal", "thousands", "column_units", "date_order", "time_unit", "time_zone", "duplicates"),
)
FREQ = re.compile(r"(\d{1,19})?(ns|us|ms|s|min|h|d|w|mo|y|steps?)", re.ASCII)


class TimeStep(NamedTuple):
    """From one row to the next: nanoseconds, months of the calendar, or a counter's steps; 0 where rows just follow."""

    nanoseconds: int = 0
    months: int = 0
    steps: int = 0

    @property
    def size(self) -> int:
        """By how much times rise, nanoseconds or a counter's steps; 0 where it is not even."""
        return self.nanoseconds or self.steps

    def resized(self, size: int) -> "TimeStep":
        """A step of the same kind, of nanoseconds or a counter."""
        return TimeStep(steps=size) if self.steps else TimeStep(size)

    def __str__(self) -> str:
        """As `--freq` takes it."""
        if self.months:
            years, months = divmod(self.months, 12)
            return f"{self.months}mo" if months else f"{years}y"
        if self.steps:
            return f"{self.steps}step{'s' * (self.steps > 1)}"
        for unit, size in reversed(UNITS.items()):
            if self.nanoseconds and self.nanoseconds % size == 0:
                return f"{self.nanoseconds // size}{unit}"
        return "rows"


def parse_step(text: str) -> TimeStep | None:
    """The step that `5min`, `h`, `1mo`, `10steps` or `rows` names; None where it names none."""
    if text == "rows":
        return TimeStep()
    found = FREQ.fullmatch(text)
    number = int(found[1] or 1) if found else 0
    if not found or not number:
        return None
    if found[2] in ("mo", "y"):
        months = number * (12 if found[2] == "y" else 1)
        return TimeStep(months=months) if months <= 1200 else None
    if found[2].startswith("step"):
        return TimeStep(steps=number) if number < 2**62 else None
    size = number * UNITS[found[2]]
    return TimeStep(size) if size <= 36500 * UNITS["d"] else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading(Options):
    """How a table of measurements is read, put on a regular grid, divided and cut into windows."""

    data: str | None = option(None, "The table: CSV, plain or compressed, or Parquet.", tunable=False)
    time_col: str | None = option(
        None, "Column of the times (default: the first that holds times; without one, rows are counted).", tunable=False
    )
    clock_col: str | None = option(
        None,
        "Column of the time of day, where --time-col holds dates alone (default: where neither is named, one called "
        "Time or the like if dates repeat).",
        tunable=False,
    )
    value_cols: tuple[str, ...] = option(
        (), "Columns to model, separated by commas (default: all that hold numbers).", tunable=False
    )
    id_col: tuple[str, ...] = option(
        (), "Column that tells several series in one table apart, or several, separated by commas.", tunable=False
    )
    label_col: str | None = option(
        None, "Column of known classes, or of 0 and 1 for known anomalies; never a value.", tunable=False
    )
    columns: tuple[str, ...] = option((), "Names of all columns, for a file without a header.", tunable=False)
    skip_rows: int = option(
        0, "Lines above the header, such as titles, to skip.", minimum=0, maximum=1_000_000, tunable=False
    )
    encoding: str | None = option(
        None, "Encoding of the text, such as utf-8, cp1252 or utf-16 (default: as the text shows).", tunable=False
    )
    missing: tuple[str, ...] = option(
        (), "Further words that stand for a missing value, such as -999 or ERROR.", tunable=False
    )
    decimal: str | None = option(
        None, "What parts the decimals (default: as the first rows show).", choices=("point", "comma"), tunable=False
    )
    thousands: str | None = option(
        None,
        "What stands between groups of three digits (default: as the first rows show).",
        choices=("comma", "point", "space", "apostrophe"),
        tunable=False,
    )
    column_units: tuple[str, ...] = option(
        (),
        "Units that stand beside numbers, as in share=%,temp=°C (default: as the first rows show).",
        tunable=False,
    )
    date_order: str | None = option(
        None,
        "Order in dates like 1/2/2020 or 20/2/1 (default: as the first rows show).",
        choices=("dmy", "mdy", "ymd"),
        tunable=False,
    )
    time_unit: str | None = option(
        None,
        "Unit of times that are numbers: of time since 1970 or, near 0, elapsed (s, ms, us, ns), or steps of a counter "
        "(default: the one that leads to 1990 to 2100; else steps).",
        choices=("s", "ms", "us", "ns", STEPS),
        tunable=False,
    )
    time_zone: str | None = option(
        None, "Zone of times without an offset, as in Europe/Berlin (default: UTC).", tunable=False
    )
    freq: str | None = option(
        None,
        "Time from row to row, as in 5min, 1h, 1d or 1mo, 10steps of a counter, or rows to take them as they follow "
        "(default: the most common).",
        tunable=False,
    )
    duplicates: str = option(
        "error",
        "Of rows at the same time: refuse them (error), or keep the first, the last or the mean.",
        choices=("error", "first", "last", "mean"),
        tunable=False,
    )
    max_gap: int | None = option(
        None,
        "Longest gap, in steps without a row or without any value, that a window may cross (default: a tenth of the "
        "window before it is shortened to fit, and no more than the window; where that leaves no room for one, as long "
        "as gaps that come again and again, such as weekends).",
        minimum=0,
        maximum=1_000_000,
        tunable=False,
    )
    window: int | None = option(
        None,
        "Steps that the model reads (default: a season, found by autocorrelation; else a day; else 30; twice that to "
        "forecast).",
        minimum=2,
        maximum=100_000,
        tunable=False,
    )
    stride: int = option(1, "Steps between the starts of two training windows.", minimum=1, maximum=100_000)
    horizon: int | None = option(
        None,
        "Steps to forecast after a window (default of forecasts: a season, found by autocorrelation; else a day; else "
        "30).",
        minimum=1,
        maximum=100_000,
        tunable=False,
    )
    split: str = option(
        "0.7,0.15,0.15",
        "Shares of training, validation and test, in this order; a test share of 0 where another table is the test.",
        tunable=False,
    )
    split_by: str | None = option(
        None,
        "What is divided: each series in time (time), or whole series (series; needs --id-col) (default: time; for "
        "--task classify series, where each of many has one class throughout).",
        choices=("time", "series"),
        tunable=False,
    )
    short: str | None = option(
        None,
        "Where whole series are divided, what becomes of series, and of stretches between long gaps, that are shorter "
        "than the window: missing rows before them make up one (pad), or they have none (drop) (default: pad).",
        choices=("pad", "drop"),
        tunable=False,
    )
    scale: str = option(
        "standard",
        "How values are scaled: not (none), by mean and deviation (standard) or minimum and range (minmax) of the "
        "training rows, by mean and deviation of each series' own (series; needs --id-col), or by each window's own "
        "range (window).",
        choices=("none", "standard", "minmax", "series", "window"),
        tunable=False,
    )
    normal: tuple[str, ...] = option(
        (),
        "Times (or row numbers) START..END known to be normal, END excluded, one open end allowed; may be repeated. "
        "Training and validation come from these, the test part is all the rest (default: all rows).",
        tunable=False,
        repeated=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_columns()
        self._check_encoding()
        if self.thousands is not None and self.thousands == self.decimal:
            raise ConfigError(f"--thousands and --decimal are both {self.decimal}. Change one")
        if wrong := next((item for item in self.column_units if not all(item.rpartition("=")[::2])), None):
            raise ConfigError(
                f"--column-units must be columns with their units, as in share=%,temp=°C. Received: {wrong[:60]!r}"
            )
        shares = self.shares
        if len(shares) != 3 or not all(0 <= share < 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
            raise ConfigError(
                f"--split must be three shares that add up to 1, as in 0.7,0.15,0.15. Received: {self.split!r}"
            )
        if not all(shares[:2]):
            raise ConfigError(
                "--split must leave shares for training and for validation, which chooses the best epoch; only that of "
                f"test may be 0, as in 0.85,0.15,0. Received: {self.split!r}"
            )
        if self.freq is not None and parse_step(self.freq) is None:
            raise ConfigError(
                "--freq must be a number with ns, us, ms, s, min, h, d, w, mo or y, as in 5min, with steps, or rows. "
                f"Received: {self.freq[:40]!r}"
            )
        if self.time_zone is not None and self.zone is None:
            raise ConfigError(
                f"--time-zone must be a name like Europe/Berlin or UTC. Received: {self.time_zone[:60]!r}"
            )
        for text in self.normal:
            start, dots, end = text.partition("..")
            if not dots or not (start.strip() or end.strip()):
                raise ConfigError(
                    "--normal must be START..END, as in 2014-04-01..2014-04-10; one of the two may be left out. "
                    f"Received: {text[:60]!r}"
                )
        for name in ("split_by", "scale"):
            if getattr(self, name) == "series" and not self.id_col:
                raise ConfigError(
                    f"{flag_name(name)} series needs --id-col, the column that tells the series apart. Add it"
                )
        if self.split_by == self.scale == "series":
            raise ConfigError(
                "--scale series needs training rows of all series, --split-by series has none of some. Change one"
            )
        if self.short is not None:
            self._check_short()

    def _check_short(self) -> None:
        if self.forecasts:
            raise ConfigError("--short is not for forecasts, which need a whole window. Leave it out")
        if self.split_by == "time":
            raise ConfigError("--short is for --split-by series, where a series is a whole. Leave one of them out")
        if self.short == "pad" and self.scale == "window":
            raise ConfigError("--scale window needs values without gaps, and --short pad makes some. Change one")

    def _check_encoding(self) -> None:
        """Refuse a codec of something else than text, as base64, and one that reads plain ASCII as something else."""
        if self.encoding is None:
            return
        plain = b'time,"a;1"\\u00e4 +AFw- .xn--nxasmq6b.\n'
        try:
            wide = codecs.lookup(self.encoding).name.startswith(("utf-8", "utf-16", "utf-32"))
            known = wide or plain.decode(self.encoding) == plain.decode("ascii")
        except (LookupError, UnicodeError, ValueError):
            known = False
        if not known:
            raise ConfigError(
                "--encoding must be an encoding of text, such as utf-8, cp1252 or utf-16. Received: "
                f"{self.encoding[:40]!r}"
            )

    def _check_columns(self) -> None:
        for name in ("value_cols", "id_col", "columns"):
            value = getattr(self, name)
            if len(set(value)) < len(value):
                twice = next(item for item in value if value.count(item) > 1)
                raise ConfigError(f"{flag_name(name)} names {twice[:60]!r} more than once. Name each column once")
        users: dict[str, str] = {}
        for name in ("time_col", "clock_col", "id_col", "label_col", "value_cols"):
            value = getattr(self, name)
            for column in value if isinstance(value, tuple) else filter(None, (value,)):
                if users.setdefault(column, name) != name:
                    raise ConfigError(
                        f"{flag_name(users[column])} and {flag_name(name)} both name {column[:60]!r}. Change one"
                    )

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of `split`; NaN for what is no number."""
        parts = self.split.split(",")
        return tuple(float(part) if re.fullmatch(r"\s*\d*\.?\d+\s*", part) else float("nan") for part in parts)

    @property
    def units_by_column(self) -> dict[str, str]:
        """The units of `column_units`, by column."""
        return {column: unit for column, _, unit in (item.rpartition("=") for item in self.column_units)}

    @property
    def tests(self) -> bool:
        """Whether rows are kept for a test."""
        return self.shares[2] > 0 or bool(self.normal)

    @property
    def forecasts(self) -> bool:
        """Whether a sample holds steps to forecast behind its window."""
        return self.horizon is not None

    @property
    def may_pad(self) -> bool:
        """Whether what is shorter than a window may be one, with missing rows before it."""
        return self.split_by == "series" and not self.forecasts and self.scale != "window" and self.short != "drop"

    @property
    def step(self) -> TimeStep | None:
        """The step of `freq`; None where it is to be found."""
        return None if self.freq is None else parse_step(self.freq)

    @property
    def zone(self) -> zoneinfo.ZoneInfo | None:
        """The zone that `time_zone` names; None where it names none."""
        try:
            return zoneinfo.ZoneInfo(self.time_zone or "")
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            return None
