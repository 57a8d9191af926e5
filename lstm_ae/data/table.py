"""A strict CSV reader: every cell is understood, or the file is refused with the line that broke a rule.

Why not `pandas.read_csv`: a first row longer than the header shifts its columns without a word, short rows are
filled, a decimal comma turns a column into text, and a missing header costs the first row.
"""

import collections
import csv
import itertools
import os
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.lines import lines, stable_file
from lstm_ae.data.notation import NUMBER, BadNumber, numbers_of
from lstm_ae.errors import DataError
from lstm_ae.words import shown

# Larger chunks fall out of the processor caches: 50,000 rows at a time take twice as long.
CHUNK = 5_000
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class Text(NamedTuple):
    """A text column: `values[codes[row]]`. The distinct values, blanks stripped, stand once."""

    codes: NDArray[np.int32]
    values: tuple[str, ...]


class Table(NamedTuple):
    """What `read_csv` read.

    Args:
        name: the file as errors name it.
        text: text columns by the names asked for.
        numbers: `(rows,)` float64 columns by the names asked for; NaN where a value is missing.
        lines: `(rows,)` int64, the line in the file on which each row starts, from 1.
    """

    name: str
    text: dict[str, Text]
    numbers: dict[str, NDArray[np.float64]]
    lines: NDArray[np.int64]

    def error(self, row: int, problem: str) -> DataError:
        """An error that names the file and the row's line."""
        return DataError(f"{self.name}, line {self.lines[row]}: {problem}")


def read_csv(
    path: str | os.PathLike[str],
    *,
    text: Sequence[str],
    numbers: Sequence[str],
    optional: Sequence[str] = (),
    aliases: Mapping[str, Sequence[str]] = types.MappingProxyType({}),
) -> Table:
    """Read the asked columns of a comma-separated UTF-8 file with a header, plain or compressed.

    Columns may stand in any order and case; others are ignored. Blank lines are skipped. A number is missing where
    its cell is empty or NA, N/A, null, None, nan or -.

    Args:
        path: a regular file.
        text, numbers: names of the columns, lower case.
        optional: names of further columns of numbers, which the file need not have.
        aliases: other headings under which a column is accepted where its own name is absent, lower case.

    Raises:
        DataError: the file is not such a table; one line with the file, the line, the rule and what was received.
    """
    name = shown(path)
    with stable_file(path) as file:
        rows = rows_of(lines(file, name), name)
        start, header = next(rows, (0, []))
        if not header:
            raise DataError(f"{name} is empty. Give a file with the columns {', '.join((*text, *numbers))}")
        place = _places(header, (*text, *numbers), optional, aliases, f"{name}, line {start}")
        numbers = [*numbers, *(column for column in optional if column in place)]
        index: dict[str, collections.defaultdict[str, int]] = {
            column: collections.defaultdict(itertools.count().__next__) for column in text
        }
        parts: dict[str, list[NDArray[np.int32] | NDArray[np.float64]]] = {column: [] for column in place}
        starts = []
        while chunk := list(itertools.islice(rows, CHUNK)):
            numbered, wide = zip(*chunk, strict=True)
            if set(map(len, wide)) != {len(header)}:
                raise uneven(chunk, len(header), name)
            columns = list(zip(*wide, strict=True))
            starts.append(np.array(numbered, np.int64))
            for column in text:
                codes = map(index[column].__getitem__, map(str.strip, columns[place[column]]))
                parts[column].append(np.fromiter(codes, np.int32, len(chunk)))
            for column in numbers:
                cells = columns[place[column]]
                try:
                    parts[column].append(numbers_of(cells))
                except BadNumber as error:
                    raise DataError(bad_cell(error, cells, numbered, column, name)) from None
    if not starts:
        raise DataError(f"{name} has a header and no rows. Give a file with data")
    return Table(
        name,
        {column: Text(np.concatenate(parts.pop(column)).astype(np.int32), tuple(index[column])) for column in text},
        {column: np.concatenate(parts.pop(column)).astype(np.float64) for column in numbers},
        np.concatenate(starts),
    )


def rows_of(source: Iterable[str], name: str, separator: str = ",", first: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Return each row that is not blank, with the line on which it starts; `first` is that of the source's first."""
    reader = csv.reader(source, delimiter=separator, strict=True)
    start = first
    try:
        for row in reader:
            if len(row) > 1 or (row and row[0].strip()):
                yield start, row
            start = reader.line_num + first
    except csv.Error as error:
        reason = str(error)
        if "end of data" in reason or "field larger" in reason:
            problem = 'a quote (") is opened and not closed. Close it, or remove it'
        elif "expected after" in reason:
            problem = 'text follows a closing quote ("). Write a quote inside a cell twice'
        else:
            problem = f"not CSV ({reason}). Correct the line"
        raise DataError(f"{name}, line {start}: {problem}") from None


def _places(
    header: list[str],
    needed: Sequence[str],
    optional: Sequence[str],
    aliases: Mapping[str, Sequence[str]],
    where: str,
) -> dict[str, int]:
    """Where each needed column stands in the header, and each optional one that is there."""
    found = [cell.strip().lower() for cell in header]
    place, missing = {}, []
    for name in (*needed, *optional):
        heading = next((heading for heading in (name, *aliases.get(name, ())) if heading in found), None)
        if heading is None:
            missing += [name] * (name in needed)
        elif found.count(heading) > 1:
            raise DataError(f"{where}: the column {heading!r} stands there more than once. Rename or remove one")
        else:
            place[name] = found.index(heading)
    if not missing:
        return place
    line = ",".join(header)
    for mark, word in SEPARATORS.items():
        if line.count(mark) > line.count(","):
            raise DataError(
                f"{where}: the cells are separated by {word}. Convert the file to commas, and to decimal points"
            )
    received = ", ".join(shown(cell)[:40] for cell in header[:12]) + (", ..." if len(header) > 12 else "")
    if not place and any(NUMBER.fullmatch(cell.strip()) for cell in header):
        raise DataError(f"{where}: there is no header. Put {','.join(needed)} above the data. Received: {received}")
    raise DataError(f"{where}: the header lacks {', '.join(missing)}. Name the columns so. Received: {received}")


def uneven(chunk: Sequence[tuple[int, list[str]]], width: int, name: str) -> DataError:
    """The error about the first row whose cells are not as many as the header's."""
    line, row = next((line, row) for line, row in chunk if len(row) != width)
    advice = (
        "Add what is missing; leave an unknown cell empty between its commas"
        if len(row) < width
        else 'Take out the extra commas: no decimal comma, no thousands separator, text with commas in quotes (")'
    )
    return DataError(f"{name}, line {line}: {len(row)} cells where the header has {width}. {advice}")


def bad_cell(
    error: BadNumber, cells: Sequence[str], numbered: Sequence[int], column: str, name: str, place: str = "line"
) -> str:
    """Return where a cell stands that is no number, and why; `numbered` holds the cells' lines, or rows."""
    where, problem = f"{name}, {place} {numbered[error.place]}, column {column!r}", error.problem
    return f"{where}: {shown(cells[error.place])} {problem.text}. {problem.advice}"
