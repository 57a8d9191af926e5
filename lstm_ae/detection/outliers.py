"""Outliers among the normal rows, which raise the threshold so far that it detects nothing."""

import datetime

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.data.time_zones import format_time

# Quantile of the scores of most normal rows, and the multiple of it from which a row is an outlier.
MOST, TIMES = 0.75, 10


def find_outlying_rows(scores: Array, segment: Array) -> tuple[int, int, float] | None:
    """Return the range around the highest score if that score is many times that of most rows, else None.

    Args:
        scores: `(rows,)`, NaN for rows without a score.
        segment: `(rows,)` segment of each row.

    Returns:
        First and last row of the range, and the ratio of the highest score to that of most rows.
    """
    if np.isnan(scores).all():
        return None
    usual = float(np.nanquantile(scores, MOST))
    peak = int(np.nanargmax(scores))
    if not 0 < TIMES * usual < scores[peak]:
        return None
    # The range ends where scores fall below the geometric mean of the usual score and the peak.
    near = (scores > np.sqrt(usual * scores[peak])) & (segment == segment[peak])
    outside = np.flatnonzero(~near)
    after = int(np.searchsorted(outside, peak))
    first = int(outside[after - 1]) + 1 if after else 0
    last = int(outside[after]) - 1 if after < len(outside) else len(scores) - 1
    return first, last, float(scores[peak]) / usual


def describe_outlying_rows(scores: Array, segment: Array, times: Array, zone: datetime.tzinfo | None) -> str:
    """Describe outliers of the validation split and the remedy; "" if there are none.

    Args:
        scores: `(rows,)`, see `find_outlying_rows`.
        segment: `(rows,)`, see `find_outlying_rows`.
        times: `(rows,)` datetime64, or the numbers of rows without dates.
        zone: time zone of the text.
    """
    if (outliers := find_outlying_rows(scores, segment)) is None:
        return ""
    *ends, ratio = outliers
    first, last = (
        format_time(int(time.astype(np.int64)), zone) if times.dtype.kind == "M" else f"{time:.15g}"
        for time in times[ends]
    )
    return (
        f"The rows from {first} to {last}, in the validation split, have scores {ratio:,.0f} times as high as most "
        "normal rows, and raise the threshold. If these rows are anomalies, mark them with --label-col or exclude them "
        "from --normal, and train again"
    )
