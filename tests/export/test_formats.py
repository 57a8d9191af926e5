"""ONNX and LiteRT exports run in their own runtimes and are refused if they differ from the model."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from linear_autoencoders import random_linear_autoencoder
from price_forecasts import random_link
from sampling import sampled

from lstm_ae.config import Mnist, Series, Snp, Toy
from lstm_ae.data.scaling import Scale, company_scale, fixed_scale
from lstm_ae.errors import ConfigError, UnprovenError, install_hint
from lstm_ae.export import formats
from lstm_ae.export.endpoints import make_endpoints
from lstm_ae.export.formats import FORMATS, require_installed, write_formats
from lstm_ae.export.saved_model import export_model
from lstm_ae.export.verification import expected_answers
from lstm_ae.files import read_object
from lstm_ae.models.autoencoder import autoencoder, pooled_autoencoder
from lstm_ae.models.classifier import classifier
from lstm_ae.models.forecaster import step_forecaster
from lstm_ae.models.scaling import in_own_units

COMPANIES = company_scale(np.array([[90], [110], [10], [50]], np.float32), np.array([1, 1, 2, 2], np.int32), 2)


def made(network: Any, scale: Scale) -> Any:
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.5, weight.shape) for weight in network.get_weights()])
    return in_own_units(network, scale)


MODELS = {
    "lstm-steps": lambda: made(autoencoder(Toy(units=3), steps=6, features=1), fixed_scale(1, 2)),
    "both-vector-2": lambda: made(
        autoencoder(Toy(units=3, bidirectional=True, latent="vector", layers=2), steps=6, features=1),
        fixed_scale(),
    ),
    "linked": lambda: made(
        pooled_autoencoder(
            Series(units=3, code=2), steps=6, features=1, missing=True, link=random_linear_autoencoder(6, 1, 2)
        ),
        fixed_scale(1, 2),
    ),
    "lstm-state": lambda: made(
        autoencoder(Toy(units=3, latent="vector", code=2, decoder_start="code"), steps=6, features=1), fixed_scale()
    ),
    "classifier": lambda: made(classifier(Mnist(units=3), steps=4, features=3, classes=10), fixed_scale(0, 255)),
    "prices": lambda: made(
        step_forecaster(Snp(units=3, inputs="ohlc"), link=random_link(Snp(inputs="ohlc"), 3)),
        Scale("log", np.full((1, 4), 3, np.float32), np.full((1, 4), 2, np.float32)),
    ),
    "companies": lambda: made(step_forecaster(Snp(units=3), link=random_link(Snp(), 3)), COMPANIES),
}


@pytest.mark.parametrize(
    ("form", "name"),
    sampled(
        itertools.product(FORMATS, MODELS),
        quick=[(form, "companies") for form in FORMATS],
        slow=(("litert", "lstm-steps"), ("litert", "linked"), ("onnx", "linked")),
    ),
)
def test_converted_model_returns_the_outputs_of_the_model(form: str, name: str, tmp_path: Path) -> None:
    for module in FORMATS[form].modules:
        pytest.importorskip(module)
    model = MODELS[name]()
    own = make_endpoints(model)[0]
    cases = list(expected_answers(model, [own], 9))
    found = write_formats(model, own, cases, tmp_path, [form])
    assert list(found) == [form]
    assert found[form] <= 1e-5
    # Run the written file with a batch size and a length that differ from all cases.
    (series,) = (tensor for tensor in model.input.values() if len(tensor.shape) == 3)
    shape = (2, series.shape[1] or 11, series.shape[2])
    inputs = {series.name: np.random.default_rng(1).uniform(10, 50, shape).astype(np.float32)}
    inputs |= {"company": np.array([2, 0], np.int32)} if "company" in model.input else {}
    run = FORMATS[form].runner((tmp_path / FORMATS[form].file).read_bytes())
    answers = run(inputs)
    import tensorflow as tf

    said = model({key: tf.constant(value) for key, value in inputs.items()})
    assert set(answers) == set(said)
    for key, value in said.items():
        np.testing.assert_allclose(answers[key], value, rtol=1e-4, atol=1e-5 * float(np.abs(value).max()))


@pytest.mark.slow
def test_manifest_lists_the_onnx_file_and_its_difference(tmp_path: Path, proven_here: None) -> None:
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    import onnx

    exported = export_model(MODELS["lstm-steps"](), tmp_path, formats=["onnx"])
    path = exported.directory / "assets.extra/model.onnx"
    listed = read_object(exported.directory / "assets.extra/manifest.json")
    assert "assets.extra/model.onnx" in listed["files"]
    assert listed["difference"] == {"savedmodel": exported.difference, "onnx": exported.formats["onnx"]}
    (given,) = onnx.load(path).graph.input
    sizes = [size.dim_param or size.dim_value for size in given.type.tensor_type.shape.dim]
    assert (given.name, sizes) == ("sequence", ["batch", "steps", 1])


def test_missing_or_unknown_formats_raise_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"^--format onnx .*{re.escape(install_hint('onnx'))}$"):
        require_installed(["onnx"])
    text = r"^--format must be one or more of savedmodel, onnx, litert, separated by commas\. Received: 'onyx'$"
    with pytest.raises(ConfigError, match=text):
        require_installed(["onyx"])


@pytest.fixture(scope="module")
def recurrent() -> tuple[Any, Any]:
    """Return an autoencoder of sequences and its endpoint."""
    model = MODELS["lstm-steps"]()
    return model, make_endpoints(model)[0]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            lambda right: right * 1.0001,
            r"^The model as odd differs from the trained model by 0\.0001, more than 1e-05$",
        ),
        (
            lambda right: right * np.nan,
            r"^The model as odd returns NaN in 'reconstruction' where the trained model does",
        ),
        (lambda right: right[:, :1], r"^The model as odd returns 'reconstruction' as float32 \[1, 1, 1\] instead of"),
        (lambda right: 1 / 0, r"^The model cannot be converted to odd \(division by zero\)\. Omit this format\.$"),
    ],
    ids=["differs", "nan", "shape", "raises"],
)
def test_differing_or_failing_conversion_is_not_written(
    recurrent: tuple[Any, Any], answer: Any, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, own = recurrent

    def run(inputs: Any) -> dict[str, Any]:
        return {"reconstruction": answer(model(dict(inputs))["reconstruction"].numpy()).astype(np.float32)}

    monkeypatch.setitem(FORMATS, "odd", formats.ModelFormat("odd", (), lambda *_: b"", lambda _: run))
    with pytest.raises(UnprovenError, match=text):
        write_formats(model, own, expected_answers(model, [own]), tmp_path, ["odd"])
    assert not (tmp_path / "odd").exists()
