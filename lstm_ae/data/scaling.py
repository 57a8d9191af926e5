"""Scale between the original units of the data and the inputs of a network.

The same formulas are used here on whole arrays, to create training batches, and in the graph of the saved model
(`lstm_ae.models.scaling`), so that a served model accepts and returns original units. A test compares the two.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, BoolArray, Float32Array, Float64Array
from lstm_ae.artifacts import StoredArray
from lstm_ae.data.panel import Panel
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import format_headings

# Kinds with one line per group, and the name of the model input that selects the line.
GROUPED_KINDS = ("company", "series")
# Rows to convert at a time.
BLOCK_ROWS = 1 << 16


# Distance from the offset of a scale, in ranges, beyond which a value is far from the training values.
FAR_RANGES = 4


class Scale(NamedTuple):
    """Linear scale `scaled = (value - offset) / range` per feature; kind "log" applies it to logarithms.

    Args:
        kind: "fixed" (one offset and range for all rows), "company" (one line per company; line 0, "unknown", uses the
            minimum and range of the window itself), "series" (one line per series; line 0, "unknown", is that of all
            series together), "window" (always the minimum and range of the window), or "log" (one offset and range for
            all rows, of natural logarithms).
        offset: `(lines, features)` float32; one line for "fixed" and "log", none for "window".
        range: like `offset`; never 0.
    """

    kind: Literal["fixed", "company", "series", "window", "log"]
    offset: Annotated[Float32Array, StoredArray("scale_0", np.floating, "lines", "scaled features")]
    range: Annotated[Float32Array, StoredArray("scale_1", np.floating, "lines", "scaled features")]

    def of(self, past: Float32Array, line: NDArray[np.int32] | None = None) -> tuple[Float32Array, Float32Array]:
        """Return the offset and range of each window.

        Args:
            past: `(samples, steps, features)`.
            line: `(samples,)` lines of the scale table.

        Returns:
            Two arrays `(samples, 1, features)`.
        """
        if self.kind in ("fixed", "log"):
            shape = (len(past), 1, past.shape[2])
            return np.broadcast_to(self.offset, shape), np.broadcast_to(self.range, shape)
        if self.kind == "series":
            own = self._lines(np.zeros(len(past), np.int32) if line is None else line)
            return self.offset[own][:, None], self.range[own][:, None]
        low = past.min(axis=1, keepdims=True)
        span = nonzero_ranges(past.max(axis=1, keepdims=True) - low)
        if self.kind == "window" or line is None:
            return low, span
        own = self._lines(line)
        known = (own > 0)[:, None, None]
        return (
            np.where(known, self.offset[own][:, None, :], low),
            np.where(known, self.range[own][:, None, :], span),
        )

    def plain(self, values: Float32Array) -> Float32Array:
        """Return the values on which offset and range are defined: the values or their logarithms."""
        return np.log(values) if self.kind == "log" else values

    def scaled(self, values: Float32Array, past: Float32Array, line: NDArray[np.int32] | None = None) -> Float32Array:
        """Scale values that belong to the given windows.

        Args:
            values: `(samples, any, features)`; may hold only the first features of `past`.
            past: `(samples, steps, features)` windows.
            line: `(samples,)` lines of the scale table.
        """
        offset, span = self.of(past, line)
        features = values.shape[2]
        return (self.plain(values) - offset[..., :features]) / span[..., :features]

    def unscaled(self, scaled: Float32Array, past: Float32Array, line: NDArray[np.int32] | None) -> Float32Array:
        """Return scaled values in their original units; the inverse of `scaled`."""
        offset, span = self.of(past, line)
        features = scaled.shape[2]
        values = offset[..., :features] + scaled * span[..., :features]
        return np.exp(values) if self.kind == "log" else values

    @property
    def common(self) -> "Scale":
        """Scale of the rows that `to_common` returns.

        It is that of all series together, or this scale if series have no scales of their own.
        """
        common = self._replace(kind="fixed", offset=self.offset[:1], range=self.range[:1])
        return common if self.kind == "series" else self

    @property
    def ranged(self) -> bool:
        """Whether one offset and one range describe the training values of all rows."""
        return self.common.kind == "fixed" and not np.array_equal(self.range[0], [1])

    def far(self, values: Array) -> BoolArray:
        """Return which values are far outside the training range, `(rows, features)`.

        By Chebyshev's inequality, at most 1/16 of any values are four standard deviations or more from their mean. No
        training value is more than one range from the minimum.

        Args:
            values: `(rows, features)` values at the common level, see `to_common`.
        """
        far: BoolArray = np.abs(values - self.offset[0]) > FAR_RANGES * self.range[0]
        return far

    def to_common(self, rows: Float32Array, line: NDArray[np.int32]) -> Float32Array:
        """Return rows converted from the offset and range of their series to those of all series together.

        Their scaled values stay the same. Nothing changes if series have no scales of their own.

        Args:
            rows: `(rows, features)`.
            line: `(rows,)` lines of the scale table.
        """
        return self._moved(rows, line, back=False)

    def from_common(self, rows: Float32Array, line: NDArray[np.int32]) -> Float32Array:
        """Return leveled rows in their original units; the inverse of `to_common`."""
        return self._moved(rows, line, back=True)

    @np.errstate(over="ignore")
    def _moved(self, rows: Float32Array, line: NDArray[np.int32], *, back: bool) -> Float32Array:
        if self.kind != "series":
            return rows
        span, offset = self.range.astype(np.float64), self.offset.astype(np.float64)
        factor = span / span[0] if back else span[0] / span
        shift = offset - offset[0] * factor if back else offset[0] - offset * factor
        line, moved = self._lines(line), np.array(rows, np.float32)
        for start in range(0, len(rows), BLOCK_ROWS):
            place = slice(start, start + BLOCK_ROWS)
            # Rows with the common scale stay bit-identical.
            own = (line[place] > 0)[:, None]
            moved[place] = np.where(own, rows[place] * factor[line[place]] + shift[line[place]], rows[place])
        return moved

    def _lines(self, line: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the lines, with 0 for those that the table does not have."""
        return np.where((line > 0) & (line < len(self.offset)), line, 0)


def fixed_scale(offset: float = 0.0, range: float = 1.0) -> Scale:
    """Return a scale with one offset and one range for every feature and sample."""
    return Scale("fixed", np.full((1, 1), offset, np.float32), np.full((1, 1), range, np.float32))


def window_scale(features: int) -> Scale:
    """Return a scale that uses the minimum and range of each window."""
    return Scale("window", np.empty((0, features), np.float32), np.empty((0, features), np.float32))


def fit_scale(
    kind: str, values: Float32Array, *, line: NDArray[np.int32] | None = None, lines: int = 1, min_count: int = 1
) -> Scale:
    """Return the scale of a table, fitted on its training rows without NaN.

    Args:
        kind: "standard", "minmax", "series", "window", or "none".
        values: `(rows, features)`, the training rows; every column holds a value unless the scale is not fitted.
        line: `(rows,)` lines of a scale per series, see `series_scale`; None for the other kinds.
        lines: number of these lines.
        min_count: number of values that a column of a series must have for a scale of its own.
    """
    if kind == "none":
        return fixed_scale()
    if kind == "window":
        return window_scale(values.shape[1])
    low: Array
    if kind == "minmax":
        low, width = np.nanmin(values, axis=0), np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
    else:
        low = np.asarray(np.nanmean(values, axis=0, dtype=np.float64))
        # NumPy squares in the precision of the values, which very large or small ones exceed.
        exponent = np.frexp(np.nanmax(np.abs(values), axis=0))[1]
        width = np.nanstd(np.ldexp(values, -exponent), axis=0, dtype=np.float64) * np.exp2(exponent, dtype=np.float64)
    common = Scale("fixed", low[None].astype(np.float32), nonzero_ranges(width[None].astype(np.float32)))
    return common if line is None else series_scale(values, line, lines, common, min_count)


def company_scale(series: Float32Array, line: NDArray[np.int32], lines: int) -> Scale:
    """Return a scale with the minimum and range of each line, like one scikit-learn `MinMaxScaler` per company.

    Args:
        series: `(rows, features)`, only the training rows unless the results are reported as leaky.
        line: `(rows,)` lines from 1 to `lines`.
        lines: number of lines; the table has one more, 0, which is never read.
    """
    low = np.full((lines + 1, series.shape[1]), np.inf, np.float32)
    high = np.full((lines + 1, series.shape[1]), -np.inf, np.float32)
    np.minimum.at(low, line, series)
    np.maximum.at(high, line, series)
    present = np.isfinite(low)
    low = np.where(present, low, np.float32(0))
    return Scale("company", low, nonzero_ranges(np.where(present, high - low, np.float32(1))))


def series_scale(series: Float32Array, line: NDArray[np.int32], lines: int, common: Scale, min_count: int) -> Scale:
    """Return a scale with the mean and standard deviation of each series, ignoring NaN.

    Line 0 is that of all series together. A column with too few values in a series uses line 0. A column that is
    constant in a series, at float32 precision, uses the standard deviation of line 0, because a range of 1 would be
    arbitrary in these units.

    Args:
        series: `(rows, features)`, the training rows only.
        line: `(rows,)` lines; 0 for rows of series without a line.
        lines: number of lines, including line 0.
        common: scale of all rows.
        min_count: number of values that a column of a series must have.
    """

    def summed(values: Array) -> Float64Array:
        return np.stack([np.bincount(line, column, lines) for column in values.T], axis=1)

    present = ~np.isnan(series)
    count = summed(present)
    mean = summed(np.where(present, series, 0)) / np.maximum(count, 1)
    squares = summed(np.square(np.where(present, series - mean[line], 0)))
    width = np.sqrt(squares / np.maximum(count, 1))
    own = (count >= min_count) & (np.arange(lines) > 0)[:, None]
    varies = own & (width > np.finfo(np.float32).eps * abs(mean))
    offset, span = np.where(own, mean, common.offset), np.where(varies, width, common.range)
    return Scale("series", offset.astype(np.float32), nonzero_ranges(span.astype(np.float32)))


def log_scale(series: Float32Array, segment: NDArray[np.int32], *, volume: bool) -> Scale:
    """Return a scale of logarithms in units of the standard deviation of their changes, so that a change is about 1.

    All prices share the mean and range of the first feature, so the difference of two scaled prices is the scaled
    logarithm of their ratio.

    Args:
        series: `(rows, features)`, all positive: the training rows only.
        segment: `(rows,)`; a change is the difference between consecutive rows of a segment.
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


def nonzero_ranges(range: Float32Array) -> Float32Array:
    """Return the ranges with 0 (a constant series) replaced by 1, so that scaled constants stay 0.

    >>> nonzero_ranges(np.array([0, 2], np.float32)).tolist()
    [1.0, 2.0]
    """
    return np.where(range > 0, range, np.float32(1)).astype(np.float32)


def find_scale_lines(names: Sequence[str], ids: Sequence[str]) -> NDArray[np.int32]:
    """Return the index in `names` of each series, `(ids,)` int32; 0 for a series that has none."""
    places = {name: line for line, name in enumerate(names) if line}
    return np.array([places.get(name, 0) for name in ids], np.int32)


class SeriesScales(NamedTuple):
    """Scale and the names of the series that have a line in it.

    With one scale per series, code that works on rows of a single scale works on all series once they are at a common
    level: their scaled values, and so all errors, stay the same.

    Args:
        names: name of every line, the first "" (unknown); empty if series have no scales of their own.
    """

    scale: Scale
    names: Sequence[str] = ()

    def lines(self, panel: Panel) -> NDArray[np.int32]:
        """Return the scale line of each row, `(rows,)` int32; series are matched by name.

        Raises:
            DataError: if the number of names and of scale lines differ.
        """
        if self.scale.kind == "series" and len(self.names) != len(self.scale.offset):
            raise DataError(
                f"The run names {len(self.names)} series and its scale has {len(self.scale.offset)}, so its "
                "config.json is damaged; restore it, or train a new run",
                code=Code.RUN_DAMAGED,
            )
        return find_scale_lines(self.names, panel.ids)[panel.series]

    def to_common(self, panel: Panel) -> Panel:
        """Return the panel with all series at the common level; unchanged if series have no scales of their own."""
        return panel._replace(values=self.scale.to_common(panel.values, self.lines(panel)))

    def from_common(self, panel: Panel, rows: Float32Array) -> Float32Array:
        """Return leveled rows of a panel in their original units."""
        return self.scale.from_common(rows, self.lines(panel))


def describe_unknown_series(names: Sequence[str], ids: Sequence[str]) -> str:
    """Return a description of the series without a scale of their own; "" if there are none."""
    known = set(names[1:])
    without = [name for name in ids if name not in known] if names else []
    if not without:
        return ""
    return (
        f"{len(without):,} of {len(ids):,} series have too few values in the training split for a scale of their own "
        "and use the common scale, so results for them are unreliable: "
        f"{format_headings(without)}"
    )
