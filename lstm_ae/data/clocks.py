"""The time of day in a column of its own, beside one of dates."""

import re
from collections.abc import Collection, Sequence

from lstm_ae.data.forms import date_of

CLOCK = re.compile(
    r"([01]?\d|2[0-3])(:[0-5]\d(:[0-5]\d([.,]\d{1,9})?)?|\.[0-5]\d\.[0-5]\d)\s*([AaPp][Mm])?"
    r"\s*(Z|z|UTC|GMT|[+-]\d{2}(:?\d{2})?)?",
    re.ASCII,
)
DOTS = re.compile(r"^(\d{1,2})\.(\d{2})\.(\d{2})", re.ASCII)
# Not any heading with a time in it: a day has a sunrise time as well.
CLOCKS = re.compile(
    r"((local|utc|gmt|obs(ervation)?|sampl(e|ing)|log|record(ed|ing)?|measur(ed|ing|ement))[ _-]*)?"
    r"(time|clock|hour|hh:?mm(:?ss)?|uhrzeit|zeit|heure|hora|ora|tijd)([ _-]*(of[ _-]day|utc|gmt|local))?"
    r"(\s*[\[(].*[\])])?",
    re.IGNORECASE,
)


def are_clocks(cells: Sequence[str], words: Collection[str]) -> bool:
    """Whether most cells are times of a day; `words` stand for a missing one."""
    held = [cell for cell in cells if cell.lower() not in words]
    return 2 * sum(CLOCK.fullmatch(cell) is not None for cell in held) > len(held)


def are_days(cells: Sequence[str], words: Collection[str]) -> bool:
    """Whether most cells are dates with the day and without the time of it."""
    held = [cell for cell in cells if cell.lower() not in words]
    days = [found for found in map(date_of, held) if found and (found["d"] or found["b"] or found["c"])]
    return 2 * sum(found["h"] is None for found in days) > len(held)


def usual_clock(columns: Sequence[str], days: Sequence[str], ids: Sequence[str] | None) -> str | None:
    """The one of these columns of clock times that is the dates' own: by its heading, where dates repeat.

    Args:
        days, ids: `(rows,)` the dates, and the names of the series.
    """
    if len(set(days if ids is None else zip(ids, days, strict=True))) == len(days):
        return None
    return next((name for name in columns if CLOCKS.fullmatch(name.strip())), None)


def joined(days: Sequence[str], clocks: Sequence[str], words: Collection[str]) -> list[str]:
    """Dates and times of the day as one, `(rows,)`; empty where one of the two is missing."""
    # Some loggers write 18.00.00, which is no time elsewhere.
    marked = [DOTS.sub(r"\1:\2:\3", clock) for clock in clocks]
    return [
        "" if day.lower() in words or clock.lower() in words else f"{day} {clock}"
        for day, clock in zip(days, marked, strict=True)
    ]
