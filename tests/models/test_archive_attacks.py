"""Damaged or malicious files are refused with a message that names the file and the cause.

The files of searches are tested in `tests/search`, the state of a training in `tests/training`, `config.json` in
`tests/test_run.py`, and the operations of a graph in `tests/export/test_operations.py`.
"""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
import pytest
from searches import call

ROOT = Path(__file__).parents[2] / "saved_models"


@pytest.fixture
def r(empty_directory: Path) -> Path:
    """Return a copy of the shipped toy run without its exported version."""
    return Path(shutil.copytree(ROOT / "toy", "r", ignore=shutil.ignore_patterns("1")))


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def pack(path: Path, content: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", how) as file:
        for name, value in content.items():
            file.writestr(name, value)


Spoil = Callable[[Path], None]


def raw(change: Callable[[bytes], bytes]) -> Spoil:
    return lambda path: path.write_bytes(change(path.read_bytes())) and None


def parts(change: Callable[[dict[str, bytes]], Any], how: int = zipfile.ZIP_STORED) -> Spoil:
    def spoil(path: Path) -> None:
        content = members(path)
        change(content)
        pack(path, content, how)

    return spoil


def put(name: str, value: bytes) -> Spoil:
    return parts(lambda content: content.update({name: value}))


def configured(change: Callable[[list[Any]], Any]) -> Spoil:
    """Change the layers of the network."""

    def spoil(content: dict[str, bytes]) -> None:
        config = json.loads(content["config.json"])
        (network,) = (layer for layer in config["config"]["layers"] if layer["name"] == "network")
        change(network["config"]["layers"])
        content["config.json"] = json.dumps(config).encode()

    return parts(spoil)


def layer(kind: str, **changes: Any) -> Spoil:
    """Change the first layer of a kind."""

    def change(layers: list[Any]) -> None:
        found = next(each for each in layers if each["class_name"] == kind)
        found["config"] |= changes.pop("config", {})
        found |= changes

    return configured(change)


def repeated(n: int) -> Spoil:
    """Repeat the last state of the encoder, as the network of a single vector does."""

    def change(layers: list[Any]) -> None:
        by_name = {each["name"]: each for each in layers}
        by_name["encoder_1"]["config"]["return_sequences"] = False
        config = {"name": "code", "n": n}
        by_name["code"] |= {"class_name": "RepeatVector", "registered_name": None, "config": config}

    return configured(change)


def weights(change: Callable[[Any], Any]) -> Spoil:
    """Change the file of weights."""

    def spoil(content: dict[str, bytes]) -> None:
        memory = io.BytesIO(content["model.weights.h5"])
        with h5py.File(memory, "r+") as file:
            change(file)
        content["model.weights.h5"] = memory.getvalue()

    return parts(spoil)


BIAS = "layers/functional_1/layers/dense/vars/1"


def replaced(make: Callable[[Any, str], Any]) -> Spoil:
    """Replace one tensor of the weights."""

    def change(file: Any) -> None:
        del file[BIAS]
        make(file, BIAS)

    return weights(change)


def virtual(file: Any, name: str) -> None:
    layout = h5py.VirtualLayout((1,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (1,))
    file.create_virtual_dataset(name, layout)


def zeros(path: Path) -> None:
    """Write 300 MB of zeros, which compress to 300 kB."""
    content = members(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("config.json", content["config.json"], zipfile.ZIP_STORED)
        with file.open("model.weights.h5", "w") as member:
            for _ in range(300):
                member.write(bytes(10**6))


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


MODELS: dict[str, tuple[Spoil, str]] = {
    "truncated": (raw(lambda content: content[:-1000]), "File is not a zip file"),
    "HTML": (raw(lambda _: b"<!DOCTYPE html><title>404</title>"), "File is not a zip file"),
    "a directory": (directory, "it is not a file"),
    "a pipe": (fifo, "it is not a file"),
    "missing": (Path.unlink, "No such file or directory"),
    "without its config": (parts(lambda content: content.pop("config.json")), "no item named 'config.json'"),
    "without its weights": (parts(lambda content: content.pop("model.weights.h5")), "no item named 'model.weights.h5'"),
    "its config a pickle": (put("config.json", pickle.dumps({})), "'utf-8' codec can't decode byte 0x80"),
    "its config a list": (put("config.json", b"[]"), "its config.json is not"),
    "its config nested": (put("config.json", b"[" * 100_000), "it is nested too deeply"),
    "a member that climbs out": (put("../../climbed", b"out"), "'../../climbed'"),
    "assets": (put("assets/x/vocabulary.txt", b"a"), "'assets/x/"),
    "300 MB of zeros": (zeros, "'model.weights.h5' is compressed or too large"),
    "units=1e9": (layer("LSTM", config={"units": 10**9}), "its config declares 4,000,000,008,"),
    "units as text": (layer("LSTM", config={"units": "16"}), "Functional'> could not be deserialized"),
    "built for 1e9 numbers": (
        layer("LSTM", build_config={"input_shape": [None, None, 10**9]}),
        "its config declares 64,000,00",
    ),
    "built for 1e9 numbers and a state": (
        layer("LSTM", build_config={"shapes_dict": {"sequences_shape": [None, None, 10**9]}}),
        "its config declares 64,000,00",
    ),
    "a vector repeated 1e9 times": (repeated(10**9), "its layer 'code' returns more than 67,108,864 values"),
    "a vector repeated -5 times": (repeated(-5), "Functional'> could not be deserialized"),
    "a Lambda": (layer("Dense", class_name="Lambda"), "it contains 'keras.layers.Lambda'"),
    "a foreign module": (layer("Dense", module="os", class_name="system"), "it contains 'os.system'"),
    "a class registered elsewhere": (
        layer("Dense", registered_name="Custom>Dense"),
        "registers 'Dense' under a different",
    ),
    "a function as activation": (
        layer("Dense", config={"activation": {"module": "subprocess", "class_name": "function", "config": "call"}}),
        "it contains 'subprocess.function'",
    ),
    "no module": (layer("Dense", module=None), "it contains 'Dense'"),
    "compiled": (layer("Dense", compile_config={"loss": "mse"}), "its 'Dense' has a compile config"),
    "a layer without its neighbours": (configured(lambda layers: layers.pop()), "could not find layer reconstruction"),
    "external storage": (
        replaced(lambda file, name: file.create_dataset(name, (1,), "f4", external=[("/etc/hostname", 0, 4)])),
        "its weights are stored in other files",
    ),
    "a soft link": (
        replaced(lambda file, name: file.__setitem__(name, h5py.SoftLink("/layers"))),
        "its weights are linked or stored in other files",
    ),
    "a circle": (replaced(lambda file, name: file.__setitem__(name, file["layers"])), "its weights are linked"),
    "a virtual tensor": (replaced(virtual), "its weights are stored in other files"),
    "300 MB that are not there": (
        replaced(lambda file, name: file.create_dataset(name, (75_000_000,), "f4", chunks=(1000,), compression="gzip")),
        "its weights are not numeric, or larger than the file",
    ),
    "text": (
        replaced(lambda file, name: file.create_dataset(name, data=np.array([b"a"]))),
        "its weights are not numeric",
    ),
    "NaN weights": (weights(lambda file: file[BIAS].__setitem__(0, np.nan)), "its weights contain NaN or infinity"),
    "a tensor too few": (
        weights(lambda file: file.__delitem__(BIAS)),
        "its config declares 3,281 weights, but it contains",
    ),
    "a tensor of another shape": (
        replaced(lambda file, name: file.create_dataset(name, data=np.zeros((2, 1), "f4"))),
        "object <Dense name=reconstruction",
    ),
    "weights of another model": (
        put("model.weights.h5", members(ROOT / "pump/model.keras")["model.weights.h5"]),
        "object <LSTMCell name=lstm_cell",
    ),
    "another model": (
        lambda path: shutil.copy(ROOT / "pump/model.keras", path) and None,
        "it has 13,299 parameters, but its run trained 3,281",
    ),
    "weights that are no HDF5": (put("model.weights.h5", b"no"), "file signature not found"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_damaged_or_foreign_model_files_are_refused(r: Path, kind: str) -> None:
    spoil, words = MODELS[kind]
    spoil(r / "model.keras")
    before = sorted(Path().rglob("*"))
    for line in ("export r", *(["toy evaluate --run r"] if kind in ("HTML", "a Lambda", "NaN weights") else [])):
        said = call(line)
        assert (said.code, said.out) == (3, "")
        assert said.last.startswith("'r/model.keras' is ")
        assert words in said.err
        assert "Traceback" not in said.err
        assert len([text for text in said.err.splitlines() if text.startswith("lstmae:")]) == 1
    assert sorted(Path().rglob("*")) == before  # no file was unpacked or exported partially


def test_refused_model_leaves_no_variables_to_allocate(r: Path) -> None:
    layer("LSTM", config={"units": 10**12})(r / "model.keras")
    assert call("export r").code == 3
    with keras.StatelessScope():  # allocates what is left when it ends
        pass
