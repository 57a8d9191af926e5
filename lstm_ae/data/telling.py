"""Times as text: in UTC without saying so where they were written without a zone, else by a clock and its offset.

Times that nobody dated are told as the numbers that they were written as.
"""

import datetime
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config.reading import UNITS
from lstm_ae.data.instants import EPOCH, Times

Texts = NDArray[np.str_]

# Characters of a time without its offset; rows that are told at once.
LENGTHS = {"s": 19, "ns": 29}
BLOCK = 500_000
QUARTER = 15 * UNITS["min"]  # no clock changes its offset between


class Elapsed(NamedTuple):
    """Times that count from a start that nobody dated: `size` nanoseconds each, or 1 where they count steps."""

    size: int

    def numbers(self, times: Times) -> NDArray[Any]:
        """Times as they were written, `(rows,)`: whole numbers where all are."""
        return times / self.size if (times % self.size).any() else times // self.size

    def number(self, time: int) -> int | float:
        """Return a time as it was written; a whole number has all its digits, also those that a float has not."""
        whole, rest = divmod(int(time), self.size)
        return int(time) / self.size if rest else whole


Zone = datetime.tzinfo | Elapsed | None
"""How times are told: by the clocks of a zone, as elapsed, or as they were written, without any zone."""


def told(nanoseconds: int, zone: Zone = None) -> str:
    """A time in UTC in as few characters as it has, or by the clocks of a zone with their offset."""
    if isinstance(zone, Elapsed):
        number = zone.number(nanoseconds)
        return str(number) if isinstance(number, int) else f"{number:.15g}"
    offset = int(offsets(np.array([nanoseconds]), zone)[0]) if zone else 0
    text = str(np.datetime64(nanoseconds + offset * UNITS["min"], "ns")).replace("T", " ")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text + _suffix(offset) if zone else text.removesuffix(" 00:00:00")


def told_all(nanoseconds: Times, zone: Zone = None) -> NDArray[Any]:
    """Times for a file, in UTC or by the clocks of a zone with their offset, `(rows,)`; numbers where elapsed.

    All to the second, or all to the nanosecond where one needs it.
    """
    if isinstance(zone, Elapsed):
        return zone.numbers(nanoseconds)
    unit: Literal["s", "ns"] = "ns" if (nanoseconds % UNITS["s"]).any() else "s"
    if zone is None:
        return np.datetime_as_string(nanoseconds.view("datetime64[ns]"), unit)
    texts: Texts = np.empty(len(nanoseconds), f"U{LENGTHS[unit] + len(_suffix(0))}")
    # In blocks, since numpy's texts are twice as long on the way.
    for start in range(0, len(texts), BLOCK):
        some = nanoseconds[start : start + BLOCK]
        found = offsets(some, zone)
        told_so = np.datetime_as_string((some + found * UNITS["min"]).view("datetime64[ns]"), unit)
        different, place = np.unique(found, return_inverse=True)
        ends = np.array([_suffix(minutes) for minutes in different.tolist()])
        texts[start : start + BLOCK] = np.char.add(told_so, ends[place])
    return texts


def told_each(nanoseconds: Times, zone: Zone = None) -> list[Any]:
    """The same of rows that come one by one: each to the second, or as far as it goes."""
    if isinstance(zone, Elapsed):
        return [zone.number(time) for time in nanoseconds.tolist()]
    found = offsets(nanoseconds, zone) if zone else np.zeros(len(nanoseconds), np.int64)
    texts = np.datetime_as_string((nanoseconds + found * UNITS["min"]).view("datetime64[ns]"), "ns").tolist()
    return [
        text.rstrip("0").rstrip(".") + (_suffix(minutes) if zone else "")
        for text, minutes in zip(texts, found.tolist(), strict=True)
    ]


def offsets(nanoseconds: Times, zone: datetime.tzinfo) -> Times:
    """Whole minutes by which the clocks of a zone are ahead of UTC at these moments, `(rows,)`."""
    quarters, place = np.unique(nanoseconds // QUARTER, return_inverse=True)
    start, minute = EPOCH.replace(tzinfo=datetime.UTC), datetime.timedelta(minutes=1)
    found = [
        ((start + 15 * quarter * minute).astimezone(zone).utcoffset() or 0 * minute) // minute
        for quarter in quarters.tolist()
    ]
    return np.array(found, np.int64)[place]


def _suffix(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"
