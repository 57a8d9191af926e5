"""The configuration files of TensorFlow Serving: read `models.config`, or write it to serve the same models with it."""

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from lstm_ae.errors import Code, ConfigError
from lstm_ae.files import write_own
from lstm_ae.serving.config import BatchingConfig, RequestLimits, ServerConfig
from lstm_ae.serving.errors import invalid_argument
from lstm_ae.serving.model_folders import ServedModel, VersionPolicy
from lstm_ae.serving.ports import bracket_host

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


def read_models(path: Path) -> list[ServedModel]:
    """Return the models of a `models.config`; relative paths start at its folder.

    Raises:
        ConfigError: If the file is invalid or contains a configuration that a server cannot follow.
    """
    content = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), content)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(
            f"{str(path)!r} is not TensorFlow Serving's models.config ({first})", code=Code.SERVING_CONFIG
        ) from error
    try:
        return parse_models(content, root=path.parent)
    except Exception as error:
        raise ConfigError(f"{str(path)!r}: {error}", code=Code.SERVING_CONFIG) from error


def parse_models(content: model_server_config_pb2.ModelServerConfig, *, root: Path | None = None) -> list[ServedModel]:
    """Return the models of a `ModelServerConfig` message.

    Args:
        content: The message.
        root: The folder that relative paths start at; None refuses them.

    Raises:
        Refusal: If the configuration is invalid or a server cannot follow it.
    """
    if content.WhichOneof("config") != "model_config_list":
        raise invalid_argument("The configuration must contain a model_config_list")
    models = []
    for one in content.model_config_list.config:
        if not one.name or not one.base_path:
            raise invalid_argument("Every model of the configuration needs a name and a base_path")
        if one.model_platform and one.model_type:
            raise invalid_argument(
                f"Illegal setting both model_type (deprecated) and model_platform of model {one.name}"
            )
        if one.model_platform != "tensorflow" and one.model_type != model_server_config_pb2.TENSORFLOW:
            raise invalid_argument(
                f"The model_platform of a model must be tensorflow. Received: {one.model_platform!r}"
            )
        base = Path(one.base_path)
        if root is None and not base.is_absolute():
            raise invalid_argument(
                f"Expected model {one.name} to have an absolute path; got base_path()={one.base_path}"
            )
        labels = tuple(sorted(one.version_labels.items()))
        models.append(ServedModel(one.name, base if root is None else root / base, _parse_policy(one), labels))
    if len({model.name for model in models}) < len(models):
        raise invalid_argument("Two models of the configuration have the same name")
    return models


def _parse_policy(one: model_server_config_pb2.ModelConfig) -> VersionPolicy:
    policy = one.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return VersionPolicy("all")
    if kind == "specific":
        return VersionPolicy("specific", versions=tuple(policy.specific.versions))
    return VersionPolicy("latest", newest=max(1, policy.latest.num_versions) if kind == "latest" else 1)


def write_tensorflow_serving(
    folder: Path,
    models: Sequence[ServedModel],
    config: ServerConfig = ServerConfig(),  # noqa: B008
) -> tuple[Path, str]:
    """Write `models.config` for TensorFlow Serving into a folder of models, and `batching.config` if it should batch.

    Options that differ from their defaults are passed on.

    Args:
        folder: The folder of models.
        models: The models to serve.
        config: The server options; the host must be an address.

    Returns:
        The path of `models.config`, and the command that serves the folder with TensorFlow Serving's image.

    Raises:
        ConfigError: If a file of that name belongs to the user, a model is outside the folder, or TensorFlow Serving
            has no counterpart of an option.
    """
    ports, batching, limits = config.ports, config.batching, config.limits
    if lacking := list(_list_unsupported_options(config, limits)):
        raise ConfigError(
            f"TensorFlow Serving has no counterpart of {', '.join(lacking)}. Omit these options.",
            code=Code.SERVING_CONFIG,
        )
    root = folder.resolve()
    bases = {model.name: model.base.resolve() for model in models}
    for name, base in bases.items():
        if not base.is_relative_to(root):
            raise ConfigError(
                f"The model {name!r} is at {str(base)!r}, outside {str(root)!r}, the only folder that the container "
                "sees. Copy the model into it.",
                code=Code.SERVING_CONFIG,
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
    if config.poll != ServerConfig().poll:
        words.append(f"--file_system_poll_wait_seconds={math.ceil(config.poll)}")
    if limits.seconds != RequestLimits().seconds:
        words.append(f"--rest_api_timeout_in_ms={math.ceil(1000 * limits.seconds)}")
    if config.tensor_content:
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
        raise ConfigError(
            f"{str(path)!r} was not written by --tf-serving. Move it, or serve another folder.", code=Code.OUTPUT_EXISTS
        ) from None
