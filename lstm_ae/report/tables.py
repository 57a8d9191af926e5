"""What a run has as CSV files: the first rows of any, and the scores of a detection."""

import csv
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.errors import DataError

# Rows that a report shows, of a table and of a list of events; cells are cut to so many characters.
ROWS, EVENTS, LETTERS = 10, 200, 80


class Table(NamedTuple):
    """A CSV file: its name, its columns, the first rows as texts, and the number of all rows."""

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    length: int


def read_table(path: Path) -> Table:
    """A CSV file's first rows; raises `DataError` where it has no header or is no text."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = tuple(next(reader, ()))
            shown = EVENTS if path.name == "events.csv" else ROWS
            rows = tuple(tuple(cell[:LETTERS] for cell in row) for row in itertools.islice(reader, shown))
            length = len(rows) + sum(1 for _ in reader)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{str(path)!r} cannot be read ({type(error).__name__})") from error
    if not header:
        raise DataError(f"{str(path)!r} is empty")
    return Table(path.name, header, rows, length)


class Detected(NamedTuple):
    """The rows of a table that was searched, of several series those with the most anomalies.

    Args:
        series: the series' name; "" where there is one only.
        times: `(rows,)` datetime64, or row numbers.
        scores: `(rows,)`, NaN where there is none.
        anomalies: `(rows,)`, which rows are one.
    """

    series: str
    times: NDArray[Any]
    scores: NDArray[Any]
    anomalies: NDArray[np.bool_]


def read_detected(path: Path) -> Detected:
    """The file that `lstmae series detect --scores` writes; raises `DataError` where it is another."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(r.get("series", ""), r["time"], r["score"], r["anomaly"]) for r in csv.DictReader(file)]
        series, times, scores, flags = (np.array(column) for column in zip(*rows, strict=True))
        anomalies = flags == "True"
        names, which = np.unique(series, return_inverse=True)
        most = int(np.bincount(which, anomalies).argmax())
        own = which == most
        whole = np.char.isdecimal(times[own]).all()
        numbers = np.where(scores[own] == "", "nan", scores[own]).astype(float)
        moments = times[own].astype(np.int64 if whole else "datetime64[s]")
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(f"{str(path)!r} is not what lstmae series detect --scores writes ({error})") from error
    return Detected(str(names[most]), moments, numbers, anomalies[own])
