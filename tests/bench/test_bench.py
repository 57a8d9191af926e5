"""Benchmarks alternate contestants and report ratios; timings depend on the machine and are not tested."""

import functools
import json
import math
import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from helps import examples
from searches import CommandOutput, call, refused

from lstm_ae.bench import serving
from lstm_ae.bench.runner import Lap, measure_rounds
from lstm_ae.bench.serving import Load, Server
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


def example(verb: str, options: str) -> CommandOutput:
    """Run the example of the help with options that make it small; the last value of an option counts."""
    line = examples()["bench", verb].replace("saved_models", str(Path(__file__).parents[2] / "saved_models"))
    return call(f"{line.removeprefix('lstmae ')} {options}")


@pytest.mark.slow
def test_bench_train_times_keras_and_ours() -> None:
    said = example("train", "--rounds 1 --json")
    assert said.code == 0, said.err
    (shape,) = json.loads(said.out)["shapes"]
    assert {by: len(laps) for by, laps in shape["seconds"].items()} == {"keras": 1, "ours": 1}


@pytest.mark.parametrize("line", ["--shapes 16x50", "--shapes 16x50xa", "--shapes 16x0x1", "--rounds 0"])
def test_bench_train_refuses_invalid_options(line: str) -> None:
    assert line.split()[0] in refused(f"bench train {line}", 2)


@pytest.mark.slow
def test_bench_serve_reports_rates_and_latencies() -> None:
    said = example("serve", "--rounds 1 --seconds 0.3 --json")
    assert said.code == 0, said.err
    rows = json.loads(said.out)["rows"]
    assert [(row["by"], row["clients"]) for row in rows] == [("ours", clients) for clients in (1, 8, 64)]
    assert all(row["failed"] == 0 and row["rate"] > 0 and row["times_plain"] is None for row in rows)
    assert all(row["p50"] <= row["p95"] <= row["p99"] for row in rows)


def test_serving_ratios_and_failed_requests_by_hand() -> None:
    ours = [Load(100, 1, 2, 9, 0), Load(90, 3, 4, 5, 1), Load(400, 2, 6, 7, 2)]
    plain = [Load(rate, 1, 1, 1, 0) for rate in (10, 30, 0)]
    rows = [
        {"by": by, "clients": 8, "round": number, **load._asdict()}
        for by, loads in ((serving.OURS, ours), (serving.PLAIN, plain))
        for number, load in enumerate(loads, 1)
    ]
    # There is no ratio to a round of the plain server without answers.
    second, first = serving.summarize_loads(pd.DataFrame(rows)).to_numpy().tolist()
    assert first == [8, serving.OURS, 100, 90, 400, 6.5, 2, 4, 7, 3]
    assert second[:6] == [8, serving.PLAIN, 10, 0, 30, 1]
    (alone,) = serving.summarize_loads(pd.DataFrame(rows[:3])).to_dict("records")
    assert math.isnan(alone["times_plain"])


def test_the_plain_server_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.keras"), serving.start_servers(tmp_path, b"", plain=True):
        pass


def test_load_rounds_alternate_in_direction_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, float]] = []

    def load(port: int, path: str, body: bytes, *, clients: int, seconds: float) -> Load:
        asked.append((port, clients, seconds))
        return Load(float(len(asked)), 1, 1, 1, 0)

    monkeypatch.setattr(serving, "apply_load", load)
    servers = {by: Server(port, "/", 0.0) for port, by in enumerate((serving.OURS, serving.PLAIN))}
    loads = serving.measure_load(servers, b"", rounds=1, seconds=5, done=lambda _: None)
    order = [(port, clients, 1.0) for clients in serving.CLIENTS for port in (0, 1)]
    assert asked == order + [(port, clients, 5) for port, clients, _ in order[::-1]]
    assert [round(rate) for rate in loads["rate"]] == [7, 8, 9, 10, 11, 12]
