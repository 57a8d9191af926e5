"""Whole columns are split and converted as cell by cell, or not at all."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ae.data import text_columns
from lstm_ae.data.csv_reader import split_rows
from lstm_ae.data.numbers import MISSING_WORDS, parse_number
from lstm_ae.data.text_columns import cast_numbers, split_block, to_cells, to_column
from lstm_ae.data.timestamps import BadTime, TimeForm, cast_times, parse_times


def array(cells: list[str]) -> text_columns.TextColumn:
    """Return cells as an array, which `to_column` makes of more rows only."""
    return to_column(cells * text_columns.MIN_ARROW_ROWS)[: len(cells)]


@settings(max_examples=500, deadline=None)
@given(st.text('1a ,;"\n', max_size=30), st.sampled_from([",", ";"]), st.integers(1, 3))
def test_block_is_split_as_the_csv_module_splits_it_or_not_at_all(text: str, separator: str, width: int) -> None:
    columns = split_block(text, separator, width, range(width)) if text else None
    if columns is not None:
        rows = list(split_rows(io.StringIO(text), "x", separator))
        assert [line for line, _ in rows] == list(range(1, len(rows) + 1))
        assert [to_cells(column) for column in columns] == [[row[k].strip() for _, row in rows] for k in range(width)]


@pytest.mark.parametrize("text", ["1,a\n2,b\n", '1,"a, b"\n"2",c', " 1 ,\n,\n"])
def test_usual_block_is_split(text: str) -> None:
    assert split_block(text, ",", 2, [0, 1]) is not None


numbers = st.text("0123456789", max_size=3) | st.text("09+-.,eEx nai_\u0661", max_size=6)


@settings(max_examples=500, deadline=None)
@given(st.lists(numbers | st.sampled_from(["1.5", "2,5", "NA", "-", "nan", "inf", "1e400"]), min_size=1, max_size=4))
def test_numbers_of_a_column_are_those_of_its_cells(cells: list[str]) -> None:
    for decimal in ("point", "comma"):
        found = cast_numbers(array(cells), decimal, MISSING_WORDS)
        if found is not None:
            np.testing.assert_equal(found.tolist(), [parse_number(cell, decimal) for cell in cells])


@pytest.mark.parametrize("cells", [["1.5", "-2e3"], [" 7", "NA"], ["", "null", "+5"]])
def test_usual_numbers_are_cast(cells: list[str]) -> None:
    assert cast_numbers(array(cells), "point", MISSING_WORDS) is not None


clocks = st.from_regex(r"([ T]\d\d?(:?\d\d(:?\d\d([.,]\d{1,9})?)?)?)?(Z|[+-]\d\d:?\d\d)?", fullmatch=True)
days = st.from_regex(r"(19|20)\d\d-[01]\d-[0-3]\d|[0-3]?\d([./-])[0-3]?\d\2(\d\d)?2\d|20\d{4,12}", fullmatch=True)


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.builds(str.__add__, days, clocks), min_size=1, max_size=2),
    st.sampled_from(["", "dmy", "mdy"]),
    st.booleans(),
)
def test_times_of_a_column_are_those_of_its_cells(cells: list[str], order: str, aware: bool) -> None:
    form = TimeForm("", order, aware=aware)
    found = cast_times(array(cells), form)
    if found is not None:
        assert found.tolist() == parse_times(cells, form).tolist()


@pytest.mark.parametrize("cell", ["1677-12-31", "2262-01-01", "", "2024-02-30", "2024-01-01T00:00Z"])
def test_bad_time_of_a_column_is_located(cell: str) -> None:
    with pytest.raises(BadTime) as caught:
        parse_times(array(["2024-01-01", cell]), TimeForm("", "", aware=False))
    assert caught.value.place == 1


@pytest.mark.parametrize("form", [TimeForm("", "", False), TimeForm("", "", False, pattern="%m/%d/%Y")])
def test_order_of_a_date_is_not_guessed(form: TimeForm) -> None:
    assert cast_times(array(["13/5/2024", "3/5/2024"]), form) is None


@pytest.mark.parametrize(
    ("cell", "order", "aware"),
    [
        *((cell, "", False) for cell in ("2024-02-29", "2024-02-29 10:30:00.123456789", "20240229")),
        ("2024-02-29T10:30+02:00", "", True),
        ("29.02.2024 10:30", "dmy", False),
        *((cell, "mdy", False) for cell in ("02/29/2024", "2/9/2024 1:05")),
    ],
)
def test_usual_times_are_cast(cell: str, order: str, aware: bool) -> None:
    form = TimeForm("", order, aware=aware)
    found = cast_times(array([cell]), form)
    assert found is not None
    assert found.tolist() == parse_times([cell], form).tolist()
