"""Training of fleets in several processes and on Ray."""

import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from fleet_makers import OPTIONS, SERIES, write_series
from sampling import sampled
from searches import done, refused

from lstm_ae.fleets.directory import Fleet
from lstm_ae.run import open_run

TRAIN = f"series train table.csv --fleet {OPTIONS}"


def content(fleet: Path) -> dict[str, list[bytes]]:
    """Return the weights and the calibration of each model."""
    return {
        series: [
            *(np.array(weight).tobytes() for weight in open_run(run.directory).model().weights),
            (run.directory / "normal.npz").read_bytes(),
        ]
        for series, run in Fleet(fleet).runs().items()
        if run.finished
    }


def copy_common(place: Path) -> None:
    """Copy the table and a fleet of which only the common model is complete."""
    shutil.copy(place / "table.csv", "table.csv")
    shutil.copytree(place / "fleet", "fleet", ignore=shutil.ignore_patterns("runs", "fleet.csv"))


@pytest.mark.parametrize("engine", sampled(("--jobs 2", "--engine ray --jobs 2"), slow=("--jobs 2",)))
def test_models_do_not_depend_on_the_engine(engine: str, place: Path) -> None:
    if "ray" in engine:
        pytest.importorskip("ray")
    copy_common(place)
    said = done(f"{TRAIN} --out fleet {engine}")
    assert "training 3 models, 2 at once" in said.err
    assert list(content(Path("fleet"))) == list(SERIES)
    assert content(Path("fleet")) == content(place / "fleet")


def test_missing_cluster_is_reported_before_the_common_training(monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(Path("table.csv"))
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "ray is not installed" in refused(f"{TRAIN} --out fleet --engine ray", 1)
    monkeypatch.setitem(sys.modules, "ray", mock.Mock())
    assert "Cannot reach ray at" in refused(f"{TRAIN} --out fleet --engine ray --address 127.0.0.1:1", 1)
    assert not Path("fleet").exists()


def test_jobs_and_engines_are_for_fleets() -> None:
    write_series(Path("table.csv"))
    for option in ("--jobs 2", "--engine ray", "--address a:1"):
        message = refused(f"series train table.csv {option}", 2)
        assert f"{option.split()[0]} does not apply to a single model" in message
        assert "--fleet" in message
