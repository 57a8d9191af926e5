"""Tables without a regular time step: the advice of check and training, and the result of following it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ae.backtest.plans import plan_backtest
from lstm_ae.checks.rules import CheckedTable, format_options
from lstm_ae.checks.table import inspect_table
from lstm_ae.config import Reading, Series
from lstm_ae.config.reading import parse_step
from lstm_ae.data.grid import common_step, grid_slots, missing_share
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import DataError
from lstm_ae.studies.series import defaults

Seconds = NDArray[np.float64]


def poisson(rows: int = 1500) -> Seconds:
    return np.cumsum(np.random.default_rng(0).exponential(10, rows))


def bursts(begins: Seconds) -> Seconds:
    """Return bursts of five rows within about a second."""
    within = np.cumsum(np.random.default_rng(0).exponential(0.3, (len(begins), 5)), axis=1)
    return np.sort((begins[:, None] + within).ravel())


def daily(*clock: float, days: int = 120) -> Seconds:
    found: Seconds = np.add.outer(np.arange(days) * 86_400, np.multiply(clock, 3600.0)).ravel()
    return found


def events() -> Seconds:
    """Return times whose distances all differ and span eight orders of magnitude."""
    return np.cumsum(10 ** np.random.default_rng(1).uniform(0, 8, 400))


def stray() -> Seconds:
    """Return one row per minute and a few stray rows."""
    return np.sort(np.r_[np.arange(500), 100.4, 300.3] * 60)


# Row times in seconds.
TABLES: dict[str, Seconds] = {
    "arrivals": poisson(),
    "bursts": bursts(np.arange(300) * 10.0),
    "bursts that arrive": bursts(np.cumsum(np.random.default_rng(2).exponential(90, 300))),
    "twice a day": daily(8, 17),
    "events": events(),
    "stray rows": stray(),
}


def table_of(seconds: Seconds, **options: Any) -> Reading:
    times = np.datetime64("2024-01-01", "us") + (np.asarray(seconds) * 1e6).astype("timedelta64[us]")
    rows = [f"{time},{np.sin(k / 5):.3f}" for k, time in enumerate(times)]
    Path("t.csv").write_text("\n".join(["time,a", *rows]) + "\n")
    return Reading(data="t.csv", **options)


def settled(fix: Any, **options: Any) -> defaults.CompletedConfig:
    return defaults.load_complete(Series(data="t.csv", epochs=1, **options | fix))


def share_of(seconds: Seconds, every: str | None = None) -> float:
    table = read_panel(table_of(seconds))
    step = common_step(table) if every is None else parse_step(every)
    assert step is not None
    return missing_share(table, grid_slots(table, step))


def test_missing_share_ignores_nights_weekends_and_outages() -> None:
    hours = np.arange(24 * 70)
    assert share_of(hours[(hours % 24 >= 9) & (hours % 24 < 17)] * 3600) == 0
    assert share_of(hours[(hours // 24 % 7 < 5) & (hours % 24 == 8)] * 3600) == 0
    assert share_of(np.r_[0:200, 9000:9200] * 60) == 0
    # Every second step has a row.
    assert share_of(hours * 7200, "1h") == pytest.approx(0.5, abs=0.01)
    assert share_of(hours * 3600, "1min") == pytest.approx(59 / 60, abs=0.01)
    assert share_of(hours * 3600, "rows") == 0


@pytest.mark.parametrize("case", TABLES)
def test_every_fix_suggested_by_check_allows_training(case: str) -> None:
    config = table_of(TABLES[case])
    found = inspect_table(config)
    assert found.usable is (case == "twice a day")
    fixes = [fix for finding in found.findings for fix in finding.fixes]
    assert fixes
    for fix in fixes:
        again = inspect_table(replace(config, **fix))
        assert again.usable, fix
        assert settled(fix).data.train.samples > 0
        # The grid of an applied fix has less than 20 times the rows of the table.
        assert len(again.prepared.split) < 20 * len(found.table.times)


@pytest.mark.parametrize(
    "seconds",
    [np.r_[0:100, 150:230, 290:350] * 60, (np.arange(8)[:, None] * 1440 + np.arange(390)).ravel() * 60],
    ids=["outages", "nights"],
)
def test_check_does_not_doubt_a_step_between_outages(seconds: Seconds) -> None:
    """Rows that are joined across an outage would be no windows of the same process."""
    found = inspect_table(table_of(seconds))
    assert found.usable
    assert found.gaps.long
    assert not any(note.fixes for note in found.findings)


def fixes_of(found: CheckedTable) -> list[Any]:
    (problem,) = (finding for finding in found.findings if finding.fatal)
    return [dict(fix) for fix in problem.fixes]


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("twice a day", {"freq": "1h"}),
        ("bursts", {"duplicates": "last"}),
        ("bursts that arrive", {"duplicates": "mean"}),
        ("events", {"duplicates": "mean"}),
    ],
)
def test_mostly_missing_grid_is_refused_by_training_and_backtest(case: str, options: dict[str, Any]) -> None:
    config = table_of(TABLES[case], **options)
    assert {"freq": "rows"} in fixes_of(inspect_table(config))
    assert {finding.topic for finding in inspect_table(config).findings}.isdisjoint({"windows", "missing rows"})
    with pytest.raises(DataError, match=r"'t.csv': .*% of the steps of \w+ have no row.* Add --freq rows$"):
        settled({}, **options)
    assert settled({**options, "freq": "rows"}).data.train.samples > 0
    with pytest.raises(DataError, match="have no row"):
        plan_backtest(Series(data="t.csv", task="forecast", **options), 3)


@pytest.mark.parametrize("case", ["arrivals", "bursts that arrive", "events", "stray rows"])
def test_training_and_check_suggest_the_same_fixes_for_close_rows(case: str) -> None:
    found = inspect_table(table_of(TABLES[case]))
    (problem,) = (finding for finding in found.findings if finding.fatal)
    assert problem.topic == "times"
    with pytest.raises(DataError) as error:
        settled({})
    (fix,) = problem.fixes
    assert str(error.value).endswith(f". Add {format_options(fix)}")
    assert fix == ({"duplicates": "first"} if case == "stray rows" else {"freq": "rows"})


def test_rows_with_one_shared_timestamp_are_trained_by_rows() -> None:
    config = table_of(np.zeros(100))
    assert inspect_table(config).findings == ()
    assert settled({}).config.freq == "rows"
