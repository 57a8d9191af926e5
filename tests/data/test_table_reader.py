"""User tables: each file is read correctly or rejected with a one-line error that names a remedy."""

import gzip
import io
import os
import pathlib
import tracemalloc
from typing import Any

import numpy as np
import pytest

from lstm_ae.config import Reading
from lstm_ae.data import csv_reader as delimited_module
from lstm_ae.data import text as lines_module
from lstm_ae.data.columns import split_id_columns
from lstm_ae.data.panel import Panel
from lstm_ae.data.stream import read_incoming
from lstm_ae.data.table_reader import read_panel
from lstm_ae.data.time_zones import Elapsed, format_each_time, format_time, format_times
from lstm_ae.errors import ConfigError, DataError

HEAD = "time,a,b\n"
GERMAN = "Datum;Außentemperatur\n2024-01-01 00:00;1\n2024-01-01 01:00;2\n2024-01-01 02:00;3\n"
IDS = ("site", "machine")
GOOD = HEAD + "2024-01-01 00:00,1,10\n2024-01-01 01:00,2,20\n2024-01-01 02:00,3,30\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100)
ROW = "2024-01-01 03:00,{},40\n"


def read(content: bytes | str, name: str = "t.csv", *, of_run: bool = False, **options: Any) -> Panel:
    path = pathlib.Path(name)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_panel(Reading(data=str(path), **options), of_run=of_run)


def times(table: Panel) -> list[str]:
    return table.times.astype("datetime64[ns]").astype("datetime64[m]").astype(str).tolist()


# Case name: content, options, then fragments that the error must contain.
REFUSED: dict[str, tuple[bytes | str, dict[str, Any], tuple[str, ...]]] = {
    "empty": ("", {}, ("is empty",)),
    "blank lines only": ("\n\n  \n", {}, ("is empty",)),
    "header only": (HEAD, {}, ("a header and no rows",)),
    "no header": (GOOD.removeprefix(HEAD), {}, ("line 1", "no header", "--columns time,c2,c3", "'2024-01-01 00:00'")),
    "no header, numbers": ("1.5,2.5\n3.5,4.5\n", {}, ("line 1", "no header", "--columns c1,c2")),
    "no header, decimal commas": ("2024-01-01;1,5\n2024-01-02;2,5\n", {}, ("no header", "--columns time,c2")),
    "no header, ten digits": ("2024010100;1\n2024010101;2\n", {}, ("no header", "--columns time,c2")),
    "too few names": (GOOD.removeprefix(HEAD), {"columns": ("a", "b")}, ("--columns must name all 3", "2 names")),
    "duplicate header": ("time,a,a\n2024-01-01,1,2\n", {}, ("line 1", "'a'", "more than once", "--columns")),
    "long first row": (HEAD + "2024-01-01,1,2,3\n2024-01-02,1,2\n", {}, ("line 2", "4 cells", "has 3")),
    "short row": (GOOD + "2024-01-01 03:00,4\n", {}, ("line 5", "2 cells", "has 3")),
    "short row, semicolons": (GOOD.replace(",", ";") + "2024-01-02;4\n", {}, ("line 5", "2 cells", "semicolons")),
    "text in a number": (GOOD + ROW.format("abc"), {}, ("line 5", "'a'", "'abc'", "--missing", "--value-cols")),
    "formula": (GOOD + ROW.format("=cmd|' /C calc'!A0"), {}, ("line 5", "'a'", "not a number", "--missing")),
    "inf": (GOOD + ROW.format("inf"), {}, ("line 5", "infinite", "--missing")),
    "1e999": (GOOD + ROW.format("1e999"), {}, ("line 5", "'1e999'", "too large")),
    "1e39": (GOOD + ROW.format("1e39"), {}, ("line 5", "'1e39'", "32 bits")),
    "boolean": (GOOD + ROW.format("true"), {}, ("line 5", "true or false")),
    "thousands": (GOOD + ROW.format('"1,000"'), {}, ("'1,000'", "--decimal comma")),
    "point among decimal commas": (
        "t;a\n2024-01-01;1,5\n2024-01-02;1,6\n2024-01-03;2.50\n",
        {},
        ("line 4", "'2.50'", "a point"),
    ),
    "thousands among decimal commas": (
        "t;a\n2024-01-01;1,5\n2024-01-02;2.500\n",
        {},
        ("line 3", "'2.500'", "thousands", "--thousands point"),
    ),
    "thousands beside points": (
        GOOD + ROW.format('"1,000"') + ROW.format("1.5"),
        {},
        ("line 5", "'1,000'", "can separate thousands or decimals", "--thousands comma"),
    ),
    "blanks between cells": (GOOD.replace(",", "  "), {}, ("line 1", "one cell each", "commas, semicolons, tabs")),
    "thousands below the first rows": (
        "a,b\n" + "1,1.5\n" * 1000 + '"1,000",1\n',
        {},
        ("line 1002", "'1,000'", "--thousands comma"),
    ),
    "only commas in threes": ("t;a\n2024-01-01;1,500\n2024-01-02;2,500\n", {}, ("'1,500'", "--decimal comma")),
    "29 February": (GOOD + "2023-02-29 00:00,1,2\n", {}, ("line 5", "'time'", "'2023-02-29 00:00'", "calendar")),
    "month 13": (GOOD + "2023-13-01,1,2\n", {}, ("line 5", "'2023-13-01'", "calendar")),
    "25 o'clock": (GOOD + "2023-01-01 25:00,1,2\n", {}, ("line 5", "calendar")),
    "a time that is text": (GOOD + "yesterday,1,2\n", {}, ("line 5", "'yesterday'", "not a time", "YYYY-MM-DD")),
    "a time that is missing": (GOOD + ",1,2\n", {}, ("line 5", "the time is missing")),
    "year 9999": (GOOD + "9999-01-01 00:00,1,2\n", {}, ("line 5", "outside the years")),
    "one time with an offset": (GOOD + "2024-01-01 03:00+01:00,1,2\n", {}, ("line 5", "an offset", "one way")),
    "one time without": (
        GOOD.replace("0,", "0Z,") + "2024-01-01 03:00,1,2\n",
        {},
        ("line 5", "no offset", "one way"),
    ),
    "day or month": ("t,a\n1/2/2024,1\n2/2/2024,2\n", {}, ("1 February", "2 January", "--date-order dmy")),
    "a date of another kind": (GOOD + "5/1/2024 03:00,1,2\n", {}, ("line 5", "does not begin with the year")),
    "date order wrong": ("t,a\n13/2/2024,1\n", {"date_order": "mdy"}, ("line 2", "--date-order mdy")),
    "another format than told": (
        "t,a\n01.02.24,1\n02.02.24,2\n03-02-24,2\n",
        {"time_format": "%d.%m.%y"},
        ("line 4", "'03-02-24'", "--time-format %d.%m.%y"),
    ),
    "a missing time in a format": ("t,a\n24,1\n,2\n", {"time_col": "t", "time_format": "%y"}, ("line 3", "missing")),
    "no column in a format": (GOOD, {"time_format": "%d.%m.%y"}, ("no column", "--time-format %d.%m.%y", "--time-col")),
    "a year in a format": ("t,a\n0900,1\n", {"time_col": "t", "time_format": "%Y"}, ("line 2", "outside the years")),
    "a format that is not known": (
        "time,a\n20240101-00,1\n20240101-01,2\n",
        {},
        ("'time'", "'20240101-00'", "--time-format"),
    ),
    "zone for times with offsets": (
        GOOD.replace("0,", "0Z,"),
        {"time_zone": "Europe/Berlin"},
        ("--time-zone", "Leave --time-zone out"),
    ),
    "an hour that spring skips": (
        "t,a\n2024-03-31 01:30,1\n2024-03-31 02:30,2\n",
        {"time_zone": "Europe/Berlin"},
        ("line 3", "2024-03-31 02:30:00", "Europe/Berlin", "does not exist"),
    ),
    "numbers that are no times": (
        "t,a\n7.5,1\n8,2\n",
        {"time_col": "t"},
        ("'t'", "--time-unit", "elapsed", "leave --time-col out", "--value-cols"),
    ),
    "a step that is none": ("t,a\n7,1\n8,2\n9,3\n9.5,3\n", {"time_unit": "steps", "time_col": "t"}, ("'9.5'", "steps")),
    "weeks": ("period,hour,a\n2024W01,0,1\n2024W02,6,2\n", {}, ("'period'", "'2024W01'", "--time-col", "--value-cols")),
    "days of a spreadsheet": ("Date,a\n44562,1\n44563,2\n", {}, ("'Date'", "44562 is 2022-01-01", "--value-cols")),
    "days of a spreadsheet, told": (
        "Date,a\n44562.5,1\n44563,2\n",
        {"time_col": "Date"},
        ("'Date'", "day numbers of a spreadsheet", "--time-unit steps"),
    ),
    "numbers as dates": ("a,order date\n5,1\n6,7\n", {}, ("'order date'", "no dates", "--time-col", "--value-cols")),
    "months or days": ("date,a\n201001,1\n201002,2\n", {}, ("2010-01", "2020-10-01", "YYYY-MM")),
    "a date that is none": ("a,date,b\n1,2 janv. 2024,2\n3,3 janv. 2024,4\n", {}, ("'date'", "'2 janv. 2024'")),
    "times of no day": ("time,a\n10:00,1\n10:10,2\n", {}, ("'time'", "'10:00'", "only times of day")),
    "text that is no time": ("t,a\nx,1\ny,2\n", {"time_col": "t"}, ("'t'", "'x'", "--time-col")),
    "wrong column": (GOOD, {"time_col": "tme"}, ("--time-col", "'tme'", "Did you mean 'time'?")),
    "wrong value column": (GOOD, {"value_cols": ("zz",)}, ("--value-cols", "'zz'", "'time', 'a', 'b'")),
    "text as values": ("t,a,b\n2024-01-01,1,on\n", {"value_cols": ("b",)}, ("line 2", "'b'", "'on'", "not a number")),
    "no numbers": ("t,a\n2024-01-01,on\n", {}, ("no column holds numbers", "'a' (text)", "--value-cols")),
    "all missing": ("t,a\n2024-01-01,NA\n2024-01-02,\n", {}, ("no column holds numbers", "'a' (empty)")),
    "all missing, asked for": (
        "t,a,b\n2024-01-01,,1\n",
        {"value_cols": ("a", "b")},
        ("'a'", "no value", "--value-cols"),
    ),
    "a series without name": (
        "t,id,a\n2024-01-01,x,1\n2024-01-02,,2\n",
        {"id_col": ("id",)},
        ("line 3", "'id'", "series"),
    ),
    "png": (PNG, {}, ("a PNG image",)),
    "UTF-16 without its mark": (GOOD.encode("utf-16-be"), {}, ("UTF-16", "--encoding utf-16-be")),
    "PNG, told otherwise": (PNG, {"encoding": "cp1252"}, ("a PNG image",)),
    "cp1252 as UTF-8": (GERMAN.encode("cp1252"), {"encoding": "utf-8"}, ("line 1", "0xdf", "not UTF-8")),
    "UTF-8 as cp1252": (GERMAN.encode(), {"encoding": "cp1252"}, ("is UTF-8, not cp1252", "--encoding utf-8")),
    "a byte that no text of cp1252 has": (
        GERMAN.encode("cp1252") + b"x\x81",
        {},
        ("line 1", "0xdf", "Pass its --encoding"),
    ),
    "Cyrillic": ("time,температура\n".encode("cp1251"), {}, ("line 1", "not UTF-8", "Pass its --encoding")),
    "DOS": ("time,Wärme\n".encode("cp437"), {}, ("line 1", "0x84", "Pass its --encoding")),
    "a cell of cp1252 that is no number": (GOOD.encode() + b"2024-01-01 03:00,\xe9,1\n", {}, ("line 5", "'\xe9'")),
    "half a character": (GOOD.encode("utf-16")[:-1], {}, ("line 4", "not utf-16-le")),
    "a title": ("Pump 3\n\n" + GOOD, {}, ("line 1", "'Pump 3'", "line 3", "'time', 'a', 'b'", "--skip-rows 2")),
    "a title and a second line": ("Pump 3,x\nMay\n" + GOOD, {}, ("'Pump 3'", "--skip-rows 2")),
    "a title and empty cells": ("Pump 3,,\n" + GOOD, {}, ("line 1", "'Pump 3'", "line 2", "--skip-rows 1")),
    "a title without a header": (
        "Pump 3\n" + GOOD.removeprefix(HEAD),
        {},
        ("'Pump 3'", "--skip-rows 1 --columns time,c2,c3"),
    ),
    "a title above named columns": (
        "Pump 3\n" + GOOD.removeprefix(HEAD),
        {"columns": ("t", "a", "b")},
        ("--columns must name all 1", "--skip-rows 1"),
    ),
    "a row of units": (
        "time,flow,p\n,m³/h,bar\n2024-01-01,1,2\n2024-01-02,3,4\n",
        {},
        ("line 2", "'m³/h', 'bar'", "--skip-rows 2 --columns time,flow,p"),
    ),
    "a row of units below named columns": (
        ",m³/h,bar\n2024-01-01,1,2\n2024-01-02,3,4\n",
        {"columns": ("time", "flow", "p")},
        ("line 1", "--skip-rows 1 --columns time,flow,p"),
    ),
    "totals": (GOOD + "Sum,6,60\n", {}, ("line 5", "'time'", "'Sum'", "remove the row")),
    "a note": (GOOD + "exported\n", {}, ("line 5", "1 cells")),
    "an empty file to skip lines of": ("", {"skip_rows": 2}, ("is empty",)),
    "more lines to skip than there are": (GOOD, {"skip_rows": 4}, ("nothing below", "--skip-rows 4")),
    "too many lines to skip": (GOOD, {"skip_rows": 1}, ("line 2", "no header")),
    "an error below a title": ("Pump 3\n" + GOOD + ROW.format("abc"), {"skip_rows": 1}, ("line 6", "'abc'")),
    "NUL": (GOOD + ROW.format("1\0"), {}, ("line 5", "NUL")),
    "unclosed quote": (GOOD + '2024-01-01 03:00,"4,40\n', {}, ("line 5", "not closed")),
    "unclosed quote at once": ('time,"a,b\n2024-01-01,1,2\n', {}, ("line 1", "not closed")),
    "cut gzip": (gzip.compress(GOOD.encode() * 50)[:-12], {}, ("cut short",)),
    "cut Parquet": (b"PAR1" + bytes(50), {}, ("damaged Parquet file",)),
    "an integer past 64 bits": (
        "t,a\n1704067200,1\n1704067201,2\n9999999999999999999,3\n",
        {},
        ("line 4", "not a time"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_tables_are_rejected_with_one_line_error(case: str) -> None:
    content, options, pieces = REFUSED[case]
    if "Parquet" in case:
        pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    with pytest.raises((DataError, ConfigError)) as caught:
        read(content, **options)
    text = str(caught.value)
    assert text.isprintable(), "the text must be one line without control characters"
    assert len(text) < 700
    for piece in pieces:
        assert piece in text, text


HOURS = ["2024-01-01T00:00", "2024-01-01T01:00", "2024-01-01T02:00"]
# Case name: content, options. All have the same three hours, and 1, 2, 3 in the first value column.
READ: dict[str, tuple[bytes | str, dict[str, Any]]] = {
    "plain": (GOOD, {}),
    "BOM": (b"\xef\xbb\xbf" + GOOD.encode(), {}),
    "UTF-16": (GOOD.encode("utf-16"), {}),
    "UTF-16, told": (GOOD.encode("utf-16-be"), {"encoding": "UTF_16BE"}),
    "UTF-32": (GOOD.encode("utf-32"), {}),
    "cp1252": (GERMAN.encode("cp1252"), {}),
    "cp1252, told": (GERMAN.encode("cp1252"), {"encoding": "windows-1252"}),
    "cp1251, told": (
        "time;температура\n".encode("cp1251") + GERMAN.partition("\n")[2].encode(),
        {"encoding": "cp1251"},
    ),
    "titles": ('Pump 3, "of May\n\n' + GOOD, {"skip_rows": 2}),
    "titles without a header": ("Pump 3\n" + GOOD.removeprefix(HEAD), {"skip_rows": 1, "columns": ("t", "a", "b")}),
    "CR": (GOOD.replace("\n", "\r"), {}),
    "CRLF": (GOOD.replace("\n", "\r\n"), {}),
    "gzip": (gzip.compress(GOOD.encode()), {}),
    "blank lines": (GOOD.replace("\n", "\n\n \n"), {}),
    "quoted": ('"time","a","b"\n' + '"2024-01-01 00:00","1","10"\n2024-01-01 01:00,2,20\n2024-01-01 02:00,3,30\n', {}),
    "semicolons": (GOOD.replace(",", ";"), {}),
    "tabs": (GOOD.replace(",", "\t"), {}),
    "bars": (GOOD.replace(",", "|"), {}),
    "bars in quotes": (GOOD.replace("\n", ',"x|y"\n'), {}),
    "semicolons in quotes": (GOOD.replace("\n", ',"x;y;z"\n'), {}),
    "commas in quotes": (GOOD.replace(",", ";").replace("\n", ';"x, ""y"", z"\n'), {}),
    "bars without quotes": (GOOD.replace("\n", ",x|y\n"), {}),
    "line ends in quotes": (GOOD.replace("\n", ',"x|\ny"\n'), {}),
    "no header": (GOOD.removeprefix(HEAD), {"columns": ("time", "a", "b")}),
    "units below the header": (
        GOOD.replace("\n", "\n,m³/h,bar\n", 1),
        {"skip_rows": 2, "columns": ("time", "a", "b")},
    ),
    "decimal commas": ("t;a\n2024-01-01 00:00;1,0\n2024-01-01 01:00;2,0\n2024-01-01 02:00;3,00\n", {}),
    "decimal commas, told": (
        "t;a\n2024-01-01 00:00;1,000\n2024-01-01 01:00;2,000\n2024-01-01 02:00;3,000\n",
        {"decimal": "comma"},
    ),
    "decimal commas in quotes": (
        't,a\n2024-01-01 00,"1,0"\n'.replace(" 00", " 00:00") + '2024-01-01 01:00,"2,0"\n2024-01-01 02:00,"3,0"\n',
        {},
    ),
    "day first, dots": ("t;a\n1.1.2024 0:00;1\n01.01.2024 01:00;2\n1.1.2024 02:00:00;3\n", {}),
    "month first, told": (
        "t,a\n1/1/2024 12:00 AM,1\n1/1/2024 1:00 AM,2\n1/1/2024 2:00 am,3\n",
        {"date_order": "mdy"},
    ),
    "a format that is told": ("t,a\n20240101-00,1\n20240101-01,2\n20240101-02,3\n", {"time_format": "%Y%m%d-%H"}),
    "digits in a format that is told": (
        "x,t,a\nq,01012400,1\nq,01012401,2\nq,01012402,3\n",
        {"time_format": "%d%m%y%H"},
    ),
    "offsets in a format that is told": (
        "t,a\n01 Jan 24 1 AM +0100,1\n01 Jan 24 1 AM +0000,2\n01 Jan 24 2 AM +0000,3\n",
        {"time_format": "%d %b %y %I %p %z"},
    ),
    "zulu": (GOOD.replace("0,", "0Z,", 3).replace("00Z,1", "00Z,1"), {}),
    "offsets": (HEAD + "2024-01-01T01:00+01:00,1,1\n2023-12-31T20:00-05:00,2,2\n2024-01-01T07:30+0530,3,3\n", {}),
    "seconds": ("time,a\n1704067200,1\n1704070800,2\n1704074400,3\n", {}),
    "seconds with fractions": ("ts,a\n1704067200.0,1\n1704070800.000,2\n1704074400,3\n", {}),
    "milliseconds": ("timestamp,a\n1704067200000,1\n1704070800000,2\n1704074400000,3\n", {}),
    "nanoseconds": ("epoch,a\n1704067200000000000,1\n1704070800000000000,2\n1704074400000000000,3\n", {}),
    "ten digits": ("MESS_DATUM;TT\n2024010100;1\n2024010101;2\n2024010102;3\n", {}),
    "ten digits, told": ("x;TT\n2024010100;1\n2024010101;2\n2024010102;3\n", {"time_col": "x"}),
    "twelve digits": ("x;TT\n202401010000;1\n202401010100;2\n202401010200;3\n", {}),
    "fourteen digits of Berlin": (
        "t,a\n20240101010000,1\n20240101020000,2\n20240101030000,3\n",
        {"time_zone": "Europe/Berlin"},
    ),
    "ten digits, no header": ("2024010100;1\n2024010101;2\n2024010102;3\n", {"columns": ("time", "c2")}),
    "hours of Berlin": (
        GOOD.replace("-01 0", "-01 x").replace("x0", "01").replace("x1", "02").replace("x2", "03"),
        {"time_zone": "Europe/Berlin"},
    ),
    "unsorted": (HEAD + "2024-01-01 02:00,3,30\n2024-01-01 00:00,1,10\n2024-01-01 01:00,2,20\n", {}),
    "pandas' row numbers": (",time,a\n0,2024-01-01 00:00,1\n1,2024-01-01 01:00,2\n2,2024-01-01 02:00,3\n", {}),
    "an empty heading": (",a\n2024-01-01 00:00,1\n2024-01-01 01:00,2\n2024-01-01 02:00,3\n", {}),
    "thousands": (
        'time,a,b\n2024-01-01 00:00,1,"10,050"\n2024-01-01 01:00,2,"$10,050.29"\n2024-01-01 02:00,3,10.1\n',
        {"value_cols": ("a",)},
    ),
    "text beside": ("time,state,a\n2024-01-01 00:00,on,1\n2024-01-01 01:00,=cmd|x,2\n2024-01-01 02:00,,3\n", {}),
    "an empty column": ("time,e,a\n2024-01-01 00:00,,1\n2024-01-01 01:00,NA,2\n2024-01-01 02:00,,3\n", {}),
}


@pytest.mark.parametrize("case", READ)
def test_valid_tables_are_read_correctly(case: str) -> None:
    content, options = READ[case]
    table = read(content, **options)
    assert times(table) == HOURS
    assert table.values[:, 0].tolist() == [1, 2, 3]
    assert table.values.dtype == np.float32
    assert table.ids == ("",)
    assert table.unsorted == (case == "unsorted")


def test_paths_that_are_not_regular_files_are_rejected(tmp_path: pathlib.Path) -> None:
    os.mkfifo("fifo.csv")
    for path, piece in (("none.csv", "does not exist"), (".", "is a directory"), ("fifo.csv", "not a regular file")):
        with pytest.raises(DataError, match=piece):
            read_panel(Reading(data=path))


@pytest.mark.parametrize("name", ["a b.csv", "a\nb.csv", "-rf.csv", "\u682a.csv", "t.png", os.fsdecode(b"\xff.csv")])
def test_unusual_file_names_are_accepted(name: str) -> None:
    assert len(read(GOOD, name).lines) == 3
    with pytest.raises(DataError) as caught:
        read(HEAD, name)
    assert str(caught.value).isprintable()


def test_file_changed_during_reading_is_rejected() -> None:
    path = pathlib.Path("t.csv")
    path.write_text(HEAD + "".join(f"2024-01-01 00:{k // 60:02}:{k % 60:02},1,1\n" for k in range(3600)))

    def grow(rows: int, share: float) -> None:
        if share < 1:
            with path.open("a") as file:
                file.write("2024-01-02,1,1\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstm_ae.data.table_reader.PROGRESS_ROWS", 1)
        patch.setattr(lines_module, "BLOCK_BYTES", 4096)
        patch.setattr(delimited_module, "CHUNK_ROWS", 500)
        with pytest.raises(DataError, match="changed while it was read"):
            read_panel(Reading(data=str(path)), grow)


@pytest.mark.parametrize("cell", ["", " ", "NA", "N/A", "null", "None", "NaN", "-", "-999", "error"])
def test_missing_value_markers_become_nan(cell: str) -> None:
    table = read(GOOD + ROW.format(cell), missing=("-999", "ERROR"))
    np.testing.assert_array_equal(table.values[:, 0], [1, 2, 3, np.nan])


@pytest.mark.parametrize("cell", ["-999", "-999.0", "-999.00", " -9.99e2", "-999.9", "-999.90000001", "1e20", "+1E+20"])
@pytest.mark.parametrize("decimal", ["point", "comma"])
def test_numeric_missing_markers_match_any_number_format(cell: str, decimal: str) -> None:
    rows = ["time;a;b", "2024-01-01;1.5;1", f"2024-01-02;{cell};2", "2024-01-03;-998.5;3"]
    text, words = "\n".join(rows), ("-999", "-999.9", "1e20", "x")
    if decimal == "comma":
        text, words = text.replace(".", ","), ("-999", "-999,9", "1e20", "x")
    table = read(text, missing=words)
    np.testing.assert_array_equal(table.values[:, 0], [1.5, np.nan, -998.5])
    _, chunks = read_incoming(io.BytesIO(text.encode()).read, "standard input", Reading(missing=words))
    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks]), table.values)


def test_numeric_missing_markers_match_in_parquet() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "double": pyarrow.array([1.5, -999.9, -999.0]),
        "fine": pyarrow.array([1.5, -999.9000001, -999.0000001]),
        "single": pyarrow.array([1.5, -999.9, -999.0], pyarrow.float32()),
        "whole": pyarrow.array([1, 2, -999]),
        "text": pyarrow.array(["1.5", "-999.90", "-999.0"]),
    }
    parquet.write_table(pyarrow.table(columns), "t.parquet")
    table = read_panel(Reading(data="t.parquet", missing=("-999", "-999.9", "1e300")))
    assert table.layout.values == tuple(columns)
    held = [[True, False, False], [True, False, False], [True, False, False], [True, True, False], [True, False, False]]
    np.testing.assert_array_equal(~np.isnan(table.values.T), held)


@pytest.mark.parametrize("cells", [("1013.25", "1009.5", "1010.75"), ("1500.0", "1501.0", "1502.0")])
def test_four_digit_decimals_are_values_and_not_dates(cells: tuple[str, ...]) -> None:
    """A cell such as 1013.1 could be a year and a month."""
    rows = [f"{cell},1\n" for cell in cells]
    timed = [f"{hour},{row}" for hour, row in zip(HOURS, rows, strict=True)]
    for table, expected in (
        (read("time,p,a\n" + "".join(timed)), HOURS),
        (read("p,a\n" + "".join(rows)), None),
        (read("".join(rows), columns=("p", "a")), None),
    ):
        assert table.layout.values == ("p", "a")
        assert table.values[:, 0].tolist() == [float(cell) for cell in cells]
        assert expected == (times(table) if table.layout.time else None)
    with pytest.raises(DataError, match="--columns c1,c2"):
        read("".join(rows))


def test_decimal_numbers_of_parquet_are_not_dates() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "stamp": [1704067200.0, 1704070800.0, 1704074400.0],
        "pressure": [1013.25, 1009.5, 1010.75],
        "rpm": [1500.0, 1501.0, 1502.0],
        "date": [2024.1, 2024.02, 2024.03],
    }
    parquet.write_table(pyarrow.table(columns), "t.parquet")
    table = read_panel(Reading(data="t.parquet"))
    assert (table.layout.time, table.layout.values) == ("stamp", ("pressure", "rpm", "date"))
    assert times(table) == HOURS


def test_table_without_times_uses_row_numbers() -> None:
    table = read("0,1\n5,6\n7,8\n9,9\n")  # as pandas writes an array without names
    assert table.layout.names == ("0", "1")
    assert table.times.tolist() == [0, 1, 2]
    assert table.layout.time is None
    assert table.values.tolist() == [[5, 6], [7, 8], [9, 9]]


def test_points_with_german_dates_are_rejected_except_for_a_run() -> None:
    content = "Tag;a\n01.01.2024;1.506\n02.01.2024;1.728\n"
    with pytest.raises(DataError, match=r"'1\.506' can separate decimals or thousands"):
        read(content)
    assert read(content, decimal="comma").values[0].tolist() == [1506]
    config = Reading(data="t.csv", date_order="dmy")
    assert read_panel(config, of_run=True).values[0].tolist() == [np.float32(1.506)]


def test_codes_of_digits_and_letters_are_not_values() -> None:
    rows = "".join(f"2024-01-{day + 1:02},{room}a,{day}\n" for day in range(9) for room in (101, 102, 103))
    layout = read("time,room,x\n" + rows, duplicates="first").layout
    assert layout.id_candidates == (("room",),)
    assert layout.values == ("x",)


def test_id_col_separates_series_and_sorts_rows() -> None:
    table = read(
        "t,id,a\n2024-01-01,y,1\n2024-01-01,x,2\n2024-01-03,x,5\n2024-01-02,y,3\n2024-01-02,x,4\n", id_col=("id",)
    )
    assert table.ids == ("y", "x")
    assert table.series.tolist() == [0, 0, 1, 1, 1]
    assert table.values[:, 0].tolist() == [1, 3, 2, 4, 5]
    assert table.lines.tolist() == [2, 5, 3, 6, 4]
    assert table.unsorted == 1


def test_series_without_times_have_their_own_row_numbers() -> None:
    table = read("id,a\nx,1\ny,2\nx,3\n", id_col=("id",))
    assert table.times.tolist() == [0, 1, 0]
    assert table.values[:, 0].tolist() == [1, 3, 2]


def test_several_id_columns_name_a_series() -> None:
    """Cells with commas stay distinct and are restored exactly."""
    names = [("a", "b,c"), ("a,b", "c"), ("a", 'b"')]
    quoted = [f'"{site}","{machine.replace(chr(34), chr(34) * 2)}"' for site, machine in names]
    table = read("\n".join(["site,machine,a", *(f"{cells},{k}" for k, cells in enumerate(quoted * 2)), ""]), id_col=IDS)
    assert len(table.ids) == 3
    assert table.values[:, 0].tolist() == [0, 3, 1, 4, 2, 5]
    assert split_id_columns(IDS, table.ids) == {name: [cells[k] for cells in names] for k, name in enumerate(IDS)}
    with pytest.raises(DataError, match=r"line 3, column 'site' or 'machine': the name of the series is missing"):
        read("site,machine,a\nx,1,1\nx,,2\n", id_col=IDS)


def test_errors_for_a_table_of_a_run_omit_training_options() -> None:
    pathlib.Path("t.csv").write_text("Flow,heat\n1,2\nbad,3\n2,x\n3,4\n")
    with pytest.raises(
        DataError, match=r"line 1 has no column 'flow', which the training table has. Did you mean 'Flow'\?$"
    ):
        read_panel(Reading(data="t.csv", value_cols=("flow", "heat")), of_run=True)
    with pytest.raises(
        DataError, match=r"has no column 'speed', which the training table has. There are 'Flow', 'heat'$"
    ):
        read_panel(Reading(data="t.csv", value_cols=("speed",)), of_run=True)
    with pytest.raises(ConfigError, match="--value-cols names 'flow', no column of"):
        read_panel(Reading(data="t.csv", value_cols=("flow",)))
    for of_run in (True, False):
        with pytest.raises(DataError, match="line 3, column 'Flow': 'bad' is not a number") as caught:
            read_panel(Reading(data="t.csv", value_cols=("Flow",)), of_run=of_run)
        assert ("--value-cols" in str(caught.value)) != of_run


def test_id_columns_must_exist_and_be_named_once() -> None:
    with pytest.raises(ConfigError, match=r"--id-col names 'machin', no column of .*. Did you mean 'machine'"):
        read("site,machine,a\nx,1,1\n", id_col=("site", "machin"))
    with pytest.raises(ConfigError, match="--id-col names 'site' more than once"):
        Reading(id_col=("site", "site"))
    with pytest.raises(ConfigError, match="--id-col and --label-col both name 'machine'"):
        Reading(id_col=IDS, label_col="machine")


@pytest.mark.parametrize(
    ("cells", "classes", "labels"),
    [
        (("10", "9", ""), ("9", "10"), [1, 0, -1]),
        (("true", "false", "true"), ("false", "true"), [1, 0, 1]),
        (("walk", "NA", "run"), ("NA", "run", "walk"), [2, 0, 1]),
        (("none", "-", "null"), ("-", "none", "null"), [1, 0, 2]),
        (("walk", "nan", "NaN"), ("walk",), [0, -1, -1]),
        (("walk", "?", "-9.0"), ("walk",), [0, -1, -1]),
        (("1", "NA", "0"), ("0", "1"), [1, -1, 0]),
        (("2", "-", "10"), ("2", "10"), [0, -1, 1]),
        (("1", "none", "2"), ("1", "2", "none"), [0, 2, 1]),
        (("0", "None", "1"), ("0", "1"), [0, -1, 1]),
    ],
)
def test_label_column_is_encoded_as_classes_and_not_a_value(
    cells: tuple[str, ...], classes: tuple[str, ...], labels: list[int]
) -> None:
    text = "a,label\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells))
    table = read(text, label_col="label", missing=("?", "-9"))
    assert table.layout.values == ("a",)
    assert table.classes == classes
    assert table.labels is not None
    assert table.labels.tolist() == labels


def test_layout_describes_inferred_settings() -> None:
    layout = read("x;t;when;a;b\n0;1.5.2024;2024-05-01;1,5;2\n").layout
    assert layout.inferred["time_col"] == "'t', as it holds times (when also)"
    assert layout.inferred["date_order"] == "day first, as the first rows show"
    assert layout.inferred["decimal"] == "comma, as the first rows show"
    assert layout.inferred["value_cols"] == "x, a, b, as they hold numbers"


@pytest.mark.parametrize(
    "text",
    [
        "model,a\nT-2024-X,1\nT-2025-X,2\n",
        "part,a\n10-11-12,1\n10-11-13,2\n",
        "sentiment,a\ngood,1\nbad,2\n",
        "update,a\nv1.2,1\nv1.3,2\n",
        "a,note\n1,in 2024\n2,in 2025\n",
        "site,hour,a\nnorth,0,1\nsouth,1,1\n",
    ],
)
def test_text_that_is_not_a_time_is_not_a_time_column(text: str) -> None:
    assert read(text).layout.time is None


def test_unreadable_times_are_ignored_when_columns_are_named() -> None:
    table = read("period,a\n2024W01,1\n2024W02,2\n", value_cols=("a",))
    assert table.layout.time is None
    assert table.times.tolist() == [0, 1]
    table = read("period,a\n2024W01,1\n2024W02,2\n", id_col=("period",))
    assert table.ids == ("2024W01", "2024W02")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("time,a\n0,5\n1,6\n2,7\n", {}),
        ("a,Step\n5,10\n6,20\n7,30\n", {}),
        ("year,a\n1871,5\n1872,6\n1873,7\n", {}),
        ("t,id,a\n0,x,5\n0,y,6\n1,x,7\n1,y,8\n2,x,9\n2,y,9\n", {"id_col": ("id",)}),
        ("n,a\n3,5\n9,6\n11,7\n", {"time_col": "n"}),
        ("n,a\n1709640000,5\n1709640001,6\n", {"time_col": "n", "time_unit": "steps"}),
    ],
)
def test_elapsed_steps_are_neither_values_nor_dates(text: str, options: dict[str, Any]) -> None:
    layout = read(text, **options).layout
    assert layout.time in ("time", "Step", "year", "t", "n")
    assert layout.values == ("a",)
    assert layout.counts
    assert not layout.dated
    assert layout.settings.get("time_unit") == "steps"


@pytest.mark.parametrize(
    "text",
    [
        "n,a\n0,5\n1,6\n2,7\n",
        "time,a\n0.5,5\n1.5,6\n2.5,7\n",
        "time,a\n5,5\n3,6\n9,7\n2,7\n",
        "day,a\n30,5\n31,6\n1,7\n",
    ],
)
def test_numbers_that_do_not_count_steps_are_values(text: str) -> None:
    assert read(text).layout.time is None


def test_elapsed_seconds_are_formatted_as_in_the_table() -> None:
    table = read("t,a\n0,5\n0.25,6\n0.5,7\n", time_col="t", time_unit="s")
    assert table.times.tolist() == [0, 250_000_000, 500_000_000]
    assert isinstance(table.zone, Elapsed)
    assert format_times(table.times, table.zone).tolist() == [0, 0.25, 0.5]
    assert (format_time(250_000_000, table.zone), format_each_time(table.times, table.zone)) == ("0.25", [0, 0.25, 0.5])
    with pytest.raises(ConfigError, match="Leave --time-zone out"):
        read("t,a\n0,5\n0.25,6\n", time_col="t", time_unit="s", time_zone="Europe/Berlin")


def test_counters_keep_all_their_digits() -> None:
    counted = [2**53 + 1, 2**53 + 3, 2**53 + 5]
    text = "t,a\n" + "".join(f"{number},5\n" for number in counted)
    for unit, size in (("steps", 1), ("ns", 1)):
        table = read(text, time_col="t", time_unit=unit)
        assert table.zone == Elapsed(size)
        assert format_each_time(table.times, table.zone) == format_times(table.times, table.zone).tolist() == counted
        assert format_time(counted[0], table.zone) == "9007199254740993"
    # Integers next to a fraction also keep their digits.
    micro = np.array([(2**53 + 1) * 1000, (2**53 + 2) * 1000 + 500])
    assert format_each_time(micro, Elapsed(1000)) == [2**53 + 1, 2**53 + 2.5]


def test_chunk_and_block_size_do_not_change_the_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEAD + "".join(f"2024-01-{1 + k // 24:02} {k % 24:02}:00,{k},{k % 7}\n" for k in range(500))
    whole = read(text)
    monkeypatch.setattr(delimited_module, "CHUNK_ROWS", 7)
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 64)
    parts = read(text)
    assert parts.layout == whole.layout
    for one, other in ((whole.times, parts.times), (whole.values, parts.values), (whole.lines, parts.lines)):
        np.testing.assert_array_equal(one, other)


def test_english_and_german_spreadsheets_give_equal_values() -> None:
    """The same rows are written as an English and as a German spreadsheet saves them."""
    english = read(
        'day,visits,bounce,revenue\n2024-01-01,"10,050",10.1,"10,050.29"\n2024-01-02,"9,876",9,"-1,000.00"\n'
        "2024-01-03,,,\n"
    )
    german = read(
        "Tag;Besuche;Absprünge;Umsatz\n01.01.2024;10.050;10,1;10.050,29\n02.01.2024;9.876;9;-1.000,00\n03.01.2024;;;\n"
    )
    expected = np.array([[10050, 10.1, 10050.29], [9876, 9, -1000], [np.nan] * 3], np.float32)
    np.testing.assert_array_equal(english.values, expected)
    np.testing.assert_array_equal(german.values, expected)
    assert english.layout.inferred["thousands"] == "comma in visits, revenue, as the first rows show"
    assert german.layout.settings["decimal"] == "comma"
    assert german.layout.inferred["thousands"] == "point in Besuche, Umsatz, as the first rows show"


def test_cp1252_encoding_is_inferred_and_stored() -> None:
    layout = read(GERMAN.encode("cp1252")).layout
    assert layout.values == ("Außentemperatur",)
    assert layout.settings["encoding"] == "cp1252"
    assert layout.inferred["encoding"] == "cp1252, as in 'Außentemperatur'"
    for content, options in (
        (GERMAN, {}),
        (GERMAN.encode("utf-16"), {}),
        (GERMAN.encode("cp1252"), {"encoding": "cp1252"}),
    ):
        layout = read(content, **options).layout
        assert layout.values == ("Außentemperatur",)
        assert "encoding" not in {**layout.settings, **layout.inferred}


@pytest.mark.parametrize(
    ("text", "western"),
    [
        ("Größe;Füße;Süß;naïve;10 °C;µm;m³/h;25 €;½;“x”;l’été;ÄRGER", True),
        ("DRUCK [bar] – Süd", True),
        ("Größe".encode("cp437").decode("cp1252", "replace"), False),
        ("Größe".encode("mac_roman").decode("cp1252"), False),
        ("Скорость".encode("cp1251").decode("cp1252"), False),
        ("ταχύτητα".encode("cp1253").decode("cp1252"), False),
        ("速度".encode("gbk").decode("cp1252"), False),
    ],
)
def test_cp1252_is_inferred_for_western_european_text_only(text: str, western: bool) -> None:
    content = f"time,{text}\n2024-01-01,1\n".replace(";", " ").encode("cp1252", "replace")
    if western:
        assert read(content).layout.settings == {"encoding": "cp1252"}
    else:
        with pytest.raises(DataError, match="Pass its --encoding"):
            read(content)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "shift_jis", "utf_16"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_block_size_does_not_change_decoded_text(encoding: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "時刻,流量\r\n2024-01-01,1\r\n2024-01-02,2\r"
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", size)
    content = io.BytesIO(text.encode(encoding))
    _, found = lines_module.decode_file(content, "x", encoding)
    assert list(found) == ["時刻,流量\n", "2024-01-01,1\n", "2024-01-02,2\n"]


@pytest.mark.parametrize("name", ["base64", "idna", "utf-7", "raw_unicode_escape", "cp037", "undefined", "x", "", "\0"])
def test_encoding_option_rejects_codecs_that_are_not_text(name: str) -> None:
    with pytest.raises(ConfigError, match="--encoding must be a text encoding"):
        Reading(encoding=name)


def test_stream_supports_encoding_and_skip_rows_like_a_file() -> None:
    content = ("Anlage Süd\n\n" + GERMAN).encode("cp1252")
    layout, chunks = read_incoming(io.BytesIO(content).read, "standard input", Reading(skip_rows=2))
    (chunk,) = chunks
    assert layout.values == ("Außentemperatur",)
    assert (chunk.values[:, 0].tolist(), chunk.lines.tolist()) == ([1, 2, 3], [4, 5, 6])
    with pytest.raises(DataError, match=r"'Anlage Süd' is a title.*--skip-rows 2"):
        read_incoming(io.BytesIO(content).read, "standard input", Reading())


def test_tables_above_the_column_limit_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(delimited_module, "MAX_COLUMNS", 20)
    for width in (20, 21):
        rows = [",".join(f"{kind}{k}" for k in range(width)) for kind in ("c", "1", "2")]
        text = "".join(f"{row}\n" for row in rows).encode()
        parquet.write_table(pyarrow.table({f"c{k}": [1.0, 2.0] for k in range(width)}), "t.parquet")
        readers = (
            lambda text=text: read(text).values,
            lambda text=text: next(read_incoming(io.BytesIO(text).read, "standard input", Reading())[1]).values,
            lambda: read_panel(Reading(data="t.parquet")).values,
        )
        for reader in readers:
            if width == 20:
                assert reader().shape == (2, 20)
            else:
                with pytest.raises(DataError, match="21 columns; at most 20"):
                    reader()


@pytest.mark.parametrize(("columns", "rows"), [(1, 1000), (500, 1000), (1000, 500), (10_000, 50), (10**9, 10)])
def test_sample_rows_bounds_the_number_of_sampled_cells(columns: int, rows: int) -> None:
    assert delimited_module.sample_rows(columns) == rows


def test_progress_callback_reports_the_final_row_count() -> None:
    told = []
    pathlib.Path("t.csv").write_text(GOOD)
    read_panel(Reading(data="t.csv"), lambda rows, share: told.append((rows, share)))
    assert told == [(3, 1.0)]


@pytest.mark.slow
def test_reading_many_rows_uses_bounded_memory() -> None:
    """Arrays of 300,000 rows of one column take 5 MB; the overhead of reading must not grow with them."""
    step = np.timedelta64(1, "s")
    days = np.datetime_as_string(np.datetime64("2024-01-01T00:00:00") + np.arange(300_000) * step)
    pathlib.Path("t.csv").write_text("time,a\n" + "".join(f"{day},{k % 9}\n" for k, day in enumerate(days)))
    del days
    told: list[int] = []
    tracemalloc.start()
    table = read_panel(Reading(data="t.csv"), lambda rows, share: told.append(rows))
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()
    assert len(table.lines) == 300_000
    assert len(told) == 4


@pytest.mark.exhaustive
def test_line_of_100_mb_and_gzip_bomb_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="line 2: is longer"):
        read(HEAD.encode() + b"A" * 100_000_000)
    monkeypatch.setattr(lines_module, "MAX_BYTES", 40 << 20)
    with pytest.raises(DataError, match=r"more than 41943040 bytes"):
        read(gzip.compress(GOOD.encode() + b"2024-01-02 00:00,1,2\n" * 3_000_000, 1))


def test_late_thousands_point_is_refused() -> None:
    """The first rows show small integers only; 1.234 may be 1,234."""
    lines = [f"2024-01-01 {k // 60 % 24:02}:{k % 60:02}:00;{k % 999}" for k in range(1200)]
    table = "\n".join(["t;n", *lines, "2024-02-01 00:00:00;1.234"]) + "\n"
    with pytest.raises(DataError, match=r"'1.234' has a point that .*add --decimal point.*--thousands point"):
        read(table, freq="rows")
    assert read(table, freq="rows", decimal="point").values[-1, 0] == np.float32(1.234)
    assert read(table, freq="rows", thousands="point").values[-1, 0] == 1234
    # Another number shows that points separate decimals.
    shown = table + "2024-02-01 00:01:00;12.5\n"
    assert read(shown, freq="rows").values[-2, 0] == np.float32(1.234)


def test_first_row_with_an_empty_cell_is_no_header() -> None:
    rows = "".join(f"{k}.5,{k},{k}.7\n" for k in range(1, 20))
    with pytest.raises(DataError, match="there is no header"):
        read("0.5,,0.7\n" + rows)
    # Years may be headings, also beside an empty one.
    assert read("1990,,1991\n" + rows).layout.values == ("1990", "column 2", "1991")
    # An index has no heading, and columns may be named by numbers.
    spectra = read(",400.5,401.5\n" + "".join(f"{k},{k}.5,1\n" for k in range(9)))
    assert (spectra.layout.values, len(spectra.values)) == (("400.5", "401.5"), 9)


def test_utf_16_without_a_mark_names_both_orders() -> None:
    content = "t,a\n2024-01-01,1\n2024-01-02,2\n".encode("utf-16-le")
    with pytest.raises(DataError, match="Pass utf-16-le or utf-16-be to --encoding"):
        read(content, encoding="utf-16")
    assert len(read(content, encoding="utf-16-le").values) == 2


def test_superscript_is_no_row_number() -> None:
    assert read(",a\n\u00b2,1\n\u00b3,3\n1,4\n").values[:, 0].tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("heading", "is_time"),
    [
        *((name, True) for name in ("timestamp", "unix", "event_time", "DateTime", "localtime", "Messzeit", "time_ms")),
        *((name, True) for name in ("run_time", "response_time", "idle time")),
        *((name, True) for name in ("last_update", "updated_at", "lastUpdated", "eventTimeMillis", "startTimeSec")),
        *((name, True) for name in ("Zeitstempel", "epoch (s)", "ts", "createdTimestamp", "date2", "unixtime")),
        *(
            (name, False)
            for name in (
                "bytes_updated",
                "runtime_ns",
                "cycletime",
                "candidate_id",
                "sentiment",
                "run_time_ns",
                "validated",
            )
        ),
    ],
)
def test_numeric_times_need_a_word_of_the_heading(heading: str, is_time: bool) -> None:
    rows = "".join(f"{1_200_000_000 + 3600 * k},{k % 7}\n" for k in range(50))
    assert (read(f"{heading},a\n{rows}").layout.time == heading) is is_time


def test_options_of_times_need_times_that_they_fit() -> None:
    elapsed = "time,a\n" + "".join(f"{k / 10:.1f},{k % 7}\n" for k in range(50))
    found = read(elapsed, time_unit="s")
    assert (found.layout.time, found.times[1] - found.times[0]) == ("time", 100_000_000)
    with pytest.raises(ConfigError, match="--time-zone is for a column of times, and none was found"):
        read(elapsed, time_zone="Europe/Berlin")
    dates = "time,a\n2024-01-01,1\n2024-01-02,2\n"
    with pytest.raises(ConfigError, match="--time-unit is for numbers, and 'time' holds dates"):
        read(dates, time_unit="ms")
    with pytest.raises(ConfigError, match="--time-unit is for a column of times, and none was found"):
        read("time,a\n" + "".join(f"{k % 2},{k}\n" for k in range(50)), time_unit="s")
    # A column of numbers goes before dates, and each series rises by itself.
    both = "day,ts,a\n" + "".join(f"2024-01-01,{1_700_000_000 + k},{k % 7}\n" for k in range(50))
    assert read(both, time_unit="s").layout.time == "ts"
    assert read("uptime,time,a\n" + "".join(f"{k},{k},1\n" for k in range(50)), time_unit="s").layout.time == "time"
    series = "id,time_limit,time,a\n" + "".join(f"{'ab'[k // 25]},5,{k % 25},{k % 7}\n" for k in range(50))
    assert read(series, time_unit="s", id_col=("id",)).layout.time == "time"
    with pytest.raises(ConfigError, match="--time-unit is for numbers, and 'time' holds dates"):
        read(dates, time_unit="ms", time_col="time")
