"""The two halves of a trained autoencoder, row by row: the code of every row, and every row given back.

The code of a row is that of the window that ends with it: nothing later takes part, so that it can be had at once as
rows come in. A row given back is the mean over all windows in which it stands, as its score is.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.anomaly.normal import BATCH, Numbers, score_rows, stretches
from lstm_ae.anomaly.scores import averages
from lstm_ae.data.grid import Grid
from lstm_ae.data.windows import window_starts
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.evaluation import Mean

Floats = NDArray[np.float32]


class Halves(NamedTuple):
    """A model of a table taken apart; windows are `(windows, window, features)` in own units, NaN where missing.

    Args:
        window, features, code: steps of a window, numbers a step, numbers of a code.
        encode: windows to their codes `(windows, code)`.
        decode: codes to windows; None where each window has a scale of its own, which no code tells.
        rebuild: windows to their reconstructions, alike.
        errors: windows to the squared errors of these, in scaled values, alike.
    """

    window: int
    features: int
    code: int
    encode: Callable[[Numbers], Floats]
    decode: Callable[[Numbers], Floats] | None
    rebuild: Callable[[Numbers], Floats]
    errors: Callable[[Numbers], Floats]


def halves_of(model: Any, scale: str) -> Halves:
    """Take a trained model apart.

    Args:
        model: in own units, as a run of a table keeps it.
        scale: how its config says that values are scaled.

    Raises:
        DataError: it was not trained to give windows back.
    """
    import keras
    import tensorflow as tf

    from lstm_ae.models.scaling import network_of, scaling_of, unscaled

    if "reconstruction" not in model.output:
        raise DataError(
            f"A model that returns {', '.join(model.output)} gives no window back; train one by lstmae series train "
            "--task reconstruct"
        )
    network, scaling = network_of(model), scaling_of(model)
    sequence, code = network.input["sequence"], network.get_layer("code").output
    encoder = keras.Model(network.input, code)
    # Of the sequence the second half takes nothing but its shape.
    decoder = keras.Model([sequence, code], network.output["reconstruction"])
    _, window, features = sequence.shape

    def compiled(function: Callable[[Any], Any], shape: tuple[int, ...]) -> Callable[[Numbers], Floats]:
        call = tf.function(function).get_concrete_function(tf.TensorSpec((None, *shape), tf.float32))
        return lambda values: call(tf.constant(values, tf.float32)).numpy()

    def encode(windows: Any) -> Any:
        return encoder({"sequence": scaling({"sequence": windows})["scaled"]}, training=False)

    def decode(codes: Any) -> Any:
        nothing = tf.zeros((tf.shape(codes)[0], window, features))
        given_back = decoder([nothing, codes], training=False)
        return unscaled(model, given_back, scaling({"sequence": nothing}))

    def errors(windows: Any) -> Any:
        scaled = scaling({"sequence": windows})["scaled"]
        return tf.square(network({"sequence": scaled}, training=False)["reconstruction"] - scaled)

    shape = (window, features)
    return Halves(
        window,
        features,
        code.shape[1],
        compiled(encode, shape),
        None if scale == "window" else compiled(decode, (code.shape[1],)),
        compiled(lambda windows: model({"sequence": windows}, training=False)["reconstruction"], shape),
        compiled(errors, shape),
    )


def encoded(halves: Halves, grid: Grid) -> Floats:
    """The code of the window that ends with each row, `(rows, code)`; NaN where a window would begin before its
    segment, or holds no value."""
    found = np.full((len(grid.values), halves.code), np.nan, np.float32)
    for starts in _blocks(grid, halves.window):
        windows = grid.values[starts[:, None] + np.arange(halves.window)]
        found[starts + halves.window - 1] = np.where(_empty(windows)[:, 0], np.float32(np.nan), halves.encode(windows))
    return found


def decoded(halves: Halves, codes: Numbers, segment: Numbers) -> Floats:
    """Rows given back from codes as `encoded` lays them out: `(rows, code)` to `(rows, features)`.

    Raises:
        ConfigError: the model scales each window by its own range.
    """
    decode = halves.decode
    if decode is None:
        raise ConfigError(
            "Codes of a model with --scale window do not tell the size of what they stand for; reconstruct the rows "
            "themselves, or train with --scale standard"
        )
    found = np.full((len(codes), halves.features), np.nan, np.float32)
    for first, end in stretches(segment, halves.window):
        ends = range(first + halves.window - 1, end, BATCH)
        found[first:end] = averages(decode(codes[start : min(start + BATCH, end)]) for start in ends)
    return found


def reconstructed(halves: Halves, grid: Grid) -> Floats:
    """Every row given back, `(rows, features)`, missing values too; NaN where a row stands in no window."""

    def rebuild(windows: Numbers) -> Floats:
        given_back: Floats = np.where(_empty(windows), np.float32(np.nan), halves.rebuild(windows))
        return given_back

    return score_rows(rebuild, grid.values, grid.segment, halves.window, smooth=1).astype(np.float32)


def mean_squared_error(halves: Halves, grid: Grid) -> float:
    """The mean squared error of all windows, in scaled values, as a run tells it of its test part.

    Raises:
        DataError: no window holds a value.
    """
    mean = Mean()
    for starts in _blocks(grid, halves.window):
        errors = halves.errors(grid.values[starts[:, None] + np.arange(halves.window)])
        mean.add(errors[~np.isnan(errors)])
    if not mean.count:
        raise DataError(
            f"No window of {halves.window} rows holds a value, so there is no error to tell; give other rows"
        )
    return mean.value


def _blocks(grid: Grid, window: int) -> Iterator[NDArray[np.int64]]:
    starts = window_starts(grid.segment, window)
    for first in range(0, len(starts), BATCH):
        yield starts[first : first + BATCH]


def _empty(windows: Numbers) -> NDArray[np.bool_]:
    """Windows without any value, `(windows, 1, 1)`."""
    return np.asarray(np.isnan(windows).all(axis=(1, 2), keepdims=True))
