"""Apply a table's autoencoder to the windows at every row; what overlapping windows share is computed once."""

import concurrent.futures
import functools
import logging
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.detection.calibration import Adding, sliding_windows
from lstm_ae.detection.scores import RowSums, sum_windows
from lstm_ae.kernels import windows as kernels
from lstm_ae.kernels.choice import reason_for_keras
from lstm_ae.kernels.windows import COUNT
from lstm_ae.models.decoder import POSITION_PERIODS
from lstm_ae.models.encoder import FILL
from lstm_ae.models.scaling import inner_network, inner_scaling, with_series_scale

Numbers = NDArray[Any]

Floats = NDArray[np.float32]

LOG = logging.getLogger(__name__)

# Of the largest number: by how much two ways of computing the same may differ in float32 over many steps.
ROUNDING = 1e-4

# How far out values may be, in multiples of the scale: outliers, sensors that are stuck.
FAR = (10, 30, 100, 300)


class SlidingAutoencoder(NamedTuple):
    """The two halves; rows are `(windows + window - 1, features)` in own units, levelled, NaN where missing.

    What windows give is added up row by row, see `lstm_ae.detection.scores.RowSums`.

    Args:
        window, features, code: steps of a window, numbers a step, numbers of a code.
        encode: rows to the codes of their windows `(windows, code)`.
        decode: codes to the rows that their windows give back; None where each window has a scale of its own, which
            no code tells. Windows whose code is NaN take no part.
        rebuild: rows to the rows given back. Windows without a value take no part.
        errors: rows to the squared errors of these, in scaled values.
        reason: why Keras computes all this window by window; "" where the kernels of this package do.
    """

    window: int
    features: int
    code: int
    encode: Callable[[Numbers], Floats]
    decode: Adding | None
    rebuild: Adding
    errors: Adding
    reason: str = ""


def slide(model: Any, scale: str, kernel: str = "auto") -> SlidingAutoencoder:
    """Take a trained model apart.

    Args:
        model: in own units, as a run of a table keeps it.
        scale: how its config says that values are scaled.
        kernel: "auto", or "keras" for Keras alone.
    """
    halves = slide_with_keras(model, scale)
    if kernel == "keras":
        return halves._replace(reason="--kernel keras")
    from lstm_ae.kernels.choice import compile_failure

    try:
        pass
    except Exception as error:
        return halves._replace(reason=compile_failure(error))
    reason = unsupported_reason(model, scale)
    if not reason:
        weights = extract_weights(model)
        shared = _sharing(halves, weights)
        if _agree(shared, halves, weights.offset, weights.range):
            return shared
        reason = "the kernels of this package give something else"
    LOG.info("windows are computed one by one by Keras: %s", reason)
    return halves._replace(reason=reason)


def empty_windows(rows: Numbers, window: int) -> NDArray[np.bool_]:
    """Which windows hold no value: `(windows + window - 1, features)` to `(windows,)`."""
    held = np.r_[0, np.cumsum(~np.isnan(rows).all(axis=1))]
    return np.asarray(held[window:] == held[:-window])


def slide_with_keras(model: Any, scale: str) -> SlidingAutoencoder:
    """A model taken apart that Keras computes window by window."""
    import keras
    import tensorflow as tf

    from lstm_ae.models.scaling import inner_network, inner_scaling, undo_scaling, with_series_scale

    network, scaling = inner_network(model), inner_scaling(model)
    sequence, code = network.input["sequence"], network.get_layer("code").output
    _, window, features = sequence.shape

    def compiled(function: Callable[[Any], Any], *shape: int) -> Callable[[Numbers], Floats]:
        @functools.cache
        def call() -> Any:
            # Traced once: TensorFlow takes models that are opened one after the other for one that is traced too often.
            return tf.function(function).get_concrete_function(tf.TensorSpec((None, *shape), tf.float32))

        return lambda values: call()(tf.constant(values, tf.float32)).numpy()

    def encode(windows: Any) -> Any:
        encoder = keras.Model(network.input, code)
        return encoder({"sequence": scaling(with_series_scale(model, windows))["scaled"]}, training=False)

    def decode(codes: Any) -> Any:
        # Of the sequence the second half takes nothing but its shape.
        decoder = keras.Model([sequence, code], network.output["reconstruction"])
        nothing = tf.zeros((tf.shape(codes)[0], window, features))
        given_back = decoder([nothing, codes], training=False)
        return undo_scaling(model, given_back, scaling(with_series_scale(model, nothing)))

    def errors(windows: Any) -> Any:
        scaled = scaling(with_series_scale(model, windows))["scaled"]
        return tf.square(network({"sequence": scaled}, training=False)["reconstruction"] - scaled)

    codes_of, rows_of = compiled(encode, window, features), compiled(decode, code.shape[1])
    rebuilt = compiled(
        lambda windows: model(with_series_scale(model, windows), training=False)["reconstruction"], window, features
    )
    errors_of = compiled(errors, window, features)

    def rebuild(rows: Numbers) -> Any:
        given_back = rebuilt(sliding_windows(rows, window))
        return sum_windows(np.where(empty_windows(rows, window)[:, None, None], np.float32(np.nan), given_back))

    return SlidingAutoencoder(
        window,
        features,
        code.shape[1],
        lambda rows: codes_of(sliding_windows(rows, window)),
        None if scale == "window" else lambda codes: sum_windows(rows_of(codes)),
        rebuild,
        lambda rows: sum_windows(errors_of(sliding_windows(rows, window))),
    )


def _sharing(halves: SlidingAutoencoder, weights: Any) -> SlidingAutoencoder:
    """The same by the kernels of this package."""

    return halves._replace(
        encode=functools.partial(encode, weights),
        decode=functools.partial(decode, weights),
        rebuild=lambda rows: rebuild(weights, rows, ~empty_windows(rows, halves.window)),
        errors=functools.partial(squared_errors, weights),
    )


def _agree(ours: SlidingAutoencoder, theirs: SlidingAutoencoder, offset: Floats, span: Floats) -> bool:
    """Whether both give the same of three windows; what only looks like the network that the kernels know, does not."""
    made_up = np.random.default_rng(0).normal(size=(theirs.window + 2, theirs.features)).astype(np.float32)
    made_up[1, 0] = np.nan
    # Errors of rows far out would hide all others: of the rows between them it shows what becomes of the windows.
    for size in (1, *FAR):
        rows = made_up.copy()
        rows[::2] *= size
        found, wanted = (made.errors(offset + span * rows).sums[1::2] for made in (ours, theirs))
        if not np.abs(found - wanted).max() <= ROUNDING * np.abs(wanted).max():
            return False
    return True


class EncoderWeights(NamedTuple):
    """One direction of the encoder's LSTM, gates unit by unit.

    Args:
        kernel: `(units, 4, inputs + 1)`, the bias in its last column. Inputs are the features, and where the network
            is told which values are missing as many marks.
        recurrent: `(units, 4, units)`.
        backwards: whether windows are read from their last row to their first.
    """

    kernel: Floats
    recurrent: Floats
    backwards: bool


class DecoderWeights(NamedTuple):
    """The decoder.

    Args:
        kernel: `(units, 4, code + 1)`, what is applied to the code, the bias in its last column.
        waves: `(steps, units, 4)`, what the waves of each step come to.
        recurrent: `(units, 4, units)`.
        dense: `(features, units + 1)`, the last layer's kernel and bias.
    """

    kernel: Floats
    waves: Floats
    recurrent: Floats
    dense: Floats


class AutoencoderWeights(NamedTuple):
    """What a network of one LSTM layer in its encoder and one in its decoder computes with.

    Args:
        steps: of a window.
        offset, range: `(features,)` of the scale.
        usual: `(features,)` what is read in place of a missing value.
        readers: of one direction, or of both.
        to_code: `(code, 2 * readers * units + 1)`, the bias in its last column.
        writer: the decoder.
    """

    steps: int
    offset: Floats
    range: Floats
    usual: Floats
    readers: tuple[EncoderWeights, ...]
    to_code: Floats
    writer: DecoderWeights


def unsupported_reason(model: Any, scale: str) -> str:
    """Why windows cannot be computed so; "" where they can.

    Args:
        model: in own units, as a run of a table keeps it.
        scale: how its config says that values are scaled.
    """
    if scale == "window":
        return "each window has a scale of its own"
    layers = {layer.name: layer for layer in inner_network(model).layers}
    both = layers.get("encoder_1_both")
    encoders = [both.forward_layer, both.backward_layer] if both else [layers.get("encoder_1")]
    needed = [*encoders, *(layers.get(name) for name in ("to_code", "repeat", "decoder_1", "reconstruction"))]
    if None in needed or "encoder_2" in layers or "decoder_2" in layers:
        return "it has more layers than one in each half"
    return next((reason for layer in (*encoders, layers["decoder_1"]) if (reason := reason_for_keras(layer))), "")


def extract_weights(model: Any) -> AutoencoderWeights:
    """The weights of a model that `unsupported_reason` has nothing against, laid out for the kernels."""
    network, scaling = inner_network(model), inner_scaling(model)
    layers = {layer.name: layer for layer in network.layers}
    _, steps, features = network.input["sequence"].shape
    scaled = scaling(with_series_scale(model, np.zeros((1, steps, features), np.float32)))
    offset, span = (np.broadcast_to(np.asarray(scaled[name])[0, 0], features) for name in ("offset", "range"))
    both = layers.get("encoder_1_both")
    encoders = [both.forward_layer, both.backward_layer] if both else [layers["encoder_1"]]
    readers = tuple(EncoderWeights(*_gates(layer), backwards=bool(layer.go_backwards)) for layer in encoders)
    kernel, recurrent = _gates(layers["decoder_1"])
    code = layers["to_code"].units
    place = np.cumsum(np.ones(steps, np.float32)) * np.float32(2 * math.pi / steps)
    waves = np.stack([wave(place * np.float32(number)) for number in POSITION_PERIODS for wave in (np.sin, np.cos)])
    writer = DecoderWeights(
        np.ascontiguousarray(np.delete(kernel, np.s_[code:-1], axis=2)),
        np.einsum("ugw,wt->tug", kernel[..., code:-1], waves).astype(np.float32),
        recurrent,
        _with_bias(layers["reconstruction"]),
    )
    usual = np.broadcast_to(np.asarray(layers[FILL].offset if FILL in layers else 0, np.float32), features)
    return AutoencoderWeights(steps, offset, span, usual, readers, _with_bias(layers["to_code"]), writer)


def _gates(layer: Any) -> tuple[Floats, Floats]:
    """Kernel with the bias, and recurrent kernel, gates unit by unit and inputs last."""
    kernel, recurrent, bias = (np.asarray(weight) for weight in layer.weights)
    units = recurrent.shape[0]

    def turned(weight: Numbers) -> Floats:
        return np.ascontiguousarray(weight.reshape(-1, 4, units).transpose(2, 1, 0))

    return turned(np.concatenate([kernel, bias[None]])), turned(recurrent)


def _with_bias(layer: Any) -> Floats:
    kernel, bias = (np.asarray(weight) for weight in layer.weights)
    return np.ascontiguousarray(np.concatenate([kernel, bias[None]]).T)


def encode(weights: AutoencoderWeights, rows: Numbers) -> Floats:
    """The codes of the windows at every row: `(windows + steps - 1, features)` to `(windows, code)`."""
    windows = len(rows) - weights.steps + 1
    codes = _codes(weights, windows)
    _on_all_cores(_encoding(weights, _scaled(weights, rows), codes), windows)
    return codes[:-1, :windows].T


def decode(weights: AutoencoderWeights, codes: Numbers) -> RowSums:
    """What the windows of codes `(windows, code)` give back, in own units; one whose code is NaN takes no part."""
    laid_out = _codes(weights, len(codes))
    laid_out[:-1, : len(codes)] = codes.T
    decoding = _decoding(weights, laid_out, None, np.ones(len(codes), np.bool_))
    return _in_own_units(weights, _added(weights, decoding, len(codes)))


def rebuild(weights: AutoencoderWeights, rows: Numbers, held: Numbers) -> RowSums:
    """What the windows at every row give back, in own units; of `held` `(windows,)` those that are False do not."""
    codes = _codes(weights, len(held))
    encoding = _encoding(weights, _scaled(weights, rows), codes)
    decoding = _decoding(weights, codes, None, held)
    return _in_own_units(weights, _added(weights, lambda *run: (encoding(*run), decoding(*run))[1], len(held)))


def squared_errors(weights: AutoencoderWeights, rows: Numbers) -> RowSums:
    """The squared errors of what the windows at every row give back, in scaled values; NaN takes no part."""
    windows = len(rows) - weights.steps + 1
    scaled, codes = _scaled(weights, rows), _codes(weights, windows)
    encoding = _encoding(weights, scaled, codes)
    decoding = _decoding(weights, codes, scaled, np.ones(windows, np.bool_))
    return _added(weights, lambda *run: (encoding(*run), decoding(*run))[1], windows)


def _encoding(weights: AutoencoderWeights, scaled: Floats, codes: Floats) -> Callable[[int, int], None]:
    """What fills the codes of a run of windows; `scaled` `(features, rows)`."""
    features, rows = scaled.shape
    inputs = weights.readers[0].kernel.shape[2]
    absent, wide = np.isnan(scaled), codes.shape[1]
    read = np.zeros((inputs, wide + weights.steps + COUNT), np.float32)
    read[:features, :rows] = np.where(absent, weights.usual[:, None], scaled)
    if inputs > features + 1:
        read[features:-1, :rows] = absent
    read[-1] = 1
    units = len(weights.readers[0].kernel)
    whole = np.ones((weights.to_code.shape[1], wide), np.float32)

    def encoding(first: int, end: int) -> None:
        for number, reader in enumerate(weights.readers):
            # The means of all directions stand before their last states.
            mean, last = number * units, (len(weights.readers) + number) * units
            kernels.encode(
                read.ravel(), read.shape[1], first, end, weights.steps, inputs, units, reader.backwards,
                reader.kernel.ravel(), reader.recurrent.ravel(), whole.ravel(), wide, mean, last,
            )  # fmt: skip
        kernels.code(
            whole.ravel(), wide, first, end, len(whole), len(codes) - 1, weights.to_code.ravel(), codes.ravel()
        )

    return encoding


def _decoding(
    weights: AutoencoderWeights, codes: Floats, truth: Floats | None, held: Numbers
) -> Callable[[int, int], Numbers]:
    """What returns the sums and counts `(2, features, rows)` of a run of windows, of errors where there is a truth."""
    writer, steps = weights.writer, weights.steps
    units, features = len(writer.kernel), len(writer.dense)
    against = np.empty((features, 0), np.float32) if truth is None else truth

    def decoding(first: int, end: int) -> Numbers:
        found = np.zeros((2, features, end - first + steps - 1))
        kernels.decode(
            codes.ravel(), codes.shape[1], first, end, steps, len(codes) - 1, units, features, writer.kernel.ravel(),
            writer.waves.ravel(), writer.recurrent.ravel(), writer.dense.ravel(), against.ravel(), against.shape[1],
            truth is not None, held, found[0].ravel(), found[1].ravel(),
        )  # fmt: skip
        return found

    return decoding


def _added(weights: AutoencoderWeights, decoding: Callable[[int, int], Numbers], windows: int) -> RowSums:
    """The sums of all windows."""
    added = np.zeros((2, len(weights.offset), windows + weights.steps - 1))
    for first, found in _on_all_cores(decoding, windows):
        added[..., first : first + found.shape[2]] += found[..., : added.shape[2] - first]
    return RowSums(added[0].T, added[1].T, weights.steps)


def _in_own_units(weights: AutoencoderWeights, given_back: RowSums) -> RowSums:
    """Sums of scaled values as sums of values in own units."""
    return given_back._replace(sums=given_back.sums * weights.range + given_back.counts * weights.offset)


@np.errstate(over="ignore", invalid="ignore")
def _scaled(weights: AutoencoderWeights, rows: Numbers) -> Floats:
    """Rows in scaled values, `(features, rows)`."""
    scaled = (np.asarray(rows, np.float32) - weights.offset) / weights.range
    return np.ascontiguousarray(scaled.T, np.float32)


def _codes(weights: AutoencoderWeights, windows: int) -> Floats:
    """Room for the codes of whole blocks of windows, `(code + 1, windows)`, ones in its last row."""
    codes = np.zeros((len(weights.to_code) + 1, _blocks(windows) * COUNT), np.float32)
    codes[-1] = 1
    return codes


def _blocks(windows: int) -> int:
    return -(-windows // COUNT)


def _on_all_cores(run: Callable[[int, int], Any], windows: int) -> list[tuple[int, Any]]:
    """What `run` returns of runs of whole blocks, each with its first window; it must let go of Python's lock."""
    blocks = _blocks(windows)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Some runs a core, so that a core that is busy otherwise keeps nobody waiting.
    size = COUNT * -(-blocks // (4 * cores))
    firsts = range(0, blocks * COUNT, max(size, 1))
    ends = [min(first + size, blocks * COUNT) for first in firsts]
    if cores < 2 or len(firsts) < 2:
        return [(first, run(first, end)) for first, end in zip(firsts, ends, strict=True)]
    with concurrent.futures.ThreadPoolExecutor(cores) as pool:
        return list(zip(firsts, pool.map(run, firsts, ends), strict=True))
