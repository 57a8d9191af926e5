"""Choose how many networks a model averages, see `lstm_ae.models.ensemble`."""

from typing import TypeVar

from lstm_ae.config import Config
from lstm_ae.data.windows import Data

Chosen = TypeVar("Chosen", bound=Config)

# Number of networks to average after short trainings, and the largest work of a short training: the rows that it reads,
# times the weights of a gate for a row. It takes about ten seconds on two cores.
SEVERAL_NETWORKS, SHORT_TRAINING = 3, 10_000_000_000

# Networks with fewer units take nearly as long as with this number.
MIN_UNITS = 16

SHORT_TRAINING_NOTE = f"seeds: {SEVERAL_NETWORKS} networks, as the training is short"


def reduce_to_single_network(config: Chosen) -> Chosen:
    """Return the config for trials, each of which trains one network; that of a finished run may have several."""
    return config.with_values({"seeds": 1}) if config.applies("seeds") else config


def choose_networks(config: Chosen, data: Data) -> tuple[Chosen, Data]:
    """Return the config with a number of networks, and the data with a note on it if the config leaves it open.

    Several networks are the default where that costs seconds.

    Args:
        config: config that is complete except for this number.
        data: its data.
    """
    if not config.applies("seeds") or getattr(config, "seeds", None) is not None:
        return config, data
    if _training_work(config, data) > SHORT_TRAINING:
        return config.with_values({"seeds": 1}), data
    return config.with_values({"seeds": SEVERAL_NETWORKS}), data.annotate(SHORT_TRAINING_NOTE)


def _training_work(config: Config, data: Data) -> int:
    windows, steps = data.train.samples, getattr(config, "steps_per_epoch", None)
    if steps is not None:
        windows = min(windows, steps * config.batch_size)
    units = max(config.units, config.decoder_units or 0, MIN_UNITS)
    weights = units * (data.train.features + (2 * config.layers - 1) * units)
    directions = 1 + getattr(config, "bidirectional", False)
    return config.epochs * windows * data.train.span * weights * directions
