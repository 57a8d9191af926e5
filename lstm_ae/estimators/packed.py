"""A finished run held in memory: what an estimator keeps, copies and pickles, without a directory of its own."""

import contextlib
import functools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lstm_ae.apply.classify import Classifier, load_classifier
from lstm_ae.apply.detect import RunDetector, load_detector
from lstm_ae.apply.forecast import Forecaster, load_forecaster
from lstm_ae.config import Series
from lstm_ae.data.series_scales import SeriesScales
from lstm_ae.errors import DataError
from lstm_ae.models.sliding import SlidingAutoencoder, slide
from lstm_ae.run import Run, open_run, require_free


class RunFiles:
    """The files of a finished run of a table, and what is made of them on first use.

    Args:
        files: contents by path within the run; exported models are left out.
        name: where they are from, for errors.
    """

    def __init__(self, files: Mapping[str, bytes], name: str) -> None:
        self.files = dict(files)
        self.name = name

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "name": self.name}

    def unpack(self, directory: Path) -> Run:
        """Write the run into a new or empty directory, as a whole or not at all."""
        require_free(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            for name, content in self.files.items():
                path = beside / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            beside.chmod(0o755)
            if directory.is_dir():
                directory.rmdir()
            beside.rename(directory)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        return Run(directory)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Run]:
        """The run in a directory for the time being; what is wrong with it is told of where it is from."""
        with tempfile.TemporaryDirectory() as place:
            run = self.unpack(Path(place) / "run")
            try:
                yield run
            except DataError as error:
                raise DataError(str(error).replace(str(run.directory), self.name)) from error

    @functools.cached_property
    def config(self) -> Series:
        """What was asked to be trained, with nothing left open."""
        with self.opened() as run:
            config = run.config()
        assert isinstance(config, Series)
        return config

    @functools.cached_property
    def freq_found(self) -> bool:
        """Whether the step from row to row was found in the rows, and not asked for."""
        with self.opened() as run:
            notes = run.about()["data"]["notes"]
        return self.config.time_col is None or any(note.startswith("freq: ") for note in notes)

    @functools.cached_property
    def metrics(self) -> dict[str, Any]:
        """What came out."""
        with self.opened() as run:
            return run.metrics()

    @functools.cached_property
    def halves(self) -> SlidingAutoencoder:
        """The model, taken apart."""
        with self.opened() as run:
            return slide(run.model(), self.config.scale)

    @functools.cached_property
    def symbols(self) -> tuple[str, ...]:
        """The names of the series that have a scale of their own; empty where one is for all."""
        with self.opened() as run:
            return run.symbols

    @functools.cached_property
    def levels(self) -> SeriesScales:
        """The scale of each series."""
        from lstm_ae.models.scaling import series_scales_of

        with self.opened() as run:
            return series_scales_of(run.model(), run.symbols)

    @functools.cached_property
    def classifier(self) -> Classifier:
        """What it tells classes apart by; raises `DataError` where it was not trained to."""
        with self.opened() as run:
            return load_classifier(run)

    @functools.cached_property
    def detector(self) -> RunDetector:
        """What it finds anomalies by; raises `DataError` where it was not trained to."""
        with self.opened() as run:
            return load_detector(run)

    @functools.cached_property
    def forecaster(self) -> Forecaster:
        """What it forecasts by; raises `DataError` where it was not trained to."""
        with self.opened() as run:
            return load_forecaster(run)


def read_run_files(where: str | Path) -> RunFiles:
    """Read a finished run of a table into memory.

    Raises:
        ConfigError, DataError: it is unfinished, of another study, or cannot be read.
    """
    run = open_run(where, "series")
    run.metrics()
    try:
        files = {str(path.relative_to(run.directory)): path.read_bytes() for path in _files(run)}
    except OSError as error:
        raise DataError(f"The run {str(where)!r} cannot be read: {error}. Restore it, or train a new one") from error
    return RunFiles(files, str(where))


def _files(run: Run) -> Iterator[Path]:
    """What makes the run: no exports, which are folders with numbers for names, no logs, no half-written files."""
    for path in sorted(run.directory.rglob("*")):
        parts = path.relative_to(run.directory).parts
        apart = parts[0].isdecimal() or run.tensorboard in path.parents or any(part.startswith(".") for part in parts)
        if path.is_file() and not apart:
            yield path
