"""Split blocks of delimited text into columns and convert whole columns with pyarrow.

No function refuses a cell: it returns None for a column that it cannot convert as a whole, whose cells the caller then
reads one by one.
"""

import contextlib
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from lstm_ae.arrays import Array, Float64Array, Int64Array
from lstm_ae.data.text import count_lines

if TYPE_CHECKING:
    import pyarrow

# Cells of a column. Small tables and streams have sequences, which do not need to import pyarrow.
TextColumn: TypeAlias = "Sequence[str] | pyarrow.StringArray"

# With fewer rows, pyarrow is not faster.
MIN_ARROW_ROWS = 100

PLAIN_NUMBER_BYTES, INTEGER_BYTES = b"0123456789.eE+-", b"0123456789-"


# Number of one digit as the first or second part of a date or as an hour, and its replacement by two digits.
PADDING = (
    (r"^(\d)([-/.])", r"0\1\2"),
    (r"^(\d\d[-/.])(\d)([-/.])", r"\10\2\3"),
    (r" (\d):", r" 0\1:"),
)

# Date with a year of four digits at the end, and its replacement in each order.
YEAR_LAST = r"^(?:(\d\d)/(\d\d)/|(\d\d)\.(\d\d)\.|(\d\d)-(\d\d)-)(\d{4})\b"
YEAR_FIRST = {"dmy": r"\7-\2\4\6-\1\3\5", "mdy": r"\7-\1\3\5-\2\4\6"}

# Date in digits only, and its replacement.
COMPACT_DATE = (r"^(....)(..)(..)$", r"\1-\2-\3")


def split_block(text: str, separator: str, width: int, places: Sequence[int]) -> "list[TextColumn] | None":
    r"""Return columns of a text of complete lines; None unless each line is a row of a given width.

    Args:
        text: lines that end in ``\n``, except for the last one.
        separator: separator of the cells.
        width: number of cells per row.
        places: positions of the columns to return.
    """
    import pyarrow
    from pyarrow import csv

    # pyarrow does not refuse text after a closing quote.
    quoted = re.compile(rf'(?:^|(?<={re.escape(separator)}))"[^"\n]*"(?={re.escape(separator)}|$)', re.MULTILINE)
    if '"' in text and text.count('"') != 2 * sum(1 for _ in quoted.finditer(text)):
        return None
    # A row of one blank cell is a blank line, which pyarrow skips only if it has no character.
    if width == 1 and ('"' in text or not all(map(str.strip, text.removesuffix("\n").split("\n")))):
        return None
    content, names = text.encode(), list(map(str, range(width)))
    try:
        table = csv.read_csv(
            pyarrow.py_buffer(content),
            csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=names),
            csv.ParseOptions(delimiter=separator),
            csv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(names, pyarrow.string()),
                include_columns=[names[place] for place in dict.fromkeys(places)],
            ),
        )
    except pyarrow.ArrowInvalid:
        return None
    if table.num_rows != count_lines(text):
        return None
    return [table.column(names[place]).combine_chunks() for place in places]


def to_column(cells: Sequence[str]) -> TextColumn:
    """Return cells as an array, or unchanged if they are few."""
    if len(cells) < MIN_ARROW_ROWS:
        return cells
    import pyarrow

    # `pyarrow.array` would import pandas.
    encoded = [cell.encode() for cell in cells]
    ends = np.zeros(len(cells) + 1, np.int32)
    np.cumsum([len(cell) for cell in encoded], out=ends[1:])
    buffers = pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(encoded))
    return cast("pyarrow.StringArray", pyarrow.StringArray.from_buffers(len(cells), *buffers))


def to_cells(column: TextColumn) -> list[str]:
    """Return the cells of a column without surrounding blanks."""
    return [cell.strip() for cell in (column if isinstance(column, Sequence) else column.to_pylist())]


def count_words(column: TextColumn) -> tuple[Int64Array, list[str]]:
    """Return each cell as an index of the distinct cells, and these without surrounding blanks."""
    if isinstance(column, Sequence):
        place = {cell: place for place, cell in enumerate(dict.fromkeys(column))}
        return np.array([place[cell] for cell in column], np.int64), to_cells(list(place))
    encoded = column.dictionary_encode()
    return _to_numpy(encoded.indices).astype(np.int64), to_cells(encoded.dictionary)


def may_contain(column: TextColumn, character: str) -> bool:
    """Return whether a cell may contain a character; False if none does."""
    return isinstance(column, Sequence) or character.encode() in _content(column)


def cast_numbers(column: TextColumn, decimal: str, words: Collection[str]) -> Float64Array | None:
    """Return numbers without separators of thousands as float64, NaN where missing; None if a cell is not one.

    Args:
        decimal: decimal separator, "point" or "comma".
        words: lowercase words for a missing value.
    """
    if isinstance(column, Sequence) or (decimal == "comma" and may_contain(column, ".")):
        return None
    from pyarrow import compute

    if decimal == "comma":
        column = compute.replace_substring(column, ",", ".")
    values = _cast_plain_numbers(column)
    if values is None:
        missing = rf"(?i)^\s*(?:{'|'.join(map(re.escape, words))})\s*$"
        filled = compute.replace_substring_regex(column, missing, "")
        values = _cast_plain_numbers(compute.ascii_trim_whitespace(filled))
    return values


def _cast_plain_numbers(column: "pyarrow.StringArray") -> Float64Array | None:
    import pyarrow
    from pyarrow import compute

    # pyarrow also casts words such as `inf`.
    if not _consists_of(column, PLAIN_NUMBER_BYTES):
        return None
    try:
        values = column.cast(pyarrow.float64())
    except pyarrow.ArrowInvalid:
        try:
            values = compute.replace_substring_regex(column, "^$", "nan").cast(pyarrow.float64())
        except pyarrow.ArrowInvalid:
            return None
    numbers: Float64Array = _to_numpy(values).copy()
    return None if np.isinf(numbers).any() else numbers


def cast_integers(column: "pyarrow.StringArray") -> Int64Array | None:
    """Return integers of int64; None if a cell is not one."""
    import pyarrow

    # pyarrow also casts hexadecimal digits.
    with contextlib.suppress(pyarrow.ArrowInvalid):
        return _to_numpy(column.cast(pyarrow.int64())) if _consists_of(column, INTEGER_BYTES) else None
    return None


def cast_dates(column: "pyarrow.StringArray", order: str, *, aware: bool) -> Int64Array | None:
    """Return dates as nanoseconds in UTC, or in local time if not aware; None if a cell is not in a common format.

    The formats are that of ISO 8601, digits only, and dates with the year at the end, in four digits.

    Args:
        order, aware: as in `TimeForm`.
    """
    import pyarrow
    from pyarrow import compute

    kind = pyarrow.timestamp("ns", "UTC" if aware else None)
    column = compute.ascii_trim_whitespace(column)
    first = column[0].as_py()
    if first.isdecimal() and len(first) == 8:
        column = compute.replace_substring_regex(column, *COMPACT_DATE)
    elif order in YEAR_FIRST:
        for pattern, replacement in (*PADDING, (YEAR_LAST, YEAR_FIRST[order])):
            column = compute.replace_substring_regex(column, pattern, replacement)
    with contextlib.suppress(pyarrow.ArrowInvalid):
        return _to_numpy(column.cast(kind).cast(pyarrow.int64()))
    return None


def _consists_of(column: "pyarrow.StringArray", characters: bytes) -> bool:
    return not _content(column).translate(None, characters)


def _content(column: "pyarrow.StringArray") -> bytes:
    """Return the bytes of all cells, of an array that is not a slice."""
    buffer: Any = column.buffers()[2]
    return b"" if buffer is None else bytes(buffer)


def _to_numpy(array: "pyarrow.Array") -> Array:
    """Return an array without nulls; `to_numpy` would import pandas."""
    return np.from_dlpack(array)
