"""Tables that no small file of the corpus shows: Parquet, limits, streams, and cells far below the first rows."""

import io
import pathlib
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from notations import cases

from lstm_ae.config import Reading
from lstm_ae.data import csv_reader as delimited_module
from lstm_ae.data import text as lines_module
from lstm_ae.data.columns import split_id_columns
from lstm_ae.data.panel import Panel
from lstm_ae.data.table_reader import read_panel
from lstm_ae.data.time_zones import Elapsed, format_each_time, format_time, format_times
from lstm_ae.errors import Code, ConfigError, DataError

HEAD = "time,a,b\n"
IDS = ("site", "machine")
GOOD = HEAD + "2024-01-01 00:00,1,10\n2024-01-01 01:00,2,20\n2024-01-01 02:00,3,30\n"


def read(content: bytes | str, **options: Any) -> Panel:
    pathlib.Path("t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return read_panel(Reading(data="t.csv", **options))


@pytest.mark.parametrize("added", ["2024-01-02,1,1\n", "broken"])
def test_file_changed_during_reading_is_rejected(added: str) -> None:
    path = pathlib.Path("t.csv")
    path.write_text(HEAD + "".join(f"2024-01-01 00:{k // 60:02}:{k % 60:02},1,1\n" for k in range(3600)))

    def grow(rows: int, share: float) -> None:
        if share < 1:
            with path.open("a") as file:
                file.write(added)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "BLOCK_BYTES", 4096)
        patch.setattr(delimited_module, "CHUNK_ROWS", 500)
        with pytest.raises(DataError, match="changed while it was read"):
            read_panel(Reading(data=str(path)), grow)


def test_numeric_missing_markers_match_in_parquet() -> None:
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


def test_series_of_several_id_columns_are_split_again() -> None:
    """Cells with commas stay distinct and are restored exactly."""
    names = [("a", "b,c"), ("a,b", "c"), ("a", 'b"')]
    quoted = [f'"{site}","{machine.replace(chr(34), chr(34) * 2)}"' for site, machine in names]
    table = read("\n".join(["site,machine,a", *(f"{cells},{k}" for k, cells in enumerate(quoted * 2)), ""]), id_col=IDS)
    assert split_id_columns(IDS, table.ids) == {name: [cells[k] for cells in names] for k, name in enumerate(IDS)}


@pytest.mark.parametrize("options", [{"id_col": ("site", "site")}, {"id_col": IDS, "label_col": "machine"}])
def test_a_column_has_one_role(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Reading(**options)
    assert caught.value.code is Code.CONFLICTING_OPTIONS


def test_elapsed_times_keep_all_their_digits() -> None:
    quarters, seconds = np.array([0, 250_000_000, 500_000_000]), Elapsed(10**9)
    assert format_times(quarters, seconds).tolist() == format_each_time(quarters, seconds) == [0, 0.25, 0.5]
    assert format_time(250_000_000, seconds) == "0.25"
    counts = np.array([2**53 + 1, 2**53 + 3])
    assert format_times(counts, Elapsed(1)).tolist() == counts.tolist()
    assert format_time(2**53 + 1, Elapsed(1)) == "9007199254740993"
    # Integers next to a fraction also keep their digits.
    micro = np.array([(2**53 + 1) * 1000, (2**53 + 2) * 1000 + 500])
    assert format_each_time(micro, Elapsed(1000)) == [2**53 + 1, 2**53 + 2.5]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "shift_jis"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_block_size_does_not_change_decoded_text(encoding: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "時刻,流量\r\n2024-01-01,1\r\n2024-01-02,2\r"
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", size)
    content = io.BytesIO(text.encode(encoding))
    found = lines_module.decode_file(content, "x", encoding)
    assert "".join(found) == "時刻,流量\n2024-01-01,1\n2024-01-02,2\n"


@pytest.mark.parametrize("name", ["base64", "idna", "utf-7", "raw_unicode_escape", "cp037", "undefined", "x", "", "\0"])
def test_encoding_option_rejects_codecs_that_are_not_text(name: str) -> None:
    with pytest.raises(ConfigError, match="--encoding must be a text encoding"):
        Reading(encoding=name)


def test_tables_above_the_column_limit_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited_module, "MAX_COLUMNS", 3)
    parquet.write_table(pyarrow.table({name: [1.0, 2.0] for name in ("a", "b", "c", "d")}), "t.parquet")
    assert read("a,b,c\n1,2,3\n").values.shape == (1, 3)
    with pytest.raises(DataError, match="4 columns; at most 3"):
        read("a,b,c,d\n1,2,3,4\n")
    with pytest.raises(DataError, match="4 columns; at most 3"):
        read_panel(Reading(data="t.parquet"))


@pytest.mark.parametrize(
    ("content", "code", "facts"),
    [
        ("a,b\n" + "1,1.5\n" * 1000 + '"1,000",1\n', Code.CELL_VALUE, ("line 1002", "'1,000'", "str.replace(',', '')")),
        ("x;y\n" + "1;2\n" * 1500 + "5 kg;2\n", Code.CELL_VALUE, ("line 1502, column 'x': '5 kg'",)),
        (GOOD + '2024-01-01 03:00,"4,40\n' + "x,4,40\n" * 40_000, Code.CELL_VALUE, ("line 5", "not closed")),
        (GOOD + '2024-01-01 03:00,"4" m,40\n', Code.CELL_VALUE, ("line 5", "text follows a closing quote")),
        (GOOD + "C" * 3_000_000, Code.FILE_FORMAT, ("line 5",)),
        (GOOD + ",".join("C" * 9 for _ in range(150_000)) + "\nx\n", Code.FILE_FORMAT, ("line 5",)),
    ],
    ids=["thousands", "unit", "unclosed quote", "text after a quote", "long line", "long line that ends"],
)
def test_late_and_long_cells_are_refused(content: str, code: Code, facts: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        read(content)
    assert caught.value.code is code
    assert [fact for fact in facts if fact not in str(caught.value)] == []
    assert len(str(caught.value)) < 700


def test_late_thousands_point_is_refused() -> None:
    """The first rows show small integers only; 1.234 may be 1,234."""
    lines = [f"2024-01-01 {k // 60 % 24:02}:{k % 60:02}:00;{k % 999}" for k in range(1200)]
    table = "\n".join(["t;n", *lines, "2024-02-01 00:00:00;1.234"]) + "\n"
    with pytest.raises(DataError, match=r"'1.234' has a point that .*Add --decimal point.*str\.replace"):
        read(table, freq="rows")
    assert read(table, freq="rows", decimal="point").values[-1, 0] == np.float32(1.234)
    # Another number shows that points separate decimals.
    shown = table + "2024-02-01 00:01:00;12.5\n"
    assert read(shown, freq="rows").values[-2, 0] == np.float32(1.234)


@pytest.mark.parametrize(("heading", "is_time"), cases("time-headings"))
def test_numeric_times_need_a_word_of_the_heading(heading: str, is_time: bool) -> None:
    rows = "".join(f"{1_200_000_000 + 3600 * k},{k % 7}\n" for k in range(50))
    assert (read(f"{heading},a\n{rows}").layout.time == heading) is is_time
