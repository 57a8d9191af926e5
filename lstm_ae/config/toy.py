"""Options of the toy study."""

import dataclasses

from lstm_ae.config.base import Config, ReconstructionConfig
from lstm_ae.config.options import DATA, option, redefault


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(ReconstructionConfig):
    """Options of the report's first study: reconstruction of noise with a damped section."""

    epochs: int = redefault(Config, "epochs", 8)
    sequences: int = option(60_000, "Number of generated sequences of 50 steps.", DATA, minimum=10, maximum=10_000_000)
    learning_rate: float = redefault(Config, "learning_rate", 0.03)
    schedule: str = redefault(Config, "schedule", "cosine")
