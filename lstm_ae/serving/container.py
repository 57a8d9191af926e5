"""Configuration files and the command to serve the same models with TensorFlow Serving in a container."""

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from lstm_ae.errors import ConfigError
from lstm_ae.files import write_own
from lstm_ae.serving.batching import BatchingConfig
from lstm_ae.serving.folders import ServedModel
from lstm_ae.serving.ports import Ports, bracket_host
from lstm_ae.serving.server import ServerConfig
from lstm_ae.serving.service import RequestLimits

# TensorFlow Serving's image has its models here by convention.
CONTAINER_ROOT = PurePosixPath("/models")
# A file without this line belongs to the user and must not be overwritten.
FILE_HEADER = "# Written by lstmae serve --tf-serving, which overwrites only files with this line.\n"
# TensorFlow Serving has no counterpart of these fields.
_UNSUPPORTED_OPTIONS = {
    "concurrency": "--max-concurrency",
    "per_client": "--max-concurrency-per-client",
    "header_seconds": "--header-timeout",
    "drain_seconds": "--drain",
    "grace_seconds": "--grace",
    "hosts": "--allowed-host",
    "load_seconds": "--load-timeout",
    "body": "--max-body",
    "instances": "--max-instances",
    "window": "--max-window",
    "horizon": "--max-horizon",
    "elements": "--max-elements",
}


def write_tensorflow_serving(
    folder: Path,
    models: Sequence[ServedModel],
    *,
    ports: Ports,
    manners: ServerConfig = ServerConfig(),  # noqa: B008
    batching: BatchingConfig = BatchingConfig(),  # noqa: B008
    limits: RequestLimits = RequestLimits(),  # noqa: B008
) -> tuple[Path, str]:
    """Write `models.config` for TensorFlow Serving into a folder of models, and `batching.config` if it should batch.

    Options that differ from their defaults are passed on.

    Args:
        folder: The folder of models.
        models: The models to serve.
        ports: The published ports; the host must be an address.
        manners: The server options.
        batching: The batching options.
        limits: The request limits.

    Returns:
        The path of `models.config`, and the command that serves the folder with TensorFlow Serving's image.

    Raises:
        ConfigError: If a file of that name belongs to the user, a model is outside the folder, or TensorFlow Serving
            has no counterpart of an option.
    """
    if lacking := list(_list_unsupported_options(manners, limits)):
        raise ConfigError(f"TensorFlow Serving has no counterpart of {', '.join(lacking)}; leave these out")
    root = folder.resolve()
    bases = {model.name: model.base.resolve() for model in models}
    for name, base in bases.items():
        if not base.is_relative_to(root):
            raise ConfigError(
                f"The model {name!r} lies at {str(base)!r}, outside {str(root)!r}, and the container sees that folder "
                "alone; copy the model into it"
            )
    top = CONTAINER_ROOT / root.name if root in bases.values() else CONTAINER_ROOT
    content = model_server_config_pb2.ModelServerConfig()
    for model in models:
        inside = top / bases[model.name].relative_to(root).as_posix()
        one = content.model_config_list.config.add(name=model.name, base_path=str(inside), model_platform="tensorflow")
        if model.policy.kind == "all":
            one.model_version_policy.all.SetInParent()
        elif model.policy.kind == "specific":
            one.model_version_policy.specific.versions.extend(model.policy.versions)
        elif model.policy.newest > 1:
            one.model_version_policy.latest.num_versions = model.policy.newest
        one.version_labels.update(dict(model.labels))
    path = _write_own_file(root / "models.config", text_format.MessageToString(content))
    published = [(ports.rest, 8501)] if ports.grpc is None else [(ports.grpc, 8500), (ports.rest, 8501)]
    words = ["docker", "run", "--rm"]
    for outside, port in published:
        words += ["-p", f"{bracket_host(ports.host)}:{outside}:{port}"]
    words += ["-v", f"{root}:{top}:ro", "tensorflow/serving", f"--model_config_file={top / path.name}"]
    if any(model.labels for model in models):
        words.append("--allow_version_labels_for_unavailable_models=true")
    if manners.poll != ServerConfig().poll:
        words.append(f"--file_system_poll_wait_seconds={math.ceil(manners.poll)}")
    if limits.seconds != RequestLimits().seconds:
        words.append(f"--rest_api_timeout_in_ms={math.ceil(1000 * limits.seconds)}")
    if manners.tensor_content:
        words.append("--enable_serialization_as_tensor_content=true")
    # TensorFlow Serving does not batch by default.
    if batching != BatchingConfig() and batching.size > 1:
        file = _write_own_file(root / "batching.config", _format_batching_parameters(batching))
        words += ["--enable_batching=true", f"--batching_parameters_file={top / file.name}"]
    return path, shlex.join(words)


def _list_unsupported_options(*given: ServerConfig | RequestLimits) -> Iterator[str]:
    """Yield the options that differ from their defaults and that TensorFlow Serving lacks."""
    for one in given:
        for name, value in one._asdict().items():
            if name in _UNSUPPORTED_OPTIONS and value != type(one)._field_defaults[name]:
                yield _UNSUPPORTED_OPTIONS[name]


def _format_batching_parameters(batching: BatchingConfig) -> str:
    """Return a `BatchingParameters` message as text; its module is not part of the client package."""
    values = {
        "max_batch_size": batching.size,
        "batch_timeout_micros": round(batching.wait * 1e6),
        "max_enqueued_batches": batching.queue,
        "num_batch_threads": batching.threads,
    }
    lines = [f"{name} {{ value: {value} }}\n" for name, value in values.items()]
    return "".join([*lines, *(f"allowed_batch_sizes: {size}\n" for size in batching.sizes)])


def _write_own_file(path: Path, text: str) -> Path:
    try:
        return write_own(path, FILE_HEADER, FILE_HEADER + text)
    except FileExistsError:
        raise ConfigError(f"{str(path)!r} was not written by --tf-serving. Move it, or serve another folder.") from None
