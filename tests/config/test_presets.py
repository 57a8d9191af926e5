"""Presets: each builds a config, explicit options override it, and the command line accepts it."""

import json
from pathlib import Path

import digit_makers
import numpy as np
import price_makers
import pytest
from lstm_ae_cli import main
from sampling import sampled

from lstm_ae.config import TASKS
from lstm_ae.config.presets import PRESETS, load_preset
from lstm_ae.errors import ConfigError


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in PRESETS.items() for name in names])
def test_every_preset_differs_from_the_default_config(task: str, name: str) -> None:
    kind = TASKS[task]
    made = kind.from_dict(load_preset(task, name))
    assert made != kind()
    assert all(made.to_dict()[field] == value for field, value in PRESETS[task][name].items())


ALL = [(task, name) for task, names in PRESETS.items() for name in names]


@pytest.mark.parametrize(("task", "name"), sampled(ALL, slow=[("snp", dict(ALL)["snp"])]))
def test_every_preset_trains_and_reproduces_its_metrics(
    task: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train one epoch on few samples: all losses are finite, and `evaluate` reproduces the metrics of the run."""
    data = {
        "toy": ["--sequences", "40"],
        "mnist": ["--data", digit_makers.npz(tmp_path / "digits.npz")],
        "snp": ["--data", price_makers.prices(tmp_path, price_makers.days_of("AAA", 400))],
    }[task]
    assert main([task, "train", "--preset", name, *data, "--epochs", "1", "--out", "run", "--quiet"]) == 0
    history = np.genfromtxt("run/history.csv", delimiter=",", names=True)
    # Epoch 0 of a network, before training, has no training loss.
    trained = history[history["epoch"] > 0]
    assert len(trained)
    assert all(np.isfinite(trained[column]).all() for column in history.dtype.names)
    assert np.isfinite(history["val_loss"]).all()
    wanted = json.loads(Path("run/metrics.json").read_text())["test"]
    capsys.readouterr()
    assert main([task, "evaluate", "--run", "run", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]["test"]
    assert {key: row["value"] for key, row in found.items()} == pytest.approx(
        {key: row["value"] for key, row in wanted.items()}, rel=1e-4
    )


def test_load_preset_rejects_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"--preset of snp must be one of report\b.*Received: 'bets'"):
        load_preset("snp", "bets")
