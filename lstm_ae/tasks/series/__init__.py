"""Anyone's own table: its anomalies, its windows from a code, or what follows them.

What is learned is one of several things (`config.task`), each a module here with the functions of a task.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lstm_ae.config import Series
from lstm_ae.data.telling import told
from lstm_ae.data.windows import Data
from lstm_ae.evaluation import Evaluation
from lstm_ae.figures import signals
from lstm_ae.run import Run
from lstm_ae.space import REPORT
from lstm_ae.tasks import History
from lstm_ae.tasks.series import classes, codes, forecasts
from lstm_ae.tasks.series.settling import settle

__all__ = ["build", "describe", "evaluate", "figures", "keep", "load", "predict", "space"]

# Stretches of time that a run keeps of its rows.
STRETCHES = 20

_BY_TASK: Mapping[str, Any] = {"anomaly": codes, "reconstruct": codes, "forecast": forecasts, "classify": classes}
_BY_OUTPUT: Mapping[str, Any] = {"reconstruction": codes, "future": forecasts, "label": classes}


def _of(model: Any) -> Any:
    return next(module for output, module in _BY_OUTPUT.items() if output in model.output)


def load(config: Series) -> Data:
    """Training, validation and test windows of the table."""
    return settle(config).data


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
    kept: dict[str, Any] = _BY_TASK[config.task].keep(run, config, model, data, evaluation)
    return kept | _seen(data)


def _seen(data: Data) -> dict[str, Any]:
    """When the rows were that a model was trained and chosen on, in stretches, where they have times."""
    stretches = []
    for split in (data.train, data.validation):
        if split.time is None or split.segment is None or not len(split.time):
            return {}
        times = split.time.astype("datetime64[ns]").astype(np.int64)
        ends = np.flatnonzero(np.r_[split.segment[1:] != split.segment[:-1], True])
        starts = np.r_[0, ends[:-1] + 1]
        stretches.append(np.c_[times[starts], times[ends]])
    return {"seen": [[told(int(first)), told(int(last))] for first, last in _joined(np.concatenate(stretches))]}


def _joined(stretches: NDArray[np.int64], most: int = STRETCHES) -> NDArray[np.int64]:
    """So many stretches of time at most, `(n, 2)`, that hold all of these: the nearest are joined."""
    stretches = stretches[np.argsort(stretches[:, 0], kind="stable")]
    reached = np.maximum.accumulate(stretches[:, 1])
    gaps = stretches[1:, 0] - reached[:-1]
    widest = np.sort(gaps)[::-1][: most - 1]
    parted = np.flatnonzero((gaps > 0) & (gaps >= (widest[-1] if len(widest) else 0)))[: most - 1]
    joined: NDArray[np.int64] = np.c_[stretches[np.r_[0, parted + 1], 0], reached[np.r_[parted, len(reached) - 1]]]
    return joined


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
