"""A trained model with its config, metrics, and artifacts, in memory or in a run directory."""

import abc
import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lstm_ae.artifacts import Artifact, ArtifactContent
from lstm_ae.config import Config
from lstm_ae.errors import Code, DataError
from lstm_ae.files import as_json, parse_json
from lstm_ae.json_types import JsonMapping, JsonObject

if TYPE_CHECKING:
    import keras

    from lstm_ae.models.network import Network

LOG = logging.getLogger(__name__)

MODEL_FILE = "model.keras"

History = Sequence[Mapping[str, float]]


def history_names(history: History) -> list[str]:
    """Return the columns of a history; the row of epoch 0 may lack some of them."""
    return max((list(row) for row in history), key=len, default=[])


_Artifact = TypeVar("_Artifact", bound=Artifact)
_Loaded = TypeVar("_Loaded")


class ModelStore(abc.ABC):
    """A trained model with everything that is stored with it: a `FittedModel` in memory, or a run directory."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name in error messages: the run directory, or the function that trained the model."""

    @abc.abstractmethod
    def about(self) -> JsonObject:
        """Return the content of `config.json`: config, data, command, and versions of the training."""

    @abc.abstractmethod
    def config(self) -> Config:
        """Return the config."""

    @abc.abstractmethod
    def metrics(self) -> JsonObject:
        """Return the content of `metrics.json`."""

    @abc.abstractmethod
    def model(self) -> "keras.Model":
        """Return the Keras model, for training, export, and serving."""

    @abc.abstractmethod
    def network(self) -> "Network":
        """Return the model to apply, which needs no TensorFlow; see `load_network`."""

    @abc.abstractmethod
    def artifact_contents(self) -> dict[str, ArtifactContent]:
        """Return the content of all artifacts of the training, by file name."""

    @abc.abstractmethod
    def find_artifact(self, kind: type[_Artifact]) -> _Artifact | None:
        """Return an artifact; None if there is none of its kind."""

    def artifact(self, kind: type[_Artifact]) -> _Artifact:
        """Return an artifact.

        Raises:
            DataError: the artifact is missing or damaged.
        """
        found = self.find_artifact(kind)
        if found is None:
            raise DataError(f"The run {self.name!r} has no {kind.file}. {kind.advice}", code=Code.RUN_MISMATCH)
        return found

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
        record: content of `config.json`.
        config: the config.
        metrics: content of `metrics.json`.
        history: one row per epoch, see `lstm_ae.training.loop.TrainingResult`.
        artifacts: content of the artifacts by file name.
        model: the uncompiled Keras model, or the content of a model file, which is loaded on first use.
        name: name in error messages.
    """

    def __init__(
        self,
        record: JsonMapping,
        config: Config,
        metrics: JsonMapping,
        history: History,
        artifacts: Mapping[str, ArtifactContent],
        model: "keras.Model | bytes",
        name: str,
    ) -> None:
        # The values equal those that are read from the files.
        self._record: JsonObject = parse_json(as_json(record).decode())
        self._metrics: JsonObject = parse_json(as_json(metrics).decode())
        self._config, self._history, self._artifacts = config, list(history), dict(artifacts)
        self._model, self._name = model, name
        self._network: Network | None = None
        self._loaded: dict[Callable[[ModelStore], object], Any] = {}

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_model": self.model_content(), "_network": None, "_loaded": {}}

    @property
    def name(self) -> str:
        """Name in error messages."""
        return self._name

    def about(self) -> JsonObject:
        """Return the content of `config.json`."""
        return self._record

    def config(self) -> Config:
        """Return the config."""
        return self._config

    def metrics(self) -> JsonObject:
        """Return the content of `metrics.json`."""
        return self._metrics

    def history(self) -> list[Mapping[str, float]]:
        """Return the rows of the history."""
        return self._history

    def model(self) -> "keras.Model":
        """Return the Keras model.

        Raises:
            DataError: the content of the model file is damaged.
        """
        if isinstance(self._model, bytes):
            self._model = load_model(self._model, self._metrics, self._file)
        return self._model

    def network(self) -> "Network":
        """Return the model to apply.

        A model that was just trained is converted without a file, so that results equal those of the saved model.

        Raises:
            DataError: the content of the model file is damaged.
        """
        if self._network is None:
            if isinstance(self._model, bytes):
                self._network = load_network(self._model, self._config, self._metrics, self._file)
            else:
                from lstm_ae.models.keras_network import convert_model

                self._network = convert_model(self._model, self._config)
        return self._network

    @property
    def _file(self) -> str:
        return str(Path(self._name) / MODEL_FILE)

    def model_content(self) -> bytes:
        """Return the content of the model file; equal models have equal contents."""
        if isinstance(self._model, bytes):
            return self._model
        from lstm_ae.models.archive import archive_content

        return archive_content(self._model)

    def artifact_contents(self) -> dict[str, ArtifactContent]:
        """Return the content of all artifacts by file name."""
        return self._artifacts

    def find_artifact(self, kind: type[_Artifact]) -> _Artifact | None:
        """Return an artifact; None if there is none of its kind."""
        content = self._artifacts.get(kind.file)
        return None if content is None else kind.from_content(content, str(Path(self._name) / kind.file))

    def load(self, loader: Callable[[ModelStore], _Loaded]) -> _Loaded:
        """Return what a function such as `load_detector` makes of this model; later calls return the same object."""
        if loader not in self._loaded:
            self._loaded[loader] = loader(self)
        loaded: _Loaded = self._loaded[loader]
        return loaded


def load_model(source: Path | bytes, metrics: JsonMapping, name: str) -> "keras.Model":
    """Validate and load a model file with Keras.

    Args:
        source: path or content of the file.
        metrics: content of `metrics.json`, which has the number of parameters.
        name: name of the file in errors.

    Raises:
        DataError: the file is missing, damaged, or not a model of this package.
    """
    from lstm_ae.models.archive import load

    with _describing_damage(name):
        return load(source, _parameters(metrics))


def load_network(source: Path | bytes, config: Config, metrics: JsonMapping, name: str) -> "Network":
    """Validate and load a model file for NumPy, or for Keras if it is a model that NumPy does not compute.

    Args:
        source: path or content of the file.
        config: config of the run.
        metrics: content of `metrics.json`, which has the number of parameters.
        name: name of the file in errors.

    Raises:
        DataError: the file is missing, damaged, or not a model of this package.
    """
    from lstm_ae.models import numpy_network

    with _describing_damage(name):
        try:
            return numpy_network.load_network(
                source, config, _parameters(metrics), functools.partial(load_model, source, metrics, name)
            )
        except numpy_network.UnsupportedError as error:
            LOG.info("Keras computes %s, since NumPy does not compute %s", name, error)
            # This comes before the import of Keras below because it hides the messages of TensorFlow's start.
            model = load_model(source, metrics, name)
            from lstm_ae.models.keras_network import KerasNetwork

            return KerasNetwork(model)


def _parameters(metrics: JsonMapping) -> int | None:
    parameters = metrics["training"].get("parameters")
    return parameters if isinstance(parameters, int) else None


@contextmanager
def _describing_damage(name: str) -> Iterator[None]:
    """Raise `DataError` for the errors of a model file that is missing, damaged, or not a model."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{name!r} is missing, damaged, or not a model ({first[:200]}). Restore it or train a new run",
            code=Code.RUN_DAMAGED,
        ) from error
