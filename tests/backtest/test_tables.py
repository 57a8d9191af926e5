"""Backtests of table forecasters: rows of the folds, and results over all folds."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lstm_ae_cli.console import Console
from lstm_ae_cli.results import show_verdicts

from lstm_ae.backtest import folds as folding
from lstm_ae.backtest import plans
from lstm_ae.config import Series
from lstm_ae.data.windows import Data, Split
from lstm_ae.errors import DataError
from lstm_ae.evaluation import Evaluation
from lstm_ae.forecasting import metrics
from lstm_ae.studies.series import defaults

WINDOW, HORIZON = 5, 2


def config_of(frame: pd.DataFrame, **options: Any) -> Series:
    frame.to_csv("t.csv", index=False)
    return Series(data="t.csv", task="forecast", window=WINDOW, horizon=HORIZON, value_cols=("a",), **options)


def backtest_table(config: Series, folds: int, out: Path) -> folding.Backtest:
    return folding.run_backtest(plans.plan_backtest(config, folds), folds, out)


def series_of(lengths: dict[str, int], begins: dict[str, str] | None = None) -> pd.DataFrame:
    """Return series of these lengths, without times or with one row per day; values are row numbers."""
    frames = []
    for number, (name, length) in enumerate(lengths.items()):
        frame = pd.DataFrame({"a": 1000.0 * number + np.arange(length), "pump": name})
        if begins:
            frame.insert(0, "day", pd.date_range(begins[name], periods=length))
        frames.append(frame)
    return pd.concat(frames)


def targets(split: Split) -> list[float]:
    """Return the values that the windows of a split forecast, in order."""
    return np.unique(split.windows()[:, WINDOW:]).tolist()


def folds_of(config: Series, folds: int) -> list[folding.FoldData]:
    plan = plans.plan_backtest(config, folds)
    return [plan.load(number) for number in range(1, folds + 1)]


def test_rows_of_each_series_are_tested_once() -> None:
    """The second half of each series is tested without gaps, with the window before it."""
    one, two = folds_of(config_of(series_of({"long": 200, "short": 40}), id_col=("pump",)), 2)
    assert targets(one.data.test) == [*range(100, 150), *range(1020, 1030)]
    assert targets(two.data.test) == [*range(150, 200), *range(1030, 1040)]
    # The last 15% of the earlier rows are for validation; first forecasts read the window before their split.
    rows = [split.series[:, 0].tolist() for split in (one.data.train, one.data.validation, one.data.test)]
    assert sorted(set(rows[0] + rows[1])) == [*range(100), *range(1000, 1020)]
    assert set(rows[0]).isdisjoint(targets(one.data.validation))
    assert rows[2] == [*range(95, 150), *range(1015, 1030)]
    assert len(targets(one.data.validation)) == 18


def test_no_fold_trains_on_later_rows_of_another_series() -> None:
    begins = {"early": "2010-01-01", "late": "2015-01-01"}
    config = config_of(series_of({"early": 120, "late": 80}, begins), id_col=("pump",), time_col="day")
    one, two = folds_of(config, 2)
    assert targets(one.data.test) == [*range(100, 120), *range(1000 + WINDOW, 1030)]
    assert targets(two.data.test) == list(range(1030, 1080))
    for fold in (one, two):
        first = fold.data.test.times([WINDOW]).astype(np.int64).min()
        assert max(split.time.astype(np.int64).max() for split in (fold.data.train, fold.data.validation)) < first
    # A series that ended earlier is used for training up to its end.
    assert two.data.train.series.max() < 1030
    assert 119 in np.r_[two.data.train.series[:, 0], two.data.validation.series[:, 0]]


def test_training_on_later_rows_of_other_series_is_reported() -> None:
    begins = {"early": "2010-01-01", "late": "2015-01-01"}
    whole = {"early": 120, "late": 80}
    config = config_of(series_of(whole, begins), id_col=("pump",), time_col="day")
    tested = 120 * 3 // 20 - HORIZON + 1
    data = defaults.load_complete(config).data
    assert data.test.samples == tested + 80 * 3 // 20 - HORIZON + 1
    assert data.source.leaky.startswith(f"{tested} of {data.test.samples} test windows forecast rows that are earlier")
    assert "series backtest" in data.source.leaky
    for fold in folds_of(config, 2):
        assert not fold.data.source.leaky
    together = config_of(series_of({"x": 100, "y": 90}, dict.fromkeys("xy", "2020-01-01")), id_col=("pump",))
    assert not defaults.load_complete(together).data.source.leaky


def test_too_many_folds_for_the_times_are_refused() -> None:
    frame = series_of({"x": 40, "y": 40}, {"x": "2020-01-01", "y": "2020-01-01"})
    with pytest.raises(DataError, match=r"t\.csv.* has too few times for 30 folds. Reduce --folds"):
        plans.plan_backtest(config_of(frame, id_col=("pump",), time_col="day"), 30)


def test_errors_name_options_that_a_backtest_has() -> None:
    config = config_of(series_of({"x": 150}, {"x": "2020-01-01"}), time_col="day")
    with pytest.raises(
        DataError, match=r"validation split .*\. Pass a shorter --window or --horizon, .*, or more rows$"
    ):
        plans.plan_backtest(dataclasses.replace(config, horizon=14), 2)
    with pytest.raises(
        DataError, match=r"test split .* a shorter --window or --horizon, .* fewer --folds, or more rows$"
    ):
        plans.plan_backtest(config, 60)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the model with errors of at least 0.9, and those of its baselines with 1."""

    def evaluate(model: Any, data: Data) -> Evaluation:
        split = data.test
        ours = 0.9 + 0.001 * (np.arange(split.samples) % 7)
        squared = {"": ours, "last value": np.ones_like(ours), "linear regression": np.ones_like(ours)}
        errors = metrics.ForecastErrors(squared, split.moments(WINDOW), HORIZON, np.zeros(split.samples))
        verdict = metrics.judge_forecasts(errors)
        return Evaluation({"test": {}}, {"test": verdict}, errors=errors)

    monkeypatch.setattr(folding, "fit_model", lambda *_, **__: (None, SimpleNamespace(epochs=1, best_epoch=1)))
    monkeypatch.setattr("lstm_ae.models.keras_network.KerasNetwork", lambda _: None)
    monkeypatch.setattr("lstm_ae.studies.series.forecasting.evaluate", evaluate)


def test_moments_without_times_are_rows(untrained: None) -> None:
    found = backtest_table(config_of(series_of({"x": 200})), 2, Path("out"))
    one, two = found.folds
    assert (one.first, one.last, two.first, two.last) == ("99", "147", "149", "197")
    assert one.moments == list(range(99, 148))
    assert two.moments == list(range(149, 198))


def test_times_are_in_the_time_zone_of_the_table(untrained: None) -> None:
    config = config_of(series_of({"x": 200}, {"x": "2020-01-01"}), time_col="day", time_zone="Asia/Tokyo")
    assert backtest_table(config, 2, Path("out")).folds[0].first == "2020-04-09 00:00:00+09:00"


def test_skill_weights_every_forecast_and_short_series_are_named(untrained: None) -> None:
    lengths = {"x": 200, "y": 200, "tiny": 6}
    begins = dict.fromkeys(lengths, "2020-01-01")
    found = backtest_table(config_of(series_of(lengths, begins), id_col=("pump",), time_col="day"), 2, Path("out"))
    assert [fold.left_out for fold in found.folds] == [["tiny"], ["tiny"]]
    for fold in found.folds:
        assert sum(fold.counts) == fold.windows
        assert set(fold.counts) == {2}
    fold = found.folds[0]._replace(
        errors={"model": [1, 4], "baseline": [2, 2], "linear regression": [1, 1]}, counts=[3, 1]
    )
    assert (fold.skill("model", "baseline"), fold.skill("linear regression", "baseline")) == (1 - 7 / 8, 1 / 2)


def seasonal_then_drifting(hours: int = 24 * 40) -> pd.DataFrame:
    """Return hourly values with a daily season in the first half and a random walk in the second."""
    random = np.random.default_rng(0)
    hour = np.arange(hours)
    values = np.where(hour < hours // 2, np.sin(hour * np.pi / 12), random.normal(0, 1, hours).cumsum())
    return pd.DataFrame({"time": pd.date_range("2024-01-01", periods=hours, freq="h"), "a": values})


def test_each_fold_chooses_its_season() -> None:
    config = dataclasses.replace(config_of(seasonal_then_drifting(), time_col="time"), window=30, horizon=6)
    one, two = folds_of(config, 2)
    assert (one.data.seasons, two.data.seasons) == ((24,), (None,))
    given = folds_of(dataclasses.replace(config, season=12), 2)
    assert [fold.data.seasons for fold in given] == [(12,), (12,)]


def fold_with(number: int, naive: str, **errors: float) -> folding.Fold:
    """Return a fold of 30 forecasts with errors that vary slightly around the given values."""
    wave = 0.01 * np.sin(np.arange(30) * number)
    values = {name: (error + wave).tolist() for name, error in errors.items()}
    moments = list(range(100 * number, 100 * number + 30))
    return folding.Fold(number, "a", "b", 1, 30, 1, {}, naive, moments, values, [1] * 30, [0.0] * 30)


@pytest.mark.parametrize(
    ("baselines", "shown"),
    [
        (("season of 24 steps", "persistence"), {"baseline": "the naive baselines", "persistence": "persistence"}),
        (("season of 24 steps",) * 2, {"baseline": "season of 24 steps", "persistence": "persistence"}),
        (("persistence",) * 2, {"baseline": "persistence"}),
    ],
)
def test_persistence_is_compared_in_every_fold(
    capsys: pytest.CaptureFixture[str],
    baselines: tuple[str, str],
    shown: dict[str, str],
) -> None:
    done = [
        fold_with(number, name, model=1.0, baseline=3.0, persistence=2.0 if name != "persistence" else 3.0)
        for number, name in enumerate(baselines, 1)
    ]
    verdicts = folding.judge_folds(done, HORIZON)
    assert {name: verdict.baseline for name, verdict in verdicts.items()} == shown
    show_verdicts(Console(), verdicts, "baseline")
    said = capsys.readouterr().out
    assert all(name in said for name in shown.values())
