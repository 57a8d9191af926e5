"""Every choice of a run: one frozen class a study, each field the only home of its option."""

import dataclasses

from lstm_ae.errors import ConfigError
from lstm_ae.options import Options, flag, option, redefault

# The report's names for its classifiers, as its reader will type them.
CLASSIFIERS = {
    "v1": "linear-on-input",
    "v2": "head-on-reconstruction",
    "v3": "two-autoencoders",
    "v4": "two-autoencoders-mlp",
}


# The prices of a day.
PRICES = ("open", "high", "low", "close")


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
        0.999, "Decay of the average of squared gradients, of Adam and its relatives.", minimum=0, below=1
    )
    epsilon: float = option(
        1e-7, "What keeps the steps of Adam and its relatives finite where gradients vanish.", above=0, maximum=1
    )
    weight_decay: float = option(0.004, "Decay of the weights, of adamw.", minimum=0, maximum=10)
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
        "Parts of a training batch that run side by side, one a core. The numbers depend on it in their last digits, "
        "and not on the cores of the machine.",
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

    def __post_init__(self) -> None:
        super().__post_init__()
        adams = ("adam", "adamw", "nadam")
        for name, users in (("beta_2", adams), ("epsilon", adams), ("weight_decay", ("adamw",))):
            if getattr(self, name) != Config.__dataclass_fields__[name].default and self.optimizer not in users:
                raise ConfigError(
                    f"{flag(name)} is for --optimizer {', '.join(users)}. Received: --optimizer {self.optimizer}"
                )


# Fields of models that read a sequence in order to give it back.
LATENT = option(
    "steps",
    "What the encoder hands over: its hidden state at every step (as the report; no bottleneck), or one code vector.",
    choices=("steps", "vector"),
)
BIDIRECTIONAL = option(False, "Let the encoder read the sequence in both directions.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(Config):
    """The report's first study: noise with a damped stretch, to be reconstructed."""

    epochs: int = redefault(Config, "epochs", 8)
    sequences: int = option(60_000, "Sequences to generate, 50 steps each.", minimum=10, maximum=10_000_000)
    latent: str = LATENT
    bidirectional: bool = BIDIRECTIONAL
    learning_rate: float = redefault(Config, "learning_rate", 0.03)
    schedule: str = redefault(Config, "schedule", "cosine")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mnist(Config):
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
    head: int = option(64, "Units of the hidden dense layer of two-autoencoders-mlp.", minimum=1, maximum=4096)
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
    )
    every: int = option(
        1,
        "With head-on-code: the head reads a second LSTM, over every n-th state of the encoder; 1 reads the encoder.",
        minimum=1,
        maximum=784,
    )
    label_smoothing: float = option(0.0, "Share of a class's target given to all classes alike.", minimum=0, below=1)
    deform: float = option(
        0.0,
        "Turn, shift, stretch and bend the training digits, by this multiple of a usual amount; 0 leaves them.",
        minimum=0,
        maximum=10,
    )
    latent: str = LATENT
    bidirectional: bool = BIDIRECTIONAL
    units: int = redefault(Config, "units", 8)
    epochs: int = redefault(Config, "epochs", 12)
    schedule: str = redefault(Config, "schedule", "cosine")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model != "head-on-code":
            for name in ("pool", "every"):
                if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                    raise ConfigError(
                        f"--{name} is for --model head-on-code; the other heads read every step. Leave it out, or add "
                        "--model head-on-code"
                    )
        elif self.latent == "vector" and (self.pool != "last" or self.every != 1):
            raise ConfigError("--pool and --every need --latent steps: a vector latent has one state. Leave them out")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snp(Config):
    """The report's third study: stock prices, reconstructed or forecast."""

    data: str | None = option(
        None,
        "A CSV with the columns symbol, date, open, high, low, close, volume; may be compressed.",
        tunable=False,
    )
    goal: str = option("predict", "What the model learns.", choices=("predict", "reconstruct"), tunable=False)
    field: str = option("high", "The price to model.", choices=PRICES, tunable=False)
    inputs: str | None = option(
        None,
        "What the model reads of every day: one price, all four (ohlc), or those and the volume (ohlcv) (default: the "
        "price to model alone, as the report).",
        choices=(*PRICES, "ohlc", "ohlcv"),
        tunable=False,
    )
    with_open: bool = option(
        False, "Forecast a day whose open is known already; for one day ahead only.", tunable=False
    )
    symbols: tuple[str, ...] = option(
        (), "Only these companies, separated by commas; all where not given.", tunable=False
    )
    start: str = option("", "Leave out days before this date (YYYY-MM-DD).", tunable=False)
    end: str = option("", "Leave out days after this date (YYYY-MM-DD).", tunable=False)
    window: int = option(30, "Days that the model reads.", minimum=2, maximum=10_000)
    stride: int = option(1, "Days between the starts of two training windows.", minimum=1, maximum=10_000)
    split: str = option(
        "time",
        "How windows are divided: by date (70/15/15), or shuffled as in the report, which leaks.",
        choices=("time", "report"),
        tunable=False,
    )
    scale: str = option(
        "auto",
        "How prices are scaled: as logarithms (log; changes are then relative), by each company's range on its "
        "training days (company), by that on all days (report; it leaks), by the window's own range (window), or not "
        "(none); auto is log for forecasts of changes, else company.",
        choices=("auto", "log", "company", "report", "window", "none"),
        tunable=False,
    )
    last_day_only: bool = option(False, "Learn to predict the day after the window alone, not the day after every day.")
    target: str = option(
        "change",
        "Predict the change from the last known day (starts as persistence), or the level itself as the report does.",
        choices=("change", "level"),
    )
    latent: str = LATENT
    bidirectional: bool = BIDIRECTIONAL
    units: int = redefault(Config, "units", 32)
    schedule: str = redefault(Config, "schedule", "cosine")
    clip: float = redefault(Config, "clip", 5.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.goal == "predict":
            for name, value in (("bidirectional", self.bidirectional), ("latent", self.latent == "vector")):
                if value:
                    raise ConfigError(
                        f"--{name} is for --goal reconstruct: a forecaster reads forward only and keeps every step. "
                        f"Leave it out, or add --goal reconstruct"
                    )
            if self.scale == "window" and not self.last_day_only:
                raise ConfigError(
                    "--scale window needs --last-day-only: the range of a whole window tells its earlier days how high "
                    "the later ones go. Add --last-day-only, or choose another --scale"
                )
        else:
            for name in ("last_day_only", "target", "inputs", "with_open"):
                if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                    raise ConfigError(
                        f"{flag(name)} is for --goal predict. Leave it out, or take out --goal reconstruct"
                    )
        self._check_inputs()

    def _check_inputs(self) -> None:
        if self.inputs in PRICES and self.inputs != self.field:
            raise ConfigError(
                f"--inputs {self.inputs} does not hold the price to model, --field {self.field}. Leave it out, or "
                "choose ohlc or ohlcv"
            )
        if self.with_open and self.field == "open":
            raise ConfigError("--with-open tells the model the day's open, so it cannot be --field as well")
        if len(self.fields) > 1 and (self.scaling != "log" or self.target != "change"):
            name = "--with-open" if self.with_open else f"--inputs {self.inputs}"
            raise ConfigError(
                f"{name} needs --scale log and --target change, where one price is told relative to another. Leave "
                "--scale and --target out"
            )

    @property
    def scaling(self) -> str:
        """The scale that is meant."""
        if self.scale != "auto":
            return self.scale
        return "log" if self.goal == "predict" and self.target == "change" else "company"

    @property
    def fields(self) -> tuple[str, ...]:
        """What the model reads of a day: the price to model first, then the open where it is read, then the others."""
        chosen = {"ohlc": PRICES, "ohlcv": (*PRICES, "volume")}.get(self.inputs or "", (self.field,))
        if self.with_open:
            chosen = ("open", *chosen)
        return tuple(dict.fromkeys((self.field, *chosen)))


TASKS: dict[str, type[Config]] = {"toy": Toy, "mnist": Mnist, "snp": Snp}


def task_of(config: Config) -> str:
    """The name of the study a config belongs to."""
    return next(name for name, kind in TASKS.items() if type(config) is kind)
