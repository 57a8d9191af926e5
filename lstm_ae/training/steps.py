"""Training and validation steps: many in one call of TensorFlow, each batch in parts that run side by side.

The parts of a batch depend on the number of parts alone and their gradients are added in order, so the numbers do not
depend on the machine's cores.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from lstm_ae.data.windows import Data, Split, inference_batch_size
from lstm_ae.training.batches import Batches
from lstm_ae.training.deformation import Deformation


def steps_per_epoch(split: Split, batch_size: int, most: int | None = None) -> int:
    """Training steps in an epoch, so many at most; the last batch of all samples may be short."""
    steps = -(-split.samples // batch_size)
    return steps if most is None else min(steps, most)


class TrainingSteps:
    """The steps of one training.

    Args:
        network: the inner network, on scaled values.
        optimizer: built for its trainable variables.
        data: the training and validation parts.
        batch_size: samples in a training step; the last one of an epoch may be short.
        most: training steps in an epoch, which then takes some of the samples; None for all.
        parts: parts of a batch.
        reconstruction_weight: share of the reconstruction in the loss where there is a label as well.
        label_smoothing: share of a class's target given to all classes alike, in training.
        deform: how training samples are deformed; None leaves them.
    """

    def __init__(
        self,
        network: Any,
        optimizer: Any,
        data: Data,
        *,
        batch_size: int,
        parts: int,
        most: int | None = None,
        reconstruction_weight: float = 1.0,
        label_smoothing: float = 0.0,
        deform: Deformation | None = None,
    ) -> None:
        self.network, self.optimizer, self.batch_size, self.parts = network, optimizer, batch_size, parts
        self.label_smoothing, self.deform = label_smoothing, deform
        names = list(network.output)
        self.weights = dict.fromkeys(names, 1.0)
        if "label" in names and len(names) > 1:
            self.weights = {"reconstruction": reconstruction_weight, "label": 1 - reconstruction_weight}
        self.names = ["loss"]
        if len(names) > 1:
            self.names += [f"{name}_loss" for name in names]
        if "label" in names:
            self.names.append("label_accuracy")
        self.train_feed, self.validation_feed = (Batches(part, data.scale, network) for part in data[:2])
        self.count = steps_per_epoch(data.train, batch_size, most)
        # Samples of an epoch.
        self.samples = min(self.count * batch_size, data.train.samples)
        # Large, since no gradient has to be kept.
        self.validation_batch = inference_batch_size(data.validation)
        self.missing = any(part.missing for part in data[:2])
        self._train: Any = None
        self._validate: Any = None

    def train(self, order: Any, first: int, last: int, sums: Mapping[str, float]) -> dict[str, float]:
        """Train on the batches from `first` to `last` - 1 of the samples in this order; returns `sums` grown by them.

        The sums go on from what they were, so that they do not depend on how many batches one call takes.
        """
        before = tf.constant([sums[name] for name in self.names], tf.float64)
        given = [tf.convert_to_tensor(order), tf.constant(first, tf.int64), tf.constant(last, tf.int64), before]
        self._train = self._train or _traced(self._training, *given)
        return self._named(self._train(*given))

    def validate(self) -> dict[str, float]:
        """The mean values of the validation part."""
        self._validate = self._validate or _traced(self._validating)
        values = self._named(self._validate())
        return {name: value / self.validation_feed.samples for name, value in values.items()}

    def release(self) -> None:
        """Give back the memory of the data; no step can be taken afterwards."""
        self.train_feed.release()
        self.validation_feed.release()

    def _named(self, values: Any) -> dict[str, float]:
        return dict(zip(self.names, values.numpy().tolist(), strict=True))

    def _training(self, order: Any, first: Any, last: Any, before: Any) -> Any:
        def step(number: Any, sums: Any) -> Any:
            index = order[number * self.batch_size : (number + 1) * self.batch_size]
            gradients, values = self.gradients(index)
            self.optimizer.apply(gradients, self.network.trainable_variables)
            return number + 1, sums + tf.cast(values, tf.float64)

        return self._loop(step, first, last, before)

    def _validating(self) -> Any:
        samples = self.validation_feed.samples

        def step(number: Any, sums: Any) -> Any:
            index = tf.range(number * self.validation_batch, tf.minimum((number + 1) * self.validation_batch, samples))
            values = self.measured(self.validation_feed, index, training=False)[1]
            return number + 1, sums + tf.cast(values, tf.float64)

        first, last = tf.constant(0, tf.int64), tf.constant(-(-samples // self.validation_batch), tf.int64)
        return self._loop(step, first, last, tf.zeros(len(self.names), tf.float64))

    def _loop(self, step: Any, first: Any, last: Any, sums: Any) -> Any:
        return tf.while_loop(lambda number, _: number < last, step, [first, sums], parallel_iterations=1)[1]

    def gradients(self, index: Any) -> tuple[list[Any], Any]:
        """The gradients of the loss of a training batch, and what `measured` tells of it."""
        with tf.GradientTape() as tape:
            loss, sums = self.measured(self.train_feed, index, training=True)
        return tape.gradient(loss, [variable.value for variable in self.network.trainable_variables]), sums

    def measured(self, feed: Batches, index: Any, *, training: bool) -> tuple[Any, Any]:
        """The loss of a batch, and the sums over its samples of all that is told."""
        size = tf.shape(index, out_type=tf.int64)[0]
        bounds = [size * part // self.parts for part in range(self.parts + 1)]
        told = []
        for part, (first, last) in enumerate(itertools.pairwise(bounds)):
            # Not every operation takes a part without a sample, cuDNN's do not: it gets one that counts nothing.
            sums = self._summed(feed, index[first : tf.maximum(last, first + 1)], part, training=training)
            told.append(sums * tf.cast(last > first, tf.float32))
        sums = tf.add_n(told)
        return sums[0] / tf.cast(size, tf.float32), sums

    def _summed(self, feed: Batches, index: Any, part: int, *, training: bool) -> Any:
        """Sums over samples, in the order of `names`. Sums and no means: parts are not of one size."""
        inputs, targets = feed.cut(index)
        if training and self.deform:
            sequence = self.deform.apply(inputs["sequence"], self.optimizer.iterations, part)
            inputs, targets = {"sequence": sequence}, targets | {"reconstruction": sequence}
        outputs = self.network(inputs, training=training)
        losses = {}
        for name, output in outputs.items():
            if name == "label":
                errors = self._errors_of_label(targets[name], output, training=training)
                hits = keras.metrics.sparse_categorical_accuracy(targets[name], output)
            else:
                errors = self._squared_errors(output, targets[name])
            losses[name] = tf.reduce_sum(errors)
        loss = tf.add_n([self.weights[name] * value for name, value in losses.items()])
        told = [loss, *losses.values()] if len(losses) > 1 else [loss]
        return tf.stack([*told, tf.reduce_sum(hits)] if "label" in outputs else told)

    def _squared_errors(self, output: Any, target: Any) -> Any:
        """The mean over each sample's values, those that are missing left out."""
        if not self.missing:
            return tf.reduce_mean(tf.math.squared_difference(output, target), axis=(1, 2))
        absent = tf.math.is_nan(target)
        # Twice, since the gradient of what `where` leaves out is 0 times NaN.
        errors = tf.math.squared_difference(output, tf.where(absent, output, target))
        there = tf.reduce_sum(tf.cast(~absent, tf.float32), axis=(1, 2))
        return tf.reduce_sum(errors, axis=(1, 2)) / tf.maximum(there, 1.0)

    def _errors_of_label(self, target: Any, output: Any, *, training: bool) -> Any:
        if not training or not self.label_smoothing:
            return keras.losses.sparse_categorical_crossentropy(target, output)
        classes = tf.one_hot(target, output.shape[-1])
        return keras.losses.categorical_crossentropy(classes, output, label_smoothing=self.label_smoothing)


def _traced(function: Any, *arguments: Any) -> Any:
    """A function as one graph: TensorFlow warns of many graphs where one process trains many models after another."""
    return tf.function(function, autograph=False).get_concrete_function(*arguments)
