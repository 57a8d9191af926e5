"""Commands that apply a run: they import neither TensorFlow nor Keras, and show the result before they draw."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lstm_ae_cli import main, series_detection
from processes import CEILING, imported_by
from searches import done

SAVED = Path(__file__).parents[2] / "saved_models"
BACKENDS = {"keras", "tensorflow"}
LOAD_ESTIMATOR = """
import sys
import numpy as np
from lstm_ae.estimators import AnomalyDetector

detector = AnomalyDetector.load("run")
assert len(detector.predict(np.ones((200, 3)))) == 200
assert not {"keras", "tensorflow"} & set(sys.modules)
"""


@pytest.fixture
def pump() -> None:
    """Write a run and a small table."""
    shutil.copytree(SAVED / "pump", "run")
    done("series example pump.csv")
    Path("pump.csv").write_text("".join(Path("pump.csv").read_text().splitlines(keepends=True)[:200]))


@pytest.mark.slow
def test_commands_of_an_autoencoder_import_no_tensorflow(pump: None) -> None:
    lines = (
        "series detect run pump.csv --label-col failure",
        "series encode run pump.csv --out codes.csv",
        "series reconstruct run pump.csv --out rows.csv",
        "series evaluate run pump.csv",
    )
    assert not (BACKENDS | {"sklearn"}) & imported_by(lines)[0]


@pytest.mark.exhaustive
def test_commands_of_a_forecaster_and_a_classifier_import_no_tensorflow() -> None:
    rows = [f"{np.sin(k / 3)},{'low' if k // 8 % 2 else 'high'}" for k in range(80)]
    Path("t.csv").write_text("\n".join(["a,kind", *rows]))
    options = "--window 6 --units 2 --epochs 1"
    for line in (
        f"series train t.csv --task forecast --value-cols a --horizon 3 {options} --out f",
        f"series train t.csv --task classify --label-col kind {options} --out c",
    ):
        done(line)
    lines = (
        "series forecast f t.csv --horizon 7 --out a.csv",
        "series evaluate f t.csv",
        "series classify c t.csv --out classes.csv",
        "series evaluate c t.csv",
    )
    assert not BACKENDS & imported_by(lines)[0]


@pytest.mark.slow
def test_loaded_estimator_imports_no_tensorflow(pump: None) -> None:
    subprocess.run([sys.executable, "-c", LOAD_ESTIMATOR], timeout=CEILING, check=True)


def test_detection_is_shown_before_the_figure_is_drawn(
    pump: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    monkeypatch.setattr(series_detection, "_draw", lambda *_: shown.append(capsys.readouterr().out) or b"a figure")
    assert main(["series", "detect", "run", "pump.csv"]) == 0
    assert "0 events in 56 rows" in shown[0]
    assert "figure: " in capsys.readouterr().out
