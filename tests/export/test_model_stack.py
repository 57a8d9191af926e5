"""Several models in one graph: each row of a batch is computed by the model of its series."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from detectors import fitted_calibration
from served_models import drawn

from lstm_ae.config import Series
from lstm_ae.data.scaling import Scale
from lstm_ae.errors import DataError
from lstm_ae.export.endpoints import make_endpoints
from lstm_ae.export.model_stack import StackedModel, make_stacked_endpoints
from lstm_ae.export.samples import encode_names
from lstm_ae.export.score_endpoint import ScoreParameters
from lstm_ae.models.autoencoder import pooled_autoencoder
from lstm_ae.models.scaling import in_own_units

STEPS = 4
NAMES = ("a", "b/c", "\N{LATIN SMALL LETTER U WITH DIAERESIS}")


@pytest.fixture(scope="module")
def template() -> Any:
    line = np.ones((1, 2), np.float32)
    network = pooled_autoencoder(Series(units=2, code=2), steps=STEPS, features=2, missing=True)
    return in_own_units(drawn(network), Scale("series", line, line))


@pytest.fixture(scope="module")
def models(template: Any) -> list[StackedModel]:
    """Return models with other weights, scales, thresholds, and numbers of axes."""
    random = np.random.default_rng(1)
    calibration = fitted_calibration(STEPS, 2)
    distance = calibration.distance
    made = []
    for number, name in enumerate(NAMES):
        axes = len(distance.axes) - number
        own = distance._replace(axes=distance.axes[:axes], variances=distance.variances[:axes])
        weights = [random.uniform(0.2, 2, weight.shape).astype(np.float32) for weight in template.weights]
        detector = ScoreParameters(0.5 + number, 3, calibration._replace(distance=own), max_gap=2)
        made.append(StackedModel(name, weights, detector))
    assert len({len(each.detector.calibration.distance.axes) for each in made if each.detector}) == len(NAMES)
    return made


@pytest.mark.slow
def test_rows_are_computed_by_the_models_of_their_series(template: Any, models: list[StackedModel]) -> None:
    random = np.random.default_rng(2)
    order = np.array([2, 0, 1, 0, 2, 2])
    series = encode_names(NAMES[place] for place in order)
    rows = random.normal(1, 1, (len(order), 3 * STEPS, 2)).astype(np.float32)
    rows[3, 5:7, 1] = np.nan
    stacked = {each.name: each for each in make_stacked_endpoints(template, models)}
    assert list(stacked) == ["serving_default", "reconstruct", "encode", "score"]
    for name, endpoint in stacked.items():
        assert endpoint.specs["series"] == tf.TensorSpec((None,), tf.string, name="series")
        values = rows if name == "score" else rows[:, :STEPS]
        inputs = {"sequence": tf.constant(values), "series": tf.constant(series)}
        found = tf.function(endpoint.call, input_signature=[endpoint.specs])(inputs)
        for place, model in enumerate(models):
            template.set_weights(model.weights)
            (single,) = [each for each in make_endpoints(template, model.detector) if each.name == name]
            own = order == place
            count = int(own.sum())
            expected = single.call({"sequence": tf.constant(values[own]), "series": tf.zeros(count, tf.int32)})
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                np.testing.assert_allclose(
                    found[key].numpy()[own], value, rtol=1e-5, atol=1e-6, err_msg=f"{name} {key}"
                )


def test_unknown_series_is_named_in_the_error(template: Any, models: list[StackedModel]) -> None:
    endpoint = make_stacked_endpoints(template, models)[0]
    inputs = {"sequence": np.zeros((2, STEPS, 2), np.float32), "series": encode_names(["a", "A"])}
    call = tf.function(endpoint.call, input_signature=[endpoint.specs])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"there is no model of this series.*\n?.*A"):
        call({name: tf.constant(value) for name, value in inputs.items()})


def test_models_that_treat_gaps_in_different_ways_are_refused(template: Any, models: list[StackedModel]) -> None:
    first, second, _ = models
    assert second.detector is not None
    other = second._replace(detector=second.detector._replace(max_gap=5))
    with pytest.raises(DataError, match="treat gaps in different ways"):
        make_stacked_endpoints(template, [first, other])
