"""Test the estimators with `scale="series"` on several series in one frame."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lstm_ae.errors import ConfigError, DataError
from lstm_ae.estimators import AnomalyDetector, SequenceAutoencoder, SequenceClassifier, SequenceForecaster

LEVELS = {"large": (10_000.0, 3000.0), "small": (1.0, 0.02)}
TIMES = pd.date_range("2024-01-01", periods=200, freq="h", tz="Europe/Berlin", name="time")
SMALL: dict[str, Any] = {"window": 12, "units": 6, "epochs": 6, "batch_size": 32, "learning_rate": 0.02}


def machines(*names: str, spike: float = 0) -> pd.DataFrame:
    """Return rows of each machine with a season of 12 hours, ordered by time; "small" has a spike in row 150."""
    frames = []
    for name in names:
        level, deviation = LEVELS.get(name, (500.0, 100.0))
        turn = 2 * np.pi * np.arange(len(TIMES))[:, None] / 12
        waves = np.sqrt(2) * np.sin(turn + np.arange(2)) + 0.05 * np.random.default_rng(1).normal(size=(len(TIMES), 2))
        if name == "small":
            waves[150, 0] += spike
        index = pd.MultiIndex.from_product([[name], TIMES], names=["machine", "time"])
        frames.append(pd.DataFrame(level + deviation * waves, index, columns=["flow", "heat"]))
    return pd.concat(frames).sort_index(level="time", sort_remaining=False)


GOOD = machines("small", "large")


@pytest.fixture(scope="module")
def detector() -> AnomalyDetector:
    return AnomalyDetector(code=4, scale="series", **SMALL).fit(GOOD)


def test_series_scale_detects_an_anomaly_in_a_small_series(detector: AnomalyDetector) -> None:
    bad = machines("large", "small", spike=6)
    (event,) = detector.detect(bad).to_dict("records")
    assert event["series"] == "small"
    assert event["start"] <= TIMES[150] <= event["end"]
    found = detector.predict(bad)
    assert found.index.equals(bad.index)
    assert set(found[found < 0].index.get_level_values("machine")) == {"small"}
    again = AnomalyDetector.load(detector.save("run"))
    assert again.scale == "series"
    pd.testing.assert_series_equal(again.score_samples(bad), detector.score_samples(bad))


def test_series_scale_transforms_and_reconstructs_several_series(detector: AnomalyDetector) -> None:
    model = SequenceAutoencoder.load(detector.save("run"))
    codes = model.transform(GOOD)
    assert codes.index.equals(GOOD.index)
    # The series have equal noise and season, so that their codes are equal after scaling.
    one, other = (codes.xs(name, level="machine").to_numpy() for name in LEVELS)
    np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3)
    given_back = model.reconstruct(GOOD)
    for name, (_, deviation) in LEVELS.items():
        assert (given_back - GOOD).xs(name, level="machine").abs().to_numpy().mean() < deviation
    assert -1 < model.score(GOOD) < 0


def test_series_scale_refuses_rows_without_series(detector: AnomalyDetector) -> None:
    for rows in (GOOD.to_numpy(), GOOD.droplevel("machine")):
        with pytest.raises(DataError, match='scale="series" needs an index of several levels'):
            detector.predict(rows)
        with pytest.raises(DataError, match='scale="series" needs an index of several levels'):
            AnomalyDetector(scale="series").fit(rows)
    with pytest.raises(ConfigError, match=r"^scale series is not supported by --task classify"):
        SequenceClassifier(scale="series").fit(GOOD, np.arange(len(GOOD)) % 2)


def test_series_scale_warns_about_an_unknown_series(detector: AnomalyDetector) -> None:
    with pytest.warns(UserWarning, match=r"1 of 2 series have too few values .*: new") as told:
        detector.predict(machines("new", "small"))
    assert len(told) == 1


@pytest.mark.slow
def test_series_scale_forecasts_several_series() -> None:
    model = SequenceForecaster(horizon=3, scale="series", seeds=1, **SMALL).fit(GOOD)
    ahead = model.predict(GOOD, horizon=4)
    assert ahead.index.names == ["machine", "time"]
    assert ahead.index.get_level_values("machine").tolist() == ["small"] * 4 + ["large"] * 4
    assert ahead.index.get_level_values("time")[:4].tolist() == [TIMES[-1] + pd.Timedelta(k, "h") for k in range(1, 5)]
    low, high = model.predict_interval(GOOD)
    for name, (level, deviation) in LEVELS.items():
        own = ahead.xs(name, level="machine")
        wanted = level + deviation * np.sqrt(2) * np.sin(2 * np.pi * np.arange(200, 204)[:, None] / 12 + np.arange(2))
        assert np.abs(own - wanted).to_numpy().mean() < 0.3 * deviation
        assert (high - low).xs(name, level="machine").to_numpy().max() < 2 * deviation
    with pytest.warns(UserWarning, match="No forecast without 12 consecutive rows at the end of a series: large"):
        some = model.predict(GOOD.drop(GOOD.xs("large", level="machine", drop_level=False).index[5:]))
    assert set(some.index.get_level_values("machine")) == {"small"}
