"""Read MNIST from files: an .npz in the format of Keras, or the four original IDX files.

The files are untrusted: sizes are checked before arrays are allocated, pickles are never loaded, and only regular files
are opened.
"""

import math
import os
import struct
import warnings
import zipfile
import zlib
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from lstm_ae.arrays import Array, Dtype, UInt8Array
from lstm_ae.data.text import decompress
from lstm_ae.errors import Code, DataError
from lstm_ae.files import open_regular

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
IDX_STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
ADVICE = "Pass an .npz with x_train, y_train, x_test and y_test, or a folder with MNIST's four IDX files"
MAX_BYTES = 2**30  # bytes in total; MNIST has 55 MB, and the conversion to float32 multiplies this by four
READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    struct.error,
    zipfile.BadZipFile,
    RuntimeError,
    MemoryError,
)


class Digits(NamedTuple):
    """Training and test digits as stored: images `(n, 28, 28)` and labels `(n,)`, all uint8."""

    images: UInt8Array
    labels: UInt8Array
    test_images: UInt8Array
    test_labels: UInt8Array


def read_digits(path: str) -> Digits:
    """Return the digits of an .npz file, or of a directory with `mnist.npz` or the four IDX files.

    Raises:
        DataError: if a file is missing or not valid.
    """
    if not os.path.isdir(path):
        return _read_npz(path)
    if os.path.lexists(os.path.join(path, "mnist.npz")):
        return _read_npz(os.path.join(path, "mnist.npz"))
    found = [_find_file(path, stem) for stem in IDX_STEMS]
    missing = [stem for stem, file in zip(IDX_STEMS, found, strict=True) if file is None]
    if missing:
        raise DataError(
            f"The folder {path!r} lacks {', '.join(missing)} (plain or .gz). {ADVICE}", code=Code.DIGIT_FILE
        )
    names = [repr(file) for file in found if file is not None]
    return _check_digits([_read_idx(file) for file in found if file is not None], names)


def has_digit_files(folder: str) -> bool:
    """Return whether a directory has `mnist.npz` or any of the IDX files, valid or not."""
    return os.path.lexists(os.path.join(folder, "mnist.npz")) or any(_find_file(folder, stem) for stem in IDX_STEMS)


def _find_file(folder: str, stem: str) -> str | None:
    for name in (stem, stem.replace("-idx", ".idx")):
        for ending in ("", ".gz"):
            path = os.path.join(folder, name + ending)
            if os.path.lexists(path) and not os.path.isdir(path):
                return path
    return None


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
        start = file.read(4)
        if start != b"PK\3\4":
            raise DataError(
                f"{path!r} is not an .npz: it must start with PK. Received: {start!r}. {ADVICE}", code=Code.DIGIT_FILE
            )
        names = [f"The array {key} of {path!r}" for key in ARRAY_NAMES]
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename: info for info in archive.infolist()}
                missing = [key for key in ARRAY_NAMES if f"{key}.npy" not in members]
                if missing:
                    has = ", ".join(sorted(name.removesuffix(".npy") for name in members)[:8]) or "nothing"
                    raise DataError(
                        f"{path!r} lacks the arrays {', '.join(missing)}. Received: {has:.200}. {ADVICE}",
                        code=Code.DIGIT_FILE,
                    )
                chosen = [members[f"{key}.npy"] for key in ARRAY_NAMES]
                if sum(info.file_size for info in chosen) > MAX_BYTES:
                    raise DataError(
                        f"{path!r} must unpack to at most 1 GiB. Received: more. {ADVICE}", code=Code.DIGIT_FILE
                    )
                arrays = [_read_member(archive, *pair) for pair in zip(chosen, names, strict=True)]
        except DataError:
            raise
        except (*READ_ERRORS, NotImplementedError) as error:
            raise DataError(
                f"{path!r} is cut or damaged ({_format_error(error)}). Copy or download it again", code=Code.DIGIT_FILE
            ) from None
    return _check_digits(arrays, names)


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Array:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{name} must be stored as numpy.savez does. Received: another compression. Save it anew",
            code=Code.DIGIT_FILE,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns about headers written by Python 2, which are valid
        with archive.open(info) as stream:
            version = npy.read_magic(stream)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = header(stream)
            size = stream.tell() + math.prod(shape) * dtype.itemsize
        _check_array(name, tuple(shape), dtype, image="x_" in info.filename)
        if size != info.file_size:
            raise DataError(
                f"{name} must hold {size} bytes by its header. Received: {info.file_size}. Save it anew",
                code=Code.DIGIT_FILE,
            )
        with archive.open(info) as stream:
            return np.asarray(npy.read_array(stream, allow_pickle=False))


def _read_idx(path: str) -> Array:
    image = "images" in os.path.basename(path)
    magic, size = (0x803, 16) if image else (0x801, 8)
    with open_file(path) as file:
        try:
            stream = decompress(file)
            head = stream.read(size)
            if len(head) < size:
                raise DataError(
                    f"{path!r} must start with {size} bytes of header. Received: {len(head)}. Copy it anew",
                    code=Code.DIGIT_FILE,
                )
            found, *shape = struct.unpack(f">{size // 4}I", head)
            if found != magic:
                raise DataError(
                    f"{path!r} must start with the magic number 0x{magic:08x} ({'images' if image else 'labels'}). "
                    f"Received: 0x{found:08x}. Check that images, labels and names belong together",
                    code=Code.DIGIT_FILE,
                )
            _check_array(repr(path), tuple(shape), np.dtype(np.uint8), image)
            want = math.prod(shape)
            # One extra byte reveals a file that is too long, or a gzip bomb.
            body = stream.read(want + 1) if want < MAX_BYTES else b""
        except DataError:
            raise
        except READ_ERRORS as error:
            raise DataError(
                f"{path!r} is cut or damaged ({_format_error(error)}). Copy or download it again", code=Code.DIGIT_FILE
            ) from None
    if len(body) != want:
        has = "more" if len(body) > want else len(body)
        raise DataError(
            f"{path!r} must hold {want} bytes after its header. Received: {has}. Copy or download it again",
            code=Code.DIGIT_FILE,
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


def _check_array(name: str, shape: tuple[int, ...], dtype: Dtype, image: bool) -> None:
    if dtype.hasobject:
        raise DataError(
            f"{name} must hold numbers. Received: Python objects (a pickle), which are never loaded",
            code=Code.DIGIT_FILE,
        )
    if dtype.kind not in "iu":
        raise DataError(
            f"{name} must hold whole numbers, {'pixels from 0 to 255' if image else 'digits from 0 to 9'}. "
            f"Received: {dtype}. Save it unscaled, as uint8",
            code=Code.DIGIT_FILE,
        )
    if image and (len(shape) != 3 or shape[1:] != (28, 28)):
        shown = "x".join(map(str, shape[1:])) if len(shape) == 3 else f"the shape {shape}"
        raise DataError(
            f"{name} must hold images of 28x28, shape (n, 28, 28). Received: {shown}. Resize the images",
            code=Code.DIGIT_FILE,
        )
    if not image and len(shape) != 1:
        raise DataError(
            f"{name} must hold one label an image, shape (n,). Received: the shape {shape}. Reshape it",
            code=Code.DIGIT_FILE,
        )
    if shape[0] < 1:
        raise DataError(
            f"{name} must hold at least one {'image' if image else 'label'}. Received: none. {ADVICE}",
            code=Code.DIGIT_FILE,
        )


def _check_digits(arrays: list[Array], names: list[str]) -> Digits:
    """Return the digits as uint8 if the numbers of images and labels match and all values are in range.

    Raises:
        DataError: if they are not.
    """
    for k in (0, 2):
        if len(arrays[k]) != len(arrays[k + 1]):
            raise DataError(
                f"{names[k]} and {names[k + 1]} must match, a label an image. Received: {len(arrays[k])} images and "
                f"{len(arrays[k + 1])} labels. Check that both are of one data set",
                code=Code.DIGIT_FILE,
            )
    for array, name, top in zip(arrays, names, (255, 9, 255, 9), strict=True):
        for value in (array.min(), array.max()):
            if not 0 <= value <= top:
                kind = "pixels" if top > 9 else "digits"
                raise DataError(
                    f"{name} must hold {kind} from 0 to {top}. Received: {value}. Check how it was made",
                    code=Code.DIGIT_FILE,
                )
    return Digits(*(np.ascontiguousarray(array, dtype=np.uint8) for array in arrays))


def _format_error(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
