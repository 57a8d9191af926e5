"""Deformed digits for training: every picture turned, stretched, sheared, shifted and bent anew whenever it is seen.

After Simard, Steinkraus and Platt 2003, "Best practices for convolutional neural networks applied to visual document
analysis", and Ciresan et al. 2010, "Deep, big, simple neural nets for handwritten digit recognition". What is drawn
depends on the seed and the training step alone, so that a resumed training draws the same.
"""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from lstm_ae.data.digits import SIDE, pixel_permutation

# Standard deviations of a usual amount, so that "1" is one that leaves digits easily read.
TURN, SHEAR, STRETCH, SHIFT, BEND = math.radians(6), 0.08, 0.07, 0.9, 0.9

# The bends are drawn on a coarse grid and smoothed between its points.
COARSE = 6


class Deformation(NamedTuple):
    """How digits are deformed.

    Args:
        read: how a digit is a sequence, as `config.read`.
        amount: in multiples of a usual amount.
        seed: of the draws.
    """

    read: str
    amount: float
    seed: int

    def apply(self, window: Any, step: Any, part: int) -> Any:
        """Deform the sequences `(batch, steps, features)` of a training step's part; 0 is the ground."""
        batch = tf.shape(window)[0]
        shape = tf.shape(window)
        picture = tf.reshape(window, (batch, SIDE * SIDE))
        if self.read == "permuted":
            picture = tf.gather(picture, tf.math.invert_permutation(pixel_permutation()), axis=1)
        places = self._places(batch, tf.stack([tf.cast(step, tf.int32), self.seed * 64 % 2**31 + part]))
        if self.read == "columns":  # the picture lies on its side
            places = tf.reverse(places, [-1])
            places = tf.reshape(
                tf.transpose(tf.reshape(places, (batch, SIDE, SIDE, 2)), (0, 2, 1, 3)), (batch, SIDE * SIDE, 2)
            )
        picture = _sampled(picture, places)
        if self.read == "permuted":
            picture = tf.gather(picture, pixel_permutation(), axis=1)
        return tf.reshape(picture, shape)

    def _places(self, batch: Any, seed: Any) -> Any:
        """Where each pixel of the new pictures comes from: row and column, `(batch, SIDE * SIDE, 2)`."""
        drawn = self.amount * tf.random.stateless_normal((batch, 7), seed)
        turn, shear, shift = TURN * drawn[:, 0], SHEAR * drawn[:, 1], SHIFT * drawn[:, 2:4]
        tall, wide = tf.exp(STRETCH * drawn[:, 4]), tf.exp(STRETCH * drawn[:, 5])
        cos, sin = tf.cos(turn), tf.sin(turn)
        # A turn after a shear after a stretch.
        matrix = tf.reshape(
            tf.stack([cos * tall, (cos * shear - sin) * wide, sin * tall, (sin * shear + cos) * wide], 1), (-1, 2, 2)
        )
        middle = (SIDE - 1) / 2
        line = tf.range(SIDE, dtype=tf.float32) - middle
        grid = tf.stack([tf.repeat(line, SIDE), tf.tile(line, [SIDE])], axis=1)
        bends = tf.random.stateless_normal((batch, COARSE, COARSE, 2), tf.stack([seed[0], seed[1] + 32]))
        bends = tf.reshape(tf.image.resize(bends, (SIDE, SIDE), "bicubic"), (batch, SIDE * SIDE, 2))
        return tf.einsum("pi,bji->bpj", grid, matrix) + shift[:, None] + self.amount * BEND * bends + middle


def _sampled(picture: Any, places: Any) -> Any:
    """The values at places between pixels, by the four around each; 0 outside. `(batch, SIDE * SIDE)` both ways."""
    low = tf.floor(places)
    weight = places - low
    low = tf.cast(low, tf.int32)
    result = tf.zeros_like(picture)
    for down in (0, 1):
        for right in (0, 1):
            row, column = low[..., 0] + down, low[..., 1] + right
            inside = (row >= 0) & (row < SIDE) & (column >= 0) & (column < SIDE)
            index = tf.where(inside, row * SIDE + column, 0)
            value = tf.where(inside, tf.gather(picture, index, batch_dims=1), 0.0)
            by_row = weight[..., 0] if down else 1 - weight[..., 0]
            by_column = weight[..., 1] if right else 1 - weight[..., 1]
            result += value * by_row * by_column
    return result
