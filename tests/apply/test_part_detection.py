"""Parts of a table have the scores and events of the whole table."""

from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from detectors import detector_of
from hypothesis import HealthCheck, given, settings
from partitioned import compute_parts, pa, parquet, tables, write_steps
from sampling import sampled

from lstm_ae.apply.detect import detect_prepared
from lstm_ae.apply.detection_output import event_rows
from lstm_ae.apply.part_detection import PartDetector, merge_events, unpack_piece
from lstm_ae.apply.partition import PartSource, find_contexts, scan_part
from lstm_ae.apply.run_table import TableRequest
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.data import sliding
from lstm_ae.data.parquet import ParquetPart
from lstm_ae.errors import DataError


def part_detector_of(*, online: bool = False, rule: str = "fixed:3", **options: Any) -> PartDetector:
    detector = detector_of(**options)
    normal = detector.normal
    return PartDetector(detector, normal.threshold(parse_threshold(rule), online=online), online)


def score_parts(detector: PartDetector, path: str, cuts: Sequence[int]) -> tuple[Any, Any]:
    """Return the scores and p-values of all rows, `(rows, 2)`, and the events of a file that is divided."""
    scored = compute_parts(detector, path, cuts)
    pieces: dict[str, list[Any]] = {}
    for part in scored:
        for name in part.meta["series"]:
            pieces.setdefault(name, []).append(unpack_piece(part.meta, part.arrays, name))
    events = [event for name, found in pieces.items() for event in merge_events(detector, name, found)]
    return np.concatenate([np.c_[part.columns["score"], part.columns["p"]] for part in scored]), events


DETECTORS = ((3, 1, False, "drop"), (5, 6, False, "drop"), (4, 3, False, "pad"), (3, 1, True, "drop"))


@pytest.mark.parametrize(("window", "smooth", "online", "short"), sampled(DETECTORS, slow=DETECTORS[1:4:2]))
@settings(max_examples=15, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_parts_equal_the_whole_table(table: Any, window: int, smooth: int, online: bool, short: str) -> None:
    steps, values, cuts = table
    detector = part_detector_of(window=window, smooth=smooth, online=online, short=short, time_col="time")
    path = write_steps("table.parquet", steps, values)
    # Small batches, so that parts have several.
    with mock.patch.object(sliding, "MAX_BATCH", 4):
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
    np.testing.assert_allclose(whole[:, 1], detection.model.p[known], rtol=1e-12)
    expected = event_rows(detection)
    assert [
        (event["start"], event["end"], event["peak"], event["columns"], event["provisional"]) for event in events
    ] == [(event["start"], event["end"], event["peak"], event["columns"], event["provisional"]) for event in expected]
    np.testing.assert_allclose([event["score"] for event in events], [event["score"] for event in expected], rtol=1e-12)


def test_long_gap_at_the_border_of_a_part_divides_segments() -> None:
    """The rows without a value before a part are a long gap, although its context begins within the gap."""
    detector = part_detector_of(short="pad", time_col="time")
    steps, values = [1] * 20 + [9, 9] + [1] * 12, [*([0.1, 0.3] * 10), *([np.nan] * 3), -9.0, 7.0, *([0.2] * 9)]
    path = write_steps("table.parquet", steps, values)
    with mock.patch.object(sliding, "MAX_BATCH", 4):
        whole, events = score_parts(detector, path, ())
        for cut in (22, 23, 24, 25):
            scores, divided = score_parts(detector, path, (cut,))
            assert scores.tobytes() == whole.tobytes()
            assert divided == events


def test_series_of_one_file_are_scored_by_name() -> None:
    detector = part_detector_of(time_col="time", id_col=("machine",))
    values = [0.0, 0.2, 7.0, 0.1, 0.2, 0.3, 0.1, -9.0]
    path = write_steps("table.parquet", [1] * 8, values, list("abababab"))
    with mock.patch.object(sliding, "MAX_BATCH", 4):
        whole, events = score_parts(detector, path, ())
        scores, divided = score_parts(detector, path, (1, 4, 6))
    assert scores.tobytes() == whole.tobytes()
    assert divided == events
    assert {event["series"] for event in events} == {"a", "b"}


def test_parts_that_are_not_in_the_order_of_time_are_refused() -> None:
    path = write_steps("table.parquet", [1, 1, 1, -2, 1, 1], [0.0] * 6)
    with pytest.raises(DataError, match=r"rows 1 to 3 and rows 4 to 6 overlap. Sort the file by time"):
        score_parts(part_detector_of(time_col="time"), path, (3,))


def berlin_times(minutes: int, rows: int) -> Any:
    """Return local times without offset from 1:30 on the day on which clocks repeat the hour from 2 to 3."""
    utc = pd.date_range("2024-10-26T23:30", periods=rows, freq=f"{minutes}min", tz="UTC")
    return pa.array(utc.tz_convert("Europe/Berlin").tz_localize(None).as_unit("us"))


@pytest.mark.parametrize("minutes", [10, 60])
def test_repeated_hour_is_not_divided(minutes: int) -> None:
    """The second pass of the hour is known from the rows before it, which are then in the same part."""
    rows = 30
    detector = part_detector_of(time_col="time", freq=f"{minutes}min", time_zone="Europe/Berlin", max_gap=0)
    values = pa.array(np.arange(rows) % 7 / 10, pa.float32())
    parquet.write_table(pa.table({"time": berlin_times(minutes, rows), "value 0": values}), "table.parquet")
    with mock.patch.object(sliding, "MAX_BATCH", 2):
        whole, events = score_parts(detector, "table.parquet", ())
        assert not np.isnan(whole).any()
        for cut in range(1, rows):
            scores, divided = score_parts(detector, "table.parquet", (cut,))
            assert scores.tobytes() == whole.tobytes()
            assert str(divided) == str(events)


def test_repeated_hour_in_two_files_is_refused() -> None:
    detector = part_detector_of(time_col="time", freq="10min", time_zone="Europe/Berlin")
    table = pa.table({"time": berlin_times(10, 30), "value 0": pa.array(np.zeros(30), pa.float32())})
    for name, part in (("a", table.slice(0, 11)), ("b", table.slice(11))):
        parquet.write_table(part, f"{name}.parquet")
    sources = [PartSource("a.parquet", ParquetPart(0, 11, {})), PartSource("b.parquet", ParquetPart(0, 19, {}))]
    scans = [scan_part(detector, source) for source in sources]
    with pytest.raises(DataError, match=r"divide an hour that is repeated .* Write times with an offset"):
        find_contexts(detector, sources, scans)
