"""Test run directories: creation, atomic writing, lookup, and the refusal of damaged runs."""

import errno
import json
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from lstm_ae import files, run
from lstm_ae import run as runs
from lstm_ae.config import Config, Mnist, Snp, Toy
from lstm_ae.data.windows import Source
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.model_store import FittedModel, format_history
from lstm_ae.run import FORMAT, Run

SOURCE = Source("made for a test", "abc123", "CC0", ("a note",), "")
METRICS = {
    "test": {"mse": {"value": 0.5, "baselines": {}, "unit": "", "higher_is_better": False}},
    "training": {"epochs": 1},
}


def created(where: str | None = "here", config: Config | None = None, source: Source = SOURCE) -> Run:
    return runs.create_run(where and Path(where), config or Toy(), source, ("", "AAPL"), "lstmae toy train")


def finished(where: str, config: Config | None = None, source: Source = SOURCE, at: str = "") -> Run:
    run = created(where, config, source)
    run.write_metrics(METRICS)
    if at:
        changed(run, created=at)
    return run


def changed(run: Run, **values: Any) -> None:
    """Rewrite keys of the config.json of a run; None removes a key."""
    path = run.directory / "config.json"
    about = {key: value for key, value in (json.loads(path.read_text()) | values).items() if value is not None}
    path.write_text(json.dumps(about))


def test_new_run_records_config_data_command_and_versions() -> None:
    config = Snp(symbols=("AAPL",), clip=2)
    run = created("deep/down/here", config)
    about = run.about()
    assert about["format"] == FORMAT
    assert about["task"] == "snp"
    assert about["config"] == config.to_dict()
    assert about["data"] == {
        "text": "made for a test",
        "sha256": "abc123",
        "license": "CC0",
        "notes": ["a note"],
        "leaky": "",
        "symbols": ["", "AAPL"],
    }
    assert about["command"] == "lstmae toy train"
    assert set(about["versions"]) == {"python", "lstm-ae", "tensorflow", "keras", "numpy", "numba"}
    assert run.config() == config
    assert not run.finished
    assert [path.name for path in run.directory.iterdir()] == ["config.json"]


def test_create_run_generates_a_unique_directory() -> None:
    first, second = created(None), created(None, Mnist())
    assert {path.parent.name for path in (first.directory, second.directory)} == {"runs"}
    assert first.directory.name.startswith("toy-20")
    assert second.directory.name.startswith("mnist-20")
    assert first.directory != created(None).directory


def test_create_run_accepts_an_empty_directory() -> None:
    Path("here").mkdir()
    assert created().directory == Path("here")


@pytest.mark.parametrize("kind", ["non-empty", "hidden file", "file", "symlink to a run", "dangling symlink"])
def test_create_run_refuses_an_existing_path_and_leaves_it_unchanged(kind: str) -> None:
    here = Path("here")
    what = "is not a directory"
    if kind in ("non-empty", "hidden file"):
        here.mkdir()
        (here / (".hidden" if kind == "hidden file" else "thesis.tex")).write_text("mine")
        what = "is not empty"
    elif kind == "file":
        here.write_text("mine")
    elif kind == "symlink to a run":
        created("there")
        here.symlink_to("there")
        what = "is not empty"
    else:
        here.symlink_to("nowhere")
    before = sorted(str(path) for path in Path().rglob("*"))
    with pytest.raises(ConfigError) as caught:
        created()
    remedy = ", or resume with --resume" * (kind == "symlink to a run")
    assert str(caught.value) == f"--out 'here' {what}. Pass a new directory{remedy}"
    assert sorted(str(path) for path in Path().rglob("*")) == before


def test_only_one_of_concurrent_creations_gets_the_directory() -> None:
    for attempt in range(10):
        barrier, ends = threading.Barrier(4), list[Any]()

        def take(seed: int, attempt: int = attempt, barrier: Any = barrier, ends: list[Any] = ends) -> None:
            barrier.wait()
            try:
                ends.append(created(f"here{attempt}", Toy(seed=seed)).directory and seed)
            except Exception as failure:
                ends.append(failure)

        threads = [threading.Thread(target=take, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (won,) = (end for end in ends if isinstance(end, int))
        assert sum(isinstance(end, ConfigError) for end in ends) == 3
        assert [path.name for path in Path(f"here{attempt}").iterdir()] == ["config.json"]
        assert Run(Path(f"here{attempt}")).config().seed == won


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "'here' is not a run: it has no config.json"),
        ("", "'here/config.json' is not JSON (Expecting value"),
        ('{"task": "toy"', "'here/config.json' is not JSON (Expecting"),
        ('{"task": "toy", "task": "snp"}', "'here/config.json' is not JSON (the key 'task' occurs twice"),
        ("[" * 100_000, "'here/config.json' is not JSON (it is nested too deeply"),
        ("\x80", "'here/config.json' is not JSON ("),
        ("[1]", "'here/config.json' must hold a JSON object. Received: list"),
        ('{"task": "toy", "config": {}}', "'here' is not a run: its config.json lacks created, command, or data"),
        ('{"task": "iris"}', "'here/config.json': 'task' must be one of toy, mnist, snp, series. Received: 'iris'"),
        ('{"task": ["toy"]}', "'here/config.json': 'task' must be one of toy, mnist, snp, series. Received: ['toy']"),
        ("{}", "'task' must be one of toy, mnist, snp, series. Received: None"),
    ],
    ids=["missing", "empty", "cut", "key twice", "too deep", "not UTF-8", "a list", "half", "task", "tasks", "no task"],
)
def test_open_run_refuses_a_missing_or_invalid_config(content: str | None, message: str) -> None:
    here = Path("here")
    here.mkdir()
    if content is not None:
        (here / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises((DataError, ConfigError)) as caught:
        runs.open_run("here")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [1, 99, "2"])
def test_open_run_refuses_an_unsupported_format(number: Any) -> None:
    run = finished("here")
    changed(run, format=number)
    with pytest.raises(DataError, match=f"has format {number!r}, and this version reads format {FORMAT}. Train again"):
        runs.open_run("here")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"units": 0}, "--units must be a whole number at least 1 and at most 4096. Received: 0"),
        ({"unist": 3}, "Unknown key 'unist' in the config of toy. Did you mean 'units'?"),
        (5, "'config' must be an object with the options. Received: 5"),
    ],
)
def test_edited_run_config_is_validated(config: Any, message: str) -> None:
    run = created()
    changed(run, config=config)
    with pytest.raises(ConfigError) as caught:
        run.config()
    assert message in str(caught.value)


def test_open_run_refuses_a_run_of_another_study() -> None:
    finished("here")
    assert runs.open_run("here", "toy").directory == Path("here")
    with pytest.raises(ConfigError, match=r"'here' is a run of toy. Pass a run of snp, or use lstmae toy"):
        runs.open_run("here", "snp")
    with pytest.raises(ConfigError, match=r"'here/config.json' is a config of toy. Pass a config of snp"):
        run.read_config(Path("here"), "snp")


@pytest.mark.parametrize("where", ["nowhere", "a file"])
def test_open_run_refuses_a_path_without_a_run(where: str) -> None:
    Path("a file").write_text("")
    with pytest.raises(DataError, match=f"There is no run at '{where}'. `lstmae runs list` shows those in 'runs'"):
        runs.open_run(where)


def test_read_config_accepts_a_run_directory_or_a_file() -> None:
    created("here", Snp(clip=2))
    for path in ("here", "here/config.json"):
        assert Snp.from_dict(run.read_config(Path(path), "snp")) == Snp(clip=2)


def test_latest_is_the_newest_finished_run_of_the_study() -> None:
    with pytest.raises(DataError, match=r"There is no finished toy run in 'runs'. Train one"):
        runs.open_run("latest", "toy")
    with pytest.raises(DataError, match=r"There is no finished run in 'runs'"):
        runs.open_run("latest")
    finished("runs/z", at="2020-01-01T00:00:00Z")
    finished("runs/a", at="2021-01-01T00:00:00Z")
    finished("runs/b", Mnist(), at="2022-01-01T00:00:00Z")
    changed(created("runs/c"), created="2023-01-01T00:00:00Z")  # unfinished
    Path("runs/broken").mkdir()
    Path("runs/broken/config.json").write_text("{")
    assert runs.open_run("latest", "toy").directory == Path("runs/a")
    assert runs.open_run("latest").directory == Path("runs/b")
    assert [run.directory.name for run in Run.list_all()] == ["c", "b", "a", "z"]
    assert [run.directory.name for run in Run.list_all(Path("nowhere"))] == []


def test_find_run_matches_config_and_data() -> None:
    config = Toy(units=3)
    finished("runs/old", config, at="2020-01-01T00:00:00Z")
    assert runs.find_run(config, SOURCE) == Run(Path("runs/old"))
    finished("runs/new", config, at="2021-01-01T00:00:00Z")
    changed(created("runs/unfinished", config), created="2022-01-01T00:00:00Z")
    changed(finished("runs/no config", config), config=None, created="2022-01-01T00:00:00Z")
    finished("runs/other config", Toy(units=4), at="2022-01-01T00:00:00Z")
    finished("runs/other data", config, SOURCE._replace(sha256="def"), at="2022-01-01T00:00:00Z")
    assert runs.find_run(config, SOURCE) == Run(Path("runs/new"))
    changed(finished("runs/older format", config), format=1, created="2023-01-01T00:00:00Z")
    # The lookup compares the hash of the data, not its description.
    assert runs.find_run(config, SOURCE._replace(text="elsewhere", notes=())) == Run(Path("runs/new"))
    assert runs.find_run(Toy(units=5), SOURCE) is None
    assert runs.find_run(config, SOURCE._replace(sha256="0")) is None


def test_history_round_trips_exactly_without_a_training_loss_of_epoch_0() -> None:
    run, start = created(), {"epoch": 0, "val_loss": 0.5}
    run.write_history([start])
    assert run.history() == [start]
    rows = [start, {"epoch": 1.0, "loss": 0.1 + 0.2, "val_loss": 1e-300}]
    run.write_history(rows)
    assert run.history() == rows
    assert (run.directory / "history.csv").read_text().splitlines()[:2] == ["epoch,loss,val_loss", "0,,0.5"]


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_leaves_existing_files_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished("here")
    before = Path("here/metrics.json").read_bytes()
    monkeypatch.setattr(os, "fsync", full_disk)
    for attempt in (
        lambda: run.write_metrics({}),
        lambda: run.write_figure("loss", b"png"),
        lambda: files.save_state(run.state, {}, {"best": [1.0]}),
    ):
        with pytest.raises(OSError, match="No space left"):
            attempt()
    assert Path("here/metrics.json").read_bytes() == before
    assert not list(Path("here").rglob("*part*"))
    assert not run.state.exists()


def fitted() -> FittedModel:
    record = runs.config_record(Toy(), SOURCE, ("", "AAPL"), "a test")
    content = {
        "config.json": files.as_json(record),
        "metrics.json": files.as_json(METRICS),
        "history.csv": format_history([{"epoch": 0.0}, {"epoch": 1.0}]),
        "normal.npz": b"arrays",
        "model.keras": b"the content of a model",
    }
    return FittedModel(content, "a test")


def test_fitted_model_round_trips_through_a_run_and_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    first = fitted()
    run = runs.save_run(first, Path("deep/here"))
    assert not list(Path("deep").glob(".*"))
    for read in (run.read(), pickle.loads(pickle.dumps(first))):
        assert read.files == first.files
        assert (read.config(), read.history()) == (Toy(), [{"epoch": 0.0}, {"epoch": 1.0}])
        assert read.symbols == ("", "AAPL")
    with pytest.raises(DataError, match=r"'deep/here/model\.keras' is missing, damaged, or not a model"):
        run.read().model()
    with pytest.raises(ConfigError, match="is not empty"):
        runs.save_run(first, run.directory)
    # A failed save leaves no directory.
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        runs.save_run(first, Path("there"))
    assert [path.name for path in Path().iterdir()] == ["deep"]
    run.model_file.unlink()
    with pytest.raises(DataError, match=r"'deep/here/model\.keras' cannot be read"):
        run.read()


def test_saved_state_round_trips_exactly() -> None:
    path = Path("state.npz")
    files.save_state(path, {"best": 0.1, "text": "ü"}, {"a": [[1.5, 2.5], 3], "none": []})
    meta, groups = files.load_state(path, {"a": 2, "none": 0}, "restore it")
    assert meta == {"best": 0.1, "text": "ü"}
    assert [array.tolist() for array in groups["a"]] == [[1.5, 2.5], 3]
    assert groups["none"] == []
    with pytest.raises(DataError, match=r"'state.npz' cannot be read \(KeyError\)"):
        files.load_state(path, {"a": 3}, "restore it")


def test_write_creates_missing_parent_folders() -> None:
    assert files.write(Path("a/b/c.txt"), b"x").read_bytes() == b"x"
    assert files.write(Path("a/b/c.txt"), b"y").read_bytes() == b"y"
    with pytest.raises(FileExistsError):
        files.write(Path("a/b/c.txt"), b"z", new=True)
    assert [path.name for path in Path("a/b").iterdir()] == ["c.txt"]
    assert Path("a/b/c.txt").read_bytes() == b"y"
