"""Set-ups with a name: the report's, and the best that has been found. Every field can still be given."""

from collections.abc import Mapping
from typing import Any

from lstm_ae.errors import ConfigError

# What each is, for people.
SAYS: Mapping[str, str] = {
    "report": "as there",
    "best": "of those tried",
    "code": "through one code vector, see --code",
    "pixels": "784 pixels one by one",
    "one-lstm": "the same, classified by one LSTM",
}

# By study, then by name: the fields in which a set-up is other than the usual one.
PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "series": {},
    "toy": {
        # The best of its grid; it says nothing of its epochs and batches but its program's defaults.
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
        # Rows, both directions, digits deformed anew in every epoch.
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
        # The head reads a second LSTM, whose way back to the first pixel is 28 + 28 steps.
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
        # Of one LSTM. Its memories begin at up to four rows of a picture: over all 784 steps it learns more slowly.
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
        },
        # Tuned on the 505 companies of five years; fewer rows take a higher learning rate and smaller batches.
        "best": {
            "inputs": "ohlcv",
            "last_day_only": True,
            "units": 8,
            "learning_rate": 0.003,
            "batch_size": 256,
            "epochs": 8,
            "patience": 0,
        },
    },
}


def load_preset(task: str, name: str) -> dict[str, Any]:
    """The fields of a study's set-up; raises `ConfigError` where it has none of this name."""
    found = PRESETS[task].get(name)
    if found is None:
        raise ConfigError(f"--preset of {task} must be one of {', '.join(PRESETS[task])}. Received: {name!r}")
    return dict(found)
