"""Values of a cursor: what they are, up to which time, and how they are stored."""

import datetime
import json
from decimal import Decimal

import pytest

from lstm_ae.config import Reading
from lstm_ae.watch.sql_cursor import Notation, decode_value, encode_value

READING = Reading(time_col="time", value_cols=("x",))


@pytest.mark.parametrize(
    "value",
    [
        *(1, 2.5, "2024-01-01", Decimal("1.50"), datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, 2, 3, 4, 5)),
        datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
    ],
)
def test_value_of_a_cursor_survives_json(value: object) -> None:
    found = decode_value(json.loads(json.dumps(encode_value(value))))
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2024-01-01", "2024-01-02"),
        ("2024-01-01 00:00:00.5", "2024-01-02 00:00:00"),
        ("20240101T0100", "20240102T000000"),
        ("2024-01-01T00:00+02:00", "2024-01-02T02:00:00"),
        ("2024/01/01 12:00Z", "2024/01/02 00:00:00"),
        (datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)),
        (datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 2)),
        (datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)),
        (1704067200, 1704153600),
        (Decimal("1704067200000.5"), 1704153600000),
        *((7, None), ("01.02.2024", None), ("20240199", None), ("", None)),
    ],
)
def test_time_has_the_notation_of_the_column(value: object, shown: object) -> None:
    notation = Notation.of(value, READING, time=True)
    assert notation
    assert notation.limit(1704153600) == shown
    assert notation.accepts(value)


@pytest.mark.parametrize("value", ["n/a", float("nan"), Decimal("inf"), True, b"", None])
def test_value_that_is_no_time_has_no_notation(value: object) -> None:
    assert Notation.of(value, READING, time=True) is None
