"""The choices of the toy study."""

import dataclasses

from lstm_ae.config.base import Config, ReconstructionConfig
from lstm_ae.config.options import option, redefault


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(ReconstructionConfig):
    """The report's first study: noise with a damped stretch, to be reconstructed."""

    epochs: int = redefault(Config, "epochs", 8)
    sequences: int = option(60_000, "Sequences to generate, 50 steps each.", minimum=10, maximum=10_000_000)
    learning_rate: float = redefault(Config, "learning_rate", 0.03)
    schedule: str = redefault(Config, "schedule", "cosine")
