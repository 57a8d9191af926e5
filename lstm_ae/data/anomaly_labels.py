"""Parse labels of anomalies (1 and 0, or true and false) and find the rows that they mark."""

from collections.abc import Sequence

import numpy as np

from lstm_ae.arrays import BoolArray
from lstm_ae.data.panel import ANOMALY_CLASSES, Panel
from lstm_ae.errors import Code, ConfigError

MARKS = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}


def parse_anomaly_labels(classes: Sequence[str]) -> list[int]:
    """Return 1 for each label of an anomaly and 0 for that of a normal row.

    Raises:
        ConfigError: if a label is none of these.

    >>> parse_anomaly_labels(["0", "1", "TRUE"])
    [0, 1, 1]
    """
    if not are_anomaly_labels(classes):
        raise ConfigError(
            "--label-col must hold 0 and 1, or false and true, 1 for a row known to be an anomaly. Received: "
            + ", ".join(classes[:5]),
            code=Code.LABELS,
        )
    return [MARKS[name.lower()] for name in classes]


def are_anomaly_labels(classes: Sequence[str]) -> bool:
    """Return whether `parse_anomaly_labels` accepts all of these labels.

    >>> are_anomaly_labels(["0", "1"]), are_anomaly_labels(["walk", "run"])
    (True, False)
    """
    return None not in map(MARKS.get, map(str.lower, classes))


def encode_anomaly_labels(table: Panel) -> Panel:
    """Return the table with the labels 0 and 1 (-1 where missing) and the classes `ANOMALY_CLASSES`.

    Raises:
        ConfigError: as in `parse_anomaly_labels`.
    """
    if table.labels is None:
        return table
    return table._replace(
        labels=np.array([*parse_anomaly_labels(table.classes), -1], np.int32)[table.labels], classes=ANOMALY_CLASSES
    )


def known_anomalies(grid: Panel) -> BoolArray:
    """Return a mask of the grid rows that are labeled as anomalies, `(rows,)`.

    Missing rows between two labeled anomalies count as anomalies too.
    """
    if grid.labels is None:
        return np.zeros(len(grid.times), bool)
    labels = np.array([*parse_anomaly_labels(grid.classes), 0], bool)[grid.labels]
    # Missing rows always lie between two known rows of their segment.
    known = np.flatnonzero(grid.known)
    count = np.cumsum(grid.known)
    before, after = known[np.maximum(count - 1, 0)], known[np.minimum(count, len(known) - 1)]
    anomalies: BoolArray = labels | (~grid.known & labels[before] & labels[after])
    return anomalies
