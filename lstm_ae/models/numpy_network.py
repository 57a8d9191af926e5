"""Networks of tables computed by NumPy, without TensorFlow: autoencoders, forecasters, and classifiers.

The forward pass is that of `pooled_autoencoder`, `horizon_forecaster`, and `pooled_classifier` of this folder. The
names of the layers and the shapes of their weights tell which parts a network has. `UnsupportedError` is raised for all
other models, which Keras must compute: those of other studies, and forecasters with segments.
"""

import functools
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.classification.convolutions import Convolutions
from lstm_ae.data.scaling import Scale, window_scale
from lstm_ae.json_types import JsonMapping
from lstm_ae.kernels.choice import StateChoice, unsupported_steps
from lstm_ae.models.archive import LARGEST_SAMPLE, layer_name, load, read_validated, require_submodels
from lstm_ae.models.network import (
    FILL,
    LINEAR_DECODER,
    LINEAR_ENCODER,
    LINEAR_LIMIT,
    RESIDUAL,
    ArrayFunction,
    Layer,
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

# Classes of the layers and operations that scale a table, by the kind of the scale.
_SCALES = {
    "fixed": "GetItem InputLayer Multiply OnesLike Subtract TrueDivide",
    "series": "Embedding ExpandDims GetItem Greater InputLayer Less LogicalAnd Subtract TrueDivide Where",
    "window": "Greater InputLayer Max Min Subtract TrueDivide Where",
}
_UNSCALING = {"Add", "InputLayer", "Multiply"}


class UnsupportedError(Exception):
    """A model is none that this module computes; the text names the layer or setting."""


class _Layers(dict[str, Layer]):
    """Layers of a network by name, and the choice of what computes the recurrent ones.

    Each layer with weights must be read, so that a network with an unknown one is refused.
    """

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        super().__init__(layers)
        self.choice = StateChoice()
        self._unread = {name for name, layer in layers.items() if layer.arrays}

    def require_all_read(self) -> None:
        """Raise `UnsupportedError` if a layer with weights was not read."""
        if self._unread:
            raise UnsupportedError(f"the layer {min(self._unread)!r}")

    def read(self, name: str, kind: str) -> Layer:
        """Return a layer of a Keras class that computes in single precision."""
        layer = self.get(name)
        if layer is None or layer.kind != kind:
            raise UnsupportedError(f"a network without the {kind} layer {name!r}")
        for part in (layer, *layer.directions):
            policy = part.config.get("dtype", "float32")
            if (policy["config"]["name"] if isinstance(policy, dict) else policy) != "float32":
                raise UnsupportedError(f"{kind} with another dtype than float32")
        self._unread.discard(name)
        return layer

    def dense(self, name: str, activation: str = "linear") -> "_Dense":
        """Return the function of a dense layer."""
        layer = self.read(name, "Dense")
        if layer.config["activation"] != activation:
            raise UnsupportedError(f"Dense with the activation {layer.config['activation']}")
        kernel, *biases = layer.weights
        if [bias.shape for bias in biases] != [kernel.shape[1:]] * bool(layer.config["use_bias"]):
            raise ValueError(f"the weights of its layer {name!r} have other shapes than its config")
        return _Dense(kernel, biases[0] if biases else np.zeros(kernel.shape[1], np.float32), activation == "softmax")


class _Dense(NamedTuple):
    kernel: Float32Array
    bias: Float32Array
    softmax: bool

    def __call__(self, values: Array) -> Array:
        # One product of matrices is faster than one per sample.
        product = values.reshape(-1, values.shape[-1]) @ self.kernel
        product += self.bias
        return (_softmax(product) if self.softmax else product).reshape(*values.shape[:-1], len(self.bias))


def _softmax(values: Array) -> Array:
    grown = np.exp(values - values.max(axis=1, keepdims=True))
    shares: Array = grown / grown.sum(axis=1, keepdims=True)
    return shares


class _Lstm:
    """LSTM layer, computed by NumPy or by a kernel of this package.

    The equations are those of Hochreiter and Schmidhuber 1997, with the gates i, f, g, o of Keras.

    Args:
        layer: the layer.
        choice: the choice of the network.
    """

    def __init__(self, layer: Layer, choice: StateChoice) -> None:
        if reason := unsupported_steps(layer.config):
            raise UnsupportedError(f"LSTM, since {reason}")
        kernel, recurrent, bias = layer.weights
        self.weights, self.size, self.units = layer.weights, len(kernel), len(recurrent)
        if bias.shape != (4 * self.units,):
            raise ValueError("the bias of its LSTM has another shape than its config")
        self.direction = slice(None, None, -1 if layer.config["go_backwards"] else 1)
        self.choice = choice
        self._kernel: StateKernel | None = None
        # The three gates first, so that one call activates them.
        order = np.r_[: 2 * self.units, 3 * self.units : 4 * self.units, 2 * self.units : 3 * self.units]
        self.packed = np.ascontiguousarray(np.concatenate([kernel, recurrent, bias[None]])[:, order].T)

    def __call__(self, sequence: Array, constant: Array | None = None) -> Array:
        """Return the hidden states, `(batch, steps, units)`.

        Args:
            sequence: `(batch, steps, any)`, or a single sequence for all samples if there is a constant.
            constant: `(batch, any)` further inputs, before those of the sequence, which are the same at all steps.
        """
        read = sequence.shape[2] + (0 if constant is None else constant.shape[1])
        if read != self.size:
            raise ValueError(f"its LSTM reads {self.size} values per step instead of {read}")
        sequence = sequence[:, self.direction]
        if self.choice.kernel:
            self._kernel = self._kernel or self.choice.kernel(self.weights, self.size - sequence.shape[2])
            hidden = self._kernel(sequence, constant)
        else:
            hidden = self._compute(sequence if constant is None else _repeat(constant, sequence))
        return hidden[:, self.direction]

    def _compute(self, sequence: Array) -> Array:
        batch, steps, _ = sequence.shape
        size, units = self.size, self.units
        states = np.empty((batch, steps, units), np.float32)
        # Each step is one product of the weights with [x_t, h_(t-1), 1], samples in columns.
        given = np.ones((size + units + 1, batch), np.float32)
        before, cells = given[size:-1], np.zeros((units, batch), np.float32)
        before[:] = 0
        products = np.empty((4 * units, batch), np.float32)
        gates, candidate = products[: 3 * units], products[3 * units :]
        i, f, o = gates.reshape(3, units, batch)
        for step in range(steps):
            given[:size] = sequence[:, step].T
            np.matmul(self.packed, given, out=products)
            np.negative(gates, out=gates)
            np.exp(gates, out=gates)
            gates += 1
            np.reciprocal(gates, out=gates)
            np.tanh(candidate, out=candidate)
            cells *= f
            candidate *= i
            cells += candidate
            np.tanh(cells, out=candidate)
            np.multiply(o, candidate, out=before)
            states[:, step] = before.T
        return states


def _repeat(constant: Array, sequence: Array) -> Array:
    """Return `(batch, steps, any)` with the constant `(batch, any)` before the values of every step."""
    shape = (len(constant), sequence.shape[1])
    parts = (constant[:, None], sequence)
    return np.concatenate([np.broadcast_to(part, (*shape, part.shape[2])) for part in parts], axis=2)


class _Recurrent:
    """Recurrent layers one after the other, of a sequence in one or both directions.

    Args:
        layers: the layers of the network.
        name: name of the layers, before their number.
    """

    def __init__(self, layers: _Layers, name: str) -> None:
        names = [each for each in layers if re.fullmatch(f"{name}_[0-9]+(_both)?", each)]
        found = [layers.read(each, "Bidirectional" if each.endswith("_both") else "LSTM") for each in names]
        if not found:
            raise UnsupportedError(f"a network without the layer {name!r}")
        self._stack = [[_Lstm(each, layers.choice) for each in layer.directions or (layer,)] for layer in found]
        self.both, self.size = len(self._stack[0]) > 1, self._stack[0][0].size

    def __call__(self, values: Array, constant: Array | None = None) -> Array:
        """Return the hidden states, `(batch, steps, units)`; see `_Lstm` for the arguments."""
        for directions in self._stack:
            states = [compute(values, constant) for compute in directions]
            values, constant = np.concatenate(states, axis=2) if len(states) > 1 else states[0], None
        return values

    def summarize(self, sequence: Array, mask: Array, present: Array | None = None) -> Array:
        """Return the mean of the states over time and the final states.

        Args:
            sequence: `(batch, steps, features)`.
            mask: of the same shape; appended to the sequence if the layers read it.
            present: `(batch, steps, 1)` 1 for the steps that the mean includes, and 0 for others; None for all.
        """
        states = self(sequence if self.size == sequence.shape[2] else np.concatenate([sequence, mask], axis=2))
        units = states.shape[2] // 2 if self.both else states.shape[2]
        if present is None:
            # This product is several times as fast as the mean of an axis.
            mean = np.full(states.shape[1], 1 / states.shape[1], np.float32) @ states
        else:
            mean = (states * present).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
        # A backward layer ends at the first step.
        return np.concatenate([mean, states[:, -1, :units], states[:, 0, units:]], axis=1)


def _fill_values(layers: _Layers) -> Float32Array:
    """Return the values that replace missing ones, `(features,)` or one for all."""
    return np.asarray(layers.read(FILL, "Rescaling").config["offset"] if FILL in layers else 0, np.float32)


def _autoencoder(layers: _Layers, steps: int, operations: set[str]) -> tuple[Function, Function]:
    """Return the functions from scaled windows to codes, and from codes to reconstructions."""
    encoder, decoder, fill = _Recurrent(layers, "encoder"), _Recurrent(layers, "decoder"), _fill_values(layers)
    to_code, linked = layers.dense("to_code"), LINEAR_DECODER in layers
    to_values = layers.dense(RESIDUAL if linked else "reconstruction")
    limit = LINEAR_LIMIT if "Clip" in operations else math.inf
    linear = (layers.dense(LINEAR_ENCODER), layers.dense(LINEAR_DECODER)) if linked else None

    def encode(sequence: Array) -> Array:
        missing = np.isnan(sequence)
        values = np.where(missing, fill, sequence)
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


def _member_prefixes(layers: Iterable[str]) -> list[str]:
    """Return the prefixes of the names of the layers of each member, see `lstm_ae.models.ensemble`."""
    matches = (re.match("member_[0-9]+_", name) for name in layers)
    return sorted({match[0] for match in matches if match}) or [""]


def _classifier(layers: _Layers) -> Compute:
    """Return the function from scaled windows to class probabilities."""
    link, fill = _link(layers), _fill_values(layers)
    members = [
        (
            _Recurrent(layers, f"{prefix}encoder"),
            layers.dense(f"{prefix}residual") if link else layers.dense(f"{prefix}label", "softmax"),
        )
        for prefix in _member_prefixes(layers)
    ]

    def compute(inputs: Arrays) -> dict[str, Array]:
        sequence = inputs["sequence"]
        missing = np.isnan(sequence)
        values = np.where(missing, fill, sequence)
        present = np.asarray(~missing.all(axis=2, keepdims=True), np.float32)
        outputs = [head(encoder.summarize(values, missing, present)) for encoder, head in members]
        mean = sum(outputs[1:], start=outputs[0]) / np.float32(len(outputs))
        return {"label": _softmax(link(sequence) + mean) if link else mean}

    return compute


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
    scale = layers.read("standardized", "Rescaling").config
    dilations = sorted(int(name.removeprefix("convolutions_")) for name in layers if name.startswith("convolutions_"))
    # One array per dilation, so that the limits of a kernel are in the order of their numbers.
    limits: list[list[Float32Array]] = [[] for _ in dilations]
    for dilation, of_kernels in zip(dilations, limits, strict=True):
        while (name := f"above_{dilation}_{len(of_kernels)}") in layers:
            of_kernels.append(-np.asarray(layers.read(name, "Rescaling").config["offset"], np.float32))
    return Convolutions(
        np.asarray(scale["scale"], np.float32),
        np.asarray(scale["offset"], np.float32),
        np.array(dilations),
        np.array([layers.read(f"convolutions_{dilation}", "Conv1D").weights[0] for dilation in dilations]),
        np.array(limits),
    )


def _forecaster(layers: _Layers, sizes: Sizes) -> Compute:
    """Return the function from scaled windows, and known covariates over the horizon, to forecasts."""
    steps, _ = sizes["past"]
    horizon, count = sizes.get("known", (0, 0))
    effects = layers.dense("effects") if "effects" in layers else None
    linear = layers.dense("linear") if "linear" in layers else None
    prefixes = _member_prefixes(layers)
    if not horizon:
        horizon = len(linear.bias) if linear else layers.read(f"{prefixes[0]}repeat", "RepeatVector").config["n"]
        _fixed_size((None, horizon))
    members = [
        (
            _Recurrent(layers, f"{prefix}encoder"),
            _Recurrent(layers, f"{prefix}decoder"),
            layers.dense(f"{prefix}residual"),
        )
        for prefix in prefixes
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
        future = sum(outputs[1:], start=outputs[0]) / np.float32(len(outputs))
        targets = future.shape[2]
        if linear:
            future = future + linear(relative[..., :targets].transpose(0, 2, 1)).transpose(0, 2, 1)
        future = last[..., :targets] + future
        return {"future": future if effect is None else future + effect[:, steps:]}

    return compute


def _read_scale(config: JsonMapping, layers: Mapping[str, Layer]) -> Scale:
    """Return the scale of a model in original units from the submodel that applies it."""
    items = {item["name"]: item for item in config["layers"]}
    classes = {item["class_name"] for item in items.values()}
    kind = next((kind for kind, names in _SCALES.items() if set(names.split()) == classes), "")
    if kind == "series":
        offset, span = np.split(layers["table"].weights[0], 2, axis=1)
        return Scale("series", offset, span)
    if kind == "window":
        return window_scale(1)
    if kind != "fixed":
        raise UnsupportedError("a scale other than those of tables")
    offset, span = (_constant(items[config["output_layers"][name][0]]) for name in ("offset", "range"))
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
        self.compute, self.input_sizes, self.choice = compute, sizes, choice
        self.inputs: Mapping[str, Shape] = {name: (None, *size) for name, size in sizes.items()}
        self.steps = 0
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
        config: Keras config of the model.
        layers: layers of its submodels by name.
        load_keras: function that returns the Keras model.

    Raises:
        UnsupportedError: Keras must compute the model.
        ValueError: its weights do not fit its config.
    """

    inner: NumpyFunction

    def __init__(
        self,
        config: JsonMapping,
        layers: Mapping[str, Mapping[str, Layer]],
        load_keras: "Callable[[], keras.Model]",
    ) -> None:
        items = {item["name"]: item["config"] for item in config["layers"]}
        unscaling = {item["class_name"] for item in items.get("unscaling", {"layers": []})["layers"]}
        if not {"scaling", "network"} <= set(items) or not unscaling <= _UNSCALING:
            raise UnsupportedError("a model that was not trained on a table")
        inner = items["network"]
        self.scale = _read_scale(items["scaling"], layers["scaling"])
        self.table = layers["scaling"]["table"].weights[0] if self.scale.kind == "series" else None
        self.keras_model, self.layers = load_keras, _Layers(layers["network"])
        self.inputs = _input_shapes(config)
        sizes = {name: _fixed_size(shape) for name, shape in _input_shapes(inner).items()}
        try:
            match sorted(sizes), sorted(inner["output_layers"]):
                case ["sequence"], ["reconstruction"]:
                    compute = self._split(sizes, {item["class_name"] for item in inner["layers"]})
                case ["sequence"], ["label"]:
                    compute = _classifier(self.layers)
                case ["past"] | ["known", "past"], ["future"]:
                    compute = _forecaster(self.layers, sizes)
                case _:
                    raise UnsupportedError("a model with these inputs and outputs")
            self.inner = NumpyFunction(compute, sizes, self.layers.choice)
        except (ValueError, IndexError) as error:
            raise UnsupportedError(f"a network of this structure ({error})") from error
        self.outputs = self.inner.outputs
        self.layers.require_all_read()

    def _split(self, sizes: Sizes, operations: set[str]) -> Compute:
        """Split an autoencoder into encoder and decoder, and return the function that applies both."""
        encode, decode = _autoencoder(self.layers, sizes["sequence"][0], operations)
        self.encoder = NumpyFunction(lambda given: {"code": encode(given["sequence"])}, sizes, self.layers.choice)
        self.code = self.encoder.outputs["code"]
        return lambda given: {"reconstruction": decode(encode(given["sequence"]))}

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
        given = {series_input(inputs): scaled["scaled"]}
        if "known" in inputs:
            scale = {name: scaled[name][..., -inputs["known"].shape[2] :] for name in ("offset", "range")}
            given["known"] = (np.asarray(inputs["known"], np.float32) - scale["offset"]) / scale["range"]
        outputs = self.inner(given)
        return {name: value if name == "label" else self.undo_scaling(value, scaled) for name, value in outputs.items()}


def _input_shapes(config: JsonMapping) -> dict[str, Shape]:
    shapes = {
        item["name"]: item["config"]["batch_shape"] for item in config["layers"] if item["class_name"] == "InputLayer"
    }
    return {name: tuple(shapes[name]) for name in sorted(shapes)}


def _fixed_size(shape: Shape) -> tuple[int, ...]:
    """Return the size of a sample."""
    _, *sizes = shape
    if None in sizes:
        raise UnsupportedError("inputs of any length")
    found = tuple(size for size in sizes if size is not None)
    if math.prod(found) > LARGEST_SAMPLE:
        raise ValueError(f"it has more than {LARGEST_SAMPLE:,} values per sample")
    return found


def load_network(
    source: Path | bytes, parameters: int | None = None, load_keras: "Callable[[], keras.Model] | None" = None
) -> NumpyNetwork:
    """Validate a model file as `lstm_ae.models.archive.load` does, and build its network.

    Args:
        source: path or content of a `model.keras`.
        parameters: expected number of parameters of its network; None to accept any.
        load_keras: function that loads the file with Keras; None for `lstm_ae.models.archive.load`.

    Returns:
        A model in original units, see `lstm_ae.models.scaling.in_own_units`.

    Raises:
        UnsupportedError: Keras must compute the model.
        ValueError: the content of the file is not allowed; the text describes what is wrong with "it", the file.
        Exception: any error of the zip or HDF5 readers for a damaged file.
    """
    config, weights = read_validated(source)
    found = _submodel_layers(config["config"], weights)
    model = NumpyNetwork(config["config"], found, load_keras or partial(load, source))
    count = sum(array.size for layer in model.layers.values() for array in layer.arrays)
    require_submodels({"scaling": 0, "network": count}, parameters)
    return model


def _submodel_layers(config: JsonMapping, weights: Arrays) -> dict[str, dict[str, Layer]]:
    """Return the layers of each submodel by name."""
    return {
        item["name"]: {
            each["name"]: _layer(each, weights, at)
            for each, at in _numbered(item["config"]["layers"], path)
            if each["class_name"] not in ("InputLayer", "Functional")
        }
        for item, path in _numbered(config["layers"], "")
        if item["class_name"] == "Functional"
    }


def _numbered(items: Sequence[JsonMapping], path: str) -> Iterator[tuple[JsonMapping, str]]:
    """Yield each layer of a model with the path of its weights, which Keras numbers by class."""
    if len({item["name"] for item in items}) < len(items):
        raise ValueError("two of its layers have the same name")
    counts: dict[str, int] = {}
    for item in items:
        # Operations have no weights and no number.
        if item["module"] in ("keras.layers", "keras.src.models.functional"):
            base = layer_name(item["class_name"])
            number = counts[base] = counts.get(base, -1) + 1
            yield item, f"{path}layers/{base}_{number}/" if number else f"{path}layers/{base}/"


def _layer(item: JsonMapping, weights: Arrays, path: str) -> Layer:
    """Return a layer with its weights."""
    kind, config = item["class_name"], item["config"]
    directions: tuple[Layer, ...] = ()
    if kind == "Bidirectional":
        parts = zip((config["layer"], config["backward_layer"]), ("forward_layer", "backward_layer"), strict=True)
        directions = tuple(_layer(part, weights, f"{path}{name}/") for part, name in parts)
    place = f"{path}cell/vars/" if kind == "LSTM" else f"{path}vars/"
    values: list[Float32Array] = []
    while (name := f"{place}{len(values)}") in weights:
        values.append(np.ascontiguousarray(weights[name], np.float32))
    return Layer(kind, config, tuple(values), directions)
