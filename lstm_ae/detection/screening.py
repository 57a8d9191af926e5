"""Find normal rows that cannot belong to the rest, such as unlabeled faults in a history.

One fault among the rows to which a threshold is fitted would raise it beyond all later faults. The largest errors of
blocks of normal rows are about lognormal, as in `lstm_ae.detection.tail`. A few faults hardly affect their median and
median absolute deviation (Hampel 1974, "The influence curve and its role in robust estimation"), so that maxima beyond
several deviations are outliers. Heavy tails have large deviations.

A row with a large error raises those of the window of rows after it, so that a few may raise most maxima. They are
therefore tested as in the generalized test of extreme studentized deviates (Rosner 1983, "Percentage points for a
generalized ESD many-outlier procedure"): the farthest rows are left out one after the other, and the last ones that are
beyond the limit of the rest are outliers, with all before them.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Float64Array
from lstm_ae.detection.events import error_shares, true_ranges
from lstm_ae.detection.row_means import mean_over_features
from lstm_ae.detection.scorer import RowScores
from lstm_ae.detection.tail import block_maxima, robust_limit
from lstm_ae.detection.views import TrainingWindows, View

# Deviations beyond which the largest error of a block of rows, and the largest distance of a window in a block of a
# window of rows, does not belong to the rest; and those of the windows around it. Errors vary more than distances.
FAR_ERROR, FAR_DISTANCE, RAISED = 6.0, 10.0, 2.5

# Rows of a block of errors, few enough for many blocks where there are few windows.
ERROR_ROWS = 20

# Quantiles of training rows and of training windows that are usual, and how many times as high an outlier is at least.
# A part of the training rows may be faults, each of which raises a window of windows; and errors of rows that the
# network was trained on are lower.
USUAL_ERROR, USUAL_DISTANCE, MARGIN = 0.995, 0.9, 4.0

# Rows beside the one with the largest error have at least this part of it if they are tested together.
BESIDE = 0.1

# Stretches of rows that are tested at most, and how many within the limit end the test: one if there are many windows,
# of which a few stretches raise a small part.
MAX_STRETCHES, WITHIN, MANY_WINDOWS = 20, 5, 50


class Outlier(NamedTuple):
    """Normal rows that were left out, because their errors do not belong to the rest.

    Args:
        first: number of the first row.
        last: number of the last row.
        column: number of the column with the largest error.
        times: the largest error or distance as a multiple of the usual largest one of a block.
    """

    first: int
    last: int
    column: int
    times: float


class Screened(NamedTuple):
    """Normal rows without outliers.

    Args:
        series: `(rows, features)`, NaN for far rows.
        scored: their scores; NaN for far windows.
        outliers: rows that were left out, in the order of the rows.
    """

    series: Array
    scored: RowScores
    outliers: list[Outlier]


class UsualErrors(NamedTuple):
    """High quantiles of training windows by each view; what is usual there is no outlier.

    Args:
        own: `(views,)` of the mean errors of single rows.
        distances: `(views,)` of the distances of windows.
    """

    own: Array
    distances: Array

    @classmethod
    def of(cls, views: Iterable[View], training: TrainingWindows) -> "UsualErrors":
        """Return the quantiles of views, times `MARGIN`."""
        measured = [view.measure(training.of_source(view.source)) for view in views]
        own = [np.nanquantile(mean_over_features(each.last_errors()), USUAL_ERROR) for each in measured]
        distances = [np.nanquantile(each.distances, USUAL_DISTANCE) for each in measured]
        return cls(MARGIN * np.array(own), MARGIN * np.array(distances))


def screen(
    score: Callable[[Array], RowScores], usual: UsualErrors, series: Array, segment: Array, window: int
) -> Screened:
    """Leave out the rows and the windows that do not belong to the rest.

    Args:
        score: function that returns the scores of rows by views without units.
        usual: errors that are usual in training windows.
        series: `(rows, features)` normal rows in original units, NaN where missing.
        segment: `(rows,)` segment of each row.
        window: rows per window.
    """
    scored = score(series)
    kept = Screened(series, scored, [])
    outliers, within = list[Outlier](), 0
    enough = WITHIN if len(series) < MANY_WINDOWS * window else 1
    while within < enough and len(outliers) < MAX_STRETCHES and not np.isnan(scored.own).all(axis=0).any():
        outlier, is_far = _find_farthest(scored, usual, segment)
        outliers.append(outlier)
        series = series.copy()
        series[outlier.first : outlier.last + 1] = np.nan
        largest, scored = np.fmax.reduce(scored.own), score(series)
        # Without rows in which a normal value changes, such as that of a switch, the rows beside them look wrong.
        if not np.all(np.fmax.reduce(scored.own) <= largest):
            break
        within = 0 if is_far else within + 1
        if is_far:
            kept = Screened(series, scored, list(outliers))
    series, scored, outliers = kept
    while far := _find_windows(scored, usual, segment, window):
        left = np.zeros((len(series), 1), bool)
        for outlier in far:
            left[outlier.first : outlier.last + 1] = True
            # Far rows, or another view, may have named the reason already.
            if not any(other.first <= outlier.last and outlier.first <= other.last for other in outliers):
                outliers.append(outlier)
        scored = scored._replace(
            distances=np.where(left, np.nan, scored.distances), own=np.where(left, np.nan, scored.own)
        )
    return Screened(series, scored, _merge(outliers, segment))


def _merge(outliers: Iterable[Outlier], segment: Array) -> list[Outlier]:
    """Return outliers in the order of the rows; those as near as in a block of errors are one."""
    merged = list[Outlier]()
    for outlier in sorted(outliers):
        before = merged[-1] if merged else None
        if before and outlier.first - before.last <= ERROR_ROWS and segment[before.last] == segment[outlier.first]:
            merged.pop()
            clearest = max(before, outlier, key=lambda each: each.times)
            merged.append(clearest._replace(first=before.first, last=max(before.last, outlier.last)))
        else:
            merged.append(outlier)
    return merged


def _find_farthest(scored: RowScores, usual: UsualErrors, segment: Array) -> tuple[Outlier, bool]:
    """Return the rows with the largest error, and whether it is beyond the limit of the rest, by the clearest view."""
    found = []
    for own, least in zip(scored.own.T, usual.own, strict=True):
        logs = block_maxima(own, ERROR_ROWS, segment)
        peak = int(np.nanargmax(own))
        stretches = true_ranges(own >= own[peak] * BESIDE, 1, segment).tolist()
        first, end = next((first, end) for first, end in stretches if first <= peak < end)
        ratio = float(own[peak]) / max(robust_limit(logs, FAR_ERROR), least)
        found.append((ratio, _outlier(scored, first, end, peak, float(own[peak]), logs)))
    ratio, outlier = max(found)
    return outlier, ratio > 1


def _find_windows(scored: RowScores, usual: UsualErrors, segment: Array, window: int) -> list[Outlier]:
    """Return the rows at which windows end whose distances do not belong to the rest, by any view."""
    found = []
    for distances, least in zip(scored.distances.T, usual.distances, strict=True):
        logs = block_maxima(distances, window, segment)
        limit = max(robust_limit(logs, FAR_DISTANCE), least)
        for first, end in true_ranges(distances > robust_limit(logs, RAISED), window, segment).tolist():
            peak = first + int(np.nanargmax(distances[first:end]))
            if distances[peak] > limit:
                found.append(_outlier(scored, first, end, peak, float(distances[peak]), logs))
    return found


def _outlier(scored: RowScores, first: int, end: int, peak: int, value: float, logs: Float64Array) -> Outlier:
    column = int(np.argmax(error_shares(scored.errors[peak])))
    return Outlier(first=first, last=end - 1, column=column, times=value / math.exp(float(np.median(logs))))
