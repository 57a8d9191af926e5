"""Read MNIST from an .npz in the format of Keras.

The files are untrusted: pickles are never loaded, only regular files are opened, and their content is bounded.
"""

import os
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, UInt8Array
from lstm_ae.data.text import open_stable_file
from lstm_ae.errors import Code, DataError

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
ADVICE = "Pass an .npz with x_train, y_train, x_test and y_test, as Keras' mnist.npz"
MAX_BYTES = 2**30  # bytes in total; MNIST has 55 MB, and the conversion to float32 multiplies this by four
READ_ERRORS = (OSError, EOFError, KeyError, ValueError, zlib.error, zipfile.BadZipFile, RuntimeError, MemoryError)


class Digits(NamedTuple):
    """Training and test digits as stored: images `(n, 28, 28)` and labels `(n,)`, all uint8."""

    images: UInt8Array
    labels: UInt8Array
    test_images: UInt8Array
    test_labels: UInt8Array


def read_digits(path: str) -> Digits:
    """Return the digits of an .npz file, or of `mnist.npz` in a directory.

    Raises:
        DataError: if the file is missing or not valid.
    """
    path = os.path.join(path, "mnist.npz") if os.path.isdir(path) else path
    with open_stable_file(path, MAX_BYTES, ADVICE) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                    raise ValueError("unpacks to more than 1 GiB")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                found = [np.asarray(arrays[name]) for name in ARRAY_NAMES]  # a member of another kind is bytes
            problem = _find_problem(path, found)
        except READ_ERRORS as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            problem = f"{path!r} is damaged or not MNIST ({reason})"
    if problem:
        raise DataError(f"{problem}. {ADVICE}", code=Code.DIGIT_FILE)
    return Digits(*(np.ascontiguousarray(array, dtype=np.uint8) for array in found))


def _find_problem(path: str, arrays: list[Array]) -> str:
    """Return why arrays are no images and labels of digits; "" if they are."""
    sizes = [len(array) if array.ndim else 0 for array in arrays]
    for name, array, size in zip(ARRAY_NAMES, arrays, (sizes[0], sizes[0], sizes[2], sizes[2]), strict=True):
        top, shape = (255, (size, 28, 28)) if name.startswith("x") else (9, (size,))
        fits = array.dtype.kind in "iu" and size > 0 and array.shape == shape
        if not fits or array.min() < 0 or array.max() > top:
            limits = f", from {array.min()} to {array.max()}" if fits else ""
            return (
                f"The array {name} of {path!r} must hold whole numbers from 0 to {top} in the shape {shape}. Received: "
                f"{array.dtype} in the shape {array.shape}{limits}"
            )
    return ""
