"""The memory of a stream does not grow with its rows."""

from pathlib import Path

import numpy as np
import pytest
from detectors import MINUTE, detector_of

from lstm_ae.apply.stream import DetectionStream
from lstm_ae.errors import DataError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell the resident memory"),
]

ROWS, SERIES = 50, 2


def resident_bytes() -> int:
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


def test_memory_is_flat_over_many_rows() -> None:
    stream = DetectionStream(detector_of(5, 2), "fixed:4")
    random, ids = np.random.default_rng(0), ["a", "b"] * ROWS
    scored, used = 0, []
    for piece in range(2000):
        times = MINUTE * (piece * ROWS + np.arange(ROWS))
        found = stream.push(
            random.normal(size=(ROWS * SERIES, 2)), np.repeat(times, SERIES), ids, list[DataError]().append
        )
        scored += len(np.unique(found.times))
        if piece % 500 == 499:
            used.append(resident_bytes())
    assert scored == 2000 * ROWS
    assert used[-1] - used[0] < 2**20
