"""Detect whether a table holds windows that a model was trained or selected on, by fingerprints of their values.

Times alone are not sufficient: another machine, or another recording that begins at 0, may have the same times. Neither
are repeated values, such as those of switches and regular cycles, which occur in other rows too. Therefore windows that
occur more than once in training have no fingerprint, and if rows are dated, the dates must match as well.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from lstm_ae.arrays import Float32Array, Int64Array, UInt64Array
from lstm_ae.artifacts import Artifact, StoredArray
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.time_zones import format_time
from lstm_ae.data.windows import Data, evenly_spaced, window_starts
from lstm_ae.formatting import format_count

# Largest number of fingerprints, evenly spread over the training and validation windows.
MAX_FINGERPRINTS = 1000
# The base is odd, so that its powers have inverses modulo 2**64.
HASH_BASE = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class WindowFingerprints(Artifact):
    """Fingerprints of some of the windows that a model was trained and selected on.

    Args:
        windows: number of windows whose values occurred once.
        prints: `(kept,)` uint64 fingerprints of some of these, ascending.
        times: `(2,)` int64 nanoseconds in UTC of the first and last row; empty if the rows have no dates.
    """

    file = "fingerprints.npz"

    windows: int
    prints: Annotated[UInt64Array, StoredArray("prints_0", np.uint64, "kept")]
    times: Annotated[Int64Array, StoredArray("times_0", np.int64, "ends")]

    def found_in(self, prepared: PreparedTable) -> tuple[int, int]:
        """Return the estimated number of windows of a table that the model has seen, and the number of all windows.

        A window was seen if the model was trained or selected on it.
        """
        grid, span = prepared.grid, prepared.window + prepared.horizon
        starts = every = window_starts(grid.segment, span)
        if prepared.table.layout.dated and len(self.times):
            first, last = grid.times[starts], grid.times[starts + span - 1]
            starts = starts[(first >= self.times[0]) & (last <= self.times[1])]
        # Each fingerprint counts once, regardless of how often the table repeats its window.
        known = int(np.isin(self.prints, hash_windows(grid.values, starts, span)).sum())
        return min(round(known * self.windows / max(len(self.prints), 1)), len(starts)), len(every)


def fingerprint_windows(data: Data) -> WindowFingerprints:
    """Return the fingerprints of the training and validation windows."""
    kept, ends = [], []
    for split in (data.train, data.validation):
        kept.append(hash_windows(split.series, split.starts, split.span))
        if split.time is not None and split.samples:
            ends += [split.time[split.starts].min(), split.time[split.starts + split.span - 1].max()]
    _, place, counts = np.unique(np.concatenate(kept), return_index=True, return_counts=True)
    prints = np.concatenate(kept)[np.sort(place[counts == 1])]
    times = np.array(ends, "datetime64[ns]").astype(np.int64)
    return WindowFingerprints(
        len(prints),
        np.sort(prints[evenly_spaced(len(prints), MAX_FINGERPRINTS)]),
        np.array([times.min(), times.max()]) if ends else times,
    )


def hash_windows(values: Float32Array, starts: Int64Array, span: int) -> UInt64Array:
    """Return a hash of the values of each window, `(windows,)` uint64.

    Windows whose rows are all equal are omitted.

    Args:
        values: `(rows, features)` in original units, NaN where missing.
        starts: `(windows,)` first rows.
        span: rows per window.
    """
    rows = np.zeros(len(values), np.uint64)
    for column in values.T:
        # Values are normalized because NaN has many bit patterns and 0 has two.
        bits = np.where(np.isnan(column), np.float32(np.nan), column + np.float32(0)).view(np.uint32)
        rows = _mix_bits(rows * np.uint64(HASH_BASE) + bits)
    # Polynomial rolling hash modulo 2**64: the sum of each row times a power of the base, divided by the power of the
    # first row of the window.
    size = len(rows) + 1
    powers = np.cumprod(np.r_[np.uint64(1), np.full(size - 1, HASH_BASE, np.uint64)], dtype=np.uint64)
    inverses = np.cumprod(np.r_[np.uint64(1), np.full(size - 1, pow(HASH_BASE, -1, 2**64), np.uint64)], dtype=np.uint64)
    sums = np.r_[np.uint64(0), np.cumsum(rows * powers[:-1], dtype=np.uint64)]
    changes = np.r_[0, np.cumsum(np.r_[False, rows[1:] != rows[:-1]])]
    starts = starts[changes[starts + span] > changes[starts + 1]]
    return _mix_bits((sums[starts + span] - sums[starts]) * inverses[starts])


def describe_known_windows(prepared: PreparedTable, fingerprints: WindowFingerprints | None) -> list[str]:
    """Return a note if the table contains windows that the run was trained or selected on; an empty list otherwise."""
    known, windows = fingerprints.found_in(prepared) if fingerprints else (0, 0)
    if fingerprints is None or not known:
        return []
    table, when = prepared.table, ""
    if table.layout.dated and len(fingerprints.times):
        when = f" ({' to '.join(format_time(int(time), table.zone) for time in fingerprints.times)})"
    return [
        f"About {known:,} of {format_count(windows, 'window')} of {table.name} hold the values of windows that the run "
        f"was trained and chosen on{when}; results on them are optimistic. Evaluate on "
        f"{'later' if when else 'other'} rows"
    ]


def _mix_bits(numbers: UInt64Array) -> UInt64Array:
    """Return numbers in which every bit depends on every input bit: the last step of SplitMix64."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
