"""Find the files of a partitioned Parquet data set."""

import itertools
import os
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import quote

# Text of a missing value in the path of a partition.
MISSING_KEY = "__HIVE_DEFAULT_PARTITION__"


class DatasetFile(NamedTuple):
    """File of a data set.

    Args:
        path: its absolute path.
        name: its path within the data set, with slashes.
        keys: value of each partition key in its path, as in `machine=a/part.parquet`, by column.
    """

    path: str
    name: str
    keys: Mapping[str, str]


def find_files(data: str, results: Path | None = None) -> list[DatasetFile]:
    """Return the files of a data set in the order of their names.

    Args:
        data: a Parquet file, or a directory that contains Parquet files at any depth. Files and directories whose names
            begin with a dot or an underscore are ignored.
        results: a directory whose files are ignored because a command wrote them as its results.

    Raises:
        DataError: if the path does not exist or holds no Parquet file.
        OSError: if a directory cannot be read.
    """
    path = Path(data)
    if not path.exists():
        raise DataError(f"{quote(data)} does not exist. Check the path", code=Code.FILE_UNREADABLE)
    files = set(_files_below(path) if path.is_dir() else [path])
    root = _root(path)
    if results is not None:
        files = {file for file in files if not file.resolve().is_relative_to(results.resolve())}
    names = sorted(file.relative_to(root) for file in files)
    shown = [name for name in names if not any(part.startswith((".", "_")) for part in name.parts)]
    if not shown:
        raise DataError(
            f"{quote(data)} contains no file whose name ends in .parquet. Pass the directory of a data set",
            code=Code.FILE_UNREADABLE,
        )
    return [DatasetFile(str((root / name).absolute()), name.as_posix(), _keys(name)) for name in shown]


def _files_below(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    # `Path.rglob` skips directories that cannot be read, and yields those named like a file, which Spark writes.
    for directory, _, names in os.walk(folder, onerror=fail):
        yield from (Path(directory, name) for name in names if name.endswith(".parquet"))


def _root(path: Path) -> Path:
    """Return the directory above the partitions that a path selects.

    >>> _root(Path("data/machine=a/b.parquet")), _root(Path("data/a.parquet"))
    (PosixPath('data'), PosixPath('data'))
    """
    folder = path if path.is_dir() else path.parent
    return Path(*itertools.takewhile(lambda part: "=" not in part, folder.parts))


def _keys(name: Path) -> dict[str, str]:
    """Return the values of the partition keys that a path holds, by column.

    >>> _keys(Path("machine=a%20b/day=3/part.parquet"))
    {'machine': 'a b', 'day': '3'}
    """
    pairs = [part.split("=", 1) for part in name.parts[:-1] if "=" in part]
    return {column: "" if text == MISSING_KEY else urllib.parse.unquote(text) for column, text in pairs}
