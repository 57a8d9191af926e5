"""Read TensorFlow Serving's `models.config`: models, their folders, version policies, and labels."""

from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from lstm_ae.errors import ConfigError
from lstm_ae.serving.errors import invalid_argument
from lstm_ae.serving.folders import ServedModel, VersionPolicy


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
        raise ConfigError(f"{str(path)!r} is not TensorFlow Serving's models.config ({first})") from error
    try:
        return parse_models(content, root=path.parent)
    except Exception as error:
        raise ConfigError(f"{str(path)!r}: {error}") from error


def parse_models(content: Any, *, root: Path | None = None) -> list[ServedModel]:
    """Return the models of a `ModelServerConfig` message.

    Args:
        content: The message.
        root: The folder that relative paths start at; None refuses them.

    Raises:
        Refusal: If the configuration is invalid or a server cannot follow it.
    """
    if content.WhichOneof("config") != "model_config_list":
        raise invalid_argument("The configuration must hold a model_config_list")
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


def _parse_policy(one: Any) -> VersionPolicy:
    policy = one.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return VersionPolicy("all")
    if kind == "specific":
        return VersionPolicy("specific", versions=tuple(policy.specific.versions))
    return VersionPolicy("latest", newest=max(1, policy.latest.num_versions) if kind == "latest" else 1)
