"""Tables as files: Parquet, and CSV that is safe to open in a spreadsheet."""

import csv
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_ae.arrays import Array
from lstm_ae.files import write

# Columns of a table by name, of equal length; a column holds numbers, texts, or None.
TableColumns = dict[str, Sequence[Any] | Array]

# Rows formatted at a time.
PIECE = 50_000
# Characters that begin a formula in spreadsheets, including full-width forms, and invisible characters before them.
_SUSPECT = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20]")
_FORMULA = re.compile(rf"[\s\x00-\x1f\u200b-\u200f\ufeff]*{_SUSPECT.pattern}")
_SEPARATORS = re.compile("([;\t\r\n])")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?%?|[+-]")


def table(header: Sequence[str] | None, rows: Sequence[Sequence[object]]) -> bytes:
    """Return rows as CSV; None and NaN become empty cells, floats have the fewest digits that are exact.

    Text that a spreadsheet would execute is escaped.

    Args:
        header: the names of the columns; None for no header, for more rows of the same table.
        rows: one sequence of cells per row.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in rows if header is None else itertools.chain([header], rows):
        cells = ["" if cell is None or cell != cell else cell for cell in row]
        writer.writerow([escape_formulas(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue().encode()


def escape_formulas(cell: str) -> str:
    """Return text with an apostrophe before every formula, so that no spreadsheet executes it.

    Spreadsheets with another separator may split a cell, so its parts are escaped too. Numbers are not changed.
    Source: https://owasp.org/www-community/attacks/CSV_Injection.

    >>> escape_formulas("=1+1"), escape_formulas("pump;@SUM(A1)"), escape_formulas("-1.5e-3")
    ("'=1+1", "pump;'@SUM(A1)", '-1.5e-3')
    """
    if not _SUSPECT.search(cell):
        return cell
    parts = _SEPARATORS.split(cell)
    return "".join(f"'{part}" if _FORMULA.match(part) and not _NUMBER.fullmatch(part) else part for part in parts)


def is_escaped(cell: str) -> bool:
    """Return whether a text contains an apostrophe that `escape_formulas` adds.

    >>> is_escaped("'+49 A"), is_escaped("'tis")
    (True, False)
    """
    parts = _SEPARATORS.split(cell) if "'" in cell else []
    return any(part[:1] == "'" and escape_formulas(part[1:]) == part for part in parts)


def write_table(path: Path, columns: Mapping[str, Sequence[object] | Array]) -> Path:
    """Write columns to a `.csv` or `.parquet` file and return its path.

    Args:
        path: the file; its suffix selects the format.
        columns: columns of equal length by name.
    """
    if path.suffix == ".csv":
        rows = zip(*columns.values(), strict=True)
        # Format in pieces: rows as Python objects take many times the memory of their text.
        pieces = iter(lambda: list(itertools.islice(rows, PIECE)), [])
        return write(path, b"".join([table(list(columns), []), *(table(None, piece) for piece in pieces)]))
    import pyarrow as pa
    import pyarrow.parquet as parquet

    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), sink)
    return write(path, sink.getvalue().to_pybytes())
