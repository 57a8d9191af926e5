"""A quick start of processes: no garbage collection during imports."""

import gc
import subprocess
import sys

import pytest

from lstm_ae.starting import uncollected


@pytest.fixture
def thawed():
    """The collector as it was, whatever a test freezes."""
    frozen = gc.get_freeze_count()
    yield
    if not frozen:
        gc.unfreeze()


def test_the_collector_rests_and_goes_on(thawed):
    before = gc.get_freeze_count()
    with uncollected():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)


def test_the_collector_goes_on_after_an_error(thawed):
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off(thawed):
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "begun",
    [
        "from lstm_ae_cli.backend import import_tensorflow\n"
        "from lstm_ae_cli.talk import Talk\n"
        "import_tensorflow(Talk())",
        "from lstm_ae.search.workers import prepare\nprepare(1, '/dev/null')",
    ],
    ids=["command", "worker"],
)
def test_processes_of_ours_start_so(begun):
    program = (
        "import gc, sys\n"
        "collected = []\n"
        "gc.callbacks.append(lambda phase, info: collected.append(1) if phase == 'start' else None)\n"
        f"{begun}\n"
        "assert 'tensorflow' in sys.modules\n"
        "assert gc.isenabled()\n"
        "print(len(collected), gc.get_freeze_count())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    collections, frozen = map(int, done.stdout.split())
    assert frozen > 300_000
    assert collections < 300  # otherwise about 1,000 on Python 3.11
