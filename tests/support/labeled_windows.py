"""Windows with class labels, as data of a classifier."""

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.data.scaling import Scale, fixed_scale
from lstm_ae.data.windows import Data, Source, Split


def labeled_data(windows: Array, label: Array, *, divided: bool = False, scale: Scale | None = None) -> Data:
    """Return data of `(samples, window, features)` windows and their labels.

    Args:
        divided: 60, 20, and 20% of the windows in the training, validation, and test splits, instead of all of them in
            each split.
    """
    count = len(windows)
    bounds = [(0, 0.6), (0.6, 0.8), (0.8, 1)] if divided else [(0, 1)] * 3
    splits = []
    for low, high in bounds:
        part = slice(int(low * count), int(high * count))
        rows = windows[part].reshape(-1, windows.shape[2]).astype(np.float32)
        starts = np.arange(part.stop - part.start, dtype=np.int64) * windows.shape[1]
        segment = np.repeat(np.arange(len(starts), dtype=np.int32), windows.shape[1])
        splits.append(Split(rows, starts, windows.shape[1], segment, label=label[part].astype(np.int32)))
    names = tuple(str(number) for number in range(int(label.max()) + 1))
    return Data(*splits, scale or fixed_scale(), Source("t", "", ""), classes=names)
