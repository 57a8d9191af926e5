"""How to install the packages of an extra, given where this package was installed from."""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lstm_ae.errors import Code, ConfigError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

NAME = "lstm-ae"
SOURCE = Path(__file__).parents[1]


def install_hint(extra: str) -> str:
    """Return the command that installs what an extra needs.

    No index has this package, so `pip install 'lstm-ae[serve]'` would fail, or install a package of somebody else.
    Installers record where they took a package from (PEP 610). Where they have not, as for a wheel that was found in a
    folder, the command lists the extra's own requirements.

    Args:
        extra: such as "serve".

    Returns:
        Such as `pip install '/home/me/lstm-ae[serve]'`.
    """
    # Modules that a command does without as long as nothing is missing.
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found: Distribution | None = distribution(NAME)
    except PackageNotFoundError:
        found = None
    words = (found and _from_origin(found, extra)) or _from_source(extra) or (found and _requirements(found, extra))
    return f"pip install {shlex.join(words)}" if words else f"install the requirements of the extra [{extra}] of {NAME}"


@contextmanager
def require_extra(user: str, extra: str, package: str | None = None) -> Iterator[None]:
    """Name the command that installs an extra if the block imports a module that is missing.

    Args:
        user: what needs the module.
        extra: the extra that contains it.
        package: the package that contains it (default: name of the module).

    Raises:
        ConfigError: a module is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{user} needs {package or error.name}: {install_hint(extra)}", code=Code.MISSING_PACKAGE
        ) from None


def _from_origin(found: "Distribution", extra: str) -> list[str]:
    """Return pip's arguments for the place that the installer recorded; none if there is none, or it is gone."""
    from urllib.request import url2pathname

    try:
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        url, subdirectory = origin.get("url", ""), origin.get("subdirectory", "")
        folder, repository = origin.get("dir_info"), origin.get("vcs_info")
    except (ValueError, AttributeError):
        return []
    if not url:
        return []
    if url.startswith("file:") and not repository:
        path = Path(url2pathname(urlsplit(url).path), subdirectory)
        place = [f"{path}[{extra}]"]
        return [] if not path.exists() else ["-e", *place] if folder and folder.get("editable") else place
    if repository:
        url = f"{repository['vcs']}+{url}@{repository.get('requested_revision') or repository['commit_id']}"
    return [f"{NAME}[{extra}] @ {url}" + (f"#subdirectory={subdirectory}" if subdirectory else "")]


def _from_source(extra: str) -> list[str]:
    """Return pip's arguments for the checkout that this module lies in; none if it lies in no checkout."""
    return ["-e", f"{SOURCE}[{extra}]"] if (SOURCE / "pyproject.toml").is_file() else []


def _requirements(found: "Distribution", extra: str) -> list[str]:
    """Return the requirements that the package's metadata lists for an extra."""
    listed = [requirement.partition(";") for requirement in found.requires or ()]
    return [name.strip() for name, _, marker in listed if re.search(rf"""\bextra\s*==\s*['"]{extra}['"]""", marker)]
