"""Options and messages of a training with several workers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lstm_ae_cli import training
from lstm_ae_cli.console import Console
from lstm_ae_cli.options import GivenOptions

from lstm_ae.config import Toy
from lstm_ae.errors import Code, LstmAeError


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
