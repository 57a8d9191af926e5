"""Read MNIST from an .npz in the format of Keras.

The files are untrusted: pickles are never loaded, only regular files are opened, and their content is bounded.
"""

import os
import zipfile
import zlib
from typing import BinaryIO, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, UInt8Array
from lstm_ae.errors import Code, DataError
from lstm_ae.files import open_regular

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
ADVICE = "Pass an .npz with x_train, y_train, x_test and y_test, as Keras' mnist.npz"
MAX_BYTES = 2**30  # bytes in total; MNIST has 55 MB, and the conversion to float32 multiplies this by four
READ_ERRORS = (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, RuntimeError, MemoryError)


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
    return _read_npz(os.path.join(path, "mnist.npz") if os.path.isdir(path) else path)


def has_digit_files(folder: str) -> bool:
    """Return whether a directory has `mnist.npz`, valid or not."""
    return os.path.lexists(os.path.join(folder, "mnist.npz"))


def open_file(path: str, advice: str = ADVICE) -> BinaryIO:
    """Open a regular file of 1 byte to 1 GiB.

    Raises:
        DataError: if the path is anything else.
    """
    try:
        file = open_regular(path, MAX_BYTES, advice=advice)
    except DataError:
        raise
    except (OSError, ValueError) as error:  # ValueError: the path has a NUL
        raise DataError(
            f"{path!r} cannot be read: {getattr(error, 'strerror', None) or error}. {advice}", code=Code.DIGIT_FILE
        ) from None
    if not os.fstat(file.fileno()).st_size:
        file.close()
        raise DataError(f"{path!r} is empty. {advice}", code=Code.DIGIT_FILE)
    return file


def _read_npz(path: str) -> Digits:
    with open_file(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                names = {info.filename for info in archive.infolist()}
                size = sum(info.file_size for info in archive.infolist())
            missing = [name for name in ARRAY_NAMES if f"{name}.npy" not in names]
            if missing or size > MAX_BYTES:
                raise DataError(
                    f"{path!r} lacks the arrays {', '.join(missing)}. {ADVICE}"
                    if missing
                    else f"{path!r} must unpack to at most 1 GiB. Received: more. {ADVICE}",
                    code=Code.DIGIT_FILE,
                )
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                found = [np.asarray(arrays[name]) for name in ARRAY_NAMES]  # a member of another kind is bytes
        except DataError:
            raise
        except READ_ERRORS as error:
            raise _damaged(path, error) from None
    return _check_digits(found, [f"The array {name} of {path!r}" for name in ARRAY_NAMES])


def _check_digits(arrays: list[Array], names: list[str]) -> Digits:
    """Return the digits as uint8 if images and labels have the right shapes and values.

    Raises:
        DataError: if they do not.
    """
    for array, name, image in zip(arrays, names, (True, False, True, False), strict=True):
        top, shape = (255, (28, 28)) if image else (9, ())
        fits = array.dtype.kind in "iu" and array.ndim > 0 and array.size > 0 and array.shape[1:] == shape
        if not fits or array.min() < 0 or array.max() > top:
            limits = f", from {array.min()} to {array.max()}" if fits else ""
            raise DataError(
                f"{name} must contain whole numbers from 0 to {top} in the shape (n{', 28, 28' if image else ''}). "
                f"Received: {array.dtype} in the shape {array.shape}{limits}. {ADVICE}",
                code=Code.DIGIT_FILE,
            )
    for place in (0, 2):
        counts = len(arrays[place]), len(arrays[place + 1])
        if counts[0] != counts[1]:
            raise DataError(
                f"{names[place]} must have one label for each image. Received: {counts[0]} images and {counts[1]} "
                f"labels. {ADVICE}",
                code=Code.DIGIT_FILE,
            )
    return Digits(*(np.ascontiguousarray(array, dtype=np.uint8) for array in arrays))


def _damaged(path: str, error: BaseException) -> DataError:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return DataError(f"{path!r} is damaged or not MNIST ({reason}). {ADVICE}", code=Code.DIGIT_FILE)
