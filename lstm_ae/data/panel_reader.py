"""Convert the columns of consecutive rows, as text or as stored by Arrow, to panels."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Float32Array, Int64Array
from lstm_ae.config import Reading
from lstm_ae.config.reading import Use
from lstm_ae.data.columns import TableSample, infer_layout, join_id_columns
from lstm_ae.data.numbers import CellReader
from lstm_ae.data.panel import Panel, number_names
from lstm_ae.data.text_columns import TextColumn, count_words, to_column
from lstm_ae.data.time_zones import infer_zone, localize_times
from lstm_ae.data.timestamps import MISSING_TIME, YEAR_RANGE, BadTime, parse_times
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import quote
from lstm_ae.table_files import is_escaped

if TYPE_CHECKING:
    import pyarrow

# Column of a file: text of CSV, or what Parquet stores.
Column: TypeAlias = "TextColumn | pyarrow.Array"

# Line or row number of each row in the file, int32, and its cells by column.
Batch: TypeAlias = "tuple[NDArray[np.int32], Mapping[str, Column]]"


class PanelReader:
    """Reader that infers how a table is written from its first rows and converts its rows to panels.

    It reads files, data frames, and the records of a watch.

    Args:
        sample: the first rows.
        config: the configuration.
        use: what the rows are read for, see `read_panel`.

    Attributes:
        layout: roles of the columns.
        cells: reader of the columns of numbers.
        columns: names of the columns that are read.

    Raises:
        ConfigError, DataError: as in `infer_layout`.
    """

    def __init__(self, sample: TableSample, config: Reading, use: Use) -> None:
        self.config = config
        self.layout, notation = infer_layout(sample, config, use)
        self.cells = CellReader(config, sample.name, sample.place, notation, use)
        self.zone = infer_zone(self.layout, config)
        roles = (self.layout.time, *self.layout.ids, self.layout.label, *self.layout.values)
        self.columns = tuple(dict.fromkeys(column for column in roles if column is not None))

    def read(self, rows: NDArray[np.int32], columns: Mapping[str, Column]) -> Panel:
        """Return rows as a panel, in their order, with the labels as written for classes.

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
        series, ids = self._read_names(columns, rows, layout.ids)
        labels, classes = self._read_names(columns, rows, filter(None, (layout.label,)))
        return Panel(
            name=self.cells.name,
            place=self.cells.place,
            layout=layout,
            ids=ids or ("",),
            series=series,
            segment=series,
            times=rows.astype(np.int64) if layout.time is None else self._read_times(columns[layout.time], rows),
            values=values,
            labels=labels if layout.label else None,
            classes=classes,
            lines=rows,
            unsorted=0,
            zone=self.zone,
            bad=tuple(self.cells.bad.values()),
        )

    def _read_times(self, column: Column, rows: NDArray[np.int32]) -> Int64Array:
        try:
            if self.layout.form is None:
                assert not isinstance(column, Sequence)
                times = read_stored_times(column)
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
        return self.cells.narrow(values, values, rows, name)

    def _read_names(
        self, columns: Mapping[str, Column], rows: NDArray[np.int32], names: Iterable[str]
    ) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Return the name of each row in columns of words, as an index of the distinct names, and these names."""
        coded = [self._read_words(columns[name], rows, name) for name in names]
        if not coded:
            return np.zeros(len(rows), np.int32), ()
        if len(coded) > 1:
            cells = [[words[place] for place in places.tolist()] for places, words in coded]
            coded = [count_words(join_id_columns(cells))]
        return number_names(coded)

    def _read_words(self, column: Column, rows: NDArray[np.int32], name: str) -> tuple[Int64Array, list[str]]:
        places, words = count_words(to_text(column))
        escaped = [number for number, word in enumerate(words) if is_escaped(word)]
        if escaped and self.cells.place == "line":
            problem = (
                f"{quote(words[escaped[0]])[:60]} has an apostrophe before a formula, as files for spreadsheets do. "
                'Remove it: frame[column].str.removeprefix("\'")'
            )
            raise self._error(rows[places.tolist().index(escaped[0])], name, problem, Code.CELL_VALUE)
        return places, words

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


def read_stored_times(column: "pyarrow.Array") -> Int64Array:
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
