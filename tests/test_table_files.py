"""Test table files: CSV with escaped formulas, and Parquet."""

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ae import table_files
from lstm_ae.table_files import escape_formulas, is_escaped, table, write_table


def test_long_table_is_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"a,b": np.array([1, np.nan, 0.1]), "c": ["x", 'y"', None]}
    whole = write_table(tmp_path / "whole.csv", columns).read_bytes()
    assert whole == b'"a,b",c\n1.0,x\n,"y"""\n0.1,\n'
    monkeypatch.setattr(table_files, "PIECE", 2)
    assert write_table(tmp_path / "pieces.csv", columns).read_bytes() == whole
    assert write_table(tmp_path / "empty.csv", {"a": []}).read_bytes() == b"a\n"
    with pytest.raises(ValueError, match="shorter"):
        write_table(tmp_path / "uneven.csv", {"a": [1, 2], "b": [1]})
    assert not (tmp_path / "uneven.csv").exists()


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+49 30 1", "'+49 30 1"),
        ("-1+1", "'-1+1"),
        ("-pump", "'-pump"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1", "' =1"),
        ("\t=1", "\t'=1"),
        ("\r=1", "\r'=1"),
        ("pump\n=1", "pump\n'=1"),
        ("pump;=1;2", "pump;'=1;2"),
        ("\ufeff=1", "'\ufeff=1"),
        ("\uff1d1", "'\uff1d1"),
        # Numbers and text that is not a formula are unchanged.
        ("-1.5e-3", "-1.5e-3"),
        ("+7", "+7"),
        ("-12%", "-12%"),
        ("1;-5;3", "1;-5;3"),
        ("-", "-"),
        ("a=b", "a=b"),
        ("2024-01-01T00:00:00+01:00", "2024-01-01T00:00:00+01:00"),
        ("score =x", "score =x"),
        ("'=1", "'=1"),
        ("", ""),
    ],
)
def test_escape_formulas_escapes_text_that_a_spreadsheet_executes(cell: str, written: str) -> None:
    assert escape_formulas(cell) == written


@given(st.text(st.sampled_from("=+-@;\t\r\n '1ax,\uff1d")))
def test_escape_formulas_is_idempotent_and_recognized(cell: str) -> None:
    escaped = escape_formulas(cell)
    assert escape_formulas(escaped) == escaped
    assert is_escaped(escaped) >= (escaped != cell)


def test_csv_escapes_headers_and_cells(tmp_path: Path) -> None:
    columns = {"=cmd|A0": ["@x", "pump", None], "value": [-1.5, float("nan"), 2]}
    path = write_table(tmp_path / "t.csv", columns)
    assert path.read_text() == "'=cmd|A0,value\n'@x,-1.5\npump,\n,2\n"
    assert list(csv.reader(io.StringIO(table(["=a"], [["=b"]]).decode()))) == [["'=a"], ["'=b"]]


def test_parquet_does_not_escape_formulas(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", {"=a": ["=b"]})
    assert parquet.read_table(path).to_pydict() == {"=a": ["=b"]}
