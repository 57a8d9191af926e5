"""Networks of tables computed by NumPy, without TensorFlow: autoencoders, forecasters, and classifiers.

The forward pass is that of `pooled_autoencoder`, `horizon_forecaster`, and `pooled_classifier` of this folder. The
config of a run determines which of them it has, and their layers have fixed names. `UnsupportedError` is raised for all
other models, which Keras must compute: those of other studies, and forecasters with segments.
"""

import functools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.classification.convolutions import Convolutions
from lstm_ae.config import Config, Series
from lstm_ae.data.scaling import Scale, window_scale
from lstm_ae.json_types import JsonMapping
from lstm_ae.kernels.choice import LSTM_SETTINGS, StateChoice, other_settings
from lstm_ae.models.archive import LARGEST_SAMPLE, ModelWeights, read_validated, require_submodels
from lstm_ae.models.network import (
    FILL,
    LINEAR_DECODER,
    LINEAR_ENCODER,
    LINEAR_LIMIT,
    RESIDUAL,
    ArrayFunction,
    Network,
    Shape,
    positional_encoding,
    series_input,
    unscaling_inputs,
)
from lstm_ae.threads import map_in_threads

if TYPE_CHECKING:
    import keras

    from lstm_ae.kernels.lstm import StateKernel

Arrays = Mapping[str, Array]
Function = Callable[[Array], Array]
Compute = Callable[[Arrays], dict[str, Array]]
# Sizes of the arrays of a sample by name.
Sizes = Mapping[str, tuple[int, ...]]

# Samples that are computed together: few, so that the data of a step stays in a core's cache.
SAMPLES = 256

# Held while BLAS is limited to one thread.
_BLAS_LOCK = threading.Lock()


class UnsupportedError(Exception):
    """Raised for a model that this module does not compute; the text names the layer or setting."""


class _Layers:
    """Layers of a network by name, each of which is read once.

    Args:
        items: Keras' configs of the layers.
        weights: their weights.
        config: config of the network.
    """

    def __init__(
        self, items: Sequence[JsonMapping], weights: Mapping[str, Sequence[Float32Array]], config: Series
    ) -> None:
        self.settings = {item["name"]: item["config"] for item in items}
        self.unread, self.config, self.choice = dict(weights), config, StateChoice()
        for item in items:
            if item["class_name"] in ("Bidirectional", "Dense", "LSTM"):
                _require_own_settings(item)

    def __contains__(self, name: str) -> bool:
        return name in self.settings

    def weights(self, name: str) -> Sequence[Float32Array]:
        """Return the weights of a layer."""
        if name not in self.unread:
            raise UnsupportedError(f"a network without weights of {name!r}")
        return self.unread.pop(name)

    def dense(self, name: str) -> "_Dense":
        """Return the function of a dense layer."""
        kernel, *biases = self.weights(name)
        return _Dense(kernel, biases[0] if biases else np.zeros(kernel.shape[1], np.float32))

    def recurrent(self, name: str, directions: Sequence[str] = ("",)) -> "_Recurrent":
        """Return recurrent layers one after the other."""
        numbers = range(1, self.config.layers + 1)
        names = [[f"{direction}{name}_{number}" for direction in directions] for number in numbers]
        return _Recurrent([[_Lstm(self.weights(each), self.choice) for each in row] for row in names])

    def encoder(self, prefix: str = "") -> "_Recurrent":
        """Return the recurrent layers of an encoder."""
        return self.recurrent(f"{prefix}encoder", ("forward_", "backward_") if self.config.bidirectional else ("",))

    @property
    def prefixes(self) -> list[str]:
        """Prefixes of the names of the layers of each member, see `lstm_ae.models.ensemble`."""
        count = self.config.networks
        return [f"member_{number}_" for number in range(1, count + 1)] if count > 1 else [""]

    def fill(self, sequence: Array) -> tuple[Array, Array]:
        """Return a sequence with the values that replace missing ones, and the mask of these."""
        missing, values = np.isnan(sequence), self.settings[FILL]["offset"] if FILL in self else 0
        return np.where(missing, np.asarray(values, np.float32), sequence), missing


def _require_own_settings(item: JsonMapping) -> None:
    """Raise `UnsupportedError` if a layer has settings that the layers of this package do not have."""
    kind, settings = item["class_name"], item["config"]
    for direction in ("layer", "backward_layer") if kind == "Bidirectional" else ():
        _require_own_settings(settings[direction])
    policy = settings.get("dtype", "float32")
    if (policy["config"]["name"] if isinstance(policy, dict) else policy) != "float32":
        raise UnsupportedError(f"{kind} with another dtype than float32")
    expected: JsonMapping = LSTM_SETTINGS if kind == "LSTM" else {}
    if kind == "Dense":
        expected = {"activation": "softmax" if settings["name"].endswith("label") else "linear"}
    if other := other_settings(settings, expected):
        raise UnsupportedError(f"{kind} with other settings ({other})")


class _Dense(NamedTuple):
    kernel: Float32Array
    bias: Float32Array

    def __call__(self, values: Array) -> Array:
        # One product of matrices is faster than one per sample.
        product = values.reshape(-1, values.shape[-1]) @ self.kernel
        product += self.bias
        return product.reshape(*values.shape[:-1], len(self.bias))


def _softmax(values: Array) -> Array:
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    shares: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares


class _Lstm:
    """LSTM layer, computed by NumPy or by a kernel of this package.

    The equations are those of Hochreiter and Schmidhuber 1997, with the gates i, f, g, o of Keras.

    Args:
        weights: kernel, recurrent kernel, and bias.
        choice: the choice of the network.
    """

    def __init__(self, weights: Sequence[Float32Array], choice: StateChoice) -> None:
        kernel, recurrent, bias = self.weights = weights
        self.size, self.units, self.choice = len(kernel), len(recurrent), choice
        if bias.shape != (4 * self.units,):
            raise ValueError("the bias of its LSTM has another shape than its config")
        self._kernel: StateKernel | None = None

    def __call__(self, sequence: Array, constant: Array | None = None) -> Array:
        """Return the hidden states, `(batch, steps, units)`.

        Args:
            sequence: `(batch, steps, any)`, or a single sequence for all samples if there is a constant.
            constant: `(batch, any)` further inputs, before those of the sequence, which are the same at all steps.
        """
        read = sequence.shape[2] + (0 if constant is None else constant.shape[1])
        if read != self.size:
            raise ValueError(f"its LSTM reads {self.size} values per step instead of {read}")
        if self.choice.kernel:
            self._kernel = self._kernel or self.choice.kernel(self.weights, self.size - sequence.shape[2])
            return self._kernel(sequence, constant)
        return self._compute(sequence, constant)

    def _compute(self, sequence: Array, constant: Array | None) -> Array:
        kernel, recurrent, bias = self.weights
        constants, units = self.size - sequence.shape[2], self.units
        constant_gates = bias if constant is None else constant @ kernel[:constants] + bias
        hidden = cells = np.zeros((len(sequence if constant is None else constant), units), np.float32)
        states = np.empty((len(hidden), sequence.shape[1], units), np.float32)
        for step in range(sequence.shape[1]):
            gates = hidden @ recurrent
            gates += sequence[:, step] @ kernel[constants:]
            gates += constant_gates
            candidate = np.tanh(gates[:, 2 * units : 3 * units])
            np.negative(gates, out=gates)
            np.exp(gates, out=gates)
            gates += 1
            np.reciprocal(gates, out=gates)
            cells = gates[:, units : 2 * units] * cells + gates[:, :units] * candidate
            hidden = np.multiply(gates[:, 3 * units :], np.tanh(cells), out=states[:, step])
        return states


class _Recurrent:
    """Recurrent layers one after the other, of a sequence in one or both directions.

    Args:
        stack: the layers of each direction.
    """

    def __init__(self, stack: Sequence[Sequence[_Lstm]]) -> None:
        self.stack, self.size = stack, stack[0][0].size

    def __call__(self, values: Array, constant: Array | None = None) -> Array:
        """Return the hidden states, `(batch, steps, units)`; see `_Lstm` for the arguments."""
        for forward, *backward in self.stack:
            states = [forward(values, constant), *(layer(values[:, ::-1])[:, ::-1] for layer in backward)]
            values, constant = np.concatenate(states, axis=2) if backward else states[0], None
        return values

    def summarize(self, sequence: Array, mask: Array, present: Array | None = None) -> Array:
        """Return the mean of the states over time and the final states.

        Args:
            sequence: `(batch, steps, features)`.
            mask: of the same shape; appended to the sequence if the layers read it.
            present: `(batch, steps, 1)` 1 for the steps that the mean includes, and 0 for others; None for all.
        """
        states = self(sequence if self.size == sequence.shape[2] else np.concatenate([sequence, mask], axis=2))
        units = self.stack[-1][0].units
        if present is None:
            # This product is several times as fast as the mean of an axis.
            mean = np.full(states.shape[1], 1 / states.shape[1], np.float32) @ states
        else:
            mean = (states * present).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
        # A backward layer ends at the first step.
        return np.concatenate([mean, states[:, -1, :units], states[:, 0, units:]], axis=1)


def _autoencoder(layers: _Layers, steps: int) -> tuple[Function, Function]:
    """Return the functions from scaled windows to codes, and from codes to reconstructions."""
    encoder, decoder = layers.encoder(), layers.recurrent("decoder")
    to_code, has_link = layers.dense("to_code"), LINEAR_DECODER in layers
    to_values = layers.dense(RESIDUAL if has_link else "reconstruction")
    linear = (layers.dense(LINEAR_ENCODER), layers.dense(LINEAR_DECODER)) if has_link else None
    limit = math.inf if layers.config.scale == "none" else LINEAR_LIMIT

    def encode(sequence: Array) -> Array:
        values, missing = layers.fill(sequence)
        code = to_code(encoder.summarize(values, missing))
        if linear:
            code[:, : len(linear[0].bias)] += linear[0](np.clip(values, -limit, limit).reshape(len(values), -1))
        return code

    waves = positional_encoding(steps)[None]

    def decode(code: Array) -> Array:
        values = to_values(decoder(waves, code))
        if linear:
            values += linear[1](code[:, : len(linear[1].kernel)]).reshape(values.shape)
        return values

    return encode, decode


def _classifier(layers: _Layers) -> Compute:
    """Return the function from scaled windows to class probabilities."""
    link = _link(layers)
    members = [
        (layers.encoder(prefix), layers.dense(f"{prefix}residual" if link else f"{prefix}label"))
        for prefix in layers.prefixes
    ]

    def compute(inputs: Arrays) -> dict[str, Array]:
        sequence = inputs["sequence"]
        values, missing = layers.fill(sequence)
        present = np.asarray(~missing.all(axis=2, keepdims=True), np.float32)
        outputs = [head(encoder.summarize(values, missing, present)) for encoder, head in members]
        if link:
            return {"label": _softmax(link(sequence) + _mean(outputs))}
        return {"label": _mean(list(map(_softmax, outputs)))}

    return compute


def _mean(outputs: Sequence[Array]) -> Array:
    """Return the mean of the outputs of the members."""
    return sum(outputs[1:], start=outputs[0]) / np.float32(len(outputs))


def _link(layers: _Layers) -> Function | None:
    """Return the function of the fitted regression at which a classifier starts; None if there is none."""
    if "link" not in layers:
        return None
    dense, convolutions = layers.dense("link"), _convolutions(layers)

    def compute(sequence: Array) -> Array:
        if convolutions:
            return dense(convolutions.features(sequence))
        sequence = sequence.reshape(len(sequence), -1)
        missing = np.isnan(sequence)
        values = np.where(missing, np.float32(0), sequence)
        return dense(values if len(dense.kernel) == values.shape[1] else np.concatenate([values, missing], axis=1))

    return compute


def _convolutions(layers: _Layers) -> Convolutions | None:
    """Return the convolutions that the link reads; None if it reads the values."""
    if "standardized" not in layers:
        return None
    scale = layers.settings["standardized"]
    dilations = sorted(int(name.removeprefix("convolutions_")) for name in layers.settings if "convolutions_" in name)
    # One array per dilation, so that the limits of a kernel are in the order of their numbers.
    limits: list[list[Float32Array]] = [[] for _ in dilations]
    for dilation, of_kernels in zip(dilations, limits, strict=True):
        while (name := f"above_{dilation}_{len(of_kernels)}") in layers:
            of_kernels.append(-np.asarray(layers.settings[name]["offset"], np.float32))
    return Convolutions(
        np.asarray(scale["scale"], np.float32),
        np.asarray(scale["offset"], np.float32),
        np.array(dilations),
        np.array([layers.weights(f"convolutions_{dilation}")[0] for dilation in dilations]),
        np.array(limits),
    )


def _forecaster(layers: _Layers, sizes: Sizes) -> Compute:
    """Return the function from scaled windows, and known covariates over the horizon, to forecasts."""
    steps, horizon = sizes["past"][0], layers.config.horizon or 0
    count = sizes["known"][1] if "known" in sizes else 0
    effects = layers.dense("effects") if "effects" in layers else None
    linear = layers.dense("linear") if "linear" in layers else None
    members = [
        (layers.encoder(prefix), layers.recurrent(f"{prefix}decoder"), layers.dense(f"{prefix}residual"))
        for prefix in layers.prefixes
    ]
    waves = positional_encoding(horizon)[None]

    def compute(inputs: Arrays) -> dict[str, Array]:
        absent = np.isnan(inputs["past"])
        present, filled = (~absent).astype(np.float32), np.where(absent, np.float32(0), inputs["past"])
        ahead = known = effect = None
        if count:
            unknown = np.isnan(inputs["known"])
            ahead = np.where(unknown, np.float32(0), inputs["known"])
            if effects:
                effect = effects(np.concatenate([filled[..., -count:], ahead], axis=1))
                filled[..., : effect.shape[2]] -= effect[:, :steps]
        # The last present value has no other after it; a feature without any value counts as 0.
        after = np.cumsum(present[:, ::-1], axis=1)[:, ::-1]
        last = np.sum(filled * present * (after == 1), axis=1, keepdims=True)
        relative = (filled - last) * present
        if ahead is not None:
            known = np.concatenate([ahead, ahead - last[..., -count:], unknown], axis=2)
        outputs = []
        for encoder, decoder, residual in members:
            summary, read = encoder.summarize(relative, absent), waves
            if known is not None:
                # The mask of their missing values is last.
                size = decoder.size - summary.shape[1] - waves.shape[2]
                read = np.concatenate(
                    [np.broadcast_to(waves, (len(known), *waves.shape[1:])), known[..., :size]], axis=2
                )
            outputs.append(residual(decoder(read, summary)))
        future = _mean(outputs)
        targets = future.shape[2]
        if linear:
            future = future + linear(relative[..., :targets].transpose(0, 2, 1)).transpose(0, 2, 1)
        future = last[..., :targets] + future
        return {"future": future if effect is None else future + effect[:, steps:]}

    return compute


def _read_scale(config: Series, scaling: JsonMapping, weights: Mapping[str, Sequence[Float32Array]]) -> Scale:
    """Return the scale of a model in original units from the submodel that applies it."""
    if config.scale == "series":
        offset, span = np.split(weights["table"][0], 2, axis=1)
        return Scale("series", offset, span)
    if config.scale == "window":
        return window_scale(1)
    items = {item["name"]: item for item in scaling["layers"]}
    offset, span = (_constant(items[scaling["output_layers"][name][0]]) for name in ("offset", "range"))
    return Scale("fixed", offset, span)


def _constant(item: JsonMapping) -> Float32Array:
    """Return the constant factor of a multiplication."""
    factor = item["inbound_nodes"][0]["args"][1]
    return np.array(factor["config"]["value"] if isinstance(factor, dict) else factor, np.float32, ndmin=2)


class NumpyFunction(ArrayFunction):
    """Function of samples that is computed in small batches on all cores.

    Args:
        compute: function of few samples.
        sizes: sizes of the inputs of a sample by name.
        choice: choice of what computes its recurrent layers.
    """

    def __init__(self, compute: Compute, sizes: Sizes, choice: StateChoice) -> None:
        self.compute, self.input_sizes, self.choice, self.steps = compute, sizes, choice, 0
        self.inputs: Mapping[str, Shape] = {name: (None, *size) for name, size in sizes.items()}
        # A network whose layers do not fit together fails here and not when it is applied.
        sample = self({name: np.zeros((1, *size), np.float32) for name, size in sizes.items()})
        self.empty = {name: value[:0] for name, value in sample.items()}
        self.outputs: Mapping[str, Shape] = {name: (None, *value.shape[1:]) for name, value in sample.items()}
        self.steps = max(shape[1] or 0 for shape in (*self.inputs.values(), *self.outputs.values()) if len(shape) == 3)

    def __call__(self, inputs: Arrays) -> dict[str, Float32Array]:
        """Return the outputs for a batch of inputs."""
        arrays = {name: np.asarray(inputs[name], np.float32) for name in self.inputs}
        count = len(next(iter(arrays.values())))
        if not count:
            return dict(self.empty)

        @np.errstate(all="ignore")
        def compute(first: int) -> dict[str, Array]:
            return self.compute({name: array[first : first + SAMPLES] for name, array in arrays.items()})

        self.choice.count(count * self.steps)
        # Threads of BLAS as well would wait for each other at every step. The limit is that of the process, and only
        # the thread that set it can restore it, so that it would stay if calls of several threads overlapped.
        with _BLAS_LOCK, _blas_threads().limit(limits=1, user_api="blas"):
            pieces = map_in_threads(compute, range(0, count, SAMPLES))
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


@functools.cache
def _blas_threads() -> ThreadpoolController:
    return ThreadpoolController()


class NumpyNetwork(Network):
    """Trained model on a table.

    Attributes:
        encoder: function of scaled windows to codes; only of autoencoders.

    Args:
        config: config of its run.
        model: Keras config of the model.
        weights: its weights.
        load_keras: function that returns the Keras model.

    Raises:
        UnsupportedError: Keras must compute the model.
        ValueError: its weights do not fit its config.
    """

    inner: NumpyFunction

    def __init__(
        self, config: Config, model: JsonMapping, weights: ModelWeights, load_keras: "Callable[[], keras.Model]"
    ) -> None:
        if not isinstance(config, Series) or config.segment:
            raise UnsupportedError("models of other studies than of tables, and forecasters with segments")
        self.keras_model, items = load_keras, {item["name"]: item["config"] for item in model["layers"]}
        try:
            inner, scaling = items["network"], items["scaling"]
            self.scale = _read_scale(config, scaling, weights.get("scaling", {}))
            self.table = weights["scaling"]["table"][0] if config.scale == "series" else None
            self.layers = _Layers(inner["layers"], weights["network"], config)
            self.inputs = {name: (None, *size) for name, size in _input_sizes(model).items()}
            sizes = _input_sizes(inner)
            if config.task == "classify":
                compute = _classifier(self.layers)
            elif config.task == "forecast":
                compute = _forecaster(self.layers, sizes)
            else:
                compute = self._split(sizes)
            self.inner = NumpyFunction(compute, sizes, self.layers.choice)
        except (ValueError, IndexError, KeyError) as error:
            raise UnsupportedError(f"a network of this structure ({error})") from error
        self.outputs = self.inner.outputs
        if self.layers.unread:
            raise UnsupportedError(f"the layer {min(self.layers.unread)!r}")

    def _split(self, sizes: Sizes) -> Compute:
        """Split an autoencoder into encoder and decoder, and return the function that applies both."""
        encode, decode = _autoencoder(self.layers, sizes["sequence"][0])
        self.encoder = NumpyFunction(lambda inputs: {"code": encode(inputs["sequence"])}, sizes, self.layers.choice)
        self.code = self.encoder.outputs["code"]
        return lambda inputs: {"reconstruction": decode(encode(inputs["sequence"]))}

    def scaling(self, inputs: Arrays) -> dict[str, Array]:
        """Return the scaled values of the inputs, with their offset and range."""
        values = np.asarray(inputs[series_input(inputs)], np.float32)
        offset, span = self.scale.of(values, inputs.get("series"))
        with np.errstate(over="ignore", invalid="ignore"):
            return {"scaled": (values - offset) / span, "offset": offset, "range": span}

    def undo_scaling(self, values: Array, scaled: Arrays) -> Float32Array:
        """Return scaled values in original units."""
        inputs = unscaling_inputs(values, scaled)
        return np.asarray(inputs["offset"] + values * inputs["range"], np.float32)

    def encode(self, scaled: Array) -> Float32Array:
        """Return the codes of scaled windows."""
        return self.encoder({"sequence": scaled})["code"]

    def __call__(self, inputs: Arrays) -> dict[str, Float32Array]:
        """Return the outputs for a batch of inputs."""
        scaled = self.scaling(inputs)
        scaled_inputs = {series_input(inputs): scaled["scaled"]}
        if "known" in inputs:
            scale = {name: scaled[name][..., -inputs["known"].shape[2] :] for name in ("offset", "range")}
            scaled_inputs["known"] = (np.asarray(inputs["known"], np.float32) - scale["offset"]) / scale["range"]
        outputs = self.inner(scaled_inputs)
        return {name: value if name == "label" else self.undo_scaling(value, scaled) for name, value in outputs.items()}


def _input_sizes(config: JsonMapping) -> Sizes:
    """Return the sizes of the inputs of a sample, in alphabetical order."""
    items = sorted((item for item in config["layers"] if item["class_name"] == "InputLayer"), key=itemgetter("name"))
    sizes = {item["name"]: tuple(item["config"]["batch_shape"][1:]) for item in items}
    if max(map(math.prod, sizes.values())) > LARGEST_SAMPLE:
        raise ValueError(f"it has more than {LARGEST_SAMPLE:,} values per sample")
    return sizes


def load_network(
    source: Path | bytes, config: Config, parameters: int | None, load_keras: "Callable[[], keras.Model]"
) -> NumpyNetwork:
    """Validate a model file as `lstm_ae.models.archive.load` does, and build its network.

    Args:
        source: path or content of a `model.keras`.
        config: config of its run.
        parameters: expected number of parameters of its network; None to accept any.
        load_keras: function that loads the file with Keras.

    Returns:
        A model in original units, see `lstm_ae.models.scaling.in_own_units`.

    Raises:
        UnsupportedError: Keras must compute the model.
        ValueError: the content of the file is not allowed; the text describes what is wrong with "it", the file.
        Exception: any error of the zip or HDF5 readers for a damaged file.
    """
    model, weights = read_validated(source)
    network = NumpyNetwork(config, model["config"], weights, load_keras)
    count = sum(array.size for arrays in weights["network"].values() for array in arrays)
    require_submodels({"scaling": 0, "network": count}, parameters)
    return network
