"""Test the PyOD detector: the API that PyOD tests for every detector, and equality with `AnomalyDetector`."""

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from processes import CEILING
from sklearn.base import clone

from lstm_ae.estimators import AnomalyDetector

pytest.importorskip("pyod", reason="pyod is not installed")

pytestmark = pytest.mark.slow
BROKEN = slice(120, 132)


@pytest.fixture(scope="module")
def rows() -> Any:
    """Return 200 rows with 12 anomalous rows."""
    values = np.sin(np.arange(200) / 2)[:, None] + np.random.default_rng(0).normal(size=(200, 2)) / 20
    values[BROKEN] = 4
    return values


@pytest.fixture(scope="module")
def model(rows: Any) -> Any:
    from lstm_ae.estimators.pyod import PyodAnomalyDetector

    return PyodAnomalyDetector(AnomalyDetector(window=8, code=2, units=4, epochs=2), contamination=0.1).fit(rows)


def test_pyod_fit_sets_scores_labels_and_threshold(model: Any, rows: Any) -> None:
    assert model.decision_scores_.shape == model.labels_.shape == (200,)
    assert np.isfinite(model.decision_scores_).all()
    assert model.threshold_ == np.percentile(model.decision_scores_, 90)
    assert model.labels_.tolist() == (model.decision_scores_ > model.threshold_).astype(int).tolist()
    assert model.labels_.sum() == 20
    assert (model._mu, model._sigma) == (model.decision_scores_.mean(), model.decision_scores_.std())


def test_pyod_scores_and_labels_equal_those_of_the_detector(model: Any, rows: Any) -> None:
    scores = model.decision_function(rows)
    own = -model.detector_.score_samples(rows)
    assert np.flatnonzero(np.isnan(own)).tolist() == list(range(7))
    np.testing.assert_array_equal(scores, np.where(np.isnan(own), np.nanmin(own), own))
    np.testing.assert_array_equal(scores, model.decision_scores_)
    labels, confidence = model.predict(rows, return_confidence=True)
    assert labels.tolist() == model.labels_.tolist()
    assert confidence.shape == (200,)
    assert ((confidence >= 0) & (confidence <= 1)).all()
    marked = np.zeros(200, int)
    marked[BROKEN] = 1
    assert labels[BROKEN].all()
    from pyod.utils.data import evaluate_print
    from sklearn.metrics import roc_auc_score

    assert roc_auc_score(marked, scores) > 0.95
    evaluate_print("LSTM", marked, scores)


def test_pyod_detector_can_be_cloned_and_pickled(model: Any, rows: Any) -> None:
    again = clone(model)
    assert again.get_params(deep=False)["contamination"] == 0.1
    assert again.detector.get_params() == model.detector.get_params()
    assert not hasattr(again, "decision_scores_")
    again.set_params(detector__units=3, contamination=0.2)
    assert (again.detector.units, again.contamination) == (3, 0.2)
    assert "units=3" in repr(again)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.decision_function(rows), model.decision_scores_)


def test_pyod_rows_without_a_score_are_predicted_normal(model: Any, rows: Any) -> None:
    hole = rows.copy()
    hole[3:30] = np.nan
    # The first window after the hole ends at row 37.
    assert np.isnan(model.detector_.score_samples(hole)[30:38]).tolist() == [True] * 7 + [False]
    assert (model.decision_function(hole)[30:37] == model.decision_scores_.min()).all()
    assert not model.predict(hole)[30:37].any()


@pytest.mark.parametrize("name", ["pyod", "sktime"])
def test_import_error_of_a_missing_package_names_its_extra(name: str) -> None:
    program = f"import sys; sys.modules[{name!r}] = None; import lstm_ae.estimators.{name}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=CEILING)
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: ")
    assert f"[{name}]" in done.stderr.splitlines()[-1]
