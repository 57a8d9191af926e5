"""Signatures of an export, computed by NumPy and the kernels of this package instead of TensorFlow.

An export lies in the directory of its run, whose network they apply. `score` needs the calibration of the run as well.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.config import Series
from lstm_ae.detection.calibration import NormalScores
from lstm_ae.detection.scorer import score_rows
from lstm_ae.errors import Code, DataError
from lstm_ae.models.network import Network
from lstm_ae.models.numpy_network import NumpyNetwork
from lstm_ae.models.sliding import slide
from lstm_ae.run import Run, open_run
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.tensors import Tensors

LOG = logging.getLogger(__name__)

# The outputs for a batch of inputs; None if TensorFlow must compute them.
Function = Callable[[Mapping[str, Array]], Tensors | None]

# Allowed difference to the outputs of the export, relative to the largest value.
ROUNDING = 1e-5


def make_functions(version: Path) -> dict[str, Function]:
    """Return functions for signatures of an exported version.

    Args:
        version: The folder of the version, in the directory of its run.

    Raises:
        DataError: If the folder is not in a run, the run is damaged, or Keras must compute its network.
    """
    run = open_run(version.parent)
    network = run.network()
    if not isinstance(network, NumpyNetwork):
        raise DataError("Keras must compute its network", code=Code.MODEL_UNUSABLE)
    functions: dict[str, Function] = {"serving_default": partial(_call, network)}
    if "future" in network.outputs:
        functions["predict"] = functions["serving_default"]
    if "reconstruction" in network.outputs:
        if set(network.inputs) == {"sequence"} and set(network.outputs) == {"reconstruction"}:
            functions |= _autoencoder_functions(run, network)
        functions["reconstruct"] = partial(_select, functions["serving_default"], "reconstruction")
        functions["encode"] = partial(_encode, network)
    return functions


def prove_functions(
    servable: Servable, functions: Mapping[str, Function], calls: Iterable[tuple[str, Mapping[str, Array]]]
) -> dict[str, Function]:
    """Return the functions whose outputs equal those of the export.

    A run may have been trained again since the export.

    Args:
        servable: The loaded export.
        functions: Functions by signature.
        calls: Signatures with inputs, such as those of the warm-up requests. A function without any is left out.
    """
    equal: dict[str, bool] = {}
    for name, inputs in calls:
        if name in functions and equal.get(name, True):
            expected = servable.run(name, inputs)
            actual = functions[name](inputs)
            equal[name] = actual is not None and _agree(actual, expected)
    return {name: function for name, function in functions.items() if equal.get(name)}


def _agree(actual: Tensors, expected: Tensors) -> bool:
    return actual.keys() == expected.keys() and all(_close(actual[name], expected[name]) for name in expected)


def _close(actual: Array, expected: Array) -> bool:
    if (actual.shape, actual.dtype) != (expected.shape, expected.dtype):
        return False
    if expected.dtype.kind != "f":
        return bool((actual == expected).all())
    largest = np.nanmax(np.abs(expected), initial=0)
    return bool(np.allclose(actual, expected, rtol=0, atol=ROUNDING * largest, equal_nan=True))


def _call(network: Network, inputs: Mapping[str, Array]) -> Tensors | None:
    return dict(network(inputs))


def _select(function: Function, output: str, inputs: Mapping[str, Array]) -> Tensors | None:
    outputs = function(inputs)
    return outputs and {output: outputs[output]}


def _encode(network: NumpyNetwork, inputs: Mapping[str, Array]) -> Tensors | None:
    return {"code": network.encode(network.scaling(inputs)["scaled"])}


def _autoencoder_functions(run: Run, network: NumpyNetwork) -> dict[str, Function]:
    """Return the functions of a table's autoencoder that the kernels compute."""
    config = run.config()
    if not isinstance(config, Series):
        return {}
    residuals, normal = slide(network, config.scale, repeated=True).residuals, run.find_artifact(NormalScores)
    if normal is None:
        return {}
    threshold = np.float32(run.metrics()["threshold"]["value"])
    return {"score": partial(_score, normal, residuals, threshold)}


def _score(
    normal: NormalScores,
    residuals: Callable[[Array], Array],
    threshold: np.float32,
    inputs: Mapping[str, Array],
) -> Tensors | None:
    """Return the scores of the rows of series without long gaps; see `lstm_ae.export.score_endpoint`."""
    series = inputs["sequence"]
    if series.shape[1] < normal.window or np.isnan(series).all(axis=2).any():
        return None
    segment = np.zeros(series.shape[1], np.int32)
    calibration = normal.model.calibration
    scores = np.array([score_rows(residuals, calibration, each, segment).scores for each in series], np.float32)
    return {
        "score": scores,
        "threshold": np.full(len(series), threshold),
        "anomaly": scores > threshold,
    }
