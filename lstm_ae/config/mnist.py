"""Options of the digit study."""

import dataclasses
import functools

from lstm_ae.config.base import Config, ReconstructionConfig
from lstm_ae.config.options import DATA, MODEL, TRAINING, option, redefault
from lstm_ae.errors import ConfigError

# V1 to V4 of the report, and a further one.
CLASSIFIERS = ("linear-on-input", "head-on-reconstruction", "two-autoencoders", "two-autoencoders-mlp", "head-on-code")
# With --latent vector there is only one state.
MANY_STATES = (("model", ("head-on-code",)), ("latent", ("steps",)))


_network = functools.partial(option, group=MODEL, advanced=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mnist(ReconstructionConfig):
    """Options of the report's second study: digits as sequences, reconstructed and classified."""

    data: str | None = option(None, "Keras' mnist.npz, or a folder with it.", DATA, tunable=False)
    read: str = option(
        "rows",
        "Sequence of a digit: rows, columns, pixels, or permuted pixels.",
        DATA,
        details="28 rows or columns, or 784 pixels.",
        choices=("rows", "columns", "pixels", "permuted"),
    )
    model: str = option(
        "two-autoencoders-mlp",
        "Classifier (V1 to V4 in the report).",
        MODEL,
        details="V1 is linear-on-input, V2 head-on-reconstruction, V3 two-autoencoders, V4 two-autoencoders-mlp.",
        choices=CLASSIFIERS,
    )
    head: int = _network(
        64,
        "Units of the hidden dense layer of two-autoencoders-mlp.",
        minimum=1,
        maximum=4096,
        needs=(("model", ("two-autoencoders-mlp",)),),
    )
    reconstruction_weight: float = option(
        0.5,
        "Weight of the reconstruction loss.",
        TRAINING,
        details="1 trains no classifier, 0 no reconstruction.",
        minimum=0,
        maximum=1,
    )
    pool: str = _network(
        "last",
        "Pooling of the states for head-on-code: last, mean, or both.",
        choices=("last", "mean", "both"),
        needs=MANY_STATES,
    )
    every: int = _network(
        1,
        "Stride of a second LSTM for head-on-code; 1 for none.",
        details="It reads the encoder's states.",
        minimum=1,
        maximum=784,
        needs=MANY_STATES,
    )
    deform: float = option(
        0.0,
        "Strength of random deformations of the training digits; 0 for none.",
        TRAINING,
        advanced=True,
        minimum=0,
        maximum=10,
    )
    latent: str = redefault(ReconstructionConfig, "latent", "steps", advanced=True)
    code: int | None = redefault(ReconstructionConfig, "code", None, advanced=True)
    units: int = redefault(Config, "units", 8)
    epochs: int = redefault(Config, "epochs", 12)
    schedule: str = redefault(Config, "schedule", "cosine")

    @property
    def steps(self) -> int:
        """Steps per digit."""
        return 28 if self.read in ("rows", "columns") else 784

    @property
    def features(self) -> int:
        """Values per step."""
        return 28 if self.read in ("rows", "columns") else 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every > self.steps:
            raise ConfigError(f"--set every must be at most {self.steps}, the steps of a digit. Received: {self.every}")
