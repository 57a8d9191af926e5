"""Baselines of classifiers: logistic regression on windows."""

import math

import numpy as np
import pytest
from labeled_windows import labeled_data

from lstm_ae.classification.baselines import (
    STRENGTHS,
    LogisticRegression,
    _combine,
    _fit,
    _Samples,
    fit_logistic_regression,
    log_loss,
)
from lstm_ae.data.scaling import fixed_scale


def test_log_loss_by_hand() -> None:
    said = np.array([[0.5, 0.5], [0.25, 0.75], [1, 0]])
    assert log_loss(said[:2], np.array([0, 1])) == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert log_loss(said[2:], np.array([1])) == pytest.approx(7 * math.log(10))


def test_logistic_regression_uses_values_and_missing_positions() -> None:
    random = np.random.default_rng(0)
    windows, label = random.normal(size=(300, 4, 2)), random.integers(0, 2, 300)
    by_value = windows + 3 * label[:, None, None]
    found, _ = fit_logistic_regression(labeled_data(by_value, label)._replace(classes=("0", "1", "2")))
    assert (found.weights.shape, found.missing, found.windows) == ((8, 3), False, 300)
    said = found.probabilities(by_value)
    assert said.shape == (300, 3)
    assert (said[:, 2] == 0).all()  # no training windows
    np.testing.assert_allclose(said.sum(axis=1), 1)
    assert (said.argmax(axis=1) == label).mean() > 0.97
    # Only the position of the missing value depends on the class.
    holed = windows.copy()
    holed[label == 1, 2, 0] = np.nan
    found, _ = fit_logistic_regression(labeled_data(holed, label))
    assert found.missing
    assert (found.probabilities(holed).argmax(axis=1) == label).mean() > 0.97


@pytest.mark.parametrize(("classes", "wide"), [(2, 3), (4, 3), (2, 600), pytest.param(4, 600, marks=pytest.mark.slow)])
def test_combined_components_and_regression_equal_scikit_learn(classes: int, wide: int) -> None:
    """The probabilities equal those of scikit-learn step by step, and do not change by saving and loading."""
    random = np.random.default_rng(0)
    label = random.integers(0, classes, 200).astype(np.int32)
    columns = (random.normal(size=(200, wide)) + label[:, None]).astype(np.float32)
    components, regression = _fit(_Samples(columns, label), _Samples(columns, label), classes, STRENGTHS)
    assert (components is None) == (wide == 3)
    weights, bias = _combine(components, regression, classes)
    fitted = LogisticRegression(weights, bias, fixed_scale(), 200, False)
    reduced = columns if components is None else components.transform(columns)
    said = fitted.probabilities(columns[:, None])
    np.testing.assert_allclose(said, regression.predict_proba(reduced), rtol=1e-4, atol=1e-6)
    again = LogisticRegression.from_content(fitted.content(), "l.npz")
    np.testing.assert_array_equal(again.probabilities(columns[:, None]), said)


def test_logistic_regression_fits_a_rare_class() -> None:
    """Two of 30,000 windows are of the rare class."""
    label = np.zeros(30_000, np.int32)
    label[[101, 20_007]] = 1
    windows = np.random.default_rng(0).normal(size=(30_000, 2, 1)) + 5 * label[:, None, None]
    found, _ = fit_logistic_regression(labeled_data(windows, label))
    assert (found.probabilities(windows)[label == 1].argmax(axis=1) == 1).all()
