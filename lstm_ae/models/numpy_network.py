"""Stored models computed by NumPy, without TensorFlow.

`model.keras` describes a graph of layers and operations. This module evaluates the layers and operations that
`lstm_ae.models.archive` accepts, with the settings that models of this package have. It raises `UnsupportedError` for
other settings, with which Keras must compute the model.
"""

import functools
import graphlib
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.kernels.choice import unsupported_steps
from lstm_ae.models.archive import layer_name, load, read_validated, require_submodels
from lstm_ae.models.network import Layer, Network, Shape
from lstm_ae.threads import map_in_threads

if TYPE_CHECKING:
    import keras

# Output of a layer: its name, the number of the call, and the number of the output.
TensorKey = tuple[str, int, int]
# Function from the arguments of a call to its outputs.
Function = Callable[..., tuple[Array, ...]]

# Lengths with which a graph is evaluated to find out which sizes of its outputs are fixed.
PROBED_LENGTHS = (2, 3)

# Samples that are computed together: few, so that the data of a step stays in a core's cache.
SAMPLES = 256

# Largest number of values of a tensor per sample: operations without weights could fill the memory.
LARGEST_SAMPLE = 2**26


# Held while BLAS is limited to one thread.
_BLAS_LOCK = threading.Lock()


class UnsupportedError(Exception):
    """A model has a layer or setting that this module does not compute; the text names it."""


class _Tensor(NamedTuple):
    """Reference to a tensor within the arguments of a call."""

    key: TensorKey


class _Call(NamedTuple):
    """Call of a layer or operation.

    Args:
        name: name of the layer.
        number: number of the call among those of the layer.
        function: function that computes it.
        arguments: positional and named arguments, with a `_Tensor` for each tensor.
        sources: the tensors that it reads.
    """

    name: str
    number: int
    function: Function
    arguments: tuple[Any, Any]
    sources: tuple[TensorKey, ...]


class NumpyNetwork(Network):
    """Graph of calls in an order in which each reads outputs of earlier ones only.

    Args:
        calls: the calls.
        inputs: the tensor and the shape of each input.
        outputs: the tensor of each output.
        layers: the layers.
        submodels: the nested models.
    """

    def __init__(
        self,
        calls: Sequence[_Call],
        inputs: Mapping[str, tuple[TensorKey, Shape, str]],
        outputs: Mapping[str, TensorKey],
        layers: Mapping[str, Layer],
        submodels: Mapping[str, "NumpyNetwork"],
    ) -> None:
        # Function that returns the Keras model of a whole model.
        self.load_keras: Callable[[], keras.Model] | None = None
        self._inputs, self._outputs, self._layers, self._submodels = dict(inputs), dict(outputs), layers, submodels
        self._calls = self._needed(calls)
        used: dict[TensorKey, int] = {}
        for place, call in enumerate(self._calls):
            used |= dict.fromkeys(call.sources, place)
        # Tensors are freed after the last call that reads them.
        self._freed: list[list[TensorKey]] = [[] for _ in self._calls]
        for key, place in used.items():
            if key not in self._outputs.values():
                self._freed[place].append(key)

    def _needed(self, calls: Sequence[_Call]) -> list[_Call]:
        """Return the calls that the outputs depend on, given the inputs."""
        given = {key for key, *_ in self._inputs.values()}
        needed, wanted = [], {key[:2] for key in self._outputs.values() if key not in given}
        for call in reversed(calls):
            if (call.name, call.number) in wanted:
                needed.append(call)
                wanted |= {key[:2] for key in call.sources if key not in given}
        for name, _ in wanted - {(call.name, call.number) for call in needed}:
            raise ValueError(f"its output depends on {name!r}, which is neither an input nor computed")
        return needed[::-1]

    @property
    def inputs(self) -> Mapping[str, Shape]:
        """Shapes of the inputs by name."""
        return {name: shape for name, (_, shape, _) in self._inputs.items()}

    @cached_property
    def outputs(self) -> Mapping[str, Shape]:
        """Shapes of the outputs by name."""
        lengths = PROBED_LENGTHS if any(None in shape[1:] for shape in self.inputs.values()) else PROBED_LENGTHS[:1]
        probed = [
            self({name: np.zeros([1, *(size or length for size in shape[1:])]) for name, shape in self.inputs.items()})
            for length in lengths
        ]
        return {
            name: (None, *(size if all(other == size for other in sizes) else None for size, *sizes in zip(
                *(outputs[name].shape[1:] for outputs in probed), strict=True)))
            for name in self._outputs
        }  # fmt: skip

    @property
    def layers(self) -> Mapping[str, Layer]:
        """Layers with a Keras class by name."""
        return self._layers

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        parts = [part for layer in self.layers.values() for part in (layer, *layer.directions)]
        own = sum(weight.size for part in parts for weight in part.weights)
        return own + sum(submodel.parameters for submodel in self._submodels.values())

    @property
    def submodels(self) -> Mapping[str, "NumpyNetwork"]:
        """Nested models by name."""
        return self._submodels

    def keras_model(self) -> "keras.Model":
        """Return the Keras model."""
        assert self.load_keras is not None, "only a whole model has a Keras model"
        return self.load_keras()

    def part(self, inputs: Sequence[str], outputs: Sequence[str]) -> "NumpyNetwork":
        """Return the network between layers."""
        given = {}
        for name in inputs:
            if name in self._inputs:
                given[name] = self._inputs[name]
            else:
                shape = self.part(list(self._inputs), [name]).outputs[name]
                given[name] = (name, 0, 0), shape, "float32"
        return NumpyNetwork(self._calls, given, {name: (name, 0, 0) for name in outputs}, self._layers, self._submodels)

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Float32Array]:
        """Return the outputs for a batch of inputs."""
        arrays = {name: np.asarray(inputs[name], dtype) for name, (_, _, dtype) in self._inputs.items()}
        firsts = range(0, len(next(iter(arrays.values()))), SAMPLES)

        def compute(first: int) -> dict[str, Array]:
            return self.compute({name: array[first : first + SAMPLES] for name, array in arrays.items()})

        # Threads of BLAS as well would wait for each other at every step. The limit is that of the process, and only
        # the thread that set it can restore it, so that it would stay if calls of several threads overlapped.
        with _BLAS_LOCK, _blas_threads().limit(limits=1, user_api="blas"):
            if len(firsts) < 2:
                return self.compute(arrays)
            pieces = map_in_threads(compute, firsts)
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in self._outputs}

    def compute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs for inputs of the right dtypes, without threads."""
        values = {key: inputs[name] for name, (key, *_) in self._inputs.items()}

        def filled(argument: Any) -> Any:
            if isinstance(argument, _Tensor):
                return values[argument.key]
            if isinstance(argument, list):
                return [filled(item) for item in argument]
            return {key: filled(item) for key, item in argument.items()} if isinstance(argument, dict) else argument

        with np.errstate(all="ignore"):
            for call, freed in zip(self._calls, self._freed, strict=True):
                arguments, named = call.arguments
                results = call.function(*filled(arguments), **filled(named))
                if any(result.size > LARGEST_SAMPLE * max(len(result), 1) for result in results):
                    raise ValueError(f"its layer {call.name!r} returns more than {LARGEST_SAMPLE:,} values per sample")
                values |= {(call.name, call.number, place): result for place, result in enumerate(results)}
                for key in freed:
                    values.pop(key, None)
        return {name: values[key] for name, key in self._outputs.items()}


@functools.cache
def _blas_threads() -> ThreadpoolController:
    return ThreadpoolController()


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
        Exception: any error of the zip or HDF5 readers, or of a graph that cannot be computed, for a damaged file.
    """
    config, weights = read_validated(source)
    model = build_network(config, weights, load_keras or partial(load, source))
    submodels = {name: submodel.parameters for name, submodel in model.submodels.items()}
    require_submodels(submodels if isinstance(config["config"]["input_layers"], dict) else {}, parameters)
    return model


def build_network(
    config: JsonObject, weights: Mapping[str, Array], load_keras: "Callable[[], keras.Model]"
) -> NumpyNetwork:
    """Build the network that a model file describes.

    Args:
        config: content of its `config.json`.
        weights: its weights by their path in the HDF5 file.
        load_keras: function that returns the Keras model.

    Raises:
        UnsupportedError: Keras must compute the model.
        Exception: any error of a graph that cannot be computed.
    """
    model = _functional(config["config"], weights, "")
    # An invalid graph fails here and not when it is applied.
    _ = model.outputs
    model.load_keras = load_keras
    return model


def _functional(config: JsonMapping, weights: Mapping[str, Array], path: str) -> NumpyNetwork:
    calls: list[_Call] = []
    layers: dict[str, Layer] = {}
    submodels: dict[str, NumpyNetwork] = {}
    shapes: dict[str, tuple[Shape, str]] = {}
    stored = [item for item in config["layers"] if item["module"] in ("keras.layers", "keras.src.models.functional")]
    paths = number_layers((item["class_name"] for item in stored), path)
    places = {item["name"]: place for item, place in zip(stored, paths, strict=True)}
    for item in config["layers"]:
        name, kind, own = item["name"], item["class_name"], item["config"]
        place = places.get(name, "")
        if name in shapes or name in layers or name in submodels:
            raise ValueError(f"two of its layers have the name {name!r}")
        if kind == "InputLayer":
            shapes[name] = tuple(own["batch_shape"]), own["dtype"]
            continue
        if kind == "Functional":
            submodels[name] = _functional(own, weights, place)
            function: Function = partial(_call_submodel, submodels[name])
        elif item["module"] == "keras.layers":
            layers[name] = _layer(item, weights, place)
            function = partial(_call_layer, kind, _layer_function(layers[name]))
        else:
            function = _operation(kind, own)
        for number, node in enumerate(item["inbound_nodes"]):
            arguments = _parsed(node["args"]), _parsed(node["kwargs"])
            calls.append(_Call(name, number, function, arguments, tuple(_tensors_in(arguments))))
    inputs = {key[0]: (key, *shapes[key[0]]) for key in map(_key, _leaves(config["input_layers"]))}
    outputs = config["output_layers"]
    if isinstance(outputs, dict):
        named = {name: _key(leaf) for name, leaf in outputs.items()}
    else:
        named = {str(number): _key(leaf) for number, leaf in enumerate(_leaves(outputs))}
    return NumpyNetwork(_in_order(calls, inputs), inputs, named, layers, submodels)


def number_layers(kinds: Iterable[str], path: str) -> Iterator[str]:
    """Yield the path of the weights of each layer or submodel, which Keras numbers by class.

    Args:
        kinds: names of the classes of all layers and submodels of a model, in its order.
        path: path of the model.
    """
    counts: dict[str, int] = {}
    for kind in kinds:
        base = layer_name(kind)
        number = counts[base] = counts.get(base, -1) + 1
        yield f"{path}layers/{base}_{number}/" if number else f"{path}layers/{base}/"


def _in_order(calls: Sequence[_Call], inputs: Iterable[str]) -> list[_Call]:
    """Return calls in an order in which each follows those that it reads.

    Raises:
        ValueError: a call reads a layer that does not exist, or its own output.
    """
    by_key = {(call.name, call.number): call for call in calls}
    read = {key: [source[:2] for source in call.sources] for key, call in by_key.items()}
    known = by_key.keys() | {(name, 0) for name in inputs}
    for (name, _), sources in read.items():
        if not known.issuperset(sources):
            raise ValueError(f"its layer {name!r} reads layers that do not exist")
    try:
        order = [*graphlib.TopologicalSorter(read).static_order()]
    except graphlib.CycleError as error:
        raise ValueError(f"its layer {error.args[1][0][0]!r} reads its own output") from None
    return [by_key[key] for key in order if key in by_key]


def _leaves(structure: Any) -> list[Any]:
    """Return the references to tensors in the inputs or outputs of a model, in Keras' order."""
    if isinstance(structure, list) and len(structure) == 3 and isinstance(structure[0], str):
        return [structure]
    if isinstance(structure, dict):
        structure = [structure[name] for name in sorted(structure)]
    return [leaf for item in structure for leaf in _leaves(item)]


def _key(leaf: Any) -> TensorKey:
    name, number, place = leaf
    return str(name), int(number), int(place)


def _parsed(value: Any) -> Any:
    """Return a serialized argument, with a `_Tensor` for each tensor."""
    if isinstance(value, list):
        return [_parsed(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, own = value.get("class_name"), value.get("config", {})
    if kind is None:
        return {key: _parsed(item) for key, item in value.items()}
    if kind == "__keras_tensor__":
        return _Tensor(_key(own["keras_history"]))
    if kind == "__numpy__":
        return np.array(own["value"], own["dtype"])
    if kind == "__slice__":
        return slice(own["start"], own["stop"], own["step"])
    if kind == "__ellipsis__":
        return Ellipsis
    raise UnsupportedError(f"an argument of the class {kind}")


def _tensors_in(argument: Any) -> Iterator[TensorKey]:
    if isinstance(argument, _Tensor):
        yield argument.key
    elif isinstance(argument, list | tuple | dict):
        for item in argument.values() if isinstance(argument, dict) else argument:
            yield from _tensors_in(item)


def _call_submodel(network: NumpyNetwork, given: Any, mask: Any = None) -> tuple[Array, ...]:
    if not isinstance(given, dict):
        given = dict(zip(network.inputs, given if isinstance(given, list) else [given], strict=True))
    outputs = network.compute(given)
    # Keras numbers the outputs in the order of their names.
    return tuple(outputs[name] for name in sorted(outputs))


def _call_layer(
    kind: str, function: Function, *arguments: Any, mask: Any = None, training: bool | None = None, **named: Any
) -> tuple[Array, ...]:
    if mask is not None or training:
        raise UnsupportedError(f"{kind} with a mask or in training")
    return function(*arguments, **named)


# Layers


def _layer(item: JsonMapping, weights: Mapping[str, Array], path: str) -> Layer:
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


def _layer_function(layer: Layer) -> Function:
    """Return the function of a layer.

    Raises:
        UnsupportedError: the layer has settings that models of this package do not have.
        ValueError: its weights do not fit its config.
    """
    if layer.kind not in LAYERS:
        raise UnsupportedError(f"the layer {layer.kind}")
    policy = layer.config.get("dtype", "float32")
    if (policy["config"]["name"] if isinstance(policy, dict) else policy) != "float32":
        raise UnsupportedError(f"{layer.kind} with another dtype than float32")
    return LAYERS[layer.kind](layer)


def _require(layer: Layer, **settings: Any) -> None:
    """Raise `UnsupportedError` unless a layer has these settings."""
    for name, wanted in settings.items():
        if layer.config[name] != wanted:
            raise UnsupportedError(f"{layer.kind} with {name} = {layer.config[name]}")


def _weights_of(layer: Layer, *shapes: tuple[int, ...]) -> tuple[Float32Array, ...]:
    """Return the weights of a layer.

    Raises:
        ValueError: they have other shapes.
    """
    if [weight.shape for weight in layer.weights] != list(shapes):
        found = ", ".join(str(weight.shape) for weight in layer.weights)
        raise ValueError(f"the weights of its {layer.kind} have the shapes {found}, not {shapes}")
    return layer.weights


def _input_size(layer: Layer) -> int:
    """Return the number of inputs of a layer's kernel, its first weight."""
    return int(layer.weights[0].shape[-2]) if layer.weights and layer.weights[0].ndim > 1 else 0


def _softmax(values: Array, axis: int = -1) -> Array:
    grown = np.exp(values - values.max(axis=axis, keepdims=True))
    shares: Array = grown / grown.sum(axis=axis, keepdims=True)
    return shares


def _sigmoid(values: Array) -> Array:
    activated: Array = 1 / (1 + np.exp(-values))
    return activated


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda values: values,
    "relu": lambda values: np.maximum(values, 0),
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "tanh": np.tanh,
}


def _activation(layer: Layer) -> Callable[[Array], Array]:
    name = layer.config["activation"]
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise UnsupportedError(f"{layer.kind} with the activation {name}")
    return ACTIVATIONS[name]


def _dense(layer: Layer) -> Function:
    units, size, activation = layer.config["units"], _input_size(layer), _activation(layer)
    if layer.config["use_bias"]:
        kernel, bias = _weights_of(layer, (size, units), (units,))
    else:
        (kernel,), bias = _weights_of(layer, (size, units)), np.zeros(units, np.float32)

    def compute(values: Array) -> tuple[Array, ...]:
        # One product of matrices is faster than one per sample.
        product = values.reshape(-1, size) @ kernel + bias
        return (activation(product).reshape(*values.shape[:-1], units),)

    return compute


def _convolution(layer: Layer) -> Function:
    _require(layer, strides=[1], data_format="channels_last", groups=1, padding="same")
    (length,), (dilation,), activation = layer.config["kernel_size"], layer.config["dilation_rate"], _activation(layer)
    filters = layer.config["filters"]
    biases = [(filters,)] if layer.config["use_bias"] else []
    kernel, *bias = _weights_of(layer, (length, _input_size(layer), filters), *biases)
    shifts = [at * dilation - dilation * (length - 1) // 2 for at in range(length)]

    def compute(values: Array) -> tuple[Array, ...]:
        batch, steps, _ = values.shape
        sums = np.zeros((batch, steps, kernel.shape[2]), np.float32)
        # Steps before and after the sequence count as zeros.
        for shift, weights in zip(shifts, kernel, strict=True):
            first, end = max(0, -shift), min(steps, steps - shift)
            if first < end:
                sums[:, first:end] += values[:, first + shift : end + shift] @ weights
        return (activation(sums + bias[0] if bias else sums),)

    return compute


def _embedding(layer: Layer) -> Function:
    _require(layer, mask_zero=False)
    (table,) = _weights_of(layer, (layer.config["input_dim"], layer.config["output_dim"]))
    return lambda lines: (table[lines],)


def _rescaling(layer: Layer) -> Function:
    scale, offset = (np.asarray(_parsed(layer.config[name]), np.float32) for name in ("scale", "offset"))
    return lambda values: (values * scale + offset,)


def _pooling(layer: Layer) -> Function:
    _require(layer, data_format="channels_last")
    keep = bool(layer.config["keepdims"])
    return lambda values: (values.mean(axis=1, keepdims=keep),)


def _flatten(layer: Layer) -> Function:
    _require(layer, data_format="channels_last")
    # NumPy infers no size of an empty batch.
    return lambda values: (values.reshape(len(values), math.prod(values.shape[1:])),)


def _repeat(layer: Layer) -> Function:
    count = layer.config["n"]
    return lambda values: (np.repeat(values[:, None], count, axis=1),)


def _reshape(layer: Layer) -> Function:
    shape = layer.config["target_shape"]
    return lambda values: (values.reshape(len(values), *shape),)


def _unchanged(layer: Layer) -> Function:
    return lambda values: (values,)


def _addition(layer: Layer) -> Function:
    return lambda values: (sum(values[1:], start=values[0]),)


def _concatenation(layer: Layer) -> Function:
    axis = layer.config["axis"]
    return lambda values: (np.concatenate(values, axis=axis),)


def _softmax_layer(layer: Layer) -> Function:
    axis = layer.config["axis"]
    return lambda values: (_softmax(values, axis),)


# Function of a sequence, states before the first step `(units, batch)`, and an output `(batch, steps, units)` of the
# hidden states or None, to the states after the last step.
_Recurrence = Callable[[Array, list[Array], Array | None], list[Array]]


def _lstm(layer: Layer) -> Function:
    if reason := unsupported_steps(layer.config):
        raise UnsupportedError(f"{layer.kind}, since {reason}")
    units, all_steps, with_states, backwards = (
        layer.config[name] for name in ("units", "return_sequences", "return_state", "go_backwards")
    )
    run = _lstm_steps(layer)

    def compute(sequence: Array, initial_state: Any = None) -> tuple[Array, ...]:
        if initial_state is None:
            initial_state = [np.zeros((len(sequence), units), np.float32)] * 2
        hidden = np.empty((*sequence.shape[:2], units), np.float32) if all_steps else None
        final = run(sequence[:, ::-1] if backwards else sequence, [state.T for state in initial_state], hidden)
        last = [state.T for state in final]
        return (last[0] if hidden is None else hidden, *(last if with_states else ()))

    return compute


def _lstm_steps(layer: Layer) -> _Recurrence:
    """Return the steps of an LSTM layer: Hochreiter and Schmidhuber 1997, with the gates i, f, g, o of Keras."""
    units, size = layer.config["units"], _input_size(layer)
    weights = np.concatenate(
        [
            _weights_of(layer, (size, 4 * units), (units, 4 * units), (4 * units,))[0],
            layer.weights[1],
            layer.weights[2][None],
        ]
    )
    # The three gates first, so that one call activates them.
    order = np.r_[: 2 * units, 3 * units : 4 * units, 2 * units : 3 * units]
    packed = np.ascontiguousarray(weights[:, order].T)

    def run(sequence: Array, states: list[Array], hidden: Array | None) -> list[Array]:
        batch, steps, _ = sequence.shape
        # Each step is one product of the weights with [x_t, h_(t-1), 1], samples in columns.
        given = np.ones((size + units + 1, batch), np.float32)
        before, cells = given[size:-1], np.array(states[1], np.float32)
        before[:] = states[0]
        products = np.empty((4 * units, batch), np.float32)
        gates, candidate = products[: 3 * units], products[3 * units :]
        i, f, o = gates.reshape(3, units, batch)
        for step in range(steps):
            given[:size] = sequence[:, step].T
            np.matmul(packed, given, out=products)
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
            if hidden is not None:
                hidden[:, step] = before.T
        return [before, cells]

    return run


def _bidirectional(layer: Layer) -> Function:
    _require(layer, merge_mode="concat")
    forward, backward = layer.directions
    for direction, backwards in ((forward, False), (backward, True)):
        _require(direction, go_backwards=backwards, return_state=False)
    _require(backward, return_sequences=forward.config["return_sequences"])
    first, second = map(_layer_function, layer.directions)
    # The backward layer returns its states in the order in which it reads.
    flip = slice(None, None, -1) if forward.config["return_sequences"] else slice(None)

    def compute(sequence: Array) -> tuple[Array, ...]:
        ((ahead,), (back,)) = first(sequence), second(sequence)
        back = back[:, flip] if back.ndim == 3 else back
        return (np.concatenate([ahead, back], axis=-1),)

    return compute


LAYERS: dict[str, Callable[[Layer], Function]] = {
    "Add": _addition,
    "Bidirectional": _bidirectional,
    "Concatenate": _concatenation,
    "Conv1D": _convolution,
    "Dense": _dense,
    "Dropout": _unchanged,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "GlobalAveragePooling1D": _pooling,
    "Identity": _unchanged,
    "LSTM": _lstm,
    "RepeatVector": _repeat,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "Softmax": _softmax_layer,
}


# Operations


def _item(values: Array, key: Any) -> Array:
    item: Array = values[tuple(key) if isinstance(key, list) else key]
    return item


def _reduced(function: Callable[..., Array], values: Array, axis: Any, keepdims: bool, initial: Any = None) -> Array:
    if initial is not None:
        raise UnsupportedError("a reduction with an initial value")
    return function(values, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)


def _summed(values: Array, axis: Any, keepdims: bool) -> Array:
    # Keras keeps the dtype of integers.
    return _reduced(partial(np.sum, dtype=values.dtype), values, axis, keepdims)


def _rounded(values: Array, decimals: int) -> Array:
    rounded: Array = np.round(values, decimals)
    return rounded


def _cast_to(values: Array, dtype: str | None = None) -> Array:
    return np.asarray(values, dtype)


# Functions of the operands, and those that also get the config of the operation.
OPERATIONS: dict[str, Callable[..., Array]] = {
    "Absolute": np.abs,
    "Add": np.add,
    "Any": partial(_reduced, np.any),
    "Cast": _cast_to,
    "Clip": lambda values, x_min, x_max: np.clip(values, x_min, x_max),
    "Concatenate": lambda values, axis: np.concatenate(values, axis=axis),
    "Cos": np.cos,
    "Cumsum": lambda values, axis, dtype: np.cumsum(values, axis=axis, dtype=dtype or values.dtype),
    "Equal": np.equal,
    "Exp": np.exp,
    "ExpandDims": lambda values, axis: np.expand_dims(values, axis),
    "Flip": lambda values, axis: np.flip(values, axis),
    "GetItem": _item,
    "Greater": np.greater,
    "Isnan": np.isnan,
    "Less": np.less,
    "Log": np.log,
    "LogicalAnd": np.logical_and,
    "LogicalNot": np.logical_not,
    "Max": partial(_reduced, np.max),
    "Maximum": np.maximum,
    "Mean": partial(_reduced, np.mean),
    "Min": partial(_reduced, np.min),
    "Minimum": np.minimum,
    "Multiply": np.multiply,
    "OnesLike": lambda values, dtype: np.ones_like(values, dtype=dtype),
    "Reshape": lambda values, newshape: np.reshape(values, newshape),
    "Round": _rounded,
    "Sin": np.sin,
    "Subtract": np.subtract,
    "Sum": _summed,
    "Transpose": lambda values, axes: np.transpose(values, axes),
    "TrueDivide": np.true_divide,
    "Where": np.where,
    "ZerosLike": lambda values, dtype: np.zeros_like(values, dtype=dtype),
}


def _operation(kind: str, config: JsonMapping) -> Function:
    """Return the function of an operation."""
    if kind not in OPERATIONS:
        raise UnsupportedError(f"the operation {kind}")
    function = OPERATIONS[kind]
    settings = {name: value for name, value in config.items() if name != "name"}

    def compute(*operands: Any) -> tuple[Array, ...]:
        return (function(*operands, **settings),)

    return compute
