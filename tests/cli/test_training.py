"""Options and messages of a training with several workers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gradient_workers import InProcessTraining
from lstm_ae_cli import training
from lstm_ae_cli.console import Console
from lstm_ae_cli.options import GivenOptions
from sampling import sampled
from searches import call

from lstm_ae import experiment
from lstm_ae.config import Series, Toy
from lstm_ae.data.windows import Data
from lstm_ae.distributed import training as distributed_training
from lstm_ae.errors import Code, ConfigError, LstmAeError
from lstm_ae.run import open_run


def workers_of(count: int, cores: int = 2) -> Any:
    """Return a stand-in for workers on a cluster."""
    return SimpleNamespace(workers=count, cluster=SimpleNamespace(cores=cores))


@pytest.mark.parametrize(
    ("given", "count", "parts"),
    [
        ({}, 1, 2),
        ({}, 4, 4),
        ({}, 100, 64),
        ({"batch_size": 3}, 8, 3),
        ({"parts": 2}, 4, 2),
    ],
    ids=["default", "a part per worker", "maximum", "a sample per part", "given"],
)
def test_parts_of_a_batch_follow_the_workers_unless_given(given: dict[str, Any], count: int, parts: int) -> None:
    options = GivenOptions(given)
    assert training.choose_parts(options.config(Toy), options, workers_of(count)).parts == parts


def test_parts_are_unchanged_without_workers_and_in_a_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    options = GivenOptions()
    assert training.choose_parts(Toy(), options, None).parts == 2
    monkeypatch.setattr(GivenOptions, "base", lambda self, kind: {"parts": 3})
    assert training.choose_parts(options.config(Toy), options, workers_of(8)).parts == 3


@pytest.mark.parametrize(
    ("count", "config", "lines"),
    [
        (2, Toy(), ["gradients by 2 workers on Ray; each batch has 2 parts, on which the result depends"]),
        (
            3,
            Toy(),
            [
                "gradients by 2 workers on Ray; each batch has 2 parts, on which the result depends",
                "  unused: 1 of 3 workers, as a part has at most one worker (see --parts)",
            ],
        ),
        (
            4,
            Toy(parts=4, batch_size=3),
            [
                "gradients by 4 workers on Ray; each batch has 4 parts, on which the result depends",
                "  the workers share 2 cores, which makes them slower",
                "  a batch of 3 samples leaves some of its parts empty",
            ],
        ),
    ],
)
def test_training_describes_its_workers(
    count: int, config: Toy, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    training._describe_workers(workers_of(count), config, Console())
    assert capsys.readouterr().err.splitlines() == lines


def test_training_without_workers_has_no_message(capsys: pytest.CaptureFixture[str]) -> None:
    training._describe_workers(None, Toy(), Console())
    assert capsys.readouterr().err == ""


def test_loss_of_the_cluster_names_the_command_that_resumes() -> None:
    guard = training._TrainingGuard(Console(quiet=True), "toy")
    guard.on_start(Path("a run"))
    error = LstmAeError("The Ray cluster is lost", code=Code.CLUSTER_LOST)
    with pytest.raises(LstmAeError) as raised:
        guard.__exit__(LstmAeError, error, None)
    assert raised.value.code is Code.CLUSTER_LOST
    assert str(raised.value) == (
        "The Ray cluster is lost; the last completed epoch is saved. Resume with: "
        "lstmae toy train --resume --out 'a run', with --engine ray or without"
    )


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a table and replace the workers of a cluster."""
    monkeypatch.setattr(distributed_training, "RayTraining", InProcessTraining)
    rows = [f"{np.sin(k / 5):.4f},{'low' if k % 100 < 50 else 'high'}" for k in range(400)]
    Path("t.csv").write_text("\n".join(("flow,state", *rows)) + "\n")


TASKS = ("anomaly", "forecast --horizon 3", "classify --label-col state")


@pytest.mark.parametrize("task", TASKS)
def test_parts_of_a_table_follow_the_workers_and_the_batch_size_that_the_table_determines(
    task: str, table: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Series] = []

    def stop(config: Series, data: Data, **details: Any) -> None:
        found.append(config)
        raise ConfigError("stop")

    monkeypatch.setattr(experiment, "train", stop)
    train = f"series train t.csv --task {task} --window 12 --engine ray"
    for options in ("--workers 4", "--workers 50", "--workers 4 --parts 3"):
        assert call(f"{train} {options}").last == "stop"
    assert [(config.batch_size, config.parts) for config in found] == [(8, 4), (8, 8), (8, 3)]


@pytest.mark.parametrize("task", sampled(TASKS, slow=TASKS[1:2]))
def test_table_is_trained_on_with_workers_without_further_options(task: str, table: None) -> None:
    said = call(f"series train t.csv --task {task} --window 12 --units 3 --epochs 1 --engine ray --workers 3 --out run")
    assert said.code == 0, said.err
    assert "gradients by 3 workers on Ray; each batch has 3 parts, on which the result depends" in said.err
    assert open_run("run").config().parts == 3
