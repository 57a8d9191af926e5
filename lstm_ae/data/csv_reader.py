"""Read CSV files strictly: a file with a cell that cannot be interpreted is refused, with its line."""

import collections
import contextlib
import csv
import io
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from lstm_ae.config import Reading
from lstm_ae.config.reading import Use
from lstm_ae.data.columns import TableSample
from lstm_ae.data.numbers import is_number, is_plain_number, missing_words
from lstm_ae.data.panel_reader import Batch
from lstm_ae.data.text import MAX_LINE, count_lines, decode_file
from lstm_ae.data.text_columns import MIN_ARROW_ROWS, split_block, to_column
from lstm_ae.data.timestamps import is_date, suggest_format
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, quote
from lstm_ae.table_files import is_escaped

# In order of preference: a file with semicolons may hold decimal commas.
CELL_SEPARATORS = (";", "\t", "|", ",")

# Number of first rows from which the separator is inferred, and which decide whether the first one is a header.
HEADER_ROWS = 50

# Larger chunks exceed the processor caches: 50,000 rows at a time take twice as long.
CHUNK_ROWS = 5_000

# Number of leading rows used for inference, and limit of their cells for wide tables.
SAMPLE_ROWS, SAMPLE_CELLS = 1_000, 500_000

# Largest number of cells per chunk.
CHUNK_CELLS = 1_000_000

MAX_COLUMNS = 10_000

# Line number of a row in the file, and its cells.
Row = tuple[int, list[str]]


def infer_separator(head: Sequence[str]) -> str:
    r"""Return the separator that gives most rows the same width and most cells a value; "," if none does.

    >>> infer_separator(["time;flow\n", "2024-01-01;1,5\n"])
    ';'
    """
    fits = {mark: _score_separator(head[:HEADER_ROWS], mark) for mark in CELL_SEPARATORS}
    return max(CELL_SEPARATORS, key=fits.__getitem__) if any(fits.values()) else ","


def _score_separator(lines: Sequence[str], mark: str) -> float:
    """Return how well a separator fits lines, from 0 to 1.1."""
    split = list[list[str]]()
    with contextlib.suppress(csv.Error):  # a cell that is too long: the row is refused when it is read
        for row in csv.reader(lines, delimiter=mark, skipinitialspace=True):
            if any(map(str.strip, row)):
                split.append(row)
    widths = collections.Counter(len(cells) for cells in split if len(cells) > 1)
    if not widths:
        return 0
    agreeing = widths.most_common(1)[0][1] / len(split)
    cells = [cell.strip() for row in split[:20] for cell in row[:50]]
    return agreeing * (0.1 + sum(map(_is_data_cell, cells)) / len(cells))


def read_names(rows: Sequence[Row], config: Reading, name: str, use: Use) -> tuple[str, ...]:
    """Return the names of the columns, from `--columns` or the first row.

    Args:
        rows: the first rows, beginning with the header if there is one.
        use: what the table is read for. The commands of a run do not name columns.

    Raises:
        ConfigError: if `--columns` does not name all columns.
        DataError: if the table does not begin with a header and rows, or a name is duplicate.
    """
    (line, first), *body = rows
    shown = "; ".join(f"{number}: {quote(','.join(cells))[:60]}" for number, cells in rows[:5])
    if config.columns and len(first) != len(config.columns):
        raise ConfigError(
            f"--columns must name all {len(first)} columns of {name}, line {line}. Received: {len(config.columns)} "
            f"names. The first lines: {shown}"
        )
    header = [cell.strip() for cell in first]
    below = [[cell.strip() for cell in cells] for _, cells in (rows if config.columns else body)[:HEADER_ROWS]]
    words = missing_words(config)
    if _is_text_row(below, words) or not (config.columns or _is_header(header, below, words)):
        columns = "" if use == "run" else " with --columns, name the columns of a table that has none;"
        raise DataError(
            f"{name}, line {line}: the table must begin with a header and rows with a cell per column. Received: "
            f"{shown}. With --skip-rows, skip the lines above the header;{columns} remove a line of units below the "
            "header; quote cells that contain a separator",
            code=Code.TABLE_HEADER,
        )
    names = config.columns or tuple(cell or f"column {k + 1}" for k, cell in enumerate(header))
    if escaped := next(filter(is_escaped, names), None):
        raise DataError(
            f"{name}, line {line}: the heading {quote(escaped)[:60]} has an apostrophe before a formula, as files for "
            'spreadsheets do. Remove it: frame.rename(columns=lambda name: name.removeprefix("\'"))',
            code=Code.TABLE_HEADER,
        )
    if config.selects_columns:
        require_distinct(names, f"{name}, line {line}", "; or remove the line and name all columns with --columns")
    return names


def require_distinct(names: Sequence[str], where: str, advice: str = "") -> None:
    """Raise `DataError` if two columns have the same name."""
    if len(set(names)) < len(names):
        twice = collections.Counter(names).most_common(1)[0][0]
        raise DataError(
            f"{where}: the column {twice[:80]!r} occurs more than once. Rename or remove one{advice}",
            code=Code.TABLE_HEADER,
        )


def _is_header(header: Sequence[str], below: Sequence[Sequence[str]], words: Collection[str]) -> bool:
    """Return whether a row may name the columns of the rows below it."""
    widths = collections.Counter(map(len, below)).most_common(1)
    if widths and len(header) < widths[0][0] and 2 * widths[0][1] > len(below):
        return False
    counted = header[not header[0] :]
    if counted == [str(k) for k in range(len(counted))]:
        return True  # an array that pandas has written
    if any(is_date(cell) or suggest_format([cell]) for cell in header):
        return False
    pairs = zip(header, below[0] if below else (), strict=False)
    # A cell below may hold no value.
    over = [cell for cell, under in pairs if _is_value(under)] or header
    if "" in over and not (header[0] and any("." in cell or "," in cell for cell in over)):
        return True  # a heading may be missing, usually that of an index
    filled = [cell for cell in over if cell.lower() not in words]
    return not filled or not all(map(_is_value, filled))


def _is_text_row(below: Sequence[Sequence[str]], words: Collection[str]) -> bool:
    """Return whether the first row that is not blank holds only words, one of them where most rows hold values."""
    row = next((cells for cells in below if any(cells)), [])
    if any(map(_is_data_cell, row)):
        return False
    even = [cells for cells in below if len(cells) == len(row)]
    filled = [place for place, cell in enumerate(row) if cell.lower() not in words]
    return any(2 * sum(_is_data_cell(cells[place]) for cells in even) > len(even) for place in filled)


def _is_value(cell: str) -> bool:
    """Return whether a cell is a plain number or a date; a number with a unit may be a heading, such as 10m."""
    return is_plain_number(cell) or is_date(cell)


def _is_data_cell(cell: str) -> bool:
    """Return whether a cell below the header is a number or a date."""
    return is_number(cell) or is_date(cell)


def find_row_number_column(header: list[str], columns: dict[str, list[str]]) -> str | None:
    """Return the first column if it numbers the rows and has no heading or that of pandas; None otherwise."""
    name, cells = next(iter(columns.items()))
    unnamed = header[0].strip() in ("", "Unnamed: 0", "index")
    short = all(cell.isascii() and cell.isdigit() and len(cell) < 19 for cell in cells)
    counts = short and [int(cell) for cell in cells] == [int(cells[0]) + k for k in range(len(cells))]
    return name if unnamed and counts and len(columns) > 1 else None


def split_rows(source: Iterable[str], name: str, separator: str, first: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the line on which it starts.

    Args:
        first: line number of the first line of the source.

    Raises:
        DataError: if a line is not valid CSV.
    """
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
            problem = f"the row is not CSV ({quote(reason)}). Correct the line"
        raise DataError(f"{name}, line {start}: {problem}", code=Code.CELL_VALUE) from None


def scan_csv(
    file: BinaryIO, name: str, config: Reading, use: Use
) -> tuple[TableSample, Callable[[Sequence[str]], Iterator[Batch]]]:
    """Return the first rows of an open CSV file, and a function that yields all rows of some columns.

    Args:
        use: what the table is read for.

    Raises:
        ConfigError: if an option does not fit the file.
        DataError: if the file cannot be interpreted, at once or with a later batch. The message is one line with the
            file, the line, the rule, and the option that helps.
    """
    blocks = _complete_rows(_blank_lines(decode_file(file, name, config.encoding), config))
    head = ""
    while head.count("\n") <= config.skip_rows + SAMPLE_ROWS and (block := next(blocks, "")):
        head += block
    if head.lstrip().startswith("{"):
        raise DataError(
            f"{name} holds JSON. Write a table: pandas.read_json(file, lines=True).to_parquet(table)",
            code=Code.FILE_FORMAT,
        )
    lines = (f"{line}\n" for line in head.split("\n") if line.strip())
    separator = infer_separator(list(itertools.islice(lines, HEADER_ROWS)))
    rows = split_rows(io.StringIO(head), name, separator)
    first = next(rows, None)
    if first is None:
        where = f" below the lines that --skip-rows {config.skip_rows} skips" if config.skip_rows else ""
        raise DataError(f"{name} holds no row{where}. Pass a header and rows", code=Code.EMPTY_COLUMN)
    limit_columns(len(first[1]), f"{name}, line {first[0]}")
    sample = [first, *itertools.islice(rows, sample_rows(len(first[1])))]
    table = TextRows(sample, separator, name, config, use)

    def scan(columns: Sequence[str]) -> Iterator[Batch]:
        line = sample[not config.columns][0]
        for block in itertools.chain([head.split("\n", line - 1)[-1]], blocks):
            yield from table.split(block, line, columns)
            line += block.count("\n")

    return table.sample, scan


def _blank_lines(blocks: Iterator[str], config: Reading) -> Iterator[str]:
    """Yield blocks in which the lines to skip and comments are empty, so that the numbers of lines stay."""
    remaining, comment = config.skip_rows, config.comment
    for block in blocks:
        if remaining or (comment and comment in block):
            lines = block.split("\n")
            for place, text in enumerate(lines):
                if place < remaining or (comment and text.startswith(comment)):
                    lines[place] = ""
            remaining = max(0, remaining - block.count("\n"))
            block = "\n".join(lines)
        yield block


def _complete_rows(blocks: Iterator[str]) -> Iterator[str]:
    """Yield blocks that end outside quoted cells, joined where needed; a quote that stays open is refused later."""
    text = ""
    for block in blocks:
        text += block
        if text and (text.count('"') % 2 == 0 or len(text) > 4 * MAX_LINE):
            yield text
            text = ""
    if text:
        yield text


def limit_columns(columns: int, where: str) -> None:
    """Raise `DataError` if a table has more columns than a model can be trained on in a reasonable time."""
    if columns > MAX_COLUMNS:
        raise DataError(
            f"{where}: the table has {columns:,} columns; at most {MAX_COLUMNS:,} are read. Keep those to model, or "
            "split the table",
            code=Code.TABLE_HEADER,
        )


def sample_rows(columns: int) -> int:
    """Return the number of leading rows used for inference in a table with the given number of columns."""
    return max(10, min(SAMPLE_ROWS, SAMPLE_CELLS // max(columns, 1)))


class TextRows:
    """Rows of text with a known header, which become columns.

    Args:
        rows: the first rows, of which the first one is the header unless the configuration names the columns.
        separator: separator of the cells.
        name: what is read, for errors.
        config, use: as in `PanelReader`.

    Attributes:
        sample: the first rows by column.

    Raises:
        ConfigError, DataError: as in `scan_csv`.
    """

    def __init__(self, rows: Sequence[Row], separator: str, name: str, config: Reading, use: Use) -> None:
        names = read_names(rows, config, name, use)
        first = rows[not config.columns :]
        if not first:
            raise DataError(f"{name} has a header and no rows. Pass a file with data", code=Code.EMPTY_COLUMN)
        self.separator, self.width, self.name = separator, len(names), name
        self._require_width(first)
        columns = {column: [row[k].strip() for _, row in first] for k, column in enumerate(names)}
        numbering = find_row_number_column(rows[0][1], columns)
        self.sample = TableSample(name, "line", f"{name}, line {rows[0][0]}", names, columns, numbering=numbering)

    def split(self, text: str, first: int, columns: Sequence[str]) -> Iterator[Batch]:
        """Yield columns of complete lines in batches of a limited size.

        Args:
            first: line number of the first line.
            columns: names of the columns.

        Raises:
            DataError: if a row has another number of cells than the header.
        """
        lines = count_lines(text)
        places = [self.sample.names.index(column) for column in columns]
        arrays = split_block(text, self.separator, self.width, places) if lines >= MIN_ARROW_ROWS else None
        if arrays is not None:
            yield np.arange(first, first + lines, dtype=np.int32), dict(zip(columns, arrays, strict=True))
            return
        rows = split_rows(io.StringIO(text), self.name, self.separator, first)
        size = max(1, min(CHUNK_ROWS, CHUNK_CELLS // self.width))
        while piece := list(itertools.islice(rows, size)):
            yield self.transpose(piece, columns)

    def transpose(self, rows: Sequence[Row], columns: Sequence[str]) -> Batch:
        """Return columns of rows.

        Raises:
            DataError: if a row has another number of cells than the header.
        """
        self._require_width(rows)
        lines, cells = zip(*rows, strict=True)
        by_name = dict(zip(self.sample.names, zip(*cells, strict=True), strict=True))
        return np.array(lines, np.int32), {column: to_column(by_name[column]) for column in columns}

    def _require_width(self, rows: Sequence[Row]) -> None:
        for line, row in rows:
            if len(row) != self.width:
                raise DataError(
                    f"{self.name}, line {line}: {format_count(len(row), 'cell')} where the header has {self.width}. "
                    f'Write one for each column, empty where unknown, and quote (") cells that contain '
                    f"{quote(self.separator)}",
                    code=Code.TABLE_HEADER,
                )
