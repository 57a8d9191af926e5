"""Anyone's own table: its anomalies, its windows from a code, or what follows them.

What is learned is one of several things (`config.task`), each a module here with the functions of a task.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from lstm_ae.config import Series
from lstm_ae.config.space import REPORT
from lstm_ae.data.fingerprints import fingerprint_windows
from lstm_ae.data.windows import Data
from lstm_ae.evaluation import Evaluation
from lstm_ae.plots import signals
from lstm_ae.run import Run
from lstm_ae.studies import History
from lstm_ae.studies.series import classification, forecasting, reconstruction
from lstm_ae.studies.series.defaults import load_complete

__all__ = ["build", "describe", "evaluate", "figures", "keep", "load", "predict", "space"]

_BY_TASK: Mapping[str, Any] = {
    "anomaly": reconstruction,
    "reconstruct": reconstruction,
    "forecast": forecasting,
    "classify": classification,
}

_BY_OUTPUT: Mapping[str, Any] = {"reconstruction": reconstruction, "future": forecasting, "label": classification}


def _of(model: Any) -> Any:
    return next(module for output, module in _BY_OUTPUT.items() if output in model.output)


def load(config: Series) -> Data:
    """Training, validation and test windows of the table."""
    return load_complete(config).data


def build(config: Series, data: Data) -> Any:
    """The untrained model of `config.task`, in the table's units."""
    return _BY_TASK[config.task].build(config, data)


def space(hp: Any, config: Series) -> Series:
    """What is searched where nothing else is listed."""
    return REPORT(hp, config)


def evaluate(model: Any, data: Data, judged_by: Run | None = None) -> Evaluation:
    """What the model is worth on validation and test, baselines beside it."""
    evaluation: Evaluation = _of(model).evaluate(model, data, judged_by)
    return evaluation


def keep(run: Run, config: Series, model: Any, data: Data, evaluation: Evaluation) -> dict[str, Any]:
    """Write what is needed to apply the model to other tables; returns what `metrics.json` says of it."""
    run.write_fingerprints(fingerprint_windows(data))
    kept: dict[str, Any] = _BY_TASK[config.task].keep(run, config, model, data, evaluation)
    return kept


def figures(model: Any, data: Data, history: History, judged_by: Run | None = None) -> dict[str, Figure]:
    """What the model does with test windows, and the loss over the epochs."""
    drawn: dict[str, Figure] = _of(model).figures(model, data, history, judged_by)
    return drawn


def predict(model: Any, data: Data) -> dict[str, Sequence[Any]]:
    """The model applied to the test part."""
    table: dict[str, Sequence[Any]] = _of(model).predict(model, data)
    return table


def describe(config: Series, data: Data) -> dict[str, Figure]:
    """The first training windows."""
    window = data.train.windows(slice(0, 2))
    return {"windows": signals.reconstructions(window[..., 0], window[..., 0])}
