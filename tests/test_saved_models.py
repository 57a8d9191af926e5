"""Test the models in `saved_models/`: loading, recorded metrics, exported versions, and documented programs."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from sampling import sampled
from searches import answer, call

from lstm_ae.experiment import open_on_new_data, open_trained
from lstm_ae.run import measured_splits as measured_of
from lstm_ae.run import open_run
from lstm_ae.studies import load_study
from lstm_ae.studies.snp.forecasting import forecast_prices

pytestmark = pytest.mark.usefixtures("several_networks")

ROOT = Path(__file__).parents[1] / "saved_models"
NAMES = sorted(path.parent.name for path in ROOT.glob("*/config.json"))
# The fast tests open one autoencoder and one forecaster.
FORMS = sampled(NAMES, quick=("toy", "snp"), slow=("mnist-rows", "pump"))


def test_every_study_has_a_saved_model():
    assert {open_run(ROOT / name).about()["task"] for name in NAMES} == {"toy", "mnist", "snp", "series"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_saved_model_reproduces_its_recorded_metrics(name, monkeypatch):
    run = open_run(ROOT / name)
    study = run.about()["task"]
    if study != "mnist":
        monkeypatch.delenv("LSTMAE_DATA_DIR", raising=False)  # use the prices that come with the package
    elif not os.environ.get("LSTMAE_DATA_DIR"):
        pytest.skip("needs the whole MNIST: set LSTMAE_DATA_DIR")
    config = run.config()
    if study == "series":
        assert call("series example pump.csv").code == 0  # the training data of the model
    elif hasattr(config, "data"):
        config = dataclasses.replace(config, data=None)
    data = load_study(config).load(config)
    opened = open_trained(run, data)
    within = {}
    if study == "mnist":
        # 500 digits measure an accuracy of 99% to about one percentage point.
        few = [split._replace(starts=split.starts[:500], label=split.label[:500]) for split in data[1:3]]
        opened = opened._replace(data=data._replace(validation=few[0], test=few[1]))
        within = {"accuracy": {"abs": 0.02}, "reconstruction_mse": {"rel": 0.2}}
    measured = opened.evaluate().as_json()
    for part, metrics in measured_of(measured).items():
        for measure, metric in metrics.items():
            recorded = run.metrics()[part][measure]["value"]
            assert metric["value"] == pytest.approx(recorded, **within.get(measure, {"rel": 1e-3})), (part, measure)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_exported_version_equals_the_saved_keras_model(name, proven_here):
    (found,) = answer(f"export {ROOT / name} --verify-only")["verified"]
    assert found["difference"] < 1e-5


def program(page, text):
    """Return the only Python program on a page that contains a text, compiled."""
    blocks = (ROOT.parent / page).read_text(encoding="utf-8").split("```python\n")[1:]
    (found,) = (code for block in blocks if text in (code := block.split("```")[0]))
    return compile(found, page, "exec")


def test_deploy_tutorial_program_runs_with_a_saved_model(monkeypatch, capsys):
    monkeypatch.chdir(ROOT.parent)
    exec(program("docs/pages/tutorials/deploy.md", "saved_models/snp"), {})
    assert capsys.readouterr().out.count("tf.Tensor(") == 2


@pytest.mark.slow
def test_readme_detector_finds_all_failures(capsys):
    assert call("series example pump.csv").code == 0
    exec(program("README.md", "AnomalyDetector"), found := {})
    assert len(found["detector"].detect(found["pump"])) == 3
    assert call("series detect pump-run pump.csv").code == 0


def test_saved_forecaster_forecasts_prices_of_other_companies(tmp_path):
    """It forecasts prices of companies that it was not trained on, as the documentation states."""
    from price_makers import days_of, prices

    run = open_run(ROOT / "snp")
    config = dataclasses.replace(run.config(), data=prices(tmp_path, days_of("NEW", 60)))
    opened = open_on_new_data(run, config)
    table = forecast_prices(opened.model, opened.data, 1, all_windows=True, store=run).table
    assert len(table["predicted"]) == 60 - 30 + 1
    assert np.isfinite(np.array(table["predicted"], float)).all()
