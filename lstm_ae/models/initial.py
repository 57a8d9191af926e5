"""Initial values of recurrent layers that help a long memory, set after a network was built.

They are values, not initialisers, so a saved model names nothing of this package.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import layers

from lstm_ae.config import Config


def set_initial_values(network: Any, config: Config, steps: int) -> Any:
    """Give every recurrent layer of a network the initial values that `config` asks for; returns the network.

    - `gates` "chrono": forget gates open for times spread over the length of the sequence, biases log u with u uniform
      in [1, steps - 1], input gates closed by as much (Tallec and Ollivier 2018, "Can recurrent neural networks warp
      time?", section 2); of a GRU the update gate. Keras' forget bias of 1 keeps 0.73 of a cell a step.
    - `recurrent` "identity": the candidate's part of the recurrent kernel starts as the identity, the gates' stay
      orthogonal (Cooijmans et al. 2017, "Recurrent batch normalization", section 5.1).

    Args:
        steps: length of the sequences.
    """
    random = np.random.default_rng([config.seed, 1])
    for layer in recurrent_layers(network):
        cell, units = layer.cell, layer.units
        if config.gates == "chrono":
            kept = np.log(random.uniform(1, max(steps - 1, 1), units)).astype(np.float32)
            bias = np.array(cell.bias)
            if isinstance(layer, layers.LSTM):
                bias[:units], bias[units : 2 * units] = -kept, kept
            else:
                bias[0, :units] = kept
            cell.bias.assign(bias)
        if config.recurrent == "identity":
            kernel = np.array(cell.recurrent_kernel)
            kernel[:, 2 * units : 3 * units] = np.eye(units, dtype=np.float32)
            cell.recurrent_kernel.assign(kernel)
    return network


def recurrent_layers(network: Any) -> Iterator[Any]:
    """The LSTM and GRU layers of a network, those of both directions as well."""
    for layer in network.layers:
        if isinstance(layer, layers.Bidirectional):
            yield from (layer.forward_layer, layer.backward_layer)
        elif isinstance(layer, layers.RNN):
            yield layer
