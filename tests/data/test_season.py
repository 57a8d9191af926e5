"""Season detection: generated series with and without a season, the false-season rate, and real series."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sampling import sampled

from lstm_ae.checks.table import inspect_table
from lstm_ae.config import Reading, Series
from lstm_ae.config.reading import TimeStep, parse_step
from lstm_ae.data import season
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import prepare_table
from lstm_ae.data.season import calendar_periods, choose_default_steps, find_seasons
from lstm_ae.data.table_reader import read_panel

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Floats]


def step(text: str) -> TimeStep:
    found = parse_step(text)
    assert found is not None
    return found


def seasons(values: Floats, every: str = "rows") -> tuple[int, ...]:
    return find_seasons([np.asarray(values, float)], calendar_periods(step(every))).steps


def wave(steps: int, period: float) -> Floats:
    return np.sin(2 * np.pi * np.arange(steps) / period)


def ar(*weights: float) -> Noise:
    def noise(random: np.random.Generator, steps: int) -> Floats:
        values = random.normal(size=steps + 200).tolist()
        for place in range(len(weights), len(values)):
            values[place] += sum(weight * values[place - lag] for lag, weight in enumerate(weights, 1))
        return np.array(values[200:])

    return noise


NOISES: dict[str, Noise] = {
    "white": lambda random, steps: random.normal(size=steps),
    "heavy tails": lambda random, steps: random.standard_t(2, size=steps),
    "random walk": lambda random, steps: random.normal(size=steps).cumsum(),
    "integrated random walk": lambda random, steps: random.normal(size=steps).cumsum().cumsum(),
    "random walk with noise": lambda random, steps: random.normal(size=steps).cumsum() + 3 * random.normal(size=steps),
    "autoregressive, 0.5": ar(0.5),
    "autoregressive, 0.9": ar(0.9),
    "autoregressive, 0.97": ar(0.97),
    "autoregressive of order 2": ar(0.9, -0.3),
    "alternating": ar(-0.9),
    "a third of a turn": ar(-0.9, -0.9),
    "moving average": lambda random, steps: np.convolve(random.normal(size=steps + 4), np.ones(5) / 5, "valid"),
    "trend": lambda random, steps: np.arange(steps) / 20 + random.normal(size=steps),
    "curved trend": lambda random, steps: 20 * (np.arange(steps) / steps) ** 2 + random.normal(size=steps),
}


def false_seasons(steps: int, every: str, seeds: int) -> dict[str, float]:
    """Return the share of series of each noise in which a season is found."""
    return {
        name: float(
            np.mean([bool(seasons(noise(np.random.default_rng([seed, steps]), steps), every)) for seed in range(seeds)])
        )
        for name, noise in NOISES.items()
    }


LENGTHS = ((40, "1mo"), (70, "1y"), (170, "1mo"), (500, "1d"), (2000, "1h"))


@pytest.mark.parametrize(("steps", "every"), sampled(LENGTHS, slow=(LENGTHS[2],)))
def test_false_season_rate_is_at_most_one_percent(steps: int, every: str) -> None:
    """The target rate is one in a hundred columns. Of the noises, a moving average is most similar to a season."""
    rates = false_seasons(steps, every, 100)
    assert float(np.mean(list(rates.values()))) <= 0.01, rates
    assert max(rates.values()) <= 0.04, rates


def months(random: np.random.Generator) -> Floats:
    """Return a season that grows with the level, as in sales or passenger numbers."""
    pattern = np.array([-1, -1.2, 0.3, 0, 0, 1, 2, 2, 0.5, -0.6, -1.5, -0.5]) / 10
    level = np.exp(np.arange(100) / 100 + np.resize(pattern, 100))
    found: Floats = 100 * level + 3 * random.normal(size=100)
    return found


def gaps(random: np.random.Generator) -> Floats:
    values = wave(24 * 30, 24) + 0.3 * random.normal(size=24 * 30)
    values[random.random(len(values)) < 0.3] = np.nan
    values[200:260] = np.nan
    return values


def spikes(random: np.random.Generator) -> Floats:
    return np.where(np.arange(24 * 40) % 24 == 7, 5.0, 0.0) + 0.3 * random.normal(size=24 * 40)


def week(random: np.random.Generator) -> Floats:
    hours = np.arange(24 * 7 * 14)
    return wave(len(hours), 24) - (hours // 24 % 7 > 4) + 0.25 * random.normal(size=len(hours))


def minutes(random: np.random.Generator) -> Floats:
    return wave(20_000, 1440) + 0.2 * random.normal(size=20_000)


def ripple(random: np.random.Generator) -> Floats:
    """Return a small ripple of 5 steps on a large daily season."""
    return minutes(random) + 0.3 * (np.arange(20_000) % 5 == 0)


@pytest.mark.parametrize(
    ("values", "every", "found"),
    [
        (months, "1mo", (12,)),
        (months, "rows", (12,)),
        (lambda random: wave(80, 4) + 0.3 * random.normal(size=80), "3mo", (4,)),
        (lambda random: wave(400, 7) + np.arange(400) / 10 + 0.3 * random.normal(size=400), "1d", (7,)),
        (lambda random: wave(400, 7) + 4 * wave(400, 365) + 0.3 * random.normal(size=400), "1d", (7,)),
        (gaps, "1h", (24,)),
        (spikes, "1h", (24,)),
        (week, "1h", (24, 168)),
        (lambda random: np.resize([0.0, 1.0], 400) + 0.1 * random.normal(size=400), "1d", ()),
        (lambda random: np.resize([0.0, 1.0, 5.0], 400) + 0.1 * random.normal(size=400), "1d", ()),
        (minutes, "1min", (1440,)),
        (ripple, "1min", (1440,)),
        (lambda random: minutes(random)[:4000], "1min", ()),
        (lambda random: wave(30, 12) + 0.3 * random.normal(size=30), "1mo", ()),
        (lambda random: np.ones(500), "1h", ()),
        (lambda random: np.arange(1001.0), "rows", ()),
        (lambda random: random.normal(size=3), "1h", ()),
        (lambda random: random.random(3000) < 0.002, "rows", ()),
    ],
)
def test_seasons_of_generated_series(values: Any, every: str, found: tuple[int, ...]) -> None:
    assert seasons(values(np.random.default_rng(0)), every) == found


def test_find_seasons_combines_several_series() -> None:
    """Two of four series have a season, and lack some of their steps."""
    random, hours = np.random.default_rng(0), np.arange(600)
    walks = [random.normal(size=600).cumsum() for _ in range(2)]
    days = [5 * wave(600, 24) + random.normal(size=600) for _ in range(2)]
    holes = [np.where(hours % 10 > 1, values, np.nan) for values in days]
    assert find_seasons([*walks, *holes], (24, 168)).steps == (24,)
    assert find_seasons(walks, (24, 168)).steps == ()
    assert find_seasons([], ()).steps == ()


def table_of(values: dict[str, Floats] | Floats, every: str) -> Panel:
    columns = values if isinstance(values, dict) else {"a": values}
    rows = len(next(iter(columns.values())))
    unit = {"1mo": "MS", "1y": "YS", "1d": "D", "1h": "h", "1min": "min", "1s": "s"}[every]
    pd.DataFrame(columns, pd.date_range("2000-01-01", periods=rows, freq=unit, name="time")).to_csv("t.csv")
    return read_panel(Reading(data="t.csv"))


DETECTION: dict[str, Any] = {"task": "anomaly"}
FORECAST: dict[str, Any] = {"task": "forecast"}


@pytest.mark.parametrize(
    ("options", "period", "every", "rows", "chosen"),
    [
        (FORECAST, 12, "1mo", 240, (24, 12, 2)),
        # Of 144 months, 21 are for validation; their first forecasts read the training rows before them.
        (FORECAST, 12, "1mo", 144, (36, 7, 3)),
        (DETECTION, 24, "1h", 2000, (72, 0, 2)),
        (DETECTION, 50, "1min", 2000, (100, 0, 5)),
        (DETECTION, 144, "1min", 4000, (144, 0, 14)),
        # The validation and test splits have 105, 75, and 45 rows.
        (DETECTION, 24, "1h", 700, (48, 0, 2)),
        (DETECTION, 24, "1h", 500, (24, 0, 2)),
        (DETECTION, 24, "1h", 300, (22, 0, 2)),
        (DETECTION | {"window": 20}, 24, "1h", 2000, (20, 0, 2)),
        (DETECTION, 0, "1min", 2000, (60, 0, 6)),
        (DETECTION, 0, "1h", 2000, (72, 0, 2)),
        (DETECTION | {"task": "reconstruct"}, 0, "1min", 2000, (30, 0, 3)),
    ],
)
def test_default_lengths(
    options: dict[str, Any], period: int, every: str, rows: int, chosen: tuple[int, int, int]
) -> None:
    values = wave(rows, period) if period else np.zeros(rows)
    table = table_of(values + np.random.default_rng(0).normal(size=rows) / 10, every)
    found = prepare_table(Series(data="t.csv", **options), table)
    assert (found.window, found.horizon, found.max_gap) == chosen
    assert ("window" in found.inferred) == ("window" not in options)


def test_default_steps_use_the_column_with_the_strongest_season() -> None:
    random = np.random.default_rng(0)
    table = table_of({"noise": random.normal(size=800), "load": wave(800, 24) + random.normal(size=800) / 4}, "1h")
    found = choose_default_steps(table, step("1h"), np.ones(800, bool))
    assert found[:3] == (24, 24, "from the season of load")
    assert season.find_column_seasons(table, step("1h"), np.ones(800, bool)) == ((), (24,))


def test_default_steps_depend_on_training_rows_only() -> None:
    random = np.random.default_rng(0)
    values = wave(1000, 20) + random.normal(size=1000) / 4
    config = Series(data="t.csv", task="forecast")
    before = prepare_table(config, table_of(values, "1h")).inferred
    values[700:] = 10 * wave(300, 11)
    assert prepare_table(config, table_of(values, "1h")).inferred == before


def test_season_detection_ignores_known_anomalies() -> None:
    random, rows = np.random.default_rng(0), np.arange(1000)
    odd = rows % 100 < 50
    values = np.where(odd, 5 * wave(1000, 11), wave(1000, 20)) + random.normal(size=1000) / 4
    table_of({"a": values, "odd": odd.astype(float)}, "1h")
    found = [
        inspect_table(Reading(data="t.csv", value_cols=("a",), label_col=label)).prepared for label in ("odd", None)
    ]
    # One season of 20 rows is in half of the 50 rows between anomalies; windows of 60 rows hold 6 seasons of 11 rows.
    assert [each.window for each in found] == [20, 66]


@pytest.mark.parametrize(
    ("name", "column", "every", "found"),
    [
        ("nile", "volume", "1y", ()),
        ("sunspots", "SUNACTIVITY", "1y", (11,)),
        ("co2", "co2", "1w", (52,)),
    ],
)
def test_seasons_of_real_series(name: str, column: str, every: str, found: tuple[int, ...]) -> None:
    """Use the training rows of series that statsmodels ships."""
    from statsmodels import datasets

    values = getattr(datasets, name).load_pandas().data[column].to_numpy()
    assert seasons(values[: int(0.7 * len(values))], every) == found


@pytest.mark.skipif("LSTMAE_DATA_DIR" not in os.environ, reason="LSTMAE_DATA_DIR is not set")
@pytest.mark.parametrize(
    ("name", "window", "most"),
    [
        ("nab/realKnownCause/nyc_taxi.csv", 96, 48 + 336),
        ("nab/realKnownCause/ambient_temperature_system_failure.csv", 72, 48),
        ("nab/artificialWithAnomaly/art_daily_jumpsup.csv", 288, 576),
        ("nab/artificialNoAnomaly/art_noisy.csv", 288, 576),
        pytest.param("forecast/ETTh1.csv.gz", 72, 48, marks=pytest.mark.exhaustive),
    ],
)
def test_default_windows_of_real_tables(name: str, window: int, most: int) -> None:
    path = str(Path(os.environ["LSTMAE_DATA_DIR"]) / name)
    table = read_panel(Reading(data=path))
    assert prepare_table(Reading(data=path), table).window == window
    assert prepare_table(Series(data=path, task="forecast"), table).window == most
