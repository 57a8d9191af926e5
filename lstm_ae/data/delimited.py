"""Anyone's CSV in pieces: what parts its cells and decimals, whether it has a header, and its columns as arrays."""

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.data.columns import Layout, kind_of, layout_of, missing_words
from lstm_ae.data.instants import DATE, BadCell, Times, read_moments
from lstm_ae.data.lines import lines, shown
from lstm_ae.data.table import CHUNK, NUMBER, THOUSANDS, numbers_of, rows_of, uneven
from lstm_ae.errors import ConfigError, DataError

# Rows that tell what a file holds.
SAMPLE = 1_000
SEPARATORS = (";", "\t", "|", ",")
COMMA = re.compile(r"[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?", re.ASCII)
LARGEST = float(np.finfo(np.float32).max)


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


def read_delimited(file: BinaryIO, name: str, config: Reading) -> tuple[Layout, Iterator[Chunk]]:
    """What an open CSV file holds, and its rows piece by piece.

    Raises:
        DataError: at once or with a later piece: one line with the file, the line, the rule and the option that helps.
    """
    source = lines(file, name)
    head = list(itertools.islice(source, 50))
    separator = _separator(head)
    rows = rows_of(itertools.chain(head, source), name, separator)
    start, header = next(rows, (0, []))
    if not header:
        raise DataError(f"{name} is empty. Give a file with a header and rows")
    sample = list(itertools.islice(rows, SAMPLE))
    where = f"{name}, line {start}"
    if config.columns:
        sample.insert(0, (start, header))
        if len(config.columns) != len(header):
            raise ConfigError(
                f"--columns must name all {len(header)} columns of {where}. Received: {len(config.columns)} names"
            )
        names = config.columns
    else:
        names = _headings(header, sample, where)
    if not sample:
        raise DataError(f"{name} has a header and no rows. Give a file with data")
    if any(len(row) != len(names) for _, row in sample):
        raise _uneven(sample, len(names), name, separator)
    columns = {column: [row[k].strip() for _, row in sample] for k, column in enumerate(names)}
    comma = _comma(columns, config, where)
    kinds = {column: kind_of(cells, column, is_number, config) for column, cells in columns.items()}
    layout = layout_of(names, kinds, columns.__getitem__, config, where, index=_index(header, columns))
    if comma and config.decimal is None:
        layout = layout._replace(inferred={**layout.inferred, "decimal": "comma, as the first rows show"})
    return layout, _chunks(itertools.chain(sample, rows), layout, config, name, separator, comma)


def _separator(head: Iterable[str]) -> str:
    """What parts the cells: the mark that makes equal rows, else the most cells of the first row."""

    def widths(mark: str) -> list[int]:
        try:
            return [len(row) for row in csv.reader(head, delimiter=mark) if any(cell.strip() for cell in row)]
        except csv.Error:
            return []

    found = {mark: widths(mark) for mark in SEPARATORS}
    for mark in SEPARATORS:
        if len(set(found[mark])) == 1 and found[mark][0] > 1:
            return mark
    return max(reversed(SEPARATORS), key=lambda mark: found[mark][0] if found[mark] else 0)


def _headings(header: list[str], sample: list[tuple[int, list[str]]], where: str) -> tuple[str, ...]:
    cells = [cell.strip() for cell in header]
    plain = [k for k, cell in enumerate(cells) if _is_value(cell)]
    counted = cells == [str(k) for k in range(len(cells))]
    if plain and not counted and (not sample or any(DATE.fullmatch(cells[k]) for k in plain) or _alike(cells, sample)):
        invented = [f"c{k + 1}" for k in range(len(cells))]
        if cells and DATE.fullmatch(cells[0]):
            invented[0] = "time"
        received = ", ".join(shown(cell)[:40] for cell in cells[:6]) + (", ..." if len(cells) > 6 else "")
        raise DataError(
            f"{where}: there is no header. Name the columns: --columns {','.join(invented[:12])}. Received: {received}"
        )
    names = tuple(cell or f"column {k + 1}" for k, cell in enumerate(cells))
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                f"{where}: the column {name[:80]!r} stands there more than once. Rename or remove one; or take the "
                "line out and name all columns with --columns"
            )
    return names


def _alike(cells: list[str], sample: list[tuple[int, list[str]]]) -> bool:
    """Whether the first row holds values wherever the second one does."""
    return all(
        _is_value(first) for first, second in zip(cells, sample[0][1], strict=False) if _is_value(second.strip())
    )


def is_number(cell: str) -> bool:
    """Whether a cell is meant as a number, even if it is written so that it will be refused."""
    forms = (NUMBER, COMMA, THOUSANDS)
    return any(form.fullmatch(cell) for form in forms) or cell.lower().lstrip("+-") in ("inf", "infinity")


def _is_value(cell: str) -> bool:
    return bool(NUMBER.fullmatch(cell) or COMMA.fullmatch(cell) or DATE.fullmatch(cell))


def _index(header: list[str], columns: dict[str, list[str]]) -> str | None:
    """A first column without heading that counts the rows, as pandas writes it."""
    name, cells = next(iter(columns.items()))
    unnamed = header[0].strip() in ("", "Unnamed: 0", "index")
    counts = all(cell.isdigit() for cell in cells) and [int(cell) for cell in cells] == [
        int(cells[0]) + k for k in range(len(cells))
    ]
    return name if unnamed and counts and len(columns) > 1 else None


def _comma(columns: dict[str, list[str]], config: Reading, where: str) -> bool:
    """Whether a comma parts the decimals."""
    if config.decimal is not None:
        return config.decimal == "comma"
    cells = list(itertools.chain(*columns.values()))
    commas = [cell for cell in cells if "," in cell and (COMMA.fullmatch(cell) or THOUSANDS.fullmatch(cell))]
    points = [cell for cell in cells if "." in cell and NUMBER.fullmatch(cell)]
    if any(not THOUSANDS.fullmatch(cell) for cell in commas):
        return True
    if commas and not points:
        raise DataError(
            f"{where}: {shown(commas[0])} can be a decimal comma or a thousands separator, and the first rows do not "
            "tell. Add --decimal comma, or take the separators out"
        )
    return False


def _chunks(
    rows: Iterator[tuple[int, list[str]]], layout: Layout, config: Reading, name: str, separator: str, comma: bool
) -> Iterator[Chunk]:
    place = {column: k for k, column in enumerate(layout.names)}
    words = missing_words(config) if config.missing else None
    while chunk := list(itertools.islice(rows, CHUNK)):
        numbered, cells = zip(*chunk, strict=True)
        if set(map(len, cells)) != {len(layout.names)}:
            raise _uneven(chunk, len(layout.names), name, separator)
        columns = list(zip(*cells, strict=True))
        times = None
        if layout.time is not None and layout.form is not None:
            try:
                times = read_moments(list(map(str.strip, columns[place[layout.time]])), layout.form)
            except BadCell as error:
                raise DataError(
                    f"{name}, line {numbered[error.place]}, column {layout.time!r}: {error.problem}"
                ) from None
        values = np.empty((len(chunk), len(layout.values)), np.float32)
        for k, column in enumerate(layout.values):
            values[:, k] = _values(columns[place[column]], numbered, column, name, words, comma)
        ids, labels = (
            None if column is None else list(map(str.strip, columns[place[column]]))
            for column in (layout.id, layout.label)
        )
        yield Chunk(np.array(numbered, np.int32), times, values, ids, labels)


def _values(
    cells: Sequence[str], numbered: Sequence[int], column: str, name: str, words: frozenset[str] | None, comma: bool
) -> NDArray[np.float32]:
    if words:
        cells = ["" if cell.strip().lower() in words else cell for cell in cells]
    if comma:
        for line, cell in zip(numbered, cells, strict=True):
            if "." in cell and NUMBER.fullmatch(cell.strip()):
                raise DataError(
                    f"{name}, line {line}, column {column!r}: {shown(cell)} has a point in a file with decimal commas. "
                    "Take thousands separators out, or give --decimal point"
                )
        cells = [cell.replace(",", ".") if "," in cell and COMMA.fullmatch(cell.strip()) else cell for cell in cells]
    values = readable(cells, numbered, column, name)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if np.isinf(narrow).any():
        at = int(np.isinf(narrow).argmax())
        raise DataError(
            f"{name}, line {numbered[at]}, column {column!r}: {shown(cells[at])} is beyond {LARGEST:.2g}, the largest "
            "number of 32 bits. Correct it, or give the column in another unit"
        )
    return narrow


def readable(
    cells: Sequence[str], numbered: Sequence[int], column: str, name: str, place: str = "line"
) -> NDArray[np.float64]:
    """As `numbers_of`, with what else helps in the error."""
    try:
        return numbers_of(cells, numbered, column, name, place)
    except DataError as error:
        raise DataError(
            f"{error}; or give --missing words that stand for missing values, or --value-cols the columns to read"
        ) from None


def _uneven(chunk: list[tuple[int, list[str]]], width: int, name: str, separator: str) -> DataError:
    error = uneven(chunk, width, name)
    if separator == ",":
        return error
    problem, _, _ = str(error).partition(". ")
    word = {";": "semicolons", "\t": "tabs", "|": "bars"}[separator]
    return DataError(f"{problem}. Write as many cells between {word} in each row, an unknown one empty")
