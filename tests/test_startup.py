"""Test process startup: paused garbage collection during imports, and children that end with their parent."""

import gc
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import CEILING, until_gone, until_there

from lstm_ae.startup import load_tensorflow, mute_stderr, pause_garbage_collection


@pytest.fixture
def thawed():
    """Unfreeze the objects that a test freezes."""
    frozen = gc.get_freeze_count()
    yield
    if not frozen:
        gc.unfreeze()


def test_garbage_collection_is_paused_and_resumed(thawed):
    before = gc.get_freeze_count()
    with pause_garbage_collection():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)


def test_muting_needs_no_console(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with mute_stderr():
        assert sys.stderr is None


LEVEL = "TF_CPP_MIN_LOG_LEVEL"
FIT = """
import numpy as np
from lstm_ae.estimators import SequenceAutoencoder
SequenceAutoencoder(window=4, code=1, units=2, epochs=1).fit(np.sin(np.arange(100.0))[:, None]).export("exported")
"""
# A model that NumPy does not compute.
LOAD = f"""
from lstm_ae.run import open_run
open_run({str(Path(__file__).parents[1] / "saved_models/toy")!r}).network()
"""


@pytest.mark.parametrize(
    "program", [pytest.param(FIT, marks=pytest.mark.slow, id="fit"), pytest.param(LOAD, id="load")]
)
def test_estimators_and_runs_hide_the_messages_of_the_start(program):
    environment = {name: value for name, value in os.environ.items() if name != LEVEL}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=CEILING, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(("chosen", "level"), [(None, "3"), ("0", "0")])
def test_start_keeps_a_chosen_level_of_messages(monkeypatch, chosen, level):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setattr(importlib, "import_module", str)
    monkeypatch.setenv(LEVEL, chosen or "")
    if chosen is None:
        monkeypatch.delenv(LEVEL)
    load_tensorflow()
    assert os.environ[LEVEL] == level


# A module whose import writes the process ID to a file and never ends.
ENDLESS = """
import os, threading
with open("child.part", "w") as file:
    file.write(str(os.getpid()))
os.rename("child.part", "child")
threading.Event().wait()
"""
CHILD = """
from lstm_ae.parallel import Engine
from lstm_ae.search.job import TrialWork, TrialJob
from lstm_ae.search.trial import Objective, Trial
with Engine(jobs=2).open(TrialWork()) as pool:
    job = TrialJob(Trial(0, {}), {}, "toy", "s", Objective("val_loss"))
    list(pool.run([job], lambda job, reason: None, lambda titles, how: None))
"""


@pytest.mark.slow
def test_process_of_a_pool_ends_during_import_when_its_parent_is_killed(tmp_path):
    (tmp_path / "keras.py").write_text(ENDLESS)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", CHILD], cwd=tmp_path, env=environment) as parent:
        until_there(tmp_path / "child")
        parent.kill()
    until_gone([int(Path(tmp_path, "child").read_text())])
