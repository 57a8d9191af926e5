"""Data augmentation for digits: random rotation, scaling, shear, shift, and elastic distortion in every training step.

After Simard, Steinkraus and Platt 2003, "Best practices for convolutional neural networks applied to visual document
analysis", and Ciresan et al. 2010, "Deep, big, simple neural nets for handwritten digit recognition". Random numbers
depend on the seed and the training step only, so that a resumed training draws the same.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from lstm_ae.data.digits import IMAGE_SIDE, pixel_permutation

# Standard deviations at amount 1, which leaves digits easily readable; angles in radians, lengths in pixels.
TURN, SHEAR, STRETCH, SHIFT, BEND = math.radians(6), 0.08, 0.07, 0.9, 0.9

# The elastic distortion is drawn on a coarse grid and interpolated.
COARSE = 6


class Deformation(NamedTuple):
    """Random deformation of digits.

    Args:
        read: order in which a digit's pixels form a sequence, see `config.read`.
        amount: strength in multiples of the standard deviations of this module.
        seed: seed of the random numbers.
    """

    read: str
    amount: float
    seed: int

    def apply(self, window: tf.Tensor, step: tf.Tensor, part: int) -> tf.Tensor:
        """Deform the sequences `(batch, steps, features)` of one part of a batch; pixels outside are 0."""
        shape = tf.shape(window)
        batch = shape[0]
        picture = tf.reshape(window, (batch, IMAGE_SIDE * IMAGE_SIDE))
        if self.read == "permuted":
            picture = tf.gather(picture, tf.math.invert_permutation(pixel_permutation()), axis=1)
        points = self._source_points(batch, tf.stack([tf.cast(step, tf.int32), self.seed * 64 % 2**31 + part]))
        if self.read == "columns":  # the picture is transposed
            points = tf.reverse(points, [-1])
            points = tf.reshape(
                tf.transpose(tf.reshape(points, (batch, IMAGE_SIDE, IMAGE_SIDE, 2)), (0, 2, 1, 3)),
                (batch, IMAGE_SIDE * IMAGE_SIDE, 2),
            )
        picture = _interpolate(picture, points)
        if self.read == "permuted":
            picture = tf.gather(picture, pixel_permutation(), axis=1)
        return tf.reshape(picture, shape)

    def _source_points(self, batch: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return the source row and column of each pixel of the deformed pictures, `(batch, SIDE * SIDE, 2)`."""
        noise = self.amount * tf.random.stateless_normal((batch, 7), seed)
        turn, shear, shift = TURN * noise[:, 0], SHEAR * noise[:, 1], SHIFT * noise[:, 2:4]
        tall, wide = tf.exp(STRETCH * noise[:, 4]), tf.exp(STRETCH * noise[:, 5])
        cos, sin = tf.cos(turn), tf.sin(turn)
        # Scaling, then shear, then rotation.
        matrix = tf.reshape(
            tf.stack([cos * tall, (cos * shear - sin) * wide, sin * tall, (sin * shear + cos) * wide], 1), (-1, 2, 2)
        )
        middle = (IMAGE_SIDE - 1) / 2
        line = tf.range(IMAGE_SIDE, dtype=tf.float32) - middle
        grid = tf.stack([tf.repeat(line, IMAGE_SIDE), tf.tile(line, [IMAGE_SIDE])], axis=1)
        bends = tf.random.stateless_normal((batch, COARSE, COARSE, 2), tf.stack([seed[0], seed[1] + 32]))
        bends = tf.reshape(
            tf.image.resize(bends, (IMAGE_SIDE, IMAGE_SIDE), "bicubic"), (batch, IMAGE_SIDE * IMAGE_SIDE, 2)
        )
        return tf.einsum("pi,bji->bpj", grid, matrix) + shift[:, None] + self.amount * BEND * bends + middle


def _interpolate(picture: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Interpolate pictures `(batch, SIDE * SIDE)` bilinearly at points between pixels; 0 outside."""
    low = tf.floor(points)
    weight = points - low
    low = tf.cast(low, tf.int32)
    result = tf.zeros_like(picture)
    for down in (0, 1):
        for right in (0, 1):
            row, column = low[..., 0] + down, low[..., 1] + right
            exists = (row >= 0) & (row < IMAGE_SIDE) & (column >= 0) & (column < IMAGE_SIDE)
            index = tf.where(exists, row * IMAGE_SIDE + column, 0)
            value = tf.where(exists, tf.gather(picture, index, batch_dims=1), 0.0)
            by_row = weight[..., 0] if down else 1 - weight[..., 0]
            by_column = weight[..., 1] if right else 1 - weight[..., 1]
            result += value * by_row * by_column
    return result
