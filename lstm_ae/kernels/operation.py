"""Compute an LSTM layer as one differentiable TensorFlow operation, with the kernels of `lstm`."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from lstm_ae.kernels import lstm
from lstm_ae.kernels.compiled import aligned, kernel
from lstm_ae.kernels.lstm import ROWS
from lstm_ae.kernels.native import extent, floats, integers, output, register
from lstm_ae.kernels.vectors import LANES


@kernel
def _forward(_: int, context: int) -> None:
    x, h_0, c_0 = floats(context, 0), floats(context, 4), floats(context, 5)
    batch, steps, features = extent(context, 0, 0), extent(context, 0, 1), extent(context, 0, 2)
    units = extent(context, 2, 0)
    form = integers(context, 6)
    backwards, all_steps, keep, inner = form[0] > 0, form[1] > 0, form[2] > 0, form[3]
    blocks = -(-units // LANES)
    row = blocks * LANES
    length, count = 1 + features + row, 1 + features + units
    stored = batch if keep else min(batch, ROWS)
    failed = np.zeros(1, np.int64)
    sequence = output(context, failed, 0, 3, batch, steps, units) if all_steps else output(context, failed, 0, 1, 0)
    h, c = output(context, failed, 1, 2, batch, units), output(context, failed, 2, 2, batch, units)
    inputs = output(context, failed, 3, 1, stored * (steps + 1) * length)
    cells = output(context, failed, 4, 1, stored * (steps + 1) * row)
    gates = output(context, failed, 5, 1, stored * steps * row * 4)
    transposed = output(context, failed, 6, 1, 4 * row * (inner + row))
    if failed[0]:
        return  # TensorFlow reports the error.
    packed = aligned(count * row * 4)
    transposed[:] = 0
    lstm.pack(floats(context, 1), floats(context, 2), floats(context, 3), features, units, packed, transposed, inner)
    for first in range(0, batch, ROWS):
        rows, at = min(ROWS, batch - first), first if keep else 0
        part_inputs, part_cells = inputs[at * (steps + 1) * length :], cells[at * (steps + 1) * row :]
        part_gates = gates[at * steps * row * 4 :]
        for t in range(steps + 1):
            for n in range(rows):
                part_inputs[(t * rows + n) * length] = 1
        for n in range(rows):
            for unit in range(units):
                part_inputs[n * length + 1 + features + unit] = h_0[(first + n) * units + unit]
            for unit in range(row):
                part_cells[n * row + unit] = c_0[(first + n) * units + unit] if unit < units else 0
        lstm.forward(
            x, first, steps * features, rows, steps, features, units, backwards, packed, packed,
            0, count * 4 * LANES, 0, part_inputs, part_cells, part_gates, True, sequence, all_steps,
        )  # fmt: skip
        for n in range(rows):
            for unit in range(units):
                h[(first + n) * units + unit] = part_inputs[(steps * rows + n) * length + 1 + features + unit]
                c[(first + n) * units + unit] = part_cells[(steps * rows + n) * row + unit]


@kernel
def _backward(_: int, context: int) -> None:
    d_sequence, d_h, d_c = floats(context, 0), floats(context, 1), floats(context, 2)
    inputs, cells, gates, transposed = floats(context, 3), floats(context, 4), floats(context, 5), floats(context, 6)
    batch, units = extent(context, 1, 0), extent(context, 1, 1)
    form = integers(context, 7)
    backwards, all_steps, inner, features, steps = form[0] > 0, form[1] > 0, form[3], form[4], form[5]
    blocks = -(-units // LANES)
    row = blocks * LANES
    length, count = 1 + features + row, 1 + features + units
    failed = np.zeros(1, np.int64)
    d_x = output(context, failed, 0, 3, batch, steps, features) if inner > 0 else output(context, failed, 0, 1, 0)
    d_kernel = output(context, failed, 1, 2, features, 4 * units)
    d_recurrent = output(context, failed, 2, 2, units, 4 * units)
    d_bias = output(context, failed, 3, 1, 4 * units)
    d_h_0, d_c_0 = output(context, failed, 4, 2, batch, units), output(context, failed, 5, 2, batch, units)
    if failed[0]:
        return
    d_weights = aligned(count * row * 4)
    columns = inner + row
    max_rows = min(batch, ROWS)
    d_inputs, d_cells = aligned((max_rows + 1) * columns), aligned(max_rows * row)
    for first in range(0, batch, ROWS):
        rows = min(ROWS, batch - first)
        d_inputs[rows * columns : (rows + 1) * columns] = 0
        for n in range(rows):
            for unit in range(row):
                known = unit < units
                d_inputs[n * columns + inner + unit] = d_h[(first + n) * units + unit] if known else 0
                d_cells[n * row + unit] = d_c[(first + n) * units + unit] if known else 0
        lstm.backward(
            first, rows, steps, features, units, backwards, transposed, inputs[first * (steps + 1) * length :],
            cells[first * (steps + 1) * row :], gates[first * steps * row * 4 :], d_sequence, all_steps,
            d_inputs, inner, d_cells, d_x, d_weights,
        )  # fmt: skip
        for n in range(rows):
            for unit in range(units):
                d_h_0[(first + n) * units + unit] = d_inputs[n * columns + inner + unit]
                d_c_0[(first + n) * units + unit] = d_cells[n * row + unit]
    for k in range(count):
        for gate in range(4):
            for unit in range(units):
                value = d_weights[((k * blocks + unit // LANES) * 4 + gate) * LANES + unit % LANES]
                column = gate * units + unit
                if k > features:
                    d_recurrent[(k - 1 - features) * 4 * units + column] = value
                elif k > 0:
                    d_kernel[(k - 1) * 4 * units + column] = value
                else:
                    d_bias[column] = value


_TAPE = ["inputs: float", "cells: float", "gates: float", "transposed: float"]
_WEIGHTS = ["kernel: float", "recurrent: float", "bias: float"]
_STATES = ["h: float", "c: float"]
register(
    "LstmaeForward",
    ["x: float", *_WEIGHTS, *_STATES, "form: int64"],
    ["sequence: float", "last_h: float", "last_c: float", *_TAPE],
    _forward,
)
register(
    "LstmaeBackward",
    ["d_sequence: float", "d_last_h: float", "d_last_c: float", *_TAPE, "form: int64"],
    ["d_x: float", "d_kernel: float", "d_recurrent: float", "d_bias: float", "d_h: float", "d_c: float"],
    _backward,
)


def lstm_layer(
    sequence: tf.Tensor,
    weights: list[tf.Tensor],
    states: list[tf.Tensor],
    *,
    backwards: bool,
    all_steps: bool,
    differentiate: bool,
    training: bool,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Apply an LSTM layer within a graph.

    Args:
        sequence: `(batch, steps, features)`.
        weights: kernel, recurrent kernel, and bias, as in Keras.
        states: h and c before the first step, `(batch, units)`.
        backwards: process the sequence from last to first step.
        all_steps: return the hidden states of all steps.
        differentiate: compute the gradient of the sequence.
        training: store intermediate values for the gradients.

    Returns:
        The hidden states `(batch, steps, units)` (`(0,)` without `all_steps`), and the last h and c, `(batch, units)`.
    """
    batch, steps, features = sequence.shape
    units = weights[1].shape[0]
    inner = -(-features // LANES) * LANES if differentiate else 0
    choices = tf.constant([backwards, all_steps, training, inner, features], tf.int64)
    # The gradient cannot infer the number of steps from an empty batch, so it is passed explicitly.
    form = tf.concat([choices, tf.shape(sequence, out_type=tf.int64)[1:2]], axis=0)
    shapes = [(batch, steps, units) if all_steps else (0,), (batch, units), (batch, units)]

    def run(name: str, arguments: list[tf.Tensor], known: list[tf.TensorShape], others: int) -> list[tf.Tensor]:
        count = len(known) + others
        outputs = list(
            tf.compat.v1.get_default_graph().create_op(name, [*arguments, form], [tf.float32] * count).outputs
        )
        for value, shape in zip(outputs, known, strict=False):
            value.set_shape(shape)
        return outputs

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def apply(*arguments: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Callable[..., list[tf.Tensor | None]]]:
        outputs = run("LstmaeForward", list(arguments), shapes, 4)

        def gradient(*upstream: tf.Tensor) -> list[tf.Tensor | None]:
            known = [argument.shape for argument in arguments]
            if not differentiate:
                known[0] = (0,)
            gradients = run("LstmaeBackward", [*upstream, *outputs[3:]], known, 0)
            return gradients if differentiate else [None, *gradients[1:]]

        return tuple(outputs[:3]), gradient

    h_all, h, c = apply(sequence, *weights, *states)
    return h_all, h, c
