"""A trained autoencoder of a table taken apart, and applied to windows at every row of a series.

What overlapping windows share is computed once where the network and the scale allow it (`lstm_ae.overlapping`); any
other model runs window by window, as Keras computes it.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.anomaly.normal import Adding, windows_of
from lstm_ae.anomaly.scores import summed

Numbers = NDArray[Any]
Floats = NDArray[np.float32]

LOG = logging.getLogger(__name__)
# Of the largest number: by how much two ways of computing the same may differ in float32 over many steps.
ROUNDING = 1e-4
# How far out values may be, in multiples of the scale: outliers, sensors that are stuck.
FAR = (10, 30, 100, 300)


class Halves(NamedTuple):
    """The two halves; rows are `(windows + window - 1, features)` in own units, levelled, NaN where missing.

    What windows give is added up row by row, see `lstm_ae.anomaly.scores.Sums`.

    Args:
        window, features, code: steps of a window, numbers a step, numbers of a code.
        encode: rows to the codes of their windows `(windows, code)`.
        decode: codes to the rows that their windows give back; None where each window has a scale of its own, which
            no code tells. Windows whose code is NaN take no part.
        rebuild: rows to the rows given back. Windows without a value take no part.
        errors: rows to the squared errors of these, in scaled values.
        reason: why Keras computes all this window by window; "" where the kernels of this package do.
    """

    window: int
    features: int
    code: int
    encode: Callable[[Numbers], Floats]
    decode: Adding | None
    rebuild: Adding
    errors: Adding
    reason: str = ""


def halves_of(model: Any, scale: str, kernel: str = "auto") -> Halves:
    """Take a trained model apart.

    Args:
        model: in own units, as a run of a table keeps it.
        scale: how its config says that values are scaled.
        kernel: "auto", or "keras" for Keras alone.
    """
    halves = by_keras(model, scale)
    if kernel == "keras":
        return halves._replace(reason="--kernel keras")
    from lstm_ae.kernels.choice import not_here

    try:
        from lstm_ae import overlapping
    except Exception as error:
        return halves._replace(reason=not_here(error))
    reason = overlapping.reason_against(model, scale)
    if not reason:
        weights = overlapping.weights_of(model)
        shared = _sharing(halves, weights)
        if _agree(shared, halves, weights.offset, weights.range):
            return shared
        reason = "the kernels of this package give something else"
    LOG.info("windows are computed one by one by Keras: %s", reason)
    return halves._replace(reason=reason)


def empty(rows: Numbers, window: int) -> NDArray[np.bool_]:
    """Which windows hold no value: `(windows + window - 1, features)` to `(windows,)`."""
    held = np.r_[0, np.cumsum(~np.isnan(rows).all(axis=1))]
    return np.asarray(held[window:] == held[:-window])


def by_keras(model: Any, scale: str) -> Halves:
    """A model taken apart that Keras computes window by window."""
    import keras
    import tensorflow as tf

    from lstm_ae.models.scaling import network_of, scaling_of, together, unscaled

    network, scaling = network_of(model), scaling_of(model)
    sequence, code = network.input["sequence"], network.get_layer("code").output
    _, window, features = sequence.shape

    def compiled(function: Callable[[Any], Any], *shape: int) -> Callable[[Numbers], Floats]:
        @functools.cache
        def call() -> Any:
            # Traced once: TensorFlow takes models that are opened one after the other for one that is traced too often.
            return tf.function(function).get_concrete_function(tf.TensorSpec((None, *shape), tf.float32))

        return lambda values: call()(tf.constant(values, tf.float32)).numpy()

    def encode(windows: Any) -> Any:
        encoder = keras.Model(network.input, code)
        return encoder({"sequence": scaling(together(model, windows))["scaled"]}, training=False)

    def decode(codes: Any) -> Any:
        # Of the sequence the second half takes nothing but its shape.
        decoder = keras.Model([sequence, code], network.output["reconstruction"])
        nothing = tf.zeros((tf.shape(codes)[0], window, features))
        given_back = decoder([nothing, codes], training=False)
        return unscaled(model, given_back, scaling(together(model, nothing)))

    def errors(windows: Any) -> Any:
        scaled = scaling(together(model, windows))["scaled"]
        return tf.square(network({"sequence": scaled}, training=False)["reconstruction"] - scaled)

    codes_of, rows_of = compiled(encode, window, features), compiled(decode, code.shape[1])
    rebuilt = compiled(
        lambda windows: model(together(model, windows), training=False)["reconstruction"], window, features
    )
    errors_of = compiled(errors, window, features)

    def rebuild(rows: Numbers) -> Any:
        given_back = rebuilt(windows_of(rows, window))
        return summed(np.where(empty(rows, window)[:, None, None], np.float32(np.nan), given_back))

    return Halves(
        window,
        features,
        code.shape[1],
        lambda rows: codes_of(windows_of(rows, window)),
        None if scale == "window" else lambda codes: summed(rows_of(codes)),
        rebuild,
        lambda rows: summed(errors_of(windows_of(rows, window))),
    )


def _sharing(halves: Halves, weights: Any) -> Halves:
    """The same by the kernels of this package."""
    from lstm_ae import overlapping

    return halves._replace(
        encode=functools.partial(overlapping.encode, weights),
        decode=functools.partial(overlapping.decode, weights),
        rebuild=lambda rows: overlapping.rebuild(weights, rows, ~empty(rows, halves.window)),
        errors=functools.partial(overlapping.errors, weights),
    )


def _agree(ours: Halves, theirs: Halves, offset: Floats, span: Floats) -> bool:
    """Whether both give the same of three windows; what only looks like the network that the kernels know, does not."""
    made_up = np.random.default_rng(0).normal(size=(theirs.window + 2, theirs.features)).astype(np.float32)
    made_up[1, 0] = np.nan
    # Errors of rows far out would hide all others: of the rows between them it shows what becomes of the windows.
    for size in (1, *FAR):
        rows = made_up.copy()
        rows[::2] *= size
        found, wanted = (made.errors(offset + span * rows).sums[1::2] for made in (ours, theirs))
        if not np.abs(found - wanted).max() <= ROUNDING * np.abs(wanted).max():
            return False
    return True
