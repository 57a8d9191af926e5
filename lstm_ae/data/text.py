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

# Largest number of characters in a line, and number of bytes to read at a time: a longer line spans several blocks.
MAX_LINE = BLOCK_BYTES = 1 << 20

MAX_BYTES = 4 << 30

FORMAT_ADVICE = "Pass a CSV file, plain or compressed with gzip, or a Parquet file"

GZIP = b"\x1f\x8b"

# First bytes of files compressed with gzip, bzip2, xz, and zstd. Only gzip is decompressed.
COMPRESSIONS = (GZIP, b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")

# First bytes of other files that are often taken for tables: ZIP archives and Excel workbooks, old and new, and HTML.
OTHER_FILES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"<!DOCTYPE", b"<html")

# Largest share of control characters in text.
MAX_CONTROL_SHARE = 0.1


@contextlib.contextmanager
def open_stable_file(
    path: str | os.PathLike[str], max_bytes: int | None = None, advice: str = "Check the path"
) -> Iterator[BinaryIO]:
    """Open a regular file for reading and check that it does not change until it is closed.

    Args:
        max_bytes: largest size in bytes; None for any size.
        advice: remedy in errors.

    Raises:
        DataError: if the path is not a regular file, is larger, cannot be read, or changes while it is open.
    """
    name = quote(path)
    try:
        file = open_regular(path, max_bytes, advice=advice)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        reason = f"cannot be opened ({getattr(error, 'strerror', None) or error})"
        if isinstance(error, FileNotFoundError):
            reason = "does not exist"
        raise DataError(f"{name} {reason}. {advice}", code=Code.FILE_UNREADABLE) from None
    with file:
        before = os.fstat(file.fileno())
        try:
            yield file
        finally:
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise DataError(
                    f"{name} changed while it was read. Wait until it is complete, or copy it and use the copy",
                    code=Code.FILE_UNREADABLE,
                ) from None


def decode_file(file: BinaryIO, name: str, encoding: str | None) -> Iterator[str]:
    r"""Return the lines that end in each block of an open file, with ``\n`` at the end of each line.

    An incomplete line at the end counts as a line.

    Args:
        encoding: encoding to read the file with; None for UTF-8.

    Raises:
        DataError: if the content is binary, has another encoding or a NUL, is a damaged archive, or exceeds a limit of
            this module. The error is raised at once or with a later block.
    """
    blocks = _read_blocks(file, name)
    first = next(blocks, b"")
    detected = _detect_encoding(first, name, encoding)
    return _decode_lines(itertools.chain([first], blocks, [b""]), name, detected)


def count_lines(text: str) -> int:
    """Return the number of lines, the last of which may be incomplete."""
    return text.count("\n") + (not text.endswith("\n"))


def _decode_lines(blocks: Iterator[bytes], name: str, encoding: str) -> Iterator[str]:
    decode = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True).decode
    number, rest = 0, ""
    for block in blocks:
        try:
            text = rest + decode(block, not block)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode(encoding, "replace")
            known = encoding.removesuffix("-sig")
            lines = before.replace("\r\n", "\n").replace("\r", "\n").count("\n")
            raise DataError(
                f"{name}, line {number + lines + 1}: byte 0x{error.object[error.start]:02x} is not {known}. Pass "
                "its --encoding, such as cp1252 for Windows in Western Europe, or save the file as UTF-8",
                code=Code.FILE_FORMAT,
            ) from None
        end = text.rfind("\n") + 1 if block else len(text)
        complete, rest = text[:end], text[end:]
        if "\0" in complete:
            line = number + complete.count("\n", 0, complete.index("\0")) + 1
            raise DataError(
                f"{name}, line {line}: holds a NUL character. Remove it; text has none", code=Code.FILE_FORMAT
            )
        if complete.find("\n") > MAX_LINE or len(rest) > MAX_LINE:
            line = number + 1 + (complete.count("\n") if len(rest) > MAX_LINE else 0)
            raise DataError(
                f"{name}, line {line}: is longer than {MAX_LINE} characters. {FORMAT_ADVICE}, a row on each line",
                code=Code.FILE_FORMAT,
            )
        number += complete.count("\n")
        yield complete


def _detect_encoding(head: bytes, name: str, configured: str | None) -> str:
    """Return the encoding of a text, detected in its first block; it skips a byte order mark."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{name} is UTF-16. Convert it: iconv -f utf-16 -t utf-8", code=Code.FILE_FORMAT)
    _refuse_binary(head, name)
    encoding = "utf-8" if head.startswith(codecs.BOM_UTF8) else codecs.lookup(configured or "utf-8").name
    if encoding == "utf-8":
        return "utf-8-sig"
    one_byte = not encoding.startswith("utf") and len(bytes(range(256)).decode(encoding, "replace")) == 256
    if one_byte and not head.isascii():
        with contextlib.suppress(UnicodeDecodeError):
            # Text in a single-byte encoding is practically never valid UTF-8 by chance, except for an incomplete end.
            codecs.getincrementaldecoder("utf-8")().decode(head)
            raise DataError(f"{name} is UTF-8, not {configured}. Pass --encoding utf-8", code=Code.FILE_FORMAT)
    return encoding


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
    except (EOFError, OSError, zlib.error) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise DataError(
            f"{name} is damaged or unreadable ({reason}). Copy or download it again", code=Code.FILE_UNREADABLE
        ) from None


def is_compressed(head: bytes) -> bool:
    """Return whether a file with these first bytes is compressed with gzip, bzip2, xz, or zstd."""
    return head.startswith(COMPRESSIONS)


def decompress(file: IO[bytes]) -> IO[bytes]:
    """Return the content of a file that is open at its start: decompressed from gzip, or the file itself."""
    head = file.read(len(GZIP))
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if head == GZIP else file  # type: ignore[return-value]


def _refuse_binary(block: bytes, name: str) -> None:
    head = block[:1024]
    control = sum(byte < 32 and byte not in b"\t\n\v\f\r" for byte in head)
    if head.startswith((*COMPRESSIONS, *OTHER_FILES)) or control > MAX_CONTROL_SHARE * len(head):
        raise DataError(
            f"{name} is not text but a workbook, an archive, a web page, binary, or UTF-16 without a byte order mark. "
            f"{FORMAT_ADVICE}, in UTF-8",
            code=Code.FILE_FORMAT,
        )
