"""Tests of the memory usage of training, measured in separate processes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

TRAIN = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from lstm_ae.bench.training import Shape, make_sequences, train_ours
shape = Shape({units}, 784, 1)
train_ours(shape, make_sequences(shape, 256), 2, lambda: None, kernel=sys.argv[1])
"""

LOOKED_AT = """
import sys
from lstm_ae.config import Reading
from lstm_ae.data.checks import inspect_table
told = []
found = inspect_table(Reading(data=sys.argv[1]), lambda rows, share: told.append(share))
assert found.table.values.shape == (10_000_000, 2) and str(found.step) == "1s", found.step
assert sum(found.windows) > 9_999_000
assert len(told) > 50 and told == sorted(told) and told[-1] == 1, told
"""

AGAIN = """
import gc, os, sys
from pathlib import Path
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from lstm_ae import experiment
from lstm_ae.config import Toy
from lstm_ae.studies import load_study
config = Toy(sequences=200_000, epochs=1, units=2, batch_size=8192)
data = load_study(config).load(config)
held = []
for number in range(4):
    experiment.train(config, data, out=Path(sys.argv[1]) / str(number), command="", figures=False)
    gc.collect()
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    held.append(int(own.split()[1]) / 1024)
print(held[3] - held[1])
"""

# `ru_maxrss` would include the memory of the parent process.
PEAK = """
from pathlib import Path
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 1024)
"""


def megabytes(program: str, *arguments: str) -> float:
    found = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return float(found.stdout)


@pytest.mark.exhaustive
@pytest.mark.parametrize("units", [16, 128])
def test_kernels_use_at_most_1_5_times_the_memory_of_keras(units: int) -> None:
    ours, keras = (megabytes(TRAIN.format(units=units) + PEAK, kernel) for kernel in ("auto", "keras"))
    assert ours <= 1.5 * keras
    assert ours <= 2048


@pytest.mark.exhaustive
def test_inspecting_ten_million_rows_uses_at_most_two_gigabytes(tmp_path: Path) -> None:
    path, size = tmp_path / "big.csv", 100_000
    numbers = [f"{value:.2f}" for value in np.random.default_rng(0).normal(size=1000)]
    with path.open("w") as file:
        file.write("time,flow,heat\n")
        for first in range(0, 10_000_000, size):
            times = (np.datetime64("2020-01-01T00:00:00") + np.arange(first, first + size)).astype(str)
            rows = (f"{time},{numbers[k % 1000]},{numbers[k * 7 % 1000]}" for k, time in enumerate(times.tolist()))
            file.write("\n".join(rows) + "\n")
    assert megabytes(LOOKED_AT + PEAK, str(path)) <= 2048


@pytest.mark.exhaustive
def test_consecutive_trainings_release_their_data(tmp_path: Path) -> None:
    """Each data set has 40 MB."""
    assert megabytes(AGAIN, str(tmp_path)) < 60
