"""Test `lstmae watch`: the template, checks, and scoring, with a small run."""

import contextlib
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from processes import CEILING, imported_by, started, until
from searches import call, refused

from lstm_ae.watch.state import State


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a run and its table, ten minutes between rows."""
    place = tmp_path_factory.mktemp("watch")
    times = np.datetime64("2024-01-01T00:00") + 10 * np.arange(300)
    flow = np.round(np.sin(np.arange(300) / 5) + np.random.default_rng(0).normal(size=300) / 10, 3)
    rows = "".join(f"{time},{value}\n" for time, value in zip(times, flow, strict=True))
    (place / "pump.csv").write_text(f"time,flow\n{rows}")
    with contextlib.chdir(place):
        assert call("series train pump.csv --window 8 --units 2 --epochs 1 --out pump").code == 0
    return place


@pytest.fixture
def here(place: Path, empty_directory: Path) -> Path:
    """Prepare a file with a run and a live table."""
    Path("runs").symlink_to(place)
    shutil.copy(place / "pump.csv", "pump.csv")
    assert call("watch watch.toml --init").code == 0
    text = Path("watch.toml").read_text()
    assert text.count('\nstart = "end"') == 1
    Path("watch.toml").write_text(text.replace('\nstart = "end"', '\nstart = "beginning"'))
    return empty_directory


def test_init_writes_a_file_and_overwrites_none() -> None:
    said = call("watch watch.toml --init")
    assert said.code == 0
    assert json.loads(Path("watch-dashboard.json").read_text())["title"] == "lstmae watch"
    assert Path("watch-rules.yaml").read_text().startswith("# Alert rules of Prometheus")
    assert "'watch.toml' exists and is not overwritten" in refused("watch watch.toml --init", 2)
    Path("watch.toml").unlink()
    assert "'watch-rules.yaml' exists and is not overwritten" in refused("watch watch.toml --init", 2)
    for folder in (".", "/", ".."):
        assert "is a directory. Pass the path of a new file" in refused(f"watch {folder} --init", 2)
    assert not Path("watch.toml").exists()


def test_missing_file_and_conflicting_options_are_refused() -> None:
    assert "Write one with: lstmae watch watch.toml --init" in refused("watch watch.toml", 2)
    assert "exclude each other" in refused("watch watch.toml --init --check", 2)


def test_check_lists_sources_and_sinks(here: Path) -> None:
    said = call("watch watch.toml --check")
    assert (said.code, said.out) == (0, "ok      source of pump: pump.csv\nok      sink jsonl\n")
    Path("pump.csv").unlink()
    said = call("watch watch.toml --check --json")
    assert (said.code, said.last) == (3, "1 of 2 checks failed")
    assert json.loads(said.out)["checks"][0]["problem"] == "There is no file 'pump.csv'. Check the path"


def test_watch_that_is_stopped_by_a_signal_succeeds(here: Path) -> None:
    Path("watch.toml").write_text(
        '[[monitors]]\nname = "a"\nrun = "latest"\nsource = {kind = "file", path = "a.csv"}\n'
    )
    with started("watch watch.toml", here) as process:
        until(process, "1 monitor running")
        process.send_signal(signal.SIGINT)
        assert process.wait(CEILING) == 0


def test_standard_input_is_scored_to_its_end_without_tensorflow(here: Path) -> None:
    Path("watch.toml").write_text('[[monitors]]\nname = "pump"\nrun = "latest"\nsource = { kind = "stdin" }\n')
    with Path("pump.csv").open("a+") as file:
        file.write("2024-01-05T00:00:00,high\n")
        file.seek(0)
        modules, _ = imported_by(["watch watch.toml"], stdin=file)
    assert "lstm_ae.watch.monitor" in modules
    assert not {"tensorflow", "keras", "prometheus_client"} & modules
    with contextlib.closing(State(Path("watch-state/pump.sqlite"))) as state:
        counts = state.fact("counts")
    assert (counts["rows"], counts["refused"]) == (300, {"value": 1})
