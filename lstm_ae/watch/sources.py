"""Sources of rows for `lstmae watch`: growing and rotated files, and standard input.

A source is read by position: `read` returns the records after a cursor and the cursor after them. A watcher stores the
cursor together with everything that follows from the records, so that a killed process continues at the same record.
"""

import abc
import codecs
import contextlib
import dataclasses
import datetime
import glob
import hashlib
import logging
import os
import re
import select
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lstm_ae.config import Reading
from lstm_ae.config.options import Options, option
from lstm_ae.data.csv_reader import infer_separator, read_names, split_rows
from lstm_ae.data.text import MAX_LINE, is_compressed
from lstm_ae.errors import Code, DataError
from lstm_ae.files import open_regular, parse_json
from lstm_ae.formatting import format_count, quote
from lstm_ae.json_types import JsonMapping

LOG = logging.getLogger(__name__)

# Largest number of records of a batch, and of bytes that it is cut from. A line fits into a block.
BATCH_RECORDS, BLOCK_BYTES = 5_000, 2 * MAX_LINE

# Seconds by which the time of a row may lie in the future.
AHEAD = 86_400.0

# Number of first bytes that identify a file after it was renamed or copied.
HEAD_BYTES = 1024

# End of the name of a rotated file.
ROTATED_SUFFIX = re.compile(r"[.-]\d[\dT.-]*")

# The texts of a row's cells by column; "" for a missing value.
Record = Mapping[str, str]


def line_error(name: str, line: int, problem: str, code: Code = Code.FILE_FORMAT) -> DataError:
    """Return the error of a record at a line of its source, or with a number if the source has no lines."""
    return DataError(f"{name}, line {line}: {problem}", code=code)


class Batch(NamedTuple):
    """A batch of records of a source.

    Args:
        records: the records in the order of their arrival.
        lines: line of each record in its file, or its number.
        refused: errors of records that cannot be read.
        cursor: position after these records, in JSON types.
        more: whether further records can be read without waiting.
        ended: whether no record will follow.
        name: file of the records; "" for a source without files.
    """

    records: Sequence[Record] = ()
    lines: Sequence[int] = ()
    refused: Sequence[DataError] = ()
    cursor: JsonMapping | None = None
    more: bool = False
    ended: bool = False
    name: str = ""


class RowSource(abc.ABC):
    """A source of rows that arrive over time.

    Args:
        name: name in messages, without any secret.
        plain: whether numbers have a decimal point, regardless of the notation in the table of the run.
    """

    name: str
    plain: bool = False

    @abc.abstractmethod
    def read(self, cursor: JsonMapping | None) -> Batch:
        """Return the records after a cursor that can be read without waiting.

        Args:
            cursor: position that an earlier batch had; None for the beginning.

        Raises:
            OSError, DataError: the source cannot be read now. The watcher reports it and tries again later.
        """

    def check(self) -> Batch:
        """Return the first records without an effect on a watch that runs.

        Raises:
            OSError, DataError: the source cannot be read.
        """
        batch = self.read(None)
        while batch.more and not batch.records and not batch.refused:
            batch = self.read(batch.cursor)
        return batch

    def close(self) -> None:  # noqa: B027
        """Release connections; called once at the end."""


class BufferedSource(RowSource):
    """A source that cannot be read at an earlier position. A batch is returned again until the watch has stored it.

    The cursor identifies a batch.
    """

    def __init__(self) -> None:
        # The last batch that was returned.
        self.last: Batch | None = None

    def read(self, cursor: JsonMapping | None) -> Batch:
        """Return the records that have arrived, after those before them are stored."""
        if self.last is not None:
            if cursor != self.last.cursor:
                return self.last  # it could not be stored
            self.stored()
            self.last = None
        batch = self.take()
        if not batch.records and not batch.refused:
            self.stored()
            return batch._replace(cursor=cursor)
        self.last = batch._replace(cursor={"batch": uuid.uuid4().hex})
        return self.last

    @abc.abstractmethod
    def take(self) -> Batch:
        """Return the records that have arrived, without a cursor."""

    def stored(self) -> None:
        """Handle that the watch has stored the last batch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOptions(Options):
    """Options of a source. A subclass is a kind of source, which `kind` names in a file."""

    @property
    def exclusive(self) -> str:
        """Return the resource that only one monitor can use; "" if several monitors can read the source."""
        return ""

    def open(self, reading: Reading) -> RowSource:
        """Return the source.

        Args:
            reading: the settings with which the run reads tables.

        Raises:
            ConfigError: an option does not fit the machine or the run, or a package or a secret is missing.
        """
        raise NotImplementedError


def run_columns(reading: Reading) -> tuple[str, ...]:
    """Return the columns of each record that a run reads.

    >>> run_columns(Reading(time_col="time", id_col=("pump",), value_cols=("flow", "pressure")))
    ('time', 'pump', 'flow', 'pressure')
    """
    times = [] if reading.time_col is None else [reading.time_col]
    return tuple(dict.fromkeys([*times, *reading.id_col, *reading.value_cols]))


def time_cells(time: int, reading: Reading) -> dict[str, str]:
    """Return the cell of a time, in a notation that every run can read, by its column.

    Args:
        time: nanoseconds since 1970.
        reading: the settings with which the run reads tables.

    >>> time_cells(1_704_067_200_500_000_000, Reading(time_col="time"))
    {'time': '2024-01-01T00:00:00.500000+00:00'}
    """
    assert reading.time_col
    moment = datetime.datetime.fromtimestamp(time // 10**9, datetime.UTC)
    moment = moment.replace(microsecond=time % 10**9 // 1000)
    return {reading.time_col: moment.isoformat()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class File(SourceOptions):
    """A growing file, which may be rotated."""

    path: str = option("", "File.", required=True)
    format: str | None = option(
        None,
        "Format of a line (default: jsonl for names that end in .jsonl or .ndjson, else csv).",
        choices=("csv", "jsonl"),
    )
    start: str = option("end", "Rows to begin with on the first start.", choices=("beginning", "end"))

    def open(self, reading: Reading) -> RowSource:
        """Return the files."""
        return FileSource(self, reading)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stdin(SourceOptions):
    """Standard input, which cannot be read again after a kill."""

    exclusive = "standard input"

    format: str = option("csv", "Format of a line.", choices=("csv", "jsonl"))

    def open(self, reading: Reading) -> RowSource:
        """Return standard input."""
        return StreamSource(self.format, reading)


class LineFormat(NamedTuple):
    """The format of the lines of a text.

    Args:
        names: column of each cell; empty for JSON, whose lines name their columns.
        separator: between cells.
        start: number of lines above the first record.
        comment: beginning of the lines to skip; None for no such lines.
    """

    names: tuple[str, ...] = ()
    separator: str = ","
    start: int = 0
    comment: str | None = None

    def record(self, line: str, number: int, name: str) -> Record:
        """Return the record of a line; raise `DataError` if the line is no record."""
        if "\0" in line:
            raise line_error(name, number, "holds a NUL character. Remove it; text has none")
        if not self.names:
            return read_json_record(line, number, name)
        cells = next(split_rows([line], name, self.separator, number), (number, []))[1]
        if len(cells) != len(self.names):
            counts = f"{format_count(len(cells), 'cell')} where the header has {len(self.names)}"
            raise line_error(name, number, f"{counts}. Write one row per line", Code.TABLE_HEADER)
        return dict(zip(self.names, cells, strict=True))


def read_json_record(text: str | bytes, number: int, name: str) -> Record:
    """Return the record of a JSON object; raise `DataError` if the text is not one.

    >>> read_json_record('{"time": "2024-01-01", "flow": 1.5, "level": null}', 1, "pump.jsonl")
    {'time': '2024-01-01', 'flow': '1.5', 'level': ''}
    """
    try:
        record = parse_json(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:
        raise line_error(name, number, f"not JSON ({str(error)[:100]}). Write one object per row") from None
    if not isinstance(record, dict):
        raise line_error(name, number, "not a JSON object. Write one object per row")
    # The representation of a list, an object, or a truth value is refused later, because it is no number.
    return {
        key: "" if value is None else value if isinstance(value, str) else repr(value) for key, value in record.items()
    }


class LineReader:
    """A reader of lines that infers their format from the first lines.

    Args:
        kind: "csv" or "jsonl".
        reading: the settings with which the run reads tables.
    """

    def __init__(self, kind: str, reading: Reading) -> None:
        self.kind, self.reading, self.plain = kind, reading, kind == "jsonl"
        # Lines are separated by the byte of a line feed, which excludes wide encodings.
        self.encoding = codecs.lookup(reading.encoding or "utf-8").name.removesuffix("-sig")

    def infer(self, lines: Sequence[bytes], name: str) -> LineFormat | None:
        """Return the format of a text by its first lines; None if more lines are needed.

        `read` refuses lines that are too long, and lines below the header that are not in the encoding.

        Args:
            lines: complete lines at the beginning of the text.
            name: the text in errors.

        Raises:
            DataError: there is no header, or the header is not in the encoding.
        """
        if self.plain:
            return LineFormat()
        skipped, comment = self.reading.skip_rows, self.reading.comment
        lines = [b"" if len(line) > MAX_LINE else line for line in lines]
        texts = [line.decode(self.encoding, "replace").removesuffix("\r") for line in lines]
        texts[:1] = [text.removeprefix("\ufeff") for text in texts[:1]]
        rows = [(number, text) for number, text in enumerate(texts, 1) if number > skipped and text.strip()]
        rows = [(number, text) for number, text in rows if not (comment and text.startswith(comment))]
        if len(rows) < 2 - bool(self.reading.columns):
            return None
        separator = infer_separator([f"{text}\n" for _, text in rows[:50]])
        names = self.reading.columns
        start = rows[0][0] - bool(names)
        if not names:
            cells = [next(split_rows([text], name, separator, number), (number, [])) for number, text in rows[:2]]
            names = read_names(cells, self.reading, name, "run")
        for number, line in enumerate(lines[:start], 1):
            self._decode(line, number, name)
        return LineFormat(names, separator, start, comment)

    def _decode(self, line: bytes, number: int, name: str) -> str:
        try:
            text = line.decode(self.encoding)
        except UnicodeDecodeError as error:
            problem = f"byte 0x{line[error.start]:02x} is not {self.encoding}. Set encoding in [monitors.reading]"
            raise line_error(name, number, problem) from None
        return text.removeprefix("\ufeff") if number == 1 else text

    def read(
        self, lines: Sequence[bytes], before: int, form: LineFormat, name: str
    ) -> tuple[list[Record], list[int], list[DataError]]:
        """Return the records of lines, the line of each, and the errors of the other lines.

        Args:
            lines: lines without line feeds.
            before: number of lines before them.
            form: their format.
            name: the text in errors.
        """
        records, numbers, errors = [], [], []
        comment = form.comment.encode(self.encoding) if form.comment else None
        for number, line in enumerate(lines, before + 1):
            if len(line) > MAX_LINE:
                errors.append(_too_long(name, number))
                continue
            if number <= form.start or not line.strip() or (comment and line.startswith(comment)):
                continue
            try:
                records.append(form.record(self._decode(line.removesuffix(b"\r"), number, name), number, name))
                numbers.append(number)
            except DataError as error:
                errors.append(error)
        return records, numbers, errors


def _too_long(name: str, number: int) -> DataError:
    return line_error(name, number, f"is longer than {MAX_LINE} bytes. Write one row per line")


class FileSource(RowSource):
    """A growing file with its rotated predecessors.

    The cursor identifies a file by the hash of its first bytes and of the bytes before the position. A renamed or
    copied file is therefore continued, and a new file of the same name is read from its first line. The last line of
    the newest file is complete when a line feed follows.

    Args:
        options: the options of the source.
        reading: the settings with which the run reads tables.
    """

    def __init__(self, options: File, reading: Reading) -> None:
        self.path, self.options, self.reading = Path(options.path), options, reading
        self.name = str(self.path)
        kind = "jsonl" if self.path.suffix.lower() in (".jsonl", ".ndjson") else "csv"
        self.reader = LineReader(options.format or kind, reading)
        self.plain = self.reader.plain
        # The inode and the format of the file that was read last.
        self.form: tuple[int, LineFormat] | None = None
        # The last cursor whose file does not exist any more, to warn once.
        self.lost: JsonMapping | None = None
        # Whether to begin at the end of the last file. All rows of a file that is created later are new.
        self.skips = options.start == "end"

    def check(self) -> Batch:
        """Return the first records, regardless of the option `start`."""
        return RowSource.check(FileSource(dataclasses.replace(self.options, start="beginning"), self.reading))

    def read(self, cursor: JsonMapping | None) -> Batch:
        """Return the next complete lines. The cursor moves to a later file with the first line read from it."""
        files = self._files()
        if not files:
            self.skips = self.skips and cursor is not None
            raise DataError(f"There is no file {self.name!r}. Check the path", code=Code.FILE_UNREADABLE)
        if cursor is None:
            return self._begin(files)
        continues, remaining = self._files_from(files, cursor)
        for number, (path, inode) in enumerate(remaining):
            following = number + 1 < len(remaining)
            start = cursor if continues and not number else None
            with _open_file(path, inode) as file:
                if start is not None and not _matches(file, start):
                    raise FileNotFoundError(f"{path} was replaced while it was read")
                batch = self._read_file(file, path, start, following)
            if batch.cursor != start:
                return batch._replace(more=batch.more or following)
        return Batch(cursor=cursor)

    def _begin(self, files: Sequence[tuple[Path, int]]) -> Batch:
        """Return the first cursor, which is in the newest file."""
        path, inode = files[-1]
        with _open_file(path, inode) as file:
            cursor = _find_end(file, path) if self.skips else _file_cursor(file, path, 0, 0, False)
        return Batch(cursor=cursor, more=True)

    def _read_file(self, file: BinaryIO, path: Path, start: JsonMapping | None, following: bool) -> Batch:
        """Return the next complete lines of a file.

        Args:
            file, path: the file.
            start: position in the file; None for its beginning.
            following: whether there is a later file, so that no process appends to this one.
        """
        offset, line, skip = (int(start["offset"]), int(start["line"]), bool(start["skip"])) if start else (0, 0, False)
        inode = os.fstat(file.fileno()).st_ino
        if not offset or self.form is None or self.form[0] != inode:
            form = self._infer_format(file, path, following)
            if form is None:  # the first lines are not complete
                return Batch(cursor=start)
            self.form = inode, form
        form = self.form[1]
        lines, partial, at_end = _read_block(file, offset, following)
        errors: list[DataError] = []
        if skip and lines:
            offset, line, skip = offset + len(lines.pop(0)) + 1, line + 1, False
        elif not lines and len(partial) > MAX_LINE:
            if not skip:
                errors.append(_too_long(str(path), line + 1))
            offset, skip = offset + len(partial), True
        batch = lines[: BATCH_RECORDS + form.start]
        records, numbers, line_errors = self.reader.read(batch, line, form, str(path))
        offset = min(offset + sum(map(len, batch)) + len(batch), os.fstat(file.fileno()).st_size)
        # The cursor stays until there is a row, or the beginning of a line that is too long.
        is_above_rows = line + len(batch) == form.start and not skip and len(partial) <= MAX_LINE
        cursor = start if is_above_rows else _file_cursor(file, path, offset, line + len(batch), skip)
        return Batch(
            records, numbers, [*errors, *line_errors], cursor, len(batch) < len(lines) or not at_end, name=str(path)
        )

    def _infer_format(self, file: BinaryIO, path: Path, following: bool) -> LineFormat | None:
        """Return the format of a file; None if its first lines are not complete."""
        lines, partial, at_end = _read_block(file, 0, following)
        if is_compressed(lines[0] if lines else partial):
            raise DataError(f"{quote(path)} is compressed. Decompress it", code=Code.FILE_FORMAT)
        form = self.reader.infer(lines[: self.reading.skip_rows + 50], str(path))
        if form is None and not at_end:
            raise DataError(
                f"{path}: no header and row in the first {BLOCK_BYTES} bytes. Set skip_rows in "
                "[monitors.reading], or move the file away",
                code=Code.TABLE_HEADER,
            )
        return form

    def _files(self) -> list[tuple[Path, int]]:
        """Return the files with their inodes, from the oldest to the newest."""
        # A file that is renamed while the folder is listed can be missing, so list until nothing changes.
        files, previous = self._list_files(), None
        while files != previous:
            files, previous = self._list_files(), files
        return files

    def _list_files(self) -> list[tuple[Path, int]]:
        candidates = self.path.parent.glob(f"{glob.escape(self.path.name)}[.-]*")
        rotated = [path for path in candidates if ROTATED_SUFFIX.fullmatch(path.name.removeprefix(self.path.name))]
        paths = [*sorted(rotated, key=lambda path: path.stat().st_mtime_ns), self.path]
        return [(path, path.stat().st_ino) for path in paths if path.is_file()]

    def _files_from(
        self, files: Sequence[tuple[Path, int]], cursor: JsonMapping
    ) -> tuple[bool, Sequence[tuple[Path, int]]]:
        """Return whether the file of a cursor exists, and the files to read, from the oldest to the newest."""
        matches = [index for index, (path, inode) in enumerate(files) if self._is_file_of(path, inode, cursor)]
        if matches:
            # Of several copies, prefer the one with the same inode, then the one with the same name.
            index = min(
                matches, key=lambda index: (files[index][1] != cursor["inode"], files[index][0].name != cursor["file"])
            )
            return True, files[index:]
        if self.lost != cursor:
            self.lost = cursor
            LOG.warning(
                "%s: %s, which was read up to line %s, does not exist any more. Its later rows are lost",
                self.name,
                cursor["file"],
                cursor["line"],
            )
        # Files that were rotated after this one are complete.
        newer_files = [each for each in files[:-1] if each[0].stat().st_mtime_ns > int(cursor["modified"])]
        return False, [*newer_files, files[-1]]

    def _is_file_of(self, path: Path, inode: int, cursor: JsonMapping) -> bool:
        # A `FileNotFoundError` is not suppressed, because a file that was just renamed may be that of the cursor.
        with contextlib.suppress(PermissionError, DataError), _open_file(path, inode) as file:
            return _matches(file, cursor)
        return False


def _open_file(path: Path, inode: int) -> BinaryIO:
    """Open a file; raise `FileNotFoundError` if it was renamed or replaced after it was found."""
    file = open_regular(path)
    if os.fstat(file.fileno()).st_ino != inode:
        file.close()
        raise FileNotFoundError(f"{path} was replaced while it was read")
    return file


def _read_block(file: BinaryIO, offset: int, following: bool) -> tuple[list[bytes], bytes, bool]:
    """Return the complete lines after a position, the incomplete line after them, and whether the file ends there.

    Args:
        file: the file.
        offset: number of bytes before the position.
        following: whether there is a later file, so that the last line of this one is complete without a line feed.
    """
    file.seek(offset)
    block = file.read(BLOCK_BYTES)
    *lines, partial = block.split(b"\n")
    at_end = len(block) < BLOCK_BYTES
    if at_end and following and partial:
        return [*lines, partial], b"", at_end
    return lines, partial, at_end


def _find_end(file: BinaryIO, path: Path) -> JsonMapping:
    """Return the position after the last complete line of a file."""
    end, line = 0, 0
    while block := file.read(BLOCK_BYTES):
        line += block.count(b"\n")
        if (last := block.rfind(b"\n")) >= 0:
            end = file.tell() - len(block) + last + 1
    return _file_cursor(file, path, end, line, False)


def _file_cursor(file: BinaryIO, path: Path, offset: int, line: int, skip: bool) -> JsonMapping:
    """Return a position in an open file.

    Args:
        file, path: the file.
        offset: number of bytes before the position.
        line: number of lines before the position.
        skip: whether the position is inside a line that is too long.
    """
    status = os.fstat(file.fileno())
    identity = {
        "file": path.name,
        "inode": status.st_ino,
        "modified": status.st_mtime_ns,
        "hash": _hash_around(file, offset),
    }
    return {**identity, "offset": offset, "line": line, "skip": skip}


def _matches(file: BinaryIO, cursor: JsonMapping) -> bool:
    """Return whether a file has the bytes of the file of a cursor at its beginning and before the position."""
    offset = int(cursor["offset"])
    return os.fstat(file.fileno()).st_size >= offset and _hash_around(file, offset) == cursor["hash"]


def _hash_around(file: BinaryIO, offset: int) -> str:
    """Return a hash of the first bytes and those before a position, since files can share a long header."""
    file.seek(0)
    head = file.read(min(HEAD_BYTES, offset))
    file.seek(max(0, offset - HEAD_BYTES))
    return hashlib.sha256(head + file.read(min(HEAD_BYTES, offset))).hexdigest()


class StreamSource(BufferedSource):
    """Lines of standard input as they arrive, until it ends.

    Args:
        kind: "csv" or "jsonl".
        reading: the settings with which the run reads tables.
        number: descriptor of the stream.
    """

    def __init__(self, kind: str, reading: Reading, number: int = 0) -> None:
        super().__init__()
        self.name, self.number, self.reader = "standard input", number, LineReader(kind, reading)
        self.plain = self.reader.plain
        self.form: LineFormat | None = None
        self.lines: list[bytes] = []
        self.partial, self.count, self.ended = b"", 0, False

    def take(self) -> Batch:
        """Return the lines that have arrived."""
        while not self.ended and len(self.lines) < BATCH_RECORDS and select.select([self.number], [], [], 0)[0]:
            block = os.read(self.number, 1 << 16)
            self.ended = not block
            *lines, partial = (self.partial + block).split(b"\n")
            # Memory stays bounded. A line that is too long is refused when it ends.
            self.partial = partial[: MAX_LINE + 1]
            self.lines += lines
            if self.ended and partial:
                self.lines.append(partial)
        self.form = self.form or self.reader.infer(self.lines, self.name)
        if self.form is None:
            return Batch(ended=self.ended)
        lines, self.lines = self.lines[:BATCH_RECORDS], self.lines[BATCH_RECORDS:]
        before, self.count = self.count, self.count + len(lines)
        result = self.reader.read(lines, before, self.form, self.name)
        return Batch(*result, more=bool(self.lines), ended=self.ended and not self.lines)
