"""The toy study: reconstruction of a noisy signal with a damped section."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from lstm_ae.config import Toy
from lstm_ae.data.toy import HALF_WIDTH, generate_signals, load
from lstm_ae.data.windows import Data
from lstm_ae.evaluation import Evaluation
from lstm_ae.model_store import History
from lstm_ae.models.network import Network
from lstm_ae.plots import signals
from lstm_ae.plots.lines import comparison
from lstm_ae.studies import draw_history, evaluated_splits, no_artifacts
from lstm_ae.studies.reconstruction import measure_reconstruction
from lstm_ae.table_files import TableColumns

if TYPE_CHECKING:
    import keras

__all__ = ["build", "describe", "evaluate", "figures", "fit_artifacts", "load", "predict"]

fit_artifacts = no_artifacts


def build(config: Toy, data: Data) -> "keras.Model":
    """Build an autoencoder from `sequence` to `reconstruction`, both `(batch, 50, 1)`."""
    from lstm_ae.models.autoencoder import autoencoder

    return autoencoder(config, steps=data.train.span, features=data.train.features)


def evaluate(model: Network, data: Data) -> Evaluation:
    """Evaluate the mean squared error of the reconstruction."""
    splits = evaluated_splits(data).items()
    return Evaluation(
        {name: {"reconstruction_mse": measure_reconstruction(model, data, split)[0]} for name, split in splits}
    )


def figures(model: Network, data: Data, history: History) -> dict[str, Figure]:
    """Draw two test signals with their reconstructions, and the loss by epoch."""
    from lstm_ae.models.inference import model_inputs

    window, steps = data.test.windows(slice(0, 2)), np.arange(data.test.span)
    outputs = model(model_inputs(model.inputs, window, None))["reconstruction"]
    return {
        "reconstruction": comparison(2 * [steps], window[..., 0], outputs[..., 0], ["Sample 1", "Sample 2"]),
        "loss": draw_history(history),
    }


def describe(config: Toy, data: Data) -> dict[str, Figure]:
    """Draw the first signals with their damped sections marked."""
    values, centers = generate_signals(config.sequences, config.seed)
    return {"signals": signals.signals(values[:3], centers[:3], HALF_WIDTH)}


def predict(model: Network, data: Data) -> TableColumns:
    """Return every step of every test sequence with its reconstruction."""
    from lstm_ae.models.inference import predict_split

    values = np.concatenate([batch.outputs["reconstruction"] for batch in predict_split(model, data.test)])
    samples, steps, _ = values.shape
    return {
        "sample": np.repeat(np.arange(samples), steps).tolist(),
        "step": np.tile(np.arange(steps), samples).tolist(),
        "value": list(data.test.windows().ravel()),
        "reconstruction": list(values.ravel()),
    }
