"""Recursive multi-step forecasts of arrays: a forecaster fed with its own outputs."""

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.models.inference import model_inputs
from lstm_ae.models.network import Network, one_step


class Rollout:
    """Multi-step forecasts of arrays for all horizons and window lengths.

    A one-step forecaster reads the window with all forecasts so far for every step, and a multi-horizon forecaster the
    last steps for every block of its horizon. `lstm_ae.models.rollout_graph` computes the same in a graph.

    Args:
        network: a forecaster in original units.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        # Steps of a block.
        self.size = 1 if one_step(network) else network.outputs["future"][1] or 1

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
            pieces.append(self._extend(inputs, horizon))
        return np.concatenate(pieces)

    def read_steps(self, horizon: int) -> int:
        """Return the number of steps whose known covariates affect a forecast: those of whole blocks."""
        return -(-horizon // self.size) * self.size

    def _extend(self, inputs: dict[str, Array], horizon: int) -> Float32Array:
        scaled, network, size = self.network.scaling(inputs), self.network.inner, self.size
        past = scaled["scaled"]
        samples, steps, features = past.shape
        window, targets = network.inputs["past"][1], network.outputs["future"][2]
        count = self.read_steps(horizon)
        # What follows the last block is unknown, as are the observed covariates after the window.
        rows = np.concatenate([past, np.full((samples, count, features), np.nan, np.float32)], axis=1)
        if "known" in inputs:
            values = inputs["known"][:, :count]
            first = features - values.shape[2]
            known = (values - scaled["offset"][..., first:]) / scaled["range"][..., first:]
            rows[:, steps : steps + values.shape[1], first:] = known
        for end in range(steps, steps + count, size):
            block = rows[:, end : end + size]
            read = rows[:, end - window if window else 0 : end]
            block[..., :targets] = network(model_inputs(network.inputs, read, None, block))["future"][:, -size:]
        return self.network.undo_scaling(rows[:, steps : steps + horizon, :targets], scaled)
