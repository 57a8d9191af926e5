"""Fixtures for all tests, and the order of the test files. Each test runs in a new empty directory."""

import asyncio
import contextlib
import fcntl
import inspect
import os
import pickle
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis  # It inspects references, and must be imported before objects are frozen below.
import pytest

from lstm_ae.evaluation import Verdict
from lstm_ae.experiment import compare_out_of_fold
from lstm_ae.startup import pause_garbage_collection
from lstm_ae.studies.networks import SHORT_TRAINING
from lstm_ae.studies.start import OUT_OF_FOLD, START

# Set this before TensorFlow is imported. Its startup messages would hide the output of failing tests.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A busy machine is no reason to fail.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")
# A shell starts background processes with SIGINT ignored, and the processes that tests interrupt inherit that.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Each worker needs Keras sooner or later. Objects frozen after this import make garbage collection much faster.
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores. A thread of OpenMP occupies its core while it waits for the others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with pause_garbage_collection():
        import keras  # noqa: F401


# The slowest files of both suites. A worker runs whole files, so a slow file that starts last would keep one worker
# busy for minutes while the others are idle.
LONGEST = (
    "cli/test_cli.py",
    "estimators/test_estimators.py",
    "estimators/test_classifier.py",
    "estimators/test_sktime.py",
    "test_docs.py",
    "slow/test_golden.py",
    "slow/test_kills.py",
    "test_parallel.py",
    "bench/test_bench.py",
    "apply/test_detection.py",
    "studies/test_series_forecasting.py",
    "models/test_models.py",
    "training/test_loop.py",
    "search/test_search.py",
    "search/test_resume.py",
    "backtest/test_prices.py",
    "slow/test_interruption.py",
    "slow/test_watch_kills.py",
    "slow/test_table_evaluation.py",
    "export/test_saved_model.py",
    "tour/test_tour.py",
    "test_experiment.py",
    "test_saved_models.py",
    "kernels/test_kernels.py",
    "studies/test_snp_new_prices.py",
    "plots/test_plots.py",
    "search/test_oracles.py",
    "apply/test_streaming.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Leave exhaustive tests out of `-m slow`, as a file or a function that is marked slow may contain some."""
    if config.option.markexpr == "slow":
        config.option.markexpr = "slow and not exhaustive"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files: first the slowest files, then the files with the most tests."""
    tests = Path(__file__).parent
    longest = {tests / name: place for place, name in enumerate(LONGEST)}
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (longest.get(item.path, len(longest)), -sizes[item.path], item.path))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine."""
    if not inspect.iscoroutinefunction(pyfuncitem.function):
        return None
    arguments = inspect.signature(pyfuncitem.function).parameters
    asyncio.run(pyfuncitem.function(**{name: pyfuncitem.funcargs[name] for name in arguments}))
    return True


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _better_out_of_fold(config, data, epochs, observer):
    observer.on_folds(3)
    return Verdict("beats", START, 0.5, 0.01, windows=100, remark=OUT_OF_FOLD), 0.0


def _train_by_default(short: int, compare: object) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstm_ae.studies.networks.SHORT_TRAINING", short)
        patch.setattr("lstm_ae.experiment.compare_out_of_fold", compare)
        yield


@pytest.fixture(scope="session", autouse=True)
def single_networks() -> Iterator[None]:
    """Train one network by default, and none on the folds of classifiers; not in the processes of commands."""
    yield from _train_by_default(0, _better_out_of_fold)


@pytest.fixture(scope="module")
def several_networks() -> Iterator[None]:
    """Train as many networks by default as outside of tests, also on the folds of classifiers."""
    yield from _train_by_default(SHORT_TRAINING, compare_out_of_fold)


@contextlib.contextmanager
def proving_here() -> Iterator[None]:
    """Verify exports in this process, since a new process with TensorFlow takes seconds to start."""
    from lstm_ae.export import probe, verification

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "run_probe", lambda version, cases, _: probe.check_cases(str(version), str(cases)))
        yield


@pytest.fixture
def proven_here() -> Iterator[None]:
    """Verify exports in this process."""
    with proving_here():
        yield


@pytest.fixture(scope="session")
def exported_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the shipped toy run with a new export."""
    from lstm_ae.export.saved_model import export_run
    from lstm_ae.run import Run

    folder = tmp_path_factory.mktemp("runs") / "toy"
    shutil.copytree(Path(__file__).parents[1] / "saved_models/toy", folder, ignore=shutil.ignore_patterns("1"))
    with proving_here():
        export_run(Run(folder), folder)
    return folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SavedModel without layers."""
    from graphs import save_plain

    return save_plain(tmp_path_factory.mktemp("plain") / "1")


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run functions eagerly, since tracing takes most of the time for a tiny model on a few rows."""
    import tensorflow as tf
    from untraced import leave_untraced

    monkeypatch.setattr(tf, "function", leave_untraced)


def made_once(factory, name, make):
    """Make a folder in one process of pytest for all of them; return it and what `make` returned.

    Args:
        factory: The fixture `tmp_path_factory`.
        name: Name of the folder.
        make: Called in the new folder; returns what can be pickled.
    """
    place = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    folder, result = place / name, place / f"{name}.pickle"
    with (place / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            folder.mkdir()
            with contextlib.chdir(folder):
                made = make()
            result.write_bytes(pickle.dumps(made))
    return folder, pickle.loads(result.read_bytes())


@pytest.fixture(scope="session")
def grid(tmp_path_factory):
    """Return a finished search of four trials."""
    from searches import GRID, FinishedSearch, call

    def make():
        said = call(f"{GRID} --out s --json")
        assert said.code == 0, said.err
        return said

    folder, said = made_once(tmp_path_factory, "grid", make)
    return FinishedSearch(folder / "s", said)


@pytest.fixture
def s(grid, empty_directory):
    """Return a copy of a finished search that a test may damage."""
    return Path(shutil.copytree(grid.place, "s"))


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Start a headless browser."""
    from browsers import CHROMIUM, DRIVER, OPTIONS, webdriver

    options = webdriver.ChromeOptions()
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('user')}"):
        options.add_argument(option)
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()
