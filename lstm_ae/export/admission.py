"""Admission: check a version before TensorFlow loads it, and let TensorFlow load only what was checked.

TensorFlow opens any file with the right name: it waits forever for a pipe and reads a device without end. A folder that
others can write to may also change between the check and the load.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lstm_ae.errors import Code, DataError
from lstm_ae.export import graph_check
from lstm_ae.export.graph_check import ForbiddenGraphError, parse_graph, read_graph_file
from lstm_ae.export.layout import GRAPH_FILE, WARMUP_FILE, WEIGHTS_FOLDER
from lstm_ae.files import require_regular, temporary_folder

# The limits, in bytes, are for a file of weights and for any other file.
MAX_WEIGHT_BYTES, MAX_FILE_BYTES = 2**34, 2**28


@contextmanager
def admit_version(version: Path, *, trust: bool = False, name: str = "") -> Iterator[Path]:
    """Check a version and yield a folder to load it from, which exists until the block ends.

    The folder contains the checked graph and links to the weights and the warm-up requests.

    Args:
        version: The folder that contains `saved_model.pb`.
        trust: Whether to check only the types and sizes of the files, and yield the version's own folder.
        name: The name of the version in errors (default: its path).

    Raises:
        ForbiddenGraphError: If the graph contains forbidden parts.
        DataError: If a file is missing, damaged, too large, or not a regular file.
        ConfigError: If there is no folder for temporary files.
    """
    if trust:
        _list_files(version)
        yield version
        return
    content, links = check_version(version, name)
    with temporary_folder("lstmae") as folder:
        (folder / GRAPH_FILE).write_bytes(content)
        for path in links:
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).symlink_to((version / path).absolute())
        yield folder


def check_version(version: Path, name: str = "") -> tuple[bytes, list[str]]:
    """Check a version and return its graph file and the paths of the other files to load.

    Returns:
        The content of `saved_model.pb`, and the paths of the weights and warm-up requests within the version.

    Raises:
        ForbiddenGraphError, DataError: See `admit_version`.
    """
    files, content = _list_files(version), read_graph_file(version)
    if forbidden := graph_check.find_forbidden(parse_graph(content, version)):
        raise ForbiddenGraphError(f"{name or repr(str(version))} contains forbidden parts: {', '.join(forbidden[:5])}")
    return content, files


def _list_files(version: Path) -> list[str]:
    """Return the paths of the weights and warm-up requests within a version.

    Raises:
        DataError: If an entry is neither a regular file nor a folder, or is too large.
    """
    files: list[str] = []
    try:
        for folder, folders, names in os.walk(version, onerror=_raise):
            relative = Path(folder).relative_to(version)
            in_weights = relative == Path(WEIGHTS_FOLDER)
            # A link to a folder may lead anywhere. It is refused as an entry that is not a regular file.
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for name in (*names, *links):
                require_regular(Path(folder, name), MAX_WEIGHT_BYTES if in_weights else MAX_FILE_BYTES)
                path = (relative / name).as_posix()
                if in_weights or path == WARMUP_FILE:
                    files.append(path)
    except OSError as error:
        raise DataError(
            f"{str(error.filename)!r} cannot be read: {error.strerror}", code=Code.MODEL_UNUSABLE
        ) from error
    return sorted(files)


def _raise(error: OSError) -> None:
    raise error
