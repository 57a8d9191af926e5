"""What a run keeps of its last detection, so that a report can draw it."""

import numpy as np

from lstm_ae.anomaly.sketch import COLUMNS, SERIES, Sketches, sketch
from lstm_ae.detected import event_rows, largest_shares
from lstm_ae.detection import Detection


def sketches_of(found: Detection) -> Sketches:
    """The series with the most events, their columns with the largest shares in them, their scores, and all events."""
    grid, measurements, events = found.prepared.grid, found.prepared.table, found.ours.events
    owners = np.array([grid.series[event.peak] for event in events], np.int64)
    counts = np.bincount(owners, minlength=len(measurements.ids))
    kept = sorted(np.argsort(-counts, kind="stable")[:SERIES].tolist())
    names, made = measurements.layout.values, []
    dated = measurements.layout.dated
    # What is not dated is drawn by the numbers of rows.
    step = 1 if dated else max(grid.step.size, 1)
    for place in kept:
        rows = np.flatnonzero(grid.series == place)
        own = [event for event, owner in zip(events, owners, strict=True) if owner == place]
        columns = largest_shares(own, len(names), COLUMNS)
        made.append(
            sketch(
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
    return Sketches(
        dated,
        grid.step.nanoseconds if dated else 1,
        found.ours.threshold.value,
        str(found.ours.threshold.rule),
        tuple(made),
        tuple(listed),
        measurements.clock is not None,
    )
