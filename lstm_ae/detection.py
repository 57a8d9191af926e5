"""Anomalies in a table by a trained run: scores, events, the baseline beside them, and labels where there are some."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.anomaly.measures import Findings, Ranking, findings, ranking
from lstm_ae.anomaly.normal import Adding, Found, Normal, judge, of_windows, score_rows
from lstm_ae.config import Series
from lstm_ae.config.rules import UNITS, parse_threshold
from lstm_ae.data.cadence import told, told_all
from lstm_ae.data.measurements import Progress
from lstm_ae.data.padding import cut_back, own_rows
from lstm_ae.data.scaling import Scale
from lstm_ae.data.series import Prepared
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.files import write
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

    def named(self, row: int) -> str:
        """The time of a row in UTC, or its number; behind the series' name where there are several."""
        grid, measurements = self.prepared.grid, self.prepared.table
        when = told(int(grid.times[row])) if measurements.layout.time is not None else str(int(grid.times[row]))
        return when if len(measurements.ids) < 2 else f"{measurements.ids[grid.series[row]]} {when}"


class Detector(NamedTuple):
    """What a run searches tables by, ready to be applied to any number of them.

    Args:
        ours, baseline: squared errors of windows at every row, by the model and by as many principal components as its
            code has numbers.
    """

    config: Series
    normal: Normal
    scale: Scale
    ours: Adding
    baseline: Adding


def detector_of(run: Run) -> Detector:
    """A run's own.

    Raises:
        ConfigError, DataError: the run is damaged, or does not find anomalies.
    """
    config = run.config()
    assert isinstance(config, Series)
    normal, scale = run.normal()
    by_components = of_windows(codes.errors_of_components(normal.components, scale), normal.window)
    return Detector(config, normal, scale, halves_of(run.model(), config.scale).errors, by_components)


def detect(
    run: Run,
    data: str,
    *,
    rule: str | None = None,
    label_col: str | None = None,
    progress: Progress | None = None,
    scoring: Progress | None = None,
) -> Detection:
    """Search a table for anomalies.

    Args:
        data: the table, with the columns of the one that the run was trained on, in any order.
        rule: of the threshold; that of the run where None.
        label_col: a column of known anomalies, 0 or 1.
        progress: is told the rows read so far, and the share of the file.
        scoring: the same of the rows scored.

    Raises:
        ConfigError, DataError: the table cannot be read so, or the run does not find anomalies.
    """
    config = run.config()
    assert isinstance(config, Series)
    run.normal()  # before the table, which may take long to read
    prepared = settling.table_of(dataclasses.replace(config, data=data, label_col=label_col), progress)
    return search(detector_of(run), prepared, rule, scoring)


def search(
    detector: Detector, prepared: Prepared, rule: str | None = None, progress: Progress | None = None
) -> Detection:
    """Search a table that is on its grid; `rule` is of the threshold, that of the detector where None."""
    normal, scale, grid = detector.normal, detector.scale, prepared.grid
    asked = parse_threshold(rule) if rule else codes.rule_of(detector.config, normal)
    found, own = [], own_rows(grid)
    prepared = cut_back(prepared, own)
    kept: Any = slice(None) if prepared.grid is grid else own
    for errors, scores in ((detector.ours, normal.scores), (detector.baseline, normal.baseline)):
        # The model's part takes longest; the other follows at its end.
        told = progress if errors is detector.ours else None
        by_feature = score_rows(errors, grid.values, grid.segment, normal.window, normal.smooth, told)
        threshold = normal.threshold(asked, scores)
        found.append(judge(by_feature[kept], normal, threshold, prepared.grid.segment))
    ours, baseline = found
    grid = prepared.grid
    judged = {}
    if grid.labels is not None:
        raw = np.square((grid.values - scale.offset) / scale.range) if scale.kind == "fixed" else None
        judged = _judged(prepared, ours, baseline, None if raw is None else raw.mean(axis=1), normal.window)
    return Detection(prepared, normal, ours, baseline, judged)


def _judged(prepared: Prepared, ours: Found, baseline: Found, raw: Numbers | None, window: int) -> dict[str, Judged]:
    """Scores and events against the labels; rows without a score or a label count as ordinary and unsuspicious."""
    grid, classes = prepared.grid, prepared.table.classes
    assert grid.labels is not None
    if not set(classes) <= {"0", "1", "0.0", "1.0"}:
        raise ConfigError(
            f"--label-col must hold 0 and 1, 1 for a row known to be an anomaly. Received: {', '.join(classes[:5])}"
        )
    labels = _labelled(prepared)
    if not labels.any() or labels.all():
        raise DataError("The label column marks no row, or every row, so nothing can be judged; leave --label-col out")
    found = {}
    for name, scores, events in (("model", ours.scores, ours.events), ("PCA", baseline.scores, baseline.events)):
        found[name] = _judge(labels, scores, events, window, grid.segment)
    if raw is not None:
        found["raw values"] = _judge(labels, raw, [], window, grid.segment)
    return found


def _labelled(prepared: Prepared) -> Numbers:
    """Which rows are known to be anomalies, `(rows,)` bool."""
    positive = [place for place, name in enumerate(prepared.table.classes) if float(name) == 1]
    labels = prepared.grid.labels
    return np.zeros(len(prepared.grid.times), bool) if labels is None else np.isin(labels, positive)


def _judge(labels: Numbers, scores: Numbers, events: Sequence[Any], window: int, segment: Numbers) -> Judged:
    filled = np.where(np.isnan(scores), np.nanmin(scores), scores)
    return Judged(ranking(labels, filled, window, segment), findings(labels, filled, events, segment))


def event_rows(found: Detection) -> list[dict[str, Any]]:
    """The events for a screen or a file: times, score, p-value, and the columns that caused them."""
    names = found.prepared.table.layout.values
    rows = []
    for event in found.ours.events:
        shares = sorted(zip(event.shares, names, strict=True), reverse=True)
        causes = ", ".join(f"{name} {share:.0%}" for share, name in shares[:3] if share >= 0.005)
        rows.append(
            {
                "start": found.named(event.first),
                "end": found.named(event.last),
                "peak": found.named(event.peak),
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
    names = ("start", "end", "peak", "score", "p", "columns", "provisional")
    return {name: [row[name] for row in rows] for name in names}


def score_columns(found: Detection) -> dict[str, Any]:
    """Every row of the grid: its time, score, p-value, whether it is an anomaly, and the score of each column."""
    names, grid = found.prepared.table.layout.values, found.prepared.grid
    timed = found.prepared.table.layout.time is not None
    columns: dict[str, Any] = {}
    if len(found.prepared.table.ids) > 1:
        columns["series"] = [found.prepared.table.ids[place] for place in grid.series]
    columns["time"] = told_all(grid.times) if timed else grid.times
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
    expected = ours.threshold.alarms.per(rows)
    lines = [
        f"threshold {ours.threshold.value:.4g}, {ours.threshold.rule}: {ours.threshold.how}",
        f"{len(ours.events)} events in {rows:,} rows{_time(found, rows)}; false alarms to expect: "
        f"{expected.expected:.2g} ({expected.low:.2g} to {expected.high:.2g})",
    ]
    if unscored := len(ours.scores) - rows:
        lines.append(f"{unscored:,} rows have no score: they stand in no whole window")
    agreed = _agreed(found)
    lines.append(
        f"{found.normal.components.name}: {len(found.baseline.events)} events by the same rule, {agreed} among these"
    )
    for name, judged in found.judged.items():
        line = f"{name}: VUS-PR {judged.ranking.vus_pr:.3f}, AUC-PR {judged.ranking.auc_pr:.3f}"
        if name != "raw values":
            line += f", {judged.findings.found} labelled ranges found, {judged.findings.false} false events"
        lines.append(line)
    return lines


def _agreed(found: Detection) -> int:
    """Events of the baseline that meet one of the model's."""
    ours = [(event.first, event.last) for event in found.ours.events]
    return sum(any(a <= event.last and event.first <= b for a, b in ours) for event in found.baseline.events)


def _time(found: Detection, rows: int) -> str:
    if not found.normal.step:
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


def draw(found: Detection, path: Path) -> Path:
    """Draw columns, events, scores and threshold; of several series the one with the most events."""
    from lstm_ae.figures.anomalies import anomalies
    from lstm_ae.figures.base import png

    grid, measurements = found.prepared.grid, found.prepared.table
    places = [grid.series[event.peak] for event in found.ours.events]
    shown = int(np.bincount(places).argmax()) if places else 0
    rows = np.flatnonzero(grid.series == shown)
    first = int(rows[0])
    figure = anomalies(
        grid.times[rows].view("datetime64[ns]") if measurements.layout.time is not None else grid.times[rows],
        grid.values[rows],
        found.ours.scores[rows],
        found.ours.threshold.value,
        [(event.first - first, event.last - first) for event in found.ours.events if grid.series[event.peak] == shown],
        names=measurements.layout.values,
        labels=_labelled(found.prepared)[rows] if found.judged else None,
    )
    return write(path, png(figure))
