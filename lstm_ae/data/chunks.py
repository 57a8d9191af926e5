"""Convert the columns of consecutive rows, as text or as stored by Arrow, to times, numbers, and words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Float32Array, Int64Array
from lstm_ae.config import Reading
from lstm_ae.data.columns import TableSample, infer_layout, join_id_columns
from lstm_ae.data.numbers import FLOAT32_OVERFLOW_TEXT, CellProblem, CellReader
from lstm_ae.data.text_columns import TextColumn, count_words, to_column
from lstm_ae.data.time_zones import localize_times
from lstm_ae.data.timestamps import MISSING_TIME, YEAR_RANGE, BadTime, parse_times
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import quote
from lstm_ae.table_files import is_escaped

if TYPE_CHECKING:
    import pyarrow

# Column of a file: text of CSV, or what Parquet stores.
Column: TypeAlias = "TextColumn | pyarrow.Array"


class Chunk(NamedTuple):
    """Consecutive rows of a table.

    Args:
        lines: `(rows,)` int32, line or row number in the file, from 1.
        times: `(rows,)` int64 nanoseconds in UTC or counts; None if rows are counted.
        values: `(rows, features)` float32, NaN where missing.
        ids, labels: one cell per row; None without such a column.
    """

    lines: NDArray[np.int32]
    times: Int64Array | None
    values: Float32Array
    ids: Sequence[str] | None
    labels: Sequence[str] | None


class ChunkReader:
    """Reader that infers how a table is written from its first rows and converts its rows to chunks.

    Files, data frames, streams, and the records of a watch are read by it.

    Args:
        sample: the first rows.
        config: the configuration.
        name: what is read, for errors.
        place: "line" or "row", the unit of positions in errors.
        of_run: whether the configuration is that of a run, which describes the run's own table.
        lenient: as in `CellReader`.

    Attributes:
        layout: roles of the columns.
        cells: reader of the columns of numbers.
        columns: names of the columns that are read.

    Raises:
        ConfigError, DataError: as in `infer_layout`.
    """

    def __init__(
        self,
        sample: TableSample,
        config: Reading,
        name: str,
        place: str,
        *,
        of_run: bool = False,
        lenient: bool = False,
    ) -> None:
        self.config = config
        self.layout, notation = infer_layout(sample, config, of_run=of_run)
        self.cells = CellReader(config, name, place, notation, of_run=of_run, lenient=lenient)
        roles = (self.layout.time, *self.layout.ids, self.layout.label, *self.layout.values)
        self.columns = tuple(dict.fromkeys(column for column in roles if column is not None))

    def read(self, rows: NDArray[np.int32], columns: Mapping[str, Column]) -> Chunk:
        """Return rows as a chunk.

        Args:
            rows: line or row number of each row in the file.
            columns: cells of `columns` by name.

        Raises:
            DataError: if a cell cannot be read.
        """
        layout = self.layout
        values = np.empty((len(rows), len(layout.values)), np.float32)
        for k, name in enumerate(layout.values):
            values[:, k] = self._read_numbers(columns[name], rows, name)
        times = None if layout.time is None else self._read_times(columns[layout.time], rows)
        ids = join_id_columns([self._read_words(columns[name], rows, name) for name in layout.ids])
        labels = None if layout.label is None else self._read_words(columns[layout.label], rows, layout.label)
        return Chunk(rows, times, values, ids if layout.ids else None, labels)

    def _read_times(self, column: Column, rows: NDArray[np.int32]) -> Int64Array:
        try:
            if self.layout.form is None:
                assert not isinstance(column, Sequence)
                times = _read_stored_times(column)
            else:
                times = parse_times(to_text(column), self.layout.form)
            return localize_times(times, self.layout.aware, self.config)
        except BadTime as error:
            raise self._error(rows[error.place], self.layout.time or "", error.problem, Code.TIME_VALUE) from None

    def _read_numbers(self, column: Column, rows: NDArray[np.int32], name: str) -> Float32Array | float:
        if isinstance(column, Sequence) or is_text(column.type):
            return self.cells.read(to_text(column), rows, name)
        import pyarrow

        types = pyarrow.types
        if types.is_null(column.type):
            return np.nan
        if not (types.is_integer(column.type) or types.is_floating(column.type) or types.is_decimal(column.type)):
            raise DataError(
                f"{self.cells.name}: the column {name!r} holds {column.type}, not numbers. Convert it"
                + (", or leave it out of --value-cols" if self.cells.selects else ""),
                code=Code.CELL_VALUE,
            )
        values = column.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
        problem = CellProblem(f"is infinite or {FLOAT32_OVERFLOW_TEXT}", "Correct it, or leave the cell empty")
        return self.cells.narrow(values, values, rows, name, problem)

    def _read_words(self, column: Column, rows: NDArray[np.int32], name: str) -> list[str]:
        places, words = count_words(to_text(column))
        escaped = [number for number, word in enumerate(words) if is_escaped(word)]
        if escaped and self.cells.place == "line":
            problem = (
                f"{quote(words[escaped[0]])[:60]} has an apostrophe before a formula, as files for spreadsheets do. "
                'Remove it: frame[column].str.removeprefix("\'")'
            )
            raise self._error(rows[places.tolist().index(escaped[0])], name, problem, Code.CELL_VALUE)
        return [words[place] for place in places.tolist()]

    def _error(self, row: int, column: str, problem: str, code: Code) -> DataError:
        return DataError(f"{self.cells.name}, {self.cells.place} {row}, column {column!r}: {problem}", code=code)


def is_text(kind: "pyarrow.DataType") -> bool:
    """Return whether Arrow stores a column of this type as text."""
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind))


def to_texts(column: "pyarrow.Array") -> list[str]:
    """Return stored cells as text, "" for a missing one."""
    return ["" if value is None else str(value).strip() for value in column.to_pylist()]


def to_text(column: Column) -> TextColumn:
    """Return a column as text."""
    if isinstance(column, Sequence):
        return column
    import pyarrow

    if column.type == pyarrow.string() and not column.null_count and not column.offset:
        return column
    return to_column(to_texts(column))


def _read_stored_times(column: "pyarrow.Array") -> Int64Array:
    """Return stored times in nanoseconds.

    Raises:
        BadTime: if a time is missing or out of range.
    """
    import pyarrow

    if column.null_count:
        raise BadTime(int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))), MISSING_TIME)
    # Microseconds can hold every year, but nanoseconds would wrap around after 2262.
    times = column.cast(pyarrow.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
    years = times.astype("datetime64[Y]").astype(np.int64) + 1970
    wrong = (years < YEAR_RANGE.start) | (years >= YEAR_RANGE.stop)
    if wrong.any():
        problem = f"the time is outside the years {YEAR_RANGE.start} to {YEAR_RANGE.stop - 1}. Correct it"
        raise BadTime(int(wrong.argmax()), problem)
    if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        return np.asarray(column.cast(pyarrow.int64()).to_numpy(zero_copy_only=False), np.int64)
    return np.asarray(times.astype("datetime64[us]").astype(np.int64) * 1000, np.int64)
