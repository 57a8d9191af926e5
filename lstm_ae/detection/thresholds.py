"""Thresholds for anomaly scores, chosen on normal rows that the model was not trained on."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config.threshold import Rule, rows_of_unit
from lstm_ae.detection.events import true_ranges
from lstm_ae.detection.tail import PEAKS, Tail, fit_tail
from lstm_ae.errors import DataError

Numbers = NDArray[Any]

Floats = NDArray[np.float64]

# What a model of float32 may be off by rounding alone, on scaled values. A constant series has no other ups and downs.
ROUNDING = 1e-5

# Of the normal steps, above the threshold of a budget.
MOST_ABOVE = 0.1

# No finite number of rows proves less.
LEAST_P = 1e-12


class ExpectedAlarms(NamedTuple):
    """False alarms, events in normal rows, to expect for a row, and the ends of the 95 per cent interval."""

    expected: float
    low: float
    high: float

    def per(self, rows: float) -> "ExpectedAlarms":
        """In so many rows."""
        return ExpectedAlarms(*(rows * number for number in self))


class Threshold(NamedTuple):
    """A threshold and what is known of it.

    Args:
        value: a step whose score is larger is above it.
        rule: what was asked for.
        how: how it was found, in words.
        fell_back: another way than the one that was asked for had to be taken.
        alarms: false alarms to expect for a row.
        normal: `(rows,)` the scores it was found on, ascending.
        tail: what was fitted to the highest of them; None where nothing fits.
    """

    value: float
    rule: Rule
    how: str
    fell_back: bool
    alarms: ExpectedAlarms
    normal: Floats
    tail: Tail | None

    def p_values(self, scores: Numbers) -> Floats:
        """The probability that a normal row scores as high, `(any,)` alike: never 0; NaN for a NaN.

        Counted among the normal scores up to the level of the tail, by the tail above it.
        """
        scores = np.asarray(scores, np.float64)
        above = len(self.normal) - np.searchsorted(self.normal, scores, side="left")
        p = (above + 1) / (len(self.normal) + 1)
        if self.tail is not None:
            p = np.where(scores > self.tail.level, self.tail.share * self.tail.survival(scores), p)
        values: Floats = np.where(np.isnan(scores), np.nan, np.maximum(p, LEAST_P))
        return values


def fit_threshold(
    rule: Rule,
    scores: Numbers,
    join: int,
    *,
    smooth: int = 1,
    step: np.timedelta64 | None = None,
    segment: Numbers | None = None,
    rounding: float = ROUNDING,
    seed: int = 0,
) -> Threshold:
    """Find the threshold on the scores of normal rows that the model was not trained on.

    Args:
        rule: see `rules.parse_threshold`.
        scores: `(rows,)` in the order of time; NaN for a row without a score.
        join: steps that an event bridges, see `events.ranges`; the window as a rule.
        smooth: rows that a score is the mean of, see `scores.Overlap`.
        step: time from row to row; a budget needs it.
        segment: `(rows,)`, which rows belong together.
        rounding: an error of values. Where nine of ten normal scores, squared errors, are not that much beyond their
            median, they differ by rounding alone, and the threshold is raised to there.
        seed: of the samples on which a tail is tested.

    Raises:
        ConfigError: a budget without a step, or for less time than a step.
        DataError: there is no score at all, or an infinite one.
    """
    scores = np.asarray(scores, np.float64)
    normal = np.sort(scores[~np.isnan(scores)])
    if not len(normal) or not np.isfinite(normal[-1]):
        problem = "are none" if not len(normal) else "hold an infinite one"
        raise DataError(f"The scores of the normal rows {problem}. Give other rows to --normal")
    tail, reason = None, "nothing but rounding errors"
    least = float((np.sqrt(max(np.median(normal), 0)) + rounding) ** 2)
    steady = np.quantile(normal, 0.9) <= least
    if not steady:
        tail, reason = fit_tail(scores, smooth, segment, seed)
    fell_back = False
    if rule.kind == "fixed":
        value, how = rule.number, "fixed"
    elif rule.kind == "quantile":
        value, how = _quantile(normal, rule.number)
    elif rule.kind == "pot" and tail is not None and rule.number <= tail.share:
        value, how = tail.score_at(rule.number / tail.share), _of_tail(tail)
    elif rule.kind == "pot":
        fell_back = tail is None
        value, how = _quantile(normal, 1 - rule.number)
        how += f", as no tail fits: {reason}" if fell_back else ", below the tail"
    else:
        rate = rule.number / rows_of_unit(rule.unit, step)
        if tail is not None and rate <= tail.rate:
            value, how = tail.score_at(rate / tail.rate), _of_tail(tail)
        else:
            fell_back = tail is None
            value, how = _budget(scores, rate, join, segment)
            how += f", as no tail fits: {reason}" if fell_back else ", below the tail"
        most, share = _quantile(normal, 1 - MOST_ABOVE)
        if value < most:
            value, how = most, f"{share}; the budget allows more events than windows leave room for"
    at_score = rule.kind != "fixed"
    if at_score and steady and value < least:
        value, how, at_score = least, how + f"; raised to {least:g}, where rounding errors end", False
    alarms = _alarms(scores, value, at_score, tail, join, segment)
    return Threshold(value, rule, how, fell_back, alarms, normal, tail)


def _quantile(normal: Floats, part: float) -> tuple[float, str]:
    # Of n scores the k-th smallest is above a new one with probability k / (n + 1). Rounded first, see `intervals`.
    rank = math.ceil(round((len(normal) + 1) * part, 9))
    if rank > len(normal):
        how = f"the highest of {len(normal)} normal scores, too few for the quantile {part:g}"
        return float(normal[-1]), how
    return float(normal[rank - 1]), f"quantile {part:g} of {len(normal)} normal scores"


def _budget(scores: Floats, rate: float, join: int, segment: Numbers | None) -> tuple[float, str]:
    """The lowest score that surely leaves no more events than the budget allows in these rows.

    The highest score of an event tops all within `join` rows, or they would be in the event too. So there are no more
    events above a score than such tops, whatever the steps between them do.
    """
    rows = int(np.count_nonzero(~np.isnan(scores)))
    allowed = int(rate * rows + 1e-9)
    tops = np.sort(_tops(scores, join, segment))[::-1]
    if allowed >= len(tops):
        return float(np.nanmin(scores)), f"no more than {len(tops)} events in {rows} normal scores"
    if allowed:
        return float(tops[allowed]), f"{allowed} events in {rows} normal scores"
    return float(tops[0]), f"the highest of {rows} normal scores, too few for so few alarms"


def _tops(scores: Floats, join: int, segment: Numbers | None) -> Floats:
    """Scores that no other within `join` rows of their segment tops; those that tie there count once."""
    from scipy.ndimage import maximum_filter1d

    filled = np.where(np.isnan(scores), -np.inf, scores)
    borders: Numbers | list[int] = [] if segment is None else np.flatnonzero(segment[1:] != segment[:-1]) + 1
    tops = [np.empty(0)]
    for part in np.split(filled, borders):
        highest = maximum_filter1d(part, 2 * join + 1, mode="constant", cval=-np.inf)
        tops.append(part[true_ranges((part == highest) & (part > -np.inf), join)[:, 0]])
    return np.concatenate(tops)


def _of_tail(tail: Tail) -> str:
    kind = f"generalised Pareto tail, shape {tail.shape:.2f}," if tail.peaks >= PEAKS else "exponential tail"
    return f"{kind} of {tail.peaks} peaks above {tail.level:.4g}, goodness of fit p = {tail.fit:.2f}"


def _alarms(
    scores: Floats, value: float, at_score: bool, tail: Tail | None, join: int, segment: Numbers | None
) -> ExpectedAlarms:
    """By the tail where the threshold lies in it; else events are counted, with Garwood's exact Poisson interval.

    In the tail clusters are counted, of which an event may join several: on the safe side, and the same for few alarms.
    A threshold set at one of the scores counts that one too: the next stretch
    of rows tops it as often, in the mean.
    """
    from scipy.stats import chi2

    if tail is not None and value >= tail.level:
        return ExpectedAlarms(*tail.clusters(value))
    rows = int(np.count_nonzero(~np.isnan(scores)))
    events = len(true_ranges(scores > value, join, segment)) + at_score
    low = float(chi2.ppf(0.025, 2 * events)) / 2 if events else 0.0
    return ExpectedAlarms(events / rows, low / rows, float(chi2.ppf(0.975, 2 * events + 2)) / 2 / rows)
