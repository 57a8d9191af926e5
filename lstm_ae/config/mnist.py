"""The choices of the digit study."""

import dataclasses

from lstm_ae.config.base import Config, ReconstructionConfig
from lstm_ae.config.options import option, redefault
from lstm_ae.errors import ConfigError

# The report's names for its classifiers, as its reader will type them.
CLASSIFIERS = {
    "v1": "linear-on-input",
    "v2": "head-on-reconstruction",
    "v3": "two-autoencoders",
    "v4": "two-autoencoders-mlp",
}
# A vector latent leaves one state.
MANY_STATES = (("model", ("head-on-code",)), ("latent", ("steps",)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mnist(ReconstructionConfig):
    """The report's second study: digits read as sequences, reconstructed and classified together."""

    data: str | None = option(None, "An .npz in Keras' form or a folder with the four IDX files.", tunable=False)
    read: str = option(
        "rows",
        "How a digit becomes a sequence: 28 rows, 28 columns, 784 pixels, or the pixels in a mixed order (permuted).",
        choices=("rows", "columns", "pixels", "permuted"),
    )
    model: str = option(
        "two-autoencoders-mlp",
        "Classifier: linear-on-input (V1 in the report), head-on-reconstruction (V2: one shared autoencoder), "
        "two-autoencoders (V3: a linear head on the second), two-autoencoders-mlp (V4: a small dense head), or "
        "head-on-code (a head on the shared encoder's code). V1 to V4 are understood as well.",
        choices=(*CLASSIFIERS.values(), "head-on-code"),
        aliases=CLASSIFIERS,
    )
    head: int = option(
        64,
        "Units of the hidden dense layer of two-autoencoders-mlp.",
        minimum=1,
        maximum=4096,
        needs=(("model", ("two-autoencoders-mlp",)),),
    )
    reconstruction_weight: float = option(
        0.5,
        "Share of the reconstruction in the loss; 1 trains no classifier, 0 no reconstruction.",
        minimum=0,
        maximum=1,
    )
    pool: str = option(
        "last",
        "What head-on-code reads of the recurrent states: the last, the mean over time, or both.",
        choices=("last", "mean", "both"),
        needs=MANY_STATES,
    )
    every: int = option(
        1,
        "With head-on-code: the head reads a second LSTM, over every n-th state of the encoder; 1 reads the encoder.",
        minimum=1,
        maximum=784,
        needs=MANY_STATES,
    )
    label_smoothing: float = option(0.0, "Share of a class's target given to all classes alike.", minimum=0, below=1)
    deform: float = option(
        0.0,
        "Turn, shift, stretch and bend the training digits, by this multiple of a usual amount; 0 leaves them.",
        minimum=0,
        maximum=10,
    )
    units: int = redefault(Config, "units", 8)
    epochs: int = redefault(Config, "epochs", 12)
    schedule: str = redefault(Config, "schedule", "cosine")

    @property
    def steps(self) -> int:
        """Steps of a digit."""
        return 28 if self.read in ("rows", "columns") else 784

    @property
    def features(self) -> int:
        """Numbers a step."""
        return 28 if self.read in ("rows", "columns") else 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every > self.steps:
            raise ConfigError(f"--every must be at most the {self.steps} steps. Received: {self.every}")
