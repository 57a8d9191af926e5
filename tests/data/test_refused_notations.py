"""Notations that are not read: each is refused with a code, the place, and the option or line that converts it."""

from pathlib import Path
from typing import Any

import pytest

from lstm_ae.config import Reading
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import quote

ROWS = "t;x;y\n2024-01-01;{0};1\n2024-01-02;{0};2\n"
# The text that a line of pandas removes, by cell.
UNITS = {
    "10 kWh": "'kWh'",
    "10kWh": "'kWh'",
    "10.1%": "'%'",
    "10.1 °C": "'°C'",
    "$10.29": "'$'",
    "5,00 €": "'€'",
    "CHF 5": "'CHF'",
    "10'050": '"\'"',
    "10’050": "'’'",
    "10\u202f050": "'\\u202f'",
    "10\xa0050,5": "'\\xa0'",
}
TS = "@problemName Two\n@classLabel true a b\n@data\n1,2,3:a\n"
# Case name: content, options, code, then fragments of the error: the place, the cell, and the remedy.
REFUSED: dict[str, tuple[str, dict[str, Any], Code, tuple[str, ...]]] = {
    ".ts": (TS, {}, Code.FILE_FORMAT, ("line 1", "'@problemName Two'", "aeon.datasets.load_from_ts_file")),
    ".ts below comments": ("\n" + "# a\n" * 80 + TS, {}, Code.FILE_FORMAT, ("line 82", "load_from_ts_file")),
    ".arff": (
        "% a\n@RELATION x\n@data\n1,2\n",
        {},
        Code.FILE_FORMAT,
        ("line 2", "'@RELATION x'", "load_from_arff_file"),
    ),
    **{
        f"'{cell}'": (
            ROWS.format(cell),
            {},
            Code.CELL_VALUE,
            (f"line 2, column 'x': {quote(cell)}", f"str.replace({text}, '')"),
        )
        for cell, text in UNITS.items()
    },
    **{
        f"'{cell}'": (
            f"a;{head}\n1;{cell}\n2;{cell}\n",
            {},
            Code.TIME_VALUE,
            (f"line 2, column '{head}': '{cell}'", words),
        )
        for head, cell, words in (
            ("x", "1980Q1", "pandas.PeriodIndex(frame[column], freq='Q')"),
            ("x", "Q3/1980", "pandas.PeriodIndex"),
            ("x", "5. März 2024 12:00", "frame[column].str.replace('März'"),
            ("x", "05-Okt-2024", "frame[column].str.replace('Okt'"),
            ("x", "Jänner 2024", "frame[column].str.replace('Jänner'"),
            ("x", "Di 05.03.2024", "frame[column].str.replace('Di'"),
            ("x", "Tue 5. Mai 2024", "frame[column].str.replace('Mai'"),
            ("month", "2024.10", "--time-format %Y.%m"),
        )
    },
    "a late quarter": (
        "t,a\n2024-01,1\n2024-04,2\n2024Q3,3\n",
        {},
        Code.TIME_VALUE,
        ("line 4", "'2024Q3'", "PeriodIndex"),
    ),
    "a month below days": (
        "t,a\n2024.10.01,1\n2024.10.02,1\n2024.10,2\n",
        {},
        Code.TIME_VALUE,
        ("line 4", "'2024.10'", "%Y.%m"),
    ),
    "days of a spreadsheet": (
        "Date,a\n44562,1\n",
        {},
        Code.TABLE_HEADER,
        ("'Date'", "44562 is 2022-01-01", "pandas.to_datetime"),
    ),
    "days of a spreadsheet as times": (
        "Date,a\n44562,1\n",
        {"time_col": "Date"},
        Code.TIME_VALUE,
        ("'Date'", "44562", "pandas.to_datetime(frame[column], unit='D', origin='1899-12-30')"),
    ),
    "years of two digits": ("t,a\n05-Mar-24,1\n06-Mar-24,2\n", {}, Code.TIME_VALUE, ("'t'", "--date-order dmy")),
    **{
        f"a counter that falls, {options}": (
            "step,a\n0,5\n1,6\n2,7\n3,8\n0,5\n1,6\n2,7\n3,8\n",
            options,
            Code.TIME_ORDER,
            ("line 6, column 'step'", "from 3 to 0", "cumsum(), and add --id-col recording", "frame.sort_values"),
        )
        for options in ({}, {"freq": "rows"}, {"duplicates": "mean"})
    },
    "a counter of series": (
        "id,step,a\nx,0,5\nx,1,6\nx,2,7\ny,0,8\ny,1,9\ny,2,9\n",
        {"time_col": "step", "time_unit": "steps"},
        Code.TIME_ORDER,
        ("line 5", "from 2 to 0", "add --id-col id"),
    ),
    **{
        head: (
            f"{head},a\n290,5\n291,6\n292,7\n",
            {},
            Code.TABLE_HEADER,
            ("line 1", repr(head), "--time-col", "--value-cols"),
        )
        for head in ("T", "T [K]")
    },
    **{
        f"the newest row first, {every}": (
            "time,a\n" + "".join(f"2024-10-27 0{hour},1\n" for hour in reversed(every.split())),
            {"time_zone": "Europe/Berlin"},
            Code.TIME_ORDER,
            ("line 3, column 'time'", "Europe/Berlin", "frame[::-1]"),
        )
        for every in ("1:30 2:00 2:30 2:00 2:30 3:00", "1:30 2:30 3:30 4:30")
    },
    "an apostrophe before a formula": (
        "t,id,x\n2024-01-01,a,1\n2024-01-02,'+49 A,2\n",
        {"id_col": ("id",)},
        Code.CELL_VALUE,
        ("line 3, column 'id'", "'+49 A", "str.removeprefix"),
    ),
    "an apostrophe in a part of a cell": (
        "t,x,y\n2024-01-01,1,a;'=2\n",
        {"label_col": "y"},
        Code.CELL_VALUE,
        ("line 2, column 'y'", "a;'=2", "str.removeprefix"),
    ),
    "an apostrophe in a heading": ("t,'=x\n2024-01-01,1\n", {}, Code.TABLE_HEADER, ("line 1", "'=x", "frame.rename")),
    "a late unit": ("x;y\n" + "1;2\n" * 1500 + "5 kg;2\n", {}, Code.CELL_VALUE, ("line 1502, column 'x': '5 kg'",)),
    ".arff, lines to skip": ("@relation x\na,b\n1,2\n", {"skip_rows": 1}, Code.FILE_FORMAT, ("line 1", "aeon")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_notation_is_refused_with_place_and_remedy(case: str) -> None:
    content, options, code, fragments = REFUSED[case]
    Path("t.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        read_panel(Reading(data="t.csv", **options))
    assert caught.value.code is code
    for fragment in fragments:
        assert fragment in str(caught.value)
