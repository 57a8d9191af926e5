"""Options of all studies, and options shared by several studies."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from lstm_ae.config.options import Options, option
from lstm_ae.errors import ConfigError

# Optimizers with a moving average of squared gradients.
ADAMS = ("adam", "adamw", "nadam")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Options):
    """Options of all studies: network, training, and seed."""

    cell: str = option("lstm", "Type of recurrent cell.", choices=("lstm", "gru"))
    units: int = option(16, "Hidden units of each recurrent layer.", minimum=1, maximum=4096)
    decoder_units: int | None = option(
        None, "Hidden units of each decoder layer (default: those of the encoder).", minimum=1, maximum=4096
    )
    layers: int = option(1, "Recurrent layers in the encoder and in the decoder.", minimum=1, maximum=8)
    dropout: float = option(0.0, "Dropout rate between layers.", minimum=0, below=1)
    optimizer: str = option("adam", "Optimizer.", choices=("adam", "adamw", "nadam", "rmsprop", "sgd"))
    learning_rate: float = option(0.01, "Initial learning rate.", above=0, maximum=10)
    schedule: str = option(
        "constant",
        "Learning rate schedule: constant, or cosine decay to 0.",
        choices=("constant", "cosine"),
    )
    warmup: float = option(0.0, "Share of training steps for linear warm-up of the learning rate.", minimum=0, below=1)
    beta_2: float = option(
        0.999,
        "Decay rate of the average of squared gradients (Adam variants).",
        minimum=0,
        below=1,
        needs=(("optimizer", ADAMS),),
    )
    epsilon: float = option(
        1e-7,
        "Constant for numerical stability (Adam variants).",
        above=0,
        maximum=1,
        needs=(("optimizer", ADAMS),),
    )
    weight_decay: float = option(
        0.004, "Weight decay of adamw.", minimum=0, maximum=10, needs=(("optimizer", ("adamw",)),)
    )
    average: float = option(
        0.0,
        "Momentum of the moving average of the weights; 0 for no average.",
        minimum=0,
        below=1,
    )
    gates: str = option(
        "keras",
        "Initial gate biases: keras (forget gates 1), or chrono (time scales up to --memory).",
        choices=("keras", "chrono"),
    )
    memory: int | None = option(
        None,
        "Longest time scale of --gates chrono in steps (default: sequence length).",
        minimum=2,
        maximum=1_000_000,
        needs=(("gates", ("chrono",)),),
    )
    recurrent: str = option(
        "orthogonal",
        "Initial recurrent kernel: orthogonal, or identity for the candidate state.",
        choices=("orthogonal", "identity"),
    )
    clip: float = option(1.0, "Maximum global norm of the gradients; 0 for no clipping.", minimum=0, maximum=1e6)
    batch_size: int = option(128, "Samples per training step.", minimum=1, maximum=65_536)
    epochs: int = option(10, "Passes over the training split.", minimum=1, maximum=100_000)
    patience: int = option(
        10,
        "Epochs without better validation loss before training stops; 0 disables early stopping.",
        minimum=0,
        maximum=100_000,
    )
    parts: int = option(
        2,
        "Parts of a batch computed in parallel; results depend on it, not on the cores.",
        minimum=1,
        maximum=64,
        tunable=False,
    )
    kernel: str = option(
        "auto",
        "LSTM implementation in training: auto (own CPU kernels, cuDNN on GPUs), or keras.",
        choices=("auto", "keras"),
        tunable=False,
    )
    seed: int = option(
        0, "Seed of weights, shuffling, and generated data.", minimum=0, maximum=2**32 - 1, tunable=False
    )
    deterministic: bool = option(
        False,
        "Use deterministic kernels only; results are bit-identical on one processor type.",
        tunable=False,
    )

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with other values of some options, see `merge`."""
        return self.merge(self.to_dict(), values)


BIDIRECTIONAL = option(False, "Use a bidirectional encoder.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionConfig(Config):
    """Options of the studies whose models reconstruct sequences."""

    latent: str = option(
        "steps",
        "Code: hidden states of all steps (as in the report; no bottleneck), or one vector.",
        choices=("steps", "vector"),
    )
    code: int | None = option(
        None,
        "Size of the code with --latent vector (default: size of the encoder's state).",
        minimum=1,
        maximum=4096,
        needs=(("latent", ("vector",)),),
    )
    decoder_start: str = option(
        "zero",
        "Initial state of the decoder with --latent vector: zero or the code.",
        choices=("zero", "code"),
        needs=(("latent", ("vector",)),),
    )
    delay_line: bool = option(
        False,
        "Initialize the LSTMs as delay lines, which copy the last values of a sequence.",
        needs=(
            ("decoder_start", ("code",)),
            ("cell", ("lstm",)),
            ("layers", (1,)),
            ("gates", ("keras",)),
            ("recurrent", ("orthogonal",)),
            ("bidirectional", (False,)),
        ),
    )
    bidirectional: bool = BIDIRECTIONAL

    @property
    def features(self) -> int:
        """Values per step."""
        return 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.code is not None and self.code > (width := self.units * (2 if self.bidirectional else 1)):
            raise ConfigError(
                f"--code must be at most {width}, the size of the encoder's state. Received: {self.code}. "
                "Reduce --code or increase --units"
            )
        units = min(self.units, self.decoder_units or self.units)
        if self.delay_line and units < self.features:
            raise ConfigError(
                f"--delay-line needs at least {self.features} units, one per value of a step. Received: --units {units}"
            )
