"""Apply a table's autoencoder to the windows at every row; computations that overlapping windows share run once."""

import functools
import importlib
import logging
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lstm_ae.arrays import Array, BoolArray, Float32Array
from lstm_ae.data.sliding import Residuals, RowFunction, RowSums, sliding_windows, sum_windows
from lstm_ae.errors import Code, DataError
from lstm_ae.kernels.choice import compile_failure
from lstm_ae.models.network import (
    FILL,
    LINEAR_DECODER,
    LINEAR_ENCODER,
    LINEAR_LIMIT,
    RESIDUAL,
    Layer,
    Network,
    positional_encoding,
)
from lstm_ae.models.numpy_network import NumpyNetwork
from lstm_ae.startup import cores
from lstm_ae.threads import map_in_threads

LOG = logging.getLogger(__name__)

# Steps of all windows up to which computing each window separately is faster than importing Numba.
FEW_STEPS = 200_000


class SlidingAutoencoder(NamedTuple):
    """Encoder and decoder of an autoencoder, applied to the windows at every row.

    Rows are `(windows + window - 1, features)` in the common scale of all series, NaN where missing. Outputs of
    overlapping windows are summed per row, see `lstm_ae.data.sliding.RowSums`.

    Args:
        window: steps per window.
        features: values per step.
        code: size of the code.
        encode: rows to the codes of their windows, `(windows, code)`.
        rebuild: rows to the sums of their reconstructions. Windows without any value are ignored.
        residuals: rows to the residuals of their windows.
        reason: why the residuals of each window are computed separately; "" if this package's kernels compute them.
    """

    window: int
    features: int
    code: int
    encode: Callable[[Array], Float32Array]
    rebuild: RowFunction
    residuals: Residuals
    reason: str = ""


def slide(network: Network, scale: str) -> SlidingAutoencoder:
    """Split a trained model into encoder and decoder for sliding windows.

    The residuals of the first windows are computed separately. The kernels are imported when there are more, see
    `slide_with_kernels`.

    Args:
        network: in original units, as stored in a run on a table.
        scale: the config's scaling.
    """
    network = as_autoencoder(network)
    windowwise, computed = slide_windowwise(network, scale), 0

    @functools.cache
    def fast() -> Residuals:
        return slide_with_kernels(network, scale).residuals

    def residuals(rows: Array) -> Array:
        nonlocal computed
        computed += (len(rows) - windowwise.window + 1) * windowwise.window
        return windowwise.residuals(rows) if computed <= FEW_STEPS else fast()(rows)

    return windowwise._replace(residuals=residuals)


def slide_with_kernels(network: Network, scale: str) -> SlidingAutoencoder:
    """Split a trained model into encoder and decoder for sliding windows, with residuals by this package's kernels.

    Each window is computed separately if the kernels do not support the model, or cannot be compiled.

    Args:
        network: in original units, as stored in a run on a table.
        scale: the config's scaling.
    """
    network = as_autoencoder(network)
    windowwise = slide_windowwise(network, scale)
    reason = unsupported_reason(network, scale)
    if not reason:
        try:
            _kernels()
        except Exception as error:
            reason = compile_failure(error)
    if not reason:
        _log_compilation(_kernels().encode, _kernels().code, _kernels().decode)
        weights = extract_weights(network, scale)
        return windowwise._replace(residuals=functools.partial(residuals, weights))
    LOG.info("each window is computed separately: %s", reason)
    return windowwise._replace(reason=reason)


def as_autoencoder(network: Network) -> NumpyNetwork:
    """Return a trained model as NumPy computes it, which can be split into encoder and decoder.

    Raises:
        DataError: Keras must compute the model.
    """
    computed = network.without_keras()
    if not isinstance(computed, NumpyNetwork):
        raise DataError("The model is no autoencoder that NumPy computes. Train a new run", code=Code.MODEL_UNUSABLE)
    return computed


def empty_windows(rows: Array, window: int) -> BoolArray:
    """Return which windows contain no value: `(windows + window - 1, features)` to `(windows,)`."""
    counts = np.r_[0, np.cumsum(~np.isnan(rows).all(axis=1))]
    return np.asarray(counts[window:] == counts[:-window])


def slide_windowwise(network: NumpyNetwork, scale: str) -> SlidingAutoencoder:
    """Split a trained model into encoder and decoder, which the network computes for each window separately.

    Args:
        network: in original units, as stored in a run on a table.
        scale: the config's scaling.
    """
    window, features = network.inner.input_sizes["sequence"]
    (code,) = network.encoder.output_sizes["code"]

    def scaled(rows: Array) -> Array:
        return network.scaling({"sequence": sliding_windows(rows, window)})["scaled"]

    def residuals(rows: Array) -> Float32Array:
        windows = scaled(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(network.inner({"sequence": windows})["reconstruction"] - windows)

    def rebuild(rows: Array) -> RowSums:
        windows = network({"sequence": sliding_windows(rows, window)})["reconstruction"]
        return sum_windows(np.where(empty_windows(rows, window)[:, None, None], np.float32(np.nan), windows))

    return SlidingAutoencoder(window, features, code, lambda rows: network.encode(scaled(rows)), rebuild, residuals)


class EncoderWeights(NamedTuple):
    """Weights of one direction of the encoder's LSTM, gates unit by unit.

    Args:
        kernel: `(units, 4, inputs + 1)`, the bias in its last column. Inputs are the features and, if the network
            has them, as many columns of the mask of missing values.
        recurrent: `(units, 4, units)`.
        backwards: whether windows are read from last to first row.
    """

    kernel: Float32Array
    recurrent: Float32Array
    backwards: bool


class DecoderWeights(NamedTuple):
    """Weights of the decoder.

    Args:
        kernel: `(units, 4, code + 1)` for the code, the bias in its last column.
        waves: `(steps, units, 4)` contribution of the positional encoding to the gates at each step.
        recurrent: `(units, 4, units)`.
        dense: `(features, units + 1)` kernel and bias of the output layer.
    """

    kernel: Float32Array
    waves: Float32Array
    recurrent: Float32Array
    dense: Float32Array


class LinearWeights(NamedTuple):
    """Weights of the linear encoder and decoder beside the recurrent ones, see `lstm_ae.models.autoencoder`.

    Args:
        encoder: `(features, components, steps)`, added to the first numbers of the code.
        encoder_bias: `(components,)`.
        decoder: `(steps * features, components)`.
        decoder_bias: `(steps * features,)`.
        limit: largest scaled value that the encoder reads.
    """

    encoder: Float32Array
    encoder_bias: Float32Array
    decoder: Float32Array
    decoder_bias: Float32Array
    limit: float


class NarrowWeights(NamedTuple):
    """Weights of an autoencoder in the layout of `lstm_ae.kernels.narrow.reconstruct`, flat; see its arguments."""

    kernels: Float32Array
    recurrents: Float32Array
    backwards: Float32Array
    to_code: Float32Array
    kernel: Float32Array
    waves: Float32Array
    recurrent: Float32Array
    dense: Float32Array
    bias: Float32Array


def _lay_out_narrow(
    encoders: Sequence[EncoderWeights], to_code: Float32Array, decoder: DecoderWeights
) -> NarrowWeights:
    """Return the weights of an autoencoder in another layout."""
    from lstm_ae.kernels.vectors import LANES

    def padded(weight: Array, axis: int = 0) -> Array:
        """Append zeros up to whole vectors."""
        return np.pad(weight, [(0, -size % LANES if each == axis else 0) for each, size in enumerate(weight.shape)])

    def by_unit(weight: Array) -> Float32Array:
        """Return `(units, 4, inputs)` as `(blocks, inputs, 4, LANES)`, flat."""
        blocks = padded(weight).reshape(-1, LANES, 4, weight.shape[2])
        return np.ascontiguousarray(blocks.transpose(0, 3, 2, 1), np.float32).ravel()

    waves = padded(decoder.waves, axis=1)
    return NarrowWeights(
        np.concatenate([by_unit(each.kernel) for each in encoders]),
        np.concatenate([by_unit(each.recurrent) for each in encoders]),
        np.array([each.backwards for each in encoders], np.float32),
        np.ascontiguousarray(padded(to_code).T).ravel(),
        by_unit(decoder.kernel),
        np.ascontiguousarray(waves.reshape(len(waves), -1, LANES, 4).transpose(0, 1, 3, 2)).ravel(),
        by_unit(decoder.recurrent),
        np.ascontiguousarray(padded(decoder.dense)[:, :-1].T).ravel(),
        padded(decoder.dense[:, -1]).copy(),
    )


class AutoencoderWeights(NamedTuple):
    """Weights of a network with one LSTM layer in its encoder and one in its decoder.

    Args:
        steps: steps per window.
        offset: `(features,)` of the scale.
        range: `(features,)` of the scale.
        fill: `(features,)` scaled values that replace missing ones.
        encoders: one per direction.
        to_code: `(code, 2 * directions * units + 1)`, the bias in its last column.
        decoder: the decoder.
        narrow: the same weights in the layout of the kernels for few windows.
        linear: the linear encoder and decoder; None without.
    """

    steps: int
    offset: Float32Array
    range: Float32Array
    fill: Float32Array
    encoders: tuple[EncoderWeights, ...]
    to_code: Float32Array
    decoder: DecoderWeights
    narrow: NarrowWeights
    linear: LinearWeights | None = None


def unsupported_reason(network: NumpyNetwork, scale: str) -> str:
    """Return why the kernels of this package do not support a model; "" if they do.

    Args:
        network: in original units, as stored in a run on a table.
        scale: the config's scaling.
    """
    if scale == "window":
        return "each window is scaled by its own range"
    if {"encoder_2", "encoder_2_both"} & network.layers.keys():
        return "its encoder or decoder has more than one layer"
    return ""


def extract_weights(network: NumpyNetwork, scale: str) -> AutoencoderWeights:
    """Return the weights of a model that `unsupported_reason` accepts, in the layout of the kernels.

    Args:
        network: in original units, as stored in a run on a table.
        scale: the config's scaling.
    """
    layers = network.layers
    steps, features = network.inner.input_sizes["sequence"]
    offset, span = (np.broadcast_to(part[0], features) for part in (network.scale.offset, network.scale.range))
    both = layers.get("encoder_1_both")
    directions = tuple(
        EncoderWeights(*_gates(layer), backwards=bool(layer.config["go_backwards"]))
        for layer in (both.directions if both else (layers["encoder_1"],))
    )
    kernel, recurrent = _gates(layers["decoder_1"])
    code = layers["to_code"].weights[0].shape[1]
    decoder = DecoderWeights(
        np.ascontiguousarray(np.delete(kernel, np.s_[code:-1], axis=2)),
        np.einsum("ugw,tw->tug", kernel[..., code:-1], positional_encoding(steps)).astype(np.float32),
        recurrent,
        _with_bias(layers[RESIDUAL if LINEAR_DECODER in layers else "reconstruction"]),
    )
    fill = np.broadcast_to(np.asarray(layers[FILL].config["offset"] if FILL in layers else 0, np.float32), features)
    to_code = _with_bias(layers["to_code"])
    narrow = _lay_out_narrow(directions, to_code, decoder)
    linear = None
    if LINEAR_DECODER in layers:
        limit = math.inf if scale == "none" else LINEAR_LIMIT
        (kernel, bias), (back, mean) = layers[LINEAR_ENCODER].weights, layers[LINEAR_DECODER].weights
        by_feature = kernel.reshape(steps, features, -1).transpose(1, 2, 0)
        linear = LinearWeights(np.ascontiguousarray(by_feature), bias, np.ascontiguousarray(back.T), mean, limit)
    return AutoencoderWeights(steps, offset, span, fill, directions, to_code, decoder, narrow, linear)


def _gates(layer: Layer) -> tuple[Float32Array, Float32Array]:
    """Return the kernel with the bias, and the recurrent kernel, gates unit by unit and inputs last."""
    kernel, recurrent, bias = layer.weights
    units = recurrent.shape[0]

    def transposed(weight: Array) -> Float32Array:
        return np.ascontiguousarray(weight.reshape(-1, 4, units).transpose(2, 1, 0))

    return transposed(np.concatenate([kernel, bias[None]])), transposed(recurrent)


def _with_bias(layer: Layer) -> Float32Array:
    kernel, bias = layer.weights
    return np.ascontiguousarray(np.concatenate([kernel, bias[None]]).T)


def reconstruct(weights: AutoencoderWeights, windows: Array) -> Float32Array:
    """Reconstruct separate windows `(windows, steps, features)` in original units, NaN where missing."""
    count, steps, features = windows.shape
    scaled = _scaled(weights, windows.reshape(count * steps, features))
    read = np.ascontiguousarray(_encoder_inputs(weights, scaled, count * steps).T)
    reconstructions = np.empty((count, steps, features, 1), np.float32)
    for number, window in enumerate(reconstructions):
        rows = slice(number * steps, (number + 1) * steps)
        _reconstruct_narrow(weights, scaled[:, rows], read[rows], window)
    return reconstructions[..., 0] * weights.range + weights.offset


def residuals(weights: AutoencoderWeights, rows: Array) -> Float32Array:
    """Return the residuals of the windows at every row in scaled units, `(windows, steps, features)`."""
    scaled = _scaled(weights, rows)
    windows = scaled.shape[1] - weights.steps + 1
    # As the reconstructions, `(steps, features, windows)`.
    values = sliding_window_view(scaled, weights.steps, axis=1).transpose(2, 0, 1)
    if windows <= few_windows():
        reconstructions = np.empty(values.shape, np.float32)
        read = np.ascontiguousarray(_encoder_inputs(weights, scaled, scaled.shape[1]).T)
        _reconstruct_narrow(weights, scaled, read, reconstructions)
        return _as_windows(reconstructions - values, windows)
    codes = _codes(weights, windows)
    encoding = _encoding(weights, scaled, codes)
    reconstructions, decoding = _decoding(weights, codes)

    def run(first: int, end: int) -> None:
        encoding(first, end)
        decoding(first, end)
        reconstructions[..., first : min(end, windows)] -= values[..., first:end]

    _on_all_cores(run, windows)
    return _as_windows(reconstructions, windows)


def _as_windows(reconstructions: Float32Array, windows: int) -> Float32Array:
    """Return a view of `(steps, features, windows)` without the windows that fill the last block, windows first."""
    return reconstructions[..., :windows].transpose(2, 0, 1)


def _encoding(weights: AutoencoderWeights, scaled: Float32Array, codes: Float32Array) -> Callable[[int, int], None]:
    """Return a function that adds the codes of a range of windows; `scaled` is `(features, rows)`."""
    wide = codes.shape[1]
    add_linear_codes = _adding_linear_codes(weights, scaled, codes)
    read = _encoder_inputs(weights, scaled, wide + weights.steps + _kernels().COUNT)
    inputs = len(read)
    units = len(weights.encoders[0].kernel)
    whole = np.ones((weights.to_code.shape[1], wide), np.float32)

    def encoding(first: int, end: int) -> None:
        add_linear_codes(first, end)
        for number, encoder in enumerate(weights.encoders):
            # The means of all directions come before their last states.
            mean, last = number * units, (len(weights.encoders) + number) * units
            _kernels().encode(
                read.ravel(), read.shape[1], first, end, weights.steps, inputs, units, encoder.backwards,
                encoder.kernel.ravel(), encoder.recurrent.ravel(), whole.ravel(), wide, mean, last,
            )  # fmt: skip
        _kernels().code(
            whole.ravel(), wide, first, end, len(whole), len(codes) - 1, weights.to_code.ravel(), codes.ravel()
        )

    return encoding


def _encoder_inputs(weights: AutoencoderWeights, scaled: Float32Array, columns: int) -> Float32Array:
    """Return what the encoders read: `(features, rows)` to `(inputs, columns)`, ones in the last row."""
    features, rows = scaled.shape
    inputs = weights.encoders[0].kernel.shape[2]
    read = np.zeros((inputs, columns), np.float32)
    read[:features, :rows] = _filled(weights, scaled)
    if inputs > features + 1:
        read[features:-1, :rows] = np.isnan(scaled)
    read[-1] = 1
    return read


def few_windows() -> int:
    """Return the number of windows up to which `lstm_ae.kernels.narrow` is the fastest."""
    return int(_kernels().COUNT) // 2


def _reconstruct_narrow(
    weights: AutoencoderWeights, scaled: Float32Array, read: Float32Array, reconstructions: Float32Array
) -> None:
    """Fill `(steps, features, windows)` with scaled reconstructions of the windows at every row.

    Args:
        weights: as `extract_weights` returns them.
        scaled: `(features, rows)`.
        read: what the encoders read, `(rows, inputs)`.
        reconstructions: filled; fewer windows than a block.
    """
    laid_out, (steps, features, windows) = weights.narrow, reconstructions.shape
    size = len(weights.to_code)
    codes = np.zeros((windows, len(laid_out.to_code) // weights.to_code.shape[1]), np.float32)
    block = _codes(weights, windows) if weights.linear else None
    if block is not None:
        _adding_linear_codes(weights, scaled, block)(0, windows)
        codes[:, :size] = block[:-1, :windows].T
    _narrow().reconstruct(
        read.ravel(), 0, windows, steps, read.shape[1], len(weights.encoders[0].kernel),
        laid_out.kernels, laid_out.recurrents, laid_out.backwards,
        laid_out.to_code, len(weights.to_code),
        laid_out.kernel, laid_out.waves, laid_out.recurrent, len(weights.decoder.kernel),
        laid_out.dense, laid_out.bias, features, windows, codes.ravel(), reconstructions.ravel(),
    )  # fmt: skip
    if block is not None:
        block[:-1, :windows] = codes[:, :size].T
        whole = np.zeros((steps, features, block.shape[1]), np.float32)
        whole[..., :windows] = reconstructions
        _add_linear_windows(weights, block, whole, 0, windows)
        reconstructions[:] = whole[..., :windows]


def _decoding(weights: AutoencoderWeights, codes: Float32Array) -> tuple[Float32Array, Callable[[int, int], None]]:
    """Return an array `(steps, features, windows)` and a function that fills it for a range of windows."""
    decoder, steps = weights.decoder, weights.steps
    units, features = len(decoder.kernel), len(decoder.dense)
    reconstructions = np.empty((steps, features, codes.shape[1]), np.float32)

    def decoding(first: int, end: int) -> None:
        _kernels().decode(
            codes.ravel(), codes.shape[1], first, end, steps, len(codes) - 1, units, features, decoder.kernel.ravel(),
            decoder.waves.ravel(), decoder.recurrent.ravel(), decoder.dense.ravel(), reconstructions.ravel(),
        )  # fmt: skip
        _add_linear_windows(weights, codes, reconstructions, first, end)

    return reconstructions, decoding


@np.errstate(over="ignore", invalid="ignore")
def _scaled(weights: AutoencoderWeights, rows: Array) -> Float32Array:
    """Return scaled rows, `(features, rows)`."""
    scaled = (np.asarray(rows, np.float32) - weights.offset) / weights.range
    return np.ascontiguousarray(scaled.T, np.float32)


def _codes(weights: AutoencoderWeights, windows: int) -> Float32Array:
    """Allocate the codes of whole blocks of windows, `(code + 1, windows)`: zeros, and ones in the last row."""
    codes = np.zeros((len(weights.to_code) + 1, _blocks(windows) * _kernels().COUNT), np.float32)
    codes[-1] = 1
    return codes


def _adding_linear_codes(
    weights: AutoencoderWeights, scaled: Float32Array, codes: Float32Array
) -> Callable[[int, int], None]:
    """Return a function that adds the codes of the linear encoder, if there is one, for a range of windows.

    Args:
        weights: as `extract_weights` returns them.
        scaled: `(features, rows)`.
        codes: added to, see `_codes`.
    """
    linear = weights.linear
    if not linear:
        return lambda first, end: None
    features, components, steps = linear.encoder.shape
    read = np.zeros((features, codes.shape[1] + steps + _kernels().COUNT), np.float32)
    read[:, : scaled.shape[1]] = np.clip(_filled(weights, scaled), -linear.limit, linear.limit)

    def add(first: int, end: int) -> None:
        codes[:components, first:end] += linear.encoder_bias[:, None]
        _kernels().add_linear_codes(
            read.ravel(), read.shape[1], first, end, steps, features, components, linear.encoder.ravel(),
            codes.ravel(), codes.shape[1],
        )  # fmt: skip

    return add


def _add_linear_windows(
    weights: AutoencoderWeights, codes: Float32Array, reconstructions: Float32Array, first: int, end: int
) -> None:
    """Add the reconstructions of the linear decoder, if there is one, for a range of windows.

    Args:
        weights: as `extract_weights` returns them.
        codes: see `_codes`.
        reconstructions: `(steps, features, windows)`, added to.
        first, end: the range; blocks of windows are computed.
    """
    if linear := weights.linear:
        values, components = linear.decoder.shape
        _kernels().add_linear_windows(
            codes.ravel(), len(codes) - 1, codes.shape[1], first, end, components, values, linear.decoder.ravel(),
            linear.decoder_bias, reconstructions.ravel(),
        )  # fmt: skip


def _filled(weights: AutoencoderWeights, scaled: Float32Array) -> Float32Array:
    """Return `(features, rows)` with fill values in place of missing ones."""
    return np.where(np.isnan(scaled), weights.fill[:, None], scaled)


def _kernels() -> ModuleType:
    """Import the kernels on first use, since Numba may be missing or fail to compile."""
    return importlib.import_module("lstm_ae.kernels.windows")


@functools.cache
def _narrow() -> ModuleType:
    """Import the kernels for few windows on first use."""
    narrow = importlib.import_module("lstm_ae.kernels.narrow")
    _log_compilation(narrow.reconstruct)
    return narrow


def _log_compilation(*functions: Callable[..., object]) -> None:
    """Log if the first call of one of these kernels compiles it."""
    from lstm_ae.kernels.compiled import is_compiled, log_compilation

    if not all(map(is_compiled, functions)):
        log_compilation()


def _blocks(windows: int) -> int:
    return -(-windows // int(_kernels().COUNT))


def _on_all_cores(run: Callable[[int, int], None], windows: int) -> None:
    """Call `run`, which must release the GIL, for ranges of whole blocks."""
    blocks, count = _blocks(windows), _kernels().COUNT
    # Several ranges per core balance the load if some cores are busy.
    size = count * max(1, -(-blocks // (8 * cores())))
    ranges = [(first, min(first + size, blocks * count)) for first in range(0, blocks * count, size)]
    map_in_threads(lambda each: run(*each), ranges)
