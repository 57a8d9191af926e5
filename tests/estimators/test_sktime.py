"""Test the sktime detector: the checks of sktime, and equality with `AnomalyDetector`."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sampling import sampled

from lstm_ae.estimators import AnomalyDetector

pytest.importorskip("sktime", reason="sktime is not installed")

pytestmark = pytest.mark.slow
SMALL: dict[str, Any] = {"window": 8, "code": 2, "units": 4, "epochs": 2}


@pytest.mark.filterwarnings("default")
@pytest.mark.exhaustive
def test_sktime_detector_passes_sktime_checks(untraced: None) -> None:
    from sktime.utils.estimator_checks import check_estimator

    from lstm_ae.estimators.sktime import SktimeAnomalyDetector

    results = check_estimator(SktimeAnomalyDetector, verbose=False)
    assert len(results) > 80
    assert not {name: result for name, result in results.items() if result != "PASSED"}


@pytest.mark.parametrize("index", sampled(("times", "periods", "numbers"), slow=("periods",)))
def test_sktime_points_labels_and_scores_equal_the_detector(index: str) -> None:
    from lstm_ae.estimators.sktime import SktimeAnomalyDetector

    times = pd.date_range("2024-01-01", periods=200, freq="h")
    labels = {"times": times, "periods": times.to_period(), "numbers": pd.RangeIndex(200)}[index]
    frame = pd.DataFrame({"a": np.sin(np.arange(200) / 2), "b": np.cos(np.arange(200) / 2)}, labels)
    broken = frame.copy()
    broken.iloc[120:132] = 4
    model = SktimeAnomalyDetector(AnomalyDetector(**SMALL, threshold="quantile:0.99")).fit(frame)
    ours = AnomalyDetector(**SMALL, threshold="quantile:0.99").fit(frame)
    anomalous = np.flatnonzero(ours.predict(broken) == -1)
    assert set(range(120, 132)) <= set(anomalous)
    assert model.predict(broken)["ilocs"].tolist() == anomalous.tolist()
    assert np.flatnonzero(model.transform(broken)["labels"]).tolist() == anomalous.tolist()
    scores = model.transform_scores(broken)
    assert scores.index.equals(broken.index)
    np.testing.assert_array_equal(scores["score"], -ours.score_samples(broken))
    np.testing.assert_array_equal(model.predict_scores(broken)["score"], scores["score"].iloc[anomalous])
