"""Training and validation steps: many per TensorFlow call, each batch split into parts that run in parallel.

The split depends on the number of parts only and the parts' losses and gradients are added in order, so that results do
not depend on the number of cores.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from lstm_ae.data.windows import Data, Split, inference_batch_size
from lstm_ae.models.keras_network import trace
from lstm_ae.training.batches import Batches
from lstm_ae.training.deformation import Deformation

# A traced function of tensors.
Graph = Callable[..., Any]
# A function from the number and the sums of a step to those of the next one.
Step = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def steps_per_epoch(split: Split, batch_size: int, max_steps: int | None) -> int:
    """Return the number of training steps per epoch, at most `max_steps`; the last batch may be smaller."""
    steps = -(-split.samples // batch_size)
    return steps if max_steps is None else min(steps, max_steps)


class TrainingSteps:
    """Training and validation steps of one training.

    Args:
        network: the inner network, on scaled values.
        optimizer: an optimizer built for the network's trainable variables.
        data: training and validation windows with their scale.
        batch_size: samples per training step; the last step of an epoch may have fewer.
        count: training steps per epoch, see `steps_per_epoch`. With fewer than all samples, their subset is random.
        parts: number of parts that a batch is split into.
        reconstruction_weight: weight of the reconstruction loss if there is a label loss as well.
        deform: augmentation of the training samples; None for none.
    """

    def __init__(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        data: Data,
        *,
        batch_size: int,
        parts: int,
        count: int,
        reconstruction_weight: float = 1.0,
        deform: Deformation | None = None,
    ) -> None:
        self.network, self.optimizer, self.batch_size, self.parts = network, optimizer, batch_size, parts
        self.count, self.deform = count, deform
        names = list(network.output)
        self.weights = dict.fromkeys(names, 1.0)
        if "label" in names and len(names) > 1:
            self.weights = {"reconstruction": reconstruction_weight, "label": 1 - reconstruction_weight}
        self.names = ["loss"]
        if len(names) > 1:
            self.names += [f"{name}_loss" for name in names]
        if "label" in names:
            self.names.append("label_accuracy")
        self.train_feed = Batches(data.train, data.scale, network)
        self.validation_feed = Batches(data.validation, data.scale, network)
        # Samples per epoch.
        self.samples = min(count * batch_size, data.train.samples)
        # Validation batches can be larger, since they need no gradients.
        self.validation_batch = inference_batch_size(data.validation)
        self.missing = any(split.missing for split in data[:2])
        self._train: Graph | None = None
        self._validate: Graph | None = None

    def train(self, order: tf.Tensor, first: int, last: int, sums: Mapping[str, float]) -> dict[str, float]:
        """Train on the batches `first` to `last` - 1.

        Args:
            order: `(samples,)` int64, the samples in the order of the epoch.
            first: first batch.
            last: batch after the last one.
            sums: sums of losses and metrics over the epoch's samples so far, by name. They are continued, so that they
                do not depend on the number of batches per call.

        Returns:
            The sums including these batches.
        """
        before = tf.constant([sums[name] for name in self.names], tf.float64)
        arguments = [order, tf.constant(first, tf.int64), tf.constant(last, tf.int64), before]
        self._train = self._train or trace(self._training, *arguments)
        return self._named(self._train(*arguments))

    def validate(self) -> dict[str, float]:
        """Return the mean losses and metrics on the validation windows, by name."""
        self._validate = self._validate or trace(self._validating)
        values = self._named(self._validate())
        return {name: value / self.validation_feed.samples for name, value in values.items()}

    def release(self) -> None:
        """Release the memory of the data; no step can run afterwards."""
        self.train_feed.release()
        self.validation_feed.release()

    def _named(self, values: tf.Tensor) -> dict[str, float]:
        return dict(zip(self.names, values.numpy().tolist(), strict=True))

    def _training(self, order: tf.Tensor, first: tf.Tensor, last: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        def step(number: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            gradients, values = self.gradients(order[number * self.batch_size : (number + 1) * self.batch_size])
            self.optimizer.apply(gradients, self.network.trainable_variables)
            return number + 1, sums + tf.cast(values, tf.float64)

        return self._loop(step, first, last, before)

    def _validating(self) -> tf.Tensor:
        samples = self.validation_feed.samples

        def step(number: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            index = tf.range(number * self.validation_batch, tf.minimum((number + 1) * self.validation_batch, samples))
            values = tf.add_n(
                [self._measure_part(self.validation_feed, index, part, training=False) for part in range(self.parts)]
            )
            return number + 1, sums + tf.cast(values, tf.float64)

        first, last = tf.constant(0, tf.int64), tf.constant(-(-samples // self.validation_batch), tf.int64)
        return self._loop(step, first, last, tf.zeros(len(self.names), tf.float64))

    def _loop(self, step: Step, first: tf.Tensor, last: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda number, _: number < last, step, [first, sums], parallel_iterations=1)[1]

    def gradients(self, index: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return the gradients of the loss of a training batch, and the sums of its losses and metrics."""
        parts = [self._part_gradients(index, part) for part in range(self.parts)]
        gradients, sums = zip(*parts, strict=True)
        return [tf.add_n(each) for each in zip(*gradients, strict=True)], tf.add_n(sums)

    def _part_gradients(self, index: tf.Tensor, part: int) -> tuple[list[tf.Tensor], tf.Tensor]:
        with tf.GradientTape() as tape:
            sums = self._measure_part(self.train_feed, index, part, training=True)
            loss = sums[0] / tf.cast(tf.size(index), tf.float32)
        return tape.gradient(loss, [variable.value for variable in self.network.trainable_variables]), sums

    def _measure_part(self, feed: Batches, index: tf.Tensor, part: int, *, training: bool) -> tf.Tensor:
        """Return the sums of losses and metrics over a part of a batch, in the order of `names`."""
        size = tf.size(index, out_type=tf.int64)
        first, last = size * part // self.parts, size * (part + 1) // self.parts
        # Some operations, such as cuDNN's, fail on empty batches: an empty part gets a sample of weight 0.
        sums = self._sum_losses(feed, index[first : tf.maximum(last, first + 1)], part, training=training)
        return sums * tf.cast(last > first, tf.float32)

    def _sum_losses(self, feed: Batches, index: tf.Tensor, part: int, *, training: bool) -> tf.Tensor:
        """Return sums over the samples of a part, in the order of `names`; not means, since parts differ in size."""
        inputs, targets = feed.cut(index)
        if training and self.deform:
            sequence = self.deform.apply(inputs["sequence"], self.optimizer.iterations, part)
            inputs, targets = {"sequence": sequence}, targets | {"reconstruction": sequence}
        outputs = self.network(inputs, training=training)
        losses = {}
        for name, output in outputs.items():
            if name == "label":
                errors = keras.losses.sparse_categorical_crossentropy(targets[name], output)
                hits = keras.metrics.sparse_categorical_accuracy(targets[name], output)
            else:
                errors = self._squared_errors(output, targets[name])
            losses[name] = tf.reduce_sum(errors)
        loss = tf.add_n([self.weights[name] * value for name, value in losses.items()])
        sums = [loss, *losses.values()] if len(losses) > 1 else [loss]
        return tf.stack([*sums, tf.reduce_sum(hits)] if "label" in outputs else sums)

    def _squared_errors(self, output: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Return each sample's mean squared error over the values that are not missing."""
        if not self.missing:
            return tf.reduce_mean(tf.math.squared_difference(output, target), axis=(1, 2))
        absent = tf.math.is_nan(target)
        # Replace missing targets before subtracting: the gradient of values masked afterwards would be 0 * NaN.
        errors = tf.math.squared_difference(output, tf.where(absent, output, target))
        present = tf.reduce_sum(tf.cast(~absent, tf.float32), axis=(1, 2))
        return tf.reduce_sum(errors, axis=(1, 2)) / tf.maximum(present, 1.0)
