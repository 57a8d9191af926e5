"""Checks of a version's files before TensorFlow opens them."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from graphs import edit_graph, function, save_evil

from lstm_ae.errors import ConfigError, DataError
from lstm_ae.export import admission
from lstm_ae.export.admission import admit_version
from lstm_ae.export.graph_check import ForbiddenGraphError
from lstm_ae.export.layout import WARMUP_FILE
from lstm_ae.serving.loading import make_loader

DATA = "variables/variables.data-00000-of-00001"
FILES = (
    *("assets.extra/manifest.json", "variables/variables.index", DATA, "fingerprint.pb", WARMUP_FILE),
    *("debug/saved_model_debug_info.pb", "debug/anything", "anything"),
)


@pytest.fixture
def version(plain: Path, empty_directory: Path) -> Path:
    """Return a copy of the model that a test may damage."""
    return Path(shutil.copytree(plain, "model/1"))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("spoil", [pipe, device, dangling], ids=["pipe", "device", "dangling"])
def test_entries_that_are_not_regular_files_are_refused(
    version: Path, name: str, spoil: Callable[[Path], None], trust: bool
) -> None:
    path = version / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    spoil(path)
    text = "cannot be read" if spoil is dangling else "not a regular file"
    with pytest.raises(DataError, match=f"'model/1/{name}' .*{text}"), admit_version(version, trust=trust):
        pass


@pytest.mark.parametrize("name", [DATA, "variables/more", "debug/saved_model_debug_info.pb", "saved_model.pb"])
def test_large_files_are_refused(version: Path, name: str) -> None:
    (version / name).parent.mkdir(exist_ok=True)
    most = admission.MAX_WEIGHT_BYTES if name.startswith("variables/") else admission.MAX_FILE_BYTES
    (version / name).touch()
    os.truncate(version / name, most + 1)  # a sparse file
    with pytest.raises(DataError, match=f"'model/1/{name}' is larger than {most:,} bytes"), admit_version(version):
        pass


def test_links_to_folders_are_refused(version: Path) -> None:
    (version / "assets.extra").mkdir()
    (version / "assets.extra/again").symlink_to(version.absolute())
    with pytest.raises(DataError, match=r"'model/1/assets\.extra/again' is a directory"), admit_version(version):
        pass


def test_changes_after_the_check_are_not_loaded(version: Path) -> None:
    with admit_version(version) as folder:
        shutil.rmtree(version / "assets", ignore_errors=True)
        pipe(version / "fingerprint.pb.new")
        (version / "fingerprint.pb.new").replace(version / "fingerprint.pb")
        save_evil(Path("evil"), 2)
        shutil.copy("evil/saved_model.pb", version)
        answer = tf.saved_model.load(str(folder)).signatures["serving_default"](x=tf.ones((1, 2)))
        assert answer["y"].numpy().ravel().tolist() == pytest.approx([2 / 3, 2 / 3])
    assert not folder.exists()
    assert not Path("written").exists()
    (version / "fingerprint.pb").unlink()
    with (
        pytest.raises(ForbiddenGraphError, match="'model/1' contains forbidden parts: WriteFile"),
        admit_version(version),
    ):
        pass
    with admit_version(version, trust=True) as folder:
        assert folder == version


def test_admission_without_a_temporary_folder_raises_config_error(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with a read-only file system has no such folder."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    with pytest.raises(ConfigError, match="TMPDIR"), admit_version(plain):
        pass
    assert make_loader(trust=True)("model", 1, plain).signature("serving_default")


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("dtype", "TypeError: "),
        ("input", "nothing"),
    ],
)
def test_damaged_graph_raises_data_error_of_one_line(plain: Path, part: str, found: str, empty_directory: Path) -> None:

    def edit(meta: Any) -> None:
        if part == "dtype":
            meta.signature_def["serving_default"].inputs["x"].dtype = 10**6
        else:
            function(meta, "__inference_serve").node_def[0].input[0] = "nothing"

    bad = edit_graph(plain, Path("1"), edit)
    with pytest.raises(DataError, match=r"^'1' cannot be loaded \(") as raised:
        make_loader(trust=False)("plain", 1, bad)
    assert found in str(raised.value)
    assert "\n" not in str(raised.value)


def test_damaged_warmup_file_raises_data_error(plain: Path, empty_directory: Path) -> None:
    bad = Path(shutil.copytree(plain, "1"))
    (bad / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(bad / WARMUP_FILE)) as file:
        file.write(b"\xff")
    with pytest.raises(DataError, match=f"{WARMUP_FILE} is damaged"):
        make_loader(trust=False)("plain", 1, bad)


def test_version_that_differs_from_its_manifest_is_not_loaded(empty_directory: Path) -> None:
    """A graph with a flipped byte may still be a valid graph."""
    version = Path(shutil.copytree(Path(__file__).parents[2] / "saved_models/toy/1", "toy/1"))
    flip(version / "saved_model.pb", 9000)
    with pytest.raises(DataError, match=r"saved_model\.pb has changed since the export"):
        make_loader(trust=False)("toy", 1, version)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
