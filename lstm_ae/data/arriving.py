"""A CSV text that is read while it is written: each piece is given on as soon as its last line has come."""

import collections
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from lstm_ae.config import Reading
from lstm_ae.data.cells import CellReader
from lstm_ae.data.columns import Layout
from lstm_ae.data.delimited import Chunk, chunk_by, first_row, understand, with_encoding
from lstm_ae.data.dialect import Row, separator_of
from lstm_ae.data.instants import Times
from lstm_ae.data.lines import decode_blocks
from lstm_ae.data.table import CHUNK, rows_of
from lstm_ae.data.taking import Refuse, raised, taken
from lstm_ae.data.zones import before_them, in_utc
from lstm_ae.errors import DataError

BLOCK = 1 << 16
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")


class Arriving:
    """The lines of a text that comes piece by piece, and how many of them are at hand.

    Args:
        read: returns some bytes as soon as there are any, no more than it is asked for, and none at the end.
        name: how errors call the text.
        encoding: as of `decode_file`.
    """

    def __init__(self, read: Callable[[int], bytes], name: str, encoding: str | None = None) -> None:
        self.encoding, self.blocks = decode_blocks(_blocks(read, name), name, encoding)
        self.lines = collections.deque[str]()
        # Lines up to the last that is not blank: waiting for a row behind that would be waiting for another piece.
        self.held = 0
        self.broken: DataError | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while not self.lines:
            self._take()
        self.held = max(0, self.held - 1)
        return self.lines.popleft()

    def first(self, count: int) -> list[str]:
        """The first lines that are not blank, and those between them, which still come; fewer if there are no more."""
        while sum(bool(line.strip()) for line in self.lines) < count:
            try:
                self._take()
            except StopIteration:
                break
        return list(self.lines)

    def _take(self) -> None:
        self.lines.extend(next(self.blocks))
        self.held = max((place for place, line in enumerate(self.lines, 1) if line.strip()), default=0)

    def at_hand(self, rows: Iterator[Row]) -> list[Row]:
        """The next of the rows made of these lines, one at least, and those that need not be waited for."""
        if self.broken:
            raise self.broken
        found = list(itertools.islice(rows, 1))
        try:
            while found and self.held and len(found) < CHUNK and (row := next(rows, None)):
                found.append(row)
        except DataError as error:
            self.broken = error  # of what comes behind these
        return found


def read_arriving(
    read: Callable[[int], bytes], name: str, config: Reading, refuse: Refuse = raised
) -> tuple[Layout, Iterator[Chunk]]:
    """What a CSV text holds, and its rows as they come, times in UTC.

    How it is written is taken from its header and the first rows that come with it.

    Args:
        read, name: as of `Arriving`.
        config: with the columns of times and values; what it leaves open is found.
        refuse: is told what is wrong with a row that cannot be read; raises it where not given.

    Raises:
        ConfigError, DataError: as `read_delimited` says, at once or with a later piece.
    """
    arriving = Arriving(read, name, config.encoding)
    for _ in itertools.islice(arriving, config.skip_rows):
        pass
    separator = separator_of(arriving.first(1 if config.columns else 2))
    rows = rows_of(arriving, name, separator, config.skip_rows + 1)
    start, header = first_row(rows, name, config)
    sample = arriving.at_hand(rows) if not config.columns or arriving.held else []
    # A row of another width tells nothing, and is refused when its turn comes.
    even = [row for row in sample if len(row[1]) == len(config.columns or header)]
    layout, _, notation = understand(start, header, even or sample, separator, name, config, of_run=True)
    layout = with_encoding(layout, arriving.encoding)
    sample = [(start, header), *sample] if config.columns else sample
    chunk_of, convert = (
        chunk_by(layout, config, name, separator, CellReader(config, name, "line", notation)),
        _to_utc(layout, name, config),
    )
    pieces = itertools.chain([sample], iter(lambda: arriving.at_hand(rows), []))
    found = (taken(piece, lambda part: convert(chunk_of(part)), refuse) for piece in pieces)
    return layout, itertools.chain.from_iterable(found)


def _blocks(read: Callable[[int], bytes], name: str) -> Iterator[bytes]:
    block = read(BLOCK)
    if block.startswith(PACKED):
        raise DataError(f"{name} is compressed. Unpack it on the way, as zcat does")
    while block:
        yield block
        block = read(BLOCK)


def _to_utc(layout: Layout, name: str, config: Reading) -> Callable[[Chunk], Chunk]:
    """What gives one piece after the other in UTC; what was before a piece tells the hour that autumn repeats."""
    before: dict[str, Times] = {}

    def convert(chunk: Chunk) -> Chunk:
        if chunk.times is None or layout.aware or config.zone is None or config.time_zone is None:
            return chunk
        utc, after = np.empty_like(chunk.times), {}
        ids = np.array([""] * len(utc) if chunk.ids is None else chunk.ids)
        for series in np.unique(ids).tolist():
            own = np.flatnonzero(ids == series)
            known = before.get(series, chunk.times[:0])
            local = np.concatenate([known, chunk.times[own]])
            lines = np.concatenate([np.full(len(known), chunk.lines[own[0]], np.int32), chunk.lines[own]])
            converted = in_utc(local, np.zeros(len(local), np.int32), layout, lines, name, "line", config)
            utc[own], after[series] = converted[len(known) :], before_them(local, converted, config.zone)
        before.update(after)
        return chunk._replace(times=utc)

    return convert
