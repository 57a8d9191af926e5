"""Tests of forecasts of prices that a run was not trained on."""

import json

import numpy as np
import pytest
from lstm_ae_cli import main
from price_makers import days_of, prices

from lstm_ae import experiment
from lstm_ae.config import Snp
from lstm_ae.data.prices import load_new_prices
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.experiment import open_on_new_data
from lstm_ae.studies.snp import load
from lstm_ae.studies.snp.forecasting import forecast_prices


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fresh")


@pytest.fixture(scope="module")
def run(place):
    path = prices(place, days_of("AAA", 700), days_of("BBB", 700, seed=1, price=20))
    config = Snp(data=path, inputs="ohlc", window=8, units=2, epochs=2, learning_rate=0.03)
    with pytest.MonkeyPatch.context() as patch:
        # The forecasts must differ from those of the regression.
        patch.setattr("lstm_ae.studies.start.replaces_start", lambda comparison: True)
        return experiment.train(config, load(config), out=place / "run")


def opened_on(run, *companies):
    path = prices(run.directory.parent, *companies, name="new.csv")
    return open_on_new_data(run, Snp.from_dict(run.config().to_dict() | {"data": path}))


def test_known_companies_keep_their_lines_and_new_ones_get_new_lines(tmp_path):
    path = prices(tmp_path, days_of("AAA", 5), days_of("NEW", 4), days_of("ZZZ", 2))
    data = load_new_prices(Snp(data=path, window=3), fixed_scale(), ("", "AAA", "BBB"))
    assert data.symbols == ("", "AAA", "BBB", "NEW", "ZZZ")
    assert data.test.lines().tolist() == [1, 1, 3]  # NEW has three days and one following day
    assert (data.train.samples, data.validation.samples, data.test.span) == (0, 0, 4)
    assert data.source.notes == ()


def test_new_prices_with_too_few_days_raise_data_error(tmp_path):
    with pytest.raises(DataError, match="no company has 9 consecutive days"):
        load_new_prices(Snp(data=prices(tmp_path, days_of("AAA", 8)), window=9), fixed_scale(), ("", "AAA"))


def test_days_of_the_training_period_are_noted(run):
    period = run.training_period[1] // (24 * 3600 * 10**9)
    known = sum(np.datetime64(row.split(",")[1]).astype(int) <= period for row in days_of("AAA", 900))
    for rows, noted in ((days_of("AAA", 900)[known:], False), (days_of("AAA", 60), True)):
        notes = opened_on(run, rows).data.source.notes
        assert any("overlap the training period" in note for note in notes) == noted


def test_new_company_is_forecast_up_to_the_day_after_its_data(run):
    opened = opened_on(run, days_of("NEW", 60, seed=5))
    table = forecast_prices(opened.model, opened.data, 1, all_windows=True, levels=(80,), store=run).table
    assert len(table["date"]) == 60 - 8 + 1
    assert set(table["symbol"]) == {"NEW"}
    assert table["actual"][-1] is None
    assert None not in table["actual"][:-1]
    # 60 working days from Thursday, 2015-01-01, end on Wednesday, 2015-03-25.
    assert table["date"][-2:] == ["2015-03-25", "2015-03-26"]
    assert all(low < high for low, high in zip(table["low_80"], table["high_80"], strict=True))


def test_forecasts_of_new_companies_do_not_depend_on_price_level(run):
    """Prices multiplied by 1000 under other names give the same forecasts multiplied by 1000."""
    rows = days_of("NEW", 30, seed=5)
    low = opened_on(run, rows)
    values = forecast_prices(low.model, low.data, 1, all_windows=True, store=run).table["predicted"]
    times = []
    for line in rows:
        symbol, day, *cells, volume = line.split(",")
        times.append(
            ",".join(["OTHER" if symbol == "NEW" else symbol, day, *(f"{1000 * float(c)}" for c in cells), volume])
        )
    high = opened_on(run, times)
    np.testing.assert_allclose(
        forecast_prices(high.model, high.data, 1, all_windows=True, store=run).table["predicted"],
        1000 * np.array(values),
        rtol=1e-4,
    )


def test_new_prices_may_use_another_table_format(run, tmp_path, capsys):
    rows = [row.split(",") for row in days_of("NEW", 60, seed=5)]
    plain = opened_on(run, [",".join(row) for row in rows])
    lines = ["Code;Day;open;high;low;close;volume"]
    for symbol, day, *values in rows:
        year, month, on = day.split("-")
        lines.append(";".join([symbol, f"{on}.{month}.{year}", *(value.replace(".", ",") for value in values)]))
    path = tmp_path / "other.csv"
    path.write_text("\n".join(lines) + "\n")
    options = ["--data", str(path), "--id-col", "Code", "--time-col", "Day", "--json"]
    assert main(["snp", "predict", "--run", str(run.directory), *options]) == 0
    said = capsys.readouterr()
    assert "--decimal: comma" in said.err
    assert "--date-order: day first" in said.err
    expected = forecast_prices(plain.model, plain.data, 1, all_windows=True, store=run).evaluation.as_json()
    assert json.loads(said.out)["metrics"]["new data"]["mae"] == expected["1"]["mae"]
    # The columns of the table of a run cannot be changed.
    assert main(["snp", "predict", "--run", str(run.directory), "--id-col", "Code"]) == 2
    assert "--id-col" in capsys.readouterr().err


@pytest.mark.slow
def test_multistep_of_new_prices_reports_steps_and_baselines(run):
    few = opened_on(run, days_of("NEW", 10, seed=5))
    result = forecast_prices(few.model, few.data, 5, store=run)
    assert (result.evaluation.as_json(), result.persistence, result.windows) == ({}, {}, 0)
    assert len(result.table["predicted"]) == 5
    more = opened_on(run, days_of("NEW", 60, seed=5))
    result = forecast_prices(more.model, more.data, 5, store=run)
    assert list(result.evaluation.metrics) == ["1", "2", "3", "4", "5"]
    assert result.windows == 60 - 8 - 5 + 1
    baselines = ["persistence", "linear regression"]
    assert list(result.evaluation.metrics["5"]["mae"].baselines) == baselines
    with pytest.raises(ConfigError, match=r"--horizon of at most 20\b.* Received: 21"):
        forecast_prices(more.model, more.data, 21, store=run)
