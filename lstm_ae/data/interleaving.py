"""Whether rows are those of several series that alternate in time, though nobody told them apart."""

from collections.abc import Sequence

import numpy as np

from lstm_ae.data.timestamps import BadTime, TimeForm, Times, infer_form, parse_times
from lstm_ae.errors import DataError

# Steps of a regular series are within a tenth of the middle one, almost all; of a mixture many are not.
MIN_REGULAR_SHARE, MAX_MIXED_SHARE = 0.9, 0.75

# More different whole numbers are measured, or count something.
MAX_ID_NUMBERS = 10


def are_interleaved(moments: Sequence[str], names: Sequence[str], form: TimeForm | None) -> bool:
    """Whether the steps of rows that share a name are regular, and those of all rows are not.

    Args:
        moments: `(rows,)` the cells of their times.
        names: `(rows,)` what may tell series apart.
        form: how the times are read; found in them where None.
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


def _regular_share(times: Times) -> float:
    """The share of steps that are near the middle one."""
    steps = np.sort(times)[1:] - np.sort(times)[:-1]
    middle = float(np.median(steps))
    return float((np.abs(steps - middle) <= middle / 10).mean())
