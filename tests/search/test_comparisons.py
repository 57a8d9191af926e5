"""Test the searches of `mnist compare`, `mnist weights`, and `toy limits`."""

import json
from pathlib import Path

import pytest
from digit_makers import npz
from lstm_ae_cli.mnist import MODELS
from lstm_ae_cli.options import GivenOptions
from lstm_ae_cli.search import split_values
from searches import done

from lstm_ae.config import CLASSIFIERS, Mnist
from lstm_ae.config.space import Axis
from lstm_ae.tour.levels import WEIGHTS


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
    ("verb", "values", "findings"),
    [
        pytest.param("compare", MODELS, 2, marks=pytest.mark.exhaustive),
        pytest.param("weights", WEIGHTS, 1, marks=pytest.mark.slow),
    ],
)
def test_compare_and_weights_do_not_use_the_test_split(
    verb: str, values: tuple[object, ...], findings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npz(tmp_path / "digits.npz")

    def refuse(*_: object) -> None:
        raise AssertionError("something was measured or drawn on the test split")

    monkeypatch.setattr("lstm_ae.studies.mnist.evaluate", refuse)
    monkeypatch.setattr("lstm_ae.studies.mnist.figures", refuse)
    # Options of one model do not affect the other models.
    more = "--set every=7 --set pool=mean" if verb == "compare" else ""
    said = done(f"mnist {verb} --data digits.npz --units 2 --epochs 1 --jobs 1 {more} --json --out found")
    found = json.loads(said.out)
    assert [tuple(trial["values"].values()) for trial in found["trials"]] == [(value,) for value in values]
    assert [decision["why"] for decision in found["findings"].values()] == ["one seed is not enough"] * findings
    assert len(Path("found/table.csv").read_text().splitlines()) == 1 + len(values)
    assert not list(Path("found/states").iterdir())
    assert not Path("found/trials").exists()
