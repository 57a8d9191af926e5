"""Test the findings of the report on its classifiers with made-up trials whose verdicts are obvious."""

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


def test_classifier_findings_are_decided_over_several_seeds() -> None:
    separate, deeper = classifier_findings(models(v2=[0.90, 0.92, 0.94], v3=[0.93, 0.91, 0.97], v4=[0.99, 0.991, 0.99]))
    assert str(separate) == (
        '"separate LSTMs for the two tasks help": not decidable, since p is not below 0.05 '
        "(93.67% ± 3.06 (V3) against 92.00% ± 2.00 (V2) over 3 seeds, p = 0.48)"  # only two of three seeds agree
    )
    assert deeper.decision.verdict == OPEN  # the seeds of V3 are far apart
    (deeper,) = classifier_findings(models(v3=[0.93, 0.931, 0.932], v4=[0.99, 0.991, 0.99]))
    assert str(deeper).startswith('"a deeper head helps": confirmed (99.03% ± 0.06 (V4) against 93.10% ± 0.10 (V3)')
    (worse,) = classifier_findings(models(v4=[0.93, 0.931, 0.932], v3=[0.99, 0.991, 0.99]))
    assert worse.decision.verdict == REFUTED


def test_classifier_findings_have_few_false_positives() -> None:
    """Equal models with three seeds each: Welch's test at 0.05 is wrong in at most 5% of the cases."""
    random = np.random.default_rng(0)
    told = [
        classifier_findings(models(v2=list(one), v3=list(other)))[0].decision.verdict
        for one, other in random.normal(0.97, 0.005, (400, 2, 3))
    ]
    assert told.count(OPEN) >= 0.95 * len(told)


def test_findings_without_enough_trainings_are_open_or_omitted() -> None:
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
def test_weight_finding_verdict_on_the_best_compromise(
    others: dict[float, tuple[list[float], list[float]]], verdict: str, text: str
) -> None:
    (found,) = weight_findings(weighted(HALF | others))
    assert found.decision.verdict == verdict
    assert text in str(found)


def test_classifier_rows_are_ordered_and_named_as_in_the_report() -> None:
    header, table = classifier_rows(
        [*models(v4=[0.9, 0.92], v3=[0.8, 0.8])], "model", [CLASSIFIERS["v3"], CLASSIFIERS["v4"]]
    )
    assert [row[0] for row in table] == ["two-autoencoders (V3)", "two-autoencoders-mlp (V4)"]
    assert table[1][header.index("accuracy")] == pytest.approx(0.91)
    assert table[1][header.index("accuracy spread")] == pytest.approx(0.02 / 2**0.5)
    assert table[1][header.index("seconds per training")] == 2


@pytest.mark.parametrize("order", ["head-on-code,v4", "v4,head-on-code"])
def test_model_specific_option_applies_only_to_its_model(order: str) -> None:
    given = GivenOptions(
        {"model": Axis("model", tuple(order.replace("v4", CLASSIFIERS["v4"]).split(","))), "pool": "both"}
    )
    config, (axis,) = split_values(given, Mnist)
    assert (config.model, config.pool) == ("head-on-code", "both")  # type: ignore[attr-defined]
    tried = {config.with_values({"model": value}).pool for value in axis.values}  # type: ignore[attr-defined]
    assert tried == {"both", "last"}


@pytest.mark.parametrize(
    ("verb", "count", "repeats"),
    [
        pytest.param("compare", len(MODELS), 2, marks=pytest.mark.exhaustive),
        pytest.param("weights", len(WEIGHTS), 1, marks=pytest.mark.slow),
    ],
)
def test_compare_and_weights_do_not_use_the_test_split(
    verb: str,
    count: int,
    repeats: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    npz(tmp_path / "digits.npz")

    def refuse(*_: object) -> None:
        raise AssertionError("something was measured or drawn on the test split")

    monkeypatch.setattr("lstm_ae.studies.mnist.evaluate", refuse)
    monkeypatch.setattr("lstm_ae.studies.mnist.figures", refuse)
    line = ["mnist", verb, "--data", "digits.npz", "--units", "2", "--epochs", "1", "--jobs", "1"]
    line += ["--repeats", str(repeats)]
    # Options of one model do not affect the other models.
    line += ["--every", "7", "--pool", "mean"] if verb == "compare" else []
    assert main([*line, "--json", "--out", "found"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert ("share no weights" in said.err) == (verb == "weights")
    assert len(found["trials"]) == count
    assert all([e["seed"] for e in each["executions"]] == list(range(repeats)) for each in found["trials"])
    assert len(found["findings"]) == (2 if verb == "compare" else 1)
    assert not list(Path("found/states").iterdir())
    assert not Path("found/trials").exists()
