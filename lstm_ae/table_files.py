"""Tables as files: Parquet, and CSV that is safe to open in a spreadsheet."""

import csv
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_ae.errors import ConfigError
from lstm_ae.files import write
from lstm_ae.installation import install_hint

# Rows that are made into text at a time.
PIECE = 50_000
# What a spreadsheet takes for the beginning of a formula, wide forms too; what cannot be seen before it does not count.
_SUSPECT = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20]")
_FORMULA = re.compile(rf"[\s\x00-\x1f\u200b-\u200f\ufeff]*{_SUSPECT.pattern}")
_SEPARATORS = re.compile("([;\t\r\n])")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?%?|[+-]")


def table(header: Sequence[str] | None, rows: Sequence[Sequence[Any]], *, formulas: bool = False) -> bytes:
    """Return a CSV file's bytes; None and NaN are empty cells, floats are exact in the fewest digits of their type.

    Without a header it is more rows of one that has been begun.

    Args:
        formulas: keep text that a spreadsheet would execute; else it is made plain.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in rows if header is None else itertools.chain([header], rows):
        cells = ["" if cell is None or cell != cell else cell for cell in row]
        writer.writerow(cells if formulas else [plain(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue().encode()


def plain(cell: str) -> str:
    """Return a text that no spreadsheet executes: with an apostrophe before whatever begins as a formula does.

    A spreadsheet whose separator is another one takes a part of a cell for a cell. Numbers stay as they are.
    Source: https://owasp.org/www-community/attacks/CSV_Injection.

    >>> plain("=1+1"), plain("pump;@SUM(A1)"), plain("-1.5e-3"), plain("a-b")
    ("'=1+1", "pump;'@SUM(A1)", '-1.5e-3', 'a-b')
    """
    if not _SUSPECT.search(cell):
        return cell
    parts = _SEPARATORS.split(cell)
    return "".join(f"'{part}" if _FORMULA.match(part) and not _NUMBER.fullmatch(part) else part for part in parts)


def write_table(path: Path, columns: Mapping[str, Any], *, formulas: bool = False) -> Path:
    """Write columns as a `.csv` or `.parquet` file.

    Args:
        formulas: keep text in a `.csv` that a spreadsheet would execute; else it is made plain.
    """
    if path.suffix == ".csv":
        rows = zip(*columns.values(), strict=True)
        # Piece by piece: as Python's objects, the rows of a long table are many times as large as its text.
        pieces = iter(lambda: list(itertools.islice(rows, PIECE)), [])
        head = table(list(columns), [], formulas=formulas)
        return write(path, b"".join([head, *(table(None, piece, formulas=formulas) for piece in pieces)]))
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise ConfigError(f"A .parquet file needs pyarrow: {install_hint('parquet')}, or give .csv") from None
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), sink)
    return write(path, sink.getvalue().to_pybytes())
