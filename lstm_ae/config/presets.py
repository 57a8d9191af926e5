"""Named presets: the report's settings and the best known ones. Options override their values."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files

from lstm_ae.errors import ConfigError
from lstm_ae.json_types import JsonMapping, JsonObject

# By study and name: values that differ from the defaults.
PRESETS: Mapping[str, Mapping[str, JsonMapping]] = tomllib.loads(
    files("lstm_ae.config").joinpath("presets.toml").read_text("utf-8")
)


def load_preset(task: str, name: str) -> JsonObject:
    """Return the values of a study's preset.

    Raises:
        ConfigError: if the study has no preset of this name.
    """
    values = PRESETS[task].get(name)
    if values is None:
        raise ConfigError(f"--preset of {task} must be one of {', '.join(PRESETS[task])}. Received: {name!r}")
    return dict(values)
