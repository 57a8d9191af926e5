"""Initial values of recurrent layers that help a long memory, set after a network was built.

They are values, not initialisers, so a saved model names nothing of this package.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import layers, tree

from lstm_ae.config import Config

# Of a delay line: the bias of a gate that is open, and the scale of what it holds.
OPEN = 8.0

SMALL = 0.03

# The layer that gives out what a decoder says, by what their names begin with.
RECONSTRUCTION = {"": "reconstruction", "class_": "class_features"}


def set_initial_values(network: Any, config: Config, steps: int) -> Any:
    """Give every recurrent layer of a network the initial values that `config` asks for; returns the network.

    - `gates` "chrono": forget gates open for times spread over `memory` steps, or the length T of what the layer reads:
      biases log u with u uniform in [1, T - 1], input gates closed by as much (Tallec and Ollivier 2018, "Can recurrent
      neural networks warp time?", section 2); of a GRU the update gate. Keras' forget bias of 1 keeps 0.73 of a cell a
      step.
    - `recurrent` "identity": the candidate's part of the recurrent kernel starts as the identity, the gates' stay
      orthogonal (Cooijmans et al. 2017, "Recurrent batch normalization", section 5.1).
    - `delay_line`: encoders hand on what they read from unit to unit, decoders the code.

    Args:
        steps: length of the sequences.
    """
    random = np.random.default_rng([config.seed, 1])
    for layer, length in recurrent_layers(network):
        cell, units = layer.cell, layer.units
        if config.gates == "chrono":
            longest = config.memory or length or steps
            kept = np.log(random.uniform(1, max(longest - 1, 1), units)).astype(np.float32)
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
    if getattr(config, "delay_line", False):
        for layer in list(network.layers):
            if layer.name.endswith("decoder_1"):
                prefix = layer.name.removesuffix("decoder_1")
                encoder = network.get_layer(f"{prefix}encoder_1")
                _delay_line(encoder, layer, network.get_layer(RECONSTRUCTION[prefix]), steps)
    return network


def _delay_line(encoder: Any, decoder: Any, output: Any, steps: int) -> None:
    """Values by which the last numbers of a sequence come through to the output, as many as there are units.

    The recurrent kernel of the candidates is a shift by the numbers of a step, in the decoder a cyclic one (Henaff,
    Szlam and LeCun 2016, "Recurrent orthogonal networks and long-memory tasks", section 3), input and output gates are
    open, forget gates closed; the decoder gives out first what the encoder read first. Numbers pass `SMALL`, where tanh
    is nearly a line: with 50 units 50 uniform numbers in [0, 1) come through to a mean squared error of 8e-5.
    """
    features = output.units
    passed = 1 / (1 + np.exp(-OPEN))  # of what enters a gate
    for layer in (encoder, decoder):
        cell, units = layer.cell, layer.units
        candidate = slice(2 * units, 3 * units)
        kernel, shift, bias = (np.zeros(weight.shape, np.float32) for weight in cell.trainable_variables)
        bias[:units], bias[units : 2 * units], bias[3 * units :] = OPEN, -OPEN, OPEN
        if layer is encoder:
            kernel[:, candidate] = np.eye(features, units) * SMALL / passed**2
            shift[:, candidate] = np.eye(units, k=features) / passed**2
        else:
            shift[:, candidate] = np.roll(np.eye(units), features, axis=1) / passed**2
        for weight, value in zip(cell.trainable_variables, (kernel, shift, bias), strict=True):
            weight.assign(value)
    units = decoder.units
    reading = np.zeros((units, features), np.float32)
    reading[(steps * features + np.arange(features)) % units, np.arange(features)] = 1 / SMALL
    output.set_weights([reading, np.zeros(features, np.float32)])


def recurrent_layers(network: Any) -> Iterator[tuple[Any, int | None]]:
    """The LSTM and GRU layers of a network, those of both directions, and how many steps each reads (None: any)."""
    for layer in network.layers:
        if isinstance(layer, (layers.Bidirectional, layers.RNN)):
            both = isinstance(layer, layers.Bidirectional)
            length = tree.flatten(layer.input)[0].shape[1]
            for one in (layer.forward_layer, layer.backward_layer) if both else (layer,):
                yield one, length
