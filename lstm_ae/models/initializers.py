"""Initial weights that are assigned after a network is built: delay lines, and the weights of another network.

They are assigned as values, not configured as initializers, so that a saved model needs no class of this package.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from lstm_ae.arrays import Array
from lstm_ae.config.base import ReconstructionConfig

# Delay line: bias of an open gate, and scale of the stored values.
OPEN = 8.0

SMALL = 0.03

# Output layer of each decoder by the prefix of its name.
RECONSTRUCTION = {"": "reconstruction", "class_": "class_features"}


def start_as_delay_line(network: keras.Model, config: ReconstructionConfig, steps: int) -> keras.Model:
    """Assign weights with which encoder and decoder shift their inputs from unit to unit, if `config.delay_line`.

    Args:
        network: a network as built by this package; changed in place.
        config: delay_line.
        steps: length of the sequences.

    Returns:
        The same network.
    """
    for layer in list(network.layers) if config.delay_line else []:
        if layer.name.endswith("decoder_1"):
            prefix = layer.name.removesuffix("decoder_1")
            encoder = network.get_layer(f"{prefix}encoder_1")
            _delay_line(encoder, layer, network.get_layer(RECONSTRUCTION[prefix]), steps)
    return network


def assign_start(network: keras.Model, weights: Sequence[Array]) -> None:
    """Assign the weights of another network with the same config.

    The other network may read a mask of missing values that this one does not read, because its data has none. The
    rows of the mask are the last ones of the kernels that read the sequence, one for each direction, and are left out.

    Args:
        network: a network as built by this package; changed in place.
        weights: the weights of the other network, in their order.

    Raises:
        ValueError: the weights belong to a network of another shape.
    """
    for variable, weight in zip(network.weights, weights, strict=True):
        masked = weight.shape[0] == 2 * variable.shape[0]
        variable.assign(weight[: variable.shape[0]] if masked else weight)


def _delay_line(encoder: layers.RNN, decoder: layers.RNN, output: layers.Dense, steps: int) -> None:
    """Assign weights that copy the last values of a sequence to the output, one value per unit.

    The recurrent kernel of the candidates shifts by the features of a step, in the decoder cyclically (Henaff, Szlam
    and LeCun 2016, "Recurrent orthogonal networks and long-memory tasks", section 3); input and output gates are open,
    forget gates closed; the decoder returns values in the order of the input. Values are scaled by `SMALL`, where tanh
    is nearly linear: 50 units copy 50 uniform values in [0, 1) with a mean squared error of 8e-5.
    """
    features = output.units
    gain = 1 / (1 + np.exp(-OPEN))  # activation of an open gate
    for layer in (encoder, decoder):
        cell, units = layer.cell, layer.units
        candidate = slice(2 * units, 3 * units)
        kernel, shift, bias = (np.zeros(weight.shape, np.float32) for weight in cell.trainable_variables)
        bias[:units], bias[units : 2 * units], bias[3 * units :] = OPEN, -OPEN, OPEN
        if layer is encoder:
            kernel[:, candidate] = np.eye(features, units) * SMALL / gain**2
            shift[:, candidate] = np.eye(units, k=features) / gain**2
        else:
            shift[:, candidate] = np.roll(np.eye(units), features, axis=1) / gain**2
        for weight, value in zip(cell.trainable_variables, (kernel, shift, bias), strict=True):
            weight.assign(value)
    units = decoder.units
    reading = np.zeros((units, features), np.float32)
    reading[(steps * features + np.arange(features)) % units, np.arange(features)] = 1 / SMALL
    output.set_weights([reading, np.zeros(features, np.float32)])
