"""Gradients of the parts of a batch, computed by workers in other processes.

A batch is cut into `config.parts` parts. A worker computes the gradients of some of them with the weights that it
receives; the process that trains adds them in the order of the parts and applies the optimizer. The result therefore
depends on the number of parts, and neither on the number of workers nor on which worker computes which part. A worker
keeps nothing between two steps, so that another one can compute the parts of a lost one.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from lstm_ae.config import Config
from lstm_ae.data.windows import Data
from lstm_ae.kernels.choice import accelerate
from lstm_ae.training.loop import prepare_training
from lstm_ae.training.steps import PartGradients, StepState, trace


class GradientWorker:
    """Worker that computes the gradients of parts of batches.

    Args:
        network: the inner network as JSON, see `keras.Model.to_json`; its weights come with every step.
        data: training windows with their scale.
        config: config of the training.
    """

    def __init__(self, network: str, data: Data, config: Config) -> None:
        self.network = keras.models.model_from_json(network)
        self.steps = prepare_training(self.network, data, config)
        with accelerate(self.network, config.kernel):
            index, part = tf.TensorSpec((None,), tf.int64), tf.TensorSpec((), tf.int64)
            self._gradients = trace(self.steps.part_gradients, index, part)
        # The states of the random number generators are counters, which each part advances by the same number.
        before = self._states()
        self._gradients(tf.zeros(1, tf.int64), tf.constant(0, tf.int64))
        self.advance = [after - state for after, state in zip(self._states(), before, strict=True)]

    def compute(self, state: StepState, parts: Sequence[int]) -> list[PartGradients]:
        """Return the gradients of parts of a batch.

        Args:
            state: the training before the step.
            parts: numbers of the parts.
        """
        for variable, value in zip(self.network.trainable_variables, state.weights, strict=True):
            variable.assign(value)
        self.steps.optimizer.iterations.assign(state.step)
        index, results = tf.constant(state.samples), []
        for part in parts:
            drawn = [value + part * each for value, each in zip(state.random, self.advance, strict=True)]
            for variable, value in zip(self.network.non_trainable_variables, drawn, strict=True):
                variable.assign(value)
            gradients, sums = self._gradients(index, tf.constant(part, tf.int64))
            results.append(PartGradients(part, [each.numpy() for each in gradients], sums.numpy(), self._states()))
        return results

    def _states(self) -> list[np.ndarray]:
        return [np.array(variable) for variable in self.network.non_trainable_variables]
