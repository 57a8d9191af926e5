"""Test installation hints: commands that work for the origin of the package, which is on no index."""

import json
import shlex
from importlib.metadata import PackageNotFoundError, PathDistribution
from pathlib import Path
from typing import Any

import pytest

from lstm_ae import installation
from lstm_ae.errors import ConfigError
from lstm_ae.installation import install_hint, require_extra

METADATA = """Metadata-Version: 2.4
Name: lstm-ae
Version: 0.1.0
Requires-Dist: numpy>=1.26
Requires-Dist: granian>=2.5; extra == "serve"
Requires-Dist: orjson>=3.10 ; extra == 'serve'
Requires-Dist: server>=1; extra == "serves"
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the metadata folder of an installed wheel outside a checkout."""
    folder = tmp_path / "lstm_ae-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA)
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: PathDistribution(folder))
    monkeypatch.setattr(installation, "SOURCE", tmp_path / "site-packages")
    return folder


def record(installed: Path, **origin: Any) -> None:
    (installed / "direct_url.json").write_text(json.dumps(origin))


def test_install_hint_for_a_source_folder(installed: Path, tmp_path: Path) -> None:
    source = tmp_path / "my source"
    source.mkdir()
    record(installed, url=source.as_uri(), dir_info={})
    assert shlex.split(install_hint("serve")) == ["pip", "install", f"{source}[serve]"]
    record(installed, url=source.as_uri(), dir_info={"editable": True})
    assert shlex.split(install_hint("serve")) == ["pip", "install", "-e", f"{source}[serve]"]


def test_install_hint_for_a_wheel_file(installed: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "lstm_ae-0.1.0-py3-none-any.whl"
    wheel.touch()
    record(installed, url=wheel.as_uri(), archive_info={})
    assert shlex.split(install_hint("onnx")) == ["pip", "install", f"{wheel}[onnx]"]


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        ({"url": "https://x.org/l.whl", "archive_info": {}}, "lstm-ae[serve] @ https://x.org/l.whl"),
        (
            {"url": "https://x.org/l.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "lstm-ae[serve] @ git+https://x.org/l.git@abc",
        ),
        (
            {
                "url": "file:///srv/l.git",
                "vcs_info": {"vcs": "git", "commit_id": "abc", "requested_revision": "main"},
                "subdirectory": "python",
            },
            "lstm-ae[serve] @ git+file:///srv/l.git@main#subdirectory=python",
        ),
    ],
)
def test_install_hint_for_a_url_or_repository(installed: Path, origin: dict[str, Any], requirement: str) -> None:
    record(installed, **origin)
    assert shlex.split(install_hint("serve")) == ["pip", "install", requirement]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"url": "file:///no/such/folder", "dir_info": {}}'])
def test_install_hint_for_an_unknown_origin_lists_the_requirements(installed: Path, content: str) -> None:
    """The origin is unknown, for example, if pip found the wheel with --find-links."""
    (installed / "direct_url.json").write_text(content)
    assert shlex.split(install_hint("serve")) == ["pip", "install", "granian>=2.5", "orjson>=3.10"]


def test_install_hint_for_a_checkout_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", missing)
    source = Path(__file__).parents[1]
    assert shlex.split(install_hint("ray")) == ["pip", "install", "-e", f"{source}[ray]"]
    monkeypatch.setattr(installation, "SOURCE", tmp_path)
    assert "[ray]" in install_hint("ray")
    assert "pip" not in install_hint("ray")


def test_only_the_installation_module_writes_install_hints() -> None:
    """No other module suggests installing the package from an index."""
    root = Path(__file__).parents[1]
    files = [path for folder in ("lstm_ae", "cli") for path in (root / folder).rglob("*.py")]
    hints = [path.name for path in files if "pip install 'lstm-ae[" in path.read_text(encoding="utf-8")]
    assert hints == ["installation.py"]


def test_missing_module_is_reported_with_its_installation() -> None:
    for package, shown in ((None, "no_such_module"), ("no-such-package", "no-such-package")):
        with (
            pytest.raises(ConfigError, match=rf"^kind = 'a' needs {shown}: pip install "),
            require_extra("kind = 'a'", "serve", package),
        ):
            import no_such_module  # noqa: F401
