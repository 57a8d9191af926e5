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
from lstm_ae.estimate import peak_memory
from lstm_ae.bench.training import Shape, make_sequences, train_ours
shape = Shape({units}, 784, 1)
train_ours(shape, make_sequences(shape, 256), 2, lambda: None, kernel=sys.argv[1])
print(peak_memory() / 2**20)
"""

MAPPED = """
import os, sys
from pathlib import Path
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
from lstm_ae.config import Toy
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split
from lstm_ae.models.autoencoder import autoencoder
from lstm_ae.training.loop import fit
rows = int(sys.argv[1])
series = np.memmap(sys.argv[2], np.float32, "r", shape=(rows, 1))
split = Split(series, np.arange(0, rows - 20, rows // 2000), 20)
config = Toy(units=4, epochs=1)
network = autoencoder(config, steps=20, features=1)
data = Data(split, split, split, fixed_scale(), Source("", "", ""))
fit(network, data, config, state=Path(sys.argv[2] + ".npz"), identity={})
own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
print(int(own.split()[1]) / 1024)
"""

LOOKED_AT = """
import sys
from lstm_ae.config import Reading
from lstm_ae.data.checks import inspect_table
from lstm_ae.estimate import peak_memory
told = []
found = inspect_table(Reading(data=sys.argv[1]), lambda rows, share: told.append(share))
assert found.table.values.shape == (10_000_000, 2) and str(found.step) == "1s", found.step
assert sum(found.windows) > 9_999_000
assert len(told) > 50 and told == sorted(told) and told[-1] == 1, told
print(peak_memory() / 2**20)
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


def megabytes(program: str, *arguments: str) -> float:
    found = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return float(found.stdout)


@pytest.mark.exhaustive
@pytest.mark.parametrize("units", [16, 128])
def test_kernels_use_at_most_1_5_times_the_memory_of_keras(units: int) -> None:
    ours, keras = (megabytes(TRAIN.format(units=units), kernel) for kernel in ("auto", "keras"))
    assert ours <= 1.5 * keras
    assert ours <= 2048


def test_peak_memory_excludes_the_parent_process() -> None:
    """`ru_maxrss` would include the memory of the parent process."""
    program = "from lstm_ae.estimate import peak_memory; print(peak_memory() / 2**20)"
    alone = megabytes(program)
    held = np.ones(2**31, np.uint8)
    assert megabytes(program) < alone + 500
    assert held.all()


def test_training_memory_does_not_grow_with_a_memory_mapped_series(tmp_path: Path) -> None:
    sizes = {}
    for rows in (10_000_000, 100_000_000):
        path = tmp_path / f"{rows}"
        with path.open("wb") as file:
            file.truncate(4 * rows)
        sizes[rows] = megabytes(MAPPED, str(rows), str(path))
    small, large = sizes.values()
    assert large <= small + 40  # the data is 360 MB larger


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
    assert megabytes(LOOKED_AT, str(path)) <= 2048


@pytest.mark.exhaustive
def test_consecutive_trainings_release_their_data(tmp_path: Path) -> None:
    """Each data set has 40 MB."""
    assert megabytes(AGAIN, str(tmp_path)) < 60
