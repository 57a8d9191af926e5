"""Anomalies in a table by a trained run: scores, events, the baseline beside them, and labels where there are some."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.anomaly.measures import Findings, Ranking, findings, ranking
from lstm_ae.anomaly.normal import Adding, Found, Normal, judge, of_windows, score_rows
from lstm_ae.anomaly.scores import row_scores
from lstm_ae.config import Series
from lstm_ae.config.rules import parse_threshold
from lstm_ae.data.flags import flagged
from lstm_ae.data.known import known_anomalies
from lstm_ae.data.levels import Levels
from lstm_ae.data.measurements import Progress, read_measurements
from lstm_ae.data.padding import cut_back, own_rows
from lstm_ae.data.series import Prepared
from lstm_ae.data.telling import told
from lstm_ae.halves import halves_of
from lstm_ae.run import Run
from lstm_ae.tasks.series import codes, settling

Numbers = NDArray[Any]


class Judged(NamedTuple):
    """How well scores rank labelled rows, and how well events meet labelled ranges."""

    ranking: Ranking
    findings: Findings


class Detection(NamedTuple):
    """What a table was found to hold.

    Args:
        prepared: the table on its grid.
        ours, baseline: by the model, and by as many principal components as its code has numbers.
        judged: by name ("model", "PCA", "raw values") where there are labels.
    """

    prepared: Prepared
    normal: Normal
    ours: Found
    baseline: Found
    judged: dict[str, Judged]

    def when(self, row: int) -> str:
        """The time of a row, or its number."""
        time, measurements = int(self.prepared.grid.times[row]), self.prepared.table
        return told(time, measurements.zone) if measurements.layout.time is not None else str(time)

    def series(self, row: int) -> str | None:
        """The name of a row's series; None where there is one series."""
        ids = self.prepared.table.ids
        return ids[self.prepared.grid.series[row]] if len(ids) > 1 else None

    def labelled(self) -> Numbers:
        """Which rows are known to be anomalies, `(rows,)` bool."""
        return known_anomalies(self.prepared.table, self.prepared.grid)


class Detector(NamedTuple):
    """What a run searches tables by, ready to be applied to any number of them.

    Args:
        ours, baseline: squared errors of windows at every row, levelled, by the model and by as many principal
            components as its code has numbers; each column's times its weight.
    """

    config: Series
    normal: Normal
    levels: Levels
    ours: Adding
    baseline: Adding


def detector_of(run: Run) -> Detector:
    """A run's own.

    Raises:
        ConfigError, DataError: the run is damaged, or does not find anomalies.
    """
    config = run.config()
    assert isinstance(config, Series)
    # Which rule is the usual one may change; a run's threshold does not.
    rule = run.metrics().get("threshold", {}).get("rule")
    config = dataclasses.replace(config, threshold=config.threshold or rule)
    normal, scale = run.normal()
    by_components = of_windows(codes.errors_of_components(normal.components, scale.together), normal.window)
    errors = normal.weigh(halves_of(run.model(), config.scale).errors, by_components)
    return Detector(config, normal, Levels(scale, run.symbols), *errors)


def detect(
    run: Run,
    data: str,
    *,
    rule: str | None = None,
    label_col: str | None = None,
    reading: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    scoring: Progress | None = None,
) -> Detection:
    """Search a table for anomalies.

    Args:
        data: the table, with the columns of the one that the run was trained on, in any order.
        rule: of the threshold; that of the run where None.
        label_col: a column of known anomalies, 0 or 1, or false or true.
        reading: how the table is written where that differs from the run's own, see `settling.read_as`.
        progress: is told the rows read so far, and the share of the file.
        scoring: the same of the rows scored.

    Raises:
        ConfigError, DataError: the table cannot be read so, or the run does not find anomalies.
    """
    config = run.config()
    assert isinstance(config, Series)
    run.normal()  # before the table, which may take long to read
    config = dataclasses.replace(settling.read_as(config, reading), data=data, label_col=label_col)
    # Labels are looked at before the search, which may take long.
    prepared = settling.whole(config, flagged(read_measurements(config, progress, of_run=True)))
    return search(detector_of(run), prepared, rule, scoring)


def search(
    detector: Detector, prepared: Prepared, rule: str | None = None, progress: Progress | None = None
) -> Detection:
    """Search a table that is on its grid; `rule` is of the threshold, that of the detector where None."""
    normal, grid, values = detector.normal, prepared.grid, detector.levels.levelled(prepared).grid.values
    asked = parse_threshold(rule) if rule else codes.rule_of(detector.config, normal)
    found, own = [], own_rows(grid)
    prepared = cut_back(prepared, own)
    kept: Any = slice(None) if prepared.grid is grid else own
    for errors, scores in ((detector.ours, normal.scores), (detector.baseline, normal.baseline)):
        # The model's part takes longest; the other follows at its end.
        told = progress if errors is detector.ours else None
        by_feature = score_rows(errors, values, grid.segment, normal.window, normal.smooth, told)
        threshold = normal.threshold(asked, scores)
        found.append(judge(by_feature[kept], normal, threshold, prepared.grid.segment, prepared.grid.series))
    ours, baseline = found
    judged = {}
    if prepared.grid.labels is not None:
        scale = detector.levels.scale.together
        away = np.square((values[kept] - scale.offset) / scale.range) if scale.kind == "fixed" else None
        judged = _judged(prepared, ours, baseline, None if away is None else row_scores(away), normal.window)
    return Detection(prepared, normal, ours, baseline, judged)


def _judged(prepared: Prepared, ours: Found, baseline: Found, raw: Numbers | None, window: int) -> dict[str, Judged]:
    """Scores and events against the labels; rows without a score or a label count as ordinary and unsuspicious.

    What no row, or every row, is labelled for is NaN.
    """
    grid, labels = prepared.grid, known_anomalies(prepared.table, prepared.grid)
    found = {}
    for name, scores, events in (("model", ours.scores, ours.events), ("PCA", baseline.scores, baseline.events)):
        found[name] = _judge(labels, scores, events, window, grid.segment)
    if raw is not None:
        found["raw values"] = _judge(labels, raw, [], window, grid.segment)
    return found


def _judge(labels: Numbers, scores: Numbers, events: Sequence[Any], window: int, segment: Numbers) -> Judged:
    filled = np.where(np.isnan(scores), np.nanmin(scores), scores)
    return Judged(ranking(labels, filled, window, segment), findings(labels, filled, events, segment))
