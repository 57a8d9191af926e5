"""Options for tables: reading, resampling to a regular grid, splitting, and windows."""

import codecs
import dataclasses
import datetime
import functools
import re
import zoneinfo
from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

from lstm_ae.config.options import DATA, TASK, Options, flag_name, option
from lstm_ae.errors import Code, ConfigError
from lstm_ae.formatting import format_duration

# Nanoseconds per unit of a step; months differ in length and follow the calendar.
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
# What a table is read for: to train on it, to check it, or to apply a run to it.
Use = Literal["training", "check", "run"]
# Unit of numeric times that count steps instead of time.
STEPS = "steps"
# Options that may differ between training and later tables, because they do not affect what the model has learned.
REREAD = (
    "time_col",
    "id_col",
    "skip_rows",
    "comment",
    "encoding",
    "missing",
    "decimal",
    "date_order",
    "time_format",
    "time_unit",
    "time_zone",
    "duplicates",
)
# Directives of strptime in `time_format`.
DIRECTIVE = re.compile(r"%(.)", re.DOTALL)
TIME_DIRECTIVES = frozenset("YymBbdjHIpMSfzAa")
# Directives of which a format has at most one: strptime ignores %p beside %H, and others may contradict each other.
TIME_ALTERNATIVES = ("Yy", "mBbj", "dj", "HI", "Hp")
# A time whose parts all differ from the defaults of strptime for absent parts.
PROBE = datetime.datetime(2003, 11, 28, 16, 27, 38, 123456, datetime.UTC)
# Options on which the times of a table depend.
TIME_OPTIONS = ("time_unit", "time_format", "date_order", "time_zone")
# Options that name columns that a forecast reads and does not predict.
COVARIATES = ("past_cols", "known_future", "static_cols")
# Periodic calendar features, and the prefix of the others, which a country code follows.
CALENDAR, HOLIDAY = ("hour", "weekday", "month"), "holiday:"
FREQ = re.compile(r"(\d{1,19})?(ns|us|ms|s|min|h|d|w|mo|y|steps?)", re.ASCII)


class TimeStep(NamedTuple):
    """Sampling interval in nanoseconds, calendar months, or steps of a counter; all 0 for rows without an interval."""

    nanoseconds: int = 0
    months: int = 0
    steps: int = 0

    @property
    def size(self) -> int:
        """Interval in nanoseconds or steps of a counter; 0 if it is not constant."""
        return self.nanoseconds or self.steps

    def resized(self, size: int) -> "TimeStep":
        """Return an interval of the same kind, in nanoseconds or steps of a counter."""
        return TimeStep(steps=size) if self.steps else TimeStep(size)

    @property
    def text(self) -> str:
        """Interval for messages: the spelling for `--freq` if it has at most three digits."""
        exact = str(self)
        short = len(exact.rstrip("abcdefghijklmnopqrstuvwxyz")) <= 3
        return exact if short or not self.nanoseconds else format_duration(self.nanoseconds / UNITS["s"])

    def __str__(self) -> str:
        """Return the spelling for `--freq`."""
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
    """Parse a sampling interval such as `5min`, `h`, `1mo`, `10steps`, or `rows`; return None if it is invalid.

    >>> parse_step("5min"), parse_step("five")
    (TimeStep(nanoseconds=300000000000, months=0, steps=0), None)
    """
    if text == "rows":
        return TimeStep()
    match = FREQ.fullmatch(text)
    number = int(match[1] or 1) if match else 0
    if not match or not number:
        return None
    if match[2] in ("mo", "y"):
        months = number * (12 if match[2] == "y" else 1)
        return TimeStep(months=months) if months <= 1200 else None
    if match[2].startswith("step"):
        return TimeStep(steps=number) if number < 2**62 else None
    size = number * UNITS[match[2]]
    return TimeStep(size) if size <= 36500 * UNITS["d"] else None


def parse_duration(name: str, text: str) -> float:
    """Return the seconds of a duration such as 30s, 5min, or 1d; raise `ConfigError` for another text."""
    step = parse_step(text)
    if step is None or not step.nanoseconds:
        raise ConfigError(f"{name} must be a whole number with s, min, h, d, or w, as in 1h. Received: {text[:40]!r}")
    return step.nanoseconds / 1e9


def _determines_time(pattern: str) -> bool:
    """Return whether a time in a format of strptime is read as the same time, or as the start of its minute or day."""
    names = {name for name in DIRECTIVE.findall(pattern) if name != "%"}
    if not names & set("Yy") or not names <= TIME_DIRECTIVES:
        return False
    if any(len(names.intersection(group)) > 1 for group in TIME_ALTERNATIVES):
        return False
    try:
        read = datetime.datetime.strptime(PROBE.strftime(pattern), pattern)
    except (ValueError, re.error):
        return False
    expected, text = (each.replace(tzinfo=None).isoformat(timespec="microseconds") for each in (PROBE, read))
    ends = (len("2003"), len("2003-11"), *range(len("2003-11-28"), len("2003-11-28T16:27:38") + 1, 3), len(expected))
    return any(text == expected[:end] + "2003-01-01T00:00:00.000000"[end:] for end in ends)


# No search varies how a table is read; only the full help shows the rare options.
_reading = functools.partial(option, group=DATA, tunable=False)
_rare = functools.partial(_reading, advanced=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableFormat(Options):
    """Options for how a table is written."""

    data: str | None = _reading(None, "Table: CSV or Parquet; text may be compressed.")
    time_col: str | None = _reading(
        None, "Column of the times (default: the first one).", details="Without a column of times, rows are numbered."
    )
    id_col: tuple[str, ...] = _reading((), "Columns that identify the series of a table, separated by commas.")
    columns: tuple[str, ...] = _rare((), "Names of all columns of a file without a header.")
    skip_rows: int = _rare(0, "Lines to skip before the header, such as titles.", minimum=0, maximum=1_000_000)
    comment: str | None = _rare(None, "Mark at the start of lines to skip, such as #.")
    encoding: str | None = _rare(None, "Text encoding, such as cp1252 (default: utf-8).")
    missing: tuple[str, ...] = _rare((), "Additional markers of missing values, such as -999 or ERROR.")
    decimal: str | None = _rare(
        None,
        "Decimal separator (default: detected).",
        details="Detected in the first rows.",
        choices=("point", "comma"),
    )
    date_order: str | None = _rare(
        None,
        "Order in dates such as 1/2/2020 (default: detected).",
        details="Detected in the first rows.",
        choices=("dmy", "mdy"),
    )
    time_format: str | None = _rare(
        None,
        "Format of the times in the directives of strptime (default: detected).",
        details="For texts that are not detected, such as %d/%m/%y %H.%M. Years with two digits are 1969 to 2068.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading(TableFormat):
    """Options for reading a table of measurements, resampling it to a grid, splitting it, and cutting windows."""

    value_cols: tuple[str, ...] = _reading((), "Columns to model, separated by commas (default: all numeric columns).")
    past_cols: tuple[str, ...] = _rare(
        (),
        "Columns that a forecast reads but does not predict.",
        details="Separated by commas. They are known up to the time of the forecast only.",
    )
    known_future: tuple[str, ...] = _rare(
        (),
        "Columns known in advance, such as a plan or a weather forecast.",
        details="Separated by commas. A forecast reads their values in the window and over the horizon and does not "
        "predict them. For a forecast, add rows with these values only, after the last row with other values.",
    )
    static_cols: tuple[str, ...] = _rare(
        (),
        "Columns of one value per series, such as a shop's size.",
        details="Separated by commas. A forecast reads them and does not predict them. They need --id-col, and a value "
        "in one row or more of each series.",
    )
    calendar: tuple[str, ...] = _rare(
        (),
        "Known features of the times: hour, weekday, month, holiday:DE, ...",
        details="Separated by commas. They are computed from the times, in the time zone of the table. holiday:DE is "
        "for the holidays of the country with this ISO code, and needs the extra [holidays].",
    )
    label_col: str | None = _reading(
        None, "Column of classes, or of 0 and 1 for anomalies.", details="It is not an input of the model."
    )
    time_unit: str | None = _rare(
        None,
        "Unit of numeric times (default: detected).",
        details="Times count from 1970 or, near 0, from the start. The detected unit gives the years 1990 to 2100; "
        "otherwise it is steps.",
        choices=("s", "ms", "us", "ns", STEPS),
    )
    time_zone: str | None = _rare(None, "Time zone of times without an offset, such as Europe/Berlin (default: UTC).")
    freq: str | None = _rare(
        None,
        "Sampling interval, such as 5min or 1d (default: most common).",
        details="A number with ns, us, ms, s, min, h, d, w, mo, y, or steps; rows to ignore the times.",
    )
    duplicates: str = _rare(
        "error",
        "Handling of duplicate timestamps.",
        details="error, or use the first, last, or mean row.",
        choices=("error", "first", "last", "mean"),
    )
    max_gap: int | None = _rare(
        None,
        "Longest gap within a window in steps (default: tenth of a window).",
        details="The default is at least two steps; that of a detector is a tenth of its season.",
        minimum=0,
        maximum=1_000_000,
    )
    window: int | None = _reading(
        None,
        "Window in steps (default: a season, or 30).",
        details="A season is detected by autocorrelation. Without one it is a day of shorter intervals, a week of "
        "days, and a year of weeks, months, and quarters. Windows for forecasts are twice as long.",
        minimum=2,
        maximum=100_000,
    )
    stride: int = option(
        1, "Steps between the starts of training windows.", DATA, advanced=True, minimum=1, maximum=100_000
    )
    horizon: int | None = option(
        None,
        "Steps to forecast (default: a season, or 30).",
        TASK,
        details="A season is that of the window.",
        minimum=1,
        maximum=100_000,
        tunable=False,
    )
    split: str = _rare(
        "0.7,0.15,0.15",
        "Shares of the training, validation, and test splits.",
        details="The shares add up to 1; the test share may be 0.",
    )
    split_by: str | None = _rare(
        None,
        "Unit of the split: time, or whole series (default: automatic).",
        details="series needs --id-col. The default is time; series for --task classify if each of many series has one "
        "class.",
        choices=("time", "series"),
    )
    scale: str = _rare(
        "standard",
        "Scale of the values.",
        details="none, standard or minmax of the training rows, standard per series (series; needs --id-col), or each "
        "window's own range (window).",
        choices=("none", "standard", "minmax", "series", "window"),
    )
    normal: tuple[str, ...] = _reading(
        (),
        "Normal period START..END; may be repeated (default: all rows).",
        details="ISO times or row numbers, END excluded. Other rows become the test split.",
        repeated=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_columns()
        self._check_encoding()
        if self.time_format is not None:
            self._check_time_format(self.time_format)
        shares = self.shares
        if len(shares) != 3 or not all(0 <= share < 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
            raise ConfigError(
                f"--split must be three shares with the sum 1, as in 0.7,0.15,0.15. Received: {self.split!r}"
            )
        if not all(shares[:2]):
            raise ConfigError(
                "--split: only the test share may be 0, as in 0.85,0.15,0, because validation selects the best epoch. "
                f"Received: {self.split!r}"
            )
        if self.freq is not None and parse_step(self.freq) is None:
            raise ConfigError(
                "--freq must be a number with ns, us, ms, s, min, h, d, w, mo, y, or steps, as in 5min, or rows. "
                f"Received: {self.freq[:40]!r}"
            )
        if self.time_zone is not None and self.zone is None:
            raise ConfigError(
                f"--time-zone must be a name such as Europe/Berlin or UTC. Received: {self.time_zone[:60]!r}"
            )
        for text in self.normal:
            start, dots, end = text.partition("..")
            if not dots or not (start.strip() or end.strip()):
                raise ConfigError(
                    "--normal must be START..END, as in 2014-04-01..2014-04-10; one end may be omitted. "
                    f"Received: {text[:60]!r}"
                )
        by_series = {"--split-by series": self.split_by == "series", "--scale series": self.scale == "series"}
        for name, needs in {**by_series, "--static-cols": bool(self.static_cols)}.items():
            if needs and not self.id_col:
                raise ConfigError(
                    f"{name} needs --id-col, the column that identifies the series", code=Code.MISSING_OPTION
                )
        for name in self.calendar:
            if name not in CALENDAR and not re.fullmatch(rf"{HOLIDAY}[A-Z]{{2,3}}", name):
                raise ConfigError(
                    f"--calendar must list {', '.join(CALENDAR)}, or {HOLIDAY} with the code of a country, as in "
                    f"{HOLIDAY}DE. Received: {name[:60]!r}"
                )
        for name in ("known_future", "static_cols", "calendar"):
            if getattr(self, name) and self.scale == "window":
                raise ConfigError(
                    "--scale window scales each window by its own range, which values known in advance may exceed. Use "
                    f"another --scale with {flag_name(name)}",
                    code=Code.CONFLICTING_OPTIONS,
                )
        if self.split_by == self.scale == "series":
            raise ConfigError(
                "--scale series needs training rows of all series, but --split-by series provides none for some. "
                "Change one of them",
                code=Code.CONFLICTING_OPTIONS,
            )

    def _check_time_format(self, pattern: str) -> None:
        """Reject formats that do not determine one time, and conflicting options."""
        if not _determines_time(pattern):
            raise ConfigError(
                "--time-format must contain the year, %Y or %y, and directives that determine one time, each once, as "
                "in %d/%m/%y %H:%M or %m/%d/%Y %I:%M %p. "
                f"Allowed: {', '.join(f'%{each}' for each in sorted(TIME_DIRECTIVES))}. Received: {pattern[:60]!r}"
            )
        for name in ("date_order", "time_unit"):
            if getattr(self, name) is not None:
                raise ConfigError(
                    f"--time-format describes the whole time. Remove it or {flag_name(name)}",
                    code=Code.CONFLICTING_OPTIONS,
                )

    def _check_encoding(self) -> None:
        """Reject codecs that are not text encodings, such as base64, or not ASCII compatible."""
        if self.encoding is None:
            return
        plain = b'time,"a;1"\\u00e4 +AFw- .xn--nxasmq6b.\n'
        try:
            known = codecs.lookup(self.encoding).name.startswith("utf-8") or plain.decode(
                self.encoding
            ) == plain.decode("ascii")
        except (LookupError, UnicodeError, ValueError):
            known = False
        if not known:
            raise ConfigError(
                f"--encoding must be a text encoding, such as utf-8 or cp1252. Received: {self.encoding[:40]!r}"
            )

    def _check_columns(self) -> None:
        for name in ("value_cols", *COVARIATES, "calendar", "id_col", "columns"):
            value = getattr(self, name)
            if len(set(value)) < len(value):
                duplicate = next(item for item in value if value.count(item) > 1)
                raise ConfigError(
                    f"{flag_name(name)} names {duplicate[:60]!r} more than once. List each column once",
                    code=Code.CONFLICTING_OPTIONS,
                )
        users: dict[str, str] = {}
        for name in ("time_col", "id_col", "label_col", "value_cols", *COVARIATES):
            value = getattr(self, name)
            for column in value if isinstance(value, tuple) else filter(None, (value,)):
                if users.setdefault(column, name) != name:
                    raise ConfigError(
                        f"{flag_name(users[column])} and {flag_name(name)} both name {column[:60]!r}. Change either",
                        code=Code.CONFLICTING_OPTIONS,
                    )

    @property
    def covariates(self) -> tuple[str, ...]:
        """Columns that a forecast reads and does not predict."""
        return (*self.past_cols, *self.known_future, *self.static_cols)

    @property
    def selects_columns(self) -> bool:
        """Whether `value_cols` selects the columns to model."""
        return True

    def for_columns(self, names: Sequence[str], where: str) -> Self:
        """Return the options for a table with these columns: the same, unless a subclass recognizes columns.

        Args:
            names: columns of the table.
            where: file and line of the header, for errors.
        """
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of `split`; NaN for texts that are not numbers."""
        parts = self.split.split(",")
        return tuple(float(part) if re.fullmatch(r"\s*\d*\.?\d+\s*", part) else float("nan") for part in parts)

    @property
    def tests(self) -> bool:
        """Whether rows of the table are the test split."""
        return self.shares[2] > 0 or bool(self.normal)

    @property
    def forecasts(self) -> bool:
        """Whether samples contain steps to forecast after the window."""
        return self.horizon is not None

    @property
    def step(self) -> TimeStep | None:
        """Sampling interval of `freq`; None to detect it."""
        return None if self.freq is None else parse_step(self.freq)

    @property
    def zone(self) -> zoneinfo.ZoneInfo | None:
        """Time zone of `time_zone`; None if the name is unknown or missing."""
        try:
            return zoneinfo.ZoneInfo(self.time_zone or "")
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            return None
