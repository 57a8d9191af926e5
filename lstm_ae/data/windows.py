"""Store each series once and cut windows from it when a batch is needed.

A split holds the rows, the segment of each row (a window never crosses segments), and the first row of each window.
Start indices keep memory usage low: storing a window of 30 steps at every row would need 30 copies of the series.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, BoolArray, Float32Array, Int64Array
from lstm_ae.data.columns import Covariates
from lstm_ae.data.panel import Panel, first_rows
from lstm_ae.data.scaling import Scale
from lstm_ae.errors import Code, DataError

# A selection from an array of samples.
SampleIndex = slice | Int64Array | Sequence[int]

# Input values of one batch at inference.
MAX_BATCH_NUMBERS = 1 << 20


class Split(NamedTuple):
    """Windows of one split of a panel: training, validation, or test.

    Its rows may begin with rows of the split before, which are input only.

    Args:
        series: `(rows, features)` float32 in the original units.
        starts: `(samples,)` int64, the first row of every window.
        span: rows per sample: the input steps and, for a forecast, the output steps.
        segment: `(rows,)` int32; a window never joins rows of two segments. None if each sample is a segment.
        line: `(rows,)` int32, the line of the row's series in the scale table (0 is "unknown"); None without such a
            table.
        time: `(rows,)` datetime64, ascending within a segment; None if rows have no date.
        label: `(samples,)` int32 class of every window: that of its last input row, or for models of normal behavior 1
            if the window holds a labeled anomaly. None without classes.
        group: `(rows,)` number of the series of each row; None if each segment is a series.
    """

    series: Float32Array
    starts: Int64Array
    span: int
    segment: NDArray[np.int32] | None = None
    line: NDArray[np.int32] | None = None
    time: NDArray[np.datetime64] | None = None
    label: NDArray[np.int32] | None = None
    group: Array | None = None

    @property
    def samples(self) -> int:
        """Number of windows."""
        return len(self.starts)

    @property
    def features(self) -> int:
        """Number of values per row."""
        return int(self.series.shape[1])

    def rows(self, index: SampleIndex = slice(None), steps: SampleIndex = slice(None)) -> Int64Array:
        """Return the rows of samples, `(samples, steps)` int64, of all or of the selected samples and steps."""
        rows: Int64Array = self.starts[index][:, None] + np.arange(self.span)[steps]
        return rows

    def windows(self, index: SampleIndex = slice(None)) -> Float32Array:
        """Return the selected samples as a copy.

        Args:
            index: anything that selects from an array of samples.

        Returns:
            `(samples, span, features)` float32.
        """
        windows: Float32Array = self.series[self.rows(index)]
        return windows

    def lines(self, index: SampleIndex = slice(None)) -> NDArray[np.int32] | None:
        """Return the scale-table line of each selected sample, `(samples,)`, or None without such a table."""
        return None if self.line is None else self.line[self.starts[index]]

    def times(self, steps: SampleIndex = slice(None)) -> Array:
        """Return the times of all or some steps of each sample, or row numbers without times.

        Args:
            steps: anything that selects from the steps of a sample.

        Returns:
            `(samples, steps)` datetime64, or int64 row numbers.
        """
        rows = self.rows(steps=steps)
        return rows if self.time is None else self.time[rows]

    @property
    def days(self) -> NDArray[np.datetime64]:
        """Day of each row of each sample, `(samples, span)` datetime64[D]; the rows must have dates."""
        return self.times().astype("datetime64[D]")

    def moments(self, steps: int) -> Array:
        """Return the time of each forecast, rounded down to the sampling interval.

        Forecasts of two series within the same interval thus share a time.

        Args:
            steps: input steps of a sample, of which the last one is the row before the forecast.

        Returns:
            `(samples,)` since 1970 in the unit of the times, or row numbers without times.
        """
        last = self.starts + steps - 1
        if self.time is None or not self.samples:
            return last
        time = self.time.astype(np.int64)
        moments = time[last]
        step = max(int((time[last + 1] - moments).min()), 1)
        rounded: Array = moments - (moments - moments.min()) % step
        return rounded

    def recut(self, span: int, stride: int = 1) -> "Split":
        """Return the same rows cut into windows of another length, at every `stride`-th row, without labels."""
        return self._replace(starts=window_starts(self.segment_ids(), span, stride), span=span, label=None)

    def select(self, index: SampleIndex | BoolArray) -> "Split":
        """Return the split with the selected windows only."""
        return self._replace(starts=self.starts[index], label=None if self.label is None else self.label[index])

    def thin(self, max_windows: int) -> "Split":
        """Return the split with at most `max_windows` windows, evenly spaced."""
        return self if self.samples <= max_windows else self.select(evenly_spaced(self.samples, max_windows))

    def without_anomalies(self) -> "Split":
        """Return the split of a model of normal behavior without the windows that hold a labeled anomaly."""
        return self if self.label is None else self.select(self.label != 1)

    def segment_ids(self) -> NDArray[np.int32]:
        """Return the segment of every row, `(rows,)` int32; each sample is one if the split holds no segments."""
        if self.segment is not None:
            return self.segment
        return np.repeat(np.arange(self.samples, dtype=np.int32), self.span)

    def disjoint_samples(self) -> Int64Array:
        """Return the indices of samples that share no row, `(disjoint samples,)` int64.

        The first sample is one of them, and each next one is the first that starts after the end of the one before. The
        windows must be sorted by their first row.
        """
        disjoint, sample = [], 0
        while sample < self.samples:
            disjoint.append(sample)
            sample = int(np.searchsorted(self.starts, self.starts[sample] + self.span))
        return np.array(disjoint, np.int64)

    @property
    def missing(self) -> bool:
        """True if any value is missing (NaN)."""
        return bool(np.isnan(self.series).any())

    def batches(self, size: int = 1024) -> Iterator[slice]:
        """Yield slices that cover all samples in order; the last one may be shorter.

        Batches of large samples are smaller than `size`, see `inference_batch_size`.
        """
        size = inference_batch_size(self, size)
        for start in range(0, self.samples, size):
            yield slice(start, min(start + size, self.samples))


def inference_batch_size(split: Split, size: int = 1024) -> int:
    """Return the number of samples per batch at inference: `size`, or fewer if samples are large."""
    return max(1, min(size, MAX_BATCH_NUMBERS // (split.span * split.features)))


class Source(NamedTuple):
    """Description of the data, which is shown with every result and stored in the run.

    Args:
        text: one line with the file or generator and the amount of data.
        sha256: hash of the values used, which identifies the data of a run.
        license: license of the data.
        notes: lines about dropped or unusual values.
        leaky: reason why results on this split are optimistic; empty if they are not.
    """

    text: str
    sha256: str
    license: str
    notes: tuple[str, ...] = ()
    leaky: str = ""


class Data(NamedTuple):
    """Training, validation, and test splits, with their scale and provenance.

    Args:
        train, validation, test: the splits.
        scale: offsets and ranges fitted on the training split, see `Scale`.
        source: provenance.
        symbols: name of every line of the scale table; line 0 is "" (unknown). Empty without such a table.
        feature_names: one name per feature, with its unit in parentheses.
        covariates: numbers of the features that are not forecast.
        seasons: season of each forecast feature in steps, None for one without; empty if seasons were not searched for.
        classes: name of every class if the labels are indices of them; empty if the study defines the classes itself.
        clock: time zone in which times are shown; None if they were written without a time zone.
        separate: the data before training and validation were joined, see `join_training`; None if they were not.
    """

    train: Split
    validation: Split
    test: Split
    scale: Scale
    source: Source
    symbols: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ("value",)
    covariates: Covariates = Covariates()
    seasons: tuple[int | None, ...] = ()
    classes: tuple[str, ...] = ()
    clock: tzinfo | None = None
    separate: "Data | None" = None

    def annotate(self, *notes: str, leaky: Sequence[str] = ()) -> "Data":
        """Return the data with further notes, and further reasons why results are optimistic, ignoring empty ones."""
        source = self.source
        why = "; ".join(filter(None, (source.leaky, *leaky)))
        return self._replace(source=source._replace(notes=(*source.notes, *notes), leaky=why))

    @property
    def targets(self) -> int:
        """Number of the features that a forecaster forecasts, which are first."""
        return self.train.features - sum(self.covariates)

    @property
    def latest(self) -> Split:
        """Split for plots and examples: test, or validation if no rows are reserved for a test."""
        return self.test if self.test.samples else self.validation

    def series_names(self, split: Split) -> list[str]:
        """Return the name of the line of the scale table of each sample of a split."""
        assert split.line is not None
        return [self.symbols[line] for line in split.line[split.starts]]

    @property
    def in_common_scale(self) -> "Data":
        """Data with every series at the level and scale of all series together, see `Scale.to_common`.

        The data itself if it has no scale per series.
        """
        if self.scale.kind != "series":
            return self

        def level(split: Split) -> Split:
            assert split.line is not None
            return split._replace(series=self.scale.to_common(split.series, split.line), line=None)

        train, validation, test = map(level, self[:3])
        return self._replace(train=train, validation=validation, test=test, scale=self.scale.common, symbols=())

    @property
    def scaled_means(self) -> tuple[float, ...]:
        """Scaled mean of each training feature; empty if all are about 0.

        It is also empty for scales other than "fixed" and "series". A column without any value has the mean 0 before
        scaling.
        """
        if self.scale.kind not in ("fixed", "series"):
            return ()
        series, scale = self.in_common_scale.train.series, self.scale.common
        counts = np.maximum((~np.isnan(series)).sum(axis=0), 1)
        means = np.nansum(series, axis=0, dtype=np.float64) / counts
        scaled = (means - scale.offset[0]) / scale.range[0]
        return tuple(np.round(scaled, 6).tolist()) if (abs(scaled) > 1e-3).any() else ()

    def recut(self, split: Split, span: int) -> Split:
        """Return a split of this data cut into windows of another length; the split itself if it has that length.

        If the splits share their rows, the result keeps only windows that start where a window of the split starts.
        """
        if split.span == span:
            return split
        again = split.recut(span)
        if self.train.series is not self.test.series or not self.train.samples:
            return again
        return again._replace(starts=np.intersect1d(again.starts, split.starts, assume_unique=True))


def join_training(data: Data) -> Data:
    """Return the data with training and validation joined into one training split.

    No window crosses from one to the other. The scale is unchanged. What is selected on the validation split must be
    selected on `separate`, since the joined training split contains it.
    """
    first, second = data.train, data.validation
    rows = len(first.series)

    def both(name: str) -> Any:
        arrays = [getattr(first, name), getattr(second, name)]
        return None if arrays[0] is None else np.concatenate(arrays)

    segment = None
    if first.segment is not None and second.segment is not None:
        segment = np.concatenate([first.segment, second.segment + first.segment.max() + 1]).astype(np.int32)
    joined = {name: both(name) for name in ("series", "line", "time", "label", "group")}
    train = first._replace(starts=np.concatenate([first.starts, second.starts + rows]), segment=segment, **joined)
    return data._replace(train=train, separate=data)


def evenly_spaced(count: int, max_count: int) -> Int64Array:
    """Return at most `max_count` evenly spaced indices of `count` items, the first and last included.

    >>> evenly_spaced(9, 3).tolist(), evenly_spaced(2, 3).tolist()
    ([0, 4, 8], [0, 1])
    """
    if count <= max_count:
        return np.arange(count)
    return np.linspace(0, count - 1, max_count).astype(np.int64)


def window_starts(segment: NDArray[np.int32], span: int, stride: int = 1) -> Int64Array:
    """Return the first rows of all windows of `span` rows that lie within one segment.

    The rows of a segment must be contiguous. The stride counts from the first row of each segment.

    >>> window_starts(np.array([0, 0, 0, 1, 1], np.int32), span=2).tolist()
    [0, 1, 3]
    """
    if span < 1 or stride < 1:
        raise ValueError(f"span and stride must be at least 1. Received: span={span}, stride={stride}")
    count = max(len(segment) - span + 1, 0)
    offset = np.arange(count) - first_rows(segment)[:count]
    return np.flatnonzero((segment[:count] == segment[span - 1 :]) & (offset % stride == 0))


def cut_panel(panel: Panel, span: int, stride: int = 1) -> Split:
    """Return the windows of a panel that hold a value, at every `stride`-th row of each segment."""
    starts = window_starts(panel.segment, span, stride)
    # A window without any value holds no information.
    observed = np.r_[0, np.cumsum(panel.is_observed)]
    starts = starts[observed[starts + span] > observed[starts]]
    times = panel.axis(panel.times) if panel.layout.dated else None
    return Split(panel.values, starts, span, panel.segment, time=times, group=panel.series)


def require_samples(data: Data, hint: str, *, tests: bool = True) -> Data:
    """Return the data if no split is empty.

    Args:
        hint: advice that ends the error message.
        tests: whether the test split must hold windows too.

    Raises:
        DataError: if a split has no windows.
    """
    for name, split in (("training", data.train), ("validation", data.validation), ("test", data.test)):
        if split.samples == 0 and (tests or split is not data.test):
            raise DataError(
                f"The {name} split holds no window of {split.span} rows ({data.source.text}). {hint}",
                code=Code.TOO_FEW_ROWS,
            )
    return data


def hash_arrays(*arrays: Array) -> str:
    """Return the SHA-256 hash of the bytes, shapes, and dtypes of the arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()


def hash_panel(panel: Panel) -> str:
    """Return the SHA-256 hash of all rows, with the names of the series and of the columns."""
    names = np.frombuffer("\n".join((*panel.ids, *panel.layout.values)).encode(), np.uint8)
    return hash_arrays(names, panel.series, panel.times, panel.values)
