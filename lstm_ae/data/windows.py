"""Series are held once; windows are views cut from them when a batch is needed.

A split knows its rows, which rows may stand in one window (`segment`) and where each window starts. Cutting by
start index instead of storing windows keeps memory flat: a 30-step window at every row would be 30 copies.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.scaling import Scale
from lstm_ae.errors import DataError

Floats = NDArray[np.float32]

# The feature that is the day's open, where a model is told that of the day to forecast.
OPEN_FEATURE = 1
# Rows that are looked at together; numbers, of all samples, that a network is given together.
PIECE_ROWS, MAX_BATCH_NUMBERS = 1 << 20, 1 << 20


class Split(NamedTuple):
    """One part of the data: `train`, `validation` or `test`.

    Args:
        series: `(rows, features)` float32 in the data's own units, in memory or memory-mapped.
        starts: `(samples,)` int64, the first row of every window.
        span: rows that one sample covers: the steps in and, for a forecast, the steps out.
        segment: `(rows,)` int32; a window never joins rows of two segments. None where samples are whole by nature.
        company: `(rows,)` int32, each row's line in the scale table (0 is "unknown"), of its company or, in a table
            with a scale for each, of its series; None without such a table.
        time: `(rows,)` datetime64[D], ascending within a segment; None where rows carry no date.
        label: `(samples,)` int32 class of every window; None without classes.
    """

    series: Floats
    starts: NDArray[np.int64]
    span: int
    segment: NDArray[np.int32] | None = None
    company: NDArray[np.int32] | None = None
    time: NDArray[np.datetime64] | None = None
    label: NDArray[np.int32] | None = None

    @property
    def samples(self) -> int:
        """Number of windows."""
        return len(self.starts)

    @property
    def features(self) -> int:
        """Numbers a row."""
        return int(self.series.shape[1])

    def windows(self, index: Any = slice(None)) -> Floats:
        """Cut the samples `index` selects: `(samples, span, features)`, a copy."""
        rows = self.starts[index][:, None] + np.arange(self.span)
        windows: Floats = self.series[rows]
        return windows

    def companies(self, index: Any = slice(None)) -> NDArray[np.int32] | None:
        """The scale-table line of each selected sample, `(samples,)`; None without such a table."""
        return None if self.company is None else self.company[self.starts[index]]

    def recut(self, span: int, stride: int = 1) -> "Split":
        """The same rows in windows of another length, at every `stride`-th row; labels are left behind."""
        return self._replace(starts=window_starts(self.segment_ids(), span, stride), span=span, label=None)

    def thin(self, most: int) -> "Split":
        """Return at most so many of the windows, evenly spaced."""
        if self.samples <= most:
            return self
        index = np.linspace(0, self.samples - 1, most).astype(np.int64)
        return self._replace(starts=self.starts[index], label=None if self.label is None else self.label[index])

    def segment_ids(self) -> NDArray[np.int32]:
        """The segment of every row; where none is kept, each sample is one."""
        if self.segment is not None:
            return self.segment
        return np.repeat(np.arange(self.samples, dtype=np.int32), self.span)

    def apart(self) -> NDArray[np.int64]:
        """Samples that share no row, as many as fit one after the other: `(some,)` of their numbers.

        Windows start in the order of rows.
        """
        kept, place = [], 0
        while place < self.samples:
            kept.append(place)
            place = int(np.searchsorted(self.starts, self.starts[place] + self.span))
        return np.array(kept, np.int64)

    @property
    def missing(self) -> bool:
        """Whether a value is missing, NaN; looked for piece by piece, since the rows may lie in a large file."""
        return any(
            np.isnan(self.series[start : start + PIECE_ROWS]).any() for start in range(0, len(self.series), PIECE_ROWS)
        )

    def batches(self, size: int = 1024) -> Iterator[slice]:
        """Slices that walk over all samples in order; the last one may be short, none is dropped.

        Of long samples there are fewer than `size` in one.
        """
        size = inference_batch_size(self, size)
        for start in range(0, self.samples, size):
            yield slice(start, min(start + size, self.samples))


def inference_batch_size(split: Split, most: int = 1024) -> int:
    """Samples that a network is given at a time where no gradient is kept: fewer where they are large."""
    return max(1, min(most, MAX_BATCH_NUMBERS // (split.span * split.features)))


class Source(NamedTuple):
    """What was read: told to the reader of every result and kept in the run.

    Args:
        text: one line, for people: which file or generator, how much of it.
        sha256: hash of the values used, so that a run can tell other data from its own.
        licence: of the data.
        notes: lines about what was dropped or is unusual.
        leaky: why results on this split flatter the model; empty when the split is honest.
    """

    text: str
    sha256: str
    licence: str
    notes: tuple[str, ...] = ()
    leaky: str = ""


class KnownOpen(NamedTuple):
    """What is known of a day on its morning: the day, and its open in USD."""

    day: np.datetime64
    price: float


class Data(NamedTuple):
    """Train, validation and test, the scale fitted on train, and where it all came from.

    Args:
        train, validation, test: the splits.
        scale: offsets and ranges, see `Scale`.
        source: provenance.
        symbols: name of every line of the scale table; line 0 is "" (unknown). Empty without such a table.
        feature_names: one name a feature, with its unit in brackets.
        seasons: of each feature, steps after which its values repeat themselves, None where they do not; empty where
            nobody asked.
        classes: name of every class that labels count, where a study does not know them; else empty.
        opens: by company, the day after its rows, where that has opened and the model is told.
    """

    train: Split
    validation: Split
    test: Split
    scale: Scale
    source: Source
    symbols: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ("value",)
    seasons: tuple[int | None, ...] = ()
    classes: tuple[str, ...] = ()
    opens: Mapping[str, KnownOpen] = {}

    @property
    def latest(self) -> Split:
        """The part that figures and examples are drawn from: test, or validation where no row is kept for a test."""
        return self.test if self.test.samples else self.validation

    @property
    def levelled(self) -> "Data":
        """The same with all series at the level and size of all together, see `Scale`; else the data itself."""
        if self.scale.kind != "series":
            return self

        def level(split: Split) -> Split:
            assert split.company is not None
            return split._replace(series=self.scale.levelled(split.series, split.company), company=None)

        train, validation, test = map(level, self[:3])
        return self._replace(train=train, validation=validation, test=test, scale=self.scale.together, symbols=())

    @property
    def usual(self) -> tuple[float, ...]:
        """The scaled means of the training part, feature by feature; empty where they are 0 or each window's own.

        A column without any value has 0.
        """
        if self.scale.kind not in ("fixed", "series"):
            return ()
        series, scale = self.levelled.train.series, self.scale.together
        held = np.maximum((~np.isnan(series)).sum(axis=0), 1)
        means = np.nansum(series, axis=0, dtype=np.float64) / held
        scaled = (means - scale.offset[0]) / scale.range[0]
        return tuple(np.round(scaled, 6).tolist()) if (abs(scaled) > 1e-3).any() else ()

    def recut(self, split: Split, span: int) -> Split:
        """A split of these in windows of another length; where splits share rows, at its own windows' beginnings."""
        again = split.recut(span)
        if self.train.series is not self.test.series or not self.train.samples:
            return again
        return again._replace(starts=np.intersect1d(again.starts, split.starts, assume_unique=True))


def join_training(data: Data) -> Data:
    """Train and validation as one training part. No window crosses from one to the other; the scale stays."""
    one, other = data.train, data.validation
    rows = len(one.series)

    def both(name: str) -> Any:
        parts = [getattr(one, name), getattr(other, name)]
        return None if parts[0] is None else np.concatenate(parts)

    segment = None
    if one.segment is not None and other.segment is not None:
        segment = np.concatenate([one.segment, other.segment + one.segment.max() + 1]).astype(np.int32)
    train = Split(
        both("series"),
        np.concatenate([one.starts, other.starts + rows]),
        one.span,
        segment,
        both("company"),
        both("time"),
        both("label"),
    )
    return data._replace(train=train)


def window_starts(segment: NDArray[np.int32], span: int, stride: int = 1) -> NDArray[np.int64]:
    """First rows of all windows of `span` rows that stay within one segment.

    Rows of a segment must lie side by side. The stride counts from each segment's first row.

    >>> window_starts(np.array([0, 0, 0, 1, 1], np.int32), span=2).tolist()
    [0, 1, 3]
    """
    if span < 1 or stride < 1:
        raise ValueError(f"span and stride must be at least 1. Received: span={span}, stride={stride}")
    rows = len(segment)
    if rows < span:
        return np.empty(0, np.int64)
    first = np.flatnonzero(np.r_[True, segment[1:] != segment[:-1]])
    offset = np.arange(rows) - np.repeat(first, np.diff(np.r_[first, rows]))
    start = np.arange(rows - span + 1, dtype=np.int64)
    whole = segment[start] == segment[start + span - 1]
    starts: NDArray[np.int64] = start[whole & (offset[: len(start)] % stride == 0)]
    return starts


def require_samples(data: Data, hint: str, *, tests: bool = True) -> Data:
    """Raise where a split came out empty, naming it and saying what would help; `tests` says that test is one."""
    for name, split in (("training", data.train), ("validation", data.validation), ("test", data.test)):
        if split.samples == 0 and (tests or split is not data.test):
            raise DataError(f"The {name} part holds no window of {split.span} rows ({data.source.text}). {hint}")
    return data


def hash_arrays(*arrays: NDArray[Any]) -> str:
    """sha256 over the bytes, shapes and types of arrays: equal exactly when all their values are equal."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()
