"""From a version's folder to a version that has answered once: looked at first, then loaded, then warmed up."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from lstm_ae.errors import DataError
from lstm_ae.exporting.admission import Forbidden, admitted
from lstm_ae.exporting.warmup import FILE
from lstm_ae.serving.manifests import changed, read_manifest
from lstm_ae.serving.protos import to_array
from lstm_ae.serving.refusals import Refusal
from lstm_ae.serving.servable import Servable, check

LOG = logging.getLogger(__name__)
# TensorFlow Serving reads no more.
MOST_WARMUPS = 1000


@contextmanager
def looked_at(directory: Path, *, trust: bool) -> Iterator[Path]:
    """Give a folder to load a version from, once the version has been looked at.

    Args:
        trust: allow operations that no served model may hold, and files that have changed since the export.

    Raises:
        DataError: the version is not as it was exported, or is not what a server may load.
    """
    try:
        with admitted(directory, trust=trust) as folder:
            if not trust and (wrong := changed(folder, read_manifest(directory))):
                raise DataError(f"{str(directory)!r}: {wrong}; copy or export it again, or give --trust to load it")
            yield folder
    except Forbidden as error:
        raise DataError(f"{error}; give --trust to load it: it may then read and write files") from error


def loader(*, trust: bool) -> Callable[[str, int, Path], Servable]:
    """What loads versions.

    Args:
        trust: load a model whatever its operations are; a SavedModel is a program and may read and write files.
    """

    def load(name: str, version: int, directory: Path) -> Servable:
        """Load a version and run its warm-up requests, so that the first client does not wait for them."""
        with looked_at(directory, trust=trust) as folder:
            servable = Servable(name, version, directory, folder)
            _warm_up(servable, folder / FILE)
        return servable

    return load


def _warm_up(servable: Servable, requests: Path) -> None:
    for log in _warmups(requests):
        try:
            request = log.predict_log.request
            signature = servable.signature(request.model_spec.signature_name)
            inputs = {key: to_array(key, proto) for key, proto in request.inputs.items()}
            check(signature, inputs)
            servable.run(signature.name, inputs)
        except Refusal as refusal:
            told = {"model": servable.name, "version": servable.version, "reason": str(refusal)}
            LOG.warning("warm-up request refused", extra=told)


def _warmups(path: Path) -> Iterator[PredictionLog]:
    if not path.is_file():
        return
    for record in tf.data.TFRecordDataset(str(path)).take(MOST_WARMUPS).as_numpy_iterator():
        log = PredictionLog()
        try:
            log.ParseFromString(record)
        except DecodeError as error:
            raise DataError(f"its {FILE} is damaged; remove that file, or export the model again") from error
        if log.HasField("predict_log"):
            yield log
