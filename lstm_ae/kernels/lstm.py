"""LSTM forward and backward pass over a part of a batch, for Numba.

The equations are those of `keras.layers.LSTM` (Hochreiter and Schmidhuber 1997, with the forget gate of Gers,
Schmidhuber and Cummins 2000); the gates are in Keras' order i, f, g (the candidate), o. The memory layout makes it
fast:

- A step is one matrix product: each row of `inputs` is [x_t, h_(t-1), 1], so that kernel, recurrent kernel, and bias
  are one matrix, and so are their gradients.
- Units are the lanes of a vector. The four gates of `LANES` units are contiguous, `(block, gate, lane)`, so that one
  tile of the product yields all gates of these units. Unused lanes of the last block are zeros.
- The data of a step is contiguous, so that a step works in the cache.

Arrays are flat; shapes below describe their layout. n is the number of rows of the part, F of features, U of units,
B of blocks of units, T of steps, and K = F + U + 1.
"""

from collections.abc import Callable

from lstm_ae.arrays import Float32Array
from lstm_ae.kernels.compiled import compiled
from lstm_ae.kernels.vectors import LANES, TILE_ROWS, Lanes, expm1, load, load_first, store, store_first, tile


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
    length, columns = features + units + 1, inner + blocks * LANES
    for k in range(length):
        for gate in range(4):
            for unit in range(units):
                column = gate * units + unit
                if k < features:
                    weight = kernel[k * 4 * units + column]
                elif k < features + units:
                    weight = recurrent[(k - features) * 4 * units + column]
                else:
                    weight = bias[column]
                block, lane = unit // LANES, unit % LANES
                packed[((block * length + k) * 4 + gate) * LANES + lane] = weight
                row = ((block * 4 + gate) * LANES + lane) * columns
                if k < features:
                    if inner > 0:
                        transposed[row + k] = weight
                elif k < features + units:
                    transposed[row + inner + k - features] = weight


@compiled
def forward(
    x: Float32Array, first: int, n: int, steps: int, features: int, units: int, backwards: bool, packed: Float32Array,
    inputs: Float32Array, cells: Float32Array, gates: Float32Array, sequence: Float32Array, all_steps: bool,
) -> None:  # fmt: skip
    """Compute the forward pass over all steps.

    Args:
        x: `(batch, T, F)`; the part starts at row `first`.
        backwards: process x from last to first step.
        packed: weights as filled by `pack`.
        inputs: `(T + 1, n, K)` with h_0 in the first step and ones in every step; the rest is output.
        cells: `(T + 1, n, B, LANES)` with c_0 in the first step; the rest is output.
        gates: `(T, n, B, 4, LANES)` output: i, f, g, o.
        sequence: `(batch, T, U)` output if `all_steps`.
    """
    blocks = -(-units // LANES)
    length, row_gates, row_cells = features + units + 1, blocks * 4 * LANES, blocks * LANES
    rest = units - (blocks - 1) * LANES
    for t in range(steps):
        at = t * n
        time = steps - 1 - t if backwards else t
        for row in range(n):
            to, source = (at + row) * length, ((first + row) * steps + time) * features
            for k in range(features):
                inputs[to + k] = x[source + k]
        for block in range(blocks):
            weights = block * length * 4 * LANES
            product_4(gates, at * row_gates + block * 4 * LANES, row_gates, packed, weights + (length - 1) * 4 * LANES,
                      0, inputs, at * length, length, 1, packed, weights, 4 * LANES, n, length - 1)  # fmt: skip
            for row in range(n):
                g = ((at + row) * blocks + block) * 4 * LANES
                i = sigmoid(load(gates, g))
                f = sigmoid(load(gates, g + LANES))
                candidate = tanh(load(gates, g + 2 * LANES))
                o = sigmoid(load(gates, g + 3 * LANES))
                c = f * load(cells, (at + row) * row_cells + block * LANES) + i * candidate
                h = o * tanh(c)
                store(gates, g, i)
                store(gates, g + LANES, f)
                store(gates, g + 2 * LANES, candidate)
                store(gates, g + 3 * LANES, o)
                store(cells, (at + n + row) * row_cells + block * LANES, c)
                ahead = (at + n + row) * length + features + block * LANES
                out = ((first + row) * steps + t) * units + block * LANES
                if block < blocks - 1 or rest == LANES:
                    store(inputs, ahead, h)
                    if all_steps:
                        store(sequence, out, h)
                else:
                    store_first(inputs, ahead, h, rest)
                    if all_steps:
                        store_first(sequence, out, h, rest)


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
    length, row_gates, row_cells = features + units + 1, blocks * 4 * LANES, blocks * LANES
    columns = inner + row_cells
    rest = units - (blocks - 1) * LANES
    for back in range(steps):
        t = steps - 1 - back
        at = t * n
        for row in range(n):
            for block in range(blocks):
                g = ((at + row) * blocks + block) * 4 * LANES
                i, f = load(gates, g), load(gates, g + LANES)
                candidate, o = load(gates, g + 2 * LANES), load(gates, g + 3 * LANES)
                before = load(cells, (at + row) * row_cells + block * LANES)
                grown = tanh(load(cells, (at + n + row) * row_cells + block * LANES))
                d_h = load(d_inputs, row * columns + inner + block * LANES)
                if all_steps:
                    source = ((first + row) * steps + t) * units + block * LANES
                    if block < blocks - 1 or rest == LANES:
                        d_h = d_h + load(d_sequence, source)
                    else:
                        d_h = d_h + load_first(d_sequence, source, rest)
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
                gates, at * row_gates, row_gates, length, row_gates // LANES, n)  # fmt: skip
        if inner > 0:
            time = steps - 1 - t if backwards else t
            for row in range(n):
                to, source = ((first + row) * steps + time) * features, row * columns
                for k in range(features):
                    d_x[to + k] = d_inputs[source + k]
