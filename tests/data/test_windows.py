"""Windows: their starts, their contents, and hashes of data, with hand-computed values."""

import numpy as np
import pytest

from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split, evenly_spaced, hash_arrays, require_samples, window_starts
from lstm_ae.errors import DataError


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@pytest.mark.parametrize(
    ("segment", "span", "stride", "starts"),
    [
        # One segment of five rows: the last window of three starts at row 2.
        (ids(0, 0, 0, 0, 0), 3, 1, [0, 1, 2]),
        (ids(0, 0, 0, 0, 0), 5, 1, [0]),
        (ids(0, 0, 0, 0, 0), 6, 1, []),
        # No window joins two segments, even if a segment number occurs again later.
        (ids(7, 7, 7, 2, 2, 2, 2), 3, 1, [0, 3, 4]),
        (ids(1, 1, 2, 1, 1), 2, 1, [0, 3]),
        # The stride counts from the first row of each segment: 0 and 2, then 4 and 6.
        (ids(0, 0, 0, 0, 1, 1, 1, 1), 2, 2, [0, 2, 4, 6]),
        (ids(), 2, 1, []),
    ],
)
def test_window_starts_stay_in_segments_and_follow_stride(
    segment: np.ndarray, span: int, stride: int, starts: list[int]
) -> None:
    found = window_starts(segment, span, stride)
    assert found.tolist() == starts
    assert found.dtype == np.int64


@pytest.mark.parametrize(("span", "stride"), [(0, 1), (1, 0)])
def test_window_starts_rejects_span_or_stride_below_one(span: int, stride: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1. Received: span={span}, stride={stride}"):
        window_starts(ids(0, 0), span, stride)


def two_companies() -> Split:
    series = np.array([[10, 0], [11, 1], [12, 2], [50, 3], [51, 4]], np.float32)
    segment = ids(1, 1, 1, 2, 2)
    days = np.array("2020-01-01", "datetime64[D]") + np.array([0, 1, 2, 0, 1])
    return Split(series, window_starts(segment, 2), 2, segment, line=ids(1, 1, 1, 2, 2), time=days)


def test_split_returns_the_requested_windows_and_lines() -> None:
    split = two_companies()
    assert (split.samples, split.features) == (3, 2)
    assert split.windows().tolist() == [[[10, 0], [11, 1]], [[11, 1], [12, 2]], [[50, 3], [51, 4]]]
    assert split.windows(slice(1, 2)).tolist() == [[[11, 1], [12, 2]]]
    assert split.windows([2, 0])[:, 0, 0].tolist() == [50, 10]
    assert split.lines().tolist() == [1, 1, 2]
    assert split.lines([2]).tolist() == [2]
    assert split._replace(line=None).lines() is None


def test_recut_respects_segments_and_drops_labels() -> None:
    split = two_companies()._replace(label=np.array([0, 1, 2], np.int32))
    longer = split.recut(3)
    assert longer.windows()[..., 0].tolist() == [[10, 11, 12]]
    assert longer.span == 3
    assert longer.label is None
    assert split.recut(1, stride=2).starts.tolist() == [0, 2, 3]


def test_samples_without_segments_are_their_own_segments() -> None:
    split = Split(np.arange(6, dtype=np.float32)[:, None], np.array([0, 3]), 3)
    assert split.segment_ids().tolist() == [0, 0, 0, 1, 1, 1]
    assert split.recut(2).windows()[..., 0].tolist() == [[0, 1], [1, 2], [3, 4], [4, 5]]


@pytest.mark.parametrize(("size", "lengths"), [(2, [2, 2, 1]), (5, [5]), (7, [5]), (1, [1] * 5)])
def test_batches_contain_every_sample(size: int, lengths: list[int]) -> None:
    split = Split(np.zeros((5, 1), np.float32), np.arange(5), 1)
    batches = list(split.batches(size))
    assert [batch.stop - batch.start for batch in batches] == lengths
    assert np.concatenate([np.arange(5)[batch] for batch in batches]).tolist() == [0, 1, 2, 3, 4]


def test_require_samples_names_the_empty_split() -> None:
    split = two_companies()
    empty = split._replace(starts=np.empty(0, np.int64))
    data = Data(split, empty, split, fixed_scale(), Source("some.csv", "0", "CC0"))
    with pytest.raises(DataError, match=r"The validation split holds no window of 2 rows \(some.csv\)\. Do this"):
        require_samples(data, "Do this")
    full = data._replace(validation=split)
    assert require_samples(full, "") is full


def test_hash_arrays_depends_on_values_shapes_and_types() -> None:
    array = np.arange(6, dtype=np.float32)
    others = [array + 1, array.reshape(2, 3), array.astype(np.int32)]
    hashes = [hash_arrays(array), *map(hash_arrays, others), hash_arrays(array[:3], array[3:])]
    assert len(set(hashes)) == len(hashes)
    # A strided view has the hash of its values.
    assert hash_arrays(np.repeat(array, 2)[::2]) == hashes[0]


def test_evenly_spaced_indices_are_unique_and_include_both_ends():
    assert evenly_spaced(0, 5).tolist() == []
    assert evenly_spaced(1, 5).tolist() == [0]
    assert evenly_spaced(5, 5).tolist() == [0, 1, 2, 3, 4]
    found = evenly_spaced(1000, 7)
    assert (found[0], found[-1], len(found)) == (0, 999, 7)
    assert np.ptp(np.diff(found)) <= 1


def test_moments_of_forecasts_group_series_and_separate_months() -> None:
    """Two series have one row per minute, one second apart."""
    minutes = 60 * np.arange(20) + 59
    time = np.concatenate([minutes, minutes + 1]).astype("datetime64[s]").astype("datetime64[ns]")
    starts = np.r_[np.arange(17), 20 + np.arange(17)]
    split = Split(np.zeros((40, 1), np.float32), starts, 4, time=time)
    moments = split.moments(3)
    assert moments[:17].tolist() == moments[17:].tolist() == time[2:19].astype(np.int64).tolist()
    assert split._replace(time=None).moments(3).tolist() == (starts + 2).tolist()
    # A fixed step of 30 days from July on would merge February and March.
    months = np.arange("2023-07", "2024-09", dtype="datetime64[M]").astype("datetime64[ns]")
    monthly = Split(np.zeros((14, 1), np.float32), np.arange(12), 3, time=months)
    assert len(np.unique(monthly.moments(2))) == 12
