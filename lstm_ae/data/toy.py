"""Generate the synthetic signal of the report: uniform noise with a damped range at a random position."""

import numpy as np

from lstm_ae.arrays import Float32Array, Int64Array
from lstm_ae.config import Toy
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split, hash_arrays

STEPS = 50
DAMPING = 0.1
HALF_WIDTH = 5


def generate_signals(sequences: int, seed: int) -> tuple[Float32Array, Int64Array]:
    """Return random signals and the centers of their damped range.

    Returns:
        `(sequences, 50)` float32, uniform in [0, 1) and multiplied by 0.1 from step center - 5 to center + 5, and the
        centers, `(sequences,)` integers from 20 to 30.
    """
    random = np.random.default_rng(seed)
    values = random.random((sequences, STEPS), np.float32)
    centers = random.integers(20, 31, sequences)
    damped = np.abs(np.arange(STEPS) - centers[:, None]) <= HALF_WIDTH
    values[damped] *= np.float32(DAMPING)
    return values, centers


def load(config: Toy) -> Data:
    """Generate the data and divide the samples 60/20/20 into training, validation, and test."""
    values, _ = generate_signals(config.sequences, config.seed)
    first, second = round(0.6 * config.sequences), round(0.8 * config.sequences)
    train, validation, test = (_make_split(each) for each in (values[:first], values[first:second], values[second:]))
    source = Source(
        f"{config.sequences:,} generated sequences of {STEPS} steps, seed {config.seed}",
        hash_arrays(values),
        "CC0 (generated)",
    )
    return Data(train, validation, test, fixed_scale(), source)


def _make_split(values: Float32Array) -> Split:
    return Split(values.reshape(-1, 1), np.arange(len(values), dtype=np.int64) * STEPS, STEPS)
