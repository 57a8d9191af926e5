"""A split of many companies: its latest windows, its dates, and the days that follow."""

from typing import Any

import numpy as np

from lstm_ae.data.selection import SPACED
from lstm_ae.data.windows import Data, Split

# Rows that tell on which days a company is traded.
LATELY = 365


def last_windows(data: Data, split: Split, most: int, *, to_the_end: bool = False) -> tuple[Any, list[str]]:
    """The latest sample of each company, as indices into the split, and the companies' names.

    With `to_the_end` a company whose rows go on after its latest sample, for a gap lies in them, has none.
    """
    assert split.company is not None
    assert split.time is not None
    company, day = split.company[split.starts], split.time[split.starts]
    order = np.lexsort((day, company))
    last = order[np.r_[np.flatnonzero(np.diff(company[order])), len(order) - 1]]
    if to_the_end:
        ends = np.full(len(data.symbols), np.datetime64("0001-01-01", "D"))
        np.maximum.at(ends, split.company, split.time)
        last = last[split.time[split.starts[last] + split.span - 1] == ends[company[last]]]
    return last[:most], [data.symbols[line] for line in company[last[:most]]]


def dates_of(split: Split, start: int, days: int) -> Any:
    """The dates of some rows."""
    assert split.time is not None
    return split.time[start : start + days]


def days_after(split: Split, row: int, count: int) -> Any:
    """The next so many days of a row's company: weekdays, or every day where it has rows on weekends.

    Where its rows are a working week apart or more, as weekly ones are, so are these days. Holidays are not known.
    """
    assert split.company is not None
    assert split.time is not None
    rows = slice(max(0, row - LATELY), row + 1)
    own = split.time[rows][split.company[rows] == split.company[row]]
    apart = np.median(np.diff(own)) if len(own) > 1 else np.timedelta64(1, "D")
    if apart >= SPACED:
        return own[-1] + np.arange(1, count + 1) * apart
    if 20 * np.count_nonzero(~np.is_busday(own)) > len(own):
        return own[-1] + np.arange(1, count + 1).astype("timedelta64[D]")
    return np.busday_offset(own[-1], np.arange(1, count + 1), roll="backward")


def quantity_of(data: Data) -> str:
    """What is drawn, as an axis says it: "High (USD)"."""
    name = data.feature_names[0]
    return name[0].upper() + name[1:]
