"""The directory of a command that may be killed at any time and resumed.

Runs, searches, fleets, backtests, tours, and the scores of data sets are directories of this form:

- a JSON file that says what determines the results, written first. A directory without it is never written to, unless
  it is empty;
- parts, which appear whole or not at all (see `lstm_ae.files.write`), so that a command that resumes only adds those
  that are missing;
- `.lock`, which is locked while a process writes to the directory.

Each kind is a subclass that names the file:

    class BacktestDirectory(Workdir):
        ABOUT = "backtest.json"

    folder = BacktestDirectory(out)
    with folder.claim({"folds": 3}):
        if (fold := folder.read_part("fold-1.json", Fold._fields)) is None:
            folder.write_part("fold-1.json", fold)
"""

import dataclasses
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Self

from lstm_ae.arrays import Array
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.files import as_json, read_object, write
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.table_files import write_table

# Folder of directories that get no name from the user.
RUNS = Path("runs")

# Files that a process killed at its start leaves.
LEFTOVERS = (".lock", ".*.part")


@dataclasses.dataclass(frozen=True)
class Workdir:
    """Directory of a command.

    Args:
        directory: its path.

    Attributes:
        ABOUT: name of the file that says what determines the results.
    """

    ABOUT: ClassVar[str]

    directory: Path

    @classmethod
    def unused(cls, name: str) -> Self:
        """Return a new directory in `RUNS` whose name begins with `name`, which is not created."""
        return cls(RUNS / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}")

    @classmethod
    def list_all(cls, root: Path | None = None) -> list[Self]:
        """Return the readable directories of this kind in a folder, newest first; None for `RUNS`.

        Hidden directories are left out: they are what a killed process has left.
        """
        dated = []
        for path in (root or RUNS).glob(f"[!.]*/{cls.ABOUT}"):
            with suppress(DataError, ConfigError, KeyError):
                dated.append((str(cls(path.parent).about()["created"]), path.parent))
        return [cls(directory) for _, directory in sorted(dated, reverse=True)]

    @property
    def about_file(self) -> Path:
        """The file that says what determines the results."""
        return self.directory / self.ABOUT

    @property
    def lock(self) -> Path:
        """The file that a writing process locks."""
        return self.directory / ".lock"

    @property
    def begun(self) -> bool:
        """Whether the directory belongs to a command of this kind; one killed at its start may have left it empty."""
        return self.about_file.is_file()

    def about(self) -> JsonObject:
        """Read what determines the results.

        Raises:
            DataError: the file is missing or damaged.
        """
        return read_object(self.about_file)

    def require_free(self) -> None:
        """Raise `ConfigError` unless the directory is empty, or can be created."""
        directory = self.directory
        if directory.is_dir() and all(any(map(path.match, LEFTOVERS)) for path in directory.iterdir()):
            return
        if directory.exists() or directory.is_symlink():
            problem = "is not empty" if directory.is_dir() else "is not a directory"
            remedy = ", or resume with --resume" if self.begun else ""
            raise ConfigError(
                f"--out {str(directory)!r} {problem}. Pass a new directory{remedy}",
                code=Code.OUTPUT_EXISTS,
            )
        parent = next(path for path in directory.absolute().parents if path.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            problem = "cannot be written" if parent.is_dir() else "is not a directory"
            raise ConfigError(
                f"--out {str(directory)!r} cannot be created, since {str(parent)!r} {problem}. Pass another one",
                code=Code.OUTPUT_EXISTS,
            )

    def require_same(self, about: JsonMapping) -> None:
        """Raise `ConfigError` unless the directory is free, or its results are determined by the same JSON values."""
        if not self.begun:
            self.require_free()
        elif self.about() != json.loads(json.dumps(about)):
            raise ConfigError(
                f"--out {str(self.directory)!r} was started with other options or data. Pass another directory",
                code=Code.OUTPUT_EXISTS,
            )

    def create(self, about: JsonMapping) -> Self:
        """Create the directory, which must be new or empty, and return it.

        Args:
            about: what determines the results, JSON values.

        Raises:
            ConfigError: the directory is not empty or cannot be created, or another process has just created it.
        """
        self.require_free()
        new = not self.directory.exists()
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            write(self.about_file, as_json(about), new=True)
        except FileExistsError:
            self.require_free()
            raise
        except OSError:
            self._remove(new)
            raise
        return self

    @contextmanager
    def claim(self, about: JsonMapping) -> Iterator[None]:
        """Lock the directory, and create it or check that it belongs to the same command.

        After an error in the options or the data, a directory without results is released, so that the corrected
        command, which has other options, can use it. After any other error, such as a lost cluster, the same command
        resumes.

        Args:
            about: what determines the results, JSON values.

        Raises:
            ConfigError: another process writes to it, it belongs to another command, or is not empty.
        """
        self.require_same(about)
        new = not self.directory.exists()
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.hold():
            self.require_same(about)
            if not self.begun:
                self.create(about)
            try:
                yield
            except (ConfigError, DataError):
                if all(any(map(path.match, (self.ABOUT, *LEFTOVERS))) for path in self.directory.iterdir()):
                    self.about_file.unlink(missing_ok=True)
                    self._remove(new)
                raise

    def _remove(self, new: bool) -> None:
        """Remove the directory if it was created and contains nothing but its lock."""
        if new:
            with suppress(OSError):  # Something else was written to it.
                self.lock.unlink(missing_ok=True)
                self.directory.rmdir()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Lock the directory, so that no other process writes to it; the system releases the lock of a killed process.

        Raises:
            ConfigError: another process writes to it.
        """
        import filelock  # the image of the server has no filelock

        try:
            lock = filelock.FileLock(self.lock, timeout=0).acquire()
        except filelock.Timeout:
            raise ConfigError(
                f"Another process is writing to {str(self.directory)!r}. Wait for it or pass another --out",
                code=Code.IN_USE,
            ) from None
        with lock:
            # A killed process leaves the file that it was writing.
            for path in self.directory.rglob(".*.part"):
                path.unlink(missing_ok=True)
            yield

    def read_part(self, name: str, keys: Iterable[str]) -> JsonObject | None:
        """Read a part of the results.

        Args:
            name: name of a JSON file.
            keys: all keys of the part.

        Returns:
            The content; None if the part is missing.

        Raises:
            DataError: the file is damaged or has other keys.
        """
        path = self.directory / name
        if not path.exists():
            return None
        content: JsonObject = {}
        with suppress(DataError):
            content = read_object(path)
        if set(content) != set(keys):
            raise DataError(
                f"{str(path)!r} is damaged or of another version. Delete it and run the same command to recreate it",
                code=Code.RUN_DAMAGED,
            )
        return content

    def write_part(self, name: str, content: JsonMapping) -> None:
        """Write a part of the results, JSON values."""
        write(self.directory / name, as_json(content))

    def write_figure(self, name: str, png: bytes) -> Path:
        """Write a figure and return its path."""
        return write(self.directory / "figures" / f"{name}.png", png)

    def write_table(self, name: str, columns: Mapping[str, Sequence[object] | Array]) -> Path:
        """Write columns of equal length as a CSV file and return its path."""
        return write_table(self.directory / f"{name}.csv", columns)
