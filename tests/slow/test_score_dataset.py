"""A detector scores a data set of Ray whose blocks hold the rows of the series in any order."""

import importlib.util
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lstm_ae.errors import ConfigError
from lstm_ae.estimators import AnomalyDetector

# Every suite collects this file, and importing Ray takes a second. Ray sets deprecated options of its own.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def frame_of(seed: int, level: float = 0) -> pd.DataFrame:
    steps, noise = np.arange(240), np.random.default_rng(seed).normal(size=240) / 20
    index = pd.date_range("2024-01-01", periods=240, freq="1h", name="time")
    return pd.DataFrame({"heat": np.sin(steps / 3) + noise + level, "load": np.cos(steps / 3) + level}, index=index)


@pytest.fixture(scope="module")
def ray_data():
    import ray
    import ray.data

    # Without an address, Ray would use a cluster that another test has started.
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        configure_logging=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray.data
    ray.shutdown()


@pytest.mark.exhaustive
def test_scores_equal_those_of_frames(ray_data: Any) -> None:
    series = {"a": frame_of(1), "b": frame_of(2, level=5)}
    model = AnomalyDetector(window=8, code=2, units=4, epochs=1, scale="series").fit(
        pd.concat(series, names=["machine", "time"])
    )
    series["a"].iloc[100:104, 0] += 3
    rows = pd.concat(series, names=["machine", "time"])
    shuffled = rows.reset_index().sample(frac=1, random_state=0)
    dataset = ray_data.from_pandas([shuffled[:100], shuffled[100:350], shuffled[350:]])
    scored = model.score_dataset(dataset, time_col="time", id_col="machine").to_pandas()
    assert list(scored) == ["machine", "time", "score", "p", "anomaly", "error heat", "error load"]
    scored = scored.set_index(["machine", "time"]).sort_index()
    np.testing.assert_allclose(scored["score"], -model.score_samples(rows), rtol=1e-12)
    assert set(scored.index[scored["anomaly"]].get_level_values(0)) == {"a"}


@pytest.mark.exhaustive
def test_single_series_is_scored_as_a_whole(ray_data: Any) -> None:
    rows = frame_of(1)
    model = AnomalyDetector(window=8, code=2, units=4, epochs=1).fit(rows)
    shuffled = rows.reset_index().sample(frac=1, random_state=0)
    dataset = ray_data.from_pandas([shuffled[:90], shuffled[90:]])
    scored = model.score_dataset(dataset, time_col="time", online=True).to_pandas().sort_values("time")
    expected = -model.score_samples(rows, online=True)
    np.testing.assert_allclose(scored["score"], expected, rtol=1e-12)
    with pytest.raises(ConfigError, match=r"dataset has no column 'machine'. Its columns are .*'heat'"):
        model.score_dataset(dataset, time_col="time", id_col="machine")
