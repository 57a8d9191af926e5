"""The scale between the data's own units and the numbers a network trains on.

The same numbers are used twice: here on whole arrays, to cut training batches, and inside the saved model's graph
(`lstm_ae.models.scaling`), so that what is served takes and returns own units. A test holds the two together.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


# Kinds with a line for each of many, and the name of the model's input that tells which.
GROUPED_KINDS = ("company", "series")
# Rows that are moved together.
BLOCK_ROWS = 1 << 16


class Scale(NamedTuple):
    """`scaled = (value - offset) / range`, feature by feature; with "log" of the values' logarithms.

    Args:
        kind: "fixed" (one offset and range for everything), "company" (a line a company; line 0, "unknown", takes
            the minimum and range of the window itself), "series" (a line a series; line 0, "unknown", is of all
            together), "window" (always the window's own) or "log" (one offset and range for everything, of natural
            logarithms).
        offset: `(lines, features)` float32; one line for "fixed" and "log", none for "window".
        range: like `offset`; never 0.
    """

    kind: Literal["fixed", "company", "series", "window", "log"]
    offset: Floats
    range: Floats

    def of(self, past: Floats, company: NDArray[np.int32] | None = None) -> tuple[Floats, Floats]:
        """Offset and range of each window of `past` `(samples, steps, features)`, both `(samples, 1, features)`."""
        if self.kind in ("fixed", "log"):
            shape = (len(past), 1, past.shape[2])
            return np.broadcast_to(self.offset, shape), np.broadcast_to(self.range, shape)
        if self.kind == "series":
            line = self._lines(np.zeros(len(past), np.int32) if company is None else company)
            return self.offset[line][:, None], self.range[line][:, None]
        low = past.min(axis=1, keepdims=True)
        span = nonzero_ranges(past.max(axis=1, keepdims=True) - low)
        if self.kind == "window" or company is None:
            return low, span
        known = ((company > 0) & (company < len(self.offset)))[:, None, None]
        line = np.where(known[:, 0, 0], company, 0)
        return (
            np.where(known, self.offset[line][:, None, :], low),
            np.where(known, self.range[line][:, None, :], span),
        )

    def plain(self, values: Floats) -> Floats:
        """What offset and range are of: the values, or their logarithms."""
        return np.log(values) if self.kind == "log" else values

    def scaled(self, values: Floats, past: Floats, company: NDArray[np.int32] | None = None) -> Floats:
        """Scale values `(samples, any, features)` that belong to windows `past` `(samples, steps, features)`.

        Of the features the first ones alone may be given.
        """
        offset, span = self.of(past, company)
        features = values.shape[2]
        scaled: Floats = (self.plain(values) - offset[..., :features]) / span[..., :features]
        return scaled

    def own(self, scaled: Floats, past: Floats, company: NDArray[np.int32] | None = None) -> Floats:
        """The way back from `scaled`."""
        offset, span = self.of(past, company)
        features = scaled.shape[2]
        values = offset[..., :features] + scaled * span[..., :features]
        return np.exp(values) if self.kind == "log" else values

    @property
    def together(self) -> "Scale":
        """The scale of what `levelled` returns: of all series together; itself where they have none of their own."""
        return Scale("fixed", self.offset[:1], self.range[:1]) if self.kind == "series" else self

    def levelled(self, rows: Floats, line: NDArray[np.int32]) -> Floats:
        """Rows `(rows, features)` of series `(rows,)` as if all had the level and size of all together.

        In scaled values they stay what they are. Nothing changes where series have no scale of their own.
        """
        return self._moved(rows, line, back=False)

    def unlevelled(self, rows: Floats, line: NDArray[np.int32]) -> Floats:
        """The way back from `levelled`."""
        return self._moved(rows, line, back=True)

    @np.errstate(over="ignore")
    def _moved(self, rows: Floats, line: NDArray[np.int32], *, back: bool) -> Floats:
        if self.kind != "series":
            return rows
        span, offset = self.range.astype(np.float64), self.offset.astype(np.float64)
        factor = span / span[0] if back else span[0] / span
        shift = offset - offset[0] * factor if back else offset[0] - offset * factor
        line, moved = self._lines(line), np.array(rows, np.float32)
        for start in range(0, len(rows), BLOCK_ROWS):
            place = slice(start, start + BLOCK_ROWS)
            # What is scaled as all together is left to the last bit.
            own = (line[place] > 0)[:, None]
            moved[place] = np.where(own, rows[place] * factor[line[place]] + shift[line[place]], rows[place])
        return moved

    def _lines(self, line: NDArray[np.int32]) -> NDArray[np.int32]:
        """Lines of the table; 0 for those that it does not have."""
        return np.where((line > 0) & (line < len(self.offset)), line, 0)


def fixed_scale(offset: float = 0.0, range: float = 1.0) -> Scale:
    """One offset and one range for every feature and sample."""
    return Scale("fixed", np.full((1, 1), offset, np.float32), np.full((1, 1), range, np.float32))


def window_scale(features: int) -> Scale:
    """Each window by its own minimum and range."""
    return Scale("window", np.empty((0, features), np.float32), np.empty((0, features), np.float32))


def company_scale(series: Floats, company: NDArray[np.int32], companies: int) -> Scale:
    """Minimum and range of each company's rows (Kaggle's and the report's `MinMaxScaler`, one a company).

    Args:
        series: `(rows, features)`, the training rows only, unless a leaky scale is wanted and named so.
        company: `(rows,)` lines from 1 to `companies`.
        companies: number of companies; the table gets one more line, 0, that is never read.
    """
    low = np.full((companies + 1, series.shape[1]), np.inf, np.float32)
    high = np.full((companies + 1, series.shape[1]), -np.inf, np.float32)
    np.minimum.at(low, company, series)
    np.maximum.at(high, company, series)
    seen = np.isfinite(low)
    low = np.where(seen, low, np.float32(0))
    return Scale("company", low, nonzero_ranges(np.where(seen, high - low, np.float32(1))))


def series_scale(series: Floats, line: NDArray[np.int32], lines: int, together: Scale, fewest: int) -> Scale:
    """Mean and standard deviation of each series' rows, NaN aside; those of all together in line 0.

    A column with few values in a series has those of all together there. One that is constant in it, to the digits of
    32 bits, has the standard deviation of all: beside others in such units, 1 would be any size.

    Args:
        series: `(rows, features)`, the training rows only.
        line: `(rows,)`, 0 for rows of series that have none.
        lines: number of them, line 0 included.
        together: the scale of all rows.
        fewest: values that are enough.
    """

    def summed(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.stack([np.bincount(line, column, lines) for column in values.T], axis=1)

    there = ~np.isnan(series)
    count = summed(there)
    mean = summed(np.where(there, series, 0)) / np.maximum(count, 1)
    squares = summed(np.square(np.where(there, series - mean[line], 0)))
    width = np.sqrt(squares / np.maximum(count, 1))
    own = (count >= fewest) & (np.arange(lines) > 0)[:, None]
    varies = own & (width > np.finfo(np.float32).eps * abs(mean))
    offset, span = np.where(own, mean, together.offset), np.where(varies, width, together.range)
    return Scale("series", offset.astype(np.float32), nonzero_ranges(span.astype(np.float32)))


def log_scale(series: Floats, segment: NDArray[np.int32], *, volume: bool) -> Scale:
    """Logarithms in multiples of a usual change: what a day adds to one is about 1.

    All prices share the first one's mean and range, so that the difference of two scaled prices is their ratio.

    Args:
        series: `(rows, features)`, all above 0: the training rows only.
        segment: `(rows,)`; a change is one from row to row within a segment.
        volume: whether the last feature is a volume, which has a mean and range of its own.
    """
    within = segment[1:] == segment[:-1]
    own = [0, -1] if volume else [0]
    level = np.log(series[:, own], dtype=np.float64)
    change = np.diff(level, axis=0)[within]
    offset, width = level.mean(axis=0), nonzero_ranges(change.std(axis=0).astype(np.float32))
    of = np.zeros(series.shape[1], int)
    of[-1] = len(own) - 1
    return Scale("log", offset[of][None].astype(np.float32), width[of][None])


def nonzero_ranges(range: Floats) -> Floats:
    """Ranges with 0 (a constant series) replaced by 1, so that dividing keeps the series at 0."""
    return np.where(range > 0, range, np.float32(1)).astype(np.float32)


def read_scale(meta: Mapping[str, Any], groups: Mapping[str, Sequence[Any]]) -> Scale:
    """The scale that a file of arrays holds in its group "scale", with its kind beside."""
    return Scale(meta["kind"], *groups["scale"])
