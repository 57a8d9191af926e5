"""Thresholds of anomaly scores, fitted on normal rows that the model was not trained on."""

import math
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Float64Array
from lstm_ae.config.threshold import Rule, rows_of_unit
from lstm_ae.detection.events import AlarmRule, true_ranges
from lstm_ae.detection.tail import RECENT_BLOCKS, BlockMaxima, block_maxima, fit_block_maxima, usual_limit
from lstm_ae.errors import Code, DataError

# Rounding error of a float32 model in units of the smallest deviation of residuals. The scores of a constant series
# vary by nothing else.
ROUNDING = 1e-3

# Maximum share of normal rows above the threshold of a budget.
MAX_SHARE_ABOVE = 0.1

# Probability below which there are far more alarms than expected.
UNLIKELY = 0.01

# Smallest p-value reported.
MIN_P = 1e-12


class ExpectedAlarms(NamedTuple):
    """Expected false alarms (events in normal rows) per row, and the bounds of their 95% interval."""

    expected: float
    low: float
    high: float

    def exceeded_by(self, alarms: int) -> bool:
        """Return whether so many or more alarms have a probability below `UNLIKELY` by the Poisson distribution."""
        from scipy.special import gammainc

        return alarms > 0 and float(gammainc(alarms, self.expected)) < UNLIKELY

    def per(self, rows: float) -> "ExpectedAlarms":
        """Return the expected false alarms in `rows` rows."""
        return ExpectedAlarms(*(rows * number for number in self))


class Threshold(NamedTuple):
    """Threshold of anomaly scores with its calibration.

    Args:
        value: rows with larger scores are above the threshold.
        rule: the requested rule.
        how: description of how the value was determined.
        alarms: expected false alarms per row.
        normal: `(rows,)` scores that the threshold was fitted on, ascending.
        tail: distribution of the highest scores; None if scores differ by rounding only.
        maxima: logarithms of the last maxima of normal windows, by which the threshold follows a series that changes;
            None for a rule that states a score or a quantile, which remains as stated.
    """

    value: float
    rule: Rule
    how: str
    alarms: ExpectedAlarms
    normal: Float64Array
    tail: BlockMaxima | None
    maxima: tuple[float, ...] | None

    def alarm_rule(self, join: int) -> AlarmRule:
        """Return the rule by which rows raise alarms; see `AlarmRule`."""
        return AlarmRule(self.value, join, self.maxima)

    def p_values(self, scores: Array) -> Float64Array:
        """Return the probability that a normal row has a score at least as high, in the shape of `scores`.

        The probability is the empirical frequency up to the level of the tail, and that of the tail above it; at least
        1e-12, and NaN for a NaN score.
        """
        scores = np.asarray(scores, np.float64)
        above = len(self.normal) - np.searchsorted(self.normal, scores, side="left")
        p = (above + 1) / (len(self.normal) + 1)
        if self.tail is not None:
            p = np.where(scores > self.tail.level, self.tail.share * self.tail.survival(scores), p)
        values: Float64Array = np.where(np.isnan(scores), np.nan, np.maximum(p, MIN_P))
        return values


def fit_threshold(
    rule: Rule,
    scores: Array,
    join: int,
    *,
    step: np.timedelta64 | None = None,
    segment: Array | None = None,
    rounding: float = ROUNDING,
) -> Threshold:
    """Fit the threshold on the scores of normal rows that the model was not trained on.

    Args:
        rule: see `lstm_ae.config.threshold.parse_threshold`.
        scores: `(rows,)` in the order of time; NaN for rows without a score.
        join: gaps shorter than this within an event are bridged, see `events.true_ranges`; usually the window length.
        step: sampling interval; required for a budget.
        segment: `(rows,)` segment of each row.
        rounding: rounding error of the roots of scores, which are squared distances. If the roots of 90% of the scores
            exceed that of the median by no more than this, the scores differ by rounding only, and the threshold is
            raised to that bound.

    Raises:
        ConfigError: a budget without a sampling interval, or per period shorter than it.
        DataError: there is no score, or an infinite one.
    """
    scores = np.asarray(scores, np.float64)
    normal = np.sort(scores[~np.isnan(scores)])
    if not len(normal) or not np.isfinite(normal[-1]):
        problem = "The normal rows have no scores" if not len(normal) else "A normal row has an infinite score"
        raise DataError(f"{problem}. Pass other rows to --normal", code=Code.TOO_FEW_ROWS)
    least = float((np.sqrt(max(np.median(normal), 0)) + rounding) ** 2)
    steady = np.quantile(normal, 0.9) <= least
    tail = None if steady else fit_block_maxima(scores, join, segment)
    below = "nothing but rounding errors" if tail is None else "below the tail"
    if rule.kind == "fixed":
        value, how = rule.number, "fixed"
    elif rule.kind == "quantile":
        value, how = _quantile(normal, rule.number)
    elif rule.kind == "pot" and tail is not None and rule.number <= tail.share:
        value, how = tail.score_at(rule.number / tail.share), tail.description
    elif rule.kind == "pot":
        value, how = _quantile(normal, 1 - rule.number)
        how += f", {below}"
    else:
        rate = rule.number / rows_of_unit(rule.unit, step)
        value, how = float(normal[0]), below
        if tail is not None:
            # A budget of more than one event in two windows gets the threshold of one.
            value, how = tail.score_at(min(rate / tail.rate, 1)), tail.description
        lowest, quantile = _quantile(normal, 1 - MAX_SHARE_ABOVE)
        if value < lowest:
            value, how = lowest, f"{quantile}; the budget needs more than {MAX_SHARE_ABOVE:.0%} of the rows above it"
    maxima, at_score = None, rule.kind != "fixed"
    if rule.kind in {"pot", "budget"}:
        maxima = tuple(block_maxima(scores, join, segment)[-RECENT_BLOCKS:].tolist())
        if rule.at_most and tail is not None and (usual := usual_limit(maxima)) > value:
            value, at_score = usual, False
            how += f"; raised to {usual:.4g}, the limit of the usual highest score of a window"
    if at_score and steady and value < least:
        value, how, at_score = least, how + f"; raised to {least:g}, the bound of rounding errors", False
    alarms = _alarms(scores, value, at_score, tail, join, segment)
    return Threshold(value, rule, how, alarms, normal, tail, maxima)


def _quantile(normal: Float64Array, level: float) -> tuple[float, str]:
    # The k-th smallest of n scores exceeds a new one with probability k / (n + 1); round before ceil for float errors.
    rank = math.ceil(round((len(normal) + 1) * level, 9))
    if rank > len(normal):
        how = f"the highest of {len(normal)} normal scores, too few for the quantile {level:g}"
        return float(normal[-1]), how
    return float(normal[rank - 1]), f"quantile {level:g} of {len(normal)} normal scores"


def _alarms(
    scores: Float64Array,
    value: float,
    at_score: bool,
    tail: BlockMaxima | None,
    join: int,
    segment: Array | None,
) -> ExpectedAlarms:
    """Estimate false alarms from the tail, or below it from the number of events with Garwood's exact Poisson interval.

    In the tail, clusters are counted. An event may join several of them, so that the estimate is conservative, and
    nearly exact for few alarms. A threshold that equals one of the scores counts that score as well, because the same
    number of other rows exceeds it as often on average.
    """
    from scipy.special import gammaincinv

    if tail is not None and value >= tail.level:
        return ExpectedAlarms(*tail.clusters(value))
    rows = int(np.count_nonzero(~np.isnan(scores)))
    events = len(true_ranges(scores > value, join, segment)) + at_score
    # Half a quantile of the chi-squared distribution with 2 n degrees of freedom; scipy.stats takes a second to import.
    low = float(gammaincinv(events, 0.025)) if events else 0.0
    return ExpectedAlarms(events / rows, low / rows, float(gammaincinv(events + 1, 0.975)) / rows)
