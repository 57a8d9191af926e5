"""Detect rows of several series that alternate in time without an id column."""

from collections.abc import Sequence

import numpy as np

from lstm_ae.arrays import Int64Array
from lstm_ae.data.timestamps import BadTime, TimeForm, infer_form, parse_times
from lstm_ae.errors import DataError

# Smallest share of steps within 10% of the median in regular series, and largest share of such steps in mixed series.
MIN_REGULAR_SHARE, MAX_MIXED_SHARE = 0.9, 0.75

# More distinct integers than this are measurements or counts, not series.
MAX_ID_NUMBERS = 10


def are_interleaved(moments: Sequence[str], names: Sequence[str], form: TimeForm | None) -> bool:
    """Return whether rows that share a name have regular time steps and all rows together do not.

    Args:
        moments: `(rows,)` cells with the times.
        names: `(rows,)` values that may identify series.
        form: format of the times; None to infer it.
    """
    if len(set(names)) > MAX_ID_NUMBERS and all(map(str.isdigit, names)):
        return False
    try:
        form = form or infer_form(moments, "")
        times = None if form is None else parse_times(moments, form)
    except (BadTime, DataError):
        return False
    if times is None or len(times) != len(names):
        return False
    series = np.unique(names, return_inverse=True)[1]
    if not 0 < series.max() < len(times) / 2 or _regular_share(times) >= MAX_MIXED_SHARE:
        return False
    each = [_regular_share(times[series == number]) for number in np.flatnonzero(np.bincount(series) > 2)]
    return bool(each) and min(each) >= MIN_REGULAR_SHARE


def _regular_share(times: Int64Array) -> float:
    """Return the share of time steps within 10% of the median."""
    steps = np.sort(times)[1:] - np.sort(times)[:-1]
    middle = float(np.median(steps))
    return float((np.abs(steps - middle) <= middle / 10).mean())
