"""Read Parquet files in chunks."""

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Float32Array, Int64Array
from lstm_ae.config import Reading
from lstm_ae.data.columns import (
    Kind,
    Layout,
    TableSample,
    add_notation,
    drop_missing_cells,
    infer_kind,
    infer_layout,
    join_id_columns,
)
from lstm_ae.data.csv_reader import CHUNK_CELLS, CLOCK, Chunk, limit_columns, sample_rows
from lstm_ae.data.numbers import FLOAT32_OVERFLOW_TEXT, CellProblem, CellReader
from lstm_ae.data.text import open_stable_file
from lstm_ae.data.text_columns import to_column
from lstm_ae.data.timestamps import (
    MISSING_TIME,
    YEAR_RANGE,
    BadTime,
    counts_from_1970,
    is_time_heading,
    looks_like_times,
    parse_times,
)
from lstm_ae.errors import Code, DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

# First bytes of a Parquet file.
MAGIC = b"PAR1"

BATCH_ROWS = 50_000


class _TableReader:
    """Reader of a table in memory, with the same two members of `pyarrow.parquet.ParquetFile`."""

    def __init__(self, table: "pyarrow.Table") -> None:
        self.table, self.schema_arrow = table.combine_chunks(), table.schema

    def iter_batches(self, size: int, columns: Sequence[str] | None = None) -> "Iterator[pyarrow.RecordBatch]":
        """Yield the rows in batches."""
        yield from self.table.select(list(columns or self.schema_arrow.names)).to_batches(max_chunksize=size)


def iterate_rows(path: str, keys: Mapping[str, str], columns: Sequence[str]) -> "Iterator[pyarrow.RecordBatch]":
    """Yield columns of a file of a data set.

    Args:
        path: the file.
        keys: text of each column that its path holds, as in `machine=a/part.parquet`.
        columns: names of the columns; those that neither the file nor its path has are left out.

    Raises:
        DataError: the file cannot be read, is no Parquet file, or is damaged.
    """
    import pyarrow
    import pyarrow.parquet

    with open_stable_file(path) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DataError(
                f"{path!r} is not a Parquet file. A data set consists of Parquet files; convert it",
                code=Code.FILE_FORMAT,
            )
        try:
            source = pyarrow.parquet.ParquetFile(file)
            names = source.schema_arrow.names
            texts = {name: keys[name] for name in columns if name in keys and name not in names}
            # A batch without columns has no number of rows.
            stored = [name for name in columns if name in names] or names[:1]
            for batch in source.iter_batches(BATCH_ROWS, columns=stored):
                for name, text in texts.items():
                    batch = batch.append_column(name, pyarrow.repeat(pyarrow.scalar(text), batch.num_rows))
                yield batch
        except (pyarrow.ArrowException, OSError) as error:
            raise _damaged_file_error(error, repr(path)) from None


def read_parquet(
    file: BinaryIO,
    name: str,
    config: Reading,
    *,
    of_run: bool = False,
    lenient: bool = False,
) -> tuple[Layout, Iterator[Chunk], CellReader]:
    """Return the layout of an open Parquet file, an iterator of its chunks, and the reader of its numbers.

    Args:
        of_run, lenient: as in `read_delimited`.

    Raises:
        DataError: as in `read_delimited` with rows instead of lines.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        source = pyarrow.parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged_file_error(error, name) from None
    return _read_source(source, name, config, of_run=of_run, lenient=lenient)


def arrow_table(frame: "pd.DataFrame", name: str) -> "pyarrow.Table":
    """Return a data frame as an Arrow table, without its index.

    Raises:
        DataError: a column holds values of several kinds.
    """
    import pyarrow

    try:
        return pyarrow.Table.from_pandas(frame, preserve_index=False)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        text = " ".join(str(error).split())[:120]
        raise DataError(f"{name} cannot be converted ({text}). Convert the column", code=Code.ARRAY_INPUT) from None


def read_arrow(table: "pyarrow.Table", name: str, config: Reading) -> tuple[Layout, Iterator[Chunk], CellReader]:
    """Return the same as `read_parquet` for a table in memory, with the configuration of a run.

    Args:
        table: the table.
        name: its name in errors.
    """
    return _read_source(_TableReader(table), name, config, of_run=True, lenient=False)


def _read_source(
    source: "pyarrow.parquet.ParquetFile | _TableReader",
    name: str,
    config: Reading,
    *,
    of_run: bool,
    lenient: bool,
) -> tuple[Layout, Iterator[Chunk], CellReader]:
    import pyarrow

    try:
        schema = source.schema_arrow
        limit_columns(len(schema), name)
        first = next(source.iter_batches(sample_rows(len(schema))), None)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged_file_error(error, name) from None
    if len(set(schema.names)) < len(schema.names):
        twice = collections.Counter(schema.names).most_common(1)[0][0]
        raise DataError(
            f"{name}: the column {twice[:80]!r} occurs more than once. Rename or remove one", code=Code.TABLE_HEADER
        )
    if first is None or not first.num_rows:
        raise DataError(f"{name} has no rows. Pass a file with data", code=Code.EMPTY_COLUMN)
    types = pyarrow.types

    def cells(column: str) -> Sequence[str]:
        return _timestamps_to_texts(first.column(column))

    def dates(column: str) -> Sequence[str]:
        found: dict[str, None] = {}
        for batch in source.iter_batches(BATCH_ROWS, columns=[column]):
            found.update(dict.fromkeys(CLOCK.sub("", cell) for cell in column_to_texts(batch.column(0))))
        return drop_missing_cells(list(found), config)

    kinds: dict[str, Kind] = {}
    texts: dict[str, list[str]] = {}
    for field in schema:
        if types.is_timestamp(field.type) or types.is_date(field.type):
            kinds[field.name] = "time"
        elif types.is_integer(field.type) or types.is_floating(field.type) or types.is_decimal(field.type):
            filled = [cell for cell in cells(field.name) if cell]
            if types.is_integer(field.type):
                times = bool(filled) and looks_like_times(filled, field.name)
            else:
                # 2024.1 may be January or October, and is most likely not a date.
                times = is_time_heading(field.name) and counts_from_1970(filled)
            kinds[field.name] = "time" if times else "number"
        elif types.is_null(field.type):
            kinds[field.name] = "empty"
        elif types.is_string(field.type) or types.is_large_string(field.type) or types.is_dictionary(field.type):
            texts[field.name] = drop_missing_cells(cells(field.name), config)
            kinds[field.name] = infer_kind(texts[field.name], field.name)
        else:
            kinds[field.name] = "text"
    typed = {field.name for field in schema if types.is_timestamp(field.type) or types.is_date(field.type)}
    aware = {field.name for field in schema if types.is_timestamp(field.type) and field.type.tz is not None}
    # pandas stores an index without a name in this column; one of times is no number of the row.
    index = "__index_level_0__" if kinds.get("__index_level_0__") in ("number", "empty") else None
    head = TableSample(schema.names, kinds, cells, name, dates)
    layout = infer_layout(head, config, typed=frozenset(typed), aware=frozenset(aware), index=index, of_run=of_run)
    layout, notation = add_notation(layout, texts, config, name, of_run=of_run)
    reader = CellReader(config, name, "row", notation, of_run=of_run, lenient=lenient)
    return layout, _read_chunks(source, layout, config, reader), reader


def column_to_texts(column: "pyarrow.ChunkedArray") -> list[str]:
    """Return the cells of a column as text, "" for a missing one."""
    return ["" if value is None else str(value).strip() for value in column.to_pylist()]


def _timestamps_to_texts(column: "pyarrow.ChunkedArray") -> list[str]:
    """Return times as texts, without the time of day if all are at midnight."""
    texts, midnight = column_to_texts(column), " 00:00:00"
    if not all(text.endswith(midnight) for text in texts if text):
        return texts
    return [text.removesuffix(midnight) for text in texts]


def _read_chunks(
    source: "pyarrow.parquet.ParquetFile | _TableReader",
    layout: Layout,
    config: Reading,
    reader: CellReader,
) -> Iterator[Chunk]:
    import pyarrow

    name, row = reader.name, 1
    roles = (layout.time, *layout.ids, layout.label, *layout.values)
    columns = [column for column in roles if column is not None]
    try:
        size = max(1, min(BATCH_ROWS, CHUNK_CELLS // len(columns)))
        for batch in source.iter_batches(size, columns=list(dict.fromkeys(columns))):
            rows = np.arange(row, row + batch.num_rows, dtype=np.int32)
            row += batch.num_rows
            times = None if layout.time is None else _read_times(batch, layout, rows, name, config)
            values = np.empty((batch.num_rows, len(layout.values)), np.float32)
            for k, column in enumerate(layout.values):
                values[:, k] = _read_values(batch.column(column), column, rows, reader)
            ids = (
                join_id_columns([column_to_texts(batch.column(column)) for column in layout.ids])
                if layout.ids
                else None
            )
            labels = None if layout.label is None else column_to_texts(batch.column(layout.label))
            yield Chunk(rows, times, values, ids, labels)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged_file_error(error, name) from None


def _damaged_file_error(error: Exception, name: str) -> DataError:
    return DataError(
        f"{name} is a damaged Parquet file ({' '.join(str(error).split())[:120]}). Write it again",
        code=Code.FILE_FORMAT,
    )


def _read_times(
    batch: "pyarrow.RecordBatch", layout: Layout, rows: NDArray[np.int32], name: str, config: Reading
) -> Int64Array:
    import pyarrow

    column = batch.column(layout.time)

    def fail(place: int, problem: str) -> DataError:
        return DataError(f"{name}, row {rows[place]}, column {layout.time!r}: {problem}", code=Code.TIME_VALUE)

    if layout.form is not None:
        cells = _timestamps_to_texts(column)
        try:
            return parse_times(to_column(cells), layout.form)
        except BadTime as error:
            raise fail(error.place, error.problem) from None
    if column.null_count:
        missing = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise fail(missing, MISSING_TIME)
    # Microseconds can hold every year, but nanoseconds would wrap around after 2262.
    times = column.cast(pyarrow.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
    years = times.astype("datetime64[Y]").astype(np.int64) + 1970
    wrong = (years < YEAR_RANGE.start) | (years >= YEAR_RANGE.stop)
    if wrong.any():
        raise fail(
            int(wrong.argmax()),
            f"the time is outside the years {YEAR_RANGE.start} to {YEAR_RANGE.stop - 1}. Correct it",
        )
    if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        exact: Int64Array = column.cast(pyarrow.int64()).to_numpy(zero_copy_only=False)
        return exact
    moments: Int64Array = times.astype("datetime64[us]").astype(np.int64) * 1000
    return moments


def _read_values(
    column: "pyarrow.ChunkedArray", heading: str, rows: NDArray[np.int32], reader: CellReader
) -> Float32Array | float:
    import pyarrow

    types = pyarrow.types
    if types.is_string(column.type) or types.is_large_string(column.type) or types.is_dictionary(column.type):
        return reader.read(to_column(column_to_texts(column)), rows, heading)
    if types.is_null(column.type):
        return np.nan
    if not (types.is_integer(column.type) or types.is_floating(column.type) or types.is_decimal(column.type)):
        raise DataError(
            f"{reader.name}: the column {heading!r} holds {column.type}, not numbers. Convert it"
            + (", or leave it out of --value-cols" if reader.selects else ""),
            code=Code.CELL_VALUE,
        )
    values = column.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
    problem = CellProblem(f"is infinite or {FLOAT32_OVERFLOW_TEXT}", "Correct it, or leave the cell empty")
    return reader.narrow(values, values, rows, heading, problem)
