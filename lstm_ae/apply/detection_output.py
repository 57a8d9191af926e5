"""Describe a detection: events and scores as table columns, as text, and as JSON."""

from collections.abc import Sequence

import numpy as np

from lstm_ae.apply.detect import Detection
from lstm_ae.arrays import Array
from lstm_ae.config.threshold import UNITS
from lstm_ae.data.time_zones import format_time, format_times
from lstm_ae.formatting import format_count, format_expected_count, format_period
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.table_files import TableColumns

# Columns of a table of events; one of several series begins with "series".
EVENT_COLUMNS = ("start", "end", "peak", "score", "p", "columns", "provisional")

# Smaller expected counts are reported as "fewer than" this number.
MIN_EXPECTED_COUNT = 0.1

# Upper limit of the false alarms that is reported if the tail of the normal scores predicts fewer than one. Benchmark
# series that do not change have 0.9 to 1.1 times the expected number of events if two are expected, but still one event
# if 0.1 to 0.3 are expected.
FALSE_ALARM_LIMIT = 2

# Seconds of the units in which the duration of a table is described.
PERIODS = {unit: UNITS[unit] for unit in ("hour", "day", "week", "month")}


def event_rows(detection: Detection, *, named: bool | None = None) -> list[JsonObject]:
    """Return one record per event: times, score, p-value, and the columns that caused it.

    Args:
        detection: The detection in a table.
        named: Whether each record begins with the name of its series; None if the table has several series.
    """
    table, series, rows = detection.prepared.table, detection.prepared.grid.series, []
    named = detection.several if named is None else named
    for event in detection.model.events:
        shares = sorted(zip(event.shares, table.layout.values, strict=True), reverse=True)
        rows.append(
            ({"series": table.ids[series[event.peak]]} if named else {})
            | {
                "start": detection.format_time(event.first),
                "end": detection.format_time(event.last),
                "peak": detection.format_time(event.peak),
                "score": event.score,
                "p": event.p,
                "columns": ", ".join(f"{name} {share:.0%}" for share, name in shares[:3] if share >= 0.005),
                "provisional": event.provisional,
            }
        )
    return rows


def event_columns(detection: Detection) -> TableColumns:
    """Return the events as table columns."""
    return event_table(event_rows(detection), several=detection.several)


def event_table(rows: Sequence[JsonMapping], *, several: bool) -> TableColumns:
    """Return events as table columns.

    Args:
        rows: the events, see `event_rows`.
        several: whether they are those of several series.
    """
    return {name: [row[name] for row in rows] for name in (*(["series"] if several else []), *EVENT_COLUMNS)}


def score_columns(detection: Detection) -> TableColumns:
    """Return time, score, p-value, anomaly flag, and the error of each column for every grid row, as table columns."""
    table, grid, scored = detection.prepared.table, detection.prepared.grid, detection.model
    columns: TableColumns = {}
    if detection.several:
        columns["series"] = [table.ids[place] for place in grid.series]
    columns["time"] = format_times(grid.times, table.zone) if table.layout.time is not None else grid.times
    return columns | name_scores(table.layout.values, scored.scores, scored.p, scored.anomaly, scored.errors)


def name_scores(names: Sequence[str], scores: Array, p: Array, anomaly: Array, errors: Array) -> TableColumns:
    """Return scores, p-values, and flags of rows as table columns; with several columns also the error of each."""
    columns: TableColumns = {"score": scores, "p": p, "anomaly": anomaly}
    if len(names) > 1:
        columns |= {f"error {name}": errors[:, k] for k, name in enumerate(names)}
    return columns


def describe_detection(detection: Detection) -> list[str]:
    """Return lines about the events, the threshold, the expected false alarms, the baseline, and the labels."""
    scored, rows, series = detection.model, count_scored_rows(detection), len(detection.prepared.table.ids)
    duration = _format_duration(detection, rows)
    shared = scored.threshold.rule.kind == "budget" and detection.several
    budget = f" a series, on average over {series:,}" if shared else ""
    lines = [
        f"{format_count(len(scored.events), 'event')} in {format_count(rows, 'row')}{duration}",
        f"threshold {scored.threshold.value:.4g}, {scored.threshold.rule}{budget}: {scored.threshold.how}",
        _describe_chance(detection, rows),
    ]
    lines += describe_unscored(len(scored.scores) - rows)
    if detection.online and (bounded := int(scored.outside_events.sum())):
        lines.append(
            f"{format_count(bounded, 'row')} above the threshold in no event: below the bound of an earlier event"
        )
    lines.append(
        f"{detection.normal.components.name}: {format_count(len(detection.baseline.events), 'event')} by the same "
        f"rule, {_count_agreeing_events(detection)} among these"
    )
    for name, metrics in detection.metrics.items():
        values = (("VUS-PR", metrics.ranking.vus_pr), ("AUC-PR", metrics.ranking.auc_pr))
        texts = [f"{metric} {value:.3f}" for metric, value in values if value == value]
        if metrics.events is not None:
            ranges = format_count(metrics.events.ranges, "labeled range")
            texts += [
                f"{metrics.events.detected} of {ranges} found" if metrics.events.ranges else ranges,
                format_count(metrics.events.false, "false event"),
            ]
            if delays := metrics.events.delays:
                texts.append(f"alarm after {format_count(int(np.median(delays)), 'row')} (median)")
        if texts:
            lines.append(f"{name}: {', '.join(texts)}")
    return lines


def describe_unscored(rows: int) -> list[str]:
    """Return a list of one line about the rows without a score; empty if there are none."""
    if not rows:
        return []
    have = "has" if rows == 1 else "have"
    return [f"{format_count(rows, 'row')} {have} no score: no value, or no complete window"]


def count_scored_rows(detection: Detection) -> int:
    """Return the number of rows with a score."""
    return int(np.count_nonzero(~np.isnan(detection.model.scores)))


def _describe_chance(detection: Detection, rows: int) -> str:
    """Return a line about the events to expect in as many normal rows."""
    threshold = detection.model.threshold
    expected, low, high = threshold.alarms.per(rows)
    interval = f"95% interval: {format_expected_count(low)} to {format_expected_count(high)}"
    known = format_count(len(threshold.normal), "normal score")
    number = format_expected(expected)
    if expected < 1 and rows > len(threshold.normal):
        number = f"up to {FALSE_ALARM_LIMIT}, by the normal scores {number}"
    series = f" of {len(detection.prepared.table.ids):,} series" if detection.several else ""
    return f"false alarms expected in as many normal rows{series}: {number} ({interval}, from {known})"


def format_expected(number: float) -> str:
    """Return an expected number of events or rows as text."""
    if number < MIN_EXPECTED_COUNT:
        return f"fewer than {MIN_EXPECTED_COUNT}"
    return f"about {format_expected_count(number)}"


def _count_agreeing_events(detection: Detection) -> int:
    """Return the number of baseline events that overlap an event of the model."""
    return sum(
        any(event.first <= other.last and other.first <= event.last for event in detection.model.events)
        for other in detection.baseline.events
    )


def _format_duration(detection: Detection, rows: int) -> str:
    # Rows of several series overlap in time, so their number is no duration.
    if not detection.normal.step or detection.several:
        return ""
    return f" ({format_period(rows * detection.normal.step / 1e9, PERIODS)})"


def detection_to_json(detection: Detection) -> JsonObject:
    """Return the threshold, the events, and the metrics as a JSON object, without the scores of the rows."""
    threshold = detection.model.threshold
    expected = threshold.alarms.per(count_scored_rows(detection))
    return {
        "threshold": threshold.value,
        "rule": str(threshold.rule),
        "how": threshold.how,
        "expected_false_alarms": {"mean": expected.expected, "low": expected.low, "high": expected.high},
        "anomalies": event_rows(detection),
        "shifts": _shift_rows(detection),
        "pca_events": len(detection.baseline.events),
        "metrics": {
            name: metrics.ranking._asdict()
            | (
                {}
                if metrics.events is None
                else {
                    "found": metrics.events.detected,
                    "false": metrics.events.false,
                    "delays": list(metrics.events.delays),
                }
            )
            for name, metrics in detection.metrics.items()
        },
    }


def describe_shifted_series(detection: Detection) -> dict[str, str]:
    """Return what has shifted in the series whose last rows are outside the training range, by name."""
    names = detection.prepared.table.layout.values
    return {name if detection.several else "": shift.describe(names) for name, shift in detection.shifts.items()}


def _shift_rows(detection: Detection) -> list[JsonObject]:
    table, rows = detection.prepared.table, []
    for name, shift in detection.shifts.items():
        time = int(shift.since or 0)
        *columns, scores = shift.active.tolist()
        rows.append(
            ({"series": name} if detection.several else {})
            | {
                "noticed": format_time(time, table.zone) if table.layout.time is not None else str(time),
                "columns": [column for column, far in zip(table.layout.values, columns, strict=True) if far],
                "scores": scores,
            }
        )
    return rows
