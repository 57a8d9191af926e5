"""Test exports that NumPy and the kernels of this package compute in place of TensorFlow."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import sampled

from lstm_ae.arrays import Array
from lstm_ae.serving.engine import make_functions, prove_functions
from lstm_ae.serving.errors import Refusal
from lstm_ae.serving.loading import make_loader
from lstm_ae.serving.servable import Servable

MODELS = Path(__file__).parents[2] / "saved_models"
PUMP = MODELS / "pump" / "1"
# Signatures that TensorFlow computes, by model.
BY_TENSORFLOW = {
    "pump": set(),
    "snp": {"forecast", "predict", "serving_default"},
}


@pytest.fixture(scope="module")
def pump() -> Servable:
    return make_loader(trust=True, engine="numba")("pump", 1, PUMP)


@pytest.fixture(scope="module")
def by_tensorflow() -> Servable:
    return make_loader(trust=True)("pump", 1, PUMP)


def assert_close(actual: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (array.dtype, array.shape)
        if array.dtype.kind == "f":
            largest = np.nanmax(np.abs(array), initial=0)
            np.testing.assert_allclose(actual[name], array, rtol=0, atol=1e-5 * largest, equal_nan=True)
        else:
            np.testing.assert_array_equal(actual[name], array)


def rows(batch: int, count: int, missing: float = 0, seed: int = 0) -> Array:
    """Return rows of pumps, `(batch, count, 3)`, of which a share of the values is missing."""
    random = np.random.default_rng(seed)
    values = np.array([50, 3, 1]) + random.normal(0, [4, 0.3, 0.2], (batch, count, 3))
    values[random.random(values.shape) < missing] = np.nan
    return values.astype(np.float32)


@pytest.mark.parametrize("name", sampled(BY_TENSORFLOW, quick=("pump",), slow=("snp",)))
def test_signatures_of_the_saved_models_are_computed_by_numba(name: str) -> None:
    servable = make_loader(trust=True, engine="numba")(name, 1, MODELS / name / "1")
    assert servable.signatures.keys() - servable.functions.keys() == BY_TENSORFLOW[name]


@settings(max_examples=5)
@given(batch=st.integers(1, 5), missing=st.sampled_from([0, 0.1, 0.6]), seed=st.integers(0, 99))
def test_windows_have_the_outputs_of_the_export(
    pump: Servable, by_tensorflow: Servable, batch: int, missing: float, seed: int
) -> None:
    inputs = {"sequence": rows(batch, 144, missing, seed)}
    for name in ("serving_default", "reconstruct", "encode"):
        computed = pump.functions[name](inputs)
        assert computed is not None
        assert_close(computed, by_tensorflow.run(name, inputs))
        assert_close(pump.run(name, inputs), computed)


@pytest.mark.parametrize("count", [144, 145, 300])
def test_series_have_the_scores_of_the_export(pump: Servable, by_tensorflow: Servable, count: int) -> None:
    values = rows(2, count, 0.05)
    values[np.isnan(values).all(axis=2)] = 1
    values[1, 100:110] *= 3
    inputs = {"sequence": values}
    computed = pump.functions["score"](inputs)
    assert computed is not None
    assert computed["anomaly"].any()
    assert_close(computed, by_tensorflow.run("score", inputs))


def test_tensorflow_scores_series_with_gaps_and_refuses_wrong_ones(pump: Servable, by_tensorflow: Servable) -> None:
    gap = rows(1, 400)
    gap[0, 200:230] = np.nan
    for values in (gap, rows(1, 144, missing=1)):
        assert pump.functions["score"]({"sequence": values}) is None
        assert_close(pump.run("score", {"sequence": values}), by_tensorflow.run("score", {"sequence": values}))
    for name, values in (("encode", rows(1, 143)), ("score", rows(1, 20))):
        refusals = []
        for servable in (pump, by_tensorflow):
            with pytest.raises(Refusal) as refused:
                servable.run(name, {"sequence": values})
            refusals.append(str(refused.value))
        assert refusals[0] == refusals[1]


def test_only_equal_functions_are_used(by_tensorflow: Servable) -> None:
    functions = make_functions(PUMP)

    def changed(inputs: Mapping[str, Array]) -> Any:
        outputs = functions["encode"](inputs)
        return outputs and {"code": outputs["code"] * np.float32(1.0001)}

    inputs = {"sequence": rows(2, 144)}
    calls = [(name, inputs) for name in ("encode", "score", "encode")]
    assert prove_functions(by_tensorflow, functions, calls).keys() == {"encode", "score"}
    assert prove_functions(by_tensorflow, functions | {"encode": changed}, calls).keys() == {"score"}


def test_export_without_its_run_is_computed_by_tensorflow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    version = tmp_path / "alone" / "1"
    shutil.copytree(PUMP, version)
    with caplog.at_level(logging.WARNING):
        servable = make_loader(trust=True, engine="numba")("alone", 1, version)
    assert not servable.functions
    (record,) = [each for each in caplog.records if each.getMessage() == "computed by TensorFlow"]
    assert "alone" in record.__dict__["reason"]
    assert servable.run("encode", {"sequence": rows(1, 144)})["code"].shape == (1, 16)
