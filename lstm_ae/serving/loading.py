"""Load a version from its folder: check it, load it, and run its warm-up requests."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from lstm_ae.errors import Code, DataError
from lstm_ae.export.admission import admit_version
from lstm_ae.export.graph_check import ForbiddenGraphError
from lstm_ae.export.layout import WARMUP_FILE
from lstm_ae.export.manifest import describe_changed_model, read_manifest
from lstm_ae.serving.errors import Refusal
from lstm_ae.serving.proto_codec import proto_to_array
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.signatures import check_tensors

LOG = logging.getLogger(__name__)
# This is TensorFlow Serving's limit as well.
MAX_WARMUPS = 1000
# In bytes. Without this limit, a small file could request any number of copies of an input's last value.
MOST_REPEATED = 2**24


@contextmanager
def open_version(directory: Path, *, trust: bool) -> Iterator[Path]:
    """Check a version and yield a folder to load it from, which exists until the block ends.

    Args:
        directory: The folder of the version.
        trust: Whether to allow forbidden operations and files that have changed since the export.

    Raises:
        ForbiddenGraphError: If the version must not be served.
        DataError: If the version has changed since its export, or cannot be read.
        ConfigError: If there is no folder for temporary files.
    """
    try:
        with admit_version(directory, trust=trust) as folder:
            if not trust and (change := describe_changed_model(folder, read_manifest(directory))):
                raise DataError(
                    f"{str(directory)!r}: {change}. Copy or export it again, or pass --trust to load it",
                    code=Code.MODEL_UNUSABLE,
                )
            yield folder
    except ForbiddenGraphError as error:
        raise ForbiddenGraphError(f"{error}. Pass --trust to load it; it can then read and write files") from error


def make_loader(*, trust: bool) -> Callable[[str, int, Path], Servable]:
    """Return a function that loads versions and runs their warm-up requests, so that no client waits for them.

    Args:
        trust: Whether to load models regardless of their operations. A SavedModel is a program and may read and
            write files.
    """

    def load(name: str, version: int, directory: Path) -> Servable:
        with open_version(directory, trust=trust) as folder:
            servable = Servable(name, version, directory, folder)
            _run_warmup(servable, folder / WARMUP_FILE)
        return servable

    return load


def _run_warmup(servable: Servable, requests: Path) -> None:
    for log in _read_warmups(requests):
        try:
            request = log.predict_log.request
            signature = servable.signature(request.model_spec.signature_name)
            inputs = {key: proto_to_array(key, proto, MOST_REPEATED) for key, proto in request.inputs.items()}
            check_tensors(signature, inputs)
            servable.run(signature.name, inputs)
        except Refusal as refusal:
            fields = {"model": servable.name, "version": servable.version, "reason": str(refusal)}
            LOG.warning("warm-up request refused", extra=fields)


def _read_warmups(path: Path) -> Iterator[PredictionLog]:
    if not path.is_file():
        return
    for record in tf.data.TFRecordDataset(str(path)).take(MAX_WARMUPS).as_numpy_iterator():
        log = PredictionLog()
        try:
            log.ParseFromString(record)
        except DecodeError as error:
            raise DataError(
                f"The warm-up file {WARMUP_FILE} is damaged. Remove it, or export the model again.",
                code=Code.MODEL_UNUSABLE,
            ) from error
        if log.HasField("predict_log"):
            yield log
