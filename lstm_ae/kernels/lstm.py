"""Compute the forward and backward passes of an LSTM over some rows of a batch, with Numba.

The equations are those of `keras.layers.LSTM` (Hochreiter and Schmidhuber 1997, with the forget gate of Gers,
Schmidhuber and Cummins 2000); the gates are in Keras' order i, f, g (the candidate), o. The memory layout makes it
fast:

- A step is one matrix product: each row of `inputs` is [1, x_t, h_(t-1)], so that bias, kernel, and recurrent kernel
  are one matrix, and so are their gradients.
- Units are the lanes of a vector. The four gates of `LANES` units are contiguous, `(block, gate, lane)`, so that one
  tile of the product yields all gates of these units. Unused lanes of the last block are zeros.
- The data of a step is contiguous, so that a step works in the cache.

Arrays are flat; the shapes below describe their layout. n is the number of rows, F of features, U of units, B of blocks
of units, T of steps, and K = F + U + 1.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.kernels.compiled import aligned, compiled
from lstm_ae.kernels.vectors import LANES, TILE_ROWS, Lanes, expm1, load, store, tile

# Rows that are computed together, so that the working set of a step stays in a core's cache.
ROWS = 64


def _strip(rows: int, wide: int) -> Callable[..., None]:
    """Return a product of `wide` vectors in tiles of `rows` rows; remaining rows are computed one by one."""
    many, one = tile(rows, wide), tile(1, wide)

    @compiled
    def strip(
        out: Float32Array, out_at: int, out_row: int, start: Float32Array, start_at: int, start_row: int,
        left: Float32Array, left_at: int, left_row: int, left_sum: int, right: Float32Array, right_at: int,
        right_sum: int, count: int, length: int,
    ) -> None:  # fmt: skip
        m = 0
        while count - m >= rows:
            many(out, out_at + m * out_row, out_row, start, start_at + m * start_row, start_row,
                 left, left_at + m * left_row, left_row, left_sum, right, right_at, right_sum, length)  # fmt: skip
            m += rows
        while m < count:
            one(out, out_at + m * out_row, out_row, start, start_at + m * start_row, start_row,
                left, left_at + m * left_row, left_row, left_sum, right, right_at, right_sum, length)  # fmt: skip
            m += 1

    return strip


# Narrower tiles have more rows, so that the number of independent sums stays the same. Where the width is always four
# vectors, `product_4` is called instead of `product`, which takes four times as long to compile, once per pattern of
# constant arguments.
product_4, _product_2, _product_1 = _strip(TILE_ROWS, 4), _strip(2 * TILE_ROWS, 2), _strip(2 * TILE_ROWS, 1)


@compiled
def product(
    out: Float32Array, out_at: int, out_row: int, start: Float32Array, start_at: int, start_row: int,
    left: Float32Array, left_at: int, left_row: int, left_sum: int, right: Float32Array, right_at: int, right_sum: int,
    rows: int, wide: int, length: int,
) -> None:  # fmt: skip
    """Compute out = start + left x right for `rows` rows and `wide` vectors; see `vectors.tile` for the arguments."""
    n = 0
    while n < wide:
        o, s, r, remaining = out_at + n * LANES, start_at + n * LANES, right_at + n * LANES, wide - n
        if remaining >= 4:
            product_4(out, o, out_row, start, s, start_row, left, left_at, left_row, left_sum, right, r, right_sum,
                      rows, length)  # fmt: skip
            n += 4
        elif remaining >= 2:
            _product_2(out, o, out_row, start, s, start_row, left, left_at, left_row, left_sum, right, r, right_sum,
                       rows, length)  # fmt: skip
            n += 2
        else:
            _product_1(out, o, out_row, start, s, start_row, left, left_at, left_row, left_sum, right, r, right_sum,
                       rows, length)  # fmt: skip
            n += 1


@compiled
def sigmoid(x: Lanes) -> Lanes:
    """Return 1 / (1 + exp(-x))."""
    return 1.0 / (2.0 + expm1(0.0 - x))


@compiled
def tanh(x: Lanes) -> Lanes:
    """Return the hyperbolic tangent, accurate near 0 as well."""
    grown = expm1(x + x)
    return grown / (grown + 2.0)


@compiled
def pack(
    kernel: Float32Array,
    recurrent: Float32Array,
    bias: Float32Array,
    features: int,
    units: int,
    packed: Float32Array,
    transposed: Float32Array,
    inner: int,
) -> None:
    """Arrange the weights for both passes.

    Args:
        kernel: `(F, 4 U)`, as in Keras.
        recurrent: `(U, 4 U)`, as in Keras.
        bias: `(4 U,)`, as in Keras.
        packed: `(B, K, 4, LANES)` output for the forward pass, zero in unused lanes.
        transposed: `(B, 4, LANES, columns)` output for the backward pass, with the columns [x, padded to `inner`; h,
            padded to blocks]; zero elsewhere.
        inner: columns of x in `transposed`; 0 if no gradient of x is needed.
    """
    blocks = -(-units // LANES)
    count, columns = 1 + features + units, inner + blocks * LANES
    for gate in range(4):
        for unit in range(units):
            column, block, lane = gate * units + unit, unit // LANES, unit % LANES
            row = ((block * 4 + gate) * LANES + lane) * columns
            for k in range(count):
                weight = bias[column]
                if k > features:
                    weight = recurrent[(k - 1 - features) * 4 * units + column]
                    transposed[row + inner + k - 1 - features] = weight
                elif k > 0:
                    weight = kernel[(k - 1) * 4 * units + column]
                    if inner > 0:
                        transposed[row + k - 1] = weight
                packed[((block * count + k) * 4 + gate) * LANES + lane] = weight


@compiled
def forward(
    x: Float32Array, first: int, x_row: int, n: int, steps: int, features: int, units: int, backwards: bool,
    packed: Float32Array, start: Float32Array, start_at: int, start_block: int, start_row: int, inputs: Float32Array,
    cells: Float32Array, gates: Float32Array, keep: bool, sequence: Float32Array, all_steps: bool,
) -> None:  # fmt: skip
    """Compute the forward pass over all steps.

    Args:
        x: `(batch, T, F)`, a row of the batch every `x_row` elements; the rows to compute start at `first`.
        backwards: process x from last to first step.
        packed: weights as filled by `pack`.
        start: the gates without the products, `(4, LANES)` at `start_at`, one every `start_block` elements for each
            block and every `start_row` elements for each row.
        inputs: `(T + 1, n, 1 + F + B LANES)` with h_0 in the first step and ones in every step; the rest is output.
        cells: `(T + 1, n, B, LANES)` with c_0 in the first step; the rest is output.
        gates: `(T, n, B, 4, LANES)` output: i, f, g, o.
        keep: whether `inputs`, `cells`, and `gates` have all steps; else two steps in alternation, and one of `gates`.
        sequence: `(batch, T, U)` output if `all_steps`.
    """
    blocks = -(-units // LANES)
    row_gates, row_cells = blocks * 4 * LANES, blocks * LANES
    length, count, whole = 1 + features + row_cells, features + units, units // LANES
    for t in range(steps):
        at = (t if keep else t % 2) * n
        ahead = (t + 1 if keep else (t + 1) % 2) * n
        now = at if keep else 0
        time = steps - 1 - t if backwards else t
        for row in range(n):
            to, source = (at + row) * length + 1, (first + row) * x_row + time * features
            for k in range(features):
                inputs[to + k] = x[source + k]
        for block in range(blocks):
            weights = (block * (1 + count) + 1) * 4 * LANES
            product_4(gates, now * row_gates + block * 4 * LANES, row_gates, start, start_at + block * start_block,
                      start_row, inputs, at * length + 1, length, 1, packed, weights, 4 * LANES, n, count)  # fmt: skip
            for row in range(n):
                g = ((now + row) * blocks + block) * 4 * LANES
                i = sigmoid(load(gates, g))
                f = sigmoid(load(gates, g + LANES))
                candidate = tanh(load(gates, g + 2 * LANES))
                o = sigmoid(load(gates, g + 3 * LANES))
                c = f * load(cells, (at + row) * row_cells + block * LANES) + i * candidate
                h = o * tanh(c)
                if keep:
                    store(gates, g, i)
                    store(gates, g + LANES, f)
                    store(gates, g + 2 * LANES, candidate)
                    store(gates, g + 3 * LANES, o)
                store(cells, (ahead + row) * row_cells + block * LANES, c)
                store(inputs, (ahead + row) * length + 1 + features + block * LANES, h)
                if all_steps and block < whole:
                    store(sequence, ((first + row) * steps + t) * units + block * LANES, h)
        for row in range(n if all_steps else 0):
            to, source = ((first + row) * steps + t) * units, (ahead + row) * length + 1 + features
            for unit in range(whole * LANES, units):
                sequence[to + unit] = inputs[source + unit]


@compiled
def states(
    x: Float32Array, x_row: int, batch: int, steps: int, features: int, units: int, packed: Float32Array,
    start: Float32Array, start_row: int, sequence: Float32Array,
) -> None:  # fmt: skip
    """Compute the hidden states of sequences, whose states before the first step are zeros.

    Args:
        x: `(batch, T, F)`, a row of the batch every `x_row` elements.
        packed: weights in the layout of `pack`.
        start: the gates without the products, `(B, 4, LANES)`, one every `start_row` elements for each row.
        sequence: `(batch, T, U)` output.
    """
    blocks = -(-units // LANES)
    row, max_rows = blocks * LANES, min(batch, ROWS)
    length = 1 + features + row
    inputs, cells, gates = aligned(2 * max_rows * length), aligned(2 * max_rows * row), aligned(max_rows * row * 4)
    for first in range(0, batch, ROWS):
        inputs[:] = 0
        cells[:] = 0
        forward(
            x, first, x_row, min(max_rows, batch - first), steps, features, units, False, packed, start,
            first * start_row, 4 * LANES, start_row, inputs, cells, gates, False, sequence, True,
        )  # fmt: skip


class StateKernel:
    """LSTM layer whose states before the first step are zeros, for arrays.

    Args:
        weights: kernel, recurrent kernel, and bias, as in Keras.
        constants: number of the first inputs that are the same at all steps.
    """

    def __init__(self, weights: Sequence[Float32Array], constants: int) -> None:
        kernel, recurrent, bias = weights
        self.units, self.features = len(recurrent), len(kernel) - constants
        gate, unit = np.divmod(np.arange(4 * self.units), self.units)
        lanes = (unit // LANES * 4 + gate) * LANES + unit % LANES
        rows = np.concatenate([kernel[:constants], bias[None], kernel[constants:], recurrent])
        laid_out = np.zeros((len(rows), -(-self.units // LANES) * 4 * LANES), np.float32)
        laid_out[:, lanes] = rows
        self.constants, changing = laid_out[:constants], laid_out[constants:]
        self.bias = changing[:1]
        blocks = changing.reshape(len(changing), -1, 4 * LANES)
        self.packed = np.ascontiguousarray(blocks.transpose(1, 0, 2)).ravel()

    def __call__(self, sequence: Array, constant: Array | None = None) -> Float32Array:
        """Return the hidden states, `(batch, steps, units)`.

        Args:
            sequence: `(batch, steps, features)`; with constants, a single sequence may stand for those of all samples.
            constant: `(batch, constants)`; None without constants.
        """
        start = self.bias if constant is None else np.asarray(self.bias + constant @ self.constants, np.float32)
        batch, steps = len(sequence if constant is None else constant), sequence.shape[1]
        x = np.ascontiguousarray(sequence, np.float32)
        hidden = np.empty((batch, steps, self.units), np.float32)
        states(
            x.ravel(), 0 if len(x) < batch else x[0].size, batch, steps, self.features, self.units, self.packed,
            start.ravel(), 0 if constant is None else start.shape[1], hidden.ravel(),
        )  # fmt: skip
        return hidden


@compiled
def backward(
    first: int, n: int, steps: int, features: int, units: int, backwards: bool, transposed: Float32Array,
    inputs: Float32Array, cells: Float32Array, gates: Float32Array, d_sequence: Float32Array, all_steps: bool,
    d_inputs: Float32Array, inner: int, d_cells: Float32Array, d_x: Float32Array, d_weights: Float32Array,
) -> None:  # fmt: skip
    """Compute the gradients, from last to first step.

    Args:
        transposed: weights as filled by `pack`.
        inputs: as filled by `forward`.
        cells: as filled by `forward`.
        gates: as filled by `forward`; overwritten.
        d_sequence: `(batch, T, U)` gradient of all hidden states, read if `all_steps`.
        d_inputs: `(n + 1, inner + B LANES)` working memory; the last columns are the gradient of the last h on entry
            and of h_0 on return. The last row is zeros.
        inner: columns of x in `transposed`.
        d_cells: `(n, B, LANES)` gradient of the last c on entry and of c_0 on return.
        d_x: `(batch, T, F)` output if `inner` is not 0.
        d_weights: `(K, B, 4, LANES)` zeros on entry, gradient of the weights on return.
    """
    blocks = -(-units // LANES)
    row_gates, row_cells = blocks * 4 * LANES, blocks * LANES
    length, columns, whole = 1 + features + row_cells, inner + row_cells, units // LANES
    for back in range(steps):
        t = steps - 1 - back
        at = t * n
        for row in range(n):
            to, source = row * columns + inner, ((first + row) * steps + t) * units
            for unit in range(whole * LANES, units if all_steps else 0):
                d_inputs[to + unit] += d_sequence[source + unit]
            for block in range(blocks):
                g = ((at + row) * blocks + block) * 4 * LANES
                i, f = load(gates, g), load(gates, g + LANES)
                candidate, o = load(gates, g + 2 * LANES), load(gates, g + 3 * LANES)
                before = load(cells, (at + row) * row_cells + block * LANES)
                grown = tanh(load(cells, (at + n + row) * row_cells + block * LANES))
                d_h = load(d_inputs, to + block * LANES)
                if all_steps and block < whole:
                    d_h = d_h + load(d_sequence, source + block * LANES)
                d_c = load(d_cells, row * row_cells + block * LANES) + d_h * o * (1.0 - grown * grown)
                store(d_cells, row * row_cells + block * LANES, d_c * f)
                store(gates, g, d_c * candidate * i * (1.0 - i))
                store(gates, g + LANES, d_c * before * f * (1.0 - f))
                store(gates, g + 2 * LANES, d_c * i * (1.0 - candidate * candidate))
                store(gates, g + 3 * LANES, d_h * grown * o * (1.0 - o))
        product(d_inputs, 0, columns, d_inputs, n * columns, 0,
                gates, at * row_gates, row_gates, 1, transposed, 0, columns, n, columns // LANES,
                row_gates)  # fmt: skip
        product(d_weights, 0, row_gates, d_weights, 0, row_gates, inputs, at * length, 1, length,
                gates, at * row_gates, row_gates, 1 + features + units, row_gates // LANES, n)  # fmt: skip
        if inner > 0:
            time = steps - 1 - t if backwards else t
            for row in range(n):
                to, source = ((first + row) * steps + time) * features, row * columns
                for k in range(features):
                    d_x[to + k] = d_inputs[source + k]
