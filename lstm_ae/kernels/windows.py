"""An LSTM's encoder and decoder over windows that start at every row of a series, for Numba.

Windows that overlap share their rows, so that much of what a network computes of them need be computed once: what the
encoder's kernel makes of a row is the same in all windows that hold it, what the decoder's kernel makes of a code is
the same at all steps of a window, and what it makes of the waves the same in all windows. Only the recurrent products
are left to be done for every window and step.

Here windows are the lanes of a vector, `COUNT` of them one row after the other go through the steps together, and what
is known of the rows lies side by side: a step reads it from one place further on. Nothing is kept of a step but the
sums that are asked for, so that all of it stays in a core's cache. The equations are those of `kernels.lstm`.

Arrays are flat; shapes below say how they are read. U is the number of units, F of features, T of steps; gates stand
unit by unit, `(U, 4)`, in Keras' order.
"""

from typing import Any

import numpy as np

from lstm_ae.kernels.compiled import aligned, compiled
from lstm_ae.kernels.lstm import product, sigmoid
from lstm_ae.kernels.vectors import LANES, expm1, expm1_low, load, store

# Windows that go through the steps together.
COUNT = 4 * LANES

_VECTORS = COUNT // LANES


@compiled
def _gated(gate: Any, value: Any) -> Any:
    """sigmoid(gate) * tanh(value), with one division, which costs as much as a dozen products.

    The divisor passes float32's largest number only where the result is below 1e-29, and becomes 0.
    """
    grown = expm1_low(value + value)
    return grown / ((grown + 2.0) * (2.0 + expm1(0.0 - gate)))


@compiled
def _step(
    gates: Any, start: Any, start_at: int, start_row: int, weights: Any, length: int, hidden: Any, now: int, ahead: int,
    cells: Any, units: int,
) -> None:  # fmt: skip
    """One step of the cell for `COUNT` windows.

    Args:
        gates: `(4, COUNT)`, for its own use.
        start: `(U, 4, any)`, what the gates are before the recurrent product: from `start_at` on, `start_row` numbers
            from gate to gate.
        weights: `(U, 4, length)`, the recurrent kernel; the decoder's has one more column, for the ones.
        hidden: `(2, U + 1, COUNT)`, ones in the last rows: of the step before from `now` on, filled from `ahead` on.
        cells: `(U, COUNT)`, exchanged for those of this step.
    """
    for unit in range(units):
        product(gates, 0, COUNT, start, start_at + 4 * unit * start_row, start_row, weights, 4 * unit * length, length,
                1, hidden, now, COUNT, 4, _VECTORS, length)  # fmt: skip
        for n in range(0, COUNT, LANES):
            at = unit * COUNT + n
            kept = sigmoid(load(gates, COUNT + n)) * load(cells, at)
            c = kept + _gated(load(gates, n), load(gates, 2 * COUNT + n))
            store(cells, at, c)
            store(hidden, ahead + at, _gated(load(gates, 3 * COUNT + n), c))


@compiled
def _hidden(units: int) -> Any:
    """Hidden states before the first step `(2, U + 1, COUNT)`: zeros, and the ones."""
    hidden = aligned(2 * (units + 1) * COUNT)
    for half in range(1, 3):
        hidden[(half * (units + 1) - 1) * COUNT : half * (units + 1) * COUNT] = 1
    return hidden


@compiled
def encode(
    rows: Any, columns: int, first: int, end: int, steps: int, inputs: int, units: int, backwards: bool, kernel: Any,
    recurrent: Any, whole: Any, windows: int, mean: int, last: int,
) -> None:  # fmt: skip
    """Encode windows: the mean of their hidden states, and the final one.

    Args:
        rows: `(inputs, columns)`, ones in the last row; window n starts at column n. At least `end + T + LANES`
            columns.
        first, end: windows to read, whole blocks of `COUNT`.
        backwards: read each window from its last row to its first.
        kernel: `(U, 4, inputs)`, the bias in its last column.
        recurrent: `(U, 4, U)`.
        whole: `(any, windows)`, of which U rows from `mean` on and U rows from `last` on are filled.
    """
    size, step = units * COUNT, (units + 1) * COUNT
    span = -(-(COUNT + steps - 1) // LANES) * LANES
    gates, zeros, known = np.zeros(4 * COUNT, np.float32), np.zeros(span, np.float32), aligned(4 * units * span)
    for block in range(first, end, COUNT):
        product(known, 0, span, zeros, 0, 0, kernel, 0, inputs, 1, rows, block, columns, 4 * units, span // LANES,
                inputs)  # fmt: skip
        hidden, cells = _hidden(units), aligned(size)
        sums, rests = aligned(size), aligned(size)
        for t in range(steps):
            now, ahead = (t % 2) * step, ((t + 1) % 2) * step
            time = steps - 1 - t if backwards else t
            _step(gates, known, time, span, recurrent, units, hidden, now, ahead, cells, units)
            for n in range(0, size, LANES):
                # What rounding takes from a sum of many steps is kept, and added with the next (Kahan 1965).
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
    whole: Any, windows: int, first: int, end: int, inputs: int, size: int, kernel: Any, codes: Any
) -> None:  # fmt: skip
    """Codes of what was read.

    Args:
        whole: `(inputs, windows)`, as `encode` fills it; ones in the last row.
        kernel: `(size, inputs)`, the bias in its last column.
        codes: `(size + 1, windows)`, of which the first rows are filled from `first` to `end`.
    """
    product(codes, first, windows, np.zeros(end - first, np.float32), 0, 0, kernel, 0, inputs, 1, whole, first, windows,
            size, (end - first) // LANES, inputs)  # fmt: skip


@compiled
def decode(
    codes: Any, windows: int, first: int, end: int, steps: int, size: int, units: int, features: int, kernel: Any,
    waves: Any, recurrent: Any, dense: Any, truth: Any, columns: int, squared: bool, held: Any, sums: Any, counts: Any,
) -> None:  # fmt: skip
    """Write windows, and add what is asked for of each step to the row that it is of.

    Args:
        codes: `(size + 1, windows)`, ones in the last row.
        first, end: windows to write, whole blocks of `COUNT`.
        kernel: `(U, 4, size + 1)`, the bias in its last column.
        waves: `(T, U, 4)`, the kernel applied to the waves of each step.
        recurrent: `(U, 4, U)`.
        dense: `(F, U + 1)`, the last layer's kernel and bias.
        truth: `(F, columns)`, scaled rows, NaN where missing; window n starts at column n.
        squared: add the squared errors, else the reconstructions themselves. NaN is not added.
        held: bool of each window that there is; False where it takes no part.
        sums, counts: `(F, end - first + T - 1)` float64, added to; the first column is the row on which window
            `first` starts.
    """
    length, span = units + 1, end - first + steps - 1
    gates, zeros, coded = np.zeros(4 * COUNT, np.float32), np.zeros(COUNT, np.float32), aligned(4 * units * COUNT)
    given_back, weights = aligned(features * COUNT), aligned(4 * units * length)
    for gate in range(4 * units):
        weights[gate * length : gate * length + units] = recurrent[gate * units : (gate + 1) * units]
    for block in range(first, end, COUNT):
        product(coded, 0, COUNT, zeros, 0, 0, kernel, 0, size + 1, 1, codes, block, windows, 4 * units, _VECTORS,
                size + 1)  # fmt: skip
        hidden, cells = _hidden(units), aligned(units * COUNT)
        there = min(COUNT, len(held) - block)
        for t in range(steps):
            now, ahead = (t % 2) * length * COUNT, ((t + 1) % 2) * length * COUNT
            for gate in range(4 * units):
                weights[gate * length + units] = waves[t * 4 * units + gate]
            _step(gates, coded, 0, COUNT, weights, length, hidden, now, ahead, cells, units)
            product(given_back, 0, COUNT, zeros, 0, 0, dense, 0, length, 1, hidden, ahead, COUNT, features, _VECTORS,
                    length)  # fmt: skip
            for k in range(features):
                row, to = k * columns + block + t, k * span + block - first + t
                for n in range(there):
                    value = np.float64(given_back[k * COUNT + n])
                    if squared:
                        value -= truth[row + n]
                        value *= value
                    known = held[block + n] and value == value
                    sums[to + n] += value if known else 0.0
                    counts[to + n] += 1.0 if known else 0.0
