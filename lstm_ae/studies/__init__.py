"""The studies: each is a module with the functions of `Study`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lstm_ae.artifacts import Artifact
from lstm_ae.config import Config, Series, task_of
from lstm_ae.config.base import ReconstructionConfig
from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import Evaluation
from lstm_ae.json_types import JsonMapping
from lstm_ae.model_store import History
from lstm_ae.models.network import Network
from lstm_ae.table_files import TableColumns

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from lstm_ae.plots.base import HistoryPanel


class FittedArtifacts(NamedTuple):
    """Statistics that are stored with a model.

    Args:
        artifacts: the artifacts.
        metrics: entries for `metrics.json`.
    """

    artifacts: tuple[Artifact, ...] = ()
    metrics: JsonMapping = {}


class Study(Protocol):
    """Interface of a study."""

    def load(self, config: Any) -> Data:
        """Read or generate the data, split it, fit the scale on the training split, and cut windows."""
        ...

    def build(self, config: Any, data: Data) -> "keras.Model":
        """Build the untrained network of scaled values; must be pure and cheap."""
        ...

    def evaluate(self, model: Network, data: Data) -> Evaluation:
        """Evaluate the model and its baselines on the validation and test splits."""
        ...

    def fit_artifacts(self, config: Any, model: Network, data: Data, evaluation: Evaluation) -> FittedArtifacts:
        """Return what is stored with the model."""
        ...

    def figures(self, model: Network, data: Data, history: History) -> dict[str, "Figure"]:
        """Draw the model's output on test samples and the training history."""
        ...

    def describe(self, config: Any, data: Data) -> dict[str, "Figure"]:
        """Draw the data; tables have no such figure."""
        ...

    def predict(self, model: Network, data: Data) -> TableColumns:
        """Apply the model to the test split; return table columns with one row per value or sample.

        Tables and forecasters of prices have commands of their own instead.
        """
        ...


# Modules of `lstm_ae.studies.series` by the task of a table; other tasks have that of reconstruction.
TABLES = {"forecast": "forecasting", "classify": "classification"}


def load_study(config: Config) -> Study:
    """Import the module of the study of a config on first use and return it."""
    name = f"series.{TABLES.get(config.task, 'reconstruction')}" if isinstance(config, Series) else task_of(config)
    return import_module(f"lstm_ae.studies.{name}")


def build_model(config: Config, data: Data) -> "keras.Model":
    """Build the untrained model of a config in the data's original units."""
    from lstm_ae.models.initializers import start_as_delay_line
    from lstm_ae.models.scaling import in_own_units

    network = load_study(config).build(config, data)
    if isinstance(config, ReconstructionConfig):
        network = start_as_delay_line(network, config, data.train.span)
    return in_own_units(network, data.scale)


def no_artifacts(config: Any, model: Network, data: Data, evaluation: Evaluation) -> FittedArtifacts:
    """Implement `fit_artifacts` for studies without artifacts."""
    return FittedArtifacts()


def evaluated_splits(data: Data) -> dict[str, Split]:
    """Return the splits to evaluate, by name; nothing is selected on the test split."""
    splits = {"validation": data.validation, "test": data.test}
    return {name: split for name, split in splits.items() if split.samples}


def history_columns(history: History) -> dict[str, list[float]]:
    """Return a history as columns; NaN where a row lacks a value that a later epoch has.

    An epoch of several networks has their mean. Epochs after the first network stopped are left out, since the mean of
    the others does not continue that of all.

    >>> history_columns([{"epoch": 0.0}, {"epoch": 1.0, "loss": 0.5}])
    {'epoch': [0.0, 1.0], 'loss': [nan, 0.5]}
    >>> rows = [(0.0, 1.0, 0.5), (1.0, 1.0, 1.5), (1.0, 2.0, 0.1)]
    >>> history_columns([dict(zip(("seed", "epoch", "loss"), row)) for row in rows])
    {'epoch': [1.0], 'loss': [1.0]}
    """
    import pandas as pd

    if not history:
        return {}
    frame = pd.DataFrame(history)
    if "seed" in frame:
        common = frame["epoch"] <= frame.groupby("seed")["epoch"].max().min()
        frame = frame[common].drop(columns="seed")
    means = frame.groupby("epoch", as_index=False).mean()
    return {str(name): values.tolist() for name, values in means.items()}


def draw_history(history: History, *panels: "HistoryPanel") -> "Figure":
    """Draw columns of a history by epoch; without panels the loss."""
    from lstm_ae.plots.base import HistoryPanel, curves

    return curves(history_columns(history), panels or [HistoryPanel("loss", "MSE (scaled)", "log")])
