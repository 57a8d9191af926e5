"""Anyone's own table as arrays: series told apart, times in UTC, values with NaN where they are missing.

CSV and Parquet are read piece by piece into float32, so that ten million rows need a few times their own size.
"""

import array
import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.config.options import flag_name
from lstm_ae.data.cells import BadCells, CellReader
from lstm_ae.data.columns import Layout, missing_numbers
from lstm_ae.data.csv_reader import Chunk, read_delimited
from lstm_ae.data.number_notation import MISSING_WORDS, NUMBER
from lstm_ae.data.text import open_stable_file
from lstm_ae.data.time_zones import Elapsed, Zone, infer_zone, table_times_to_utc
from lstm_ae.data.timestamps import Times
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.formatting import format_heading, format_names, quote

Progress = Callable[[int, float], None]

# Rows between two calls of the progress callback.
PROGRESS_ROWS = 100_000
# Choices about a file of text, which mean nothing for Parquet.
TEXT_OPTIONS = ("columns", "skip_rows", "encoding")


class Measurements(NamedTuple):
    """All rows of a table, series by series, each in the order of time.

    Args:
        name: the file as errors name it.
        place: "line" or "row": what `lines` counts in the file.
        layout: what its columns are for.
        ids: names of the series; `("",)` without a column that tells them apart.
        series: `(rows,)` int32, places in `ids`, ascending.
        times: `(rows,)` int64 nanoseconds since 1970 in UTC or since an unknown start, or steps of a counter, ascending
            within a series; without a column of times the number of the row within its series.
        values: `(rows, features)` float32, NaN where missing.
        labels: `(rows,)` int32, places in `classes`, -1 where missing; None without labels.
        classes: the different labels; numbers in their order, else by alphabet.
        lines: `(rows,)` int32, where each row stands in the file.
        unsorted: rows that stood before one of an earlier time.
        zone: how times are told; None where they were written without any zone.
        bad: cells that are no numbers, where a lenient reading took them for missing.
    """

    name: str
    place: str
    layout: Layout
    ids: tuple[str, ...]
    series: NDArray[np.int32]
    times: Times
    values: NDArray[np.float32]
    labels: NDArray[np.int32] | None
    classes: tuple[str, ...]
    lines: NDArray[np.int32]
    unsorted: int
    zone: Zone = None
    bad: tuple[BadCells, ...] = ()

    @property
    def clock(self) -> datetime.tzinfo | None:
        """By whose clocks a figure tells times: as `zone`, and of numbers since 1970 UTC's."""
        if isinstance(self.zone, Elapsed):
            return None
        return self.zone or (datetime.UTC if self.layout.aware else None)

    def axis(self, times: Times) -> NDArray[Any]:
        """Times as a figure takes them: datetime64; floating numbers where elapsed, whole ones of rows."""
        if isinstance(self.zone, Elapsed):
            return self.zone.numbers(times).astype(np.float64)
        return times.view("datetime64[ns]") if self.layout.dated else times

    def where(self, row: int) -> str:
        """The file and the place in it of a row, for errors."""
        return f"{self.name}, {self.place} {self.lines[row]}"


class _TableColumns(NamedTuple):
    """The columns of a whole table in the order of the file; `text` holds the different cells of ids and labels."""

    lines: NDArray[np.int32]
    times: Times | None
    values: NDArray[np.float32]
    ids: NDArray[np.int32] | None
    labels: NDArray[np.int32] | None
    text: tuple[tuple[str, ...], tuple[str, ...]]


def read_measurements(
    config: Reading, progress: Progress | None = None, *, of_run: bool = False, lenient: bool = False
) -> Measurements:
    """Read the table `config.data`.

    Args:
        progress: is told the rows read so far, and the share of the file.
        of_run: the config is that of a run, which says what its own table was like; in another one a column may be
            empty, and times may have an offset, as those have that a run writes.
        lenient: whether cells that are no numbers are gathered, and taken for missing; else the first one is raised.

    Raises:
        ConfigError: a column that was asked for is not there, or an option does not fit the file.
        DataError: the file is no table that can be understood; one line with the rule and the option that helps.
    """
    if config.data is None:
        raise ConfigError("--data must name the table to read. Received: None")
    name = quote(config.data)
    with open_stable_file(config.data) as file:
        size = max(os.fstat(file.fileno()).st_size, 1)
        layout, chunks, reader = _read_source(file, name, config, of_run=of_run, lenient=lenient)
        place = reader.place

        def told(rows: int) -> None:
            if progress:
                progress(rows, min(os.lseek(file.fileno(), 0, os.SEEK_CUR) / size, 1.0))

        columns = _collect_chunks(chunks, layout, name, place, told)
    if progress:
        progress(len(columns.lines), 1.0)
    if layout.aware and config.time_zone is not None and not of_run:
        raise ConfigError(
            f"--time-zone is for times without an offset, and those of {layout.time!r} have one or count from 1970 in "
            "UTC. Leave --time-zone out"
        )
    bad = tuple(reader.bad.values())
    if bad:
        layout, columns = _drop_unreadable(layout, columns, bad)
    if not of_run or np.isnan(columns.values).all():
        layout, columns = _drop_empty(layout, columns, name, config)
    return _sort_by_series(layout, columns, name, place, config)._replace(bad=bad)


def _read_source(
    file: BinaryIO, name: str, config: Reading, *, of_run: bool, lenient: bool
) -> tuple[Layout, Iterator[Chunk], CellReader]:
    magic = file.read(4)
    file.seek(0)
    if magic == b"PAR1":
        for option in TEXT_OPTIONS if not of_run else ():
            if getattr(config, option):
                raise ConfigError(f"{flag_name(option)} is for text, and {name} is a Parquet file. Leave it out")
        from lstm_ae.data.parquet import read_parquet

        return read_parquet(file, name, config, of_run=of_run, lenient=lenient)
    return read_delimited(file, name, config, of_run=of_run, lenient=lenient)


def _collect_chunks(
    chunks: Iterator[Chunk], layout: Layout, name: str, place: str, told: Callable[[int], None]
) -> _TableColumns:
    """All pieces together, in buffers that grow, so that no column stands twice in memory."""
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
                    "the row"
                )
            ids.extend([index.setdefault(cell, len(index)) for cell in chunk.ids])
        if chunk.labels is not None:
            labels.extend([classes.setdefault(cell, len(classes)) for cell in chunk.labels])
        if len(lines) - last >= PROGRESS_ROWS:
            last = len(lines)
            told(last)
    return _TableColumns(
        np.frombuffer(lines, np.int32),
        np.frombuffer(times, np.int64) if layout.time is not None else None,
        np.frombuffer(values, np.float32).reshape(-1, len(layout.values)),
        np.frombuffer(ids, np.int32) if layout.ids else None,
        np.frombuffer(labels, np.int32) if layout.label is not None else None,
        (tuple(index), tuple(classes)),
    )


def _drop_unreadable(layout: Layout, columns: _TableColumns, bad: Sequence[BadCells]) -> tuple[Layout, _TableColumns]:
    """Leave out columns without any number, for which what their cells hold is the problem."""
    unread = {cells.column for cells in bad}
    held = [name not in unread or bool((~np.isnan(columns.values[:, k])).any()) for k, name in enumerate(layout.values)]
    if not any(held):
        raise bad[0].error
    kept = tuple(name for name, some in zip(layout.values, held, strict=True) if some)
    return layout._replace(values=kept), columns._replace(values=columns.values[:, held])


def _drop_empty(layout: Layout, columns: _TableColumns, name: str, config: Reading) -> tuple[Layout, _TableColumns]:
    """Leave out columns without any value, unless they were asked for: those are refused."""
    held = [bool((~np.isnan(columns.values[:, k])).any()) for k in range(len(layout.values))]
    if all(held):
        return layout, columns
    empty = [column for column, some in zip(layout.values, held, strict=True) if not some]
    if not any(held):
        raise DataError(
            f"{name}: no row holds a value of {format_names(list(map(format_heading, empty)))}. Give a "
            "table with values"
        )
    if config.value_cols:
        raise DataError(f"{name}: the column {empty[0][:80]!r} holds no value in any row. Leave it out of --value-cols")
    kept = tuple(column for column, some in zip(layout.values, held, strict=True) if some)
    said = {
        "value_cols": f"{format_names(list(map(format_heading, kept)))}, as they hold numbers",
        "empty": f"{format_names(list(map(format_heading, empty)))} left out, without any value",
    }
    inferred = {**layout.inferred, **said}
    return layout._replace(values=kept, inferred=inferred), columns._replace(values=columns.values[:, held])


def _sort_by_series(layout: Layout, columns: _TableColumns, name: str, place: str, config: Reading) -> Measurements:
    rows = len(columns.lines)
    ids = columns.text[0] or ("",)
    series = columns.ids if columns.ids is not None else np.zeros(rows, np.int32)
    times = columns.times
    if times is not None:
        times = table_times_to_utc(times, series, layout, columns.lines, name, place, config)
    # By series in the order of the file, to see what is out of order, then by time.
    order = None if columns.ids is None else np.argsort(series, kind="stable")
    ordered = series if order is None else series[order]
    unsorted = 0
    if times is None:
        first = np.searchsorted(ordered, np.arange(len(ids)))
        times = np.arange(rows) - first[ordered]
    else:
        times = times if order is None else times[order]
        unsorted = int(((np.diff(times) < 0) & (np.diff(ordered) == 0)).sum())
        if unsorted:
            again = np.lexsort((times, ordered))
            times, order = times[again], again if order is None else order[again]
    labels, classes = _encode_classes(columns, config)

    def taken(column: Any) -> Any:
        return column if order is None else column[order]

    return Measurements(
        name,
        place,
        layout,
        ids,
        ordered,
        times,
        taken(columns.values),
        None if labels is None else taken(labels),
        classes,
        taken(columns.lines),
        unsorted,
        infer_zone(layout, config),
    )


def _encode_classes(columns: _TableColumns, config: Reading) -> tuple[NDArray[np.int32] | None, tuple[str, ...]]:
    """Labels as places among the classes, -1 where missing."""
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
    """The labels that are one: NA or none may well be a class, but NA beside numbers is none of them."""
    words = {"", "nan", *(word.lower() for word in config.missing)}
    numbers = missing_numbers(config)
    held = [
        cell
        for cell in labels
        if cell.lower() not in words and not (numbers and NUMBER.fullmatch(cell) and float(cell) in numbers)
    ]
    rest = [cell for cell in held if cell.lower() not in MISSING_WORDS]
    if rest and all(NUMBER.fullmatch(cell) and float(cell) in (0, 1) for cell in rest):
        return rest  # of anomalies, which are or are not
    rest = [cell for cell in held if cell.lower() not in MISSING_WORDS - {"none"}]
    return rest if rest and all(NUMBER.fullmatch(cell) for cell in rest) else held
