"""Tests of multi-step forecasts of series whose future is known exactly."""

import numpy as np
import pytest
from price_forecasts import constant_output
from price_makers import prices
from sampling import sampled

from lstm_ae.config import Snp
from lstm_ae.data import prices as selection
from lstm_ae.errors import DataError
from lstm_ae.models.forecaster import step_forecaster
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.models.scaling import in_own_units
from lstm_ae.studies import build_model
from lstm_ae.studies.snp import evaluate, load
from lstm_ae.studies.snp.forecasting import ALL_DAYS, forecast_prices

GROWTH = 1.01


@pytest.fixture(autouse=True)
def few_days_are_enough(monkeypatch):
    monkeypatch.setattr(selection, "MIN_TRAINING_DAYS", 20)


def growing(symbol, count, start=50.0, first="2020-01-01"):
    days = np.busday_offset(first, np.arange(count), roll="forward")
    values = [f"{start * GROWTH**k:.6f}" for k in range(count)]
    return [f"{symbol},{day},{v},{v},{v},{v},5" for day, v in zip(days, values, strict=True)]


@pytest.fixture
def data(tmp_path):
    path = prices(tmp_path, growing("AAA", 150), growing("BBB", 150, start=3))
    return load(Snp(data=path, window=6))


@pytest.fixture
def model(data):
    """Return a model that forecasts a growth of 1% per day for any input."""
    relative = np.log(GROWTH) / data.scale.range.item()
    network = constant_output(step_forecaster(Snp(units=2)), "relative_change", relative)
    return KerasNetwork(in_own_units(network, data.scale))


def test_forecast_after_the_data_has_dates_and_prices(model, data):
    result = forecast_prices(model, data, 4)
    table = result.table
    assert table["symbol"] == ["AAA"] * 4 + ["BBB"] * 4
    assert table["step"] == [1, 2, 3, 4] * 2
    # 150 working days from Wednesday, 2020-01-01, end on Tuesday, 2020-07-28.
    assert table["date"] == ["2020-07-29", "2020-07-30", "2020-07-31", "2020-08-03"] * 2
    for start, part in ((50, slice(0, 4)), (3, slice(4, 8))):
        last = start * GROWTH**149
        np.testing.assert_allclose(table["predicted"][part], last * GROWTH ** np.arange(1, 5), rtol=1e-4)
        np.testing.assert_allclose(table["persistence"][part], last, rtol=1e-5)
    assert table["actual"] == [None] * 8


@pytest.mark.slow
def test_correct_model_has_full_skill_on_every_step(model, data):
    result = forecast_prices(model, data, 5)
    assert list(result.evaluation.metrics) == ["1", "2", "3", "4", "5"]
    for step, metrics in result.evaluation.metrics.items():
        assert metrics["skill"].value == pytest.approx(1, abs=1e-4)
        assert metrics["direction"].value == 1
        # The error of persistence is the growth over the step.
        behind = metrics["forecast_mse"].baselines["persistence"] ** 0.5 * data.scale.range.item()
        assert behind == pytest.approx(int(step) * np.log(GROWTH), rel=1e-3)
    assert result.persistence[ALL_DAYS].skill == pytest.approx(1, abs=1e-4)
    # Drift, the mean daily change, also forecasts constant growth.
    assert result.evaluation.verdicts[ALL_DAYS].baseline in ("drift", "linear regression")
    assert result.windows == 2 * (len(np.unique(data.test.time)) - 10)


def test_multistep_with_too_few_days_raises_errors(model, data):
    with pytest.raises(DataError, match=r"The training split holds no window of 206 rows .* Reduce --horizon"):
        forecast_prices(model, data, 200)
    short = data._replace(test=data.test._replace(series=data.test.series[:5], starts=data.test.starts[:0],
                                                  segment=data.test.segment[:5], line=data.test.line[:5],
                                                  time=data.test.time[:5]))  # fmt: skip
    with pytest.raises(DataError, match="The test split holds no window of 6 rows"):
        forecast_prices(model, short)


class Repeats:
    """A rollout that repeats the values of five days before."""

    def __init__(self, model):
        pass

    def __call__(self, past, company, ahead):
        return past[:, -5:][:, np.arange(ahead) % 5]


@pytest.mark.parametrize("horizon", [None, 5, 7])
def test_multistep_table_of_a_periodic_series_matches_its_values(tmp_path, monkeypatch, model, horizon):
    days = np.busday_offset("2020-01-01", np.arange(150), roll="forward")
    wave = [50.0, 52, 57, 51, 48]
    rows = [f"AAA,{day},{v},{v},{v},{v},5" for day, v in zip(days, wave * 30, strict=True)]
    data = load(Snp(data=prices(tmp_path, rows), window=10))
    monkeypatch.setattr("lstm_ae.studies.snp.forecasting.Rollout", Repeats)
    found = forecast_prices(model, data, horizon)
    skills = {int(step): metrics["skill"].value for step, metrics in found.evaluation.metrics.items()}
    assert all(skill == pytest.approx(1) for step, skill in skills.items() if step % 5)
    if horizon is None:
        wanted, dates = (wave * 30)[-5:], days[-5:]
        assert found.table["actual"] == pytest.approx(wanted)
    else:
        wanted, dates = (wave * 2)[:horizon], np.busday_offset(days[-1], np.arange(1, horizon + 1))
        assert found.table["actual"] == [None] * horizon
    assert found.table["predicted"] == pytest.approx(wanted)
    assert found.table["date"] == dates.astype(str).tolist()


@pytest.mark.slow
def test_company_with_a_gap_in_its_last_window_is_not_forecast(tmp_path, model):
    """Its last complete window ends before the gap, and the following days are known."""
    broken = growing("AAA", 120)
    broken[117] = ",".join([*broken[117].split(",")[:2], "", "", "", "", "5"])
    data = load(Snp(data=prices(tmp_path, broken, growing("BBB", 120, start=7)), window=6))
    assert set(forecast_prices(model, data, 2).table["symbol"]) == {"BBB"}
    after = forecast_prices(model, data, 1, all_windows=True).table
    assert [s for s, actual in zip(after["symbol"], after["actual"], strict=True) if actual is None] == ["BBB"]


@pytest.mark.parametrize("last", sampled((True, False), slow=(True,)))
def test_mse_of_all_days_requires_a_model_of_all_days(data, last):
    config = Snp(window=6, units=2, last_day_only=last)
    assert ("mse" in evaluate(KerasNetwork(build_model(config, data)), data).metrics["test"]) == (not last)
