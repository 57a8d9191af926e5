"""The MNIST study: reconstruction and classification of digits read as sequences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from lstm_ae.arrays import Array
from lstm_ae.config import Mnist
from lstm_ae.data.digits import MAX_PIXEL, images_to_windows, infer_reading, load, rows_to_images
from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import Evaluation, Metric
from lstm_ae.json_types import JsonObject
from lstm_ae.model_store import History
from lstm_ae.models.network import Network
from lstm_ae.plots import base, classes, digits
from lstm_ae.studies import draw_history, evaluated_splits, no_artifacts
from lstm_ae.studies.reconstruction import measure_reconstruction
from lstm_ae.table_files import TableColumns

if TYPE_CHECKING:
    import keras

__all__ = ["build", "describe", "evaluate", "figures", "fit_artifacts", "load", "predict"]

fit_artifacts = no_artifacts

CLASSES = 10

MAX_SHOWN = 10


def build(config: Mnist, data: Data) -> "keras.Model":
    """Build a classifier from `sequence` `(batch, steps, features)` to `reconstruction` and `label`."""
    from lstm_ae.models.classifier import classifier

    return classifier(config, steps=data.train.span, features=data.train.features, classes=CLASSES)


def evaluate(model: Network, data: Data) -> Evaluation:
    """Evaluate the accuracy, with that of the most frequent digit, and the reconstruction error."""
    assert data.train.label is not None
    frequent = np.bincount(data.train.label).argmax()

    def measure(split: Split) -> dict[str, Metric]:
        label = split.label
        assert label is not None
        mse, (accuracy,) = measure_reconstruction(
            model, data, split, lambda batch: batch.outputs["label"].argmax(axis=1) == label[batch.samples]
        )
        baseline = {f"always {frequent}": float(np.mean(label == frequent))}
        return {"accuracy": Metric(accuracy, "", baseline, higher_is_better=True), "reconstruction_mse": mse}

    return Evaluation({name: measure(split) for name, split in evaluated_splits(data).items()})


def figures(model: Network, data: Data, history: History) -> dict[str, Figure]:
    """Draw digits with their reconstructions, loss and accuracy by epoch, and the confusion matrix."""
    from sklearn.metrics import confusion_matrix

    from lstm_ae.models.inference import model_inputs, predict_split

    window = data.test.windows(slice(0, MAX_SHOWN))
    outputs = model(model_inputs(model.inputs, window, None))
    label = data.test.label
    assert label is not None
    predicted = np.concatenate([batch.outputs["label"].argmax(axis=1) for batch in predict_split(model, data.test)])
    return {
        "reconstruction": digits.reconstructions(
            pictures(window, data),
            pictures(outputs["reconstruction"], data),
            label[:MAX_SHOWN],
            outputs["label"].argmax(axis=1),
        ),
        "curves": draw_history(
            history,
            base.HistoryPanel("reconstruction_loss", "Reconstruction MSE", "log"),
            base.HistoryPanel("label_loss", "Cross-entropy", "log"),
            base.HistoryPanel("label_accuracy", "Accuracy", "percent"),
        ),
        "confusion": classes.confusion(confusion_matrix(label, predicted, labels=range(CLASSES)), noun="digit"),
    }


def describe(config: Mnist, data: Data) -> dict[str, Figure]:
    """Draw the first training digit, read by rows and by pixels."""
    return {"readings": digits.readings(pictures(data.train.windows(slice(0, 1)), data)[0])}


def predict(model: Network, data: Data) -> TableColumns:
    """Return the predicted class of every test digit, its probability, and the reconstruction error."""
    from lstm_ae.models.inference import predict_split

    labels, errors = list[Array](), list[Array]()
    for batch in predict_split(model, data.test):
        error = ((batch.outputs["reconstruction"] - batch.window) / data.scale.range) ** 2
        labels.append(batch.outputs["label"])
        errors.append(error.mean(axis=(1, 2)))
    label = np.concatenate(labels)
    assert data.test.label is not None
    return {
        "digit": list(range(len(label))),
        "label": data.test.label.tolist(),
        "predicted": label.argmax(axis=1).tolist(),
        "probability": list(label.max(axis=1)),
        "reconstruction_mse": list(np.concatenate(errors)),
    }


def classify(model: Network, read: str, named: Sequence[tuple[str, Array]]) -> tuple[list[JsonObject], Figure]:
    """Classify pictures.

    Args:
        model: a trained model of this study.
        read: order in which the model reads a digit, see `config.read`.
        named: names and pictures `(28, 28)`, 0 to 255.

    Returns:
        One row per picture with label, probability, and reconstruction error, and a figure of the first ten with their
        reconstructions.
    """
    from lstm_ae.models.inference import model_inputs

    window = images_to_windows(np.stack([image for _, image in named]), read)
    outputs = model(model_inputs(model.inputs, window, None))
    error = (((outputs["reconstruction"] - window) / MAX_PIXEL) ** 2).mean(axis=(1, 2))
    rows = [
        {"image": path, "label": int(row.argmax()), "probability": float(row.max()), "reconstruction_mse": float(mse)}
        for (path, _), row, mse in zip(named, outputs["label"], error, strict=True)
    ]
    above, below = (rows_to_images(each[:MAX_SHOWN], read) / MAX_PIXEL for each in (window, outputs["reconstruction"]))
    predicted = outputs["label"][:MAX_SHOWN].argmax(axis=1)
    return rows, digits.reconstructions(above, below, predicted=predicted, total=len(rows))


def pictures(window: Array, data: Data) -> Array:
    """Convert sequences `(n, steps, features)` of any reading order to pictures `(n, 28, 28)` from 0 to 1."""
    return rows_to_images(window, infer_reading(data.feature_names)) / MAX_PIXEL
