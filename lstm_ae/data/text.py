"""Read the lines of a text file, plain or compressed, block by block."""

import codecs
import contextlib
import gzip
import io
import itertools
import os
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO

from lstm_ae.errors import Code, DataError
from lstm_ae.files import open_regular
from lstm_ae.formatting import quote

BLOCK_BYTES = 1 << 22

MAX_LINE = 1 << 20

MAX_BYTES = 4 << 30

MAX_LINES = 50_000_000

FORMAT_ADVICE = "Pass a CSV file, plain or compressed with gzip"

BINARY_KINDS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"SQLite format 3": "a SQLite database",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ\0": "compressed with xz",
    b"<!DOCTYPE": "an HTML page",
    b"<html": "an HTML page",
}

# First bytes of compressed files. Of these, gzip is read.
GZIP = b"\x1f\x8b"
COMPRESSED = (GZIP, b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")

# Byte order marks and their encodings. The mark of UTF-16-LE is a prefix of that of UTF-32-LE, which comes first.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@contextlib.contextmanager
def open_stable_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file for reading and check that it does not change until it is closed.

    Raises:
        DataError: if the path is not a regular file, cannot be read, or changes while it is open.
    """
    name = quote(path)
    try:
        file = open_regular(path)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{name} does not exist. Check the path", code=Code.FILE_UNREADABLE) from None
    except PermissionError:
        raise DataError(
            f"{name} may not be read by this user. Change its permissions or copy it", code=Code.FILE_UNREADABLE
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name} cannot be opened ({reason}). Check the path", code=Code.FILE_UNREADABLE) from None
    with file:
        before = os.fstat(file.fileno())
        changed = DataError(
            f"{name} changed while it was read. Wait until it is complete, or copy it and use the copy",
            code=Code.FILE_UNREADABLE,
        )
        try:
            yield file
        except DataError:
            if _has_changed(before, file):
                raise changed from None
            raise
        if _has_changed(before, file):
            raise changed


def _has_changed(before: os.stat_result, file: BinaryIO) -> bool:
    after = os.fstat(file.fileno())
    return (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)


def decode_file(file: BinaryIO, name: str, encoding: str | None) -> "TextLines":
    """Return the lines of an open file.

    Args:
        encoding: encoding to read the file with; None for UTF-8, or that of a byte order mark.

    Raises:
        DataError: if the content is binary, in another encoding, has a NUL, is a damaged archive, or exceeds a limit of
            this module; at once or with a later line.
    """
    return TextLines(_limit_lines(decode_blocks(_read_blocks(file, name), name, encoding), name))


class TextLines:
    r"""Lines of a text that is decoded block by block, each ending in ``\n`` except for the last one.

    Args:
        blocks: blocks of complete lines, as from `decode_blocks`.
    """

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks, self._block = blocks, io.StringIO()
        # Number of lines that were taken.
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while not (line := self._block.readline()):
            self._block = io.StringIO(next(self._blocks))
        self.taken += 1
        return line

    def peek(self, count: int) -> list[str]:
        """Return the next lines without taking them; fewer at the end."""
        lines = list(itertools.islice(self, count))
        self._block = io.StringIO("".join(lines) + self._block.read())
        self.taken -= len(lines)
        return lines

    def peek_blocks(self) -> list[str]:
        """Return the lines that were not taken, in blocks, without taking them."""
        blocks = [block for block in (self._block.read(), *self._blocks) if block]
        self._block, self._blocks = io.StringIO(), iter(blocks)
        return blocks

    def take_blocks(self) -> Iterator[str]:
        """Yield the lines that were not taken, in blocks."""
        for block in itertools.chain([self._block.read()], self._blocks):
            if block:
                yield block
                self.taken += count_lines(block)


def count_lines(text: str) -> int:
    """Return the number of lines, the last of which may be incomplete."""
    return text.count("\n") + (not text.endswith("\n"))


def _limit_lines(blocks: Iterator[str], name: str) -> Iterator[str]:
    number = 0
    for block in blocks:
        number += block.count("\n")
        if number > MAX_LINES:
            raise DataError(f"{name} has more than {MAX_LINES} lines. Pass a shorter file", code=Code.FILE_FORMAT)
        yield block


def decode_blocks(blocks: Iterator[bytes], name: str, encoding: str | None) -> Iterator[str]:
    r"""Return the lines that end in each block of bytes, with ``\n`` at the end of each line.

    An incomplete line at the end counts as a line.
    """
    first = b""
    while len(first) < 4 and (block := next(blocks, b"")):  # a byte order mark may span blocks
        first += block
    configured = None if encoding is None else codecs.lookup(encoding).name
    found, size = _detect_encoding(first, name, configured)
    return _decode_lines(itertools.chain([first[size:]], blocks), name, found, configured)


def _decode_lines(blocks: Iterator[bytes], name: str, encoding: str, configured: str | None) -> Iterator[str]:
    decode = codecs.getincrementaldecoder(encoding)().decode
    number, rest = 0, ""
    for block in itertools.chain(blocks, [b""]):
        try:
            text = rest + decode(block, not block)
        except UnicodeError as error:
            # Without the mark, some versions of Python know no byte that is wrong.
            if "BOM" in str(error) or not isinstance(error, UnicodeDecodeError):
                raise DataError(
                    f"{name} has no byte order mark of {encoding}. Pass {encoding}-le or {encoding}-be to --encoding",
                    code=Code.FILE_FORMAT,
                ) from None
            before = _unify_line_ends(rest + error.object[: error.start].decode(encoding, "replace"))
            line, byte = number + before.count("\n") + 1, error.object[error.start]
            raise _decoding_error(f"{name}, line {line}: byte 0x{byte:02x}", encoding, configured) from None
        # A \r at the end of a block may be the first half of a \r\n.
        end = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1)) + 1 if block else len(text)
        found, rest = _unify_line_ends(text[:end]), text[end:]
        if "\0" in found:
            line = number + found.count("\n", 0, found.index("\0")) + 1
            raise DataError(
                f"{name}, line {line}: holds a NUL character. Remove it; text has none", code=Code.FILE_FORMAT
            )
        start = 0
        while len(found) - start > MAX_LINE:
            end = found.rfind("\n", start, start + MAX_LINE + 1)
            if end < 0:
                raise _line_too_long_error(number + found.count("\n", 0, start) + 1, name)
            start = end + 1
        number += found.count("\n")
        if len(rest) > MAX_LINE:
            raise _line_too_long_error(number + 1, name)
        yield found


def _decoding_error(where: str, encoding: str, configured: str | None) -> DataError:
    expected = "UTF-8" if encoding == "utf-8" else encoding
    if configured == "utf-8":
        return DataError(f"{where} is not {expected}. Save the file as UTF-8", code=Code.FILE_FORMAT)
    if configured is not None:
        return DataError(
            f"{where} is not {expected}. Pass another --encoding, or save the file as UTF-8", code=Code.FILE_FORMAT
        )
    return DataError(
        f"{where} is not {expected}. Pass its --encoding, such as cp1252 for Windows in Western Europe, or save the "
        "file as UTF-8",
        code=Code.FILE_FORMAT,
    )


def _detect_encoding(head: bytes, name: str, configured: str | None) -> tuple[str, int]:
    """Return the encoding of a text, found from its first block, and the size of its byte order mark."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            _refuse_binary(head[len(mark) :].decode(encoding, "replace").encode(), name)
            return encoding, len(mark)
    if configured is not None and configured.startswith(("utf-16", "utf-32")):
        return configured, 0
    _refuse_binary(head, name)
    if configured is None:
        return "utf-8", 0
    one_byte = not configured.startswith("utf") and len(bytes(range(256)).decode(configured, "replace")) == 256
    if one_byte and not head.isascii():
        with contextlib.suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder("utf-8")().decode(head)
            # Text in a single-byte encoding is practically never valid UTF-8 by chance.
            raise DataError(f"{name} is UTF-8, not {configured}. Pass --encoding utf-8", code=Code.FILE_FORMAT)
    return configured, 0


def _unify_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _line_too_long_error(line: int, name: str) -> DataError:
    return DataError(
        f"{name}, line {line}: is longer than {MAX_LINE} characters. {FORMAT_ADVICE}, a row on each line",
        code=Code.FILE_FORMAT,
    )


def _read_blocks(file: BinaryIO, name: str) -> Iterator[bytes]:
    total = 0
    try:
        read = decompress(file).read
        while block := read(BLOCK_BYTES):
            total += len(block)
            if total > MAX_BYTES:
                raise DataError(
                    f"{name} holds more than {MAX_BYTES} bytes once unpacked. Pass a smaller file",
                    code=Code.FILE_FORMAT,
                )
            yield block
    except EOFError:
        raise DataError(
            f"{name} is cut short: its compressed data end too early. Copy or download it again",
            code=Code.FILE_UNREADABLE,
        ) from None
    except (OSError, zlib.error) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise DataError(
            f"{name} is damaged or unreadable ({reason}). Copy or download it again", code=Code.FILE_UNREADABLE
        ) from None


def is_compressed(head: bytes) -> bool:
    """Return whether a file with these first bytes is compressed with gzip, bzip2, xz, or zstd."""
    return head.startswith(COMPRESSED)


def decompress(file: IO[bytes]) -> IO[bytes]:
    """Return the content of a file that is open at its start: decompressed from gzip, or the file itself."""
    head = file.read(len(GZIP))
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if head == GZIP else file  # type: ignore[return-value]


def _refuse_binary(block: bytes, name: str) -> None:
    head = block[:1024]
    kind = next((kind for magic, kind in BINARY_KINDS.items() if head.startswith(magic)), "")
    if not kind and is_compressed(head):
        kind = "compressed twice"
    if not kind and b"ustar" in head[257:263]:
        kind = "a tar archive"
    if not kind and len(head) > 1:
        even, odd = (half.count(0) / len(half) for half in (head[::2], head[1::2]))
        if min(even, odd) == 0 and max(even, odd) > 0.4:
            raise DataError(
                f"{name} is UTF-16 text without a byte order mark. Save it as UTF-8, or pass --encoding "
                f"utf-16-{'be' if even else 'le'}",
                code=Code.FILE_FORMAT,
            )
        control = sum(byte < 32 and byte not in b"\t\n\v\f\r" for byte in head) / len(head)
        kind = "binary" if control > 0.1 else ""
    if kind:
        raise DataError(f"{name} is {kind}, not CSV text. {FORMAT_ADVICE}", code=Code.FILE_FORMAT)
