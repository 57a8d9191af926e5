"""From a version's folder to a version that has answered once: looked at first, then loaded, then warmed up."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from lstm_ae.exporting.operations import forbidden
from lstm_ae.exporting.warmup import FILE
from lstm_ae.serving.manifests import changed, read_manifest
from lstm_ae.serving.protos import to_array
from lstm_ae.serving.refusals import Refusal
from lstm_ae.serving.servable import Servable, check

LOG = logging.getLogger(__name__)
# TensorFlow Serving reads no more.
MOST_WARMUPS = 1000


def require_allowed(directory: Path, *, trust: bool) -> None:
    """Raise `ValueError` where a version is not as it was exported, or has operations that are not allowed.

    Args:
        trust: allow all that.
    """
    if trust:
        return
    if wrong := changed(directory, read_manifest(directory)):
        raise ValueError(f"{str(directory)!r}: {wrong}; copy or export it again (--trust loads it all the same)")
    if found := forbidden(directory):
        raise ValueError(
            f"{str(directory)!r} holds operations that are not allowed ({', '.join(found[:5])}); "
            "a model may do what its maker wants: --trust loads it all the same"
        )


def loader(*, trust: bool) -> Callable[[str, int, Path], Servable]:
    """What loads versions.

    Args:
        trust: load a model whatever its operations are; a SavedModel is a program and may read and write files.
    """

    def load(name: str, version: int, directory: Path) -> Servable:
        """Load a version and run its warm-up requests, so that the first client does not wait for them."""
        require_allowed(directory, trust=trust)
        servable = Servable(name, version, directory)
        _warm_up(servable)
        return servable

    return load


def _warm_up(servable: Servable) -> None:
    for log in _warmups(servable.directory / FILE):
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
            raise ValueError(f"{str(path)!r} is damaged") from error
        if log.HasField("predict_log"):
            yield log
