"""Classify the windows of a table with a trained run: one class per row, or per series if each series is one window."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, BoolArray, Float32Array, Int64Array
from lstm_ae.config import Series
from lstm_ae.data.class_labels import encode_labels, spread_series_labels
from lstm_ae.data.columns import split_id_columns
from lstm_ae.data.frames import map_to_table_rows, row_id_columns
from lstm_ae.data.measurements import Measurements, Progress, read_measurements
from lstm_ae.data.padding import pad_segments
from lstm_ae.data.preparation import PreparedTable, prepare_table
from lstm_ae.data.windows import window_starts
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.run import Run
from lstm_ae.studies.series.classification import macro_f1
from lstm_ae.studies.series.defaults import read_with_run_config, reading_config, require_complete_windows

BATCH_WINDOWS = 2048


class RunClassifier(NamedTuple):
    """A run's classifier, ready to be applied to any number of tables.

    Args:
        config: The run's settings.
        probabilities: Function that maps windows `(windows, window, features)` in the data's units, NaN where
            missing, to class probabilities `(windows, classes)`.
    """

    config: Series
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
    def of_series(self) -> bool:
        """Return whether every window is a whole series."""
        return bool(self.single.all())

    @property
    def answers(self) -> Int64Array:
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


class ClassificationQuality(NamedTuple):
    """The quality of the predicted classes on the labeled windows."""

    windows: int
    accuracy: float
    macro_f1: float


def load_classifier(run: Run) -> RunClassifier:
    """Load the classifier of a run.

    Raises:
        ConfigError, DataError: If the run is unfinished or damaged, or is not a classification run.
    """
    import tensorflow as tf

    from lstm_ae.models.inference import input_signature

    config = run.config()
    if not isinstance(config, Series) or config.task != "classify":
        raise DataError(
            f"The run {str(run.directory)!r} tells no classes apart; train one by lstmae series train --task classify"
        )
    model = run.model()
    function = tf.function(lambda inputs: model(inputs, training=False)["label"])
    call = function.get_concrete_function(input_signature(model))
    return RunClassifier(config, lambda windows: call(sequence=tf.constant(windows, tf.float32)).numpy())


def classify(
    run: Run,
    data: str,
    *,
    label_col: str | None = None,
    reading: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> ClassifiedTable:
    """Classify the windows of a table.

    Args:
        run: A finished classification run.
        data: The table, with the columns of the training table in any order.
        label_col: Column of known classes to evaluate the predictions on.
        reading: Reading options that differ from the run's, see `settling.read_as`.

    Raises:
        ConfigError, DataError: If the table cannot be read with these options, or the run is not a classification
            run.
    """
    classifier = load_classifier(run)
    classifier = classifier._replace(config=read_with_run_config(classifier.config, reading))
    config = reading_config(classifier.config, data, label_col)
    return classify_prepared(classifier, read_measurements(config, progress, of_run=True))


def classify_prepared(classifier: RunClassifier, table: Measurements, *, every_row: bool = False) -> ClassifiedTable:
    """Classify the windows of a table that is in memory.

    Args:
        classifier: The classifier of a run.
        table: The table.
        every_row: Whether to give every row a window, padded with missing rows where the window begins before its
            series. Series that consist of one window keep that window.

    Raises:
        DataError: If no window fits into the table.
    """
    config, names = classifier.config, classifier.config.classes
    found = encode_labels(table, names)
    unknown = tuple(name for name, place in zip(table.classes, _match_classes(table, found), strict=True) if place < 0)
    by_series = config.split_by == "series" and bool(table.layout.ids)
    if by_series:
        found = spread_series_labels(found)
    reading = reading_config(config, config.data)
    if table.layout.time is None:
        reading = replace(reading, freq="rows")
    prepared = prepare_table(reading, found)
    whole = pad_segments(prepared) if by_series and config.short != "drop" else prepared
    starts = _known_window_starts(whole)
    single = (np.bincount(whole.grid.series[starts], minlength=len(table.ids)) <= 1) & by_series
    if every_row and not single.all():
        whole = pad_segments(whole, "rows", ~single)
        starts = _known_window_starts(whole)
    elif not single.all():
        # The output has one line per row here, so series of one window get no line of their own.
        single[:] = False
    if not len(starts) and whole.grid.valued.any():
        raise DataError(
            f"{table.name} has no run of {prepared.window} rows without a long gap, as a window needs; give more rows"
        )
    require_complete_windows(reading, whole)
    probability = np.empty((len(starts), len(names)), np.float32)
    for first in range(0, len(starts), BATCH_WINDOWS):
        windows = whole.grid.values[starts[first : first + BATCH_WINDOWS, None] + np.arange(whole.window)]
        said = classifier.probabilities(windows)
        said[np.isnan(windows).all(axis=(1, 2))] = np.nan
        probability[first : first + BATCH_WINDOWS] = said
    return ClassifiedTable(whole, names, starts + whole.window - 1, probability, single, unknown)


def _known_window_starts(prepared: PreparedTable) -> Int64Array:
    """Return the first rows of all windows that do not start within a long gap."""
    starts = window_starts(prepared.grid.segment, prepared.window)
    return starts[prepared.grid.valued[starts]]


def _match_classes(table: Measurements, found: Measurements) -> list[int]:
    """Return the index of each of the table's label names among the classes; -1 for an unknown name."""
    if table.labels is None or found.labels is None:
        return []
    places = np.full(len(table.classes) + 1, -1)
    places[table.labels] = found.labels
    return [int(place) for place in places[:-1]]


def evaluate_classification(found: ClassifiedTable) -> ClassificationQuality | None:
    """Return the quality of the predicted classes; None if no window has a known class."""
    known = (found.truth >= 0) & (found.answers >= 0)
    truth, said = found.truth[known], found.answers[known]
    if not len(truth):
        return None
    return ClassificationQuality(len(truth), float((truth == said).mean()), macro_f1(truth, said))


def row_probabilities(found: ClassifiedTable) -> Float32Array:
    """Return the class probabilities of every row of the table.

    Rows of a series that is one window all have the probabilities of that window.

    Returns:
        `(rows, classes)` float32 in the order of the table; NaN where no window ends with the row.
    """
    grid = found.prepared.grid
    spread = np.full((len(grid.series), len(found.names)), np.nan, np.float32)
    spread[found.ends] = found.probability
    by_series = np.full((len(found.single), len(found.names)), np.nan, np.float32)
    by_series[grid.series[found.ends]] = found.probability
    alike = found.single[grid.series]
    spread[alike] = by_series[grid.series[alike]]
    said: Float32Array = map_to_table_rows(found.prepared, spread)
    return said


def class_columns(found: ClassifiedTable) -> dict[str, Any]:
    """Return the classes and probabilities as table columns.

    The table has one line per series if every window is a whole series, and one line per row otherwise. The class is
    empty and the probabilities are NaN where no window ends with the row or its window contains no value.

    Raises:
        ConfigError: If an id or time column has the name of an output column.
    """
    table = found.prepared.table
    if found.of_series:
        named: dict[str, Any] = {**split_id_columns(table.layout.ids, table.ids)}
        said = np.full((len(table.ids), len(found.names)), np.nan, np.float32)
        said[found.prepared.grid.series[found.ends]] = found.probability
    else:
        named, said = row_id_columns(found.prepared), row_probabilities(found)
    none = np.isnan(said[:, 0])
    best = np.where(none[:, None], 0, said).argmax(axis=1)
    answer = {
        "class": ["" if empty else found.names[place] for empty, place in zip(none, best, strict=True)],
        "probability": said.max(axis=1),
    } | {f"probability {name}": said[:, place] for place, name in enumerate(found.names)}
    for name in named:
        if name in answer:
            raise ConfigError(f"The column {name!r} has the name of an answer that is written; rename it in the table")
    return named | answer


def count_classes(found: ClassifiedTable) -> dict[str, int]:
    """Return the number of windows predicted for each class, counting windows that end with a row of the table."""
    answers = found.answers[found.known]
    return dict(zip(found.names, np.bincount(answers[answers >= 0], minlength=len(found.names)).tolist(), strict=True))
