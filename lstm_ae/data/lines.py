"""The lines of a text file, plain or compressed, read block by block and refused early where it is no text.

Nothing here trusts a file's name or size: a FIFO is never waited for, a compressed bomb and an endless line are
stopped by limits, and a file that changes under the reader is refused.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from lstm_ae.errors import DataError

BLOCK = 1 << 20
MAX_LINE = 1 << 20
MAX_BYTES = 4 << 30
MAX_LINES = 50_000_000

EXPECTED = "Give a CSV file of UTF-8 text, plain or compressed with gzip, bzip2 or xz"
KINDS = {
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
    b"<!DOCTYPE": "an HTML page",
    b"<html": "an HTML page",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def shown(text: object) -> str:
    """Foreign text for an error: quoted, control characters escaped, cut to one short piece."""
    quoted = repr(str(text))
    return quoted if len(quoted) <= 200 else quoted[:120] + "..." + quoted[-60:]


@contextlib.contextmanager
def stable_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file for reading; `DataError` where it is none, cannot be read, or changes until it is closed."""
    name = shown(path)
    try:
        # Looking first, because opening some devices already acts on them; without O_NONBLOCK a FIFO would hang.
        _require_regular(os.stat(path), name)
        file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{name} does not exist. Check the path") from None
    except PermissionError:
        raise DataError(f"{name} may not be read by this user. Change its permissions or copy it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name} cannot be opened ({reason}). Check the path") from None
    with file:
        before = os.fstat(file.fileno())
        _require_regular(before, name)
        changed = DataError(f"{name} changed while it was read. Wait until it is complete, or copy it and use the copy")
        try:
            yield file
        except DataError:
            if _changed(before, file):
                raise changed from None
            raise
        if _changed(before, file):
            raise changed


def _require_regular(status: os.stat_result, name: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{name} is a directory. Give a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{name} is not a regular file (a pipe, socket or device). Write its content to a file first")


def _changed(before: os.stat_result, file: BinaryIO) -> bool:
    after = os.fstat(file.fileno())
    return (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)


def lines(file: BinaryIO, name: str) -> Iterator[str]:
    r"""Lines of an open file as text ending in ``\n``, whether they ended in ``\n``, ``\r\n`` or ``\r``.

    Args:
        file: open at its start; compression is known by the first bytes.
        name: how errors call the file.

    Raises:
        DataError: binary content, another encoding, a NUL, a broken archive, or a limit of this module passed.
    """
    number = 0
    for found in lines_of(_blocks(file, name), name):
        number += len(found)
        if number > MAX_LINES:
            raise DataError(f"{name} has more than {MAX_LINES} lines. Give a shorter file")
        yield from found


def lines_of(blocks: Iterable[bytes], name: str) -> Iterator[list[str]]:
    """The lines that end in each block of bytes; what is left at the end is one as well."""
    number, rest = 0, b""
    for block in blocks:
        data = rest + block
        # A \r at the very end may be the first half of a \r\n.
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
        whole, rest = data[:end], data[end:]
        found = _decoded(whole, number, name)
        number += len(found)
        if len(rest) > MAX_LINE:
            raise _too_long(number + 1, name)
        yield found
    yield _decoded(rest, number, name)


def _decoded(data: bytes, number: int, name: str) -> list[str]:
    try:
        found = _split(data.decode())
    except UnicodeDecodeError as error:
        line = number + len(_split(data[: error.start].decode() + "x"))
        raise DataError(
            f"{name}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8. Save the file as UTF-8"
        ) from None
    if b"\0" in data:
        line = number + next(i for i, text in enumerate(found, 1) if "\0" in text)
        raise DataError(f"{name}, line {line}: holds a NUL character. Remove it; text has none")
    if len(data) > MAX_LINE and max(map(len, found)) > MAX_LINE:
        raise _too_long(number + next(i for i, text in enumerate(found, 1) if len(text) > MAX_LINE), name)
    return found


def _split(text: str) -> list[str]:
    # Not str.splitlines: that splits at form feeds and Unicode separators inside cells as well.
    return list(io.StringIO(text, newline=None))


def _too_long(line: int, name: str) -> DataError:
    return DataError(f"{name}, line {line}: is longer than {MAX_LINE} characters. {EXPECTED}, a row on each line")


def _blocks(file: BinaryIO, name: str) -> Iterator[bytes]:
    total = 0
    try:
        read = _reader(file)
        while block := read(BLOCK):
            if not total:
                block = beginning(block, name)
            total += len(block)
            if total > MAX_BYTES:
                raise DataError(f"{name} holds more than {MAX_BYTES} bytes once unpacked. Give a smaller file")
            yield block
    except EOFError:
        raise DataError(f"{name} is cut short: its compressed data end too early. Copy or download it again") from None
    except (OSError, zlib.error, lzma.LZMAError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise DataError(f"{name} is damaged or unreadable ({reason}). Copy or download it again") from None


def _reader(file: BinaryIO) -> Callable[[int], bytes]:
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file).read
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file).read
    if head == b"\xfd7zXZ\0":
        return lzma.LZMAFile(file).read
    return file.read


def beginning(block: bytes, name: str) -> bytes:
    """The first block of a text without its mark of UTF-8; `DataError` where it is no text."""
    _refuse_binary(block, name)
    return block.removeprefix(b"\xef\xbb\xbf")


def _refuse_binary(block: bytes, name: str) -> None:
    head = block[:1024]
    kind = next((kind for magic, kind in KINDS.items() if head.startswith(magic)), "")
    if not kind and head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")):
        kind = "compressed twice"
    if not kind and b"ustar" in head[257:263]:
        kind = "a tar archive"
    if not kind and len(head) > 1:
        zeros = sorted(half.count(0) / len(half) for half in (head[::2], head[1::2]))
        control = sum(byte < 32 and byte not in b"\t\n\v\f\r" for byte in head) / len(head)
        kind = "UTF-16 text" if zeros[0] == 0 and zeros[1] > 0.4 else "binary" if control > 0.1 else ""
    if kind == "UTF-16 text":
        raise DataError(f"{name} is {kind}. Save it as UTF-8")
    if kind:
        raise DataError(f"{name} is {kind}, not CSV text. {EXPECTED}")
