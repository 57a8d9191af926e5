"""Read a table into arrays: rows by series, times in UTC, and values with NaN where they are missing.

CSV and Parquet files are read in chunks into float32, so that ten million rows need only a few times their own size in
memory.
"""

import array
import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Float32Array, Int64Array
from lstm_ae.config import Reading
from lstm_ae.config.options import flag_name
from lstm_ae.config.reading import COVARIATES
from lstm_ae.data.chunks import Chunk, ChunkReader
from lstm_ae.data.csv_reader import read_delimited
from lstm_ae.data.numbers import BOOLEAN_WORDS, MISSING_WORDS, NUMBER
from lstm_ae.data.panel import Panel, sort_rows
from lstm_ae.data.parquet import MAGIC, arrow_table, read_columns
from lstm_ae.data.text import is_compressed, open_stable_file
from lstm_ae.data.time_zones import infer_zone
from lstm_ae.data.timestamps import AmbiguousDates
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_heading, format_names, quote

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

Progress = Callable[[int, float], None]

# Number of rows between calls of the progress callback.
PROGRESS_ROWS = 100_000
# Decimals of a whole number.
ZEROS = re.compile(r"(?<=\d)\.0*$", re.ASCII)
# Options for CSV that do not apply to Parquet.
PARQUET_EXCLUDES = ("columns", "skip_rows", "comment", "encoding")


class _TableColumns(NamedTuple):
    """Columns of a table in the order of the file; `text` holds the distinct cells of ids and labels."""

    lines: NDArray[np.int32]
    times: Int64Array | None
    values: Float32Array
    ids: NDArray[np.int32] | None
    labels: NDArray[np.int32] | None
    text: tuple[tuple[str, ...], tuple[str, ...]]


def read_panel(
    config: Reading,
    progress: Progress | None = None,
    *,
    source: "pd.DataFrame | pyarrow.Table | None" = None,
    name: str = "frame",
    of_run: bool = False,
    lenient: bool = False,
) -> Panel:
    """Read a table: the file `config.data`, or rows in memory as the same rows in a Parquet file.

    Args:
        progress: function called with the number of rows read and the fraction of the file.
        source: the rows in memory, without the index of a data frame; None to read the file.
        name: the rows in memory as named in errors.
        of_run: whether the configuration is that of a run, which describes the run's own table. Another table may have
            an empty column, and times with an offset, as in the output of a run.
        lenient: whether to collect cells that are not numbers and treat them as missing; otherwise the first one is
            raised.

    Raises:
        ConfigError: if a requested column does not exist, or an option does not fit the file.
        DataError: if the file cannot be interpreted. The message is one line with the rule and the option that helps.
    """
    read = functools.partial(_read_panel, progress=progress, source=source, name=name, of_run=of_run, lenient=lenient)
    try:
        return read(config)
    except AmbiguousDates as error:
        orders, problem = error.orders, error
    # Later rows may decide: in one of the orders only, all dates are moments of the calendar. Whether daylight saving
    # time skips or repeats one of them says nothing about the order.
    valid = []
    for order in orders:
        try:
            read(dataclasses.replace(config, date_order=order, time_zone=None))
            valid.append(order)
        except DataError as error:
            if error.code is not Code.TIME_VALUE:
                raise
    if len(valid) != 1:
        raise problem
    (order,) = valid
    panel = read(dataclasses.replace(config, date_order=order))
    layout = panel.layout
    return panel._replace(
        layout=layout._replace(
            inferred={**layout.inferred, "date_order": f"{order}, as later rows show"},
            settings={**layout.settings, "date_order": order},
        )
    )


def _read_panel(
    config: Reading,
    *,
    progress: Progress | None,
    source: "pd.DataFrame | pyarrow.Table | None",
    name: str,
    of_run: bool,
    lenient: bool,
) -> Panel:
    if source is not None:
        table = source if hasattr(source, "schema") else arrow_table(source, name)
        reader, chunks = read_columns(table, name, config, of_run=of_run, lenient=lenient)
        return _make_panel(reader, _collect_chunks(chunks, reader, lambda rows: None), config)
    if config.data is None:
        raise ConfigError("There is no table to read. Pass DATA, the path of a table", code=Code.MISSING_OPTION)
    name, notes = quote(config.data), []
    with open_stable_file(config.data) as file:
        size = max(os.fstat(file.fileno()).st_size, 1)
        head, end = (os.pread(file.fileno(), len(MAGIC), place) for place in (0, size - 1))
        if end.isdigit() and not (head == MAGIC or is_compressed(head)):
            notes.append("the file ends within its last line, so its last number may be cut")
        if head == MAGIC:
            if not of_run:
                _refuse_csv_options(config, name)
            reader, chunks = read_columns(file, name, config, of_run=of_run, lenient=lenient)
        else:
            reader, chunks = read_delimited(file, name, config, of_run=of_run, lenient=lenient)

        def report(rows: int) -> None:
            if progress:
                progress(rows, min(os.lseek(file.fileno(), 0, os.SEEK_CUR) / size, 1.0))

        columns = _collect_chunks(chunks, reader, report)
    if progress:
        progress(len(columns.lines), 1.0)
    layout = reader.layout
    if layout.aware and config.time_zone is not None and not of_run:
        raise ConfigError(
            f"--time-zone is for times without an offset, and those of {layout.time!r} have one or count from 1970 in "
            "UTC. Leave --time-zone out",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    columns = _drop_empty_columns(columns, reader, of_run=of_run)
    panel = _make_panel(reader, columns, config)
    return panel._replace(bad=tuple(reader.cells.bad.values()), notes=tuple(notes))


def _refuse_csv_options(config: Reading, name: str) -> None:
    """Raise `ConfigError` if an option for CSV is given."""
    for option in PARQUET_EXCLUDES:
        if getattr(config, option):
            raise ConfigError(
                f"{flag_name(option)} is for CSV, and {name} is a Parquet file. Leave it out",
                code=Code.OPTION_NOT_APPLICABLE,
            )


def _collect_chunks(chunks: Iterator[Chunk], reader: ChunkReader, report: Callable[[int], None]) -> _TableColumns:
    """Return all chunks joined, in growing buffers, so that no column is in memory twice.

    Raises:
        DataError: if the name of a series is missing.
    """
    layout = reader.layout
    lines, times, values, ids, labels = (array.array(code) for code in "iqfii")
    index, classes = ({}, {})  # type: tuple[dict[str, int], dict[str, int]]
    last = 0
    for chunk in chunks:
        lines.frombytes(chunk.lines.tobytes())
        values.frombytes(chunk.values.tobytes())
        if chunk.times is not None:
            times.frombytes(chunk.times.tobytes())
        if chunk.ids is not None:
            if "" in chunk.ids:
                raise DataError(
                    f"{reader.cells.name}, {reader.cells.place} {chunk.lines[list(chunk.ids).index('')]}, column "
                    f"{' or '.join(map(repr, layout.ids))}: the name of the series is missing. Write it, or remove "
                    "the row",
                    code=Code.SERIES_NAME,
                )
            ids.extend([index.setdefault(cell, len(index)) for cell in chunk.ids])
        if chunk.labels is not None:
            labels.extend([classes.setdefault(cell, len(classes)) for cell in chunk.labels])
        if len(lines) - last >= PROGRESS_ROWS:
            last = len(lines)
            report(last)
    return _TableColumns(
        np.frombuffer(lines, np.int32),
        np.frombuffer(times, np.int64) if layout.time is not None else None,
        np.frombuffer(values, np.float32).reshape(-1, len(layout.values)),
        np.frombuffer(ids, np.int32) if layout.ids else None,
        np.frombuffer(labels, np.int32) if layout.label is not None else None,
        (tuple(index), tuple(classes)),
    )


def _drop_empty_columns(columns: _TableColumns, reader: ChunkReader, *, of_run: bool) -> _TableColumns:
    """Remove columns without any value, also from the layout of the reader; a run keeps those that are readable.

    Raises:
        DataError: if no column remains, or an empty column was requested.
    """
    layout, config, bad = reader.layout, reader.config, reader.cells.bad
    name = reader.cells.name
    unread = [cells.column for cells in bad.values()]
    empty = [column for k, column in enumerate(layout.values) if np.isnan(columns.values[:, k]).all()]
    names = format_names(list(map(format_heading, empty)))
    if len(empty) == len(layout.values):
        problem = f"{name}: no row holds a value of {names}. Pass a table with values"
        raise next(iter(bad.values())).error if unread else DataError(problem, code=Code.EMPTY_COLUMN)
    dropped = [column for column in empty if column in unread or not of_run]
    for option in ("value_cols", *COVARIATES):
        for column in dropped:
            if column in getattr(config, option) and column not in unread:
                raise DataError(
                    f"{name}: the column {column[:80]!r} holds no value in any row. Leave it out of "
                    f"{flag_name(option)}",
                    code=Code.EMPTY_COLUMN,
                )
    kept = [column not in dropped for column in layout.values]
    reader.layout = layout.keep_columns(kept)
    if dropped and not unread:
        values = f"{format_names(list(map(format_heading, reader.layout.targets)))}, as they hold numbers"
        notes = {"value_cols": values, "empty": f"{names} left out, without any value"}
        reader.layout = reader.layout._replace(inferred={**layout.inferred, **notes})
    return columns._replace(values=columns.values[:, kept]) if dropped else columns


def _make_panel(reader: ChunkReader, columns: _TableColumns, config: Reading) -> Panel:
    """Return the rows sorted by series and time."""
    layout, series, times = reader.layout, columns.ids, columns.times
    if series is None:
        series = np.zeros(len(columns.lines), np.int32)
    order = sort_rows(series, times)
    if layout.counts and order.unsorted:
        assert times is not None
        _refuse_restart(series, times, reader, columns.lines)
    labels, classes = _encode_classes(columns, reader)
    return Panel(
        reader.cells.name,
        reader.cells.place,
        layout,
        columns.text[0] or ("",),
        order.series,
        order.series,
        order.times,
        order.take(columns.values),
        None if labels is None else order.take(labels),
        classes,
        order.take(columns.lines),
        order.unsorted,
        infer_zone(layout, config),
    )


def _refuse_restart(
    series: NDArray[np.int32], times: Int64Array, reader: ChunkReader, lines: NDArray[np.int32]
) -> None:
    """Raise `DataError` for the first row whose counter is less than that of the row before it in its series.

    Sorted by a counter that restarts, rows of different recordings would alternate.
    """
    layout = reader.layout
    by_series = np.argsort(series, kind="stable")
    falls = (np.diff(times[by_series]) < 0) & (np.diff(series[by_series]) == 0)
    before, row = by_series[int(falls.argmax()) :][:2]
    advice = (
        "number the recordings, frame['recording'] = (frame[column].diff() < 0).cumsum(), and add --id-col recording"
    )
    if layout.id_candidates:
        advice = f"add --id-col {','.join(map(format_heading, layout.id_candidates[0]))}"
    raise DataError(
        f"{reader.cells.name}, {reader.cells.place} {lines[row]}, column {layout.time!r}: the counter falls from "
        f"{times[before]} to {times[row]}. If it restarts, {advice}; else sort the rows, frame.sort_values(column)",
        code=Code.TIME_ORDER,
    )


def _encode_classes(columns: _TableColumns, reader: ChunkReader) -> tuple[NDArray[np.int32] | None, tuple[str, ...]]:
    """Return the labels as indices of the classes, -1 where missing, and the classes.

    A label is missing if it is empty, nan, or one of `--missing`. Whole numbers have no decimals: 1.0 is the class 1.

    Raises:
        DataError: if numbers or truth values have another word for a missing value among them.
    """
    if columns.labels is None:
        return None, ()
    missing = {"", "nan", *(_label(word).lower() for word in reader.config.missing)}
    names = list(map(_label, columns.text[1]))
    found = {name for name in names if name.lower() not in missing}
    words = {name for name in found if name.lower() in MISSING_WORDS}
    marks = found - words
    if words and marks and all(NUMBER.fullmatch(name) or name.lower() in BOOLEAN_WORDS for name in marks):
        raise DataError(
            f"{reader.cells.name}: the labels in {reader.layout.label!r} are numbers, and {quote(min(words))}. Add "
            f"--missing {','.join(sorted(words))} if that is a missing label",
            code=Code.LABELS,
        )
    numbers = all(map(NUMBER.fullmatch, found))
    classes = tuple(sorted(found, key=float)) if numbers else tuple(sorted(found))
    place = {name: k for k, name in enumerate(classes)}
    return np.array([place.get(name, -1) for name in names], np.int32)[columns.labels], classes


def _label(cell: str) -> str:
    """Return a label without the decimals of a whole number.

    >>> _label("1.0"), _label("1.50"), _label("v1.0"), _label(".0")
    ('1', '1.50', 'v1.0', '.0')
    """
    return ZEROS.sub("", cell) if NUMBER.fullmatch(cell) else cell
