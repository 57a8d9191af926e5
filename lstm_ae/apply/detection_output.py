"""Describe a detection: events and scores as table columns, as text, and as JSON."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lstm_ae.apply.compare import PCA, Comparison
from lstm_ae.apply.detect import Detection
from lstm_ae.arrays import Array
from lstm_ae.config.threshold import UNITS
from lstm_ae.data.time_zones import format_time, format_times
from lstm_ae.detection.events import EVENT_COLUMNS
from lstm_ae.detection.shift import Shift
from lstm_ae.detection.thresholds import ExpectedAlarms
from lstm_ae.formatting import format_count, format_expected_count, format_period
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.table_files import TableColumns

# Smaller expected counts are reported as "fewer than" this number.
MIN_EXPECTED_COUNT = 0.1

# Upper limit of the false alarms that is reported if the tail of the normal scores predicts fewer than one. Benchmark
# series that do not change have 0.9 to 1.1 times the expected number of events if two are expected, but still one event
# if 0.1 to 0.3 are expected.
FALSE_ALARM_LIMIT = 2

# Seconds of the units in which the duration of a table is described.
PERIODS = {unit: UNITS[unit] for unit in ("hour", "day", "week", "month")}


def event_facts(detection: Detection, *, named: bool | None = None) -> list[JsonObject]:
    """Return the facts of each event, see `Event.facts`.

    Args:
        detection: The detection in a table.
        named: Whether the facts begin with the name of the series; None if the table has several series.
    """
    table, series = detection.prepared.table, detection.prepared.grid.series
    named = detection.several if named is None else named
    return [
        ({"series": table.ids[series[event.peak]]} if named else {})
        | event.facts(table.layout.values, detection.format_time)
        for event in detection.events
    ]


def event_table(facts: Sequence[JsonMapping], *, several: bool) -> TableColumns:
    """Return events as table columns.

    Args:
        facts: the facts of the events, see `event_facts`.
        several: whether they are those of several series.
    """
    return {name: [each[name] for each in facts] for name in (*(["series"] if several else []), *EVENT_COLUMNS)}


def score_columns(detection: Detection) -> TableColumns:
    """Return time, scores, p-value, anomaly flag, and the error of each column for every grid row, as table columns."""
    table, grid = detection.prepared.table, detection.prepared.grid
    columns: TableColumns = {}
    if detection.several:
        columns["series"] = [table.ids[place] for place in grid.series]
    columns["time"] = format_times(grid.times, table.zone) if table.layout.time is not None else grid.times
    return columns | row_columns(detection)


def row_columns(detection: Detection) -> dict[str, Array]:
    """Return scores, p-values, and flags of grid rows as table columns; with several columns also the error of each."""
    names, rows = detection.prepared.table.layout.values, detection.rows
    columns = {"score": rows.scores, "p": rows.p, "anomaly": detection.anomaly, "final_score": detection.final}
    errors = {f"error {name}": rows.errors[:, number] for number, name in enumerate(names)}
    return columns | (errors if len(names) > 1 else {})


def describe_detection(detection: Detection, comparison: Comparison) -> list[str]:
    """Return lines about the events, the threshold, the expected false alarms, the baseline, and the labels."""
    threshold, rows, series = detection.threshold, detection.scored, len(detection.prepared.table.ids)
    duration = _format_duration(detection, rows)
    shared = threshold.rule.kind == "budget" and detection.several
    budget = f" a series, on average over {series:,}" if shared else ""
    lines = [
        f"{format_count(len(detection.events), 'event')} in {format_count(rows, 'row')}{duration}",
        _describe_chance(detection),
        *describe_excess(len(detection.events), detection.expected, detection.suppressed),
        f"threshold {threshold.value:.4g}, {threshold.rule}{budget}: {threshold.how}",
    ]
    lines += describe_unscored(len(detection.rows.scores) - rows)
    baseline = comparison.baselines[PCA]
    agreeing = sum(
        any(event.first <= other.last and other.first <= event.last for event in detection.events)
        for other in baseline.events
    )
    lines.append(
        f"{comparison.pca}: {format_count(len(baseline.events), 'event')} by the same rule, {agreeing} among these"
    )
    for name, metrics in comparison.metrics.items():
        values = (("VUS-PR", metrics.ranking.vus_pr), ("AUC-PR", metrics.ranking.auc_pr))
        texts = [f"{metric} {value:.3f}" for metric, value in values if value == value]
        if metrics.events is not None:
            ranges = format_count(metrics.events.ranges, "labeled range")
            found = f"{metrics.events.detected} of {ranges} found, {metrics.events.alarmed} alarmed"
            texts += [found if metrics.events.ranges else ranges, format_count(metrics.events.false, "false event")]
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


def _describe_chance(detection: Detection) -> str:
    """Return a line about the alarms to expect in as many normal rows."""
    threshold, (expected, low, high) = detection.threshold, detection.expected
    interval = f"95% interval: {format_expected_count(low)} to {format_expected_count(high)}"
    known = format_count(len(threshold.normal), "normal score")
    number = format_expected(expected)
    if expected < 1 and detection.scored > len(threshold.normal):
        number = f"up to {FALSE_ALARM_LIMIT}, by the normal scores {number}"
    series = f" of {len(detection.prepared.table.ids):,} series" if detection.several else ""
    return f"false alarms expected in as many normal rows{series}: {number} ({interval}, from {known})"


def describe_excess(alarms: int, expected: ExpectedAlarms, suppressed: int) -> list[str]:
    """Return lines about far more alarms than expected, and about those that were suppressed; empty without any.

    Args:
        alarms: number of alarms.
        expected: expected false alarms in as many normal rows.
        suppressed: see `Detection.suppressed`.
    """
    lines = []
    if expected.exceeded_by(alarms):
        lines.append(
            "far more alarms than expected in normal rows: either there are many anomalies, or the rows differ from "
            "those of the training. Look at some events; if they are normal, train again with such rows, or follow "
            "slow change with --adapt"
        )
    if suppressed:
        rises = format_count(suppressed, "further rise")
        lines.append(f"changed: {rises} above the threshold raised no alarm, because such scores had become usual")
    return lines


def format_expected(number: float) -> str:
    """Return an expected number of events or rows as text."""
    if number < MIN_EXPECTED_COUNT:
        return f"fewer than {MIN_EXPECTED_COUNT}"
    return f"about {format_expected_count(number)}"


def _format_duration(detection: Detection, rows: int) -> str:
    # Rows of several series overlap in time, so their number is no duration.
    if not detection.normal.step or detection.several:
        return ""
    return f" ({format_period(rows * detection.normal.step / 1e9, PERIODS)})"


def detection_to_json(detection: Detection, comparison: Comparison, shifts: Mapping[str, Shift]) -> JsonObject:
    """Return the threshold, the events, and the metrics as a JSON object, without the scores of the rows."""
    threshold = detection.threshold
    return {
        "threshold": threshold.value,
        "rule": str(threshold.rule),
        "how": threshold.how,
        "alarms": len(detection.events),
        "suppressed": detection.suppressed,
        "expected_false_alarms": expected_to_json(detection.expected),
        "anomalies": event_facts(detection),
        "shifts": list(_shift_facts(detection, shifts)),
        "pca_events": len(comparison.baselines[PCA].events),
        "metrics": {
            name: metrics.ranking._asdict()
            | (
                {}
                if metrics.events is None
                else {
                    "found": metrics.events.detected,
                    "alarmed": metrics.events.alarmed,
                    "false": metrics.events.false,
                    "delays": list(metrics.events.delays),
                }
            )
            for name, metrics in comparison.metrics.items()
        },
    }


def expected_to_json(expected: ExpectedAlarms) -> JsonObject:
    """Return an expected number of alarms with the bounds of its interval."""
    return {"mean": expected.expected, "low": expected.low, "high": expected.high}


def describe_shifted_series(detection: Detection, shifts: Mapping[str, Shift]) -> dict[str, str]:
    """Return what has shifted in the series whose last rows are outside the training range, by name."""
    names = detection.prepared.table.layout.values
    return {name if detection.several else "": shift.describe(names) for name, shift in shifts.items()}


def _shift_facts(detection: Detection, shifts: Mapping[str, Shift]) -> Iterator[JsonObject]:
    table = detection.prepared.table
    for name, shift in shifts.items():
        time = int(shift.since or 0)
        *columns, scores = shift.active.tolist()
        yield ({"series": name} if detection.several else {}) | {
            "noticed": format_time(time, table.zone) if table.layout.time is not None else str(time),
            "columns": [column for column, far in zip(table.layout.values, columns, strict=True) if far],
            "scores": scores,
        }
