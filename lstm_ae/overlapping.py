"""A table's autoencoder applied to windows at every row, what they share computed once; see `kernels.overlapping`."""

import concurrent.futures
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.anomaly.scores import Sums
from lstm_ae.kernels.choice import reason_for_keras
from lstm_ae.models.compressor import WAVES
from lstm_ae.models.scaling import network_of, scaling_of

Numbers = NDArray[Any]
Floats = NDArray[np.float32]


class Reader(NamedTuple):
    """One direction of the encoder's LSTM, gates unit by unit.

    Args:
        kernel: `(units, 4, features)`, or twice the features where the network is told which values are missing.
        recurrent: `(units, 4, units)`.
        bias: `(units, 4)`.
        backwards: whether windows are read from their last row to their first.
    """

    kernel: Floats
    recurrent: Floats
    bias: Floats
    backwards: bool


class Writer(NamedTuple):
    """The decoder.

    Args:
        kernel: `(units, 4, code)`, what is applied to the code.
        waves: `(steps, units, 4)`, what the waves of each step come to.
        recurrent: `(units, 4, units)`.
        bias: `(units, 4)`.
        dense: `(features, units + 1)`, the last layer's kernel and bias.
    """

    kernel: Floats
    waves: Floats
    recurrent: Floats
    bias: Floats
    dense: Floats


class Weights(NamedTuple):
    """What a network of one LSTM layer in its encoder and one in its decoder computes with.

    Args:
        steps: of a window.
        offset, range: `(features,)` of the scale.
        missing: whether the network is told which values are missing.
        readers: of one direction, or of both.
        to_code: `(2 * readers * units, code)`, and its bias `(code,)`.
        writer: the decoder.
    """

    steps: int
    offset: Floats
    range: Floats
    missing: bool
    readers: tuple[Reader, ...]
    to_code: tuple[Floats, Floats]
    writer: Writer


def reason_against(model: Any, scale: str) -> str:
    """Why windows cannot be computed so; "" where they can.

    Args:
        model: in own units, as a run of a table keeps it.
        scale: how its config says that values are scaled.
    """
    if scale == "window":
        return "each window has a scale of its own"
    layers = {layer.name: layer for layer in network_of(model).layers}
    both = layers.get("encoder_1_both")
    encoders = [both.forward_layer, both.backward_layer] if both else [layers.get("encoder_1")]
    needed = [*encoders, *(layers.get(name) for name in ("to_code", "repeat", "decoder_1", "reconstruction"))]
    if None in needed or "encoder_2" in layers or "decoder_2" in layers:
        return "it has more layers than one in each half"
    return next((reason for layer in (*encoders, layers["decoder_1"]) if (reason := reason_for_keras(layer))), "")


def weights_of(model: Any) -> Weights:
    """The weights of a model that `reason_against` has nothing against, laid out for the kernels."""
    network, scaling = network_of(model), scaling_of(model)
    layers = {layer.name: layer for layer in network.layers}
    _, steps, features = network.input["sequence"].shape
    scaled = scaling({"sequence": np.zeros((1, steps, features), np.float32)})
    offset, span = (np.broadcast_to(np.asarray(scaled[name])[0, 0], features) for name in ("offset", "range"))
    both = layers.get("encoder_1_both")
    encoders = [both.forward_layer, both.backward_layer] if both else [layers["encoder_1"]]
    readers = tuple(Reader(*_gates(layer), backwards=bool(layer.go_backwards)) for layer in encoders)
    to_code, dense = (tuple(map(np.asarray, layers[name].weights)) for name in ("to_code", "reconstruction"))
    kernel, recurrent, bias = _gates(layers["decoder_1"])
    code = to_code[0].shape[1]
    place = np.cumsum(np.ones(steps, np.float32)) * np.float32(2 * math.pi / steps)
    waves = np.stack([wave(place * np.float32(number)) for number in WAVES for wave in (np.sin, np.cos)])
    writer = Writer(
        np.ascontiguousarray(kernel[..., :code]),
        np.einsum("ugw,wt->tug", kernel[..., code:], waves).astype(np.float32),
        recurrent,
        bias,
        np.ascontiguousarray(np.concatenate([dense[0], dense[1][None]]).T),
    )
    missing = readers[0].kernel.shape[2] == 2 * features
    return Weights(steps, offset, span, missing, readers, (to_code[0], to_code[1]), writer)


def _gates(layer: Any) -> tuple[Floats, Floats, Floats]:
    """Kernel, recurrent kernel and bias, gates unit by unit and inputs last."""
    kernel, recurrent, bias = (np.asarray(weight) for weight in layer.weights)
    units = recurrent.shape[0]

    def turned(weight: Numbers) -> Floats:
        return np.ascontiguousarray(weight.reshape(-1, 4, units).transpose(2, 1, 0))

    return turned(kernel), turned(recurrent), turned(bias)[..., 0]


@np.errstate(over="ignore", invalid="ignore")
def encode(weights: Weights, rows: Numbers) -> Floats:
    """The codes of the windows at every row: `(windows + steps - 1, features)` to `(windows, code)`."""
    from lstm_ae.kernels import overlapping as kernels

    scaled = _scaled(weights, rows)
    absent = np.isnan(scaled)
    read = np.where(absent, np.float32(0), scaled)
    if weights.missing:
        read = np.concatenate([read, absent.astype(np.float32)])
    windows = scaled.shape[1] - weights.steps + 1
    wide = _blocks(windows) * kernels.COUNT
    wholes = []
    for reader in weights.readers:
        units = len(reader.kernel)
        known = np.zeros((4 * units, wide + weights.steps - 1), np.float32)
        known[:, : scaled.shape[1]] = reader.kernel.reshape(4 * units, -1) @ read + reader.bias.reshape(-1, 1)
        whole = np.empty((2, units, wide), np.float32)

        def part(first: int, end: int, reader: Reader = reader, known: Floats = known, whole: Floats = whole) -> None:
            kernels.encode(
                known.ravel(), known.shape[1], first, end, weights.steps, len(reader.kernel), reader.backwards,
                reader.recurrent.ravel(), whole.ravel(), wide,
            )  # fmt: skip

        _on_all_cores(part, windows)
        wholes.append(whole)
    kernel, bias = weights.to_code
    # The means of all directions, then their last states.
    parts = [whole[place] for place in range(2) for whole in wholes]
    codes: Floats = np.concatenate(parts)[:, :windows].T @ kernel + bias
    return codes


@np.errstate(over="ignore", invalid="ignore")
def decode(weights: Weights, codes: Numbers, rows: Numbers | None = None, held: Numbers | None = None) -> Sums:
    """What the windows of codes `(windows, code)` give back, in scaled values, added up row by row.

    Args:
        rows: `(windows + steps - 1, features)` in own units, NaN where missing: add the squared errors against these.
        held: `(windows,)` bool, windows that take part; all where None. One whose code is NaN never does.
    """
    from lstm_ae.kernels import overlapping as kernels

    writer, windows, steps = weights.writer, len(codes), weights.steps
    units, features = len(writer.kernel), len(writer.dense)
    wide = _blocks(windows) * kernels.COUNT
    coded = np.zeros((4 * units, wide), np.float32)
    coded[:, :windows] = writer.kernel.reshape(4 * units, -1) @ codes.T + writer.bias.reshape(-1, 1)
    truth = np.zeros((features, windows + steps - 1), np.float32) if rows is None else _scaled(weights, rows)
    there = np.ones(windows, np.bool_) if held is None else held
    added = np.zeros((2, features, windows + steps - 1))

    def part(first: int, end: int) -> tuple[int, Numbers]:
        found = np.zeros((2, features, end - first + steps - 1))
        kernels.decode(
            coded.ravel(), wide, writer.waves.ravel(), steps, units, features, writer.recurrent.ravel(),
            writer.dense.ravel(), truth.ravel(), truth.shape[1], rows is not None, there, first, end, windows,
            found[0].ravel(), found[1].ravel(),
        )  # fmt: skip
        return first, found

    for first, found in _on_all_cores(part, windows):
        added[..., first : first + found.shape[2]] += found[..., : added.shape[2] - first]
    return Sums(added[0].T, added[1].T, steps)


def in_own_units(weights: Weights, given_back: Sums) -> Sums:
    """Sums of scaled values as sums of values in own units."""
    return given_back._replace(sums=given_back.sums * weights.range + given_back.counts * weights.offset)


def _scaled(weights: Weights, rows: Numbers) -> Floats:
    """Rows in scaled values, `(features, rows)`."""
    scaled = (np.asarray(rows, np.float32) - weights.offset) / weights.range
    return np.ascontiguousarray(scaled.T, np.float32)


def _blocks(windows: int) -> int:
    from lstm_ae.kernels.overlapping import COUNT

    return -(-windows // COUNT)


def _on_all_cores(part: Callable[[int, int], Any], windows: int) -> list[Any]:
    """What `part` returns of runs of whole blocks, one run a core; it must let go of Python's lock."""
    from lstm_ae.kernels.overlapping import COUNT

    blocks = _blocks(windows)
    runs = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, blocks)
    if runs < 2:
        return [part(0, blocks * COUNT)] if blocks else []
    bounds = [COUNT * (blocks * run // runs) for run in range(runs + 1)]
    with concurrent.futures.ThreadPoolExecutor(runs) as pool:
        return list(pool.map(part, bounds[:-1], bounds[1:]))
