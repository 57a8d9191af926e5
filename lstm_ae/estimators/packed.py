"""Finished run in memory, which can be copied and pickled without a directory."""

import contextlib
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lstm_ae.apply.run_table import LoadedRun
from lstm_ae.config import Series
from lstm_ae.errors import DataError
from lstm_ae.run import Run, open_run, require_free

_Loaded = TypeVar("_Loaded", bound=LoadedRun)


class RunFiles:
    """Files of a finished run of a table. Its objects are loaded on first use.

    Args:
        files: contents of the files by path within the run, without exported models.
        name: path of the run, for error messages.
    """

    def __init__(self, files: Mapping[str, bytes], name: str) -> None:
        self.files = dict(files)
        self.name = name
        self._loaded: dict[Callable[[Run], Any], Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "name": self.name, "_loaded": {}}

    def unpack(self, directory: Path) -> Run:
        """Write the run atomically to a new or empty directory and return it."""
        require_free(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            for name, content in self.files.items():
                path = temporary / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            temporary.chmod(0o755)
            if directory.is_dir():
                directory.rmdir()
            temporary.rename(directory)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return Run(directory)

    @contextlib.contextmanager
    def open(self) -> Iterator[Run]:
        """Return a context with the run in a temporary directory; error messages name the original path."""
        with tempfile.TemporaryDirectory() as folder:
            run = self.unpack(Path(folder) / "run")
            try:
                yield run
            except DataError as error:
                raise DataError(str(error).replace(str(run.directory), self.name)) from error

    @functools.cached_property
    def config(self) -> Series:
        """The complete config of the run."""
        with self.open() as run:
            config = run.config()
        assert isinstance(config, Series)
        return config

    @functools.cached_property
    def freq_inferred(self) -> bool:
        """Whether the sampling interval was inferred from the rows."""
        with self.open() as run:
            notes = run.about()["data"]["notes"]
        return self.config.time_col is None or any(note.startswith("freq: ") for note in notes)

    @functools.cached_property
    def metrics(self) -> dict[str, Any]:
        """The content of `metrics.json`."""
        with self.open() as run:
            return run.metrics()

    @functools.cached_property
    def symbols(self) -> tuple[str, ...]:
        """The names of the series with their own scale; empty if all have the same scale."""
        with self.open() as run:
            return run.symbols

    def load(self, loader: Callable[[Run], _Loaded]) -> _Loaded:
        """Return the run as a function such as `load_detector` loads it; later calls return the same object.

        Raises:
            ConfigError, DataError: the run is damaged or of another task.
        """
        if loader not in self._loaded:
            with self.open() as run:
                self._loaded[loader] = loader(run)
        loaded: _Loaded = self._loaded[loader]
        return loaded


def read_run_files(path: str | Path) -> RunFiles:
    """Read a finished run of a table into memory.

    Args:
        path: directory of the run.

    Raises:
        ConfigError: the run is of another study.
        DataError: the run is unfinished or cannot be read.
    """
    run = open_run(path, "series")
    run.metrics()
    try:
        files = {str(file.relative_to(run.directory)): file.read_bytes() for file in _list_files(run)}
    except OSError as error:
        raise DataError(f"The run {str(path)!r} cannot be read: {error}. Restore it or train a new one.") from error
    return RunFiles(files, str(path))


def _list_files(run: Run) -> Iterator[Path]:
    """Yield the files of a run without exported versions (numbered directories), logs, and temporary files."""
    for path in sorted(run.directory.rglob("*")):
        parts = path.relative_to(run.directory).parts
        exported, hidden = parts[0].isdecimal(), any(part.startswith(".") for part in parts)
        if path.is_file() and not (exported or hidden or run.tensorboard in path.parents):
            yield path
