"""Apply the run of a fixture many times without loading and tracing its model each time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lstm_ae.run import Run


@contextlib.contextmanager
def loaded_once(module: ModuleType, name: str, directory: Path) -> Iterator[None]:
    """Let a function of a module return the first model that it loads from a run, which must not change.

    Args:
        module: Module of the function, such as `lstm_ae.apply.detect`.
        name: Name of the function, such as `load_detector`.
        directory: Absolute path of the run. Other runs are loaded every time.
    """
    load = getattr(module, name)
    loaded: dict[str, Any] = {}

    def load_once(run: Any, reading: Any = None, **options: Any) -> Any:
        if not isinstance(run, Run) or run.directory.absolute() != directory:
            return load(run, reading, **options)
        key = repr((sorted((reading or {}).items()), options))
        if key not in loaded:
            loaded[key] = load(run, reading, **options)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, load_once)
        yield
