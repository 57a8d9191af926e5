"""Detect anomalies in a table with a trained run, and compare the scores with a baseline and with labels."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lstm_ae.arrays import Array
from lstm_ae.config import Series
from lstm_ae.config.threshold import UNITS, parse_threshold
from lstm_ae.data.anomaly_labels import encode_anomaly_labels, known_anomalies
from lstm_ae.data.measurements import Progress, read_measurements
from lstm_ae.data.padding import original_rows, remove_padding
from lstm_ae.data.preparation import PreparedTable, SeriesScales
from lstm_ae.data.time_zones import format_time, format_times
from lstm_ae.detection.calibration import Adding, NormalScores, ScoredSeries, find_anomalies, score_rows, windowwise
from lstm_ae.detection.events import Event
from lstm_ae.detection.metrics import EventMetrics, RankingMetrics, event_metrics, ranking_metrics
from lstm_ae.detection.scores import row_scores
from lstm_ae.detection.sketch import COLUMNS, SERIES, TableSketch, sketch_series
from lstm_ae.formatting import format_count, format_expected_count, format_period
from lstm_ae.models.sliding import slide
from lstm_ae.run import Run
from lstm_ae.studies.series import defaults, reconstruction


class LabelMetrics(NamedTuple):
    """The ranking metrics of scores on labeled rows and the event metrics on labeled ranges."""

    ranking: RankingMetrics
    findings: EventMetrics


class Detection(NamedTuple):
    """The scores and events of a table.

    Args:
        prepared: The table on its time grid.
        normal: The scores of normal rows that the model was not trained on.
        ours, baseline: Scores and events of the model, and of as many principal components as its code has numbers.
        judged: Metrics by name ("model", "PCA", "raw values") if the table has labels.
    """

    prepared: PreparedTable
    normal: NormalScores
    ours: ScoredSeries
    baseline: ScoredSeries
    judged: dict[str, LabelMetrics]

    def when(self, row: int) -> str:
        """Return the time of a grid row as text, or its number if the table has no time column."""
        time, measurements = int(self.prepared.grid.times[row]), self.prepared.table
        return format_time(time, measurements.zone) if measurements.layout.time is not None else str(time)

    def series(self, row: int) -> str | None:
        """Return the name of a row's series; None if there is one series."""
        ids = self.prepared.table.ids
        return ids[self.prepared.grid.series[row]] if len(ids) > 1 else None

    def labelled(self) -> Array:
        """Return which rows are known anomalies, `(rows,)` bool."""
        return known_anomalies(self.prepared.table, self.prepared.grid)


class RunDetector(NamedTuple):
    """A run's detector, ready to be applied to any number of tables.

    Args:
        config: The run's settings.
        normal: The scores of normal rows that the model was not trained on.
        levels: The scales of the series.
        ours, baseline: Functions that return the squared window errors of scaled rows, for the model and for as many
            principal components as its code has numbers. The errors of each column are multiplied by its weight.
    """

    config: Series
    normal: NormalScores
    levels: SeriesScales
    ours: Adding
    baseline: Adding


def load_detector(run: Run) -> RunDetector:
    """Load the detector of a run.

    Raises:
        ConfigError, DataError: If the run is damaged or is not an anomaly detection run.
    """
    config = run.config()
    assert isinstance(config, Series)
    # The default rule may change in a later version, but the threshold of a run must not.
    rule = run.metrics().get("threshold", {}).get("rule")
    config = dataclasses.replace(config, threshold=config.threshold or rule)
    normal, scale = run.normal()
    by_components = windowwise(reconstruction.component_errors(normal.components, scale.common), normal.window)
    errors = normal.weigh(slide(run.model(), config.scale).errors, by_components)
    return RunDetector(config, normal, SeriesScales(scale, run.symbols), *errors)


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
    """Detect anomalies in a table.

    Args:
        run: A finished anomaly detection run.
        data: The table, with the columns of the training table in any order.
        rule: The threshold rule; None for the run's own rule.
        label_col: Column of known anomalies, with the values 0 and 1, or false and true.
        reading: Reading options that differ from the run's, see `settling.read_as`.
        progress: Function that is called with the number of rows read and the share of the file.
        scoring: Function that is called with the number of rows scored and their share.

    Raises:
        ConfigError, DataError: If the table cannot be read with these options, or the run is not an anomaly
            detection run.
    """
    config = run.config()
    assert isinstance(config, Series)
    run.normal()  # Report a damaged run before reading a table that may be large.
    config = dataclasses.replace(defaults.read_with_run_config(config, reading), data=data, label_col=label_col)
    # Report invalid labels before scoring, which may take long.
    prepared = defaults.whole_table(config, encode_anomaly_labels(read_measurements(config, progress, of_run=True)))
    return detect_prepared(load_detector(run), prepared, rule, scoring)


def detect_prepared(
    detector: RunDetector, prepared: PreparedTable, rule: str | None = None, progress: Progress | None = None
) -> Detection:
    """Detect anomalies in a table that is on its time grid.

    Args:
        detector: The detector of a run.
        prepared: The table.
        rule: The threshold rule; None for the detector's own rule.
        progress: Function that is called with the number of rows scored and their share.
    """
    normal, grid, values = detector.normal, prepared.grid, detector.levels.to_common(prepared).grid.values
    asked = parse_threshold(rule) if rule else reconstruction.threshold_rule(detector.config, normal)
    found, own = [], original_rows(grid)
    prepared = remove_padding(prepared, own)
    kept: Any = slice(None) if prepared.grid is grid else own
    for errors, scores in ((detector.ours, normal.scores), (detector.baseline, normal.baseline)):
        # Only the model reports progress: the baseline takes much less time.
        told = progress if errors is detector.ours else None
        by_feature = score_rows(errors, values, grid.segment, normal.window, normal.smooth, told)
        threshold = normal.threshold(asked, scores)
        found.append(find_anomalies(by_feature[kept], normal, threshold, prepared.grid.segment, prepared.grid.series))
    ours, baseline = found
    judged = {}
    if prepared.grid.labels is not None:
        scale = detector.levels.scale.common
        away = np.square((values[kept] - scale.offset) / scale.range) if scale.kind == "fixed" else None
        judged = _evaluate_on_labels(
            prepared, ours, baseline, None if away is None else row_scores(away), normal.window
        )
    return Detection(prepared, normal, ours, baseline, judged)


def _evaluate_on_labels(
    prepared: PreparedTable, ours: ScoredSeries, baseline: ScoredSeries, raw: Array | None, window: int
) -> dict[str, LabelMetrics]:
    """Return the metrics of scores and events on the labels, by scorer.

    Rows without a label count as normal, and rows without a score have the lowest score. Metrics that need both
    labeled and unlabeled rows are NaN otherwise.
    """
    grid, labels = prepared.grid, known_anomalies(prepared.table, prepared.grid)
    found = {}
    for name, scores, events in (("model", ours.scores, ours.events), ("PCA", baseline.scores, baseline.events)):
        found[name] = _label_metrics(labels, scores, events, window, grid.segment)
    if raw is not None:
        found["raw values"] = _label_metrics(labels, raw, [], window, grid.segment)
    return found


def _label_metrics(labels: Array, scores: Array, events: Sequence[Any], window: int, segment: Array) -> LabelMetrics:
    filled = np.where(np.isnan(scores), np.nanmin(scores), scores)
    return LabelMetrics(
        ranking_metrics(labels, filled, window, segment), event_metrics(labels, filled, events, segment)
    )


# Smaller expected counts are reported as "fewer than" this number.
MIN_EXPECTED_COUNT = 0.1

# Seconds of the units in which the duration of a table is described.
PERIODS = {unit: UNITS[unit] for unit in ("hour", "day", "week", "month")}


def event_rows(found: Detection) -> list[dict[str, Any]]:
    """Return one record per event: times, score, p-value, and the columns that caused it.

    If the table has several series, each record starts with the name of its series.
    """
    names = found.prepared.table.layout.values
    rows = []
    for event in found.ours.events:
        shares = sorted(zip(event.shares, names, strict=True), reverse=True)
        causes = ", ".join(f"{name} {share:.0%}" for share, name in shares[:3] if share >= 0.005)
        series = found.series(event.peak)
        rows.append(
            ({} if series is None else {"series": series})
            | {
                "start": found.when(event.first),
                "end": found.when(event.last),
                "peak": found.when(event.peak),
                "score": event.score,
                "p": event.p,
                "columns": causes,
                "provisional": event.provisional,
            }
        )
    return rows


def event_columns(found: Detection) -> dict[str, Sequence[Any]]:
    """Return the events as table columns."""
    rows = event_rows(found)
    several = ("series",) if len(found.prepared.table.ids) > 1 else ()
    names = (*several, "start", "end", "peak", "score", "p", "columns", "provisional")
    return {name: [row[name] for row in rows] for name in names}


def score_columns(found: Detection) -> dict[str, Any]:
    """Return time, score, p-value, anomaly flag, and the score of each column for every grid row, as table columns."""
    names, grid = found.prepared.table.layout.values, found.prepared.grid
    timed = found.prepared.table.layout.time is not None
    columns: dict[str, Any] = {}
    if len(found.prepared.table.ids) > 1:
        columns["series"] = [found.prepared.table.ids[place] for place in grid.series]
    columns["time"] = format_times(grid.times, found.prepared.table.zone) if timed else grid.times
    columns |= {
        "score": found.ours.scores,
        "p": found.ours.p,
        "anomaly": found.ours.scores > found.ours.threshold.value,
    }
    if len(names) > 1:
        columns |= {f"score {name}": found.ours.by_feature[:, k] for k, name in enumerate(names)}
    return columns


def describe_detection(found: Detection) -> list[str]:
    """Return lines about the threshold, the events, the expected false alarms, the baseline, and the labels."""
    ours, rows = found.ours, int(np.count_nonzero(~np.isnan(found.ours.scores)))
    lines = [
        (
            f"threshold {ours.threshold.value:.4g}, {ours.threshold.rule}{_describe_series_budget(found)}: "
            f"{ours.threshold.how}"
        ),
        f"{format_count(len(ours.events), 'event')} in {format_count(rows, 'row')}{_format_duration(found, rows)}",
        *_describe_chance(found, rows),
    ]
    if unscored := len(ours.scores) - rows:
        have = "has" if unscored == 1 else "have"
        lines.append(f"{format_count(unscored, 'row')} {have} no score: without a value, or in no whole window")
    agreed = _count_agreeing_events(found)
    lines.append(
        f"{found.normal.components.name}: {format_count(len(found.baseline.events), 'event')} by the same rule, "
        f"{agreed} among these"
    )
    for name, judged in found.judged.items():
        measures = (("VUS-PR", judged.ranking.vus_pr), ("AUC-PR", judged.ranking.auc_pr))
        told = [f"{measure} {value:.3f}" for measure, value in measures if value == value]
        if name != "raw values":
            of = format_count(judged.findings.ranges, "labelled range")
            told += [
                f"{judged.findings.found} of {of} found" if judged.findings.ranges else of,
                format_count(judged.findings.false, "false event"),
            ]
        if told:
            lines.append(f"{name}: {', '.join(told)}")
    return lines


def _describe_series_budget(found: Detection) -> str:
    """Return a note that an alarm budget is a mean over several series; empty for one series and for other rules."""
    series = len(found.prepared.table.ids)
    return f" a series, on average over {series:,}" if found.ours.threshold.rule.kind == "budget" and series > 1 else ""


def _describe_chance(found: Detection, rows: int) -> list[str]:
    """Return lines about the events and the high scores to expect in as many normal rows."""
    expected, low, high = found.ours.threshold.alarms.per(rows)
    interval = f"95% interval: {format_expected_count(low)} to {format_expected_count(high)}"
    lines = [f"false alarms expected in as many normal rows: {_format_expected(expected)} ({interval})"]
    if events := found.ours.events:
        weakest = max(event.p for event in events)
        lines.append(f"normal rows expected to score as high as the weakest event: {_format_expected(rows * weakest)}")
    return lines


def _format_expected(number: float) -> str:
    if number < MIN_EXPECTED_COUNT:
        return f"fewer than {MIN_EXPECTED_COUNT}"
    return f"about {format_expected_count(number)}"


def _count_agreeing_events(found: Detection) -> int:
    """Return the number of baseline events that overlap an event of the model."""
    ours = [(event.first, event.last) for event in found.ours.events]
    return sum(any(a <= event.last and event.first <= b for a, b in ours) for event in found.baseline.events)


def _format_duration(found: Detection, rows: int) -> str:
    # Rows of several series overlap in time, so their number is no duration.
    if not found.normal.step or len(found.prepared.table.ids) > 1:
        return ""
    return f" ({format_period(rows * found.normal.step / 1e9, PERIODS)})"


def detection_to_json(found: Detection) -> dict[str, Any]:
    """Return the threshold, the events, and the metrics as a JSON object, without the scores of the rows."""
    expected = found.ours.threshold.alarms.per(int(np.count_nonzero(~np.isnan(found.ours.scores))))
    return {
        "threshold": found.ours.threshold.value,
        "rule": str(found.ours.threshold.rule),
        "how": found.ours.threshold.how,
        "expected_false_alarms": {"mean": expected.expected, "low": expected.low, "high": expected.high},
        "anomalies": event_rows(found),
        "pca_events": len(found.baseline.events),
        "judged": {
            name: judged.ranking._asdict() | {"found": judged.findings.found, "false": judged.findings.false}
            for name, judged in found.judged.items()
        },
    }


def largest_contributors(events: Sequence[Event], columns: int, most: int) -> list[int]:
    """Return the `most` columns with the largest shares in the events, or the first ones if there are no events.

    Returns:
        The column indices in ascending order.

    Examples:
        >>> from types import SimpleNamespace as Event
        >>> largest_contributors([Event(shares=[0.1, 0.2, 0.7])], 3, 2)
        [1, 2]
    """
    shares = np.sum([event.shares for event in events], axis=0) if events else np.zeros(columns)
    return sorted(np.argsort(-shares, kind="stable")[:most].tolist())


def detection_figure(found: Detection) -> Figure:
    """Plot the columns, events, scores, and threshold of the series with the most events."""
    from lstm_ae.plots.anomalies import MAX_COLUMNS, anomalies

    grid, measurements = found.prepared.grid, found.prepared.table
    names, ids = measurements.layout.values, measurements.ids
    places = [grid.series[event.peak] for event in found.ours.events]
    shown = int(np.bincount(places).argmax()) if places else 0
    own = [event for event in found.ours.events if grid.series[event.peak] == shown]
    columns = largest_contributors(own, len(names), MAX_COLUMNS)
    told = []
    if len(ids) > 1:
        told.append(f"{ids[shown]}, {'the most events' if places else 'the first'} of {len(ids):,} series")
    if len(columns) < len(names):
        which = "the largest shares in the events" if own else "the first"
        told.append(f"{len(columns)} of {len(names):,} columns: {which}")
    rows = np.flatnonzero(grid.series == shown)
    first = int(rows[0])
    return anomalies(
        measurements.axis(grid.times[rows]),
        grid.values[rows][:, columns],
        found.ours.scores[rows],
        found.ours.threshold.value,
        [(event.first - first, event.last - first) for event in own],
        names=[names[column] for column in columns],
        labels=found.labelled()[rows] if found.judged else None,
        zone=measurements.clock,
        title="; ".join(told),
    )


def sketch_detection(found: Detection) -> TableSketch:
    """Return a sketch of the series with the most events, their main columns and scores, and a list of all events."""
    grid, measurements, events = found.prepared.grid, found.prepared.table, found.ours.events
    owners = np.array([grid.series[event.peak] for event in events], np.int64)
    counts = np.bincount(owners, minlength=len(measurements.ids))
    kept = sorted(np.argsort(-counts, kind="stable")[:SERIES].tolist())
    names, made = measurements.layout.values, []
    dated = measurements.layout.dated
    # The x-axis of rows without dates is their row number.
    step = 1 if dated else max(grid.step.size, 1)
    for place in kept:
        rows = np.flatnonzero(grid.series == place)
        own = [event for event, owner in zip(events, owners, strict=True) if owner == place]
        columns = largest_contributors(own, len(names), COLUMNS)
        made.append(
            sketch_series(
                grid.times[rows] // step,
                grid.segment[rows],
                grid.values[rows][:, columns],
                found.ours.scores[rows],
                np.array([(event.first, event.last) for event in own], np.int64).reshape(-1, 2) - rows[0],
                series=str(measurements.ids[place]) if len(measurements.ids) > 1 else "",
                names=[names[column] for column in columns],
                around=2 * found.prepared.window,
            )
        )
    listed = []
    for number, (row, owner) in enumerate(zip(event_rows(found), owners.tolist(), strict=True)):
        at = [kept.index(owner), int(np.count_nonzero(owners[:number] == owner))] if owner in kept else None
        listed.append(row | {"at": at})
    return TableSketch(
        dated,
        grid.step.nanoseconds if dated else 1,
        found.ours.threshold.value,
        str(found.ours.threshold.rule),
        tuple(made),
        tuple(listed),
        measurements.clock is not None,
    )
