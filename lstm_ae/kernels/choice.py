"""Choose the engine of LSTM layers: Keras or this package's kernels in training, NumPy or the kernels afterwards."""

import functools
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from lstm_ae.json_types import JsonMapping
from lstm_ae.startup import pause_garbage_collection

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from keras import layers

    from lstm_ae.kernels.lstm import StateKernel

# Largest number of steps of all samples that NumPy computes faster than Numba is imported.
FEW_STEPS = 2_000_000

LOG = logging.getLogger(__name__)


@functools.cache
def unavailable_reason() -> str:
    """Return why the kernels cannot be used on this machine; "" if they can."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return "Keras' cuDNN layers use the GPU"
    try:
        import lstm_ae.kernels.operation  # noqa: F401
    except Exception as error:
        return compile_failure(error)
    return ""


def compile_failure(error: Exception) -> str:
    """Return a description of an error raised by importing or compiling the kernels, as the reason to use Keras."""
    first = next(iter(str(error).splitlines()), "")
    return f"the kernels cannot be compiled here ({': '.join(filter(None, (type(error).__name__, first)))})"


class StateChoice:
    """Choice between NumPy and this package's kernels for the LSTM layers of a network without TensorFlow.

    Attributes:
        few: steps that NumPy still computes before the kernels are imported; infinite by default.
        kernel: the kernel that computes the layers; None for NumPy.
    """

    def __init__(self) -> None:
        self.few = math.inf
        self.kernel: type[StateKernel] | None = None

    def count(self, steps: int) -> None:
        """Count steps that are about to be computed, and choose the kernels, if available, when `few` is used up."""
        self.few -= steps
        if self.few < 0:
            self.kernel = compiled_states()


@functools.cache
def compiled_states() -> "type[StateKernel] | None":
    """Return the kernel of LSTM layers; None if it cannot be compiled."""
    try:
        # Collections take a quarter of the time.
        with pause_garbage_collection(freeze=False):
            from lstm_ae.kernels import compiled, lstm

            compiled.log_compilation()
            # The first call compiles the kernel, or loads it from the cache.
            one, two = np.zeros(4, np.float32), np.zeros((1, 4), np.float32)
            lstm.StateKernel((two, two, one), 0)(np.zeros((1, 1, 1), np.float32))
    except Exception as error:
        LOG.info("NumPy computes the layers: %s", compile_failure(error))
        return None
    return lstm.StateKernel


# Settings of the LSTM layers that NumPy and the kernels compute.
LSTM_SETTINGS: JsonMapping = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "use_bias": True,
    "unroll": False,
    "stateful": False,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
}


def other_settings(settings: JsonMapping, expected: JsonMapping) -> str:
    """Return the settings of a layer that differ from the expected ones, as text; "" if there are none."""
    return ", ".join(f"{name}={settings[name]}" for name, value in expected.items() if settings[name] != value)


def reason_for_keras(layer: "keras.Layer") -> str:
    """Return why the kernels do not train a recurrent layer on this machine; "" if they do."""
    if (kind := type(layer).__name__) != "LSTM":
        return f"there is no kernel for {kind}"
    if layer.compute_dtype != "float32":
        return f"it computes in {layer.compute_dtype}"
    return other_settings(layer.get_config(), LSTM_SETTINGS) or unavailable_reason()


@contextmanager
def accelerate(network: "keras.Model", kernel: str) -> Iterator[dict[str, str]]:
    """Use the kernels for all supported layers in graphs that are traced within this context.

    Only the loop over the time steps is replaced: the network, its variables, and saved files remain those of Keras.

    Args:
        network: a Keras functional model.
        kernel: "auto", or "keras" for Keras only.

    Yields:
        Why Keras trains each recurrent layer, by its name; "" if the kernels do.
    """
    reasons, fast = dict[str, str](), []
    for layer, outer in _recurrent(network):
        reason = reasons[layer.name] = "--set kernel=keras" if kernel == "keras" else reason_for_keras(layer)
        LOG.info("training %s by %s", layer.name, f"Keras: {reason}" if reason else "the kernels of this package")
        if not reason:
            layer.inner_loop = functools.partial(_loop, layer, _needs_input_gradient(network, outer))
            fast.append(layer)
    try:
        yield reasons
    finally:
        for layer in fast:
            del layer.inner_loop


def _recurrent(network: "keras.Model") -> "Iterator[tuple[layers.RNN, keras.Layer]]":
    """Yield every recurrent layer with the layer of the network that contains it (itself, or `Bidirectional`)."""
    from keras import layers

    for outer in network.layers:
        inner = [outer.forward_layer, outer.backward_layer] if isinstance(outer, layers.Bidirectional) else [outer]
        yield from ((layer, outer) for layer in inner if isinstance(layer, layers.RNN))


def _needs_input_gradient(network: "keras.Model", layer: "keras.Layer") -> bool:
    """Return whether the layer's input depends on trainable weights."""
    import keras

    applied_once = len(layer._inbound_nodes) == 1
    return not applied_once or bool(keras.Model(network.inputs, layer.input).trainable_variables)


def _loop(
    layer: "layers.LSTM",
    differentiate: bool,
    sequences: "tf.Tensor",
    initial_state: "Sequence[tf.Tensor]",
    mask: "tf.Tensor | None",
    training: bool = False,
) -> "tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]":
    """Replace `keras.layers.LSTM.inner_loop`; return the last output, all outputs, and the final states."""
    import tensorflow as tf
    from keras import layers

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
