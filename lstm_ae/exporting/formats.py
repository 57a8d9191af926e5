"""The model in other formats, each run in its own runtime and compared: ONNX and LiteRT.

Both files hold what `serving_default` is: the model's own inputs and outputs. They lie in `assets.extra`, which
TensorFlow Serving leaves alone, so that they are renamed with their version and stand in its manifest.
"""

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lstm_ae.errors import ConfigError


def require_installed(formats: Sequence[str]) -> None:
    pass


def convert(model: Any, function: Any, cases: Any, version: Path, formats: Sequence[str]) -> dict[str, float]:
    return {}
