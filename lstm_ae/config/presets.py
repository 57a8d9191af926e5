"""Named presets: the report's settings and the best known ones. Options override their values."""

from collections.abc import Mapping

from lstm_ae.errors import ConfigError
from lstm_ae.json_types import JsonMapping, JsonObject

# Short descriptions for the help.
DESCRIPTIONS: Mapping[str, str] = {
    "report": "as in the report",
    "best": "best known settings",
    "code": "with one code vector, see --code",
    "pixels": "784 single pixels",
    "one-lstm": "784 single pixels, classified by one LSTM",
}

# By study and name: values that differ from the defaults.
PRESETS: Mapping[str, Mapping[str, JsonMapping]] = {
    "series": {},
    "toy": {
        # The best of the report's grid; epochs and batch size are the defaults of the report's program.
        "report": {"units": 16, "learning_rate": 0.1, "clip": 5.0, "epochs": 10, "schedule": "constant", "patience": 0},
        "best": {
            "epochs": 20,
            "batch_size": 8,
            "learning_rate": 0.08,
            "beta_2": 0.995,
            "epsilon": 1e-12,
            "patience": 0,
        },
        "code": {
            "latent": "vector",
            "decoder_start": "code",
            "delay_line": True,
            "units": 50,
            "batch_size": 32,
            "learning_rate": 0.001,
            "beta_2": 0.995,
            "epsilon": 1e-12,
            "patience": 0,
        },
    },
    "mnist": {
        "report": {
            "model": "two-autoencoders-mlp",
            "units": 8,
            "learning_rate": 0.01,
            "clip": 5.0,
            "epochs": 10,
            "schedule": "constant",
            "patience": 0,
        },
        # Rows, both directions, data augmentation.
        "best": {
            "units": 64,
            "bidirectional": True,
            "head": 128,
            "dropout": 0.2,
            "deform": 0.9,
            "learning_rate": 0.003,
            "epochs": 40,
            "patience": 0,
        },
        # The head reads a second LSTM, which shortens the path to the first pixel to 28 + 28 steps.
        "pixels": {
            "read": "pixels",
            "model": "head-on-code",
            "every": 28,
            "pool": "both",
            "units": 64,
            "decoder_units": 8,
            "deform": 0.5,
            "learning_rate": 0.006,
            "epochs": 30,
            "patience": 0,
        },
        # One LSTM with initial time scales of up to four rows of a picture; with all 784 steps it learns more slowly.
        "one-lstm": {
            "read": "pixels",
            "model": "head-on-code",
            "pool": "both",
            "units": 64,
            "decoder_units": 8,
            "gates": "chrono",
            "memory": 112,
            "recurrent": "identity",
            "deform": 0.3,
            "learning_rate": 0.006,
            "epochs": 45,
            "patience": 0,
        },
    },
    "snp": {
        "report": {
            "units": 32,
            "learning_rate": 0.01,
            "clip": 5.0,
            "schedule": "constant",
            "split": "report",
            "scale": "report",
            "target": "level",
            "patience": 0,
            "seeds": 1,
        },
        # Tuned on 505 companies over five years; fewer rows need a higher learning rate and smaller batches.
        "best": {
            "inputs": "ohlcv",
            "last_day_only": True,
            "link": "none",
            "units": 8,
            "learning_rate": 0.003,
            "batch_size": 256,
            "epochs": 8,
            "patience": 0,
        },
    },
}


def load_preset(task: str, name: str) -> JsonObject:
    """Return the values of a study's preset.

    Raises:
        ConfigError: the study has no preset of this name.
    """
    values = PRESETS[task].get(name)
    if values is None:
        raise ConfigError(f"--preset of {task} must be one of {', '.join(PRESETS[task])}. Received: {name!r}")
    return dict(values)
