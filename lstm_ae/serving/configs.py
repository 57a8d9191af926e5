"""TensorFlow Serving's `models.config`, read and written: which models, where, which versions, under which labels."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from lstm_ae.errors import ConfigError
from lstm_ae.files import write
from lstm_ae.serving.folders import Model, Policy
from lstm_ae.serving.refusals import invalid

# Where TensorFlow Serving's image looks by custom.
INSIDE = Path("/models")
# A file that begins so may be written anew; any other one is somebody's own.
MARK = "# Written by lstmae serve --tf-serving; without this line it is left alone.\n"


def read_models(path: Path) -> list[Model]:
    """The models of a `models.config`; paths in it that are not absolute start at its own folder."""
    content = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), content)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{str(path)!r} is not TensorFlow Serving's models.config ({first})") from error
    try:
        return [model._replace(base=path.parent / model.base) for model in models_of(content)]
    except Exception as error:
        raise ConfigError(f"{str(path)!r}: {error}") from error


def models_of(content: Any) -> list[Model]:
    """The models of a `ModelServerConfig` message; refuses what a server cannot follow."""
    if content.WhichOneof("config") != "model_config_list":
        raise invalid("The configuration must hold a model_config_list")
    models = []
    for one in content.model_config_list.config:
        if not one.name or not one.base_path:
            raise invalid("Every model of the configuration needs a name and a base_path")
        if one.model_platform not in ("", "tensorflow"):
            raise invalid(f"The platform of a model must be tensorflow. Received: {one.model_platform}")
        models.append(Model(one.name, Path(one.base_path), _policy(one), tuple(sorted(one.version_labels.items()))))
    if len({model.name for model in models}) < len(models):
        raise invalid("Two models of the configuration have the same name")
    return models


def _policy(one: Any) -> Policy:
    policy = one.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return Policy("all")
    if kind == "specific":
        return Policy("specific", versions=tuple(policy.specific.versions))
    return Policy("latest", newest=max(1, policy.latest.num_versions) if kind == "latest" else 1)


def tensorflow_serving(folder: Path, models: Sequence[Model], *, rest_port: int, grpc_port: int) -> tuple[Path, str]:
    """Write `models.config` for TensorFlow Serving into a folder of models.

    Returns:
        The file, and the command that serves the folder in TensorFlow Serving's image.

    Raises:
        ConfigError: there is a `models.config` of somebody's own, or a model lies outside the folder.
    """
    content = model_server_config_pb2.ModelServerConfig()
    root = folder.resolve()
    path = root / "models.config"
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise ConfigError(f"{str(path)!r} was not written by --tf-serving; move it away, or serve another folder")
    bases = {model.name: model.base.resolve() for model in models}
    for name, base in bases.items():
        if not base.is_relative_to(root):
            raise ConfigError(
                f"The model {name!r} lies at {str(base)!r}, outside {str(root)!r}, and the container sees that folder "
                "alone; copy the model into it"
            )
    one_model = root in bases.values()
    top = INSIDE / root.name if one_model else INSIDE
    for model in models:
        inside = top / bases[model.name].relative_to(root)
        one = content.model_config_list.config.add(name=model.name, base_path=str(inside), model_platform="tensorflow")
        if model.policy.kind == "all":
            one.model_version_policy.all.SetInParent()
        elif model.policy.kind == "specific":
            one.model_version_policy.specific.versions.extend(model.policy.versions)
        elif model.policy.newest > 1:
            one.model_version_policy.latest.num_versions = model.policy.newest
        one.version_labels.update(dict(model.labels))
    write(path, (MARK + text_format.MessageToString(content)).encode())
    mounted = f"{root}:{top}:ro"
    file = top / path.name
    words = [
        *("docker", "run", "--rm", "-p", f"{grpc_port}:8500", "-p", f"{rest_port}:8501", "-v", mounted),
        *("tensorflow/serving", f"--model_config_file={file}"),
    ]
    if any(model.labels for model in models):
        words.append("--allow_version_labels_for_unavailable_models=true")
    return path, shlex.join(words)
