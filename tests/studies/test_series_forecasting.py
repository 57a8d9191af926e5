"""Test forecasts of tables: baselines, seasons, windows, metrics, intervals, commands, and `SequenceForecaster`."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from loaded_once import loaded_once
from searches import answer, call, call_unread, done

from lstm_ae.apply import forecast
from lstm_ae.apply.run_table import TableRequest
from lstm_ae.config import Reading, Series
from lstm_ae.data.columns import Covariates
from lstm_ae.data.preparation import prepare_table
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.season import ColumnSeasons
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.estimators import SequenceForecaster
from lstm_ae.evaluation import Evaluation
from lstm_ae.experiment import RunWithData
from lstm_ae.forecasting import baselines
from lstm_ae.forecasting import metrics as forecast_metrics
from lstm_ae.forecasting.intervals import ErrorQuantiles, ForecastMethod, forecast_method
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.run import open_run
from lstm_ae.studies import build_model
from lstm_ae.studies.series import defaults, forecasting

NAN = float("nan")
HOURS = 24 * 40
OPTIONS = "--task forecast --window 30 --horizon 6 --units 4 --epochs 2 --set stride=2 --seeds 1"


def table(*, seed: int = 0, hours: int = HOURS) -> pd.DataFrame:
    """Return an hourly table of two columns with a daily season and some missing values."""
    random = np.random.default_rng(seed)
    turn = 2 * np.pi * np.arange(hours) / 24
    frame = pd.DataFrame(
        {
            "load": 50 + 10 * np.sin(turn) + random.normal(size=hours),
            "heat": 20 + 3 * np.cos(turn) + 0.3 * random.normal(size=hours),
        },
        pd.date_range("2024-03-01", periods=hours, freq="h", name="time"),
    ).round(3)
    frame.iloc[random.integers(0, hours, 20), 0] = np.nan
    return frame


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with a table and a run trained on it; tests must not change them."""
    folder = tmp_path_factory.mktemp("forecast")
    table().to_csv(folder / "t.csv")
    with contextlib.chdir(folder):
        said = call(f"series train t.csv {OPTIONS} --out run")
    assert said.code == 0, said.err
    with loaded_once(forecast, "load_forecaster", folder / "run"):
        yield folder


def test_persistence_repeats_the_last_known_value() -> None:
    past = np.array([[[1.0, NAN], [2.0, 5.0], [NAN, NAN]], [[NAN, NAN], [NAN, 1.0], [3.0, 2.0]]])
    assert baselines.last_known_values(past)[:, 0].tolist() == [[2, 5], [3, 2]]
    assert baselines.last_known_values(np.full((1, 3, 1), NAN)).tolist() == [[[0]]]
    assert baselines.persistence(past, 2)[0].tolist() == [[2, 5], [2, 5]]


def test_repeat_season_repeats_the_last_season() -> None:
    past = np.array([1.0, 2, 3, 4, NAN, 6])[None, :, None]
    assert baselines.repeat_season(past, 4, 3).ravel().tolist() == [4, 6, 6, 4], "a missing value is the last known one"
    assert baselines.repeat_season(past, 3, 2).ravel().tolist() == [6, 6, 6]


def prepared(frame: pd.DataFrame, **options: Any) -> defaults.CompletedConfig:
    frame.to_csv("t.csv")
    return defaults.load_complete(Series(data="t.csv", task="forecast", **options))


def test_season_is_selected_on_validation() -> None:
    settled = prepared(table(), window=60, horizon=6)
    assert settled.config.season == settled.data.seasons[0] == 24
    assert prepared(table(), window=60, horizon=6, season=48).config.season == 48
    walk = pd.DataFrame({"a": np.random.default_rng(0).normal(size=900).cumsum()})
    assert prepared(walk, window=20, horizon=3, value_cols=("a",)).config.season is None
    with pytest.raises(ConfigError, match="--set season must fit into the window of 60 steps"):
        prepared(table(), window=60, season=61)


def test_segment_must_fit_into_the_window() -> None:
    settled = prepared(table(), window=60, horizon=6, segment=60)
    refused = pytest.raises(ConfigError, match="--segment must be at most the window of 60 steps")
    with refused:
        prepared(table(), window=60, horizon=6, segment=61)
    with refused:
        build_model(dataclasses.replace(settled.config, segment=61), settled.data)


def calendar() -> pd.DataFrame:
    """Return a table with a random walk and the hour of the day."""
    walk = np.random.default_rng(1).normal(size=HOURS).cumsum()
    return pd.DataFrame({"price": walk, "hour": np.arange(HOURS) % 24.0})


def test_season_is_selected_per_column() -> None:
    options: dict[str, Any] = {"window": 30, "horizon": 6, "value_cols": ("price", "hour"), "freq": "rows"}
    settled = prepared(calendar(), **options)
    assert settled.data.seasons == (None, 24)
    assert settled.config.season is None
    assert defaults.load_complete(settled.config).data.seasons == (None, 24), (
        "the completed config gives the same seasons"
    )
    past = settled.data.test.windows(slice(0, 5))[:, :30]
    fitted = baselines.Baselines(settled.data.seasons, 6, None)
    windows = baselines.ForecastWindows(past, 30, Covariates())
    name, said = next(iter(fitted.predict(windows).items()))
    assert name == "season by column"
    assert (said[..., 0] == past[:, -1:, 0]).all()
    np.testing.assert_array_equal(said[..., 1], baselines.repeat_season(past[..., 1:], 6, 24)[..., 0])
    assert prepared(calendar(), **options, season=12).data.seasons == (12, 12)
    # If all columns have the same season, the config stores it.
    assert prepared(table()[["load"]], window=60, horizon=6).config.season == 24


@pytest.mark.parametrize(
    ("every", "season", "rows"), [("MS", 12, 257), ("QS", 4, 90), ("D", 7, 200), ("h", 24, 600), ("W-MON", 52, 1100)]
)
def test_season_of_the_calendar_is_tried_if_it_is_not_found(
    every: str, season: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default window holds it as well."""
    monkeypatch.setattr("lstm_ae.data.season.find_seasons", lambda *_: ColumnSeasons())
    values = np.resize(np.random.default_rng(0).normal(size=season), rows)
    values += 0.1 * np.random.default_rng(1).normal(size=rows)
    settled = prepared(pd.DataFrame({"a": values}, pd.date_range("1990-01-01", periods=rows, freq=every, name="time")))
    assert (settled.config.season, settled.config.window) == (season, 2 * season)


def test_given_season_decides_window_and_horizon() -> None:
    settled = prepared(table()[["load"]], season=12)
    assert (settled.config.window, settled.config.horizon, settled.data.seasons) == (24, 12, (12,))


def test_first_windows_of_a_split_read_the_rows_before_it() -> None:
    """The forecast rows of all windows belong to the split itself."""
    data = prepared(pd.DataFrame({"a": np.arange(200.0)}), window=10, horizon=4, value_cols=("a",), freq="rows").data
    futures = [np.unique(part.windows()[:, 10:]).tolist() for part in (data.train, data.validation, data.test)]
    assert futures == [list(range(10, 140)), list(range(140, 170)), list(range(170, 200))]
    assert data.train.series.max() == 139


def test_verdict_names_the_column_that_decides_it() -> None:
    """The model loses to persistence on the price and clearly beats the season on the hour."""
    random = np.random.default_rng(0)
    squared = {"": random.uniform(1, 2, 100), "season by column": random.uniform(3, 4, 100)}
    by_feature = {"": np.array([2.5, 0.5]), "season by column": np.array([2.0, 5.0])}
    found = forecast_metrics.ForecastErrors(squared, np.arange(100), 1, np.zeros(100), by_feature=by_feature)
    columns = forecast_metrics.skill_by_column(found, ("price", "hour"), (None, 12))
    assert columns["price"][:2] == ("persistence", pytest.approx(-0.25))
    assert columns["hour"][:2] == ("season of 12 steps", pytest.approx(0.9))
    assert (columns["price"].others, columns["hour"].others) == (pytest.approx(0.9), pytest.approx(-0.25))
    verdict = forecast_metrics.judge_forecasts(found, ("price", "hour"))
    assert str(verdict).endswith(", but -25.00% without the column hour)")
    even = found._replace(by_feature=found.by_feature | {"": np.array([1.5, 0.5])})
    assert "without" not in str(forecast_metrics.judge_forecasts(even, ("price", "hour")))
    assert (
        forecast_metrics.skill_by_column(found._replace(by_feature={"": [1], "season by column": [2]}), ("a",), (None,))
        == {}
    )


def test_default_window_holds_the_strongest_season() -> None:
    hours = 24 * 7 * 20
    turn = 2 * np.pi * np.arange(hours) / 24
    weekend = np.arange(hours) // 24 % 7 >= 5
    frame = table(hours=hours)[["load"]]
    frame["load"] = 50 + np.where(weekend, 4, 10) * np.sin(turn) + np.random.default_rng(0).normal(size=hours)
    settled = prepared(frame)
    assert (settled.config.window, settled.config.horizon) == (24 * 7 + 24, 24)
    assert settled.data.train.span == 24 * 9
    assert prepared(table()).config.window == 48


@pytest.mark.parametrize("rows", [16, 24, 28])
def test_small_table_gets_a_horizon_of_one_step_and_a_verdict(rows: int) -> None:
    values = 100 + np.random.default_rng(0).normal(size=rows)
    frame = pd.DataFrame({"a": values}, pd.date_range("2024-01-01", periods=rows, name="time"))
    settled = prepared(frame, units=2)
    assert settled.config.horizon == 1
    model = KerasNetwork(build_model(settled.config, settled.data))
    found = forecasting.evaluate(model, settled.data)
    assert found.verdicts["test"].baseline in found.metrics["test"]["forecast_mse"].baselines


def test_linear_regression_on_business_days_with_gaps() -> None:
    """Every future contains a weekend, whose values are missing."""
    days = pd.bdate_range("2018-01-01", periods=600)
    frame = pd.DataFrame({"a": np.arange(600.0)}, pd.Index(days, name="time"))
    settled = prepared(frame, window=14, horizon=9, scale="none", freq="1d", max_gap=6)
    assert np.isnan(settled.data.train.windows()[:, 14:]).any(axis=(1, 2)).all()
    fitted = baselines.fit_baselines(settled.data, 14, 9)
    window = settled.data.test.windows()
    windows = baselines.ForecastWindows(window, 14, Covariates())
    error = fitted.predict(windows)["linear regression"] - windows.truth
    assert np.nanmax(abs(error)) < 1.5
    # Without training values, the regression equals persistence.
    train = settled.data.train._replace(series=np.full_like(settled.data.train.series, NAN))
    said = baselines.fit_baselines(settled.data._replace(train=train), 14, 9).predict(windows)["linear regression"]
    np.testing.assert_array_equal(said, baselines.persistence(window[:, :14], 9))


@pytest.mark.parametrize("level", [0, 1000, 100_000])
def test_untrained_network_ties_with_regression_at_any_level(level: int) -> None:
    frame = table()[["load"]] + level
    settled = prepared(frame, window=30, horizon=2, units=2)
    model = KerasNetwork(build_model(settled.config, settled.data))
    fitted = baselines.fit_baselines(settled.data, 30, 2)
    method = forecast_method(model, settled.data.test.span)
    found = forecast_metrics.forecast_errors(method, settled.data, settled.data.test, fitted)
    away = abs(found.squared[""] - found.squared["linear regression"])
    there = ~np.isnan(away)
    assert (away[there] <= found.rounding[there]).all()
    # The rounding tolerance is small compared with the errors.
    assert np.mean(found.rounding[there]) < 0.05 * np.mean(found.squared[""][there])
    alone = {name: found.squared[name] for name in ("", "linear regression")}
    judged = forecast_metrics.judge_forecasts(found._replace(squared=alone), ("load",))
    assert (judged.outcome, judged.baseline, judged.skill) == ("ties with", "linear regression", 0)
    assert np.isnan(judged.p)


def test_table_errors_match_values_computed_by_hand() -> None:
    frame = pd.DataFrame({"a": [0.0, 1, 2, 3, 4, NAN, 6, 7, 8, 9] * 9})
    data = prepared(frame, window=2, horizon=2, scale="none", value_cols=("a",), freq="rows").data
    split = data.test._replace(starts=np.array([2, 8]))
    assert split.windows()[..., 0].tolist()[0] == pytest.approx([6, 7, 8, 9])
    window = split.windows()[..., 0]
    assert np.isnan(window[1, 3])
    linear = baselines.LinearCoefficients(np.zeros((2, 2), np.float32), np.zeros(2, np.float32))
    fitted = baselines.Baselines((None,), 2, baselines.ForecastRegression(linear))
    spread = np.zeros((1, 2, 199), np.float32)
    spread[..., 19], spread[..., 179] = -1, 1
    method = ForecastMethod(lambda past, lines, following: np.full((len(past), 2, 1), 9, np.float32), 2, 2)
    calibration = ErrorQuantiles(spread, fixed_scale())
    found = forecast_metrics.forecast_errors(method, data._replace(scale=fixed_scale()), split, fitted, calibration)
    errors = np.square(9 - window[:, 2:])
    assert found.squared[""].tolist() == pytest.approx([errors[0].mean(), errors[1, 0]])
    assert found.by_step[""].tolist() == pytest.approx([errors[:, 0].mean(), errors[0, 1]])
    assert found.by_feature[""].tolist() == pytest.approx([np.nanmean(errors)])
    assert found.naive == "persistence"
    naive = np.square(window[:, 1:2] - window[:, 2:])
    assert found.squared["persistence"].tolist() == pytest.approx([naive[0].mean(), naive[1, 0]])
    assert found.coverage[80] == pytest.approx(np.nanmean(np.where(np.isnan(window[:, 2:]), NAN, errors <= 1)))
    measured = forecast_metrics.measure_forecasts(found)
    assert measured["skill"].value == pytest.approx(
        1 - np.mean(found.squared[""]) / np.mean(found.squared["persistence"])
    )


def test_training_metrics_include_baselines_skill_and_coverage(place: Path) -> None:
    run = open_run(place / "run")
    metrics = run.metrics()
    test = metrics["test"]
    assert list(test) == ["forecast_mse", "forecast_mae", "skill", "coverage_80", "coverage_95"]
    assert list(test["forecast_mse"]["baselines"]) == ["season of 24 steps", "persistence", "linear regression"]
    assert test["skill"]["value"] == pytest.approx(
        1 - test["forecast_mse"]["value"] / test["forecast_mse"]["baselines"]["season of 24 steps"]
    )
    assert test["skill"]["value"] > 0.2
    for part in ("validation", "test"):
        baselines = metrics[part]["forecast_mse"]["baselines"]
        assert metrics["verdict"][part]["baseline"] == min(baselines, key=baselines.get)
    assert 0.6 < test["coverage_80"]["value"] < 0.95
    names = {path.stem for path in (place / "run/figures").iterdir()}
    assert names >= {"forecasts", "skill_by_step", "loss"}
    assert "coverage_80" not in metrics["validation"]  # the intervals are calibrated on validation


def test_evaluation_without_a_split_asks_for_a_table(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a model that was also trained on validation and has no test split."""
    monkeypatch.setattr(RunWithData, "evaluate", lambda _: Evaluation({}))
    with contextlib.chdir(place):
        said = call("series evaluate run")
    assert said.code == 3
    assert "series evaluate" in said.err
    assert "DATA" in said.err


def test_forecast_command_writes_columns_intervals_and_figure(place: Path) -> None:
    document = answer(f"series forecast {place}/run {place}/t.csv --out next.csv --level 50 --figure f.png")
    assert document["steps"] == 6
    frame = pd.read_csv("next.csv", parse_dates=["time"])
    assert list(frame) == [
        "time", "step",
        "load", "load season of 24 steps", "load low_50", "load high_50",
        "heat", "heat season of 24 steps", "heat low_50", "heat high_50",
    ]  # fmt: skip
    assert frame["time"].tolist() == list(pd.date_range("2024-04-10", periods=6, freq="h"))
    truth = table(hours=HOURS).iloc[-24:-18]["heat"]
    np.testing.assert_allclose(frame["heat season of 24 steps"], truth, rtol=1e-6)
    assert (frame["load low_50"] < frame["load"]).all()
    assert (frame["load"] < frame["load high_50"]).all()
    assert abs(frame["heat"] - truth.to_numpy()).max() < 2
    assert Path("f.png").stat().st_size > 10_000


def test_forecast_writes_its_files_when_stdout_is_closed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = call_unread(f"series forecast {place}/run {place}/t.csv --out next.csv --figure next.png", monkeypatch)
    assert (said.code, said.out) == (0, "")
    assert len(pd.read_csv("next.csv")) == 6
    assert Path("next.png").is_file()


@pytest.mark.slow
def test_longer_horizon_is_a_rollout_without_intervals(place: Path) -> None:
    run = open_run(place / "run")
    far = forecast.forecast_file(run, TableRequest(str(place / "t.csv")), horizon=15, levels=(80,))
    past, pieces = far.past, []
    for _ in range(3):
        future = np.asarray(run.model()({"past": past})["future"])
        pieces.append(future)
        past = np.concatenate([past, future], axis=1)[:, -30:]
    np.testing.assert_allclose(far.future, np.concatenate(pieces, axis=1)[:, :15], rtol=1e-5)
    low, _ = far.intervals[80]
    assert np.isnan(low).all(axis=2).tolist() == [[False] * 6 + [True] * 9]
    said = call(f"series forecast {place}/run {place}/t.csv --out far.csv --horizon 8")
    assert "No intervals after step 6" in said.out


def test_forecast_notes_steps_without_an_interval(place: Path) -> None:
    forecaster = forecast.load_forecaster(open_run(place / "run"))
    series = read_panel(Reading(data=str(place / "t.csv")))
    given = prepare_table(forecaster.config, series)
    known = forecast.forecast_table(forecaster, given, levels=(95,))
    assert not known.notes
    spread = forecaster.calibration.quantiles.copy()
    spread[1, 3:] = np.inf
    few = dataclasses.replace(forecaster, calibration=dataclasses.replace(forecaster.calibration, quantiles=spread))
    found = forecast.forecast_table(few, given, levels=(95,))
    assert np.isnan(found.intervals[95][0][0]).tolist() == [[False, step >= 3] for step in range(6)]
    (remark,) = found.notes
    assert remark.startswith("heat has steps without an interval, which needs 5 validation errors")


@pytest.mark.parametrize(("windows", "levels"), [(4, []), (8, ["80%", "95%"]), (9, ["95%"]), (38, ["95%"]), (39, [])])
def test_note_on_intervals_beyond_the_validation_errors(windows: int, levels: list[str]) -> None:
    """Of 9 errors, the largest bounds the interval of 80%; of 39, that of 95%."""
    text = " ".join(forecast_metrics.describe_few_errors(windows))
    assert [level for level in ("80%", "95%") if level in text] == levels


def test_sequence_forecaster_passes_on_the_number_of_networks() -> None:
    model = SequenceForecaster(seeds=3, random_state=4)
    config = model._config()
    assert (config.seeds, config.seed) == (3, 4)
    assert SequenceForecaster._parameters(config)["seeds"] == 3
    with pytest.raises(ConfigError, match="options has 'seeds', which is a parameter"):
        SequenceForecaster(options={"seeds": 3})._config()
    with pytest.raises(ConfigError, match="seeds must be a whole number at least 1"):
        SequenceForecaster(seeds=0)._config()


@pytest.mark.slow
def test_forecast_leaves_out_series_without_a_last_window(place: Path) -> None:
    pieces = [table(seed=1).iloc[:100].assign(pump="a"), table(seed=2).iloc[:20].assign(pump="b")]
    gap = table(seed=3).iloc[:200].assign(pump="c").drop(table().index[180:190])
    pd.concat([*pieces, gap]).to_csv("many.csv")
    said = done(f"series train many.csv {OPTIONS} --out many --id-col pump --split 0.6,0.2,0.2")
    said = done("series forecast many many.csv --out next.csv")
    assert "without 30 consecutive rows at the end: b, c" in said.out
    frame = pd.read_csv("next.csv")
    assert frame["pump"].tolist() == ["a"] * 6
    table(seed=2).iloc[:20].assign(pump="b").to_csv("short.csv")
    with pytest.raises(DataError, match=r"short\.csv' has 20 rows, and a window has 30"):
        forecast.forecast_file(open_run("many"), TableRequest("short.csv"))


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("series forecast {run} {t} --out x.txt", 2, "--out must end in .csv or .parquet"),
        ("series forecast {run} {t} --out x.csv --horizon 0", 2, "--horizon must be a whole number at least 1"),
        ("series forecast {run} {t} --out x.csv --level 0", 2, "--level must be different whole numbers"),
        ("series forecast {run} nothing.csv --out x.csv", 3, "nothing.csv"),
        ("series train {t} --task forecast --horizon 500", 3, "Pass a shorter --window or --horizon"),
        ("series forecast {run} {t} --out x.csv --figure x.svg", 2, "--figure must be a file that ends in .png"),
        ("series detect {run} {t}", 3, "is not an anomaly detector"),
        ("series encode {run} {t} --out x.csv", 2, "is a run of --task forecast"),
        ("series train {t} --horizon 3", 2, "--horizon is for --task forecast. Received: --task anomaly"),
        ("series train {t} --task forecast --code 3", 2, "--code is for --task anomaly or reconstruct"),
        ("series train {t} --task reconstruct --segment 3", 2, "--segment is for --task forecast. Received"),
        ("series train {t} --task forecast --normal ..2024-03-05", 2, "--normal is for --task anomaly"),
        ("series train {t} --task anomaly --seeds 2", 2, "--seeds is for --task classify or forecast"),
        ("series train {t} --task reconstruct --seeds 2", 2, "--seeds is for --task classify or forecast"),
    ],
)
def test_invalid_forecast_options_are_refused_in_one_line(place: Path, command: str, code: int, words: str) -> None:
    said = call(command.format(run=place / "run", t=place / "t.csv"))
    assert said.code == code, said.err
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_forecast_is_empty_for_a_column_missing_in_the_last_window(place: Path) -> None:
    """One column has no values in the last window."""
    frame = table()
    frame.iloc[-40:, 0] = NAN
    frame.to_csv("dead.csv")
    done(f"series forecast {place}/run dead.csv --out next.csv")
    following = pd.read_csv("next.csv").drop(columns=["time", "step"])
    dead = [name for name in following if name.startswith("load")]
    assert following[dead].isna().all(axis=None)
    assert following.drop(columns=dead).notna().all(axis=None)


@pytest.fixture(scope="module")
def fitted() -> SequenceForecaster:
    return SequenceForecaster(window=30, horizon=6, units=4, epochs=2, stride=2, seeds=1).fit(table())


def test_sequence_forecaster_warns_of_another_sampling_interval(fitted: SequenceForecaster) -> None:
    sparse = table().iloc[::2]
    for predict in (fitted.predict, fitted.predict_interval):
        with pytest.warns(UserWarning, match="X are 2h apart|have no row") as told:
            predict(sparse)
        assert sum(warning.category is UserWarning for warning in told) == 2


def test_sequence_forecaster_reads_only_the_last_window(fitted: SequenceForecaster) -> None:
    frame = table()
    np.testing.assert_allclose(fitted.predict(frame.iloc[-30:]), fitted.predict(frame), rtol=1e-6)
    with pytest.raises(DataError, match=r"has 29 rows, and a window has 30\. Pass more rows"):
        fitted.predict(frame.iloc[-29:])
    with pytest.raises(ConfigError, match="level must be a whole number"):
        fitted.predict_interval(frame, level=100)
    told = fitted.predict(frame.tz_localize("UTC").tz_convert("Europe/Berlin"))
    assert str(told.index[0]) == "2024-04-10 02:00:00+02:00"


@pytest.mark.parametrize(
    ("hours", "valued", "facts"),
    [
        ([*range(100), *range(112, 132)], 120, ("no 30 consecutive rows at the end", "--max-gap")),
        ([*range(100), *range(200, 210)], 110, ("no 30 consecutive rows at the end", "--max-gap")),
        (range(20), 20, ("20 rows, and a window has 30",)),
        (range(120), 100, ("no 30 consecutive rows at the end",)),
    ],
    ids=["gap", "gap longer than a window", "few rows", "no values"],
)
def test_forecast_refuses_a_table_without_a_window_at_its_end(
    place: Path, hours: Sequence[int], valued: int, facts: tuple[str, ...]
) -> None:
    frame = table().iloc[list(hours)].copy()
    frame.iloc[valued:] = np.nan
    frame.to_csv("t.csv")
    said = call(f"series forecast {place}/run t.csv --out next.csv")
    assert said.code == 3
    assert all(fact in said.last for fact in facts), said.last


@pytest.mark.slow
def test_backtest_command_writes_folds_and_a_verdict() -> None:
    table(hours=24 * 60).to_csv("t.csv")
    asked = "series backtest t.csv --folds 2 --window 30 --horizon 6 --units 2 --epochs 1 --set stride=4 --out b"
    said = done(f"{asked} --json")
    assert "inferred from the rows of fold 1, used for all folds:\n  time_col: " in said.err
    document = json.loads(said.out)
    assert [fold["number"] for fold in document["folds"]] == [1, 2]
    assert document["verdict"]["baseline"]["outcome"] in ("beats", "ties with", "loses to")
    assert not list(Path("b").glob("*.npz"))
