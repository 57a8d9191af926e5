"""Load a version from its folder: check it, load it, and run its warm-up requests."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from lstm_ae.arrays import Array
from lstm_ae.errors import Code, DataError, LstmAeError
from lstm_ae.export.admission import admit_version
from lstm_ae.export.graph_check import ForbiddenGraphError
from lstm_ae.export.layout import GRAPH_FILE, WARMUP_FILE
from lstm_ae.export.manifest import describe_changed_model, read_manifest_leniently
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
            if not trust and (change := describe_changed_model(folder, read_manifest_leniently(directory))):
                raise DataError(
                    f"{str(directory)!r}: {change}. Copy or export it again, or pass --trust to load it",
                    code=Code.MODEL_UNUSABLE,
                )
            yield folder
    except ForbiddenGraphError as error:
        raise ForbiddenGraphError(f"{error}. Pass --trust to load it; it can then read and write files") from error


def make_loader(*, trust: bool, engine: str = "tensorflow") -> Callable[[str, int, Path], Servable]:
    """Return a function that loads versions.

    A version with a forbidden graph is not checked again until its graph file changes.

    Args:
        trust: Whether to load models regardless of their operations. A SavedModel is a program and may read and
            write files.
        engine: "numba" to compute signatures by `lstm_ae.serving.engine` where it gives the outputs of the export.
    """
    refused: dict[Path, tuple[tuple[int, ...], str]] = {}

    def load(name: str, version: int, directory: Path) -> Servable:
        """Load a version and run its warm-up requests, so that the first client does not wait for them."""
        state = _file_state(directory / GRAPH_FILE)
        known, reason = refused.pop(directory, ((), ""))
        try:
            if state and state == known:
                raise ForbiddenGraphError(reason)
            with open_version(directory, trust=trust) as folder:
                servable = Servable(name, version, directory, folder)
                if engine == "numba":
                    _use_numba(servable, folder / WARMUP_FILE)
                _run_warmup(servable, folder / WARMUP_FILE)
        except ForbiddenGraphError as error:
            refused[directory] = state, str(error)
            raise
        return servable

    return load


def _file_state(path: Path) -> tuple[int, ...]:
    """Return values that change when a file is written or replaced; empty if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _use_numba(servable: Servable, requests: Path) -> None:
    """Let NumPy and the kernels of this package compute those signatures that they compute equally."""
    from lstm_ae.serving.engine import make_functions, prove_functions

    fields = {"model": servable.name, "version": servable.version}
    try:
        functions = make_functions(servable.directory)
        servable.functions = prove_functions(servable, functions, _warmup_calls(servable, requests))
    except LstmAeError as error:
        LOG.warning("computed by TensorFlow", extra=fields | {"reason": str(error)})
        return
    others = sorted(servable.signatures.keys() - servable.functions.keys())
    LOG.info("computed by numba", extra=fields | {"signatures": sorted(servable.functions), "by_tensorflow": others})


def _run_warmup(servable: Servable, requests: Path) -> None:
    for name, inputs in _warmup_calls(servable, requests):
        try:
            servable.run(name, inputs)
        except Refusal as refusal:
            _log_refusal(servable, refusal)


def _warmup_calls(servable: Servable, requests: Path) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield the signature and the inputs of each warm-up request."""
    for log in _read_warmups(requests):
        try:
            request = log.predict_log.request
            signature = servable.signature(request.model_spec.signature_name)
            inputs = {key: proto_to_array(key, proto, MOST_REPEATED) for key, proto in request.inputs.items()}
            check_tensors(signature, inputs)
        except Refusal as refusal:
            _log_refusal(servable, refusal)
        else:
            yield signature.name, inputs


def _log_refusal(servable: Servable, refusal: Refusal) -> None:
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
