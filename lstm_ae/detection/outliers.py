"""Rows that were taken for normal and hardly are: a threshold that rests on them finds nothing."""

import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.time_zones import format_time

Numbers = NDArray[Any]

# What most normal rows score at most, and how many times that a row scores that is hardly one of them.
MOST, TIMES = 0.75, 10


def find_outlying_rows(scores: Numbers, segment: Numbers) -> tuple[int, int, float] | None:
    """The stretch around the highest score, where that is many times what most rows score; else None.

    Args:
        scores: `(rows,)`, NaN where a row has none.
        segment: `(rows,)`, which rows belong together.

    Returns:
        Its first and last row, and how many times what most rows score the highest is.
    """
    if np.isnan(scores).all():
        return None
    usual = float(np.nanquantile(scores, MOST))
    peak = int(np.nanargmax(scores))
    if not 0 < TIMES * usual < scores[peak]:
        return None
    # Half as far from the others as the peak, in multiples of what they score.
    near = (scores > np.sqrt(usual * scores[peak])) & (segment == segment[peak])
    apart = np.flatnonzero(~near)
    after = int(np.searchsorted(apart, peak))
    first = int(apart[after - 1]) + 1 if after else 0
    last = int(apart[after]) - 1 if after < len(apart) else len(scores) - 1
    return first, last, float(scores[peak]) / usual


def describe_outlying_rows(
    scores: Numbers, segment: Numbers, time: Numbers | None, zone: datetime.tzinfo | None
) -> str:
    """Which rows of the validation part are hardly normal, and what to do; "" where none is.

    Args:
        scores, segment: as `find_outlying_rows` takes them.
        time: `(rows,)`; None where rows have none.
        zone: by whose clocks times are told.
    """
    if (found := find_outlying_rows(scores, segment)) is None:
        return ""
    *ends, times = found
    first, last = (f"row {row}" if time is None else format_time(int(time[row].astype(np.int64)), zone) for row in ends)
    return (
        f"{first} to {last}, in the validation part and so taken for normal, scores {times:,.0f} times what most rows "
        "score, and the threshold rests on it. If that is not normal, train anew and mark it by --label-col, or leave "
        "it out of --normal"
    )
