"""Tests of models with a scale for each series: the input `series`, sliding windows, and the export."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from detectors import score_parameters
from sampling import sampled
from served_models import drawn

from lstm_ae.config import Series
from lstm_ae.data.columns import Covariates
from lstm_ae.data.scaling import Scale, fixed_scale
from lstm_ae.export.endpoints import make_endpoints
from lstm_ae.export.samples import sample_endpoints
from lstm_ae.export.saved_model import export_model
from lstm_ae.export.score_endpoint import make_score_function
from lstm_ae.models.autoencoder import pooled_autoencoder
from lstm_ae.models.forecaster import horizon_forecaster
from lstm_ae.models.inference import model_inputs
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.models.scaling import in_own_units
from lstm_ae.models.sliding import slide

# The scales of all series together, of a small series, and of a large one.
SCALE = Scale(
    "series",
    np.array([[50, 500], [1, 2], [1000, 9000]], np.float32),
    np.array([[40, 300], [0.1, 0.2], [50, 700]], np.float32),
)
STEPS = 5
LINES = np.array([0, 1, 2, 7], np.int32)
PARAMETERS = score_parameters(STEPS, 2)


@pytest.fixture(scope="module")
def model() -> Any:
    config = Series(units=3, code=2)
    return in_own_units(drawn(pooled_autoencoder(config, steps=STEPS, features=2, missing=True)), SCALE)


@pytest.fixture(scope="module")
def forecaster() -> Any:
    config = Series(units=3, task="forecast")
    sizes: dict[str, Any] = {"steps": STEPS, "horizon": 3, "features": 2, "covariates": Covariates()}
    return in_own_units(drawn(horizon_forecaster(config, **sizes, missing=False)), SCALE)


def rows_of(count: int) -> Any:
    """Return rows of each of `LINES` in own units and in common units, both `(4, rows, 2)`."""
    level = np.random.default_rng(1).normal(0, 1, (1, count, 2)).astype(np.float32) * SCALE.range[0] + SCALE.offset[0]
    level = np.repeat(level, len(LINES), axis=0)
    own = [SCALE.from_common(rows, np.full(count, line, np.int32)) for rows, line in zip(level, LINES, strict=True)]
    return np.array(own), level


def test_reconstruction_is_in_the_units_of_each_series(model: Any) -> None:
    """Scaled values are equal, and an unknown series uses the common scale."""
    own, level = rows_of(STEPS)
    given_back = model(model_inputs(model.input, own, LINES))["reconstruction"].numpy()
    (common,) = model(model_inputs(model.input, level[:1], None))["reconstruction"].numpy()
    for rows, line in zip(given_back, LINES, strict=True):
        wanted = SCALE.from_common(common, np.full(STEPS, line, np.int32))
        np.testing.assert_allclose(rows, wanted, rtol=1e-5)


def test_sliding_autoencoder_reads_rows_in_common_units(model: Any) -> None:
    level = rows_of(40)[1][0]
    network = KerasNetwork(model)
    sliding, levels = (
        slide(network, Series(units=3, code=2, scale="series", id_col=("id",))),
        network.series_scales(("", "small", "large")),
    )
    np.testing.assert_array_equal(levels.scale.offset, SCALE.offset)
    np.testing.assert_array_equal(levels.scale.range, SCALE.range)
    common = KerasNetwork(in_own_units(model.get_layer("network"), SCALE.common))
    same = slide(common, Series(units=3, code=2))
    np.testing.assert_array_equal(sliding.encode(level), same.encode(level))
    for name in ("residuals", "rebuild"):
        np.testing.assert_array_equal(getattr(sliding, name)(level, 2), getattr(same, name)(level, 2))
    assert KerasNetwork(in_own_units(model.get_layer("network"), fixed_scale())).series_scales(()).names == ()


@pytest.mark.parametrize("kind", sampled(("model", "forecaster"), slow=("model",)))
def test_saved_and_exported_models_return_equal_outputs(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, proven_here: None
) -> None:
    model = request.getfixturevalue(kind)
    inputs = model_inputs(model.input, rows_of(STEPS)[0], LINES)
    expected = model(inputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    detector = PARAMETERS if kind == "model" else None
    exported = export_model(loaded, tmp_path / "served", detector=detector)
    assert exported.difference <= 1e-6
    assert all("series" in endpoint.inputs for endpoint in exported.endpoints)
    served = tf.saved_model.load(str(exported.directory))
    for name, value in served.signatures["serving_default"](**inputs).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5)


@pytest.mark.exhaustive
def test_series_shorter_than_a_window_is_refused(model: Any) -> None:
    """Rows without a score would count as normal."""
    own, _ = rows_of(STEPS - 1)
    given = {"sequence": tf.constant(own), "series": tf.constant(LINES)}
    call, specs = make_score_function(model, PARAMETERS)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"at least {STEPS} rows"):
        tf.function(call, input_signature=[specs])(given)


def test_sample_inputs_contain_several_series(model: Any) -> None:
    """This includes series of several blocks of windows, where each row of the batch is one series."""
    asked = list(sample_endpoints(model, make_endpoints(model, PARAMETERS)))
    for _, inputs in asked:
        assert inputs["series"].tolist() == list(range(len(inputs["sequence"])))
    assert asked[-1][0].name == "score"
    size = np.nanmean(asked[-1][1]["sequence"], axis=1)
    assert (size[1] < 3).all()
    assert (size[2] > 900).all()
