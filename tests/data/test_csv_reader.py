"""The strict CSV reader: accepted files, and the one-line error for each invalid file."""

import bz2
import csv
import gzip
import io
import itertools
import lzma
import os
import pathlib
import socket
import tracemalloc
import types
from collections.abc import Callable

import numpy as np
import pytest
from sampling import sampled

from lstm_ae.arrays import Float64Array
from lstm_ae.data import csv_reader as table_module
from lstm_ae.data import text as lines_module
from lstm_ae.data.csv_reader import read_number_columns
from lstm_ae.errors import DataError

HEAD = "name,day,x,y\n"
GOOD = HEAD + "A,2020-01-01,1,2.5\nB,2020-01-02,-3,4e2\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100)


def read(path: str | os.PathLike[str]) -> Float64Array:
    return read_number_columns(path, ("x", "y"))


def written(folder: pathlib.Path, content: bytes | str, name: str = "t.csv") -> pathlib.Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: str | os.PathLike[str]) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    text = str(caught.value)
    assert text.isprintable(), "the text must be one line without control characters"
    assert len(text) < 700
    return text


def same(values: Float64Array) -> bool:
    return values.dtype == np.float64 and values.tolist() == [[1, 2.5], [-3, 400]]


def tar() -> bytes:
    return b"t.csv".ljust(257, b"1") + b"ustar\x0000" + bytes(247)


# Case name: content, then fragments that the error must contain.
REFUSED: dict[str, tuple[bytes | str, tuple[str, ...]]] = {
    "empty": ("", ("is empty", "x, y")),
    "only a BOM": (b"\xef\xbb\xbf", ("is empty",)),
    "blank lines only": ("\n\n  \n", ("is empty",)),
    "header only": (HEAD, ("has a header and no rows",)),
    "no header": ("A,2020-01-01,1,2\n", ("line 1", "no header", "x,y", "'2020-01-01'")),
    "column missing": ("name,x,z\nA,1,3\n", ("line 1", "lacks y", "'z'")),
    "empty header name": ("name,,x\nA,2,1\n", ("line 1", "lacks y", "''")),
    "duplicate header": ("name,day,x,X ,y\nA,d,1,2,3\n", ("line 1", "'x'", "more than once")),
    "header after blank lines": ("\n\nname,day,x\nA,d,1\n", ("line 3", "lacks y")),
    "png": (PNG, ("a PNG image", "CSV")),
    "jpeg": (b"\xff\xd8\xff\xe0" + PNG, ("a JPEG image",)),
    "excel": (b"PK\x03\x04" + bytes(50), ("Excel",)),
    "parquet": (b"PAR1" + bytes(50), ("Parquet",)),
    "html": ("<!DOCTYPE html><html>404</html>", ("an HTML page",)),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(50), ("zstd",)),
    "tar": (tar(), ("tar archive",)),
    "gzipped tar": (gzip.compress(tar()), ("tar archive",)),
    "gzipped twice": (gzip.compress(gzip.compress(GOOD.encode())), ("compressed twice",)),
    "zeros": (bytes(5000), ("is binary",)),
    "random bytes": (bytes(range(256)) * 8, ("is binary",)),
    "UTF-16 without BOM": (GOOD.encode("utf-16-le"), ("UTF-16",)),
    "latin-1 byte": (GOOD.encode() + "Caf\xe9,d,1,2\n".encode("latin-1"), ("line 4", "0xe9", "UTF-8")),
    "latin-1 after CR": (GOOD.replace("\n", "\r").encode() + b"\xe9", ("line 4", "0xe9")),
    "NUL in a cell": (GOOD + "C,d\0,1,2\n", ("line 4", "NUL")),
    "unclosed quote": (GOOD + 'C,"d,1,2\nD,d,1,2\n', ("line 4", "not closed")),
    "unclosed quote, long": (GOOD + 'C,"d,1,2\n' + "D,d,1,2\n" * 40_000, ("line 4", "not closed")),
    "text after quote": (GOOD + 'C,"d"e,1,2\n', ("line 4", "closing quote")),
    "short row": (GOOD + "C,d,1\n", ("line 4", "3 cells", "has 4")),
    "long row": (GOOD + "C,d,1,2,3\n", ("line 4", "5 cells", "has 4")),
    "long first row": (HEAD + "C,d,1,2,3\nA,d,1,2\n", ("line 2", "5 cells", "has 4")),
    "short row after blanks": (GOOD + "\n \n\nC,d\n", ("line 7", "2 cells")),
    "short row after CR": ((GOOD + "C,d,1\n").replace("\n", "\r"), ("line 4", "3 cells")),
    "row over two lines": (GOOD + '"C\nc",d,1\n', ("line 4", "3 cells")),
    "row after two lines": (GOOD + '"C\nc",d,1,2\nD,d,1\n', ("line 6", "3 cells")),
    "text in a number": (GOOD + "C,d,abc,2\n", ("line 4", "'x'", "'abc'", "not a number")),
    "newline in a number": (GOOD + 'C,d,"1\n2",2\n', ("line 4", "'x'", r"'1\n2'", "not a number")),
    "decimal comma": (GOOD + 'C,d,"45,07",2\n', ("line 4", "'x'", "'45,07'", "decimal comma")),
    "decimal comma, unquoted": (GOOD + "C,d,45,07,2\n", ("line 4", "5 cells", "decimal comma")),
    "thousands": (GOOD + 'C,d,1,"1,000"\n', ("line 4", "'y'", "'1,000'", "thousands")),
    "semicolons": (GOOD.replace(",", ";").replace(".", ","), ("semicolons", "commas")),
    "tabs": (GOOD.replace(",", "\t"), ("tabs",)),
    "inf": (GOOD + "C,d,inf,2\n", ("line 4", "'x'", "infinite")),
    "minus infinity": (GOOD + "C,d,-Infinity,2\n", ("line 4", "infinite")),
    "1e999": (GOOD + "C,d,1e999,2\n", ("line 4", "'x'", "'1e999'", "too large")),
    "5,000 digits": (GOOD + f"C,d,{'9' * 5000},2\n", ("line 4", "too large")),
    "boolean": (GOOD + "C,d,1,True\n", ("line 4", "'y'", "true or false")),
    "underscore": (GOOD + "C,d,1_000,2\n", ("line 4", "'1_000'", "not a number")),
    "other digits": (GOOD + "C,d,\u0661,2\n", ("line 4", "not a number")),
    "hexadecimal": (GOOD + "C,d,0x10,2\n", ("line 4", "not a number")),
    "two signs": (GOOD + "C,d,+-1,2\n", ("line 4", "'+-1'", "not a number")),
    "formula": (GOOD + "C,d,=cmd|' /C calc'!A0,2\n", ("line 4", "not a number")),
    "truncated gzip": (gzip.compress(GOOD.encode() * 50)[:-12], ("cut short",)),
    "truncated bz2": (bz2.compress(GOOD.encode())[:-12], ("cut short",)),
    "truncated xz": (lzma.compress(GOOD.encode())[:-12], ("cut short",)),
    "damaged gzip": (gzip.compress(GOOD.encode())[:-8] + bytes(8), ("damaged",)),
    "gzip with a tail": (gzip.compress(GOOD.encode()) + b"tail", ("damaged",)),
    "long line": (GOOD + "C" * 3_000_000, ("line 4", "longer than")),
    "long line that ends": (GOOD + ",".join("C" * 9 for _ in range(150_000)) + "\nx\n", ("line 4", "longer than")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_csv_is_rejected_with_one_line_error(case: str, tmp_path: pathlib.Path) -> None:
    content, pieces = REFUSED[case]
    path = written(tmp_path, content)
    text = refusal(path)
    for piece in (repr(str(path)), *pieces):
        assert piece in text


def test_paths_that_are_not_regular_files_are_rejected(tmp_path: pathlib.Path) -> None:
    fifo = tmp_path / "fifo.csv"
    os.mkfifo(fifo)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.close()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, piece in (
        (tmp_path / "none.csv", "does not exist"),
        ("", "does not exist"),
        ("a\0b", "cannot be opened"),
        ("x" * 5000, "cannot be opened"),
        (loop, "cannot be opened"),
        (tmp_path, "is a directory"),
        (fifo, "not a regular file"),
        (tmp_path / "s", "not a regular file"),
        ("/dev/zero", "not a regular file"),
    ):
        text = refusal(path)
        assert piece in text
        assert text.count("'") == 2, "the path stands there once, in quotes"


def test_fifo_that_replaces_the_file_is_rejected(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fifo = tmp_path / "fifo.csv"
    os.mkfifo(fifo)
    status = os.stat(written(tmp_path, GOOD))
    monkeypatch.setattr(os, "stat", lambda path: status)
    assert "not a regular file" in refusal(fifo)


def test_file_without_read_permission_is_rejected(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path, GOOD)
    monkeypatch.setattr(os, "open", refuse)
    assert "may not be read" in refusal(path)


def test_disk_read_error_is_reported(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(size: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(lines_module, "decompress", lambda file: types.SimpleNamespace(read=fail))
    assert "Input/output error" in refusal(written(tmp_path, GOOD))


@pytest.mark.parametrize("added", ["C,d,1,2\n", "broken"])
def test_file_changed_during_reading_is_rejected(
    added: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, GOOD)
    places = table_module._locate_columns

    def grow(*args: object) -> list[int]:
        with path.open("a") as file:
            file.write(added)
        return places(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 16)
    monkeypatch.setattr(table_module, "_locate_columns", grow)
    assert "changed while it was read" in refusal(path)


def test_limits_of_lines_and_bytes_are_enforced(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, gzip.compress((HEAD + "A,d,1,2\n" * 1000).encode()))
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(lines_module, "MAX_LINES", 500)
    assert "more than 500 lines" in refusal(path)
    monkeypatch.setattr(lines_module, "MAX_BYTES", 3000)
    assert "more than 3000 bytes" in refusal(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["plain", "gz", "bz2", "xz"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_compressions_line_endings_and_encodings_are_accepted(
    pack: Callable[[bytes], bytes], end: str, encoding: str, tmp_path: pathlib.Path
) -> None:
    assert same(read(written(tmp_path, pack(GOOD.replace("\n", end).encode(encoding)))))
    bad = written(tmp_path, pack((GOOD + "C,d,1,two\n").replace("\n", end).encode(encoding)))
    assert "line 4, column 'y'" in refusal(bad)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_block_size_does_not_change_values_or_line_numbers(
    block: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", block)
    monkeypatch.setattr(table_module, "CHUNK_ROWS", 1)
    text = 'name,day,x,y\r\n"\u00e9,\u2028\x0cz",d,1,2\r\r\nB,d,3,4\n'
    assert read(written(tmp_path, text)).tolist() == [[1, 2], [3, 4]]
    assert "line 5, column 'x'" in refusal(written(tmp_path, text + "C,d,z,5\n"))


@pytest.mark.parametrize(
    "name", ["a b.csv", "a\nb.csv", "-rf.csv", "\u682a\u5f0f.csv", "t.png", os.fsdecode(b"\xff.csv")]
)
def test_unusual_file_names_are_accepted(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert same(read(written(tmp_path, GOOD, name).name))
    assert "header and no rows" in refusal(written(tmp_path, HEAD, name).name)


def test_columns_match_in_any_order_and_case_among_others(tmp_path: pathlib.Path) -> None:
    text = 'Y ,comment, DAY,NAME,"X",\n2.5,"a, b",d,A,1,\n4e2,,d, B ,-3,\n'
    assert same(read(written(tmp_path, text)))


@pytest.mark.parametrize("cell", ["", " ", "NA", "N/A", "null", "None", "nan", "NaN", "-", " - "])
def test_missing_value_markers_become_nan(cell: str, tmp_path: pathlib.Path) -> None:
    table = read(written(tmp_path, GOOD + f"C,d,{cell},5\n"))
    np.testing.assert_array_equal(table[:, 0], [1, -3, np.nan])


def test_number_formats_are_parsed(tmp_path: pathlib.Path) -> None:
    cells = ["1", "-1", "+1", "1.", ".5", "1e20", "1E-3", "-0.0", "9223372036854775808", "1e-400", " 7 ", '"8"']
    table = read(written(tmp_path, HEAD + "".join(f"A,d,{cell},0\n" for cell in cells)))
    assert table[:, 0].tolist() == [1, -1, 1, 1, 0.5, 1e20, 1e-3, 0, 2.0**63, 0, 7, 8]


def test_columns_of_missing_values_become_nan(tmp_path: pathlib.Path) -> None:
    assert np.isnan(read(written(tmp_path, HEAD + "A,d,,\n" * 3))).all()


def test_line_numbers_count_blank_lines_and_lines_in_quotes(tmp_path: pathlib.Path) -> None:
    rows = ["A,d,1,2", '"B\nb",d,1,2', "C,d,1,2"]
    for number, line in enumerate((4, 6, 9)):
        changed = [row.replace("1", "one") if place == number else row for place, row in enumerate(rows)]
        text = refusal(written(tmp_path, "\nname,day,x,y\n\n{}\n \n{}\n\n{}".format(*changed)))
        assert f"t.csv', line {line}, column 'x': 'one'" in text


def test_table_of_1000_columns_is_read(tmp_path: pathlib.Path) -> None:
    names = [f"c{i}" for i in range(1000)]
    rows = [names, *[[str(i)] * 1000 for i in range(5)]]
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    values = read_number_columns(written(tmp_path, buffer.getvalue()), names)
    assert values.shape == (5, 1000)
    assert values[:, 999].tolist() == [0, 1, 2, 3, 4]


def test_chunk_size_does_not_change_values(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, HEAD + "".join(f"S{i % 7},d,{i},\n" for i in range(1003)))
    whole = read(path)
    monkeypatch.setattr(table_module, "CHUNK_ROWS", 10)
    np.testing.assert_array_equal(read(path), whole)
    assert whole[:, 0].tolist() == list(range(1003))


@pytest.mark.slow
def test_line_of_100_mb_is_rejected_with_bounded_memory(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, HEAD.encode() + b"A" * 100_000_000)
    tracemalloc.start()
    assert "line 2: is longer" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


@pytest.mark.slow
def test_sparse_file_of_2_gb_is_rejected(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, GOOD)
    os.truncate(path, 2 << 30)
    # The file is zeros to its end, so reading stops within the first blocks.
    assert "binary" in refusal(path) or "longer than" in refusal(path)


@pytest.mark.parametrize(
    "row",
    sampled((b"A" * 1023 + b"\n", b"\n" * 1024, b"A,d,1,2\n" * 128), slow=(b"A" * 1023 + b"\n",)),
    ids=["wide", "blank", "rows"],
)
def test_gzip_bomb_is_rejected_at_the_limits(
    row: bytes, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The real limits are 4 GiB and 50 million lines; a fortieth keeps this short.
    monkeypatch.setattr(lines_module, "MAX_BYTES", 100 << 20)
    monkeypatch.setattr(lines_module, "MAX_LINES", 1_250_000)
    path = tmp_path / "bomb.csv"
    with gzip.open(path, "wb", 1) as file:
        file.write(HEAD.encode())
        for _ in itertools.repeat(None, 115):
            file.write(row * 1024)
    text = refusal(path)
    assert any(piece in text for piece in ("more than", "line 2: 1 cells"))
