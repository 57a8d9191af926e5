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

from lstm_ae.kernels.compiled import compiled
from lstm_ae.kernels.lstm import product, sigmoid
from lstm_ae.kernels.vectors import LANES, expm1, load, store

# Windows that go through the steps together.
COUNT = 4 * LANES
_VECTORS = COUNT // LANES


@compiled
def _gated(gate: Any, value: Any) -> Any:
    """sigmoid(gate) * tanh(value), with one division, which costs as much as a dozen products."""
    grown = expm1(value + value)
    return grown / ((grown + 2.0) * (2.0 + expm1(0.0 - gate)))


@compiled
def _step(
    gates: Any, start: Any, start_at: int, start_row: int, weights: Any, length: int, hidden: Any, now: int, ahead: int,
    cells: Any, units: int,
) -> None:  # fmt: skip
    """One step of the cell for `COUNT` windows.

    Args:
        gates: `(4, COUNT)`, for its own use.
        start: `(U, 4, any)`, what the gates are before the recurrent product, from `start_at` on, `start_row` numbers
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
    hidden = np.zeros(2 * (units + 1) * COUNT, np.float32)
    for half in range(1, 3):
        hidden[(half * (units + 1) - 1) * COUNT : half * (units + 1) * COUNT] = 1
    return hidden


@compiled
def encode(
    rows: Any, columns: int, first: int, end: int, steps: int, units: int, backwards: bool, weights: Any, whole: Any,
    windows: int,
) -> None:  # fmt: skip
    """Read windows: the mean of their hidden states and the one at their last row.

    Args:
        rows: `(U, 4, columns)`, kernel and bias applied to each row; at least `end + T - 1` columns.
        first, end: windows to read, whole blocks of `COUNT`; window n starts at column n.
        backwards: read each window from its last row to its first.
        weights: `(U, 4, U)`, the recurrent kernel.
        whole: `(2, U, windows)`, filled from `first` to `end`.
    """
    size, step = units * COUNT, (units + 1) * COUNT
    gates = np.zeros(4 * COUNT, np.float32)
    last = 0 if backwards else steps - 1
    for block in range(first, end, COUNT):
        hidden, cells = _hidden(units), np.zeros(size, np.float32)
        sums, rests = np.zeros(size, np.float32), np.zeros(size, np.float32)
        for t in range(steps):
            now, ahead = (t % 2) * step, ((t + 1) % 2) * step
            at = block + (steps - 1 - t if backwards else t)
            _step(gates, rows, at, columns, weights, units, hidden, now, ahead, cells, units)
            for n in range(0, size, LANES):
                # What rounding takes from a sum of many steps is kept, and added with the next (Kahan 1965).
                added, before = load(hidden, ahead + n) - load(rests, n), load(sums, n)
                total = before + added
                store(rests, n, (total - before) - added)
                store(sums, n, total)
            if t == last:
                for unit in range(units):
                    for n in range(COUNT):
                        whole[(units + unit) * windows + block + n] = hidden[ahead + unit * COUNT + n]
        for unit in range(units):
            for n in range(COUNT):
                whole[unit * windows + block + n] = sums[unit * COUNT + n] / steps


@compiled
def decode(
    coded: Any, windows: int, waves: Any, steps: int, units: int, features: int, recurrent: Any, dense: Any,
    truth: Any, columns: int, squared: bool, held: Any, first: int, end: int, alive: int, sums: Any, counts: Any,
) -> None:  # fmt: skip
    """Write windows, and add what is asked for of each step to the row that it is of.

    Args:
        coded: `(U, 4, windows)`, kernel and bias applied to the code of each window.
        waves: `(T, U, 4)`, the kernel applied to the waves of each step.
        recurrent: `(U, 4, U)`.
        dense: `(F, U + 1)`, the last layer's kernel and bias.
        truth: `(F, columns)`, scaled rows, NaN where missing; window n starts at column n.
        squared: add the squared errors, else the reconstructions themselves. NaN is not added.
        held: `(windows,)`, False for windows that take no part.
        first, end: windows to write, whole blocks of `COUNT`.
        alive: windows from there on are none.
        sums, counts: `(F, end - first + T - 1)` float64, added to; the first column is the row on which window
            `first` starts.
    """
    length, span = units + 1, end - first + steps - 1
    gates, zeros = np.zeros(4 * COUNT, np.float32), np.zeros(COUNT, np.float32)
    given_back = np.zeros(features * COUNT, np.float32)
    weights = np.zeros(4 * units * length, np.float32)
    for gate in range(4 * units):
        weights[gate * length : gate * length + units] = recurrent[gate * units : (gate + 1) * units]
    for block in range(first, end, COUNT):
        hidden, cells = _hidden(units), np.zeros(units * COUNT, np.float32)
        there = min(COUNT, alive - block)
        for t in range(steps):
            now, ahead = (t % 2) * length * COUNT, ((t + 1) % 2) * length * COUNT
            for gate in range(4 * units):
                weights[gate * length + units] = waves[t * 4 * units + gate]
            _step(gates, coded, block, windows, weights, length, hidden, now, ahead, cells, units)
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
