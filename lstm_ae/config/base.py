"""What all studies choose, and the fields that several of them share."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from lstm_ae.config.options import Options, option
from lstm_ae.errors import ConfigError

# Optimizers that average squared gradients.
ADAMS = ("adam", "adamw", "nadam")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Options):
    """What all studies choose: the cells, the training, the seed."""

    cell: str = option("lstm", "Kind of recurrent cell.", choices=("lstm", "gru"))
    units: int = option(16, "Hidden units of each recurrent layer.", minimum=1, maximum=4096)
    decoder_units: int | None = option(
        None, "Hidden units of the decoder's layers (default: as many as the encoder's).", minimum=1, maximum=4096
    )
    layers: int = option(1, "Recurrent layers in the encoder, and again in the decoder.", minimum=1, maximum=8)
    dropout: float = option(0.0, "Share of hidden values dropped between layers in training.", minimum=0, below=1)
    optimizer: str = option("adam", "Optimizer.", choices=("adam", "adamw", "nadam", "rmsprop", "sgd"))
    learning_rate: float = option(0.01, "Learning rate at the start.", above=0, maximum=10)
    schedule: str = option(
        "constant",
        "Learning rate over the epochs: constant, or a half cosine down to 0.",
        choices=("constant", "cosine"),
    )
    warmup: float = option(
        0.0, "Share of all training steps over which the learning rate rises from 0.", minimum=0, below=1
    )
    beta_2: float = option(
        0.999,
        "Decay of the average of squared gradients, of Adam and its relatives.",
        minimum=0,
        below=1,
        needs=(("optimizer", ADAMS),),
    )
    epsilon: float = option(
        1e-7,
        "What keeps the steps of Adam and its relatives finite where gradients vanish.",
        above=0,
        maximum=1,
        needs=(("optimizer", ADAMS),),
    )
    weight_decay: float = option(
        0.004, "Decay of the weights, of adamw.", minimum=0, maximum=10, needs=(("optimizer", ("adamw",)),)
    )
    average: float = option(
        0.0,
        "Judge and keep a moving average of the weights, of this momentum; 0 keeps the weights themselves.",
        minimum=0,
        below=1,
    )
    gates: str = option(
        "keras",
        "Initial biases of the gates: keras (forget gates 1), or chrono (memories spread over the sequence's length).",
        choices=("keras", "chrono"),
    )
    memory: int | None = option(
        None,
        "With --gates chrono: the longest of the memories, in steps (default: the sequence's length).",
        minimum=2,
        maximum=1_000_000,
        needs=(("gates", ("chrono",)),),
    )
    recurrent: str = option(
        "orthogonal",
        "Initial recurrent kernel: orthogonal, or identity for the candidate's part.",
        choices=("orthogonal", "identity"),
    )
    clip: float = option(1.0, "Clip the norm over all gradients to this; 0 does not clip.", minimum=0, maximum=1e6)
    batch_size: int = option(128, "Samples in a training step.", minimum=1, maximum=65_536)
    epochs: int = option(10, "Passes over the training part.", minimum=1, maximum=100_000)
    patience: int = option(
        10,
        "Stop after this many epochs without a better validation loss; 0 never stops early.",
        minimum=0,
        maximum=100_000,
    )
    parts: int = option(
        2,
        "Parts of a training batch that run side by side, one a core. The numbers depend on it, without --dropout and "
        "--deform in their last digits only, and never on the cores of the machine.",
        minimum=1,
        maximum=64,
        tunable=False,
    )
    kernel: str = option(
        "auto",
        "What computes LSTM layers in training: auto (kernels of this package; cuDNN where there is a GPU), or keras.",
        choices=("auto", "keras"),
        tunable=False,
    )
    seed: int = option(0, "Seed of weights, shuffling and generated data.", minimum=0, maximum=2**32 - 1, tunable=False)
    deterministic: bool = option(
        False,
        "Use deterministic kernels only: the same numbers to the last bit, on one kind of processor.",
        tunable=False,
    )

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """The same with other values of some options, as a search tries them; they win, as in `chosen`."""
        return self.chosen(self.to_dict(), values)


BIDIRECTIONAL = option(False, "Let the encoder read the sequence in both directions.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionConfig(Config):
    """What those studies choose as well whose models give a sequence back."""

    latent: str = option(
        "steps",
        "What the encoder hands over: its hidden state at every step (as the report; no bottleneck), or one code "
        "vector.",
        choices=("steps", "vector"),
    )
    code: int | None = option(
        None,
        "With --latent vector: numbers in the code (default: the encoder's last state as it is).",
        minimum=1,
        maximum=4096,
        needs=(("latent", ("vector",)),),
    )
    decoder_start: str = option(
        "zero",
        "With --latent vector: the state that the decoder starts from, zero or the code, which it reads at every step.",
        choices=("zero", "code"),
        needs=(("latent", ("vector",)),),
    )
    delay_line: bool = option(
        False,
        "With --decoder-start code: begin with values that hand the numbers of a sequence on from unit to unit, the "
        "last ones, as many as there are units; a --code of another size passes layers that begin at random.",
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
        """Numbers a step."""
        return 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.code is not None and self.code > (width := self.units * (2 if self.bidirectional else 1)):
            raise ConfigError(
                f"--code must be at most the {width} numbers of the encoder's state; make it smaller, or give more "
                f"--units. Received: {self.code}"
            )
        units = min(self.units, self.decoder_units or self.units)
        if self.delay_line and units < self.features:
            raise ConfigError(
                f"--delay-line needs a unit for each of the {self.features} numbers of a step. "
                f"Received: --units {units}"
            )
