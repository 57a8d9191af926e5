"""Admission: a version is looked at before TensorFlow is, and TensorFlow loads nothing but what was looked at.

TensorFlow opens what has the right name: a pipe that nobody writes into holds it for ever, and a device never ends.
And a folder that others may write into can change between the look and the loading.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lstm_ae.errors import DataError
from lstm_ae.exporting import judgment, warmup
from lstm_ae.exporting.graph import FILE, parse_graph, read_graph_file
from lstm_ae.files import require_regular
from lstm_ae.temporary import temporary_folder

# Bytes of all weights, and of any other file that is read.
LARGEST_WEIGHTS, LARGEST = 2**34, 2**28
MOST_FILES, DEEPEST = 10_000, 4


class Forbidden(DataError):
    """A SavedModel that holds what no served model may hold."""


@contextmanager
def admitted(version: Path, *, trust: bool = False, name: str = "") -> Iterator[Path]:
    """Give a folder to load a version from, which holds what was looked at and no more, until the block ends.

    It holds the graph as it was judged, the weights, and the warm-up requests where there are any.

    Args:
        version: the folder that holds `saved_model.pb`.
        trust: look at the files' kinds and sizes alone, and give the version's own folder.
        name: what errors call the version; its path where it is left out.

    Raises:
        Forbidden: its graph holds what no served model may hold.
        DataError: a file is missing, damaged, too large, or not a regular file.
    """
    if trust:
        _files(version)
        yield version
        return
    content, links = judged(version, name), _files(version)
    with temporary_folder("lstmae") as folder:
        (folder / FILE).write_bytes(content)
        for path in links:
            _link(version / path, folder / path)
        yield folder


def judged(version: Path, name: str = "") -> bytes:
    """Return the content of a version's `saved_model.pb` once it has been judged; raises as `admitted` does."""
    _files(version)
    content = read_graph_file(version)
    if found := judgment.forbidden_in(parse_graph(content, version)):
        raise Forbidden(f"{name or repr(str(version))} holds what no served model may hold: {', '.join(found[:5])}")
    return content


def _files(version: Path) -> list[str]:
    """The paths within a version of its weights and warm-up requests.

    Raises `DataError` where anything in the folder is neither a regular file nor a folder, or is too large.
    """
    found, weights, count = [], 0, 0
    waiting = [("", 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            names = sorted(os.listdir(version / folder))
        except OSError as error:
            raise DataError(f"{str(version / folder)!r} cannot be read: {error.strerror}") from error
        count += len(names)
        if count > MOST_FILES or depth > DEEPEST:
            raise DataError(f"{str(version)!r} holds more files or folders than a model has; give its own folder")
        for name in names:
            path = f"{folder}{name}"
            if (version / path).is_dir():
                waiting.append((f"{path}/", depth + 1))
                continue
            try:
                size = require_regular(version / path, LARGEST_WEIGHTS if folder == "variables/" else LARGEST)
            except OSError as error:
                raise DataError(f"{str(version / path)!r} cannot be read: {error.strerror}") from error
            weights += size if folder == "variables/" else 0
            if folder == "variables/" or path == warmup.FILE:
                found.append(path)
    if weights > LARGEST_WEIGHTS:
        raise DataError(f"{str(version)!r} holds weights of more than {LARGEST_WEIGHTS:,} bytes; give a smaller model")
    return found


def _link(path: Path, link: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    try:
        link.symlink_to(path.absolute())
    except OSError:  # Windows, where not everybody may
        shutil.copyfile(path, link)
