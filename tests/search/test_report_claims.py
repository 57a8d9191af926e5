"""The report's findings on its classifiers, on made-up trials whose verdicts can be told by eye."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digit_makers import npz
from lstm_ae_cli import main
from lstm_ae_cli.options import GivenOptions
from lstm_ae_cli.search import split_values

from lstm_ae.config import CLASSIFIERS, Mnist
from lstm_ae.config.space import Axis
from lstm_ae.estimate.searches import corner_settings
from lstm_ae.search.report_claims import MODELS, WEIGHTS, classifier_findings, classifier_rows, weight_findings
from lstm_ae.search.trial import COMPLETED, FAILED, Execution, Trial
from lstm_ae.significance import CONFIRMED, OPEN, REFUTED


def trial(name: str, value: Any, accuracies: list[float], errors: list[float], status: str = COMPLETED) -> Trial:
    executions = tuple(
        Execution(seed, sharp, 1, 1, "", 2.0, (sharp,), {"val_label_accuracy": sharp, "val_reconstruction_loss": error})
        for seed, (sharp, error) in enumerate(zip(accuracies, errors, strict=True))
    )
    return Trial(0, {name: value}, status, executions)


def models(**accuracies: list[float]) -> list[Trial]:
    return [trial("model", CLASSIFIERS[v], found, [0.1] * len(found)) for v, found in accuracies.items()]


def test_findings_on_models_are_tested_over_the_seeds() -> None:
    separate, deeper = classifier_findings(models(v2=[0.90, 0.92, 0.94], v3=[0.93, 0.91, 0.97], v4=[0.99, 0.991, 0.99]))
    assert str(separate) == (
        '"separate LSTMs for the two tasks help": not decidable, since p is not below 0.05 '
        "(93.67% ± 3.06 (V3) against 92.00% ± 2.00 (V2) over 3 seeds, p = 0.48)"  # two of three seeds say nothing
    )
    assert deeper.decision.verdict == OPEN  # V3's seeds are far apart
    (deeper,) = classifier_findings(models(v3=[0.93, 0.931, 0.932], v4=[0.99, 0.991, 0.99]))
    assert str(deeper).startswith('"a deeper head helps": confirmed (99.03% ± 0.06 (V4) against 93.10% ± 0.10 (V3)')
    (worse,) = classifier_findings(models(v4=[0.93, 0.931, 0.932], v3=[0.99, 0.991, 0.99]))
    assert worse.decision.verdict == REFUTED


def test_chance_is_hardly_ever_a_finding() -> None:
    """Models alike, on three seeds each: Welch's test at 0.05 is wrong in one of twenty at most, either way."""
    random = np.random.default_rng(0)
    told = [
        classifier_findings(models(v2=list(one), v3=list(other)))[0].decision.verdict
        for one, other in random.normal(0.97, 0.005, (400, 2, 3))
    ]
    assert told.count(OPEN) >= 0.95 * len(told)


def test_what_was_not_trained_says_nothing() -> None:
    (deeper,) = classifier_findings(models(v3=[0.9], v4=[0.91]))
    assert str(deeper).startswith('"a deeper head helps": not decidable, since one seed is not enough (91.00% (V4)')
    assert classifier_findings([trial("model", CLASSIFIERS["v3"], [0.9], [0.1], FAILED), *models(v4=[0.9])]) == []
    assert weight_findings([]) == []


def weighted(found: dict[float, tuple[list[float], list[float]]]) -> list[Trial]:
    return [trial("reconstruction_weight", weight, *values) for weight, values in found.items()]


HALF: dict[float, tuple[list[float], list[float]]] = {0.5: ([0.96, 0.961], [0.2, 0.201])}


@pytest.mark.parametrize(
    ("others", "verdict", "text"),
    [
        ({0.1: ([0.98, 0.981], [0.3, 0.301]), 0.9: ([0.9, 0.901], [0.1, 0.101])}, OPEN, "weight 0.1, weight 0.9"),
        ({0.1: ([0.9, 0.901], [0.3, 0.301]), 0.9: ([0.8, 0.801], [0.4, 0.401])}, CONFIRMED, "is worse in both"),
        (
            {0.1: ([0.9, 0.901], [0.3, 0.301]), 0.9: ([0.98, 0.981], [0.1, 0.101])},
            REFUTED,
            "better in both: weight 0.9",
        ),
        ({0.1: ([0.9, 0.99], [0.1, 0.101])}, OPEN, "not significantly better or worse in both: weight 0.1"),
        ({0.1: ([0.9], [0.1])}, OPEN, "one seed is not enough"),
    ],
    ids=["a matter of taste", "best in both", "beaten in both", "seeds too far apart", "one seed"],
)
def test_the_best_compromise_is_what_nothing_else_comes_near(
    others: dict[float, tuple[list[float], list[float]]], verdict: str, text: str
) -> None:
    (found,) = weight_findings(weighted(HALF | others))
    assert found.decision.verdict == verdict
    assert text in str(found)


def test_the_table_stands_in_the_order_of_the_values_with_the_reports_names() -> None:
    header, table = classifier_rows(
        [*models(v4=[0.9, 0.92], v3=[0.8, 0.8])], "model", [CLASSIFIERS["v3"], CLASSIFIERS["v4"]]
    )
    assert [row[0] for row in table] == ["two-autoencoders (V3)", "two-autoencoders-mlp (V4)"]
    assert table[1][header.index("accuracy")] == pytest.approx(0.91)
    assert table[1][header.index("accuracy spread")] == pytest.approx(0.02 / 2**0.5)
    assert table[1][header.index("seconds per training")] == 2


@pytest.mark.parametrize("order", ["head-on-code,v4", "v4,head-on-code"])
def test_options_of_one_model_stand_beside_all_of_them(order: str) -> None:
    given = GivenOptions(
        {"model": Axis("model", tuple(order.replace("v4", CLASSIFIERS["v4"]).split(","))), "pool": "both"}
    )
    config, (axis,) = split_values(given, Mnist)
    assert (config.model, config.pool) == ("head-on-code", "both")  # type: ignore[attr-defined]
    tried = {config.with_values({"model": value}).pool for value in axis.values}  # type: ignore[attr-defined]
    assert tried == {"both", "last"}
    assert len(list(corner_settings(config, [axis]))) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "count"), [("compare", len(MODELS)), ("weights", len(WEIGHTS))])
def test_no_test_digit_is_read(
    verb: str, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    npz(tmp_path / "digits.npz")

    def refuse(*_: object) -> None:
        raise AssertionError("something was measured or drawn on the test part")

    monkeypatch.setattr("lstm_ae.studies.mnist.evaluate", refuse)
    monkeypatch.setattr("lstm_ae.studies.mnist.figures", refuse)
    line = ["mnist", verb, "--data", "digits.npz", "--units", "2", "--epochs", "1", "--repeats", "2", "--jobs", "1"]
    # What one of the models alone knows leaves the others as they are.
    line += ["--every", "7", "--pool", "mean"] if verb == "compare" else []
    assert main([*line, "--json", "--out", "found"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert ("share no weights" in said.err) == (verb == "weights")
    assert len(found["trials"]) == count
    assert all([e["seed"] for e in each["executions"]] == [0, 1] for each in found["trials"])
    assert len(found["findings"]) == (2 if verb == "compare" else 1)
    assert not list(Path("found/states").iterdir())
    assert not Path("found/trials").exists()
