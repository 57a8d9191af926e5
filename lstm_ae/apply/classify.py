"""Classify the windows of a table with a trained run: one class per row, or per series if each series is one window."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.apply.run_table import LoadedRun, grid_run_table, refuse_output_names, run_config, too_few_rows
from lstm_ae.arrays import Array, BoolArray, Float32Array, Int64Array
from lstm_ae.classification.labels import encode_labels, find_unknown_labels, spread_series_labels
from lstm_ae.classification.padding import pad_segments
from lstm_ae.data.columns import split_id_columns
from lstm_ae.data.frames import map_to_table_rows, row_id_columns
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.windows import window_starts
from lstm_ae.json_types import JsonMapping
from lstm_ae.model_store import ModelStore
from lstm_ae.studies.series.defaults import require_complete_windows
from lstm_ae.table_files import TableColumns

BATCH_WINDOWS = 2048


@dataclass(frozen=True)
class RunClassifier(LoadedRun):
    """The classifier of a run.

    Args:
        probabilities: Function that maps windows `(windows, window, features)` in the data's units, NaN where
            missing, to class probabilities `(windows, classes)`.
    """

    probabilities: Callable[[Array], Float32Array]


class ClassifiedTable(NamedTuple):
    """The classified windows of a table.

    Args:
        prepared: The table on its time grid.
        names: The names of the classes.
        ends: `(windows,)` int64, the grid row that ends each window.
        probability: `(windows, classes)` float32, NaN where a window contains no value.
        single: `(series,)` bool, the series that consist of one window. The class of that window applies to all their
            rows.
        unknown: Labels in the table that the run does not know.
    """

    prepared: PreparedTable
    names: tuple[str, ...]
    ends: Int64Array
    probability: Float32Array
    single: BoolArray
    unknown: tuple[str, ...] = ()

    @property
    def by_series(self) -> bool:
        """Return whether every window is a whole series."""
        return bool(self.single.all())

    @property
    def predicted(self) -> Int64Array:
        """Return the index of the most probable class of each window, `(windows,)`; -1 for windows without a value."""
        none = np.isnan(self.probability[:, 0])
        return np.where(none, -1, np.where(none[:, None], 0, self.probability).argmax(axis=1))

    @property
    def known(self) -> BoolArray:
        """Return whether the row that ends each window is in the table, `(windows,)`; rows that fill gaps are not."""
        return self.prepared.grid.known[self.ends]

    @property
    def truth(self) -> NDArray[np.int32]:
        """Return the index of the labeled class of each window, `(windows,)` int32; -1 where the table has no label."""
        labels = self.prepared.grid.labels
        return np.full(len(self.ends), -1, np.int32) if labels is None else labels[self.ends]


def load_classifier(run: ModelStore, reading: JsonMapping | None = None) -> RunClassifier:
    """Load the classifier of a run.

    Args:
        run: A finished classification run.
        reading: Reading options of the tables that differ from the run's.

    Raises:
        ConfigError, DataError: If the run is unfinished or damaged, or is not a classification run.
    """
    config = run_config(run, "classify", reading=reading)
    network = run.network()

    def probabilities(windows: Array) -> Float32Array:
        return network({"sequence": windows})["label"]

    return RunClassifier(config, network.series_scales(run.symbols), probabilities)


def classify_table(classifier: RunClassifier, table: Panel, *, every_row: bool = False) -> ClassifiedTable:
    """Classify the windows of a table that is in memory.

    Args:
        classifier: The classifier of a run.
        table: The table.
        every_row: Whether to give every row a window, padded with missing rows where the window begins before its
            series. Series that consist of one window keep that window. With a scale per window, which allows no
            missing value, only rows that end a complete window have one.

    Raises:
        DataError: If no window fits into the table.
    """
    config, names = classifier.config, classifier.config.classes
    labeled = encode_labels(table, names)
    unknown = find_unknown_labels(table, labeled)
    by_series = config.split_by == "series" and bool(table.layout.ids)
    if by_series:
        labeled = spread_series_labels(labeled)
    prepared = grid_run_table(config, labeled)
    padded = pad_segments(prepared) if by_series and config.scale != "window" else prepared
    starts = _known_window_starts(padded)
    single = (np.bincount(padded.grid.series[starts], minlength=len(table.ids)) <= 1) & by_series
    if every_row and not single.all():
        if config.scale != "window":
            padded = pad_segments(padded, ~single, every=True)
            starts = _known_window_starts(padded)
    elif not single.all():
        # The output has one line per row here, so series of one window get no line of their own.
        single[:] = False
    if not len(starts) and padded.grid.valued.any():
        raise too_few_rows(prepared, prepared.window)
    require_complete_windows(config, padded)
    probability = np.empty((len(starts), len(names)), np.float32)
    for first in range(0, len(starts), BATCH_WINDOWS):
        windows = padded.grid.values[starts[first : first + BATCH_WINDOWS, None] + np.arange(padded.window)]
        answers = classifier.probabilities(windows)
        answers[np.isnan(windows).all(axis=(1, 2))] = np.nan
        probability[first : first + BATCH_WINDOWS] = answers
    return ClassifiedTable(padded, names, starts + padded.window - 1, probability, single, unknown)


def _known_window_starts(prepared: PreparedTable) -> Int64Array:
    """Return the first rows of all windows that do not start within a long gap."""
    starts = window_starts(prepared.grid.segment, prepared.window)
    return starts[prepared.grid.valued[starts]]


def row_probabilities(classified: ClassifiedTable) -> Float32Array:
    """Return the class probabilities of every row of the table.

    Rows of a series that is one window all have the probabilities of that window.

    Returns:
        `(rows, classes)` float32 in the order of the table; NaN where no window ends with the row.
    """
    grid = classified.prepared.grid
    by_row = np.full((len(grid.series), len(classified.names)), np.nan, np.float32)
    by_row[classified.ends] = classified.probability
    by_series = _series_probabilities(classified)
    single = classified.single[grid.series]
    by_row[single] = by_series[grid.series[single]]
    probabilities: Float32Array = map_to_table_rows(classified.prepared, by_row)
    return probabilities


def _series_probabilities(classified: ClassifiedTable) -> Float32Array:
    """Return the class probabilities of the last window of each series, `(series, classes)`; NaN if it has none."""
    probabilities = np.full((len(classified.single), len(classified.names)), np.nan, np.float32)
    probabilities[classified.prepared.grid.series[classified.ends]] = classified.probability
    return probabilities


def class_columns(classified: ClassifiedTable) -> TableColumns:
    """Return the classes and probabilities as table columns.

    The table has one line per series if every window is a whole series, and one line per row otherwise. The class is
    empty and the probabilities are NaN where no window ends with the row or its window contains no value.

    Raises:
        ConfigError: If an id or time column has the name of an output column.
    """
    table = classified.prepared.table
    if classified.by_series:
        ids: TableColumns = {**split_id_columns(table.layout.ids, table.ids)}
        probabilities = _series_probabilities(classified)
    else:
        ids, probabilities = row_id_columns(classified.prepared), row_probabilities(classified)
    output = name_probabilities(classified.names, probabilities)
    refuse_output_names(ids, output)
    return ids | output


def name_probabilities(names: Sequence[str], probabilities: Float32Array) -> TableColumns:
    """Return class probabilities `(rows, classes)` as table columns with the most probable class; "" where NaN."""
    missing = np.isnan(probabilities[:, 0])
    best = np.where(missing[:, None], 0, probabilities).argmax(axis=1)
    return {
        "class": ["" if empty else names[index] for empty, index in zip(missing, best, strict=True)],
        "probability": probabilities.max(axis=1),
    } | {f"probability {name}": probabilities[:, index] for index, name in enumerate(names)}


def count_classes(classified: ClassifiedTable) -> dict[str, int]:
    """Return the number of windows predicted for each class, counting windows that end with a row of the table."""
    predicted = classified.predicted[classified.known]
    counts = np.bincount(predicted[predicted >= 0], minlength=len(classified.names))
    return dict(zip(classified.names, counts.tolist(), strict=True))
