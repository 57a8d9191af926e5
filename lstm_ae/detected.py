"""What a search for anomalies found, for a screen, a file, a figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lstm_ae.anomaly.events import Event
from lstm_ae.config.rules import UNITS
from lstm_ae.data.telling import told_all
from lstm_ae.detection import Detection
from lstm_ae.words import count

# Expected counts below it are not told apart.
LEAST = 0.1


def event_rows(found: Detection) -> list[dict[str, Any]]:
    """The events for a screen or a file: times, score, p-value, and the columns that caused them.

    Where there are several series, that of each stands first.
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
    """The events as columns of a table."""
    rows = event_rows(found)
    several = ("series",) if len(found.prepared.table.ids) > 1 else ()
    names = (*several, "start", "end", "peak", "score", "p", "columns", "provisional")
    return {name: [row[name] for row in rows] for name in names}


def score_columns(found: Detection) -> dict[str, Any]:
    """Every row of the grid: its time, score, p-value, whether it is an anomaly, and the score of each column."""
    names, grid = found.prepared.table.layout.values, found.prepared.grid
    timed = found.prepared.table.layout.time is not None
    columns: dict[str, Any] = {}
    if len(found.prepared.table.ids) > 1:
        columns["series"] = [found.prepared.table.ids[place] for place in grid.series]
    columns["time"] = told_all(grid.times, found.prepared.table.zone) if timed else grid.times
    columns |= {
        "score": found.ours.scores,
        "p": found.ours.p,
        "anomaly": found.ours.scores > found.ours.threshold.value,
    }
    if len(names) > 1:
        columns |= {f"score {name}": found.ours.by_feature[:, k] for k, name in enumerate(names)}
    return columns


def words(found: Detection) -> list[str]:
    """Threshold, false alarms to expect, the baseline, and the labels, a line each."""
    ours, rows = found.ours, int(np.count_nonzero(~np.isnan(found.ours.scores)))
    lines = [
        f"threshold {ours.threshold.value:.4g}, {ours.threshold.rule}{_for_each(found)}: {ours.threshold.how}",
        f"{count(len(ours.events), 'event')} in {count(rows, 'row')}{_time(found, rows)}",
        *_by_chance(found, rows),
    ]
    if unscored := len(ours.scores) - rows:
        have = "has" if unscored == 1 else "have"
        lines.append(f"{count(unscored, 'row')} {have} no score: without a value, or in no whole window")
    agreed = _agreed(found)
    lines.append(
        f"{found.normal.components.name}: {count(len(found.baseline.events), 'event')} by the same rule, "
        f"{agreed} among these"
    )
    for name, judged in found.judged.items():
        measures = (("VUS-PR", judged.ranking.vus_pr), ("AUC-PR", judged.ranking.auc_pr))
        told = [f"{measure} {value:.3f}" for measure, value in measures if value == value]
        if name != "raw values":
            of = count(judged.findings.ranges, "labelled range")
            told += [
                f"{judged.findings.found} of {of} found" if judged.findings.ranges else of,
                count(judged.findings.false, "false event"),
            ]
        if told:
            lines.append(f"{name}: {', '.join(told)}")
    return lines


def _for_each(found: Detection) -> str:
    """That a budget is one for each of several series, which side by side raise so many times the alarms."""
    series = len(found.prepared.table.ids)
    return f" a series, on average over {series:,}" if found.ours.threshold.rule.kind == "budget" and series > 1 else ""


def _by_chance(found: Detection, rows: int) -> list[str]:
    """What as many normal rows would give: events, and rows that stand out as much as the weakest event found."""
    expected, low, high = found.ours.threshold.alarms.per(rows)
    interval = f"95% interval: {_short(low)} to {_short(high)}"
    lines = [f"false alarms expected in as many normal rows: {_about(expected)} ({interval})"]
    if events := found.ours.events:
        weakest = max(event.p for event in events)
        lines.append(f"normal rows expected to score as high as the weakest event: {_about(rows * weakest)}")
    return lines


def _about(number: float) -> str:
    return f"about {_short(number)}" if number >= LEAST else f"fewer than {LEAST}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}".removesuffix(".0")


def _agreed(found: Detection) -> int:
    """Events of the baseline that meet one of the model's."""
    ours = [(event.first, event.last) for event in found.ours.events]
    return sum(any(a <= event.last and event.first <= b for a, b in ours) for event in found.baseline.events)


def _time(found: Detection, rows: int) -> str:
    # Rows of several series lie beside one another.
    if not found.normal.step or len(found.prepared.table.ids) > 1:
        return ""
    seconds = rows * found.normal.step / 1e9
    unit = next((unit for unit in ("month", "week", "day", "hour") if seconds >= UNITS[unit]), "hour")
    return f" ({seconds / UNITS[unit]:.1f} {unit}s)"


def as_json(found: Detection) -> dict[str, Any]:
    """All of it but the rows."""
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


def largest_shares(events: Sequence[Event], columns: int, most: int) -> list[int]:
    """So many columns, in their order: those with the largest shares in the events, or the first where there are none.

    >>> from types import SimpleNamespace as Event
    >>> largest_shares([Event(shares=[0.1, 0.2, 0.7])], 3, 2)
    [1, 2]
    """
    shares = np.sum([event.shares for event in events], axis=0) if events else np.zeros(columns)
    return sorted(np.argsort(-shares, kind="stable")[:most].tolist())


def draw(found: Detection) -> Figure:
    """Columns, events, scores and threshold; of several series the one with the most events."""
    from lstm_ae.figures.anomalies import MOST, anomalies

    grid, measurements = found.prepared.grid, found.prepared.table
    names, ids = measurements.layout.values, measurements.ids
    places = [grid.series[event.peak] for event in found.ours.events]
    shown = int(np.bincount(places).argmax()) if places else 0
    own = [event for event in found.ours.events if grid.series[event.peak] == shown]
    columns = largest_shares(own, len(names), MOST)
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
