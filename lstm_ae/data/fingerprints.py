"""Whether a table holds windows that a model was trained and chosen on, by fingerprints of their values.

Times alone do not tell: those of another machine, or of another recording that begins at 0 as well, may be the same.
Nor do values that repeat, as those of switches and of regular cycles: other rows hold them too. So windows that occur
more than once in training have no fingerprint, and where rows are dated, the dates must fit as well.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.timestamps import Times
from lstm_ae.data.windows import Data, window_starts
from lstm_ae.files import load_state, save_state

Prints = NDArray[np.uint64]

# Windows that are kept, evenly spread over those of training and validation.
MAX_FINGERPRINTS = 1000
# Odd, so that its powers have inverses among numbers of 64 bits.
HASH_BASE = 0x9E3779B97F4A7C15


class WindowFingerprints(NamedTuple):
    """Some of the windows that a model was trained and chosen on.

    Args:
        windows: how many there were whose values occurred once.
        prints: `(kept,)` of some of these, ascending.
        times: `(2,)` int64 nanoseconds in UTC of their first and last row; empty where these have no dates.
    """

    windows: int
    prints: Prints
    times: Times

    def found_in(self, prepared: PreparedTable) -> tuple[int, int]:
        """Return about how many windows of a table the model has learned from, and how many windows it has."""
        grid, span = prepared.grid, prepared.window + prepared.horizon
        starts = every = window_starts(grid.segment, span)
        if prepared.table.layout.dated and len(self.times):
            first, last = grid.times[starts], grid.times[starts + span - 1]
            starts = starts[(first >= self.times[0]) & (last <= self.times[1])]
        # Each once, however often a table repeats it.
        known = int(np.isin(self.prints, hash_windows(grid.values, starts, span)).sum())
        return min(round(known * self.windows / max(len(self.prints), 1)), len(starts)), len(every)


def fingerprint_windows(data: Data) -> WindowFingerprints:
    """Return those of the training and the validation part."""
    kept, ends = [], []
    for split in (data.train, data.validation):
        kept.append(hash_windows(split.series, split.starts, split.span))
        if split.time is not None and split.samples:
            ends += [split.time[split.starts].min(), split.time[split.starts + split.span - 1].max()]
    _, place, counts = np.unique(np.concatenate(kept), return_index=True, return_counts=True)
    prints = np.concatenate(kept)[np.sort(place[counts == 1])]
    index = np.unique(np.linspace(0, len(prints) - 1, min(MAX_FINGERPRINTS, len(prints))).astype(np.int64))
    times = np.array(ends, "datetime64[ns]").astype(np.int64)
    return WindowFingerprints(
        len(prints), np.sort(prints[index]), np.array([times.min(), times.max()]) if ends else times
    )


def hash_windows(values: NDArray[np.float32], starts: NDArray[np.int64], span: int) -> Prints:
    """Return a number for each window that its values decide, `(windows,)`; without windows whose rows are all alike.

    Args:
        values: `(rows, features)` in own units, NaN where missing.
        starts: `(windows,)` first rows.
        span: rows of a window.
    """
    rows = np.zeros(len(values), np.uint64)
    for column in values.T:
        # One number for each value: NaN has many forms, and 0 two.
        bits = np.where(np.isnan(column), np.float32(np.nan), column + np.float32(0)).view(np.uint32)
        rows = _mix_bits(rows * np.uint64(HASH_BASE) + bits)
    # Sums of so many rows by the powers of a base, modulo 2 to the 64, divided by the power of the first.
    size = len(rows) + 1
    powers = np.cumprod(np.r_[np.uint64(1), np.full(size - 1, HASH_BASE, np.uint64)], dtype=np.uint64)
    inverses = np.cumprod(np.r_[np.uint64(1), np.full(size - 1, pow(HASH_BASE, -1, 2**64), np.uint64)], dtype=np.uint64)
    sums = np.r_[np.uint64(0), np.cumsum(rows * powers[:-1], dtype=np.uint64)]
    changes = np.r_[0, np.cumsum(np.r_[False, rows[1:] != rows[:-1]])]
    starts = starts[changes[starts + span] > changes[starts + 1]]
    return _mix_bits((sums[starts + span] - sums[starts]) * inverses[starts])


def _mix_bits(numbers: Prints) -> Prints:
    """Return numbers whose every bit depends on every bit of these: the last step of SplitMix64."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def read_fingerprints(path: Path) -> WindowFingerprints:
    """Return what `write_fingerprints` has written; raises `DataError` where it is damaged."""
    meta, groups = load_state(path, {"prints": 1, "times": 1})
    return WindowFingerprints(meta["windows"], groups["prints"][0], groups["times"][0])


def write_fingerprints(path: Path, found: WindowFingerprints) -> None:
    """Write which windows a model has learned from."""
    save_state(path, {"windows": found.windows}, {"prints": [found.prints], "times": [found.times]})
