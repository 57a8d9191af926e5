"""Benchmarks alternate contestants and report ratios; timings depend on the machine and are not tested."""

import functools
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helps import examples
from lstm_ae_cli import main
from searches import Said, call

from lstm_ae.bench import detecting, scaling, servers, serving, tuning
from lstm_ae.bench.runner import Lap, Spread, measure_rounds, ratios, spread
from lstm_ae.bench.serving import Load
from lstm_ae.bench.training import Shape, profile_step
from lstm_ae.config import Toy
from lstm_ae.errors import ConfigError


def contestant(name: str, told: Path, lap: Lap) -> None:
    for _ in range(3):
        with told.open("a") as file:
            file.write(f"{name} {os.getpid()}\n")
        lap()


def broken(lap: Lap) -> None:
    lap()
    raise ValueError("broken")


def killed(lap: Lap) -> None:
    lap()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_contestants_alternate_in_separate_processes(tmp_path: Path) -> None:
    told, done = tmp_path / "told", list[int]()
    laps = measure_rounds({name: functools.partial(contestant, name, told) for name in "ab"}, 2, done.append)
    names, processes = zip(*(line.split() for line in told.read_text().splitlines()), strict=True)
    assert names == ("a", "b", "a", "b", "a", "b")
    assert len(set(processes)) == 2
    assert done == [0, 1, 2]
    assert {name: len(taken) for name, taken in laps.items()} == {"a": 2, "b": 2}  # the first round is the warm-up
    assert all(seconds >= 0 for taken in laps.values() for seconds in taken)


@pytest.mark.slow
def test_errors_of_contestants_are_raised() -> None:
    with pytest.raises(ValueError, match="broken"):
        measure_rounds({"broken": broken}, 2, lambda _: None)
    with pytest.raises(ChildProcessError, match="exit code -9"):
        measure_rounds({"killed": killed}, 2, lambda _: None)


def test_ratios_are_computed_by_round() -> None:
    assert ratios([2, 30, 8], [1, 10, 2]) == Spread(3, 2, 4)
    assert spread([3, 1, 2]) == Spread(2, 1, 3)


def test_steps_of_a_lap_decrease_with_the_size_of_the_shape() -> None:
    assert Shape(16, 50, 1).laps == 281  # an epoch of the toy
    assert [Shape(16, 784, 1).laps, Shape(128, 784, 1).laps] == [17, 3]


def test_operations_of_a_training_step_by_hand() -> None:
    # One sample, one step: products of 1 + 2 rows by 8 columns, 2 + 2 by 8, 2 by 1; 2 operations each, 3 passes.
    assert Shape(2, 1, 1, 1).operations() == 3 * 2 * (3 * 8 + 4 * 8 + 2)


def example(verb: str, options: str) -> Said:
    """Run the example of the help with options that make it small; the last value of an option counts."""
    line = examples()["bench", verb].replace("saved_models", str(Path(__file__).parents[2] / "saved_models"))
    return call(f"{line.removeprefix('lstmae ')} {options}")


@pytest.mark.slow
def test_bench_train_times_keras_and_ours() -> None:
    said = example("train", "--rounds 1 --json")
    assert said.code == 0, said.err
    (shape,) = json.loads(said.out)["shapes"]
    assert {"keras", "ours"} <= set(shape["seconds"])


@pytest.mark.exhaustive
def test_bench_train_times_workers_and_counts_their_bytes() -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    said = example("train", "--workers 1,2 --rounds 1 --json")
    assert said.code == 0, said.err
    (shape,) = json.loads(said.out)["shapes"]
    assert set(shape["seconds"]) == {"one process", "1 worker", "2 workers"}
    # Two LSTMs of 4 units and a dense layer have 96 + 144 + 5 weights of 4 bytes; a batch has 2 parts.
    assert shape["bytes"]["2 workers"] == {"sent": 2 * 245 * 4, "received": 2 * 245 * 4}
    assert shape["bytes"]["1 worker"] == {"sent": 245 * 4, "received": 2 * 245 * 4}


@pytest.mark.exhaustive
def test_bench_tune_compares_searches() -> None:
    said = example("tune", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)["searches"]
    assert found[0]["by"] == "1 job"
    assert {search["trials"] for search in found} == {18}


@pytest.mark.slow
def test_a_profile_names_the_parts_of_a_step() -> None:
    parts = profile_step(Shape(2, 3, 1, 4), 3)
    assert list(parts) == ["call a graph", "cut the batch", "forward", "backward", "clip and update"]


@pytest.mark.slow
def test_bench_train_scaling_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "GROWTH", {"units": [Shape(1, 4, 1), Shape(2, 4, 1)]})
    monkeypatch.setattr(scaling, "SAMPLES", (500,))
    assert main(["bench", "train", "--scaling", "--rounds", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = [(point["axis"], point["size"], point["growth"] is None) for point in document["scaling"]]
    assert found == [("units", 1, True), ("units", 2, False), ("data", 500, True)]
    assert document["processes"]["alone"] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shapes", "16x50"],
        ["--shapes", ""],
        ["--shapes", "16x50xa"],
        ["--shapes", "16x0x1"],
        ["--rounds", "0"],
        ["--profile", "--scaling"],
        ["--shapes", "4x10x1", "--scaling"],
        ["--workers", ""],
        ["--workers", "2,2"],
        ["--workers", "0,2"],
        ["--workers", "65"],
        ["--workers", "2,many"],
        ["--workers", "2", "--profile"],
    ],
    ids=str,
)
def test_bench_train_refuses_invalid_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "train", *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err


def test_bench_tune_refuses_options_that_one_search_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in ("--layers 2", "--cell gru", "--optimizer sgd", "--dropout 0.1", "--preset code"):
        said = call(f"bench tune {option}")
        assert said.code == 2
        assert "is not available in the stock search. Remove it or pass --no-stock." in said.err
    assert call("bench tune --patience 3").code == 2
    asked: list[Toy] = []

    def searches(config: Toy, *_: Any, **more: Any) -> list[tuning.SearchTiming]:
        asked.append(config)
        return [tuning.SearchTiming("ours", 1.0, 18, 0.5)]

    monkeypatch.setattr(tuning, "time_searches", searches)
    for line in ("--epochs 30 --schedule constant --kernel keras", "--preset report", "--layers 2 --no-stock"):
        said = call(f"bench tune {line}")
        assert said.code == 0, said.err
    assert [(config.patience, config.layers) for config in asked] == [(0, 1), (0, 1), (0, 2)]


@pytest.mark.exhaustive
def test_bench_serve_reports_rates_latencies_and_memory():
    said = example("serve", "--rounds 1 --seconds 0.3 --requests 640 --json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert [(row["by"], row["clients"]) for row in found["rows"]] == [
        (by, clients) for clients in (1, 8, 64) for by in ("ours, batching", "ours, one by one", "ours, numba")
    ]
    assert all(row["failed"] == 0 and row["rate"][0] > 0 and row["p50"] <= row["p99"] for row in found["rows"])
    assert [share["batch"] for share in found["shares"]] == [16, 64, 256, 1024]
    assert all(low <= middle <= high for share in found["shares"] for middle, low, high in [share["grpc_share"]])
    assert len(found["memory_megabytes"]) == 11


@pytest.mark.slow
def test_bench_detect_times_detection_and_scoring() -> None:
    said = example("detect", "--window 10 --units 3 --features 2 --rows 300 --json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    assert document["search"] == {"window": 10, "units": 3, "features": 2, "rows": 300}
    assert {name: len(taken) for name, taken in document["seconds"].items()} == {
        "ours": 2,
        "keras": 2,
        "ours, the scores alone": 2,
        "keras, the scores alone": 2,
    }


def test_bench_detect_uses_the_requested_rows_and_columns() -> None:
    assert detecting.make_table(detecting.DetectionLoad(10, 3, 2, 300), 300).values.shape == (300, 2)
    said = call("bench detect --window 10 --rows 9")
    assert said.code == 2
    assert "--rows must be at least --window, 10. Received: 9" in said.err


def test_serving_ratios_and_failed_requests_by_hand() -> None:
    ours = [Load(100, 1, 2, 9, 0), Load(90, 3, 4, 5, 1), Load(400, 2, 6, 7, 2)]
    plain = [Load(10, 1, 1, 1, 0), Load(30, 1, 1, 1, 0), Load(20, 1, 1, 1, 0)]
    row = serving._row("ours", 8, ours, plain)
    assert row == ("ours", 8, Spread(100, 90, 400), Spread(10, 3, 20), 2, 4, 7, 3)
    assert serving._row("ours", 8, ours, [Load(0, 1, 1, 1, 9)] * 3).times is None


def test_load_rounds_alternate_in_direction_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, float]] = []

    def load(port: int, path: str, body: bytes, *, clients: int, seconds: float) -> Load:
        asked.append((port, clients, seconds))
        return Load(float(len(asked)), 1, 1, 1, 0)

    monkeypatch.setattr(serving, "apply_load", load)
    found: Any = {by: SimpleNamespace(port=port, path="/") for port, by in enumerate(("ours", servers.PLAIN))}
    rows = serving.measure_load(found, b"", rounds=2, seconds=5, done=lambda _: None)
    order = [(port, clients) for clients in serving.CLIENTS for port in (0, 1)]
    assert [(port, clients) for port, clients, _ in asked] == order + order[::-1] + order
    assert [seconds for *_, seconds in asked] == [1.0] * 6 + [5] * 12
    assert [row.rate.low for row in rows if row.by == "ours"] == [12, 10, 8]
    assert serving.reference_server(found) == servers.PLAIN
    assert serving.reference_server([servers.BATCHING, servers.NUMBA]) == servers.BATCHING


def test_memory_measurement_fails_if_requests_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def load(*_: Any, requests: int, **more: Any) -> Load:
        sizes.append(requests)
        return Load(1, 1, 1, 1, len(sizes) // 11)

    monkeypatch.setattr(serving, "apply_load", load)
    server: Any = SimpleNamespace(port=1, path="/", process=SimpleNamespace(pid=os.getpid()))
    seen = serving.measure_memory(server, b"", requests=5, done=lambda _: None)
    assert [number for number, _ in seen] == list(range(11))
    with pytest.raises(ChildProcessError, match="1 of 2 requests failed"):
        serving.measure_memory(server, b"", requests=20, done=lambda _: None)


def test_the_plain_server_needs_a_run(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with (
        pytest.raises(ConfigError, match=r"needs '.*model\.keras'. Pass a run or --no-plain"),
        servers.start_servers(tmp_path, plain=True),
    ):
        pass
