"""Compare the kernels with the LSTM of Keras: outputs, gradients, and trainings for many shapes."""

import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numba
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from processes import CEILING
from sampling import sampled

from lstm_ae import experiment
from lstm_ae.config import Mnist, Toy
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split
from lstm_ae.kernels import choice, compiled
from lstm_ae.kernels.choice import accelerate
from lstm_ae.models.autoencoder import autoencoder
from lstm_ae.models.classifier import classifier
from lstm_ae.training.loop import PARTS, fit

# Relative to the largest absolute value of a tensor.
TOLERANCE = 3e-5


def assert_near(got: Any, wanted: Any) -> None:
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    if wanted.size:
        assert np.abs(got - wanted).max() <= TOLERANCE * max(np.abs(wanted).max(), 1e-20)


def measured(network: Any, inputs: list[Any], kernel: str) -> list[Any]:
    """Return the outputs, and the gradients of inputs and weights for a loss that weights them unevenly."""

    # As in training, the batch size is unknown to the graph.
    @tf.function(input_signature=[[tf.TensorSpec([None, *value.shape[1:]]) for value in inputs]])
    def run(inputs: list[Any]) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.nest.flatten(network(inputs, training=True))
            loss = tf.add_n(
                [
                    tf.reduce_sum(
                        output * tf.reshape(tf.cos(tf.cast(tf.range(tf.size(output)), tf.float32)), tf.shape(output))
                    )
                    for output in outputs
                ]
            )
        variables = [variable.value for variable in network.trainable_variables]
        return outputs, tape.gradient(loss, [*inputs, *variables], unconnected_gradients="zero")

    with accelerate(network, kernel) as made:
        assert all(not reason for reason in made.values()) == (kernel == "auto")
        outputs, gradients = run([tf.constant(value) for value in inputs])
    return [*outputs, *gradients]


def compare(network: Any, inputs: list[Any]) -> None:
    for got, wanted in zip(measured(network, inputs, "auto"), measured(network, inputs, "keras"), strict=True):
        assert_near(got, wanted)


def below(sequence: Any) -> Any:
    """Add a trainable layer below, so that the gradient of the input is needed."""
    return layers.Dense(sequence.shape[-1], name="below")(sequence)


# Batch, steps, features, and units: ones, partial vectors, several blocks of rows, and several vectors.
SHAPES = [(1, 1, 1, 1), (3, 7, 2, 5), (66, 4, 1, 16), (130, 3, 17, 8), (5, 6, 28, 33), (9, 5, 16, 64), (2, 50, 3, 100)]


@pytest.mark.parametrize(
    ("shape", "seed"),
    sampled(
        itertools.product(SHAPES, range(3)),
        quick=[(shape, 0) for shape in SHAPES[:3]],
        slow=[(shape, 1) for shape in SHAPES[3:]],
    ),
    ids=str,
)
def test_lstm_layer_with_initial_states_matches_keras(shape: tuple[int, int, int, int], seed: int) -> None:
    batch, steps, features, units = shape
    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    given = [keras.Input((steps, features)), keras.Input((units,)), keras.Input((units,))]
    layer = layers.LSTM(units, return_sequences=True, return_state=True, bias_initializer="random_normal")
    network = keras.Model(given, layer(below(given[0]), initial_state=given[1:]))
    compare(
        network,
        [
            random.normal(size=(batch, steps, features)).astype(np.float32),
            *random.normal(size=(2, batch, units)).astype(np.float32),
        ],
    )


FORMS: dict[str, Callable[[Any], Any]] = {
    "the last step": lambda x: layers.LSTM(5)(x),
    "backwards": lambda x: layers.LSTM(5, return_sequences=True, go_backwards=True)(x),
    "backwards, the last step": lambda x: layers.LSTM(5, go_backwards=True)(x),
    "both directions": lambda x: layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x),
    "both directions, the last step": lambda x: layers.Bidirectional(layers.LSTM(5))(x),
    "a stack": lambda x: layers.LSTM(3)(
        layers.LSTM(17, return_sequences=True)(layers.LSTM(2, return_sequences=True)(x))
    ),
}


@pytest.mark.parametrize(
    "form", sampled(FORMS, quick=("backwards, the last step", "both directions"), slow=("backwards", "a stack"))
)
def test_stacked_and_bidirectional_layers_match_keras(form: str) -> None:
    keras.utils.set_random_seed(3)
    given = keras.Input((None, 3))
    network = keras.Model([given], FORMS[form](below(given)))
    compare(network, [np.random.default_rng(0).normal(size=(4, 9, 3)).astype(np.float32)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "above",
    [
        pytest.param(lambda hidden: hidden[:, -1], marks=pytest.mark.exhaustive),
        lambda hidden: layers.Bidirectional(layers.LSTM(4, return_sequences=True))(hidden),
        pytest.param(lambda hidden: layers.LSTM(4)(layers.Dropout(0.2)(hidden)), marks=pytest.mark.exhaustive),
    ],
    ids=["slice", "both directions", "dropout"],
)
def test_empty_batch_matches_keras(above: Callable[[Any], Any]) -> None:
    """The gradients have the shapes that the layers above and below expect."""
    given = keras.Input((9, 3))
    hidden = layers.LSTM(5, return_sequences=True)(below(given))
    compare(keras.Model([given], above(hidden)), [np.zeros((0, 9, 3), np.float32)])


@pytest.mark.slow
def test_layer_applied_twice_matches_keras() -> None:
    keras.utils.set_random_seed(3)
    given, layer = keras.Input((5, 4)), layers.LSTM(4, return_sequences=True)
    compare(keras.Model([given], layer(layer(below(given)))), [np.ones((3, 5, 4), np.float32)])


def test_small_inputs_keep_their_precision() -> None:
    """tanh near 0 must not be computed as a difference of numbers near 1, which loses precision."""
    keras.utils.set_random_seed(0)
    given = keras.Input((5, 2))
    network = keras.Model([given], layers.LSTM(4, return_sequences=True)(below(given)))
    compare(network, [np.full((3, 5, 2), 1e-6, np.float32)])


@pytest.mark.slow
def test_huge_inputs_saturate_as_in_keras() -> None:
    keras.utils.set_random_seed(0)
    given = keras.Input((5, 2))
    network = keras.Model([given], layers.LSTM(4, return_sequences=True)(given))
    values = [1e4, -1e4, 3e38]
    inputs = [np.repeat(np.array(values, np.float32), 3)[:, None, None] * np.ones((5, 2), np.float32)]
    got, wanted = (measured(network, inputs, kernel)[0] for kernel in ("auto", "keras"))
    for first in range(0, 9, 3):
        assert_near(got[first : first + 3], wanted[first : first + 3])


def test_nan_inputs_give_nan_from_their_step_on() -> None:
    keras.utils.set_random_seed(0)
    given = keras.Input((5, 2))
    network = keras.Model([given], layers.LSTM(4, return_sequences=True)(given))
    inputs = np.ones((3, 5, 2), np.float32)
    inputs[1, 2, 0] = np.nan
    output = measured(network, [inputs], "auto")[0].numpy()
    assert np.isnan(output[1, 2:]).all()
    assert np.isfinite(output[[0, 2]]).all()
    assert np.isfinite(output[1, :2]).all()


STEPS = 6


def data(samples: int) -> Data:
    def split(seed: int) -> Split:
        values = np.random.default_rng(seed).random((samples * STEPS, 2), np.float32)
        label = (np.arange(samples) % 3).astype(np.int32)
        return Split(values, np.arange(samples) * STEPS, STEPS, label=label)

    return Data(split(0), split(1), split(2), fixed_scale(), Source("made", "abc", "CC0"))


def trained(path: Path, config: Toy | Mnist, parts: int = PARTS) -> tuple[list[float], list[Any]]:
    """Return the losses of the epochs and the final weights."""
    experiment.seed(config)
    if isinstance(config, Mnist):
        network = classifier(config, steps=STEPS, features=2, classes=3)
    else:
        network = autoencoder(config, steps=STEPS, features=2)
    result = fit(network, data(22), config, state=path / f"{config.kernel}-{parts}.npz", identity={}, parts=parts)
    return [row["loss"] for row in result.history[1:]], [np.array(variable) for variable in network.variables]


SGD = Toy(units=5, optimizer="sgd", learning_rate=0.1, epochs=4, batch_size=10, seed=3, latent="vector")


@pytest.mark.slow
def test_training_in_parts_gives_the_weights_of_whole_batches(tmp_path: Path) -> None:
    """With 22 samples in batches of 10 and 3 parts, the last batch of 2 has an empty part."""
    one, three = (trained(tmp_path, SGD, parts)[1] for parts in (1, 3))
    for got, wanted in zip(three, one, strict=True):
        assert_near(got, wanted)


def reasons(layer: Any, kernel: str = "auto") -> list[str]:
    given = keras.Input((5, 2))
    with accelerate(keras.Model(given, layer(given)), kernel) as made:
        return list(made.values())


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: layers.GRU(3), "there is no kernel for GRU"),
        (lambda: layers.LSTM(3, recurrent_dropout=0.1), "recurrent_dropout=0.1"),
        (lambda: layers.LSTM(3, activation="relu"), "activation=relu"),
        (lambda: layers.LSTM(3, dtype="mixed_bfloat16"), "it computes in bfloat16"),
        (lambda: layers.LSTM(3, use_bias=False), "use_bias=False"),
    ],
    ids=["gru", "dropout", "activation", "precision", "bias"],
)
def test_unsupported_layers_use_keras_and_name_the_reason(layer: Callable[[], Any], reason: str) -> None:
    assert reasons(layer()) == [reason]


def test_option_kernel_keras_disables_the_kernels() -> None:
    assert reasons(layers.LSTM(3)) == [""]
    assert reasons(layers.LSTM(3), "keras") == ["--set kernel=keras"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("no library\nat all"), "(ImportError: no library)"),
        (StopIteration(), "(StopIteration)"),
    ],
)
def test_import_errors_of_the_kernels_are_reported(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "lstm_ae.kernels.operation":
                raise error

    monkeypatch.delitem(sys.modules, "lstm_ae.kernels.operation", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refusing(), *sys.meta_path])
    assert choice.unavailable_reason.__wrapped__() == f"the kernels cannot be compiled here {said}"


@pytest.mark.slow
def test_operation_without_memory_raises_resource_exhausted_error() -> None:
    program = """
import resource
from pathlib import Path
import tensorflow as tf
from lstm_ae.kernels.operation import lstm_layer

def layer(x, units):
    weights = [tf.zeros((1, 4 * units)), tf.zeros((units, 4 * units)), tf.zeros((4 * units,))]
    states = [tf.zeros((x.shape[0], units))] * 2
    return lstm_layer(x, weights, states, backwards=False, all_steps=False, differentiate=False, training=True)

print(tf.function(layer)(tf.zeros((2, 3, 1)), 16)[1].shape)
size = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize"))
room = 1024 * int(size.split()[1]) + 2**30
resource.setrlimit(resource.RLIMIT_AS, (room, room))
try:
    tf.function(layer)(tf.zeros((4096, 784, 1)), 64)
except tf.errors.ResourceExhaustedError as error:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=CEILING)
    assert done.stdout.splitlines() == ["(2, 16)", "refused"], done.stderr


def test_kernels_are_unavailable_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a GPU"] if kind == "GPU" else [])
    assert choice.unavailable_reason.__wrapped__() == "Keras' cuDNN layers use the GPU"


def test_kernel_cache_depends_on_the_source_of_all_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled function contains the functions that it calls, which may change in other files."""
    folder = Path(compiled.__file__).parent
    copy = Path(shutil.copytree(folder, tmp_path / "kernels"))
    assert compiled.stamp(copy) == compiled.stamp(folder)
    with (copy / "vectors.py").open("a", encoding="utf-8") as file:
        file.write("# other\n")
    assert compiled.stamp(copy) != compiled.stamp(folder)
    for before, folder_used in (("", compiled.CACHE_DIRECTORY), (str(tmp_path), tmp_path)):
        monkeypatch.setattr(numba.config, "CACHE_DIR", before)
        with compiled._cache_directory():
            assert Path(numba.config.CACHE_DIR) == folder_used / f"kernels-{compiled.stamp(folder)}"
        assert before == numba.config.CACHE_DIR
