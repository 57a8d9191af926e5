"""A model as a SavedModel: named inputs and outputs, own units, standard TensorFlow operations only.

The version is written beside its place, loaded there again and compared with the model that was trained; only then
is it renamed to the next number. A server that watches the folder never sees half a version.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from keras import layers
from keras.export import ExportArchive

from lstm_ae.errors import DataError
from lstm_ae.models.apply import signature
from lstm_ae.models.rollout import HORIZON, rollout

TOLERANCE = 1e-6  # relative to the largest value


class Endpoint(NamedTuple):
    """One callable of a SavedModel, with the names of its inputs and outputs."""

    name: str
    inputs: list[str]
    outputs: list[str]


class Exported(NamedTuple):
    """What was written, and the largest absolute difference between it and the model in memory."""

    directory: Path
    endpoints: list[Endpoint]
    difference: float


def export(model: Any, base: Path) -> Exported:
    """Write the model to `base/<next integer>/`.

    Endpoints: `serving_default` with the model's own inputs and outputs, and for a forecaster `forecast`, the rollout
    to the further input `horizon` (int32, one a row; steps past a row's own horizon are NaN).

    Raises:
        DataError: the SavedModel does not give back what the model says.
    """
    base.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".export-", dir=base))
    try:
        with _without_cudnn(model):
            functions = _functions(model)
            archive = ExportArchive()
            archive.track(model)
            for name, (function, inputs) in functions.items():
                archive.add_endpoint(name, function, input_signature=[inputs])
            archive.write_out(str(beside), verbose=False)
            difference, endpoints = _verify(beside, functions)
        beside.chmod(0o755)
        version = 1 + max((int(path.name) for path in base.iterdir() if path.name.isdecimal()), default=0)
        directory = beside.rename(base / str(version))
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return Exported(directory, endpoints, difference)


def _functions(model: Any) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Each endpoint's function of a dict of tensors, and its signature."""
    own = signature(model)
    functions: dict[str, tuple[Any, dict[str, Any]]] = {
        "serving_default": (lambda inputs: model(inputs, training=False), own)
    }
    # Of later days the open is not known.
    if "future" in model.output and "open" not in model.input:
        roll = rollout(model)

        def forecast(inputs: dict[str, Any]) -> dict[str, Any]:
            past = {name: tensor for name, tensor in inputs.items() if name != "horizon"}
            return {"future": roll(past, inputs["horizon"])}

        functions["forecast"] = (forecast, own | {"horizon": HORIZON})
    return functions


def _verify(directory: Path, functions: dict[str, tuple[Any, dict[str, Any]]]) -> tuple[float, list[Endpoint]]:
    """Load what was written and compare every endpoint with the model in memory, on random input."""
    loaded = tf.saved_model.load(str(directory))
    random = np.random.default_rng(0)
    worst, endpoints = 0.0, []
    for name, (function, specs) in functions.items():
        inputs = {key: _random(random, key, spec) for key, spec in specs.items()}
        expected, got = function(inputs), loaded.signatures[name](**inputs)
        for key, value in expected.items():
            if name == "serving_default" and not np.isfinite(value).all():
                raise DataError("The model answers with NaN or infinity, so its weights are damaged; train a new run")
            if not np.array_equal(np.isnan(value), np.isnan(got[key])):
                raise DataError(f"The exported endpoint {name!r} gives NaN where the model does not, or the reverse")
            scale = max(1.0, float(np.nanmax(np.abs(value))))
            worst = max(worst, float(np.nanmax(np.abs(value - got[key]))) / scale)
        endpoints.append(Endpoint(name, sorted(inputs), sorted(expected)))
    if worst > TOLERANCE:
        raise DataError(f"The exported model differs from the trained one by {worst:.2g}, more than {TOLERANCE}")
    return worst, endpoints


def _random(random: np.random.Generator, name: str, spec: Any) -> Any:
    """Three samples; open lengths become 30 steps."""
    if name == "horizon":
        return tf.constant([1, 5, 3], tf.int32)
    if spec.dtype.is_integer:
        return tf.constant([0, 1, 2], spec.dtype)
    shape = (3, *(size or 30 for size in spec.shape[1:]))
    return tf.constant(random.uniform(1, 100, shape), spec.dtype)


@contextmanager
def _without_cudnn(model: Any) -> Iterator[None]:
    """Trace the portable kernels: a graph with cuDNN's operation in it does not load on a machine without a GPU."""
    recurrent = [layer for layer in model._flatten_layers() if isinstance(layer, layers.LSTM | layers.GRU)]
    before = [layer.use_cudnn for layer in recurrent]
    for layer in recurrent:
        layer.use_cudnn = False
    try:
        yield
    finally:
        for layer, value in zip(recurrent, before, strict=True):
            layer.use_cudnn = value
