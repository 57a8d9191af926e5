"""Read a table into arrays: rows by series, times in UTC, and values with NaN where they are missing.

CSV and Parquet files are read in chunks into float32, so that ten million rows need only a few times their own size in
memory.
"""

import array
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Float32Array, Int64Array
from lstm_ae.config import Reading
from lstm_ae.config.options import flag_name
from lstm_ae.config.reading import COVARIATES
from lstm_ae.data.chunks import Chunk
from lstm_ae.data.columns import Layout
from lstm_ae.data.csv_reader import read_delimited, refuse_case_file
from lstm_ae.data.numbers import MISSING_WORDS, NUMBER, CellReader, missing_numbers
from lstm_ae.data.panel import Panel, sort_rows
from lstm_ae.data.parquet import MAGIC, arrow_table, read_arrow, read_parquet
from lstm_ae.data.text import is_compressed, open_stable_file
from lstm_ae.data.time_zones import infer_zone, table_times_to_utc
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_heading, format_names, quote

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

Progress = Callable[[int, float], None]

# Number of rows between calls of the progress callback.
PROGRESS_ROWS = 100_000
# Options for CSV that do not apply to Parquet.
PARQUET_EXCLUDES = ("columns", "skip_rows", "encoding")


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
    of_run: bool = False,
    lenient: bool = False,
) -> Panel:
    """Read the table `config.data`.

    Args:
        progress: function called with the number of rows read and the fraction of the file.
        of_run: whether the configuration is that of a run, which describes the run's own table. Another table may have
            an empty column, and times with an offset, as in the output of a run.
        lenient: whether to collect cells that are not numbers and treat them as missing; otherwise the first one is
            raised.

    Raises:
        ConfigError: if a requested column does not exist, or an option does not fit the file.
        DataError: if the file cannot be interpreted. The message is one line with the rule and the option that helps.
    """
    if config.data is None:
        raise ConfigError("There is no table to read. Pass DATA, the path of a table", code=Code.MISSING_OPTION)
    name = quote(config.data)
    notes = []
    with open_stable_file(config.data) as file:
        size = max(os.fstat(file.fileno()).st_size, 1)
        head, end = (os.pread(file.fileno(), len(MAGIC), place) for place in (0, size - 1))
        if end.isdigit() and not (head == MAGIC or is_compressed(head)):
            notes.append("the file ends within its last line, so its last number may be cut")
        layout, chunks, reader = _read_source(file, name, config, of_run=of_run, lenient=lenient)

        def report(rows: int) -> None:
            if progress:
                progress(rows, min(os.lseek(file.fileno(), 0, os.SEEK_CUR) / size, 1.0))

        columns = _collect_chunks(chunks, layout, name, reader.place, report)
    if progress:
        progress(len(columns.lines), 1.0)
    if layout.aware and config.time_zone is not None and not of_run:
        raise ConfigError(
            f"--time-zone is for times without an offset, and those of {layout.time!r} have one or count from 1970 in "
            "UTC. Leave --time-zone out",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    layout, columns = _drop_empty_columns(layout, columns, reader, config, of_run=of_run)
    panel = _sort_by_series(layout, columns, reader, config)
    return panel._replace(bad=tuple(reader.bad.values()), notes=tuple(notes))


def read_frame(frame: "pd.DataFrame", config: Reading) -> Panel:
    """Read a data frame as the same rows in a Parquet file, with the configuration of a run; the index is not read.

    Args:
        frame: the rows.
        config: the configuration.

    Raises:
        ConfigError, DataError: as in `read_panel`.
    """
    return read_arrow_table(arrow_table(frame, "frame"), "frame", config)


def read_arrow_table(table: "pyarrow.Table", name: str, config: Reading) -> Panel:
    """Read a table of Arrow as the same rows in a Parquet file, with the configuration of a run.

    Args:
        table: the rows.
        name: what is read, for errors.
        config: the configuration.

    Raises:
        ConfigError, DataError: as in `read_panel`.
    """
    layout, chunks, reader = read_arrow(table, name, config)
    columns = _collect_chunks(chunks, layout, name, reader.place, lambda rows: None)
    return _sort_by_series(layout, columns, reader, config)


def _read_source(
    file: BinaryIO, name: str, config: Reading, *, of_run: bool, lenient: bool
) -> tuple[Layout, Iterator[Chunk], CellReader]:
    magic = file.read(len(MAGIC))
    file.seek(0)
    if magic == MAGIC:
        if not of_run:
            _refuse_csv_options(config, name)
        return read_parquet(file, name, config, of_run=of_run, lenient=lenient)
    refuse_case_file(file, name, config.encoding)
    return read_delimited(file, name, config, of_run=of_run, lenient=lenient)


def _refuse_csv_options(config: Reading, name: str) -> None:
    """Raise `ConfigError` if an option for CSV is given."""
    for option in PARQUET_EXCLUDES:
        if getattr(config, option):
            raise ConfigError(
                f"{flag_name(option)} is for CSV, and {name} is a Parquet file. Leave it out",
                code=Code.OPTION_NOT_APPLICABLE,
            )


def _collect_chunks(
    chunks: Iterator[Chunk], layout: Layout, name: str, place: str, report: Callable[[int], None]
) -> _TableColumns:
    """Return all chunks joined, in growing buffers, so that no column is in memory twice.

    Raises:
        DataError: if the name of a series is missing.
    """
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
                    f"{name}, {place} {chunk.lines[list(chunk.ids).index('')]}, column "
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


def _drop_empty_columns(
    layout: Layout, columns: _TableColumns, reader: CellReader, config: Reading, *, of_run: bool
) -> tuple[Layout, _TableColumns]:
    """Remove columns without any value; the table of a run keeps those that are readable.

    Raises:
        DataError: if no column remains, or an empty column was requested.
    """
    unread = [cells.column for cells in reader.bad.values()]
    empty = [name for k, name in enumerate(layout.values) if np.isnan(columns.values[:, k]).all()]
    names = format_names(list(map(format_heading, empty)))
    if len(empty) == len(layout.values):
        problem = f"{reader.name}: no row holds a value of {names}. Pass a table with values"
        raise next(iter(reader.bad.values())).error if unread else DataError(problem, code=Code.EMPTY_COLUMN)
    dropped = [name for name in empty if name in unread or not of_run]
    if not dropped:
        return layout, columns
    requested = [
        (option, name) for option in ("value_cols", *COVARIATES) for name in dropped if name in getattr(config, option)
    ]
    for option, name in requested:
        if name not in unread:
            raise DataError(
                f"{reader.name}: the column {name[:80]!r} holds no value in any row. Leave it out of "
                f"{flag_name(option)}",
                code=Code.EMPTY_COLUMN,
            )
    held = [name not in dropped for name in layout.values]
    layout = layout.keep_columns(held)
    if not unread:
        notes = {
            "value_cols": f"{format_names(list(map(format_heading, layout.targets)))}, as they hold numbers",
            "empty": f"{names} left out, without any value",
        }
        layout = layout._replace(inferred={**layout.inferred, **notes})
    return layout, columns._replace(values=columns.values[:, held])


def _sort_by_series(layout: Layout, columns: _TableColumns, reader: CellReader, config: Reading) -> Panel:
    series, times, name, place = columns.ids, columns.times, reader.name, reader.place
    if series is None:
        series = np.zeros(len(columns.lines), np.int32)
    if times is not None:
        times = table_times_to_utc(times, series, layout, columns.lines, name, place, config)
    order = sort_rows(series, times)
    if layout.counts and order.unsorted and not reader.lenient:
        assert times is not None
        _refuse_restart(series, times, layout, columns.lines, name, place)
    labels, classes = _encode_classes(columns, config)
    return Panel(
        name,
        place,
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
    series: NDArray[np.int32],
    times: Int64Array,
    layout: Layout,
    lines: NDArray[np.int32],
    name: str,
    place: str,
) -> None:
    """Raise `DataError` for the first row whose counter is less than that of the row before it in its series.

    Sorted by a counter that restarts, rows of different recordings would alternate.
    """
    by_series = np.argsort(series, kind="stable")
    falls = (np.diff(times[by_series]) < 0) & (np.diff(series[by_series]) == 0)
    before, row = by_series[int(falls.argmax()) :][:2]
    advice = (
        "number the recordings, frame['recording'] = (frame[column].diff() < 0).cumsum(), and add --id-col recording"
    )
    if layout.id_candidates:
        advice = f"add --id-col {','.join(map(format_heading, layout.id_candidates[0]))}"
    raise DataError(
        f"{name}, {place} {lines[row]}, column {layout.time!r}: the counter falls from {times[before]} to "
        f"{times[row]}. If it restarts, {advice}; else sort the rows, frame.sort_values(column)",
        code=Code.TIME_ORDER,
    )


def _encode_classes(columns: _TableColumns, config: Reading) -> tuple[NDArray[np.int32] | None, tuple[str, ...]]:
    """Return the labels as indices of the classes, -1 where missing, and the classes."""
    if columns.labels is None:
        return None, ()
    found = columns.text[1]
    named = _class_names(found, config)
    try:
        classes = tuple(sorted(named, key=float))
    except ValueError:
        classes = tuple(sorted(named))
    place = {cell: k for k, cell in enumerate(classes)}
    return np.array([place.get(cell, -1) for cell in found], np.int32)[columns.labels], classes


def _class_names(labels: Sequence[str], config: Reading) -> list[str]:
    """Return the labels that are classes.

    NA or none may be a class among words, but represents a missing label among numbers.
    """
    words = {"", "nan", *(word.lower() for word in config.missing)}
    numbers = missing_numbers(config)
    held = [
        cell
        for cell in labels
        if cell.lower() not in words and not (numbers and NUMBER.fullmatch(cell) and float(cell) in numbers)
    ]
    rest = [cell for cell in held if cell.lower() not in MISSING_WORDS]
    if rest and all(NUMBER.fullmatch(cell) and float(cell) in (0, 1) for cell in rest):
        return rest  # labels of anomalies
    rest = [cell for cell in held if cell.lower() not in MISSING_WORDS - {"none"}]
    return rest if rest and all(map(NUMBER.fullmatch, rest)) else held
