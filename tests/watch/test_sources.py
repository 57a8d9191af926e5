"""Sources: growing, rotated, truncated, and half-written files; folders; standard input."""

import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lstm_ae.config import Reading
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.watch.sources import BATCH_RECORDS, File, RowSource, StreamSource

LIVE = Path("live.csv")


def opened(path: str = "live.csv", reading: Any = None, start: str = "beginning", **options: Any) -> RowSource:
    return File(path=path, start=start, **options).open(Reading(**reading or {}))


class Reader:
    """Read a source, with a new object for each read, as after a kill."""

    def __init__(self, path: str = "live.csv", **options: Any) -> None:
        self.path, self.options, self.cursor = path, options, None

    def read(self) -> list[str]:
        """Return the values of all records that are there."""
        found = []
        while True:
            batch = opened(self.path, **self.options).read(self.cursor)
            self.cursor = batch.cursor
            found += [record["x"] for record in batch.records]
            if not batch.more:
                return found


def append(text: str, path: Path = LIVE) -> None:
    with path.open("a") as file:
        file.write(text)


def rows(first: int, last: int) -> str:
    return "".join(f"{number},{number}.5\n" for number in range(first, last))


def numbers(first: int, last: int) -> list[str]:
    return [f"{number}.5" for number in range(first, last)]


@pytest.mark.parametrize(
    ("text", "reading", "lines"),
    [
        ("title\n\ntime;x\n0;0.5\n1;1.5\n", {"skip_rows": 2}, [4, 5]),
        ("# pump 7\ntime,x\n0,0.5\n# restarted\n1,1.5\n", {"comment": "#"}, [3, 5]),
        ("0,0.5\n\n1,1.5\n", {"columns": ("time", "x")}, [1, 3]),
        ("\ufefftime,x\n0,0.5\n1,1.5\n", {}, [2, 3]),  # as Excel writes
        (f"{'y' * 2**20}y\ntime;x\n0;0.5\n{'y' * 200_000}\n1;1.5\n", {}, [3, 5]),
    ],
    ids=["title", "comments", "no header", "byte order mark", "too long"],
)
def test_other_lines_are_skipped_and_counted(text: str, reading: Any, lines: list[int]) -> None:
    LIVE.write_text(text, encoding="utf-8")
    batch = opened(reading=reading).read(opened(reading=reading).read(None).cursor)
    with LIVE.open("rb") as file:
        stream = StreamSource("csv", Reading(**reading), file.fileno()).read(None)
    for each in (batch, stream):
        assert ([record["x"] for record in each.records], list(each.lines)) == (numbers(0, 2), lines)
        assert len(each.refused) == 2 * text.startswith("y")


def test_missing_header_is_refused_without_the_option_of_a_training() -> None:
    LIVE.write_text("0,0.5\n1,1.5\n")
    with pytest.raises(DataError) as error:
        opened().read(opened().read(None).cursor)
    assert (error.value.code, "--columns" in str(error.value)) == (Code.TABLE_HEADER, False)


def test_long_file_is_read_in_batches() -> None:
    append("time,x\n" + rows(0, 2 * BATCH_RECORDS + 5))
    source = opened()
    batch = source.read(source.read(None).cursor)
    assert (len(batch.records), batch.more) == (BATCH_RECORDS, True)
    assert Reader().read() == numbers(0, 2 * BATCH_RECORDS + 5)


def test_truncated_file_is_read_from_its_beginning(caplog: Any) -> None:
    reader = Reader()
    append("time,x\n" + rows(0, 5))
    reader.read()
    LIVE.write_text("time,x\n" + rows(5, 7))
    assert reader.read() == numbers(5, 7)
    assert "live.csv, which was read up to line 6, does not exist any more" in caplog.text


def test_other_files_beside_the_source_are_not_read() -> None:
    reader = Reader()
    append("time,x\n" + rows(0, 2))
    append("time,x\n" + rows(0, 9), Path("live.csv.backup"))
    Path("live.csv.3.gz").write_bytes(b"\x1f\x8b\x08rest")
    assert reader.read() == numbers(0, 2)
    LIVE.rename("live.csv.1")
    append("time,x\n" + rows(2, 3))
    assert reader.read() == numbers(2, 3)


def test_source_that_starts_at_the_end_reads_later_rows() -> None:
    assert File(path="live.csv").start == "end"
    append("time,x\n" + rows(0, 5) + "5,")
    reader = Reader(start="end")
    assert reader.read() == []
    append("5.5\n")
    assert reader.read() == numbers(5, 6)


def test_file_that_is_created_after_the_start_is_read_from_its_first_row() -> None:
    source = opened(start="end")
    with pytest.raises(DataError, match="There is no file"):
        source.read(None)
    append("time,x\n" + rows(0, 2))
    assert [record["x"] for record in source.read(source.read(None).cursor).records] == numbers(0, 2)


def test_check_reads_rows_before_the_end_at_which_the_watch_begins() -> None:
    append("time,x\n" + rows(0, 2))
    source = opened(start="end")
    assert [record["x"] for record in source.check().records] == numbers(0, 2)
    assert not source.read(source.read(None).cursor).records


def test_line_that_is_too_long_is_skipped_in_bounded_memory() -> None:
    append("time,x\n" + rows(0, 1) + "y" * 5_000_000)
    reader, source, refused = Reader(), opened(), 0
    for text in ("y" * 3_000_000, "y" * 10 + "\n" + rows(1, 2)):
        while True:
            batch = source.read(reader.cursor)
            refused += len(batch.refused)
            moved, reader.cursor = batch.cursor != reader.cursor, batch.cursor
            if not moved and not batch.records:
                break
            assert len(batch.records) <= 1
        append(text)
    assert reader.read() == numbers(1, 2)
    assert refused == 1


def test_encoding_of_the_run_is_used_and_wide_encodings_are_refused() -> None:
    LIVE.write_bytes("time,x,Tür\n0,0.5,1\n".encode("cp1252"))
    source = opened(reading={"encoding": "cp1252"})
    batch = source.read(source.read(None).cursor)
    assert batch.records == [{"time": "0", "x": "0.5", "Tür": "1"}]
    with pytest.raises(ConfigError, match="--encoding must be"):
        opened(reading={"encoding": "utf-16"})


def test_file_that_is_renamed_while_it_is_read_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file has its name when it is opened."""
    from lstm_ae.watch import sources

    reader, find, renamed = Reader(), sources.FileSource._files_from, list[str]()
    append("time,x\n" + rows(0, 2))
    assert reader.read() == numbers(0, 2)
    append(rows(2, 4))

    def find_and_rename(*arguments: Any) -> Any:
        found = find(*arguments)
        if len(renamed) < 2:
            renamed.append(f"live.csv.{len(renamed)}")
            LIVE.rename(renamed[-1])
            append("time,x\n" + rows(2 * len(renamed) + 2, 2 * len(renamed) + 4))
        return found

    monkeypatch.setattr(sources.FileSource, "_files_from", find_and_rename)
    with pytest.raises(FileNotFoundError):  # the watch tries again
        reader.read()
    assert reader.read() == numbers(2, 8)


@settings(max_examples=30)
@example(["read", "rotate", "read", "write", "read"], ".")
@example(["write", "read", "write", "copy", "write", "copy", "write", "read"], "-2024010")
@given(st.lists(st.sampled_from(["write", "half", "rotate", "copy", "read"]), max_size=25), st.sampled_from(".-"))
def test_any_order_of_writes_and_rotations_returns_each_row_once(steps: list[str], suffix: str) -> None:
    folder = Path(tempfile.mkdtemp(dir="."))
    live, count, half = folder / "live.csv", 1, False
    live.write_text("time,x\n" + rows(0, 1))
    reader = Reader(str(live))
    read = reader.read()
    for moment, step in enumerate(steps, 1):
        if step == "write" or (step == "half" and not half):
            append(("" if half else f"{count},{count}") + (".5\n" if step == "write" else ""), live)
            half = step == "half"
            count += not half
        elif step in ("rotate", "copy") and not half:
            rotated = folder / f"live.csv{suffix}{moment}"
            if step == "rotate":
                live.rename(rotated)
            else:
                shutil.copy(live, rotated)
                os.truncate(live, 0)
            os.utime(rotated, (moment, moment))
            append("time,x\n", live)
        elif step == "read":
            read += reader.read()
    append(".5\n" if half else f"{count},{count}.5\n", live)
    assert read + reader.read() == numbers(0, count + 1)


@pytest.mark.parametrize("line", [2, 30, 80])
def test_line_in_another_encoding_is_refused_wherever_it_is(line: int) -> None:
    """Also among the lines that the format is inferred from, and in a column that the run does not read."""
    lines = [f"{number},{number}.5,ok\n".encode() for number in range(100)]
    lines[line - 2] = lines[line - 2].replace(b"ok", b"20 \xb0C")
    LIVE.write_bytes(b"time,x,note\n" + b"".join(lines))
    batch = opened().read(opened().read(None).cursor)
    assert [record["x"] for record in batch.records] == [f"{n}.5" for n in range(100) if n != line - 2]
    assert [str(error).split(":")[0] for error in batch.refused] == [f"live.csv, line {line}"]
    LIVE.write_bytes(b"time,x,\xb0C\n" + b"".join(lines))
    with pytest.raises(DataError, match=r"live.csv, line 1"):
        opened().read(opened().read(None).cursor)


def test_files_that_were_rotated_after_a_lost_one_are_read() -> None:
    """Two rotations while no row is read, of which the first file is then compressed."""
    reader = Reader()
    append("time,x\n" + rows(0, 2))
    os.utime(LIVE, ns=(10**9, 10**9))
    assert reader.read() == numbers(0, 2)
    append("time,x\n" + rows(50, 60), Path("live.csv.3"))
    os.utime("live.csv.3", ns=(10**8, 10**8))
    Path("live.csv.2.gz").write_bytes(gzip.compress(LIVE.read_bytes()))
    append("time,x\n" + rows(2, 4), Path("live.csv.1"))
    os.utime("live.csv.1", ns=(2 * 10**9, 2 * 10**9))
    LIVE.unlink()
    append("time,x\n" + rows(4, 6))
    assert reader.read() == numbers(2, 6)


def test_files_with_the_same_long_header_are_told_apart() -> None:
    """A copied and truncated file may outgrow the position in the former one before it is read."""
    header = "time,x," + ",".join(f"column_{number:04}" for number in range(150)) + "\n"

    def wide(first: int, last: int) -> str:
        return "".join(f"{number},{number}.5{',1' * 150}\n" for number in range(first, last))

    reader = Reader()
    append(header + wide(0, 5))
    assert reader.read() == numbers(0, 5)
    append(wide(5, 8))
    shutil.copy(LIVE, "live.csv.1")
    os.truncate(LIVE, 0)
    append(header + wide(8, 30))
    assert reader.read() == numbers(5, 30)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_standard_input_is_read_until_it_ends(pipe: tuple[int, int]) -> None:
    source = StreamSource("csv", Reading(), pipe[0])
    assert not source.read(None).records
    os.write(pipe[1], b"time,x\n0,0.5\n1,")
    batch = source.read(None)
    assert [record["x"] for record in batch.records] == ["0.5"]
    assert not batch.ended
    os.write(pipe[1], b"1.5\n2,2.5")
    os.close(pipe[1])
    batch = source.read(batch.cursor)
    assert [record["x"] for record in batch.records] == ["1.5", "2.5"]
    assert batch.lines == [3, 4]
    assert batch.ended
