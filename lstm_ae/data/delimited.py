"""Anyone's CSV in pieces: its columns as arrays, or the line that broke a rule."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.data.cells import CellReader
from lstm_ae.data.clocks import joined
from lstm_ae.data.columns import (
    Layout,
    kind_of,
    layout_of,
    missing_words,
    names_of_series,
    present_cells,
    with_notation,
)
from lstm_ae.data.dialect import (
    Row,
    headings_of,
    refuse_second_header,
    refuse_title,
    require_width,
    row_numbers,
    separator_of,
)
from lstm_ae.data.instants import BadCell, Times, read_moments
from lstm_ae.data.lines import Encoding, decode_file
from lstm_ae.data.notation import Notation
from lstm_ae.data.table import CHUNK, rows_of, uneven
from lstm_ae.errors import DataError
from lstm_ae.words import shown

# Rows that tell what a file holds, and how many cells of a wide one are enough.
SAMPLE, SAMPLE_CELLS = 1_000, 500_000
# Cells of a piece.
CHUNK_CELLS = 1_000_000
MAX_COLUMNS = 10_000


class Chunk(NamedTuple):
    """Some rows of a table.

    Args:
        lines: `(rows,)` int32, where each stands in the file, from 1.
        times: `(rows,)` nanoseconds; None where rows are counted.
        values: `(rows, features)` float32, NaN where missing.
        ids, labels: a cell a row; None without such a column.
    """

    lines: NDArray[np.int32]
    times: Times | None
    values: NDArray[np.float32]
    ids: Sequence[str] | None
    labels: Sequence[str] | None


def read_delimited(
    file: BinaryIO, name: str, config: Reading, *, of_run: bool = False, lenient: bool = False
) -> tuple[Layout, Iterator[Chunk], CellReader]:
    """Return what an open CSV file holds, its rows piece by piece, and what reads their numbers.

    Args:
        of_run: the config is a run's, see `require_units`.
        lenient: as of `CellReader`.

    Raises:
        DataError: at once or with a later piece: one line with the file, the line, the rule and the option that helps.
    """
    encoding, source = decode_file(file, name, config.encoding)
    source = itertools.islice(source, config.skip_rows, None)
    head = list(itertools.islice(source, 50))
    separator = separator_of(head)
    rows = rows_of(itertools.chain(head, source), name, separator, config.skip_rows + 1)
    start, header = first_row(rows, name, config)
    sample = list(itertools.islice(rows, sample_rows(len(header))))
    layout, sample, notation = understand(start, header, sample, separator, name, config, of_run=of_run)
    layout = with_encoding(layout, encoding)
    following = itertools.chain(sample, rows)
    size = max(1, min(CHUNK, CHUNK_CELLS // len(header)))
    pieces = iter(lambda: list(itertools.islice(following, size)), [])
    reader = CellReader(config, name, "line", notation, lenient=lenient)
    return layout, map(chunk_by(layout, config, name, separator, reader), pieces), reader


def first_row(rows: Iterator[Row], name: str, config: Reading) -> Row:
    """Return the first row of a text, the header where there is one; `DataError` where no row is, or it is too wide."""
    start, cells = next(rows, (0, []))
    if not cells and config.skip_rows:
        raise DataError(f"{name} holds nothing below the lines that --skip-rows {config.skip_rows} skips. Give fewer")
    if not cells:
        raise DataError(f"{name} is empty. Give a header and rows")
    limit_columns(len(cells), f"{name}, line {start}")
    return start, cells


def limit_columns(columns: int, where: str) -> None:
    """Raise `DataError` where a table has more columns than a model could be trained on in any useful time."""
    if columns > MAX_COLUMNS:
        raise DataError(
            f"{where}: the table has {columns:,} columns; at most {MAX_COLUMNS:,} are read. Keep those to model, or "
            "split the table"
        )


def sample_rows(columns: int) -> int:
    """Return how many of its first rows show what a table with so many columns holds."""
    return max(10, min(SAMPLE, SAMPLE_CELLS // max(columns, 1)))


def with_encoding(layout: Layout, encoding: Encoding) -> Layout:
    """Return the layout with the encoding of the text, where that was chosen by its looks."""
    if not encoding.example:
        return layout
    words = f"{encoding.name}, as in {shown(encoding.example)}"
    return layout._replace(
        inferred={**layout.inferred, "encoding": words}, settings={**layout.settings, "encoding": encoding.name}
    )


def understand(
    start: int, header: list[str], sample: list[Row], separator: str, name: str, config: Reading, *, of_run: bool
) -> tuple[Layout, list[Row], Notation]:
    """Return what a table's columns are for by its first rows, these rows, and how its numbers are written.

    Args:
        start, header: the first row and its line; one of the rows where the config names the columns.

    Raises:
        ConfigError, DataError: as `read_delimited` says.
    """
    where = f"{name}, line {start}"
    if config.columns:
        sample = [(start, header), *sample]
        require_width(sample, len(config.columns), name)
        names = config.columns
    else:
        refuse_title([(start, header), *sample], name)
        names = headings_of(header, sample, where, config.skip_rows)
    if not sample:
        raise DataError(f"{name} has a header and no rows. Give a file with data")
    refuse_second_header(names, sample, missing_words(config), name)
    if any(len(row) != len(names) for _, row in sample):
        raise _uneven(sample, len(names), name, separator)
    columns = {column: [row[k].strip() for _, row in sample] for k, column in enumerate(names)}
    first = {column: present_cells(cells, config) for column, cells in columns.items()}
    kinds = {column: kind_of(cells, column) for column, cells in first.items()}
    if len(names) == 1 and kinds[names[0]] == "text":
        raise DataError(
            f"{where}: the rows have one cell each, such as {shown(sample[0][1][0])}, which is no number. Separate the "
            "cells of a row by commas, semicolons, tabs or bars"
        )
    layout = layout_of(names, kinds, columns.__getitem__, config, where, index=row_numbers(header, columns))
    layout, notation = with_notation(layout, first, config, where, of_run=of_run)
    return layout, sample, notation


def chunk_by(
    layout: Layout, config: Reading, name: str, separator: str, reader: CellReader
) -> Callable[[Sequence[Row]], Chunk]:
    """Return a function that makes arrays of some of a table's rows.

    Args:
        layout, config, name, separator: as `understand` takes and returns them.
        reader: reads the columns of numbers.
    """
    place = {column: k for k, column in enumerate(layout.names)}

    def chunk_of(rows: Sequence[Row]) -> Chunk:
        numbered, cells = zip(*rows, strict=True)
        if set(map(len, cells)) != {len(layout.names)}:
            raise _uneven(rows, len(layout.names), name, separator)
        columns = list(zip(*cells, strict=True))
        times = None
        if layout.time is not None and layout.form is not None:
            moments = list(map(str.strip, columns[place[layout.time]]))
            if layout.clock is not None:
                moments = joined(moments, list(map(str.strip, columns[place[layout.clock]])), missing_words(config))
            try:
                times = read_moments(moments, layout.form)
            except BadCell as error:
                raise DataError(
                    f"{name}, line {numbered[error.place]}, column {layout.time!r}: {error.problem}"
                ) from None
        values = np.empty((len(rows), len(layout.values)), np.float32)
        for k, column in enumerate(layout.values):
            values[:, k] = reader.read(columns[place[column]], numbered, column)
        ids = None
        if layout.ids:
            ids = names_of_series([list(map(str.strip, columns[place[column]])) for column in layout.ids])
        labels = None if layout.label is None else list(map(str.strip, columns[place[layout.label]]))
        return Chunk(np.array(numbered, np.int32), times, values, ids, labels)

    return chunk_of


def _uneven(chunk: Sequence[Row], width: int, name: str, separator: str) -> DataError:
    error = uneven(chunk, width, name)
    if separator == ",":
        return error
    problem, _, _ = str(error).partition(". ")
    word = {";": "semicolons", "\t": "tabs", "|": "bars"}[separator]
    return DataError(f"{problem}. Write as many cells between {word} in each row, an unknown one empty")
