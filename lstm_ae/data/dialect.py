"""How a CSV file is written: what separates its cells, and where its header stands, if it has one."""

import bisect
import collections
import csv
import io
import itertools
import re
from collections.abc import Collection, Sequence

from lstm_ae.data.clocks import CLOCK
from lstm_ae.data.forms import STAMP, date_of
from lstm_ae.data.notation import is_number, split_unit
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.words import shown

# The likelier ones first: a file with semicolons may well hold decimal commas.
SEPARATORS = (";", "\t", "|", ",")
# Characters of the first rows that are enough to see the separator.
ENOUGH = 1 << 18
# A cell in quotes. Nothing in it is tried twice, so that no text makes the search slow.
QUOTED = re.compile(r'(?:^|(?<=[;\t|,]))[ ]*"((?:[^"]|"")*+)"(?=[ ]*(?:[;\t|,]|$))', re.MULTILINE)

# A row's line in the file, and its cells.
Row = tuple[int, list[str]]


def separator_of(head: Sequence[str]) -> str:
    """Return the mark between the cells: the one that gives most rows the same width and most cells a value.

    A mark within quotes separates nothing, whichever mark is tried.
    """
    some = max(2, bisect.bisect(list(itertools.accumulate(map(len, head))), ENOUGH))
    bare = QUOTED.sub(_unquoted, "".join(head[:some])).split("\n")
    rows = [line for line in bare if line.strip()]
    fits = {mark: _fit(rows, mark) for mark in SEPARATORS}
    return max(SEPARATORS, key=fits.__getitem__) if any(fits.values()) else ","


def _unquoted(match: re.Match[str]) -> str:
    return "0" if _is_held(match[1].strip()) else "text"


def _fit(rows: Sequence[str], mark: str) -> float:
    """How well a mark separates the cells of rows without quotes, from 0 to 1.1."""
    split = [row.split(mark) for row in rows]
    widths = collections.Counter(len(cells) for cells in split if len(cells) > 1)
    if not widths:
        return 0
    agreeing = widths.most_common(1)[0][1] / len(split)
    cells = [cell.strip() for row in split[:20] for cell in row[:50]]
    return agreeing * (0.1 + sum(map(_is_held, cells)) / len(cells))


def require_width(rows: Sequence[Row], width: int, name: str) -> None:
    """Raise `ConfigError` where the first row is not as wide as the names of `--columns` are many."""
    line, cells = rows[0]
    if len(cells) == width:
        return
    titles = next((row for row, other in rows if len(other) == width), 0)
    hint = f"; or add --skip-rows {titles - 1}, where titles stand above line {titles}" if titles else ""
    raise ConfigError(
        f"--columns must name all {len(cells)} columns of {name}, line {line}. Received: {width} names{hint}"
    )


def refuse_title(rows: Sequence[Row], name: str) -> None:
    """Raise `DataError` where a title stands above the header, alone on its line or beside empty cells.

    Args:
        rows: the first rows; the header, if there is no title.
    """
    (start, first), *rest = rows
    width, times = collections.Counter(len(cells) for _, cells in rest).most_common(1)[0] if rest else (0, 0)
    if width < 2 or 2 * times <= len(rest):
        return
    line, cells = next(row for row in rest if len(row[1]) == width)
    held, title = ([cell.strip() for cell in row if cell.strip()] for row in (cells, first))
    if any(map(_is_value, held)):
        # A header that is only too short has several cells, and two numbers may be one with a decimal comma.
        alone = len(first) == 1 and not _is_value(title[0]) and (width > 2 or date_of(held[0]))
        if not alone:
            return
        names = f" --columns {_invented([cell.strip() for cell in cells])}"
    else:
        below = [row for _, row in rest[1:] if len(row) == width]
        padded = len(first) == width and line == rest[0][0] and any(map(_is_value, below[0] if below else ()))
        if len(title) >= len(held) or (len(first) == width and not padded) or any(map(_is_value, title)):
            return
        names = ""
    raise DataError(
        f"{name}, line {start}: {shown(title[0] if title else '')} is a title; the table begins in line {line} with "
        f"{', '.join(shown(cell)[:40] for cell in cells[:6])}. Add --skip-rows {line - 1}{names}"
    )


def refuse_second_header(names: Sequence[str], sample: Sequence[Row], words: Collection[str], name: str) -> None:
    """Raise `DataError` where the first row below the names holds no value and those below it do, as one of units.

    Args:
        names: of the columns.
        sample: the first rows below the header.
        words: lower case, that stand for a missing value.
    """
    (line, first), *rest = sample
    if len(rest) < 2 or any(len(row) != len(names) for _, row in sample):
        return
    held = {place: cell.strip() for place, cell in enumerate(first) if cell.strip().lower() not in words}
    if len(held) < 2 or any(map(_is_value, held.values())):
        return
    below = {place: [row[place].strip() for _, row in rest[:20]] for place in held}
    filled = [place for place, cells in below.items() if 2 * sum(map(_is_held, cells)) > len(cells)]
    if len(filled) < 2 or any(held[place] in below[place] for place in filled):
        return
    raise DataError(
        f"{name}, line {line}: the row holds no values, as one of units or a second header does "
        f"({', '.join(shown(held[place])[:40] for place in filled[:6])}). Add --skip-rows {line} --columns "
        f"{_call(names)}, or remove the line"
    )


def headings_of(header: list[str], sample: Sequence[Row], where: str, skipped: int = 0) -> tuple[str, ...]:
    """Return the names of the columns, those without heading counted; `DataError` where the first row is no header.

    Args:
        skipped: lines above the header that were.
    """
    cells = [cell.strip() for cell in header]
    plain = [k for k, cell in enumerate(cells) if _is_value(cell)]
    counted = cells == [str(k) for k in range(len(cells))]
    if plain and not counted and (not sample or any(date_of(cells[k]) for k in plain) or _alike(cells, sample)):
        received = ", ".join(shown(cell)[:40] for cell in cells[:6]) + (", ..." if len(cells) > 6 else "")
        fewer = f", or skip fewer than --skip-rows {skipped}" if skipped else ""
        raise DataError(
            f"{where}: there is no header. Name the columns: --columns {_invented(cells)}{fewer}. Received: {received}"
        )
    names = tuple(cell or f"column {k + 1}" for k, cell in enumerate(cells))
    if len(set(names)) < len(names):
        twice = collections.Counter(names).most_common(1)[0][0]
        raise DataError(
            f"{where}: the column {twice[:80]!r} stands there more than once. Rename or remove one; or take the line "
            "out and name all columns with --columns"
        )
    return names


def _invented(cells: Sequence[str]) -> str:
    """Names for `--columns`, by the cells of the first row."""
    names = [f"c{k + 1}" for k in range(len(cells))]
    if cells and (date_of(cells[0]) or STAMP.fullmatch(cells[0])):
        names[0] = "time"
        # A heading by which it will be known.
        names = ["clock" if CLOCK.fullmatch(cell) else name for name, cell in zip(names, cells, strict=True)]
    return _call(names)


def _call(names: Sequence[str]) -> str:
    """Names as `--columns` takes them; of many the first."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names[:12])
    line = text.getvalue() + (",..." if len(names) > 12 else "")
    return line if re.fullmatch(r"[\w,.+-]+", line) else shown(line)


def _alike(cells: list[str], sample: Sequence[Row]) -> bool:
    """Whether the first row holds values wherever the second one does."""
    return all(
        _is_value(first) for first, second in zip(cells, sample[0][1], strict=False) if _is_value(second.strip())
    )


def _is_value(cell: str) -> bool:
    """Return whether a cell is a number or a date; one with a unit may be a heading, as 10m of a wind is."""
    written = split_unit(cell)
    return bool((written and not written.unit) or date_of(cell))


def _is_held(cell: str) -> bool:
    """Return whether a cell below a header is a number or a date."""
    return is_number(cell) or bool(date_of(cell))


def row_numbers(header: list[str], columns: dict[str, list[str]]) -> str | None:
    """A first column without heading that counts the rows, as pandas writes it."""
    name, cells = next(iter(columns.items()))
    unnamed = header[0].strip() in ("", "Unnamed: 0", "index")
    counts = all(cell.isdigit() for cell in cells) and [int(cell) for cell in cells] == [
        int(cells[0]) + k for k in range(len(cells))
    ]
    return name if unnamed and counts and len(columns) > 1 else None
