"""Number notation: each notation is parsed correctly, and ambiguous numbers are rejected."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from notations import cases

from lstm_ae.config import Reading
from lstm_ae.data.numbers import (
    DECIMAL_MARKS,
    CellReader,
    NumberNotation,
    are_numbers,
    find_cell_problem,
    infer_notation,
    is_number,
    is_plain_number,
    parse_number,
)
from lstm_ae.errors import DataError


def parse(cells: list[str], decimal: str) -> tuple[list[float], list[tuple[int, str]]]:
    """Return the numbers of cells, and the row and the problem of each cell that is refused."""
    reader = CellReader(Reading(), "t.csv", "row", NumberNotation(decimal), use="check")
    values = reader.read(cells, range(len(cells)), "a")
    return values.tolist(), [(bad.row, bad.problem.text) for bad in reader.bad.values()]


@pytest.mark.parametrize(("cell", "decorated"), cases("units"))
def test_numbers_with_units_are_meant_as_numbers(cell: str, decorated: bool) -> None:
    assert is_number(cell)
    assert is_plain_number(cell) != decorated


@pytest.mark.parametrize("cell", cases("no-numbers"))
def test_text_is_not_meant_as_a_number(cell: str) -> None:
    assert not is_number(cell)


@pytest.mark.parametrize(("cells", "numbers"), cases("columns"))
def test_columns_of_numbers_are_told_from_text(cells: list[str], numbers: bool) -> None:
    assert are_numbers(cells) == numbers


@pytest.mark.parametrize(("cells", "options", "decimal"), cases("marks"))
def test_infer_notation_finds_the_decimal_separator(
    cells: list[str], options: dict[str, Any], decimal: str | None
) -> None:
    config = Reading(**options)
    if decimal is None:
        with pytest.raises(DataError, match=r"ambiguous. Add --decimal (comma|point) .* frame\[column\].str.replace"):
            infer_notation({"a": cells}, config, "t.csv")
    else:
        assert infer_notation({"a": cells}, config, "t.csv").decimal == decimal


def test_all_columns_have_one_notation() -> None:
    # 48.137 can be a decimal number written by another program, and is refused when it is read.
    for columns, decimal in (
        ({"lat": ["48.137"], "temp": ["1,5"]}, "comma"),
        ({"a": ["0.247", "1,000"], "b": ["15,063"]}, "point"),
    ):
        assert infer_notation(columns, Reading(), "t.csv").decimal == decimal
    with pytest.raises(DataError, match=r"'t\.csv', column 'a': '10,050' has a comma"):
        infer_notation({"b": ["5"], "a": ["10,050"]}, Reading(), "'t.csv'")


@given(st.integers(-(10**12), 10**12), st.integers(0, 4), st.sampled_from([*DECIMAL_MARKS]))
def test_parse_number_round_trips_formatted_numbers(number: int, digits: int, decimal: str) -> None:
    value = number / 10**digits
    cell = f"{value:.{digits}f}".replace(".", DECIMAL_MARKS[decimal])
    assert parse_number(cell, decimal) == value
    assert parse([cell, "", "7"], decimal)[0][::2] == [np.float32(value), 7]
    assert is_number(cell)


@pytest.mark.parametrize(("cell", "decimal", "text"), cases("problems"))
def test_find_cell_problem_names_the_problem(cell: str, decimal: str, text: str) -> None:
    assert parse_number(cell, decimal) is None
    found = find_cell_problem(cell)
    assert found.text.startswith(text)
    assert parse(["7", f" {cell} "], decimal)[1] == [(1, found.text)]
