"""A function of data frames has the results of a run on the same rows in a file."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from part_runs import forecaster_of
from partitioned import RUN, compute_parts, machine_rows, write_table

from lstm_ae.apply.part_detection import load_part_detector
from lstm_ae.apply.part_frames import FrameFunction
from lstm_ae.apply.part_tasks import LOADERS, PartForecaster
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.run import open_run


def frame_of(machine: str) -> pd.DataFrame:
    return pd.DataFrame({"machine": machine, **machine_rows(machine)})


def test_scores_of_frames_equal_those_of_a_file() -> None:
    function = pickle.loads(pickle.dumps(FrameFunction(RUN, id_col="machine")))
    path = str(write_table(Path("table.parquet")))
    task = load_part_detector(open_run(RUN), {"id_col": ("machine",)})
    (expected,) = compute_parts(task, path, ())
    # Rows of a series may be in any order, and those of other series between them.
    frame = pd.concat([frame_of("a"), frame_of("b")], ignore_index=True)
    found = function(frame.sample(frac=1, random_state=0))
    assert list(found) == ["machine", "time", *expected.columns]
    found = found.sort_index()
    assert found["time"].equals(frame["time"])
    for name, values in expected.columns.items():
        assert found[name].to_numpy().tobytes() == np.asarray(values).tobytes()
    for machine, rows in frame.groupby("machine"):
        assert function(rows).equals(found[found["machine"] == machine])


@pytest.mark.parametrize("task", ["detect", "encode", "reconstruct"])
def test_frame_without_rows_has_the_columns_of_one_with_rows(task: str) -> None:
    function = FrameFunction(RUN, task, id_col="machine")
    frame = frame_of("a")[:200]
    expected = function(frame)
    found = function(frame[:0])
    assert len(found) == 0
    assert found.dtypes.to_dict() == expected.dtypes.to_dict()
    assert list(found) == list(expected) == list(function(pd.DataFrame()))


def test_frame_without_times_keeps_its_index() -> None:
    frame = frame_of("a")[:200].drop(columns=["machine", "time"]).set_index(np.arange(1000, 1200))
    found = FrameFunction(RUN, reading={"time_col": None})(frame)
    assert found.index.equals(frame.index)
    assert found["score"].notna().all()


def test_forecast_without_a_complete_window_has_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    forecaster = PartForecaster(forecaster_of(id_col=("machine",)), levels=(80,))
    monkeypatch.setitem(LOADERS, "forecast", lambda *_: forecaster)  # type: ignore[misc]
    # Another function of this process would find the forecaster with the same reading options.
    function = FrameFunction(RUN, "forecast", reading={"missing": ("none",)})
    times = pd.date_range("2024-03-01", periods=5, freq="1min")
    frame = pd.DataFrame({"machine": "a", "time": times, "value 0": np.arange(5.0)})
    expected = function(frame)
    assert list(expected) == [
        *("machine", "time", "step", "value 0"),
        *("value 0 persistence", "value 0 low_80", "value 0 high_80"),
    ]
    for rows in (2, 0):  # The window has three rows.
        found = function(frame[:rows])
        assert len(found) == 0
        assert found.dtypes.to_dict() == expected.dtypes.to_dict()
        assert list(found) == list(expected)


def test_function_computes_codes() -> None:
    codes = FrameFunction(RUN, "encode", id_col="machine")(frame_of("a"))
    assert len(codes) == 480
    assert list(codes)[:3] == ["machine", "time", "code0"]
    assert codes["code0"].isna().sum() == 143


def test_function_loads_no_tensorflow() -> None:
    Path("function.pickle").write_bytes(pickle.dumps(FrameFunction(RUN)))
    Path("frame.pickle").write_bytes(pickle.dumps(frame_of("a").drop(columns="machine")))
    code = (
        "import pickle, sys; "
        "found = pickle.load(open('function.pickle', 'rb'))(pickle.load(open('frame.pickle', 'rb'))); "
        "print(found['score'].notna().sum(), 'tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["480", "False", "False"]


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"task must be one of detect, encode, .* Received: 'score'"):
        FrameFunction(RUN, "score")
    with pytest.raises(ConfigError, match=r"task 'detect' has no option 'levels'. Its options are rule, online"):
        FrameFunction(RUN, levels=(80,))
    with pytest.raises(ConfigError, match=r"task 'encode' has no option 'online'. It has none"):
        FrameFunction(RUN, "encode", online=True)
    with pytest.raises(ConfigError, match=r"--threshold must be .* Received: 3"):
        FrameFunction(RUN, rule=3)
    with pytest.raises(ConfigError, match=r"run of --task anomaly. Pass one of --task forecast"):
        FrameFunction(RUN, "forecast")
    with pytest.raises(DataError, match=r"frame, row 2: .* has the time of row 1"):
        FrameFunction(RUN)(frame_of("a").iloc[[0, 0, *range(200)]])
    with pytest.raises(DataError, match=r"frame cannot be converted \(.*\). Convert the column"):
        FrameFunction(RUN)(frame_of("a").assign(flow=[1.0, "x"] * 240))
