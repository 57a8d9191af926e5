"""The audit finds planted leaks and passes clean configs."""

import itertools

import numpy as np
import pytest
from price_makers import days_of, prices

from lstm_ae.config import Snp
from lstm_ae.data.prices import read_prices
from lstm_ae.errors import ConfigError
from lstm_ae.models.keras_network import KerasFunction, KerasNetwork
from lstm_ae.studies import build_model
from lstm_ae.studies.snp import audit as audits
from lstm_ae.studies.snp import load


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return prices(tmp_path_factory.mktemp("audit"), days_of("AAA", 700), days_of("BBB", 700, seed=1))


def found(path, model=None, **choices):
    config = Snp(**{"data": path, "window": 6, "units": 2, **choices})
    data = load(config)
    model = KerasNetwork(build_model(config, data)) if model is None else model
    return {each.check: each for each in audits.audit(model, config, data, read_prices(config))}


def leaks(findings):
    return {name for name, each in findings.items() if each.outcome == "leak"}


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"inputs": "ohlc"},
        {"scale": "company", "symbols": ("AAA",)},
    ],
    ids=str,
)
def test_audit_finds_no_leak_in_clean_configs(path, choices):
    assert leaks(found(path, **choices)) == set()


def test_audit_finds_leaks_of_the_report_split_and_scale(path):
    for choices in ({}, {"split": "report", "target": "level"}):
        assert leaks(found(path, scale="report", **choices)) == {"the data", "the scale"}


@pytest.mark.slow
def test_audit_names_an_input_that_contains_the_future(tmp_path):
    rows = [row.split(",") for row in days_of("AAA", 701)]
    for row, after in itertools.pairwise(rows):
        row[5] = after[3]
    planted = prices(tmp_path, [",".join(row) for row in rows[:-1]])
    findings = found(planted, inputs="ohlc")
    assert leaks(findings) == {"the data"}
    assert findings["the data"].text.startswith("close probably contains the future")
    assert leaks(found(planted)) == set()


@pytest.mark.slow
def test_audit_finds_smoothing_over_later_days(path, monkeypatch):
    """After this smoothing, the last day of every window contains half of the day to forecast."""

    def smoothed(config, panel):
        values = panel.values
        values = (values + np.r_[values[1:], values[-1:]]) / 2
        return load(config, panel._replace(values=values))

    config = Snp(data=path, window=6, units=2, last_day_only=True)
    panel = read_prices(config)
    data = smoothed(config, panel)
    monkeypatch.setattr(audits, "load_prices", smoothed)
    findings = {each.check: each for each in audits.audit(KerasNetwork(build_model(config, data)), config, data, panel)}
    assert "the days after a forecast" in leaks(findings)
    assert findings["the days after a forecast"].text.endswith("forecasts up to then changed")


def test_audit_finds_a_model_that_reads_later_days_of_the_window(path):
    import keras

    split = load(Snp(data=path, window=6)).test
    past = keras.Input((None, 1), name="past")
    model = keras.Model({"past": past}, {"future": past[:, ::-1]})
    assert audits._later_days(KerasFunction(model), split).outcome == "leak"


def test_audit_of_a_reconstruction_raises_config_error(path):
    with pytest.raises(ConfigError, match="audit is for forecasters"):
        found(path, goal="reconstruct")
