"""Values of the column by which a database source orders its rows: their storage, and which of them are credible.

A wrong value, such as a time in 2099 or the text "n/a", must not become the position of a source, since no later row
would follow it.
"""

import collections
import datetime
import decimal
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, Self, TypeGuard

from lstm_ae.config import Reading
from lstm_ae.config.reading import UNITS

# Text that sorts like its times: the year first, then month, day, and perhaps the hour.
DATED_TEXT = re.compile(
    r"(?:19|20)\d\d(?P<mark>[-/.]?)(?:0\d|1[0-2])(?P=mark)[0-3]\d(?:(?P<gap>[T ])\d\d(?P<colon>:?)\d\d|(?!\d))",
    re.ASCII,
)
WRONG_TIME = re.compile(r"[^\x00-9]|(?:19|20)\d\d[-/](?!0\d|1[0-2])\d\d", re.ASCII)
SURROGATE = re.compile("[\ud800-\udfff]")
OFFSET = re.compile(r"(?P<hours>[+-]\d\d):?(?P<minutes>\d\d)$|Z$", re.ASCII)

# Numbers between these dates, in seconds since 1970, are times if the column is that of the times.
EARLIEST, LATEST = 631_152_000, 4_102_444_800


class Notation(NamedTuple):
    """Notation of the values of the column.

    Args:
        kind: type of the values: "number", "text", "date", or "datetime".
        time: whether the column is that of the run's times.
        pattern: directives of strftime for text that sorts like its times; "" for other text.
        unit: nanoseconds per unit of numbers since 1970; 0 for other numbers.
        zone: time zone of the values.
        aware: whether the values name their time zone.
    """

    kind: str
    time: bool
    pattern: str = ""
    unit: int = 0
    zone: datetime.tzinfo = datetime.UTC
    aware: bool = False

    @classmethod
    def of(cls, value: object, reading: Reading, *, time: bool) -> Self | None:
        """Return the notation of a value; None if no position can have this value.

        Args:
            value: the value.
            reading: the settings with which the run reads tables.
            time: whether the column is that of the run's times.
        """
        zone = reading.zone or datetime.UTC
        if isinstance(value, datetime.datetime):
            return cls("datetime", time, zone=zone if value.tzinfo is None else datetime.UTC, aware=bool(value.tzinfo))
        if isinstance(value, datetime.date):
            return cls("date", time, zone=zone)
        if type(value) in (int, float, decimal.Decimal):
            number: Any = value
            if not math.isfinite(number):
                return None
            units = [UNITS[unit] for unit in ("s", "ms", "us", "ns")]
            unit = next((unit for unit in units if EARLIEST <= number * unit / 10**9 < LATEST), 0)
            return cls("number", time, unit=unit if time else 0)
        if not _is_text(value):
            return None
        if found := DATED_TEXT.match(value):
            mark, gap, colon = found["mark"], found["gap"], found["colon"] or ""
            pattern = f"%Y{mark}%m{mark}%d" + (f"{gap}%H{colon}%M{colon}%S" if gap else "")
            if gap and (offset := OFFSET.search(value, found.end())):
                hours, minutes = int(offset["hours"] or 0), int(offset["minutes"] or 0)
                minutes = 60 * hours + (minutes if hours >= 0 else -minutes)
                zone = datetime.timezone(datetime.timedelta(minutes=minutes)) if abs(minutes) < 1440 else zone
            return cls("text", time, pattern, zone=zone)
        # Words and impossible months sort after all times, and would hide these. Empty text and signs sort before them.
        return None if time and WRONG_TIME.match(value) else cls("text", time)

    @property
    def dated(self) -> bool:
        """Whether the values are times since 1970."""
        return bool(self.kind in ("date", "datetime") or self.pattern or self.unit)

    def limit(self, seconds: float) -> Any:
        """Return the value of a time in seconds since 1970; None if the values are not such times."""
        if self.unit:
            return int(seconds * 1e6) * 1000 // self.unit
        moment = datetime.datetime.fromtimestamp(seconds, self.zone)
        if self.kind == "datetime":
            return moment if self.aware else moment.replace(tzinfo=None)
        if self.kind == "date":
            return moment.date()
        return moment.strftime(self.pattern) if self.pattern else None

    def accepts(self, value: object, limit: Any = None) -> bool:
        """Return whether a position can have a value, which is at most the limit."""
        if self.kind == "number":
            number: Any = value
            good = type(value) in (int, float, decimal.Decimal) and math.isfinite(number)
        elif self.kind == "text":
            good = _is_text(value) and not (self.time and WRONG_TIME.match(value))
        elif self.kind == "datetime":
            good = isinstance(value, datetime.datetime) and (value.tzinfo is not None) == self.aware
        else:
            good = type(value) is datetime.date
        compared: Any = value
        return good and (limit is None or bool(compared <= limit))


def is_comparable(value: object) -> bool:
    """Return whether a value is a time, a number, or text."""
    return isinstance(value, datetime.date) or type(value) in (int, float, decimal.Decimal, str)


def _is_text(value: object) -> TypeGuard[str]:
    """Return whether a value is text that can be sent to a database."""
    return type(value) is str and not SURROGATE.search(value)


def find_notation(after: object, values: Iterable[object], reading: Reading, *, time: bool) -> Notation | None:
    """Return the notation of a column: that of the position, or of most of the values.

    Args:
        after: position of the source; None before the first row.
        values: further values.
        reading: the settings with which the run reads tables.
        time: whether the column is that of the run's times.
    """
    own = None if after is None else Notation.of(after, reading, time=time)
    if own and own.dated:
        return own
    found = collections.Counter(each for value in values if (each := Notation.of(value, reading, time=time)))
    most = max(found, key=found.__getitem__, default=None)
    # A position that is not a time, such as an empty text, gives way to times.
    return most if most and (own is None or most.dated) else own


def encode_value(value: object) -> Any:
    """Return a value in JSON types."""
    if isinstance(value, datetime.datetime | datetime.date):
        return [type(value).__name__, value.isoformat()]
    return ["Decimal", str(value)] if isinstance(value, decimal.Decimal) else value


def decode_value(content: Any) -> Any:
    """Return the value of `encode_value`.

    >>> decode_value(encode_value(decimal.Decimal("1.50")))
    Decimal('1.50')
    """
    if not isinstance(content, list):
        return content
    kind, text = content
    if kind == "Decimal":
        return decimal.Decimal(text)
    return (datetime.datetime if kind == "datetime" else datetime.date).fromisoformat(text)
