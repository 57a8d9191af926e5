"""Invalid digit files: each error is one line with the file or array, the rule, and the received value."""

import io
import os
import pathlib
import re
import struct
import zipfile

import numpy as np
import pytest
from digit_makers import made, npz

from lstm_ae.config import Mnist
from lstm_ae.data import digits
from lstm_ae.errors import DataError


def refused(data):
    with pytest.raises(DataError) as caught:
        digits.load(Mnist(data=str(data)))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500 + len(str(data))
    return message


def test_paths_without_digit_data_are_rejected(tmp_path):
    assert refused(tmp_path / "a\nb.npz").endswith(f"does not exist. {digits.ADVICE}")
    assert "cannot be opened" in refused("a\0b")
    (tmp_path / "empty.npz").touch()
    assert "is damaged or not MNIST" in refused(tmp_path / "empty.npz")
    os.mkfifo(tmp_path / "pipe.npz")
    assert "is a pipe, socket, or device, not a regular file" in refused(tmp_path / "pipe.npz")
    assert "is a pipe, socket, or device" in refused("/dev/zero")
    (tmp_path / "folder").mkdir()
    assert "folder/mnist.npz' does not exist" in refused(tmp_path / "folder")
    for start in (b"\x89PNG\r\n", b"<!DOCTYPE html>", b"\x1f\x8b\x08\0", b"P", b"\x93NUMPY\x01\x00"):
        (tmp_path / "fake.npz").write_bytes(start)
        assert "is damaged or not MNIST (File is not a zip file)" in refused(tmp_path / "fake.npz")


def test_truncated_npz_is_rejected(tmp_path):
    path = tmp_path / "d.npz"
    whole = pathlib.Path(npz(path)).read_bytes()
    for keep in (0.1, 0.5, 0.999):
        path.write_bytes(whole[: int(len(whole) * keep)])
        assert "is damaged" in refused(path)


ONE = np.zeros(120, np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None, "y_test": None, "z": ONE}, "lacks the arrays x_test, y_test"),
        ({"y_train": np.array([None] * 120)}, "is damaged .*allow_pickle=False"),
        ({"x_train": made()["x_train"] / 255}, "from 0 to 255 .* Received: float64"),
        ({"y_train": ONE.astype("U1")}, "y_train of .* from 0 to 9 .* Received: <U1"),
        ({"y_train": ONE > 0}, "Received: bool"),
        ({"x_train": np.zeros((120, 32, 30), np.uint8)}, r"shape \(120, 28, 28\). Received: .* \(120, 32, 30\)"),
        ({"x_test": np.zeros((20, 784), np.uint8)}, r"x_test of .* Received: .* \(20, 784\)"),
        ({"y_train": np.eye(120, 10, dtype=np.uint8)}, r"shape \(120,\). Received: .* \(120, 10\)"),
        ({"y_train": ONE[:119]}, r"y_train of .* shape \(120,\). Received: .* \(119,\)"),
        ({"y_test": np.full(20, 10)}, "y_test of .* from 10 to 10"),
        ({"x_train": made()["x_train"].astype(np.int16) - 1}, "from 0 to 255 .* from -1 to 254"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8)}, r"x_test of .* \(0, 28, 28\)"),
        (
            {"y_train": np.where(np.arange(120) < 5, 3, ONE)},
            "at least 6 training images .* Received: 5 of digit 3",
        ),
    ],
)
def test_npz_with_invalid_digit_arrays_is_rejected(tmp_path, changes, message):
    assert re.search(message, refused(npz(tmp_path / "d.npz", **changes)), re.IGNORECASE)


def header(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": "|u1"})
    return stream.getvalue()


def zipped(path, body):
    """Write an .npz whose x_train.npy holds `body`."""
    with zipfile.ZipFile(npz(path)) as archive:
        others = {name: archive.read(name) for name in archive.namelist() if name != "x_train.npy"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**others, "x_train.npy": body}.items():
            archive.writestr(name, content)
    return path


IMAGE = bytes(784 * 120)


@pytest.mark.parametrize(
    "body",
    [
        header((1000, 28, 28)) + IMAGE,
        header((-120, 28, -28)) + IMAGE,
        b"<html>",
    ],
)
def test_npz_with_inconsistent_header_is_rejected(tmp_path, body):
    assert re.search(r"is damaged or not MNIST|Received: \|S6", refused(zipped(tmp_path / "d.npz", body)))


def test_npz_that_unpacks_to_over_1_gib_is_rejected(tmp_path):
    path = zipped(tmp_path / "d.npz", header((120, 28, 28)) + IMAGE)
    size = struct.pack("<I", 128 + len(IMAGE))
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 2**31)))
    assert "unpacks to more than 1 GiB" in refused(path)
