"""The studies. Each is a module with the functions of `Study`; nothing else knows what a study is about."""

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

from matplotlib.figure import Figure

from lstm_ae.data.windows import Data, join_training
from lstm_ae.evaluation import Evaluation
from lstm_ae.run import Run

History = Sequence[Mapping[str, float]]


class Study(Protocol):
    """What a study has to say."""

    def load(self, config: Any) -> Data:
        """Read or generate the data, split, then scale on the training part, then cut windows."""
        ...

    def build(self, config: Any, data: Data) -> Any:
        """Make the untrained model, in own units; pure and cheap."""
        ...

    def evaluate(self, model: Any, data: Data, judged_by: Run | None = None) -> Evaluation:
        """Measure the model on validation and test, a baseline beside each number.

        Args:
            judged_by: holds what intervals rest on where the model was fitted to validation as well, so that the part
                says nothing and is left out.
        """
        ...

    def keep(self, run: Run, config: Any, model: Any, data: Data, evaluation: Evaluation) -> dict[str, Any]:
        """Write what a run needs beside its model; returns what `metrics.json` says of it.

        Not called where the weights were fitted to the validation part.
        """
        ...

    def figures(self, model: Any, data: Data, history: History, judged_by: Run | None = None) -> dict[str, Figure]:
        """Draw what the model does, on test samples, and how its training went; `judged_by` as `evaluate` has it."""
        ...

    def describe(self, config: Any, data: Data) -> dict[str, Figure]:
        """Draw the data itself."""
        ...

    def space(self, hp: Any, config: Any) -> Any:
        """Ask KerasTuner's `HyperParameters` for what a search varies; returns the config to try."""
        ...

    def predict(self, model: Any, data: Data) -> dict[str, Sequence[Any]]:
        """Apply the model to the test part: columns of a table, one row a value or sample."""
        ...


def load_study(name: str) -> Study:
    """The module of a study, imported on first use."""
    return import_module(f"lstm_ae.studies.{name}")


def store_nothing(run: Run, config: Any, model: Any, data: Data, evaluation: Evaluation) -> dict[str, Any]:
    """The `keep` of a task whose model says all."""
    return {}


def evaluated_parts(data: Data, judged_by: Run | None = None) -> dict[str, Any]:
    """The splits that results are told for; nothing is chosen by what comes out on test."""
    found = ({} if judged_by else {"validation": data.validation}) | {"test": data.test}
    return {part: split for part, split in found.items() if split.samples}


def all_training_data(data: Data, judged_by: Run | None = None) -> Data:
    """The data with all in its training part that the model has learned from: what baselines may learn from too."""
    return join_training(data) if judged_by else data


def history_columns(history: History) -> dict[str, list[float]]:
    """A history's rows as columns; NaN where a row lacks a value that the last row has."""
    return {key: [row.get(key, math.nan) for row in history] for key in history[-1]} if history else {}
