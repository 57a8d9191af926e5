"""A command that is interrupted and then resumed gives bitwise equal results."""

import signal
from pathlib import Path

import pytest
from kills import contents
from processes import CEILING, completed, interrupt, started, until, until_gone, until_it_imports
from sampling import sampled

pytestmark = pytest.mark.slow

TRAIN = "toy train --deterministic --sequences 6000 --epochs 8 --units 8"
TUNE = "toy tune --deterministic --epochs 4 --seed 1 --sequences 2000 --units 2,4 --jobs 1"


@pytest.mark.parametrize(
    ("line", "begun", "number"),
    [(TRAIN, "epoch 2/8", signal.SIGTERM), (TUNE, "trial 0: ", signal.SIGINT)],
    ids=["training, SIGTERM", "search, SIGINT"],
)
def test_interrupted_command_resumes_with_the_printed_one(line, begun, number, tmp_path):
    line += " --out 'my  run'"
    (whole := tmp_path / "whole").mkdir()
    completed(line, whole)
    command, left = interrupt(line, tmp_path, begun, number)
    until_gone(left)
    completed(command, tmp_path)
    assert contents(tmp_path / "my  run") == contents(whole / "my  run")


def test_repeated_signals_interrupt_training_once(tmp_path):
    line = "toy train --sequences 2000 --epochs 1000 --units 4 --out run"
    with started(line, tmp_path) as process:
        until(process, "epoch 2/1000")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        until(process, "lstmae: Interrupted; a checkpoint is saved. Resume with: ")
        while process.poll() is None:  # while Python shuts down
            process.send_signal(signal.SIGINT)
    assert process.returncode == 130


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not tell what a process imports")
@pytest.mark.parametrize(
    "library", sampled(("libtensorflow_framework", "_pywrap_tensorflow_internal", "h5py"), slow=("h5py",))
)
def test_interruption_during_imports_exits_with_code_130(tmp_path, library):
    with started(f"{TRAIN} --out run", tmp_path) as process:
        until_it_imports(process, library)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=CEILING)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("lstmae: Interrupted; ")
