"""Calibration of a detector on normal rows that no view was fitted on, stored with a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.artifacts import Artifact, PartsByName, StoredArray
from lstm_ae.config.threshold import AT_MOST, UNITS, Rule, parse_threshold
from lstm_ae.data.scaling import Scale
from lstm_ae.detection.drift import Adaptation, fit_adaptation
from lstm_ae.detection.row_means import Residuals
from lstm_ae.detection.scorer import RowScores, Scorer
from lstm_ae.detection.screening import Outlier, Screened, UsualErrors, screen
from lstm_ae.detection.shift import HIGH_QUANTILE, SHIFT_WINDOWS, ShiftLimits
from lstm_ae.detection.thresholds import ROUNDING, Threshold, fit_threshold
from lstm_ae.detection.views import HIGH_QUANTILE as UNIT_QUANTILE
from lstm_ae.detection.views import MIN_UNIT, VIEWS, TrainingWindows, Units, View

# Minimum numbers of windows and of rows in the period of an alarm budget.
FEW_WINDOWS, FEW_ROWS = 4, 200


@dataclass(frozen=True)
class NormalScores(Artifact):
    """Alarm scores of normal rows that no view was fitted on, and the views.

    Args:
        views: the views by name.
        scores: `(rows,)` alarm scores, NaN for rows without one.
        segment: `(rows,)` segment of each row.
        window: rows per window.
        step: sampling interval in nanoseconds; 0 if it is not constant.
        scale: scale of the rows.
    """

    file = "normal.npz"
    advice = "It is not an anomaly detector; train one with lstmae series train --task anomaly"
    repair = "restore it, or train a new run: the scores of earlier versions are different"

    views: Annotated[Mapping[str, View], PartsByName(VIEWS)]
    scores: Annotated[Array, StoredArray("scores", np.floating, "rows")]
    segment: Annotated[Array, StoredArray("segment", np.integer, "rows")]
    window: int
    step: int
    scale: Scale

    def scorer(self, sources: Mapping[str, Residuals]) -> Scorer:
        """Return the scorer of the views; see `Scorer`."""
        return Scorer(list(self.views.values()), sources)

    def threshold(self, rule: Rule) -> Threshold:
        """Fit the threshold of a rule, see `lstm_ae.config.threshold.parse_threshold`."""
        # Of the views, those of values compute in double precision.
        units = next(iter(self.views.values())).calibration.units
        return self._fit_threshold(rule, self.scores, float(ROUNDING / np.sqrt(min(units.distance, units.error))))

    def _fit_threshold(self, rule: Rule, scores: Array, rounding: float) -> Threshold:
        return fit_threshold(
            rule,
            scores,
            self.window,
            step=np.timedelta64(self.step, "ns") if self.step else None,
            segment=self.segment,
            rounding=rounding,
        )

    def shift_limits(self) -> ShiftLimits:
        """Return the limits of the training range for values and for scores."""
        known = self.scores[~np.isnan(self.scores)]
        limit = float(np.quantile(known, HIGH_QUANTILE)) if len(known) else np.inf
        scale = self.scale.common if self.scale.ranged else None
        return ShiftLimits(scale, limit, SHIFT_WINDOWS * self.window)

    def adapt(self, rule: Rule, memory: int) -> tuple[Adaptation, Threshold]:
        """Return an adaptation to the recent level of scores, and the threshold of relative scores.

        Args:
            rule: see `threshold`.
            memory: rows of the level, see `lstm_ae.detection.drift.ScoreLevel`.

        Raises:
            ConfigError: the memory is shorter than a window.
        """
        adaptation = fit_adaptation(self.scores, self.segment, memory, self.window)
        # Relative scores of rounding errors vary as much as others.
        threshold = self._fit_threshold(rule, adaptation.scores, ROUNDING)
        return adaptation, threshold._replace(how=f"{threshold.how}; times the level of the last {memory:,} rows")


class Calibrated(NamedTuple):
    """Views that were calibrated on normal rows.

    Args:
        views: the views with units.
        scores: `(rows,)` alarm scores of the rows; NaN for rows without one, or that were left out.
        outliers: the rows that were left out.
    """

    views: dict[str, View]
    scores: Array
    outliers: list[Outlier]


def calibrate(
    views: Mapping[str, View],
    sources: Mapping[str, Residuals],
    series: Array,
    segment: Array,
    training: TrainingWindows | None,
) -> Calibrated:
    """Fit the units of views on normal rows, and score these rows.

    Args:
        views: views without units.
        sources: see `Scorer`.
        series, segment: the rows, see `Scorer.score_rows`.
        training: training windows, by which rows that do not belong to the rest are left out, see
            `lstm_ae.detection.screening`; None to keep all rows.
    """
    raw = Scorer(list(views.values()), sources)

    def score(rows: Array) -> RowScores:
        return raw.score_rows(rows, segment)

    if training is None:
        rows = Screened(series, score(series), [])
    else:
        rows = screen(score, UsualErrors.of(views.values(), training), series, segment, raw.window)
    units = _fit_units(views, sources, rows, segment)
    fitted = {name: view.with_units(units[name]) for name, view in views.items()}
    return Calibrated(fitted, Scorer(list(fitted.values()), sources).rescore(rows.scored).scores, rows.outliers)


def _fit_units(
    views: Mapping[str, View], sources: Mapping[str, Residuals], rows: Screened, segment: Array
) -> dict[str, Units]:
    """Return the units of views from the scores of rows by the views without units."""
    units, scored = {}, rows.scored
    for number, (name, view) in enumerate(views.items()):
        single = Scorer([view], {view.source: sources[view.source]})
        parts = scored._replace(distances=scored.distances[:, [number]])
        final = single.final_scores(parts, rows.series, segment) if view.ranks else np.empty(0)
        units[name] = Units(
            distance=_quantile(scored.distances[:, number], UNIT_QUANTILE),
            error=_quantile(scored.own[:, number], UNIT_QUANTILE),
            usual=_quantile(final, 0.5),
        )
    return units


def _quantile(values: Array, level: float) -> float:
    """Return a quantile of values without NaN, at least `MIN_UNIT`; 1 without any value."""
    return 1.0 if np.isnan(values).all() else max(float(np.nanquantile(values, level)), MIN_UNIT)


def default_rule(step: int, window: int) -> Rule:
    """Return the default threshold rule: at most one false alarm per month, or per year if a month is short.

    A month is short if it has few rows or windows.

    If a year has too few rows as well, or the sampling interval is not constant, the rule is a tail probability of
    1e-3. The defaults were chosen on the artificial files of the Numenta Anomaly Benchmark.

    Args:
        step: sampling interval in nanoseconds; 0 if it is not constant or rows have no dates.
        window: steps per window. Alarms less than a window apart are one event, so that a period of few windows cannot
            contain many alarms.

    >>> str(default_rule(3600 * 10**9, window=24))
    'budget:1/month:at-most'
    >>> str(default_rule(0, window=24))
    'pot:0.001:at-most'
    """
    for unit in ("month", "year"):
        if 0 < step * max(window * FEW_WINDOWS, FEW_ROWS) <= UNITS[unit] * 10**9:
            return parse_threshold(f"budget:1/{unit}{AT_MOST}")
    return parse_threshold(f"pot:1e-3{AT_MOST}")
