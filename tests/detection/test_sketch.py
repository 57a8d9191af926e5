"""The sketch of a detection that the run stores: by hand, and properties of any series."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ae.apply.detect import Detection
from lstm_ae.apply.detection_output import sketch_detection
from lstm_ae.config.reading import TimeStep
from lstm_ae.detection.events import Event
from lstm_ae.detection.sketch import TableSketch, sketch_series, thin_line
from lstm_ae.errors import DataError

NONE = np.empty((0, 2), np.int64)


def test_thinned_line_by_hand() -> None:
    values = np.array([0, 9, 1, 1, 2, 2, 2, -3, 5, 5])
    # Ten rows for four points: the lowest and the highest of two ranges of five rows.
    assert thin_line(values, NONE, 0, 4).tolist() == [0, 1, 7, 8]
    assert thin_line(values, NONE, 0, 10).tolist() == list(range(10))
    # The row of the event and one on either side are kept, and the lowest and the highest of the ten rows.
    assert thin_line(values, np.array([[4, 4]]), 1, 6).tolist() == [1, 3, 4, 5, 7]
    # An event that would take more than half of the points is thinned like the rest.
    assert thin_line(values, np.array([[2, 6]]), 1, 6).tolist() == [0, 1, 4, 7, 8]


@given(
    st.lists(st.one_of(st.just(np.nan), st.floats(-9, 9)), min_size=1, max_size=400),
    st.integers(4, 80),
    st.integers(0, 400),
    st.integers(0, 5),
)
def test_thinned_line_keeps_extremes_and_rows_around_events(
    values: list[float], points: int, event: int, around: int
) -> None:
    array, place = np.array(values), min(event, len(values) - 1)
    kept = thin_line(array, np.array([[place, place]]), around, points)
    assert len(kept) <= max(points, 4)
    assert (np.diff(kept) > 0).all()
    if not np.isnan(array).all():
        assert (np.nanmin(array[kept]), np.nanmax(array[kept])) == (np.nanmin(array), np.nanmax(array))
    if 2 * around + 1 <= points // 2:
        near = range(max(0, place - around), min(len(array), place + around + 1))
        assert set(near) <= set(kept.tolist())


def made(rows: int = 6, points: int = 100) -> TableSketch:
    times = np.arange(rows) * 60_000_000_000
    segment = np.repeat([0, 1], [rows // 2, rows - rows // 2])
    values = np.arange(2.0 * rows).reshape(rows, 2)
    scores = np.where(np.arange(rows) == 1, np.nan, np.arange(rows) / 2)
    one = sketch_series(
        times, segment, values, scores, np.array([[4, 5]]), series="", names=("a", "b"), around=2, points=points
    )
    event = {"start": "x", "score": 2.5, "at": [0, 0]}
    return TableSketch(True, 60_000_000_000, 1.75, "fixed:1.75", (one,), [event])


def test_lines_have_a_gap_between_segments() -> None:
    (one,) = made().series
    assert [line.name for line in one.lines] == ["a", "b", "score"]
    assert (one.lines[0].times / 60e9).tolist() == [0, 1, 2, 3, 3, 4, 5]
    assert [None if v != v else v for v in one.lines[0].values.tolist()] == [0, 2, 4, None, 6, 8, 10]
    assert [None if v != v else v for v in one.lines[2].values.tolist()] == [0, None, 1, None, 1.5, 2, 2.5]
    assert (one.events / 60e9).tolist() == [[4, 5]]
    assert one.rows == 6


def test_sketch_loads_after_saving(tmp_path: Path) -> None:
    path, found = tmp_path / "detection.npz", made()
    found.save(path)
    again = TableSketch.load(path)
    for name in ("dated", "step", "threshold", "rule"):
        assert getattr(again, name) == getattr(found, name)
    assert list(again.events) == list(found.events)
    for one, other in zip(again.series[0].lines, found.series[0].lines, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.times, other.times)
        np.testing.assert_array_equal(one.values, other.values)
    assert again.series[0].events.tolist() == found.series[0].events.tolist()


def test_sketch_file_of_a_long_series_is_small(tmp_path: Path) -> None:
    path = tmp_path / "detection.npz"
    made(200_000, points=10_000).save(path)
    assert path.stat().st_size < 400_000


def test_sketch_keeps_the_series_and_columns_most_involved_in_events() -> None:
    """Four of six series and three of five columns are kept."""
    rows, columns = 60, 5
    owner = np.arange(rows) // 10
    names = [f"column {k}" for k in range(columns)]
    grid = SimpleNamespace(
        times=np.tile(np.arange(10), 6),
        series=owner,
        segment=owner,
        values=np.arange(rows * columns).reshape(rows, columns),
    )
    ids = [f"series {k}" for k in range(6)]
    table = SimpleNamespace(ids=ids, layout=SimpleNamespace(time=None, dated=False, values=names), clock=None)
    # Series 5 has two events, and series 0, 2, 3, and 4 have one each; the last of these is dropped.
    starts = (3, 21, 31, 41, 51, 55)
    events = [Event(k, k + 1, k, 9.0, 0.1, (0.0, 0.5, 0.0, 0.2, 0.3), False, k) for k in starts]
    ours = SimpleNamespace(events=events, scores=np.ones(rows), threshold=SimpleNamespace(value=2.0, rule="fixed:2"))
    found: Any = Detection(SimpleNamespace(grid=grid, table=table, window=4, step=TimeStep()), None, ours, None, {}, {})  # type: ignore[arg-type]
    kept = sketch_detection(found)
    assert [one.series for one in kept.series] == ["series 0", "series 2", "series 3", "series 5"]
    assert [line.name for line in kept.series[3].lines] == ["column 1", "column 3", "column 4", "score"]
    assert kept.series[3].lines[0].values.tolist() == [251 + 5 * k for k in range(10)]
    assert kept.series[3].events.tolist() == [[1, 2], [5, 6]]
    assert [event["at"] for event in kept.events] == [[0, 0], [1, 0], [2, 0], None, [3, 0], [3, 1]]
    assert [kept.events[0][name] for name in ("series", "start")] == ["series 0", "3"]
    assert (kept.dated, kept.step, kept.threshold, kept.rule) == (False, 1, 2.0, "fixed:2")


@pytest.mark.parametrize("content", [b"", b"PK", b"{}"])
def test_damaged_sketch_error_suggests_detecting_again(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "detection.npz"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        TableSketch.load(path)
    assert f"{str(path)!r} cannot be read" in str(error.value)
    assert "lstmae series detect" in str(error.value)


def test_sketch_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "detection.npz"
    np.savez(path, meta=np.frombuffer(b'{"series": [], "more": 1}', np.uint8))
    with pytest.raises(DataError, match="is damaged"):
        TableSketch.load(path)
