"""Parts of a table have the scores and events of the whole table."""

import itertools
from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import pytest
from detectors import detector_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_ae.apply.detect import detect_prepared
from lstm_ae.apply.detection_output import event_rows
from lstm_ae.apply.partition import (
    PartDetector,
    PartSource,
    find_contexts,
    merge_events,
    scan_part,
    score_part,
)
from lstm_ae.apply.run_table import TableRequest
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.data.parquet import ParquetPart
from lstm_ae.detection import calibration
from lstm_ae.errors import DataError

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet")

MINUTE = np.timedelta64(1, "m")


def part_detector_of(*, online: bool = False, rule: str = "fixed:3", **options: Any) -> PartDetector:
    detector = detector_of(**options)
    normal = detector.normal
    return PartDetector(detector, normal.threshold(parse_threshold(rule), normal.model.select(online=online)), online)


def write(path: str, steps: Sequence[int], values: Any, ids: Sequence[str] | None = None) -> str:
    """Write rows; `steps` are the minutes since the row before."""
    times = np.datetime64("2024-03-01T00:00:00", "us") + np.cumsum(steps) * MINUTE
    columns: dict[str, Any] = {"time": pa.array(times), "value 0": pa.array(values, pa.float32(), from_pandas=True)}
    parquet.write_table(pa.table(columns | ({} if ids is None else {"machine": ids})), path)
    return path


def score_parts(detector: PartDetector, path: str, cuts: Sequence[int]) -> tuple[Any, Any]:
    """Return the scores and errors of all rows, `(rows, 2)`, and the events, of a file that is divided at some rows."""
    bounds = sorted({0, *cuts, parquet.read_metadata(path).num_rows})
    sources = [PartSource(path, ParquetPart(start, stop, {})) for start, stop in itertools.pairwise(bounds)]
    contexts = find_contexts(detector, sources, [scan_part(detector, source) for source in sources])
    scored = [score_part(detector, source, context) for source, context in zip(sources, contexts, strict=True)]
    names = dict.fromkeys(name for part in scored for name in part.pieces)
    events = [
        event
        for name in names
        for event in merge_events(detector, name, [part.pieces[name] for part in scored if name in part.pieces])
    ]
    return np.concatenate([np.c_[part.scores, part.errors] for part in scored]), events


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], list[float], list[int]]:
    """Return the steps and the values of rows, with gaps, missing values and anomalies, and where to divide them."""
    rows = draw(st.integers(2, 60))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 1, 2, 3, 4, 9]), min_size=rows, max_size=rows))
    cell = st.sampled_from([0.0, 0.1, -0.2, 0.3, 0.15, 7.0, -9.0, np.nan])
    values = draw(st.lists(cell, min_size=rows, max_size=rows))
    return steps, values, draw(st.lists(st.integers(1, rows - 1), max_size=6))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("window", "smooth", "online", "short"),
    [(3, 1, False, "drop"), (5, 6, False, "drop"), (4, 3, False, "pad"), (3, 1, True, "drop")],
)
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_parts_equal_the_whole_table(table: Any, window: int, smooth: int, online: bool, short: str) -> None:
    steps, values, cuts = table
    detector = part_detector_of(window=window, smooth=smooth, online=online, short=short, time_col="time")
    path = write("table.parquet", steps, values)
    # Small batches, so that parts have several.
    with mock.patch.object(calibration, "MAX_BATCH", 4):
        whole, events = score_parts(detector, path, ())
        scores, divided = score_parts(detector, path, cuts)
    assert scores.tobytes() == whole.tobytes()
    assert str(divided) == str(events)  # NaN equals NaN
    try:
        prepared = detector.detector.read(TableRequest(path))
    except DataError:  # There is no window.
        assert np.isnan(whole[:, 0]).all()
        return
    detection = detect_prepared(detector.detector, prepared, "fixed:3", online=online)
    known = detection.prepared.grid.known
    np.testing.assert_allclose(whole[:, 0], detection.model.scores[known], rtol=1e-12)
    np.testing.assert_allclose(whole[:, 1:], detection.model.errors[known], rtol=1e-12)
    expected = event_rows(detection)
    assert [
        (event["start"], event["end"], event["peak"], event["columns"], event["provisional"]) for event in events
    ] == [(event["start"], event["end"], event["peak"], event["columns"], event["provisional"]) for event in expected]
    np.testing.assert_allclose([event["score"] for event in events], [event["score"] for event in expected], rtol=1e-12)


def test_long_gap_at_the_border_of_a_part_divides_segments() -> None:
    """The rows without a value before a part are a long gap, although its context begins within the gap."""
    detector = part_detector_of(short="pad", time_col="time")
    steps, values = [1] * 20 + [9, 9] + [1] * 12, [*([0.1, 0.3] * 10), *([np.nan] * 3), -9.0, 7.0, *([0.2] * 9)]
    path = write("table.parquet", steps, values)
    with mock.patch.object(calibration, "MAX_BATCH", 4):
        whole, events = score_parts(detector, path, ())
        for cut in (22, 23, 24, 25):
            scores, divided = score_parts(detector, path, (cut,))
            assert scores.tobytes() == whole.tobytes()
            assert divided == events


def test_series_of_one_file_are_scored_by_name() -> None:
    detector = part_detector_of(time_col="time", id_col=("machine",))
    values = [0.0, 0.2, 7.0, 0.1, 0.2, 0.3, 0.1, -9.0]
    path = write("table.parquet", [1] * 8, values, list("abababab"))
    with mock.patch.object(calibration, "MAX_BATCH", 4):
        whole, events = score_parts(detector, path, ())
        scores, divided = score_parts(detector, path, (1, 4, 6))
    assert scores.tobytes() == whole.tobytes()
    assert divided == events
    assert {event["series"] for event in events} == {"a", "b"}


def test_parts_that_are_not_in_the_order_of_time_are_refused() -> None:
    path = write("table.parquet", [1, 1, 1, -2, 1, 1], [0.0] * 6)
    with pytest.raises(DataError, match=r"rows 1 to 3 and rows 4 to 6 overlap. Sort the file by time"):
        score_parts(part_detector_of(time_col="time"), path, (3,))
