"""LSTM encoder and decoder kernels for few windows, for Numba.

`kernels.windows` computes whole blocks of windows, so that one window takes as long as a block. Here units are the
lanes of a vector, and windows are computed one after the other. Each sum has the same terms in the same order as there,
so that results are bit-identical.

Arrays are flat; shapes below describe their layout. U is the number of units, B of blocks of `LANES` units, F of
features, T of steps. Gates are `(B, 4, LANES)`, in Keras' order, and weights `(B, inputs, 4, LANES)`, zero in unused
lanes.
"""

import numpy as np

from lstm_ae.arrays import Float32Array
from lstm_ae.kernels.compiled import aligned, compiled
from lstm_ae.kernels.vectors import LANES, load, store, tile
from lstm_ae.kernels.windows import advance

_tile_4, _tile_2, _tile_1 = tile(1, 4), tile(1, 2), tile(1, 1)


@compiled
def _multiply(
    out: Float32Array, start: Float32Array, inputs: Float32Array, inputs_at: int, weights: Float32Array,
    weights_at: int, length: int, blocks: int,
) -> None:  # fmt: skip
    """Compute the gates of all units: start + weights x inputs."""
    for block in range(blocks):
        at = block * 4 * LANES
        _tile_4(out, at, 0, start, at, 0, inputs, inputs_at, 0, 1, weights, weights_at + at * length, 4 * LANES,
                length)  # fmt: skip


@compiled
def _connect(
    out: Float32Array, start: Float32Array, start_at: int, inputs: Float32Array, weights: Float32Array, row: int,
    length: int,
) -> None:  # fmt: skip
    """Compute start + inputs `(length,)` x weights `(length, row)`; `row` is a multiple of `LANES`."""
    n = 0
    while n < row:
        if row - n >= 4 * LANES:
            _tile_4(out, n, 0, start, start_at + n, 0, inputs, 0, 0, 1, weights, n, row, length)
            n += 4 * LANES
        elif row - n >= 2 * LANES:
            _tile_2(out, n, 0, start, start_at + n, 0, inputs, 0, 0, 1, weights, n, row, length)
            n += 2 * LANES
        else:
            _tile_1(out, n, 0, start, start_at + n, 0, inputs, 0, 0, 1, weights, n, row, length)
            n += LANES


@compiled
def reconstruct(
    rows: Float32Array, first: int, end: int, steps: int, inputs: int, units: int,
    kernels: Float32Array, recurrents: Float32Array, backwards: Float32Array,
    to_code: Float32Array, size: int,
    kernel: Float32Array, waves: Float32Array, recurrent: Float32Array, decoder_units: int,
    dense: Float32Array, bias: Float32Array, features: int, windows: int, codes: Float32Array,
    reconstructions: Float32Array,
) -> None:  # fmt: skip
    """Reconstruct windows.

    Args:
        rows: `(rows, inputs)`, ones in the last column; window n starts at row n.
        first, end: windows to compute.
        kernels: `(directions, B, inputs, 4, LANES)`, the bias as the last input.
        recurrents: `(directions, B, U, 4, LANES)`.
        backwards: `(directions,)`, 1 to read each window from its last row to its first, else 0.
        to_code: `(2 directions U + 1, size padded to lanes)`, the bias in its last row.
        size: size of the code.
        kernel: `(B, size + 1, 4, LANES)` of the decoder, the bias as the last input.
        waves: `(T, B, 4, LANES)` contribution of the positional encoding to the gates at each step.
        recurrent: `(B, U, 4, LANES)` of the decoder.
        dense: `(U, F padded to lanes)` kernel of the output layer.
        bias: `(F padded to lanes,)` of the output layer.
        windows: windows in the output.
        codes: `(windows, size padded to lanes)`, added to.
        reconstructions: `(T, F, windows)` output.
    """
    directions = len(backwards)
    blocks, decoder_blocks = -(-units // LANES), -(-decoder_units // LANES)
    wide, coded_wide, dense_wide = 4 * LANES * blocks, len(to_code) // (2 * directions * units + 1), len(bias)
    decoder_wide = 4 * LANES * decoder_blocks
    zeros = np.zeros(max(wide, decoder_wide, dense_wide), np.float32)
    known, gates = aligned(wide), aligned(max(wide, decoder_wide))
    whole, code = np.ones(2 * directions * units + 1, np.float32), aligned(coded_wide + 1)
    coded, out = aligned(decoder_wide), aligned(dense_wide)
    for window in range(first, end):
        for direction in range(directions):
            kernel_at, recurrent_at = direction * wide * inputs, direction * wide * units
            hidden, cells = aligned(blocks * LANES), aligned(blocks * LANES)
            sums, rests = aligned(blocks * LANES), aligned(blocks * LANES)
            for t in range(steps):
                time = steps - 1 - t if backwards[direction] > 0 else t
                _multiply(known, zeros, rows, (window + time) * inputs, kernels, kernel_at, inputs, blocks)
                _multiply(gates, known, hidden, 0, recurrents, recurrent_at, units, blocks)
                for block in range(blocks):
                    advance(gates, block * 4 * LANES, LANES, cells, block * LANES, hidden, block * LANES)
                    at = block * LANES
                    # Compensated summation, as in `kernels.windows.encode`.
                    added, before = load(hidden, at) - load(rests, at), load(sums, at)
                    total = before + added
                    store(rests, at, (total - before) - added)
                    store(sums, at, total)
            for unit in range(units):
                whole[direction * units + unit] = sums[unit] / steps
                whole[(directions + direction) * units + unit] = hidden[unit]
        _connect(code, codes, window * coded_wide, whole, to_code, coded_wide, len(whole))
        codes[window * coded_wide : (window + 1) * coded_wide] = code[:coded_wide]
        code[size] = 1
        _multiply(coded, zeros, code, 0, kernel, 0, size + 1, decoder_blocks)
        hidden, cells = aligned(decoder_blocks * LANES), aligned(decoder_blocks * LANES)
        for t in range(steps):
            _multiply(gates, coded, hidden, 0, recurrent, 0, decoder_units, decoder_blocks)
            for at in range(0, decoder_wide, LANES):
                store(gates, at, load(gates, at) + load(waves, t * decoder_wide + at))
            for block in range(decoder_blocks):
                advance(gates, block * 4 * LANES, LANES, cells, block * LANES, hidden, block * LANES)
            _connect(out, zeros, 0, hidden, dense, dense_wide, decoder_units)
            for feature in range(features):
                reconstructions[(t * features + feature) * windows + window] = out[feature] + bias[feature]
