"""The report's findings on its classifiers, on made-up trials whose verdicts can be told by eye."""

import json
from pathlib import Path
from typing import Any

import pytest
from digit_makers import npz
from lstm_ae_cli import main
from lstm_ae_cli.options import Given
from lstm_ae_cli.searching import divided

from lstm_ae.config import CLASSIFIERS, Mnist
from lstm_ae.estimate.searches import corners
from lstm_ae.search.digits import MODELS, WEIGHTS, classifier_findings, rows, weight_findings
from lstm_ae.search.trials import COMPLETED, FAILED, Execution, Trial
from lstm_ae.space import Axis


def trial(name: str, value: Any, accuracies: list[float], errors: list[float], status: str = COMPLETED) -> Trial:
    executions = tuple(
        Execution(seed, sharp, 1, 1, "", 2.0, (sharp,), {"val_label_accuracy": sharp, "val_reconstruction_loss": error})
        for seed, (sharp, error) in enumerate(zip(accuracies, errors, strict=True))
    )
    return Trial(0, {name: value}, status, executions)


def models(**accuracies: list[float]) -> list[Trial]:
    return [trial("model", CLASSIFIERS[v], found, [0.1] * len(found)) for v, found in accuracies.items()]


def test_findings_on_models_are_counted_seed_by_seed() -> None:
    separate, deeper = classifier_findings(models(v2=[0.90, 0.92, 0.94], v3=[0.93, 0.91, 0.97], v4=[0.94, 0.90, 0.95]))
    assert separate.confirmed
    assert str(separate) == (
        '"separate LSTMs for the two tasks help": confirmed (V3 more accurate than V2 with 2 of 3 seeds, '
        "by +1.67 points)"
    )
    assert not deeper.confirmed  # one seed of three
    assert "with 1 of 3 seeds, by -0.67 points" in deeper.text


def test_what_was_not_trained_says_nothing() -> None:
    (deeper,) = classifier_findings(models(v3=[0.9], v4=[0.91]))
    assert deeper.confirmed is None
    assert str(deeper).startswith('"a deeper head helps": not decidable, more than one of --repeats is needed (V4')
    assert deeper.text.startswith("V4 more accurate than V3 with 1 of 1 seed,")
    assert classifier_findings([trial("model", CLASSIFIERS["v3"], [0.9], [0.1], FAILED), *models(v4=[0.9])]) == []
    assert weight_findings([]) == []


def weighted(found: dict[float, tuple[list[float], list[float]]]) -> list[Trial]:
    return [trial("reconstruction_weight", weight, *values) for weight, values in found.items()]


def test_half_and_half_is_the_best_where_nothing_is_better_in_both() -> None:
    (found,) = weight_findings(
        weighted({0.1: ([0.98] * 2, [0.3] * 2), 0.5: ([0.96] * 2, [0.2] * 2), 0.9: ([0.9] * 2, [0.1] * 2)})
    )
    assert found.confirmed
    assert found.text == (
        "no weight is better in both; it is 2.00 points less accurate than 0.1, and its reconstruction error 2 times "
        "that of 0.9"
    )


@pytest.mark.parametrize(("spread", "confirmed"), [(0.0, False), (0.05, True)])
def test_better_is_better_by_more_than_the_spreads(spread: float, confirmed: bool) -> None:
    accuracy, error = [0.97 - spread, 0.97 + spread], [0.1, 0.1]
    (found,) = weight_findings(weighted({0.3: (accuracy, error), 0.5: ([0.96, 0.96], [0.2, 0.2])}))
    assert found.confirmed == confirmed
    assert ("better in both: 0.3" in found.text) != confirmed


def test_the_table_stands_in_the_order_of_the_values_with_the_reports_names() -> None:
    header, table = rows([*models(v4=[0.9, 0.92], v3=[0.8, 0.8])], "model", [CLASSIFIERS["v3"], CLASSIFIERS["v4"]])
    assert [row[0] for row in table] == ["two-autoencoders (V3)", "two-autoencoders-mlp (V4)"]
    assert table[1][header.index("accuracy")] == pytest.approx(0.91)
    assert table[1][header.index("its spread")] == pytest.approx(0.02 / 2**0.5)
    assert table[1][header.index("seconds")] == 4


@pytest.mark.parametrize("order", ["head-on-code,v4", "v4,head-on-code"])
def test_options_of_one_model_stand_beside_all_of_them(order: str) -> None:
    given = Given({"model": Axis("model", tuple(order.replace("v4", CLASSIFIERS["v4"]).split(","))), "pool": "both"})
    config, (axis,) = divided(given, Mnist)
    assert (config.model, config.pool) == ("head-on-code", "both")  # type: ignore[attr-defined]
    tried = {config.with_values({"model": value}).pool for value in axis.values}  # type: ignore[attr-defined]
    assert tried == {"both", "last"}
    assert len(list(corners(config, [axis]))) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "count"), [("compare", len(MODELS)), ("weights", len(WEIGHTS))])
def test_no_test_digit_is_read(
    verb: str, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    npz(tmp_path / "digits.npz")

    def refuse(*_: object) -> None:
        raise AssertionError("something was measured or drawn on the test part")

    monkeypatch.setattr("lstm_ae.tasks.mnist.evaluate", refuse)
    monkeypatch.setattr("lstm_ae.tasks.mnist.figures", refuse)
    line = ["mnist", verb, "--data", "digits.npz", "--units", "2", "--epochs", "1", "--repeats", "2", "--jobs", "1"]
    # What one of the models alone knows leaves the others as they are.
    line += ["--every", "7", "--pool", "mean"] if verb == "compare" else []
    assert main([*line, "--json", "--quiet", "--out", "found"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["trials"]) == count
    assert all([e["seed"] for e in each["executions"]] == [0, 1] for each in found["trials"])
    assert len(found["findings"]) == (2 if verb == "compare" else 1)
    assert not list(Path("found/states").iterdir())
    assert not Path("found/trials").exists()
