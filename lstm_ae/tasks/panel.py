"""A split of many companies: its latest windows, its dates, and the days that follow."""

from typing import Any

import numpy as np

from lstm_ae.data.windows import Data, Split


def last_windows(data: Data, split: Split, most: int) -> tuple[Any, list[str]]:
    """The latest sample of each company, as indices into the split, and the companies' names."""
    assert split.company is not None
    assert split.time is not None
    company, day = split.company[split.starts], split.time[split.starts]
    order = np.lexsort((day, company))
    last = order[np.r_[np.flatnonzero(np.diff(company[order])), len(order) - 1]][:most]
    return last, [data.symbols[line] for line in company[last]]


def dates_of(split: Split, start: int, days: int) -> Any:
    """The dates of some rows."""
    assert split.time is not None
    return split.time[start : start + days]


def weekdays_after(day: Any, count: int) -> Any:
    """The next so many weekdays; holidays are not known."""
    return np.busday_offset(day, np.arange(1, count + 1), roll="backward")


def quantity_of(data: Data) -> str:
    """What is drawn, as an axis says it: "High (USD)"."""
    name = data.feature_names[0]
    return name[0].upper() + name[1:]
