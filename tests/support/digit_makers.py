"""Small artificial digits in every file format."""

import gzip
import struct

import numpy as np

from lstm_ae.data.digit_files import IDX_STEMS


def made(train=120, test=20):
    """Return arrays of artificial digits: all images differ and show their label in the first pixel."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (train + test, 28, 28), dtype=np.uint8)
    labels = np.arange(train + test, dtype=np.uint8) % 10
    images[:, 0, 0] = labels
    return {
        "x_train": images[:train],
        "y_train": labels[:train],
        "x_test": images[train:],
        "y_test": labels[train:],
    }


def npz(path, **changes):
    np.savez(path, **{key: value for key, value in {**made(), **changes}.items() if value is not None})
    return str(path)


def idx_bytes(array):
    magic = 0x803 if array.ndim == 3 else 0x801
    return struct.pack(f">{array.ndim + 1}I", magic, *array.shape) + array.tobytes()


def idx(folder, pack=False, dotted=False, **changes):
    """Write the four IDX files; `changes` replaces the raw bytes of some by array name, and None omits one."""
    folder.mkdir(exist_ok=True)
    for stem, (key, array) in zip(IDX_STEMS, made().items(), strict=True):
        body = changes.get(key, idx_bytes(array))
        if body is not None:
            name = stem.replace("-idx", ".idx") if dotted else stem
            (folder / (name + ".gz" * pack)).write_bytes(gzip.compress(body) if pack else body)
    return str(folder)
