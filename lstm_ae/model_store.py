"""A trained model with its config, metrics, and artifacts, in memory or in a run directory."""

import abc
import csv
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lstm_ae.artifacts import Artifact
from lstm_ae.config import TASKS, Config
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.files import parse_json
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.table_files import table

if TYPE_CHECKING:
    import keras

    from lstm_ae.models.network import Network

LOG = logging.getLogger(__name__)

CONFIG_FILE, METRICS_FILE, HISTORY_FILE, MODEL_FILE = "config.json", "metrics.json", "history.csv", "model.keras"

History = Sequence[Mapping[str, float]]


def format_history(history: History) -> bytes:
    """Return the content of `history.csv`; cells are empty where a row lacks a value that a later epoch has."""
    names = max(map(list, history), key=len)
    return table(names, [[row.get(name) for name in names] for row in history])


def _epoch_of(row: Mapping[str, str]) -> dict[str, float]:
    """Convert a row of `history.csv`; empty cells are allowed in the row of epoch 0 only."""
    start = row.get("epoch") in ("0", "0.0")
    return {key: float(value) for key, value in row.items() if value or not start}


def config_in_record(about: JsonMapping, path: Path) -> Config:
    """Return the config in the content of a `config.json`; `path` is for errors."""
    values = about.get("config")
    if not isinstance(values, dict):
        raise ConfigError(
            f"{str(path)!r}: 'config' must be an object with the options. Received: {values!r}", code=Code.CONFIG_FILE
        )
    try:
        return TASKS[about["task"]].from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{str(path)!r}: {error}", code=error.code) from None


_Artifact = TypeVar("_Artifact", bound=Artifact)
_Loaded = TypeVar("_Loaded")


class ModelStore(abc.ABC):
    """A trained model with everything that is stored with it, as files: in memory, or in a run directory."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name in error messages: the run directory, or the function that trained the model."""

    @property
    @abc.abstractmethod
    def model_source(self) -> Path | bytes:
        """Path or content of the model file; equal models have equal contents."""

    @abc.abstractmethod
    def find_content(self, name: str) -> bytes | None:
        """Return the content of another file; None if there is none."""

    @abc.abstractmethod
    def about(self) -> JsonObject:
        """Return the content of `config.json`: config, data, command, and versions of the training."""

    @abc.abstractmethod
    def metrics(self) -> JsonObject:
        """Return the content of `metrics.json`."""

    def _path(self, name: str) -> str:
        return str(Path(self.name) / name)

    def config(self) -> Config:
        """Return the config."""
        return config_in_record(self.about(), Path(self._path(CONFIG_FILE)))

    def history(self) -> list[dict[str, float]]:
        """Read the rows of `history.csv`; return an empty list if there is none.

        The row of epoch 0, the untrained network, has no training loss.

        Raises:
            DataError: the file is damaged.
        """
        try:
            lines = (self.find_content(HISTORY_FILE) or b"").decode().splitlines()
            return [_epoch_of(row) for row in csv.DictReader(lines)]
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{self._path(HISTORY_FILE)!r} is damaged ({error}). Train a new run", code=Code.RUN_DAMAGED
            ) from error

    def model(self) -> "keras.Model":
        """Validate and load the Keras model, for training, export, and serving.

        Raises:
            DataError: the file is missing, damaged, or not a model of this package.
        """
        from lstm_ae.models.archive import load

        with self._describing_damage():
            return load(self.model_source, self._parameters)

    def network(self) -> "Network":
        """Validate and load the model to apply: by NumPy, or by Keras if it is one that NumPy does not compute.

        Raises:
            DataError: the file is missing, damaged, or not a model of this package.
        """
        from lstm_ae.models.numpy_network import UnsupportedError, load_network

        with self._describing_damage():
            try:
                return load_network(self.model_source, self.config(), self._parameters, self.model)
            except UnsupportedError as error:
                LOG.info("Keras computes %s, since NumPy does not compute %s", self._path(MODEL_FILE), error)
                # The model is loaded first: this imports Keras without the start-up messages of TensorFlow.
                model = self.model()
                from lstm_ae.models.keras_network import KerasNetwork

                return KerasNetwork(model)

    @property
    def _parameters(self) -> int | None:
        parameters = self.metrics()["training"].get("parameters")
        return parameters if isinstance(parameters, int) else None

    @contextmanager
    def _describing_damage(self) -> Iterator[None]:
        """Raise `DataError` for the errors of a model file that is missing, damaged, or not a model."""
        try:
            yield
        except DataError:
            raise
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            name = self._path(MODEL_FILE)
            raise DataError(
                f"{name!r} is missing, damaged, or not a model ({first[:200]}). Restore it or train a new run",
                code=Code.RUN_DAMAGED,
            ) from error

    def find_artifact(self, kind: type[_Artifact]) -> _Artifact | None:
        """Return an artifact; None if there is none of its kind.

        Raises:
            DataError: the artifact is damaged.
        """
        content = self.find_content(kind.file)
        return None if content is None else kind.from_content(content, self._path(kind.file))

    def artifact(self, kind: type[_Artifact]) -> _Artifact:
        """Return an artifact.

        Raises:
            DataError: the artifact is missing or damaged.
        """
        artifact = self.find_artifact(kind)
        if artifact is None:
            raise DataError(f"The run {self.name!r} has no {kind.file}. {kind.advice}", code=Code.RUN_MISMATCH)
        return artifact

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the rows of the scale table, the first ""; empty if all series share one scale."""
        names = self.about()["data"].get("symbols", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(
                f"The config.json of {self.name!r} is damaged at 'symbols'. Train a new run", code=Code.RUN_DAMAGED
            )
        return tuple(names)

    @property
    def training_period(self) -> tuple[int, int] | None:
        """Times of the first and the last row that the model was trained or selected on; None without dates."""
        match self.metrics().get("training_period"):
            case [int(first), int(last)]:
                return first, last
            case None:
                return None
        raise DataError(
            f"The metrics.json of {self.name!r} is damaged at 'training_period'; train a new run", code=Code.RUN_DAMAGED
        )


class FittedModel(ModelStore):
    """A trained model in memory, which can be copied and pickled.

    Args:
        files: content of the files of its run by name; the model file may be missing if there is a model.
        name: name in error messages.
        model: the uncompiled Keras model; None to load the model file on first use.
    """

    def __init__(self, files: Mapping[str, bytes], name: str, model: "keras.Model | None" = None) -> None:
        self.files, self._name, self._model = dict(files), name, model
        self._network: Network | None = None
        self._loaded: dict[Callable[[ModelStore], object], Any] = {}

    def __getstate__(self) -> dict[str, object]:
        files = self.files | {MODEL_FILE: self.model_source}
        return self.__dict__ | {"files": files, "_model": None, "_network": None, "_loaded": {}}

    @property
    def name(self) -> str:
        """Name in error messages."""
        return self._name

    @property
    def model_source(self) -> bytes:
        """Content of the model file."""
        if MODEL_FILE not in self.files:
            from lstm_ae.models.archive import archive_content

            self.files[MODEL_FILE] = archive_content(self._model)
        return self.files[MODEL_FILE]

    def find_content(self, name: str) -> bytes | None:
        """Return the content of another file; None if there is none."""
        return self.files.get(name)

    def about(self) -> JsonObject:
        """Return the content of `config.json`."""
        about: JsonObject = parse_json(self.files[CONFIG_FILE].decode())
        return about

    def metrics(self) -> JsonObject:
        """Return the content of `metrics.json`."""
        metrics: JsonObject = parse_json(self.files[METRICS_FILE].decode())
        return metrics

    def model(self) -> "keras.Model":
        """Return the Keras model."""
        self._model = self._model or super().model()
        return self._model

    def network(self) -> "Network":
        """Return the model to apply, whose results equal those of the saved model."""
        self._network = self._network or super().network()
        return self._network

    def load(self, loader: Callable[[ModelStore], _Loaded]) -> _Loaded:
        """Return the result of a function such as `load_detector` for this model, the same in later calls."""
        if loader not in self._loaded:
            self._loaded[loader] = loader(self)
        loaded: _Loaded = self._loaded[loader]
        return loaded
