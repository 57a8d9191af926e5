"""Which search a command goes on with, and how it is told to go on with it later."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lstm_ae.errors import ConfigError
from lstm_ae.options import flag

from .stops import Interrupted


def begun(study: str, verb: str, varied: str | None, out: Path | None) -> Any:
    """The search at `out`, or a command's latest one.

    Args:
        varied: the option that the command itself varies.

    Raises:
        ConfigError: there is none, or it is of another study, command or version.
    """
    from lstm_ae.search.folder import open_search

    folder = _latest(study, verb) if out is None else open_search(out, study)
    if folder.purpose().verb != verb:
        raise ConfigError(f"{str(folder.directory)!r} is of another command; go on with: {folder.resuming}")
    names = [axis.name for axis in folder.plan().axes]
    if varied is not None and varied not in names:
        raise ConfigError(
            f"{str(folder.directory)!r} was begun by another version, whose {verb} varied "
            f"{', '.join(map(flag, names))}; this one varies {flag(varied)}. Start a new one without --resume"
        )
    return folder


def _latest(study: str, verb: str) -> Any:
    from lstm_ae.search.folder import all_searches

    for folder in all_searches():
        if (folder.about()["task"], folder.purpose().verb) == (study, verb):
            return folder
    raise ConfigError(f"There is no search of {study} {verb} in 'runs'; give its directory with --out")


@contextmanager
def going_on(folder: Any) -> Iterator[None]:
    """Add the command that goes on to what ends a search before its time."""
    from lstm_ae.search.cluster import ClusterGone

    again = f"Go on with: {folder.resuming}"
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted; nothing is lost. {again}") from None
    except ClusterGone as error:
        raise ClusterGone(f"{error}; nothing is lost. {again}, with --engine ray or without") from error
