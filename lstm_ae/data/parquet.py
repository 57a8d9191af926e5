"""Read Parquet files in chunks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from lstm_ae.data.columns import TableSample
from lstm_ae.data.csv_reader import CHUNK_CELLS, limit_columns, require_distinct, sample_rows
from lstm_ae.data.panel_reader import Batch, is_text, to_texts
from lstm_ae.data.text import open_stable_file
from lstm_ae.errors import Code, DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

# First bytes of a Parquet file.
MAGIC = b"PAR1"

BATCH_ROWS = 50_000


class _ArrowSource:
    """Table in memory with the two members of `pyarrow.parquet.ParquetFile` that are needed."""

    def __init__(self, table: "pyarrow.Table") -> None:
        self.table, self.schema_arrow = table.combine_chunks(), table.schema

    def iter_batches(self, size: int, columns: Sequence[str] | None = None) -> "Iterator[pyarrow.RecordBatch]":
        """Yield the rows in batches."""
        yield from self.table.select(list(columns or self.schema_arrow.names)).to_batches(max_chunksize=size)


def iterate_rows(path: str, keys: Mapping[str, str], columns: Sequence[str]) -> "Iterator[pyarrow.RecordBatch]":
    """Yield columns of a file of a data set.

    Args:
        path: the file.
        keys: value of each partition key in its path, as in `machine=a/part.parquet`, by column.
        columns: names of the columns; those that neither the file nor its path has are left out.

    Raises:
        DataError: if the file cannot be read, is not a Parquet file, or is damaged.
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


def arrow_table(frame: "pd.DataFrame", name: str) -> "pyarrow.Table":
    """Return a data frame as an Arrow table, without its index.

    Raises:
        DataError: if a column holds values of several types.
    """
    import pyarrow

    try:
        return pyarrow.Table.from_pandas(frame, preserve_index=False)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        text = " ".join(str(error).split())[:120]
        raise DataError(f"{name} cannot be converted ({text}). Convert the column", code=Code.ARRAY_INPUT) from None


def scan_arrow(
    source: "BinaryIO | pyarrow.Table", name: str
) -> tuple[TableSample, Callable[[Sequence[str]], Iterator[Batch]]]:
    """Return the first rows of an open Parquet file or an Arrow table, and a function that yields some columns.

    Raises:
        DataError: as in `scan_csv` with rows instead of lines.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        stored = _ArrowSource(source) if isinstance(source, pyarrow.Table) else pyarrow.parquet.ParquetFile(source)
        schema = stored.schema_arrow
        limit_columns(len(schema), name)
        first = next(stored.iter_batches(sample_rows(len(schema))), None)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged_file_error(error, name) from None
    require_distinct(schema.names, name)
    if first is None or not first.num_rows:
        raise DataError(f"{name} has no rows. Pass a file with data", code=Code.EMPTY_COLUMN)
    cells = {column: to_texts(first.column(column)) for column in schema.names}
    kinds = {field.name: kind for field in schema if (kind := _describe_type(field.type))}
    # pandas stores an index without a name in this column; an index of times does not number the rows.
    numbering = "__index_level_0__" if kinds.get("__index_level_0__") == "number" else None

    def scan(columns: Sequence[str]) -> Iterator[Batch]:
        row, size = 1, max(1, min(BATCH_ROWS, CHUNK_CELLS // len(columns)))
        try:
            for batch in stored.iter_batches(size, columns=list(columns)):
                rows = np.arange(row, row + batch.num_rows, dtype=np.int32)
                row += batch.num_rows
                yield rows, {column: batch.column(column) for column in columns}
        except (pyarrow.ArrowException, OSError) as error:
            raise _damaged_file_error(error, name) from None

    return TableSample(name, "row", name, schema.names, cells, kinds, numbering), scan


def _describe_type(kind: "pyarrow.DataType") -> str | None:
    """Return the type of a column for `TableSample.stored`, None for text."""
    from pyarrow import types

    if types.is_timestamp(kind) or types.is_date(kind):
        return "time" if types.is_date(kind) or kind.tz is None else "utc"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind):
        return "number"
    return None if is_text(kind) else "other"


def _damaged_file_error(error: Exception, name: str) -> DataError:
    return DataError(
        f"{name} is a damaged Parquet file ({' '.join(str(error).split())[:120]}). Write it again",
        code=Code.FILE_FORMAT,
    )
