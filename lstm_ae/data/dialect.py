"""How a CSV file is written: what parts its cells and decimals, and whether its first row is a header."""

import bisect
import collections
import itertools
import re
from collections.abc import Sequence

from lstm_ae.config import Reading
from lstm_ae.data.clocks import CLOCK
from lstm_ae.data.forms import STAMP, date_of
from lstm_ae.data.lines import shown
from lstm_ae.data.table import NUMBER, THOUSANDS
from lstm_ae.errors import DataError

# The likelier ones first: a file with semicolons may well hold decimal commas.
SEPARATORS = (";", "\t", "|", ",")
# Characters of the first rows that are enough to see the separator.
ENOUGH = 1 << 18
# A cell in quotes. Nothing in it is tried twice, so that no text makes the search slow.
QUOTED = re.compile(r'(?:^|(?<=[;\t|,]))[ ]*"((?:[^"]|"")*+)"(?=[ ]*(?:[;\t|,]|$))', re.MULTILINE)
COMMA = re.compile(r"[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?", re.ASCII)


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
    return "0" if _is_value(match[1].strip()) else "text"


def _fit(rows: Sequence[str], mark: str) -> float:
    """How well a mark separates the cells of rows without quotes, from 0 to 1.1."""
    split = [row.split(mark) for row in rows]
    widths = collections.Counter(len(cells) for cells in split if len(cells) > 1)
    if not widths:
        return 0
    agreeing = widths.most_common(1)[0][1] / len(split)
    cells = [cell.strip() for row in split[:20] for cell in row[:50]]
    return agreeing * (0.1 + sum(map(_is_value, cells)) / len(cells))


def headings_of(header: list[str], sample: list[tuple[int, list[str]]], where: str) -> tuple[str, ...]:
    """The names of the columns, those without heading counted; `DataError` where the first row is no header."""
    cells = [cell.strip() for cell in header]
    plain = [k for k, cell in enumerate(cells) if _is_value(cell)]
    counted = cells == [str(k) for k in range(len(cells))]
    if plain and not counted and (not sample or any(date_of(cells[k]) for k in plain) or _alike(cells, sample)):
        invented = [f"c{k + 1}" for k in range(len(cells))]
        if cells and (date_of(cells[0]) or STAMP.fullmatch(cells[0])):
            invented[0] = "time"
            # A heading by which it will be known.
            invented = ["clock" if CLOCK.fullmatch(cell) else name for name, cell in zip(invented, cells, strict=True)]
        call = ",".join(invented[:12]) + (",..." if len(invented) > 12 else "")
        received = ", ".join(shown(cell)[:40] for cell in cells[:6]) + (", ..." if len(cells) > 6 else "")
        raise DataError(f"{where}: there is no header. Name the columns: --columns {call}. Received: {received}")
    names = tuple(cell or f"column {k + 1}" for k, cell in enumerate(cells))
    if len(set(names)) < len(names):
        twice = collections.Counter(names).most_common(1)[0][0]
        raise DataError(
            f"{where}: the column {twice[:80]!r} stands there more than once. Rename or remove one; or take the line "
            "out and name all columns with --columns"
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
    return bool(NUMBER.fullmatch(cell) or COMMA.fullmatch(cell) or date_of(cell))


def row_numbers(header: list[str], columns: dict[str, list[str]]) -> str | None:
    """A first column without heading that counts the rows, as pandas writes it."""
    name, cells = next(iter(columns.items()))
    unnamed = header[0].strip() in ("", "Unnamed: 0", "index")
    counts = all(cell.isdigit() for cell in cells) and [int(cell) for cell in cells] == [
        int(cells[0]) + k for k in range(len(cells))
    ]
    return name if unnamed and counts and len(columns) > 1 else None


def has_decimal_commas(columns: dict[str, list[str]], config: Reading, where: str) -> bool:
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
