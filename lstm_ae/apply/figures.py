"""Draw a table with what a run returns for it: anomalies, reconstructions, and forecasts."""

import numpy as np
from matplotlib.figure import Figure

from lstm_ae.apply.detect import Detection
from lstm_ae.apply.forecast import TableForecast
from lstm_ae.arrays import Array
from lstm_ae.detection.events import largest_contributors
from lstm_ae.plots.anomalies import MAX_COLUMNS, anomalies
from lstm_ae.plots.forecasts import forecast_panels

# Panels of the plot of a forecast.
MAX_PANELS = 4


def detection_figure(detection: Detection) -> Figure:
    """Plot the columns, events, scores, and threshold of the series with the most events."""
    grid, table = detection.prepared.grid, detection.prepared.table
    names, ids = table.layout.values, table.ids
    owners = [grid.series[event.peak] for event in detection.events]
    shown = int(np.bincount(owners).argmax()) if owners else 0
    choice = f"{'the most events' if owners else 'the first'} of {len(ids):,} series"
    events = [event for event in detection.events if grid.series[event.peak] == shown]
    columns = largest_contributors(events, len(names), MAX_COLUMNS)
    title = []
    if len(ids) > 1:
        title.append(f"{ids[shown]}, {choice}")
    if len(columns) < len(names):
        order = "the largest shares in the events" if events else "the first"
        title.append(f"{len(columns)} of {len(names):,} columns: {order}")
    rows = np.flatnonzero(grid.series == shown)
    first = int(rows[0])
    return anomalies(
        table.axis(grid.times[rows]),
        grid.values[rows][:, columns],
        detection.rows.scores[rows],
        detection.threshold.value,
        [(event.first - first, event.last - first) for event in events],
        names=[names[column] for column in columns],
        segment=grid.segment[rows],
        labels=None if grid.labels is None else detection.labeled_rows()[rows],
        zone=table.clock,
        title="; ".join(title),
    )


def forecast_figure(forecast: TableForecast) -> Figure:
    """Plot the first `MAX_PANELS` forecasts, one panel per series and column."""
    table = forecast.table
    names = table.layout.targets
    whole = len(forecast.ids) * len(names)
    panels = [(n, k) for n in range(len(forecast.ids)) for k in range(len(names))][:MAX_PANELS]
    which, column = (np.array(places) for places in zip(*panels, strict=True))
    times, ahead = (values[which] for values in (forecast.times, forecast.ahead))
    if forecast.timed:
        times, ahead = table.axis(times), table.axis(ahead)

    def select(values: Array) -> Array:
        return values[which, :, column]

    return forecast_panels(
        times,
        select(forecast.past),
        ahead,
        select(forecast.future),
        select(forecast.naive),
        baseline=forecast.baseline,
        names=[table.ids[forecast.ids[n]] for n in which],
        quantities=[names[k] for k in column],
        intervals={level: (select(low), select(high)) for level, (low, high) in forecast.intervals.items()},
        zone=table.clock,
        title=f"The first {MAX_PANELS} of {whole:,} forecasts, a column of a series each" if whole > MAX_PANELS else "",
    )
