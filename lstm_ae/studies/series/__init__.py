"""The study of tables: anomaly detection, reconstruction, forecasting, and classification.

Each `config.task` is implemented by a module of this package with the functions of a study.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from lstm_ae.config import Series
from lstm_ae.data.windows import Data
from lstm_ae.evaluation import Evaluation
from lstm_ae.model_store import History
from lstm_ae.models.network import Network
from lstm_ae.studies import FittedArtifacts
from lstm_ae.studies.series import classification, forecasting, reconstruction
from lstm_ae.studies.series.defaults import load_complete
from lstm_ae.table_files import TableColumns

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

__all__ = ["build", "describe", "evaluate", "figures", "fit_artifacts", "load", "predict"]

_BY_TASK: Mapping[str, ModuleType] = {
    "anomaly": reconstruction,
    "reconstruct": reconstruction,
    "forecast": forecasting,
    "classify": classification,
}

_BY_OUTPUT: Mapping[str, ModuleType] = {
    "reconstruction": reconstruction,
    "future": forecasting,
    "label": classification,
}


def _task_module(model: Network) -> ModuleType:
    return next(module for output, module in _BY_OUTPUT.items() if output in model.outputs)


def load(config: Series) -> Data:
    """Read the table and return its training, validation, and test windows."""
    return load_complete(config).data


def build(config: Series, data: Data) -> "keras.Model":
    """Build the untrained model of `config.task` in the table's units."""
    model: keras.Model = _BY_TASK[config.task].build(config, data)
    return model


def evaluate(model: Network, data: Data) -> Evaluation:
    """Evaluate the model and its baselines on the validation and test splits."""
    evaluation: Evaluation = _task_module(model).evaluate(model, data)
    return evaluation


def fit_artifacts(config: Series, model: Network, data: Data, evaluation: Evaluation) -> FittedArtifacts:
    """Return the artifacts for applying the model to other tables."""
    fitted: FittedArtifacts = _BY_TASK[config.task].fit_artifacts(config, model, data, evaluation)
    times = [
        split.time[split.starts[:, None] + [0, split.span - 1]].astype("datetime64[ns]").astype(np.int64)
        for split in (data.train, data.validation)
        if split.time is not None and split.samples
    ]
    period = {"training_period": [int(min(map(np.min, times))), int(max(map(np.max, times)))]} if times else {}
    return fitted._replace(metrics={**fitted.metrics, **period})


def figures(model: Network, data: Data, history: History) -> dict[str, "Figure"]:
    """Draw the model's output for test windows, and the loss by epoch."""
    drawn: dict[str, Figure] = _task_module(model).figures(model, data, history)
    return drawn


def predict(model: Network, data: Data) -> TableColumns:
    """Apply the model to the test split; return table columns."""
    table: TableColumns = _task_module(model).predict(model, data)
    return table


def describe(config: Series, data: Data) -> dict[str, "Figure"]:
    """Draw the first training windows."""
    from lstm_ae.plots import signals

    window = data.train.windows(slice(0, 2))
    return {"windows": signals.reconstructions(window[..., 0], window[..., 0])}
