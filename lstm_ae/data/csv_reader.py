"""Read CSV files strictly: a file with a cell that cannot be interpreted is refused, with its line."""

import bisect
import collections
import csv
import io
import itertools
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.config.options import format_csv_line
from lstm_ae.data.chunks import Chunk, ChunkReader
from lstm_ae.data.columns import TableSample
from lstm_ae.data.numbers import OTHER_MARK, is_number, is_plain_number, missing_words
from lstm_ae.data.text import TextLines, count_lines, decode_file, open_stable_file
from lstm_ae.data.text_columns import TextColumn, split_block, to_column
from lstm_ae.data.timestamps import is_date, suggest_format
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, quote
from lstm_ae.table_files import is_escaped

# In order of preference: a file with semicolons may hold decimal commas.
CELL_SEPARATORS = (";", "\t", "|", ",")

# Number of leading characters that are sufficient to infer the separator.
SEPARATOR_SAMPLE_CHARS = 1 << 18

# Number of lines in which the first line that is no comment is looked for.
MAX_HEADER_LINES = 10_000
COMMENT = re.compile(r"\s*([#%]|$)")

# Line number of a row in the file, and its cells.
Row = tuple[int, list[str]]


def refuse_case_file(file: BinaryIO, name: str, encoding: str | None) -> None:
    """Raise `DataError` for JSON, and for a `.ts` or `.arff` file, which has one series per line.

    Args:
        file: file open at its start, where it is left.
    """
    lines = enumerate(itertools.islice(decode_file(file, name, encoding), MAX_HEADER_LINES), 1)
    number, first = next(((number, line.strip()) for number, line in lines if not COMMENT.match(line)), (0, ""))
    if first.startswith("{"):
        raise DataError(
            f"{name}, line {number}: holds JSON. Write a table: pandas.read_json(file, lines=True).to_parquet(table)",
            code=Code.FILE_FORMAT,
        )
    if first.startswith("@"):
        raise DataError(
            f"{name}, line {number}: {quote(first)[:40]} begins a .ts or .arff file. Load it with aeon.datasets, and "
            "write a CSV with one row for each step and a column that names the series",
            code=Code.FILE_FORMAT,
        )
    file.seek(0)


def infer_separator(head: Sequence[str]) -> str:
    r"""Return the separator that gives most rows the same width and most cells a value; "," if none does.

    >>> infer_separator(["time;flow\n", "2024-01-01;1,5\n"])
    ';'
    """
    some = max(2, bisect.bisect(list(itertools.accumulate(map(len, head))), SEPARATOR_SAMPLE_CHARS))
    fits = {mark: _score_separator(head[:some], mark) for mark in CELL_SEPARATORS}
    return max(CELL_SEPARATORS, key=fits.__getitem__) if any(fits.values()) else ","


def _score_separator(lines: Sequence[str], mark: str) -> float:
    """Return how well a separator fits lines, from 0 to 1.1."""
    split = [row for row in csv.reader(lines, delimiter=mark, skipinitialspace=True) if any(map(str.strip, row))]
    widths = collections.Counter(len(cells) for cells in split if len(cells) > 1)
    if not widths:
        return 0
    agreeing = widths.most_common(1)[0][1] / len(split)
    cells = [cell.strip() for row in split[:20] for cell in row[:50]]
    return agreeing * (0.1 + sum(map(_is_data_cell, cells)) / len(cells))


def read_names(rows: Sequence[Row], config: Reading, name: str, *, of_run: bool = False) -> tuple[str, ...]:
    """Return the names of the columns, from `--columns` or the first row.

    Args:
        rows: the first rows, beginning with the header if there is one.
        of_run: whether a run reads the table, whose commands do not name columns.

    Raises:
        ConfigError: if `--columns` does not name all columns.
        DataError: if another row than the first may be the header, or a name is duplicate.
    """
    (line, first), *body = rows
    if config.columns and len(first) != len(config.columns):
        raise ConfigError(
            f"--columns must name all {len(first)} columns of {name}, line {line}. Received: {len(config.columns)} "
            f"names. {_show_rows(rows)}"
        )
    cells = [cell.strip() for cell in first]
    if found := None if config.columns else _find_header_problem(cells, body):
        problem, start = found
        table = next((row for number, row in body if number == start), cells)
        advice = " ".join(
            [
                *([f"--skip-rows {start - 1}"] if start else []),
                *([f"--columns {_suggest_column_names(table)}"] if any(map(_is_value, table)) else []),
            ]
        )
        fewer = f", or skip fewer lines than --skip-rows {config.skip_rows}" if config.skip_rows and not start else ""
        raise DataError(
            f"{name}, line {line}: {problem}. Add {advice}{fewer}. {_show_rows(rows)}", code=Code.TABLE_HEADER
        )
    names = config.columns or tuple(cell or f"column {k + 1}" for k, cell in enumerate(cells))
    if escaped := next(filter(is_escaped, names), None):
        raise DataError(
            f"{name}, line {line}: the heading {quote(escaped)[:60]} has an apostrophe before a formula, as files for "
            'spreadsheets do. Remove it: frame.rename(columns=lambda name: name.removeprefix("\'"))',
            code=Code.TABLE_HEADER,
        )
    if config.selects_columns and len(set(names)) < len(names):
        twice = collections.Counter(names).most_common(1)[0][0]
        raise DataError(
            f"{name}, line {line}: the column {twice[:80]!r} occurs more than once. Rename or remove one; or remove "
            "the line and name all columns with --columns",
            code=Code.TABLE_HEADER,
        )
    below = rows if config.columns else body
    if _is_second_header(below, len(names), missing_words(config)):
        number, cells = below[0]
        options = "" if of_run else f", or add --skip-rows {number} --columns {_format_column_names(names)}"
        raise DataError(
            f"{name}, line {number}: the row holds no values, as one of units or a second header does "
            f"({', '.join(quote(cell.strip())[:40] for cell in cells[:6] if cell.strip())}). Remove the line{options}",
            code=Code.TABLE_HEADER,
        )
    return names


def _find_header_problem(header: Sequence[str], body: Sequence[Row]) -> tuple[str, int] | None:
    """Return why the first row is no header, and the line of the row that probably is, or 0; None if it is one."""
    width, times = collections.Counter(len(cells) for _, cells in body).most_common(1)[0] if body else (len(header), 1)
    if len(header) < width and 2 * times > len(body):
        start, table = next((line, row) for line, row in body if len(row) == width)
        # The rows below a header of several cells may have decimal commas, and so may two numbers below one.
        titled = len(header) == 1 and (width > 2 or is_date(table[0].strip()))
        if not titled and any(_is_value(cell.strip()) for cell in table):
            return None
        return f"the line has {format_count(len(header), 'cell')}, and most of the next lines have {width}", start
    second = [cell.strip() for cell in body[0][1]] if body else []
    third = [cell.strip() for cell in body[1][1]] if body[1:] else []
    filled = sum(map(bool, header))
    if filled < sum(map(bool, second)) and not any(map(_is_value, [*header, *second])) and any(map(_is_value, third)):
        return "the line has fewer cells than the next, which may be the header", body[0][0]
    plain = [k for k, cell in enumerate(header) if _is_value(cell)]
    counted = list(header) == [str(k) for k in range(len(header))]
    if plain and not counted:
        dated = any(is_date(header[k]) or suggest_format([header[k]]) for k in plain)
        if not body or dated or _looks_like_data_row(header, second):
            return "there is no header", 0
    return None


def _is_second_header(rows: Sequence[Row], width: int, words: Collection[str]) -> bool:
    """Return whether the first of the rows holds several words and no value where later rows hold values."""
    if len(rows) < 3 or any(len(row) != width for _, row in rows):
        return False
    first, *rest = ([cell.strip() for cell in row] for _, row in rows[:20])
    filled = [place for place, cell in enumerate(first) if cell.lower() not in words]
    values = [place for place in filled if 2 * sum(_is_data_cell(row[place]) for row in rest) > len(rest)]
    different = all(first[place] != row[place] for place in values for row in rest)
    return len(values) > 1 and different and not any(_is_value(first[place]) for place in filled)


def _show_rows(rows: Sequence[Row]) -> str:
    shown = (f"{line}: {quote(','.join(cells))[:60]}" for line, cells in rows[:5])
    return f"The first lines: {'; '.join(shown)}"


def _suggest_column_names(cells: Sequence[str]) -> str:
    """Return a suggestion for `--columns`, derived from the cells of a row of values."""
    names = [f"c{k + 1}" for k in range(len(cells))]
    if cells and (is_date(cells[0].strip()) or suggest_format([cells[0].strip()])):
        names[0] = "time"
    return _format_column_names(names)


def _format_column_names(names: Sequence[str]) -> str:
    """Return names in the format of `--columns`, abbreviated after 12 names."""
    line = format_csv_line(names[:12]) + (",..." if len(names) > 12 else "")
    return line if re.fullmatch(r"[\w,.+-]+", line) else quote(line)


def _looks_like_data_row(cells: Sequence[str], below: Sequence[str]) -> bool:
    """Return whether a row holds a value wherever the row below does, or nothing.

    A heading may be missing too, mostly that of an index in the first column. A row with another empty cell therefore
    needs a number with decimals.
    """
    firsts = [first for first, second in zip(cells, below, strict=False) if _is_value(second)]
    if all(map(_is_value, firsts)):
        return True
    decimals = any("." in first or "," in first for first in firsts)
    return bool(cells[0]) and decimals and all(not first or _is_value(first) for first in firsts)


def _is_value(cell: str) -> bool:
    """Return whether a cell is a plain number or a date; a number with a unit may be a heading, such as 10m."""
    return is_plain_number(OTHER_MARK.sub(" ", cell)) or is_date(cell)


def _is_data_cell(cell: str) -> bool:
    """Return whether a cell below the header is a number or a date."""
    return is_number(cell) or is_date(cell)


def is_row_number_column(header: list[str], columns: dict[str, list[str]]) -> str | None:
    """Return the first column if it numbers the rows and has no heading or that of pandas; None otherwise."""
    name, cells = next(iter(columns.items()))
    unnamed = header[0].strip() in ("", "Unnamed: 0", "index")
    short = all(cell.isascii() and cell.isdigit() and len(cell) < 19 for cell in cells)
    counts = short and [int(cell) for cell in cells] == [int(cells[0]) + k for k in range(len(cells))]
    return name if unnamed and counts and len(columns) > 1 else None


# Larger chunks exceed the processor caches: 50,000 rows at a time take twice as long.
CHUNK_ROWS = 5_000

SEPARATOR_NAMES = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_column_names(path: str | os.PathLike[str]) -> list[str]:
    """Return the header of a comma-separated UTF-8 file, plain or compressed; empty for an empty file."""
    name = quote(path)
    with open_stable_file(path) as file:
        return [cell.strip() for cell in next(split_rows(decode_file(file, name, "utf-8"), name), (0, []))[1]]


def split_rows(
    source: Iterable[str], name: str, separator: str = ",", first: int = 1
) -> Iterator[tuple[int, list[str]]]:
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
            problem = f"not CSV ({reason}). Correct the line"
        raise DataError(f"{name}, line {start}: {problem}", code=Code.CELL_VALUE) from None


# Number of leading rows used for inference, and limit of their cells for wide tables.
SAMPLE_ROWS, SAMPLE_CELLS = 1_000, 500_000

# Largest number of cells per chunk.
CHUNK_CELLS = 1_000_000

MAX_COLUMNS = 10_000


def read_delimited(
    file: BinaryIO, name: str, config: Reading, *, of_run: bool = False, lenient: bool = False
) -> tuple[ChunkReader, Iterator[Chunk]]:
    """Return the reader of an open CSV file and an iterator of its chunks.

    Args:
        of_run, lenient: as in `ChunkReader`.

    Raises:
        ConfigError: if an option does not fit the file.
        DataError: if the file cannot be interpreted, at once or with a later chunk. The message is one line with the
            file, the line, the rule, and the option that helps.
    """
    lines = decode_file(file, name, config.encoding)
    skipped = sum(1 for _ in itertools.islice(lines, config.skip_rows))
    separator = infer_separator(lines.peek(50))
    rows = split_rows(lines, name, separator, config.skip_rows + 1)
    first = read_first_row(rows, name, config, skipped)
    sample = [first, *itertools.islice(rows, sample_rows(len(first[1])))]
    reader = RowReader(sample, separator, name, config, of_run=of_run, lenient=lenient)
    return reader, _parse_text(sample[not config.columns :], lines, reader)


def _parse_text(sample: list[Row], lines: TextLines, reader: "RowReader") -> Iterator[Chunk]:
    """Yield the rows of a sample and those of the lines after it."""
    yield from reader.read_in_pieces(iter(sample))
    for block in lines.take_blocks():
        if chunk := reader.read_block(block, lines.taken + 1):
            yield chunk
        else:
            # A cell in quotes may extend beyond the block.
            source = itertools.chain(io.StringIO(block), lines if '"' in block else ())
            yield from reader.read_in_pieces(split_rows(source, reader.cells.name, reader.separator, lines.taken + 1))


def read_first_row(rows: Iterator[Row], name: str, config: Reading, skipped: int) -> Row:
    """Return the first row of a text with its line; it is the header if there is one.

    Args:
        skipped: number of lines that were skipped, fewer than `config.skip_rows` in a shorter text.

    Raises:
        DataError: if there is no row, or it has too many cells.
    """
    start, cells = next(rows, (0, []))
    if not cells and skipped:
        raise DataError(
            f"{name} holds nothing below the lines that --skip-rows {config.skip_rows} skips. Pass fewer",
            code=Code.EMPTY_COLUMN,
        )
    if not cells:
        raise DataError(f"{name} is empty. Add a header and rows", code=Code.EMPTY_COLUMN)
    limit_columns(len(cells), f"{name}, line {start}")
    return start, cells


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


class RowReader(ChunkReader):
    """Reader of rows of text.

    Args:
        rows: the first rows, of which the first one is the header unless the configuration names the columns.
        separator: separator of the cells.
        name, config, of_run, options: as in `ChunkReader`.

    Raises:
        ConfigError, DataError: as in `read_delimited`.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        separator: str,
        name: str,
        config: Reading,
        *,
        of_run: bool = False,
        **options: bool,
    ) -> None:
        names = read_names(rows, config, name, of_run=of_run)
        sample = rows[not config.columns :]
        if not sample:
            raise DataError(f"{name} has a header and no rows. Pass a file with data", code=Code.EMPTY_COLUMN)
        self.separator, self.width = separator, len(names)
        if any(len(row) != len(names) for _, row in sample):
            raise _uneven_row_error(sample, len(names), name, separator)
        columns = {column: [row[k].strip() for _, row in sample] for k, column in enumerate(names)}
        numbering = is_row_number_column(rows[0][1], columns)
        head = TableSample(names, columns, f"{name}, line {rows[0][0]}", numbering=numbering)
        super().__init__(head, config, name, "line", of_run=of_run, **options)
        self._places = [names.index(column) for column in self.columns]

    def read_in_pieces(self, rows: Iterator[Row]) -> Iterator[Chunk]:
        """Yield the rows in chunks of a limited size."""
        size = max(1, min(CHUNK_ROWS, CHUNK_CELLS // self.width))
        return map(self.read_rows, iter(lambda: list(itertools.islice(rows, size)), []))

    def read_rows(self, rows: Sequence[Row]) -> Chunk:
        """Return rows as a chunk.

        Raises:
            DataError: if a row has another number of cells than the header, or a cell cannot be read.
        """
        numbered, cells = zip(*rows, strict=True)
        if set(map(len, cells)) != {self.width}:
            raise _uneven_row_error(rows, self.width, self.cells.name, self.separator)
        columns = list(zip(*cells, strict=True))
        return self._read(np.array(numbered, np.int32), [to_column(columns[place]) for place in self._places])

    def read_block(self, text: str, first: int) -> Chunk | None:
        """Return complete lines as a chunk, or None unless each one is a row as `split_block` splits it.

        Args:
            first: line number of the first line.

        Raises:
            DataError: if a cell cannot be read.
        """
        columns = split_block(text, self.separator, self.width, self._places)
        if columns is None:
            return None
        return self._read(np.arange(first, first + count_lines(text), dtype=np.int32), columns)

    def _read(self, lines: NDArray[np.int32], columns: Sequence[TextColumn]) -> Chunk:
        return self.read(lines, dict(zip(self.columns, columns, strict=True)))


def _uneven_row_error(chunk: Sequence[Row], width: int, name: str, separator: str) -> DataError:
    """Return an error about the first row whose number of cells differs from that of the header."""
    line, row = next((line, row) for line, row in chunk if len(row) != width)
    if separator != ",":
        advice = f"Write as many cells between {SEPARATOR_NAMES[separator]} in each row, an unknown one empty"
    elif len(row) < width:
        advice = "Add what is missing; leave an unknown cell empty between its commas"
    else:
        advice = 'Take out the extra commas: no decimal comma, no thousands separator, text with commas in quotes (")'
    return DataError(
        f"{name}, line {line}: {format_count(len(row), 'cell')} where the header has {width}. {advice}",
        code=Code.TABLE_HEADER,
    )
