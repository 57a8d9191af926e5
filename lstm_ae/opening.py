"""A finished run opened again, with all that it takes to work on it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.config import Config, Snp
from lstm_ae.data.windows import Data
from lstm_ae.errors import DataError
from lstm_ae.evaluation import Evaluation
from lstm_ae.run import Run
from lstm_ae.tasks import Task, task


class Opened(NamedTuple):
    """A run with its task, config, data and model."""

    run: Run
    task: Task
    config: Config
    data: Data
    model: Any

    @property
    def judged_by(self) -> Run | None:
        """The run, where its weights were fitted to validation as well: it holds what its trial did there."""
        return self.run if "refit" in self.run.metrics()["training"] else None

    def evaluate(self) -> Evaluation:
        """Measure the model again."""
        return self.task.evaluate(self.model, self.data, self.judged_by)

    def plot(self) -> list[Path]:
        """Draw the figures again."""
        history = self.run.history()
        if not history:
            raise DataError(f"The run {str(self.run.directory)!r} has lost its history of epochs; train a new run")
        return self.run.write_figures(self.task.figures(self.model, self.data, history, self.judged_by))

    def save_predictions(self, columns: Mapping[str, Sequence[Any]], name: str = "predictions") -> Path:
        """Write a table of predictions into the run."""
        return self.run.write_table(name, columns)


def open_trained(run: Run, data: Data | None = None) -> Opened:
    """A finished run's task, config, data and model; the data is loaded again unless given."""
    name = run.about()["task"]
    config = run.config()
    model = run.model()
    study = task(name)
    data = study.load(config) if data is None else data
    if data.source.sha256 != run.about()["data"]["sha256"]:
        raise DataError(
            f"The data is not what {str(run.directory)!r} was trained on ({run.about()['data']['text']}). "
            f"Received: {data.source.text}. Give the same file by --data, or set (or unset) LSTMAE_DATA_DIR"
        )
    return Opened(run, study, config, data, model)


def open_fresh(run: Run, config: Config) -> Opened:
    """A finished forecaster with data that it was not trained on, `config.data`; all of that is in its test part."""
    from lstm_ae.data.prices import fresh

    assert isinstance(config, Snp)
    _, scale, until = run.calibration()
    data = fresh(config, scale, run.about()["data"]["symbols"], np.datetime64(until))
    return Opened(run, task("snp"), config, data, run.model())
