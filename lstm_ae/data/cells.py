"""The cells of a table's columns as numbers of 32 bits; those that are none are refused, or gathered for a check."""

import collections
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.config.options import flag_name
from lstm_ae.data.columns import missing_numbers, missing_words
from lstm_ae.data.number_notation import CellProblem, NumberNotation, parse_numbers
from lstm_ae.errors import DataError
from lstm_ae.formatting import quote

FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32_OVERFLOW_TEXT = f"beyond {FLOAT32_MAX:.2g}, the largest number of 32 bits"
# Different words of a column that are gathered.
MAX_BAD_WORDS = 1_000


@dataclasses.dataclass
class BadCells:
    """The cells of a column with one problem.

    Args:
        column, problem: what they are.
        error: what a training would say of the first of them.
        row: where that stands in the file.
        words: how many there are of each, or of the first `MAX_BAD_WORDS`.
    """

    column: str
    problem: CellProblem
    error: DataError
    row: int
    words: collections.Counter[str]


class CellReader:
    """Reads the cells of a table piece by piece.

    Args:
        name: the file as errors name it.
        place: "line" or "row", what errors count.
        notation: how its numbers are written.
        lenient: whether cells that are no numbers are gathered in `bad` and missing; else the first one is raised.
    """

    def __init__(
        self, config: Reading, name: str, place: str, notation: NumberNotation, *, lenient: bool = False
    ) -> None:
        self.name, self.place, self.notation, self.lenient = name, place, notation, lenient
        self.words = missing_words(config) if config.missing else None
        self.numbers = missing_numbers(config, notation)
        self.bad: dict[tuple[str, str], BadCells] = {}

    def read(self, cells: Sequence[str], rows: Sequence[int], column: str) -> NDArray[np.float32]:
        """Return some cells of a column, NaN where they are missing.

        Args:
            rows: where each stands in the file.

        Raises:
            DataError: one of them is no number, unless that is gathered.
        """
        if self.words:
            cells = ["" if cell.strip().lower() in self.words else cell for cell in cells]
        unit = self.notation.units.get(column, "")
        values = parse_numbers(
            cells,
            self.notation.of_column(column),
            unit,
            lambda at, problem: self._refuse(cells[at], rows[at], column, problem),
        )
        advice = "Correct it, or give the column in another unit"
        return self.narrow(values, cells, rows, column, CellProblem(f"is {FLOAT32_OVERFLOW_TEXT}", advice))

    def narrow(
        self, values: NDArray[np.float64], cells: Any, rows: Sequence[int], column: str, problem: CellProblem
    ) -> NDArray[np.float32]:
        """Return numbers in 32 bits, NaN where they stand for a missing value.

        Args:
            values, cells, rows: `(rows,)` the numbers, how they are written, and where each stands in the file.
            problem: that of a number that is too large.

        Raises:
            DataError: as `read`.
        """
        if self.numbers:
            values[match_missing_numbers(values, self.numbers)] = np.nan
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float32)
        large = np.isinf(narrow)
        if large.any():
            for at in np.flatnonzero(large).tolist():
                self._refuse(cells[at], rows[at], column, problem)
            narrow[large] = np.nan
        return narrow

    def _refuse(self, cell: object, row: int, column: str, problem: CellProblem) -> None:
        word, key = str(cell).strip(), (column, problem.text)
        if key not in self.bad:
            where = f"{self.name}, {self.place} {row}, column {column!r}"
            error = DataError(f"{where}: {quote(word)} {describe_cell_problem(word, problem)}")
            if not self.lenient:
                raise error
            self.bad[key] = BadCells(column, problem, error, row, collections.Counter())
        words = self.bad[key].words
        if word in words or len(words) < MAX_BAD_WORDS:
            words[word] += 1


def describe_cell_problem(word: str, problem: CellProblem) -> str:
    """Return what is wrong with a cell and the ways to solve it, as the end of a sentence."""
    ways = [problem.advice, *(f"add {flag_name(name)} {value}" for name, value in problem.option.items())]
    if problem.word:
        ways.append(f"add --missing {word}" if re.fullmatch(r"\w[\w.-]{0,40}", word) else "add it to --missing")
    return f"{problem.text}. {', or '.join(ways)}, or name the columns to read with --value-cols"


def match_missing_numbers(values: NDArray[np.float64], numbers: Sequence[float]) -> NDArray[np.bool_]:
    """Return which values are one of the `missing_numbers`, to the digits that 32 bits hold."""
    single = np.array([number for number in numbers if abs(number) <= FLOAT32_MAX], np.float32)
    with np.errstate(over="ignore"):
        found: NDArray[np.bool_] = np.isin(values, numbers) | np.isin(values.astype(np.float32), single)
    return found
