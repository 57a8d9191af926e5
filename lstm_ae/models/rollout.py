"""Recursive multi-step forecasts of arrays: a forecaster fed with its own outputs."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.models.inference import model_inputs
from lstm_ae.models.network import Network, one_step


class Rollout:
    """Multi-step forecasts of arrays for all horizons and window lengths.

    A one-step forecaster keeps its states between the steps. Its graph (`lstm_ae.models.rollout_graph`) is computed by
    TensorFlow and traced once. A multi-horizon forecaster encodes a window again for every block of its horizon.

    Args:
        network: a forecaster in original units.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(
        self,
        past: Float32Array,
        lines: NDArray[np.int32] | None,
        horizon: int,
        *,
        known: Float32Array | None = None,
        size: int | None = None,
    ) -> Float32Array:
        """Return forecasts `(samples, horizon, targets)` in original units.

        Args:
            past: `(samples, steps, features)` windows in original units.
            lines: `(samples,)` lines of the scale table, or None.
            horizon: number of steps to forecast.
            known: `(samples, any, known)` values of the known covariates from the first step on, unknown after them;
                required if the forecaster reads them. Those up to `read_steps` affect the forecasts.
            size: samples per batch; None for all at once.
        """
        pieces = []
        for start in range(0, len(past), size or len(past)):
            batch = slice(start, start + (size or len(past)))
            following = None if known is None else known[batch]
            inputs = model_inputs(self.network.inputs, past[batch], None if lines is None else lines[batch], following)
            if not one_step(self.network):
                pieces.append(self._block_by_block(inputs, horizon))
                continue
            horizons = np.full(len(past[batch]), horizon, np.int32)
            pieces.append(self._graph(inputs, horizons).numpy())
        return np.concatenate(pieces)

    def read_steps(self, horizon: int) -> int:
        """Return the number of steps whose known covariates affect a forecast: those of whole blocks."""
        size = self.network.outputs["future"][1]
        return horizon if size is None else -(-horizon // size) * size

    def _block_by_block(self, inputs: dict[str, Array], horizon: int) -> Float32Array:
        scaled, blocks, network = self.network.scaling(inputs), [], self.network.inner
        past = scaled["scaled"]
        samples, steps, features = past.shape
        _, size, targets = network.outputs["future"]
        assert size is not None
        count = self.read_steps(horizon) // size
        # What follows the last block is unknown, as are the observed covariates after the window.
        later = np.full((samples, count * size, features), np.nan, np.float32)
        if "known" in inputs:
            given = inputs["known"][:, : count * size]
            first = features - given.shape[2]
            later[:, : given.shape[1], first:] = (given - scaled["offset"][..., first:]) / scaled["range"][..., first:]
        for first in range(0, count * size, size):
            block = later[:, first : first + size]
            block[..., :targets] = network(model_inputs(network.inputs, past, None, block))["future"]
            blocks.append(block[..., :targets])
            past = np.concatenate([past, block], axis=1)[:, -steps:]
        return self.network.undo_scaling(np.concatenate(blocks, axis=1)[:, :horizon], scaled)

    @cached_property
    def _graph(self) -> Any:
        from lstm_ae.models.keras_network import input_signature, trace
        from lstm_ae.models.rollout_graph import HORIZON, rollout

        model = self.network.keras_model()
        return trace(rollout(model), input_signature(model), HORIZON)
