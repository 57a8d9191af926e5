"""Export a fleet as one SavedModel, whose input `series` selects the model of a series.

The network of a series has the layers of the common model, except that a series whose training rows have no missing
values has no mask of them among its inputs, and one whose scaled training rows have a mean of 0 has no values to fill
in. It is exported as the same network with zeros for these weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from lstm_ae.apply.detect import load_detector
from lstm_ae.arrays import Array
from lstm_ae.config import Series
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import evenly_spaced
from lstm_ae.detection.baselines import LinearAutoencoder
from lstm_ae.detection.calibration import NormalScores, score_rows
from lstm_ae.errors import Code, DataError
from lstm_ae.export.card import FleetResults
from lstm_ae.export.endpoints import EndpointFunction, make_endpoints, without_cudnn
from lstm_ae.export.model_stack import StackedModel, make_stacked_endpoints
from lstm_ae.export.samples import SERIES, Examples, encode_names, sample_windows, select_examples
from lstm_ae.export.saved_model import MAX_MESSAGE_BYTES, ExportResult, describe_model, export_endpoints
from lstm_ae.export.score_endpoint import ScoreParameters, score_parameters
from lstm_ae.export.verification import VerificationCase, expected_answers
from lstm_ae.export.warmup import BATCH_SIZES
from lstm_ae.fleets.directory import Fleet, is_fleet
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.models.autoencoder import pooled_autoencoder
from lstm_ae.models.network import FILL, LINEAR_DECODER, LINEAR_ENCODER, Layer, Network
from lstm_ae.models.scaling import in_own_units, inner_network, inner_scaling
from lstm_ae.run import Run

# Models whose endpoints are compared with Keras; the windows and scores of all are compared with NumPy.
KERAS_MODELS = 2

# Rows of the batches of several series.
BATCH_ROWS = 16

# Largest difference between NumPy and TensorFlow, relative to the largest value of the row. The score of a window is a
# difference of squares, whose rounding is larger.
NUMPY_TOLERANCE = 1e-4


class FleetModels(NamedTuple):
    """The models of a fleet in one graph.

    Args:
        runs: the run of each series that has a model, by name.
        detectors: the parameters of the anomaly score of each; empty if the fleet has no anomaly detectors.
        endpoints: the endpoints of all models.
    """

    runs: dict[str, Run]
    detectors: dict[str, ScoreParameters]
    endpoints: list[EndpointFunction]


class WeightedFill(layers.Layer):
    """Layer that adds a weight `(features,)` to its input, in place of the constant values of a layer `fill`."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weight."""
        self.offset = self.add_weight(shape=(input_shape[-1],), initializer="zeros", trainable=False, name="offset")

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Return the input plus the weight."""
        return inputs + self.offset


def load_models(fleet: Fleet) -> FleetModels:
    """Load the models of a finished fleet.

    An anomaly threshold is that of `lstm_ae.fleets.detection`: each series has an equal share of an alarm budget.

    Raises:
        DataError: the fleet is unfinished, a run is damaged, or no series has a model.
    """
    fleet.require_finished()
    runs = {series: run for series, run in fleet.runs().items() if run.finished}
    if not runs:
        raise DataError(f"No series of the fleet {str(fleet.directory)!r} has a model", code=Code.RUN_NOT_FOUND)
    detectors = {series: found for series, run in runs.items() if (found := _shared_detector(run, len(runs)))}
    networks = {series: run.network() for series, run in runs.items()}
    config = fleet.common.config()
    assert isinstance(config, Series)
    template = _make_template(config, list(networks.values()))
    stacked = [
        StackedModel(series, _stack_weights(template, network), detectors.get(series))
        for series, network in networks.items()
    ]
    return FleetModels(runs, detectors, make_stacked_endpoints(template, stacked))


def _shared_detector(run: Run, series: int) -> ScoreParameters | None:
    own = score_parameters(run)
    if own is None:
        return None
    rule = parse_threshold(run.metrics()["threshold"]["rule"]).divide(series)
    return own._replace(threshold=run.artifact(NormalScores).threshold(parse_threshold(str(rule))).value)


def _make_template(config: Series, networks: Sequence[Network]) -> keras.Model:
    """Return a model of which each network is a special case."""
    steps, features = _window_shape(networks[0])
    masked = any(_reads_mask(network, features) for network in networks)
    filled = any(FILL in network.inner.layers for network in networks)
    link = None
    if LINEAR_DECODER in networks[0].inner.layers:
        encoder, _ = networks[0].inner.layers[LINEAR_ENCODER].weights
        link = LinearAutoencoder(np.zeros((steps, features), np.float32), encoder, encoder.T)
    network = pooled_autoencoder(
        config, steps=steps, features=features, missing=masked, fill=[0.0] * features if filled else (), link=link
    )
    if filled:
        network = keras.models.clone_model(network, clone_function=_clone_layer)
    line = np.ones((1, features), np.float32)
    return in_own_units(network, Scale("window" if config.scale == "window" else "series", line, line))


def _clone_layer(layer: layers.Layer) -> layers.Layer:
    return WeightedFill(name=FILL) if layer.name == FILL else layer.from_config(layer.get_config())


def _window_shape(network: Network) -> tuple[int, int]:
    """Return the steps and the features of the windows of a network."""
    _, steps, features = network.inputs["sequence"]
    assert steps is not None
    assert features is not None
    return steps, features


def _reads_mask(network: Network, features: int) -> bool:
    """Return whether a network reads the mask of missing values beside the values."""
    encoder = next(layer for name, layer in network.inner.layers.items() if name.startswith("encoder_1"))
    kernel, *_ = _layer_weights(encoder)
    return bool(kernel.shape[0] == 2 * features)


def _layer_weights(layer: Layer) -> list[Array]:
    """Return the weights of a layer in the order of Keras."""
    return [weight for part in (layer.directions or (layer,)) for weight in part.weights]


def _stack_weights(template: keras.Model, network: Network) -> list[Array]:
    """Return the values of the variables of the template with which it is equal to a network."""
    values: dict[int, Array] = {}
    for layer in inner_network(template).layers:
        own = network.inner.layers.get(layer.name)
        if layer.name == FILL:
            (offset,) = layer.weights
            fill = np.zeros(offset.shape) if own is None else np.asarray(own.config["offset"])
            values[id(offset)] = fill.astype(np.float32)
        elif layer.weights:
            assert own is not None
            for variable, value in zip(layer.weights, _layer_weights(own), strict=True):
                masked = variable.shape[0] == 2 * value.shape[0]
                values[id(variable)] = np.concatenate([value, np.zeros_like(value)]) if masked else value
    if SERIES in template.input:
        scaled = network.scaling(network.scaling_inputs(np.zeros((1, *_window_shape(network)), np.float32)))
        (table,) = inner_scaling(template).weights
        values[id(table)] = np.concatenate([scaled["offset"][:, 0], scaled["range"][:, 0]], axis=1)
    return [values[id(variable)] for variable in template.weights]


def expected_fleet_answers(models: FleetModels) -> list[VerificationCase]:
    """Return inputs of the endpoints with the outputs of the runs of the series, which do not use the common graph.

    Keras computes all endpoints for the first and the last series. NumPy computes a window of every series and, for
    anomaly detectors, the scores of some rows, in batches of several series.
    """
    series = list(models.runs)
    cases: list[VerificationCase] = []
    for place in evenly_spaced(len(series), KERAS_MODELS):
        name = series[place]
        model = models.runs[name].model()
        with without_cudnn(model):
            for case in expected_answers(model, make_endpoints(model, models.detectors.get(name))):
                cases.append(case._replace(inputs=_with_series(case.inputs, [name])))
    rows = [_compute_row(models.runs[name], models.detectors.get(name), seed) for seed, name in enumerate(series)]
    for start in range(0, len(rows), BATCH_ROWS):
        names, batch = series[start : start + BATCH_ROWS], rows[start : start + BATCH_ROWS]
        for endpoint in batch[0]:
            inputs, outputs = (
                {key: np.concatenate([row[endpoint][place][key] for row in batch]) for key in batch[0][endpoint][place]}
                for place in (0, 1)
            )
            cases.append(VerificationCase(endpoint, _with_series(inputs, names), outputs, True, NUMPY_TOLERANCE))
    return cases


def _with_series(inputs: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
    """Return inputs with a name of a series for each row; fewer names are repeated."""
    batch = len(next(iter(inputs.values())))
    return {**inputs, SERIES: np.resize(encode_names(names), batch)}


def _compute_row(
    run: Run, detector: ScoreParameters | None, seed: int
) -> dict[str, tuple[dict[str, Array], dict[str, Array]]]:
    """Return the inputs and outputs of some endpoints for one row of a batch, computed without TensorFlow."""
    network = run.network()
    steps, features = _window_shape(network)
    inputs = sample_windows(network, 1, steps, seed)
    computed = {"serving_default": (inputs, dict(network(inputs)))}
    if detector is not None:
        loaded = load_detector(run)
        rows = sample_windows(network, 3, steps, seed)["sequence"].reshape(-1, features)
        segment = np.zeros(len(rows), np.int32)
        scores = score_rows(loaded.model_residuals, detector.calibration, rows, segment, detector.smooth).scores
        threshold = np.float32(detector.threshold)
        outputs = {"score": np.float32(scores), "anomaly": scores > threshold, "threshold": threshold}
        computed["score"] = {"sequence": rows[None]}, {key: np.asarray(value)[None] for key, value in outputs.items()}
    return computed


def export_fleet(fleet: Fleet, base: Path, examples: Sequence[JsonMapping] = ()) -> ExportResult:
    """Export a finished fleet to `base/<next version>/`, and verify it.

    Args:
        fleet: the fleet.
        base: the folder of the versions.
        examples: example windows for the manifest, see `select_fleet_examples`.

    Raises:
        DataError: see `load_models`.
        UnprovenError: the SavedModel returns other outputs than the runs.
    """
    models = load_models(fleet)
    about = describe_model(fleet.common) | {SERIES: list(models.runs)}
    about |= {"examples": list(examples)} if examples else {}
    gaps = {each.max_gap for each in models.detectors.values()} - {None}
    about |= {"max_gap": gaps.pop()} if gaps else {}
    return export_endpoints(
        models.endpoints, expected_fleet_answers(models), base, about=about, requests=_make_requests(models)
    )


def summarize_results(fleet: Fleet) -> FleetResults:
    """Return the number of models and their median errors for the model card."""
    metrics = [run.metrics() for run in fleet.runs().values() if run.finished]
    errors: dict[str, tuple[float, float]] = {}
    for part in ("validation", "test"):
        pairs = [
            (each[part]["reconstruction_mse"]["value"], common)
            for each in metrics
            if part in each and (common := each["training"].get("common", {}).get(part)) is not None
        ]
        if pairs:
            own, common = np.median(pairs, axis=0).tolist()
            errors[part] = own, common
    return FleetResults(len(metrics), errors)


def expect_fleet(directory: Path) -> list[VerificationCase] | None:
    """Return the expected outputs of an export in the directory of a fleet; None if it is none."""
    return expected_fleet_answers(load_models(Fleet(directory))) if is_fleet(directory) else None


def _make_requests(models: FleetModels) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield warm-up requests for each endpoint, unless they would exceed the message size limit."""
    first, run = next(iter(models.runs.items()))
    network = run.network()
    steps, _ = _window_shape(network)
    for batch in BATCH_SIZES:
        inputs = _with_series(sample_windows(network, batch, steps), [first])
        if sum(value.nbytes for value in inputs.values()) <= MAX_MESSAGE_BYTES:
            for endpoint in models.endpoints:
                yield endpoint.name, inputs


def select_fleet_examples(fleet: Fleet) -> Examples:
    """Return some windows of the data of a fleet, of series that have a model."""
    found, symbols = select_examples(fleet.common), fleet.common.symbols
    runs = fleet.runs()
    windows: list[JsonObject] = []
    for window in found.windows:
        # Without a scale for each series, the common model does not read which series a window is of.
        names = [symbols[line] for line in window["inputs"].get(SERIES, ())]
        if names and all(name in runs and runs[name].finished for name in names):
            windows.append(window | {"inputs": window["inputs"] | {SERIES: names}})
    return Examples(windows, found.why_none or ("" if windows else "no window is known to be of a series with a model"))
