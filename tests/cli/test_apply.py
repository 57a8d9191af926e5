"""Commands that apply a run: they import neither TensorFlow nor Keras, and show the result before they draw."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lstm_ae_cli import main, series_detection
from processes import CEILING
from searches import call

SAVED = Path(__file__).parents[2] / "saved_models"
RUN_COMMANDS = """
import sys
from lstm_ae_cli import main

for line in sys.argv[1:]:
    assert main(line.split()) == 0, line
print("imported:", *sorted({"keras", "tensorflow"} & set(sys.modules)))
"""


LOAD_ESTIMATOR = """
import sys
import numpy as np
from lstm_ae.estimators import AnomalyDetector

detector = AnomalyDetector.load("run")
assert len(detector.predict(np.ones((200, 3)))) == 200
print("imported:", *sorted({"keras", "tensorflow"} & set(sys.modules)))
"""


def imported(*lines: str, code: str = RUN_COMMANDS) -> str:
    """Run commands in one new process and return which of both packages it has imported."""
    command = [sys.executable, "-c", code, *lines]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CEILING)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def write_table(name: str, rows: int = 80) -> pd.DataFrame:
    frame = pd.DataFrame({"a": np.sin(np.arange(rows) / 3), "b": np.cos(np.arange(rows) / 3)})
    frame["kind"] = np.where(np.arange(rows) // 8 % 2, "low", "high")
    frame.to_csv(name, index=False)
    return frame


@pytest.mark.slow
def test_commands_of_an_autoencoder_import_no_tensorflow() -> None:
    shutil.copytree(SAVED / "pump", "run")
    assert call("series example pump.csv").code == 0
    Path("pump.csv").write_text("".join(Path("pump.csv").read_text().splitlines(keepends=True)[:400]))
    assert (
        imported(
            "series detect run pump.csv",
            "series encode run pump.csv --out codes.csv",
            "series reconstruct run pump.csv --out rows.csv",
            "series evaluate run pump.csv",
            "series plot run pump.csv --figure plot.png",
        )
        == "imported:"
    )


@pytest.mark.exhaustive
def test_commands_of_a_forecaster_import_no_tensorflow() -> None:
    write_table("t.csv")
    said = call(
        "series train t.csv --task forecast --value-cols a,b --window 6 --horizon 3 --units 2 --epochs 1 --out run"
    )
    assert said.code == 0, said.err
    lines = (
        "series forecast run t.csv --out a.csv",
        "series forecast run t.csv --horizon 7 --out b.csv",
        "series evaluate run t.csv",
    )
    assert imported(*lines) == "imported:"


@pytest.mark.exhaustive
def test_commands_of_a_classifier_import_no_tensorflow() -> None:
    write_table("t.csv")
    said = call("series train t.csv --task classify --label-col kind --window 4 --units 2 --epochs 1 --out run")
    assert said.code == 0, said.err
    assert imported("series classify run t.csv --out classes.csv", "series evaluate run t.csv") == "imported:"


@pytest.mark.slow
def test_loaded_estimator_imports_no_tensorflow() -> None:
    shutil.copytree(SAVED / "pump", "run")
    assert imported(code=LOAD_ESTIMATOR) == "imported:"


@pytest.fixture
def detection() -> list[str]:
    """Return a command that detects anomalies in a small table."""
    shutil.copytree(SAVED / "pump", "run")
    assert call("series example pump.csv").code == 0
    Path("small.csv").write_text("".join(Path("pump.csv").read_text().splitlines(keepends=True)[:200]))
    return ["series", "detect", "run", "small.csv"]


def test_detection_is_shown_before_the_figure_is_drawn(
    detection: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    monkeypatch.setattr(series_detection, "_draw", lambda *_: shown.append(capsys.readouterr().out) or b"a figure")
    assert main(detection) == 0
    assert "0 events in 199 rows" in shown[0]
    assert "figure: " in capsys.readouterr().out


def test_detection_writes_its_files_even_if_the_reader_stops_early(
    detection: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(series_detection, "_show_detection", stopped)
    monkeypatch.setattr(series_detection, "_draw", lambda *_: b"a figure")
    main(detection)
    assert Path("run/events.csv").is_file()
    assert Path("run/figures/detection.png").read_bytes() == b"a figure"
