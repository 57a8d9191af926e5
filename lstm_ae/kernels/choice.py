"""Selection of the recurrent layers that this package's kernels train instead of Keras."""

import functools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import keras
import tensorflow as tf
from keras import layers

LOG = logging.getLogger(__name__)


class KernelChoice(NamedTuple):
    """Choice between Keras and this package's kernels for one recurrent layer.

    Args:
        layer: the recurrent layer.
        reason: why Keras computes it in training; "" if the kernels do.
    """

    layer: layers.RNN
    reason: str

    def __str__(self) -> str:
        by = f"by Keras: {self.reason}" if self.reason else "by the kernels of this package"
        return f"training {self.layer.name} {by}"


@functools.cache
def unavailable_reason() -> str:
    """Return why the kernels cannot be used on this machine; "" if they can."""
    if tf.config.list_physical_devices("GPU"):
        return "Keras' cuDNN layers use the GPU"
    try:
        import lstm_ae.kernels.operation  # noqa: F401
    except Exception as error:
        return compile_failure(error)
    return ""


def compile_failure(error: Exception) -> str:
    """Return the reason for Keras if importing or compiling the kernels raised `error`."""
    first = next(iter(str(error).splitlines()), "")
    return f"the kernels cannot be compiled here ({': '.join(filter(None, (type(error).__name__, first)))})"


def reason_for_keras(layer: keras.Layer) -> str:
    """Return why the kernels do not support a layer on this machine; "" if they do."""
    if not isinstance(layer, layers.LSTM):
        return f"there is no kernel for {type(layer).__name__}"
    if layer.dropout or layer.recurrent_dropout:
        return "it has recurrent dropout or dropout of its inputs"
    if layer.activation is not keras.activations.tanh or layer.recurrent_activation is not keras.activations.sigmoid:
        return "its activations are not tanh and sigmoid"
    if layer.compute_dtype != "float32":
        return f"it computes in {layer.compute_dtype}"
    if not layer.use_bias or layer.unroll or layer.stateful:
        return "it has no bias, is unrolled, or is stateful"
    return unavailable_reason()


def choose_kernels(network: keras.Model, kernel: str) -> list[KernelChoice]:
    """Choose between Keras and the kernels for each recurrent layer of a network.

    Args:
        network: a Keras functional model.
        kernel: "auto", or "keras" for Keras only.
    """
    return [
        KernelChoice(layer, "--kernel keras" if kernel == "keras" else reason_for_keras(layer))
        for layer, _ in _recurrent(network)
    ]


@contextmanager
def accelerate(network: keras.Model, kernel: str) -> Iterator[list[KernelChoice]]:
    """Use the kernels for all supported layers in graphs that are traced within this context.

    Only the loop over the time steps is replaced: the network, its variables, and saved files remain those of Keras.

    Args:
        network: a Keras functional model.
        kernel: "auto", or "keras" for Keras only.

    Yields:
        The choice for each recurrent layer.
    """
    choices = choose_kernels(network, kernel)
    for choice in choices:
        LOG.info("%s", choice)
    fast = [choice.layer for choice in choices if not choice.reason]
    for layer, outer in _recurrent(network):
        if layer in fast:
            layer.inner_loop = functools.partial(_loop, layer, _needs_input_gradient(network, outer))
    try:
        yield choices
    finally:
        for layer in fast:
            del layer.inner_loop


def _recurrent(network: keras.Model) -> Iterator[tuple[layers.RNN, keras.Layer]]:
    """Yield every recurrent layer with the layer of the network that contains it (itself, or `Bidirectional`)."""
    for outer in network.layers:
        inner = [outer.forward_layer, outer.backward_layer] if isinstance(outer, layers.Bidirectional) else [outer]
        yield from ((layer, outer) for layer in inner if isinstance(layer, layers.RNN))


def _needs_input_gradient(network: keras.Model, layer: keras.Layer) -> bool:
    """Return whether the layer's input depends on trainable weights."""
    applied_once = len(layer._inbound_nodes) == 1
    return not applied_once or bool(keras.Model(network.inputs, layer.input).trainable_variables)


def _loop(
    layer: layers.LSTM,
    differentiate: bool,
    sequences: tf.Tensor,
    initial_state: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool = False,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Replace `keras.layers.LSTM.inner_loop`; return the last output, all outputs, and the final states."""
    if mask is not None or not tf.inside_function() or not tf.is_tensor(sequences):
        original: tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]] = layers.LSTM.inner_loop(
            layer, sequences, initial_state, mask, training
        )
        return original
    from lstm_ae.kernels.operation import lstm_layer

    cell = layer.cell
    weights = [tf.convert_to_tensor(weight) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias)]
    h_all, h, c = lstm_layer(
        sequences,
        weights,
        list(initial_state),
        backwards=layer.go_backwards,
        all_steps=layer.return_sequences,
        differentiate=differentiate,
        training=training,
    )
    return h, h_all if layer.return_sequences else h[:, None], [h, c]
