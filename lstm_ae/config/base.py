"""Options of all studies, and options shared by several studies."""

import dataclasses
import functools
from typing import Self

from lstm_ae.config.options import DATA, MODEL, TASK, TRAINING, Options, declared_options, option
from lstm_ae.errors import Code, ConfigError
from lstm_ae.json_types import JsonMapping

# Optimizers with a moving average of squared gradients.
ADAMS = ("adam", "adamw", "nadam")


# Options that name files of data. A run is identified by the content of the files, which may move.
DATA_PATHS = ("data", "test")


_network = functools.partial(option, group=MODEL, advanced=True)
_training = functools.partial(option, group=TRAINING, advanced=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Options):
    """Options of all studies: network, training, and seed."""

    units: int = option(16, "Hidden units of each recurrent layer.", MODEL, minimum=1, maximum=4096)
    decoder_units: int | None = _network(
        None, "Hidden units of each decoder layer (default: as in the encoder).", minimum=1, maximum=4096
    )
    layers: int = option(1, "Recurrent layers in the encoder and in the decoder.", MODEL, minimum=1, maximum=8)
    dropout: float = _network(0.0, "Dropout rate between layers.", minimum=0, below=1)
    optimizer: str = _training("adam", "Optimizer.", choices=("adam", "adamw", "nadam", "rmsprop", "sgd"))
    learning_rate: float = option(0.01, "Initial learning rate.", TRAINING, above=0, maximum=10)
    schedule: str = _training(
        "constant", "Learning rate schedule: constant, or cosine decay to 0.", choices=("constant", "cosine")
    )
    beta_2: float = _training(
        0.999,
        "Decay rate of the average of squared gradients (Adam variants).",
        minimum=0,
        below=1,
        needs=(("optimizer", ADAMS),),
    )
    epsilon: float = _training(
        1e-7, "Constant for numerical stability (Adam variants).", above=0, maximum=1, needs=(("optimizer", ADAMS),)
    )
    clip: float = _training(1.0, "Maximum global norm of the gradients; 0 for no clipping.", minimum=0, maximum=1e6)
    batch_size: int = option(128, "Samples per training step.", TRAINING, minimum=1, maximum=65_536)
    epochs: int = option(10, "Passes over the training split.", TRAINING, minimum=1, maximum=100_000)
    patience: int = _training(
        10, "Epochs without better validation loss before training stops; 0 for never.", minimum=0, maximum=100_000
    )
    kernel: str = option(
        "auto",
        "LSTM implementation in training: auto or keras.",
        TRAINING,
        details="auto uses this package's kernels on CPUs, and cuDNN on GPUs.",
        advanced=True,
        choices=("auto", "keras"),
        tunable=False,
    )
    seed: int = option(
        0, "Seed of weights, shuffling, and generated data.", TRAINING, minimum=0, maximum=2**32 - 1, tunable=False
    )
    deterministic: bool = option(
        False,
        "Use deterministic kernels only.",
        TRAINING,
        details="Results are then bit-identical on one type of processor.",
        advanced=True,
        tunable=False,
    )

    @property
    def data_key(self) -> str:
        """Key of the options that determine the data: those of the data and of the task, and the seed."""
        names = [field.name for field in declared_options(type(self)) if field.option.group in (DATA, TASK)]
        return repr({name: getattr(self, name) for name in (*names, "seed")})

    @property
    def networks(self) -> int:
        """Number of networks whose outputs the model averages; 1 by default."""
        return getattr(self, "seeds", None) or 1

    @property
    def starts_linear(self) -> bool:
        """Whether the network is a forecaster or classifier that starts at a fitted linear model."""
        # Models of these tasks alone can be averages of several networks.
        return self.applies("seeds") and self.applies("link") and getattr(self, "link", "none") == "baseline"

    def for_members(self) -> list[Self]:
        """Return the config of each network whose outputs the model averages; only this config for a single network."""
        if self.networks == 1:
            return [self]
        return [self.with_values({"seeds": 1, "seed": (self.seed + number) % 2**32}) for number in range(self.networks)]

    def with_values(self, values: JsonMapping) -> Self:
        """Return a copy with other values of some options, see `merge`."""
        return self.merge(self.to_dict(), values)


BIDIRECTIONAL = option(False, "Use a bidirectional encoder.", MODEL, advanced=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionConfig(Config):
    """Options of the studies whose models reconstruct sequences."""

    latent: str = option(
        "steps",
        "Code: hidden states of all steps, or one vector.",
        MODEL,
        details="The report uses the states of all steps, which are no bottleneck.",
        choices=("steps", "vector"),
    )
    code: int | None = option(
        None,
        "Size of the code with --latent vector (default: size of the encoder's state).",
        MODEL,
        minimum=1,
        maximum=4096,
        needs=(("latent", ("vector",)),),
    )
    decoder_start: str = _network(
        "zero",
        "Initial state of the decoder with --latent vector: zero or the code.",
        choices=("zero", "code"),
        needs=(("latent", ("vector",)),),
    )
    delay_line: bool = _network(
        False,
        "Initialize the LSTMs as delay lines.",
        details="Delay lines copy the last values of a sequence.",
        needs=(
            ("decoder_start", ("code",)),
            ("layers", (1,)),
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
                f"--set delay_line=true needs at least {self.features} units, one per value of a step. Received: "
                f"{units}",
                code=Code.MISSING_OPTION,
            )
