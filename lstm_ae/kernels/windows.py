"""LSTM encoder and decoder kernels over windows that start at every row of a series, for Numba.

Overlapping windows share rows, so that many products are computed once: that of the encoder's kernel with a row is the
same in all windows that contain it, that of the decoder's kernel with a code is the same at all steps of a window, and
that with the positional encoding is the same in all windows. Only the recurrent products remain per window and step.

Windows are the lanes of a vector: `COUNT` windows, each starting one row later, take each step together, and their
inputs are contiguous, shifted by one element per step. The equations are those of `kernels.lstm`.

Arrays are flat; shapes below describe their layout. U is the number of units, F of features, T of steps; gates are
ordered unit by unit, `(U, 4)`, in Keras' order.
"""

import numpy as np

from lstm_ae.arrays import Float32Array
from lstm_ae.kernels.compiled import aligned, compiled
from lstm_ae.kernels.lstm import product_4, sigmoid
from lstm_ae.kernels.vectors import LANES, TILE_ROWS, Lanes, expm1, expm1_low, load, store, tile

# Windows that are computed together.
COUNT = 4 * LANES

_tile = tile(TILE_ROWS, 4)


@compiled
def _gated(gate: Lanes, value: Lanes) -> Lanes:
    """Return sigmoid(gate) * tanh(value), with one division, which costs as much as a dozen products.

    The divisor overflows float32 only where the result is below 1e-29, which then becomes 0.
    """
    grown = expm1_low(value + value)
    return grown / ((grown + 2.0) * (2.0 + expm1(0.0 - gate)))


@compiled
def advance(
    gates: Float32Array, gates_at: int, gate: int, cells: Float32Array, cells_at: int, hidden: Float32Array,
    hidden_at: int,
) -> None:  # fmt: skip
    """Compute the cell and hidden states of a vector from its gates, which are `gate` elements apart."""
    retained = sigmoid(load(gates, gates_at + gate)) * load(cells, cells_at)
    c = retained + _gated(load(gates, gates_at), load(gates, gates_at + 2 * gate))
    store(cells, cells_at, c)
    store(hidden, hidden_at, _gated(load(gates, gates_at + 3 * gate), c))


@compiled
def _step(
    gates: Float32Array, start: Float32Array, start_at: int, start_row: int, weights: Float32Array, length: int,
    hidden: Float32Array, now: int, ahead: int, cells: Float32Array, units: int,
) -> None:  # fmt: skip
    """Compute one step of the cell for `COUNT` windows.

    Args:
        gates: `(4, COUNT)` working memory.
        start: `(U, 4, any)` gates before the recurrent product, from index `start_at` with the stride `start_row`.
        weights: `(U, 4, length)` recurrent kernel; the decoder's has an additional column for the ones.
        hidden: `(2, U + 1, COUNT)`, ones in the last rows; read from index `now` and written from index `ahead`.
        cells: `(U, COUNT)`, updated in place.
    """
    for unit in range(units):
        for gate in range(0, 4, TILE_ROWS):
            row = 4 * unit + gate
            _tile(gates, gate * COUNT, COUNT, start, start_at + row * start_row, start_row, weights, row * length,
                  length, 1, hidden, now, COUNT, length)  # fmt: skip
        for n in range(0, COUNT, LANES):
            advance(gates, n, COUNT, cells, unit * COUNT + n, hidden, ahead + unit * COUNT + n)


@compiled
def _hidden(units: int) -> Float32Array:
    """Return the hidden states before the first step, `(2, U + 1, COUNT)`: zeros, and ones in the last rows."""
    hidden = aligned(2 * (units + 1) * COUNT)
    for half in range(1, 3):
        for n in range(COUNT):
            hidden[(half * (units + 1) - 1) * COUNT + n] = 1
    return hidden


@compiled
def encode(
    rows: Float32Array, columns: int, first: int, end: int, steps: int, inputs: int, units: int, backwards: bool,
    kernel: Float32Array, recurrent: Float32Array, whole: Float32Array, windows: int, mean: int, last: int,
) -> None:  # fmt: skip
    """Compute the mean and the final hidden state of each window.

    Args:
        rows: `(inputs, columns)`, ones in the last row; window n starts at column n. At least `end + T + COUNT`
            columns.
        first: first window; windows are computed in blocks of `COUNT`.
        end: window after the last one.
        backwards: read each window from its last row to its first.
        kernel: `(U, 4, inputs)`, the bias in its last column.
        recurrent: `(U, 4, U)`.
        whole: `(any, windows)` output: U rows from `mean` and U rows from `last`.
    """
    size, step = units * COUNT, (units + 1) * COUNT
    span = -(-(COUNT + steps - 1) // COUNT) * COUNT
    gates, zeros, known = np.zeros(4 * COUNT, np.float32), np.zeros(COUNT, np.float32), aligned(4 * units * span)
    for block in range(first, end, COUNT):
        for n in range(0, span, COUNT):
            product_4(known, n, span, zeros, 0, 0, kernel, 0, inputs, 1, rows, block + n, columns, 4 * units,
                      inputs)  # fmt: skip
        hidden, cells = _hidden(units), aligned(size)
        sums, rests = aligned(size), aligned(size)
        for t in range(steps):
            now, ahead = (t % 2) * step, ((t + 1) % 2) * step
            time = steps - 1 - t if backwards else t
            _step(gates, known, time, span, recurrent, units, hidden, now, ahead, cells, units)
            for n in range(0, size, LANES):
                # Compensated summation, since rounding errors would add up over many steps (Kahan 1965).
                added, before = load(hidden, ahead + n) - load(rests, n), load(sums, n)
                total = before + added
                store(rests, n, (total - before) - added)
                store(sums, n, total)
            if t == steps - 1:
                for unit in range(units):
                    for n in range(COUNT):
                        whole[(last + unit) * windows + block + n] = hidden[ahead + unit * COUNT + n]
        for unit in range(units):
            for n in range(COUNT):
                whole[(mean + unit) * windows + block + n] = sums[unit * COUNT + n] / steps


@compiled
def code(
    whole: Float32Array, windows: int, first: int, end: int, inputs: int, size: int, kernel: Float32Array,
    codes: Float32Array,
) -> None:  # fmt: skip
    """Compute the codes of encoded windows.

    Args:
        whole: `(inputs, windows)`, as filled by `encode`; ones in the last row.
        kernel: `(size, inputs)`, the bias in its last column.
        codes: `(size + 1, windows)`: added to in all rows but the last, columns `first` to `end`.
    """
    for block in range(first, end, COUNT):
        product_4(codes, block, windows, codes, block, windows, kernel, 0, inputs, 1, whole, block, windows, size,
                  inputs)  # fmt: skip


@compiled
def add_linear_codes(
    rows: Float32Array, columns: int, first: int, end: int, steps: int, features: int, size: int,
    kernel: Float32Array, codes: Float32Array, windows: int,
) -> None:  # fmt: skip
    """Add linear maps of windows to codes.

    Args:
        rows: `(features, columns)`; window n starts at row n.
        kernel: `(features, size, steps)`.
        codes: `(any, windows)`: added to in the first `size` rows, columns `first` to `end`.
    """
    for block in range(first, end, COUNT):
        for feature in range(features):
            product_4(codes, block, windows, codes, block, windows, kernel, feature * size * steps, steps, 1, rows,
                      feature * columns + block, 1, size, steps)  # fmt: skip


@compiled
def add_linear_windows(
    codes: Float32Array, ones: int, windows: int, first: int, end: int, size: int, values: int,
    kernel: Float32Array, bias: Float32Array, reconstructions: Float32Array,
) -> None:  # fmt: skip
    """Add linear maps of codes to windows.

    Args:
        codes: `(any, windows)`, of which the first `size` rows are read, and ones in row `ones`.
        kernel: `(values, size)`.
        bias: `(values,)`.
        reconstructions: `(values, windows)`: added to in columns `first` to `end`.
    """
    for block in range(first, end, COUNT):
        product_4(reconstructions, block, windows, reconstructions, block, windows, kernel, 0, size, 1, codes, block,
                  windows, values, size)  # fmt: skip
        product_4(reconstructions, block, windows, reconstructions, block, windows, bias, 0, 1, 1, codes,
                  ones * windows + block, windows, values, 1)  # fmt: skip


@compiled
def decode(
    codes: Float32Array, windows: int, first: int, end: int, steps: int, size: int, units: int, features: int,
    kernel: Float32Array, waves: Float32Array, recurrent: Float32Array, dense: Float32Array,
    reconstructions: Float32Array,
) -> None:  # fmt: skip
    """Decode windows.

    Args:
        codes: `(size + 1, windows)`, ones in the last row.
        first: first window; windows are computed in blocks of `COUNT`.
        end: window after the last one.
        kernel: `(U, 4, size + 1)`, the bias in its last column.
        waves: `(T, U, 4)` contribution of the positional encoding at each step.
        recurrent: `(U, 4, U)`.
        dense: `(F, U + 1)` kernel and bias of the output layer.
        reconstructions: `(T, F, windows)` output: columns `first` to `end`.
    """
    length = units + 1
    gates, zeros, coded = np.zeros(4 * COUNT, np.float32), np.zeros(COUNT, np.float32), aligned(4 * units * COUNT)
    weights = aligned(4 * units * length)
    for gate in range(4 * units):
        # An assignment to a slice takes longer to compile.
        for unit in range(units):
            weights[gate * length + unit] = recurrent[gate * units + unit]
    for block in range(first, end, COUNT):
        product_4(coded, 0, COUNT, zeros, 0, 0, kernel, 0, size + 1, 1, codes, block, windows, 4 * units,
                  size + 1)  # fmt: skip
        hidden, cells = _hidden(units), aligned(units * COUNT)
        for t in range(steps):
            now, ahead = (t % 2) * length * COUNT, ((t + 1) % 2) * length * COUNT
            for gate in range(4 * units):
                weights[gate * length + units] = waves[t * 4 * units + gate]
            _step(gates, coded, 0, COUNT, weights, length, hidden, now, ahead, cells, units)
            product_4(reconstructions, t * features * windows + block, windows, zeros, 0, 0, dense, 0, length, 1,
                      hidden, ahead, COUNT, features, length)  # fmt: skip
