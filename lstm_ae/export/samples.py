"""Random inputs to prove an export with."""

from collections.abc import Iterator

import keras
import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array
from lstm_ae.config import Snp
from lstm_ae.data.scaling import GROUPED_KINDS
from lstm_ae.export.endpoints import EndpointFunction
from lstm_ae.export.score_endpoint import BLOCK_WINDOWS
from lstm_ae.model_store import ModelStore
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.models.network import Network, series_input

DEFAULT_STEPS = 30  # This length is for models with a variable number of steps.


def sample_endpoints(
    model: keras.Model, endpoints: list[EndpointFunction], *, window: int = DEFAULT_STEPS
) -> Iterator[tuple[EndpointFunction, dict[str, Array]]]:
    """Yield endpoints with sample inputs: one and three windows each, and five shorter ones if the length is variable.

    The five windows have five steps each, because equal sizes reveal code that confuses samples and steps. Endpoints
    that accept longer series than the model's windows also get three series that are long enough to span several
    blocks of windows; two of these have gaps, of one row and of as many rows as a window has.

    Args:
        model: A model with inputs and outputs in the data's units.
        endpoints: The endpoints of the model.
        window: Steps of the windows if the model leaves their number variable.
    """
    name, network = series_input(model.input), KerasNetwork(model)
    steps = network.inputs[name][1]
    for batch, length in ((1, window), (3, window)) if steps else ((1, window), (3, window), (5, 5)):
        inputs = sample_windows(network, batch, steps or length)
        for endpoint in endpoints:
            horizon_inputs = {}
            if "horizon" in endpoint.specs:
                horizon_inputs["horizon"] = np.resize(np.array([2, 5, 0], np.int32), batch)
                if "known" in inputs:
                    # Known values for four steps do not cover a horizon of five.
                    horizon_inputs["known"] = np.resize(inputs["known"], (batch, 4, inputs["known"].shape[2]))
            yield endpoint, inputs | horizon_inputs
    for endpoint in endpoints:
        if steps and endpoint.specs[name].shape[1] is None:
            count = BLOCK_WINDOWS // 3 // steps + 2
            inputs = sample_windows(network, 3 * count, steps, lines=np.repeat(np.arange(3, dtype=np.int32), count))
            lines = {key: value[::count] for key, value in inputs.items() if key != name}
            series = inputs[name].reshape(3, -1, inputs[name].shape[2]).copy()
            series[1, steps] = series[2, steps : 2 * steps] = np.nan
            yield endpoint, {name: series} | lines


def sample_windows(
    network: Network, batch: int, steps: int, seed: int = 0, lines: NDArray[np.int32] | None = None
) -> dict[str, Array]:
    """Return random inputs of a model, uniform over the range that its scale maps to 0 to 1, in the data's units.

    Args:
        network: A model in the data's units.
        batch: Number of windows.
        steps: Steps per window.
        seed: The random seed.
        lines: `(batch,)` indices of the companies or series; None for 0, 1, 2, ..., including the unknown one.
    """
    random = np.random.default_rng(seed)
    name = series_input(network.inputs)
    shape = (batch, steps, _fixed_size(network.inputs[name][2]))
    lines = np.arange(batch, dtype=np.int32) if lines is None else lines
    line_inputs = {key: lines for key in network.inputs if key in GROUPED_KINDS}
    # A model that scales each window by its own range uses the range of these numbers.
    scaled = network.scaling({name: random.uniform(1, 100, shape).astype(np.float32)} | line_inputs)
    series = network.undo_scaling(random.uniform(0, 1, shape).astype(np.float32), scaled)
    ahead = {}
    if "known" in network.inputs:
        horizon, known = map(_fixed_size, network.inputs["known"][1:])
        ahead["known"] = np.resize(series[..., -known:], (batch, horizon, known))
    return {name: series} | line_inputs | ahead


def _fixed_size(size: int | None) -> int:
    """Return a size of a model's input that does not vary."""
    assert size is not None
    return size


def window_steps(run: ModelStore) -> int:
    """Return the steps of the sample windows of a run whose model leaves their number variable."""
    config = run.config()
    return config.window if isinstance(config, Snp) else DEFAULT_STEPS
