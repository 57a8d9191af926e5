"""Trackers, which record a training while it runs: as logs for TensorBoard, or as a run of MLflow.

A tracker is a function of a run that returns a context manager: it is entered before the training, gives a function
that returns the Keras callback of a network, and is left when the run is complete. The argument of that function is the
name of the network if several networks are averaged, otherwise "".
"""

import functools
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from lstm_ae.addresses import hide_user, refuse_password
from lstm_ae.errors import Code, ConfigError, install_hint
from lstm_ae.formatting import format_option
from lstm_ae.run import Run, measured_splits

NetworkRecorder = Callable[[str], Any]
Tracker = Callable[[Run], AbstractContextManager[NetworkRecorder]]

# Tag of the directory of a run, by which a resumed training finds its run of MLflow.
DIRECTORY_TAG = "lstmae.directory"


def network_name(seed: float | None) -> str:
    """Return the name of one of several networks, which have different seeds; "" for a single network (None)."""
    return "" if seed is None else f"seed-{seed:.0f}"


_log = logging.getLogger(__name__)


@contextmanager
def tensorboard(run: Run) -> Iterator[NetworkRecorder]:
    """Write logs for TensorBoard into the run directory, with a folder for each of several networks."""
    import keras

    yield lambda network: keras.callbacks.TensorBoard(str(run.tensorboard / network))


class Mlflow:
    """Tracker that records a training in an MLflow tracking store.

    It records the options, the metrics of each epoch and of the evaluation with their baselines, the figures, and the
    model with its signature. The experiment is `lstmae-<task>`, or the one in `MLFLOW_EXPERIMENT_NAME`. A resumed
    training continues its run of MLflow.

    Args:
        uri: URI of the store, such as "sqlite:///mlflow.db" or "http://127.0.0.1:5000", without a password.

    Raises:
        ConfigError: MLflow is not installed, the store cannot be used, or the URI contains a password.
    """

    def __init__(self, uri: str) -> None:
        refuse_password(uri)
        # MLflow otherwise reports its use to its authors, and each step of creating a database.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        # By default, MLflow retries for minutes while the training waits.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        self.uri = uri
        try:
            from mlflow.tracking import MlflowClient

            with self._explained("Check the URI, or leave out --mlflow"):
                self.client = MlflowClient(uri)
                self.client.search_experiments(max_results=1)
        except ModuleNotFoundError as error:
            message = f"--mlflow needs {error.name}: {install_hint('mlflow')}"
            raise ConfigError(message, code=Code.MISSING_PACKAGE) from error

    @contextmanager
    def __call__(self, run: Run) -> Iterator[NetworkRecorder]:
        """Record a training.

        Raises:
            ConfigError: the store cannot be used; before the training, or when the run is complete.
        """
        import keras
        from mlflow.exceptions import MlflowException

        with self._explained("Resume with --resume when it can be used again"):
            number = _open_record(self.client, run)

        def add(network: str, epoch: int, logs: Mapping[str, float]) -> None:
            try:
                self.client.log_batch(number, _epoch_metrics(network, epoch + 1, logs))
            except MlflowException as error:
                _log.warning("MLflow did not accept the metrics of epoch %d: %s", epoch + 1, hide_user(str(error)))

        try:
            yield lambda network: keras.callbacks.LambdaCallback(on_epoch_end=functools.partial(add, network))
            with self._explained(f"The run {str(run.directory)!r} is complete"):
                self._record_missing_epochs(number, run)
                self._record_results(number, run)
        except BaseException as error:
            with suppress(MlflowException):
                self.client.set_terminated(number, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise

    def _record_missing_epochs(self, number: str, run: Run) -> None:
        """Record the epochs that the store did not accept, or that were trained before an interruption."""
        recorded = dict[str, set[int]]()
        for row in run.history():
            network, epoch = network_name(row.get("seed")), int(row["epoch"])
            if network not in recorded:
                name = _metric_name(network, "val_loss")
                recorded[network] = {metric.step for metric in self.client.get_metric_history(number, name)}
            if epoch and epoch not in recorded[network]:
                values = {name: value for name, value in row.items() if name not in ("seed", "epoch", "seconds")}
                self.client.log_batch(number, _epoch_metrics(network, epoch, values))

    def _record_results(self, number: str, run: Run) -> None:
        """Record what a complete run contains."""
        import keras
        import mlflow.keras
        import tensorflow as tf
        from mlflow.entities import Metric

        client, now, content = self.client, _milliseconds(), run.metrics()
        client.log_batch(number, [Metric(name, value, now, 0) for name, value in _result_metrics(content).items()])
        for split, verdict in content.get("verdict", {}).items():
            client.set_tag(number, f"verdict.{split}", verdict["text"])
        for path in sorted(run.directory.glob("*.*")):
            if path.suffix in (".json", ".csv"):
                client.log_artifact(number, str(path))
        if (run.directory / "figures").is_dir():
            client.log_artifacts(number, str(run.directory / "figures"), "figures")
        model = run.model()
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(self.uri)
        try:
            # Models are recorded in the active run only, which ends with the context.
            with mlflow.start_run(run_id=number, nested=True, log_system_metrics=False):
                mlflow.keras.log_model(
                    model,
                    name="model",
                    signature=_model_signature(model),
                    # Otherwise MLflow loads the model in a new process to infer them.
                    pip_requirements=[f"keras=={keras.__version__}", f"tensorflow=={tf.__version__}"],
                )
        finally:
            mlflow.set_tracking_uri(before)

    @contextmanager
    def _explained(self, advice: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise ConfigError(
                hide_user(f"MLflow cannot record in {self.uri!r}: {first}. {advice}"), code=Code.SERVER_UNAVAILABLE
            ) from error


def _epoch_metrics(network: str, epoch: int, values: Mapping[str, float]) -> list[Any]:
    from mlflow.entities import Metric

    now = _milliseconds()
    return [Metric(_metric_name(network, name), float(value), now, epoch) for name, value in values.items()]


def _metric_name(network: str, name: str) -> str:
    return f"{network}/{name}" if network else name


def _milliseconds() -> int:
    """Return the time as MLflow stores it."""
    return time.time_ns() // 10**6


def _open_record(client: Any, run: Run) -> str:
    """Return the ID of the run of MLflow for a run directory, a new one unless the training is resumed."""
    about, directory = run.about(), str(run.directory.resolve())
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"lstmae-{about['task']}"
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name)
    if run.state.exists():
        # MLflow has no escapes, but both kinds of quotes.
        mark = '"' if "'" in directory else "'"
        known = client.search_runs([number], f"tags.`{DIRECTORY_TAG}` = {mark}{directory}{mark}", max_results=1)
        if known:
            client.update_run(known[0].info.run_id, status="RUNNING")
            return str(known[0].info.run_id)
    tags = {
        DIRECTORY_TAG: directory,
        "lstmae.command": about["command"],
        "lstmae.data": about["data"]["text"],
        "lstmae.data_sha256": about["data"]["sha256"],
    }
    record = client.create_run(
        number, run_name=run.directory.name, tags={key: text[:5000] for key, text in tags.items()}
    )
    from mlflow.entities import Param

    options = run.config().to_dict()
    client.log_batch(record.info.run_id, params=[Param(key, format_option(value)) for key, value in options.items()])
    return str(record.info.run_id)


def _result_metrics(content: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of `metrics.json` by names that MLflow accepts."""
    found: dict[str, Any] = {}
    for split, metrics in measured_splits(content).items():
        for name, metric in metrics.items():
            found[f"{split}/{name}"] = metric["value"]
            found |= {f"{split}/{name}/{other}": value for other, value in metric["baselines"].items()}
    found |= {name: content["training"].get(name) for name in ("best_epoch", "parameters")}
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
    return {re.sub(r"[^\w. /-]", "_", name): float(value) for name, value in numbers.items()}


def _model_signature(model: Any) -> Any:
    """Return the shapes and types of a model's inputs and outputs as MLflow describes them."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def schema(structure: Any, tensors: list[Any], names: list[str]) -> Any:
        # MLflow refuses a name for the only tensor, unless tensors come by name.
        listed: list[str | None] = [*names] if isinstance(structure, dict) or len(tensors) > 1 else [None]
        shapes = [tuple(-1 if size is None else size for size in tensor.shape) for tensor in tensors]
        return Schema(list(map(TensorSpec, [np.dtype(tensor.dtype) for tensor in tensors], shapes, listed)))

    return ModelSignature(
        schema(model.input, model.inputs, [tensor.name for tensor in model.inputs]),
        schema(model.output, model.outputs, model.output_names),
    )
