"""Number notation: each notation is parsed correctly, and ambiguous numbers are rejected."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from notations import cases

from lstm_ae.config import Reading
from lstm_ae.data.numbers import (
    NUMBER_MARKS,
    PLAIN_NOTATION,
    CellReader,
    NumberNotation,
    are_numbers,
    find_cell_problem,
    infer_notation,
    is_number,
    is_plain_number,
    parse_number,
)
from lstm_ae.errors import ConfigError, DataError


def parse(cells: list[str], notation: NumberNotation = PLAIN_NOTATION) -> tuple[list[float], list[tuple[int, str]]]:
    """Return the numbers of cells, and the row and the problem of each cell that is refused."""
    reader = CellReader(Reading(), "t.csv", "row", notation, lenient=True)
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


@pytest.mark.parametrize(("cells", "options", "notation"), cases("marks"))
def test_infer_notation_finds_decimal_and_thousands_marks(
    cells: list[str], options: dict[str, Any], notation: list[str | None] | None
) -> None:
    config = Reading(**options)
    if notation is None:
        with pytest.raises(DataError, match=r"--decimal (comma|point), or --thousands"):
            infer_notation({"a": cells}, config, "t.csv")
    else:
        assert list(infer_notation({"a": cells}, config, "t.csv")[:2]) == notation


def marks_of(
    columns: dict[str, list[str]], options: dict[str, Any] | None = None, **table: bool
) -> tuple[str, str | None]:
    notation = infer_notation(columns, Reading(**options or {}), "'t.csv'", **table)
    return notation.decimal, notation.thousands


def test_all_columns_have_one_notation() -> None:
    assert marks_of({"a": ["10,050.29", "9"], "b": ["10.1", "5"], "c": ["15,063"]}) == ("point", None)
    assert marks_of({"a": ["1.506,29"], "b": ["15,1"], "c": ["4.519", "806"]}) == ("comma", None)
    # 48.137 can be a decimal number written by another program, and is refused when it is read.
    assert marks_of({"lat": ["48.137"], "temp": ["1,5"]}) == ("comma", None)
    assert marks_of({"a": ["0.247", "1,000"], "b": ["15,063"]}) == ("point", None)
    with pytest.raises(DataError, match=r"'t\.csv', column 'a': the comma in '10,050'"):
        marks_of({"b": ["5"], "a": ["10,050"]})


@pytest.mark.parametrize(
    ("cells", "refused"),
    [
        (["806", "999", "1.088"], True),
        (["806", "1.088", "12.345"], True),
        (["806", "1.088", "0.5"], False),
        (["806", "1.08"], False),
        (["1506", "1.088"], False),  # 1506 has no mark between thousands
        (["8", "1.088"], False),
        (["1.088", "1.102"], False),
    ],
)
def test_points_that_may_separate_thousands_are_rejected(cells: list[str], refused: bool) -> None:
    if refused:
        with pytest.raises(
            DataError, match=r"the point in '1\.088' can separate decimals or thousands.*--thousands point"
        ):
            marks_of({"a": cells})
    else:
        assert marks_of({"a": cells}) == ("point", None)
    assert marks_of({"a": cells}, {"decimal": "point"}) == ("point", None)


@given(
    st.integers(-(10**12), 10**12),
    st.integers(0, 4),
    st.sampled_from(["point", "comma"]),
    st.sampled_from([None, *NUMBER_MARKS]),
)
def test_parse_number_round_trips_formatted_numbers(
    number: int, digits: int, decimal: str, thousands: str | None
) -> None:
    if thousands == decimal:
        return
    value = number / 10**digits
    written = f"{value:,.{digits}f}".replace(",", "\0").replace(".", NUMBER_MARKS[decimal])
    cell = written.replace("\0", NUMBER_MARKS[thousands] if thousands else "")
    read = NumberNotation(decimal, thousands)
    assert parse_number(cell, read) == value
    assert parse([cell, "", "7"], read)[0][::2] == [np.float32(value), 7]
    assert is_number(cell)


@pytest.mark.parametrize(("cell", "notation", "text", "option"), cases("problems"))
def test_find_cell_problem_names_problem_and_option(
    cell: str, notation: dict[str, Any], text: str, option: dict[str, Any]
) -> None:
    read = NumberNotation(**notation)
    assert parse_number(cell, read) is None
    found = find_cell_problem(cell, read)
    assert found.text.startswith(text)
    assert found.option == option
    assert parse(["7", f" {cell} "], read)[1] == [(1, found.text)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"decimal": "comma", "thousands": "comma"}, "--thousands and --decimal must differ. Received: comma"),
        ({"thousands": "dot"}, "--thousands must be one of"),
    ],
)
def test_reading_rejects_invalid_number_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Reading(**options)
