"""A function of data frames has the scores of a table, whatever rows of other series are with them."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from partitioned import RUN, machine_rows, write_table
from searches import done

from lstm_ae.errors import ConfigError, DataError
from lstm_ae.estimators import FrameFunction


def frame_of(machine: str) -> pd.DataFrame:
    return pd.DataFrame({"machine": machine, **machine_rows(machine)})


def both() -> pd.DataFrame:
    return pd.concat([frame_of("a"), frame_of("b")], ignore_index=True)


def test_scores_of_frames_equal_those_of_a_table() -> None:
    write_table(Path("table.parquet"))
    done(f"series detect {RUN} table.parquet --id-col machine --scores scores.parquet --events events.parquet")
    expected = pd.read_parquet("scores.parquet")
    function = pickle.loads(pickle.dumps(FrameFunction(RUN, id_col="machine")))
    # Rows of a series may be in any order, and those of other series between them.
    found = function(both().sample(frac=1, random_state=0)).sort_index()
    assert list(found) == ["machine", "time", *(name for name in expected if name not in ("series", "time"))]
    assert found["machine"].tolist() == expected["series"].tolist()
    assert found["anomaly"].tolist() == expected["anomaly"].tolist()
    for name in ("score", "p", "error flow", "error vibration"):
        # Kernels compute the windows of a model in memory; an error is a square.
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5 if name == "score" else 1e-3)
    for machine, rows in both().groupby("machine"):
        np.testing.assert_allclose(function(rows)["score"], found["score"][found["machine"] == machine], rtol=1e-5)


def test_rows_without_a_complete_window_have_no_score() -> None:
    """An engine finds out the columns of the result with a frame without rows."""
    function = FrameFunction(RUN, id_col="machine")
    expected = function(frame_of("a")[:200])
    assert expected["score"].notna().all()
    few = function(frame_of("a")[:100])
    assert (len(few), few["score"].notna().sum(), few["anomaly"].sum()) == (100, 0, 0)
    for found in (few, function(frame_of("a")[:0])):
        assert found.dtypes.to_dict() == expected.dtypes.to_dict()
        assert list(found) == list(expected) == list(function(pd.DataFrame()))


def test_frame_without_times_keeps_its_index() -> None:
    frame = frame_of("a")[:200].drop(columns=["machine", "time"]).set_index(np.arange(1000, 1200))
    found = FrameFunction(RUN, reading={"time_col": None})(frame)
    assert found.index.equals(frame.index)
    assert found["score"].notna().all()


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
    with pytest.raises(ConfigError, match=r"--threshold must be .* Received: 3"):
        FrameFunction(RUN, rule=3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"frame, row 2: .* has the time of row 1"):
        FrameFunction(RUN)(frame_of("a").iloc[[0, 0, *range(200)]])
    with pytest.raises(DataError, match=r"frame cannot be converted \(.*\). Convert the column"):
        FrameFunction(RUN)(frame_of("a").assign(flow=[1.0, "x"] * 240))
