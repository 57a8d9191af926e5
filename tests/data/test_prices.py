"""Stock prices: windows, splits, scales, dropped rows, and rejected input, with hand-computed values."""

import datetime
import gzip
import hashlib
import importlib.resources
import itertools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lstm_ae.config import Snp
from lstm_ae.config.options import declared_options, flag_name
from lstm_ae.data import prices
from lstm_ae.data.frames import RowCodes, panel_from_rows
from lstm_ae.data.prices import load_prices, next_days, read_prices
from lstm_ae.data.windows import Data, Split
from lstm_ae.errors import ConfigError, DataError, LstmAeError

HEAD = "symbol,date,open,high,low,close,volume"


@pytest.fixture(autouse=True)
def few_days_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "MIN_TRAINING_DAYS", 2)
    monkeypatch.delenv("LSTMAE_DATA_DIR", raising=False)


def day(number: int) -> str:
    return str(datetime.date(2020, 1, 1) + datetime.timedelta(number))


def row(symbol: str, number: int, high: object) -> str:
    """Return one day of a company; the other prices are irrelevant."""
    return f"{symbol},{day(number)},1,{high},1,1,5"


def written(folder: pathlib.Path, rows: Sequence[str], head: str = HEAD) -> str:
    path = folder / "prices.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return str(path)


def reconstruct(path: str, **choices: Any) -> Data:
    return load_prices(Snp(**{"data": path, "goal": "reconstruct", "window": 2, **choices}))


def windows(split: Split) -> list[list[float]]:
    cut: list[list[float]] = split.windows()[:, :, 0].tolist()
    return cut


def parts(data: Data) -> Iterator[Split]:
    return iter((data.train, data.validation, data.test))


# Hand-computed values -----------------------------------------------------------------------------------------------


def test_time_split_divides_the_windows_of_each_company(tmp_path: pathlib.Path) -> None:
    """Twenty days of two companies: 14 for training, 3 for validation, 3 for test."""
    rows = [row(symbol, i, base + i) for symbol, base in (("A", 10), ("B", 50)) for i in reversed(range(20))]
    data = reconstruct(written(tmp_path, rows))
    a, b = [list(range(base, base + 20)) for base in (10, 50)]
    pairs = [[[s[i], s[i + 1]] for i in range(19)] for s in (a, b)]
    assert windows(data.train) == [*pairs[0][:13], *pairs[1][:13]]
    assert windows(data.validation) == [*pairs[0][14:16], *pairs[1][14:16]]
    assert windows(data.test) == [*pairs[0][17:], *pairs[1][17:]]
    assert data.symbols == ("", "A", "B")
    assert data.feature_names == ("high (USD)",)
    assert data.validation.line is not None
    assert data.validation.line.tolist() == [1, 1, 1, 2, 2, 2]
    assert data.validation.time is not None
    assert (
        data.validation.time.astype("datetime64[D]").tolist()
        == [datetime.date.fromisoformat(day(i)) for i in (14, 15, 16)] * 2
    )
    assert data.train.series.dtype == np.float32
    assert data.train.series.shape == (28, 1)
    assert data.source.notes == ()
    assert data.source.leaky == ""


def test_scale_is_fitted_on_training_days(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, [*(row("A", i, 10 + i) for i in range(20)), *(row("B", i, 50) for i in range(20))])
    scale = reconstruct(path).scale
    assert scale.kind == "company"
    assert scale.offset.tolist() == [[0], [10], [50]]
    assert scale.range.tolist() == [[1], [13], [1]]  # days 0 to 13; a constant company is divided by 1
    leaky = reconstruct(path, scale="report")
    assert leaky.scale.range.tolist() == [[1], [19], [1]]
    assert "fitted on all days" in leaky.source.leaky
    none = reconstruct(path, scale="none").scale
    assert (none.kind, none.offset.tolist(), none.range.tolist()) == ("fixed", [[0]], [[1]])


def test_forecast_windows_include_the_target_day(tmp_path: pathlib.Path) -> None:
    data = load_prices(Snp(data=written(tmp_path, [row("A", i, 1 + i) for i in range(20)]), window=2))
    assert data.test.span == 3
    assert windows(data.test) == [[18, 19, 20]]
    assert windows(data.train)[0] == [1, 2, 3]


def test_stride_applies_to_training_windows_only(tmp_path: pathlib.Path) -> None:
    data = reconstruct(written(tmp_path, [row("A", i, 1 + i) for i in range(20)]), stride=5)
    assert windows(data.train) == [[1, 2], [6, 7], [11, 12]]
    assert windows(data.validation) == [[15, 16], [16, 17]]


def test_shuffled_split_shares_rows_and_is_marked_leaky(tmp_path: pathlib.Path) -> None:
    rows = [*(row("A", i, 10 + i) for i in range(50)), *(row("B", i, 90 - i) for i in range(50))]
    path = written(tmp_path, rows)
    data = reconstruct(path, split="report", window=4)
    starts = [split.starts.tolist() for split in parts(data)]
    assert [len(part) for part in starts] == [65, 14, 15]  # 94 windows: 70%, 15%, and 15%
    assert sorted(itertools.chain(*starts)) == [*range(47), *range(50, 97)]
    assert data.train.series is data.test.series
    assert "shuffled" in data.source.leaky
    order = np.random.default_rng(0).permutation([*range(47), *range(50, 97)])
    assert set(starts[0]) == set(order[:65].tolist())
    again = reconstruct(path, split="report", window=4)
    other = reconstruct(path, split="report", window=4, seed=1)
    assert again.test.starts.tolist() == starts[2] != other.test.starts.tolist()
    thinned = reconstruct(path, split="report", window=4, stride=2)
    assert thinned.train.starts.tolist() == [start for start in starts[0] if start % 2 == 0]
    assert thinned.test.starts.tolist() == starts[2]
    assert "; " in reconstruct(path, split="report", scale="report").source.leaky


def test_field_selects_the_price_from_kaggle_columns(tmp_path: pathlib.Path) -> None:
    rows = [f"{day(i)},{i + 1},{i + 2},{i + 3},{i + 4},7,A" for i in range(20)]
    data = reconstruct(written(tmp_path, rows, "date,open,high,low,close,volume,Name"), field="close")
    assert data.train.series[0, 0] == 4
    assert data.feature_names == ("close (USD)",)


# Dropped rows -------------------------------------------------------------------------------------------------------


def test_missing_values_break_windows(tmp_path: pathlib.Path) -> None:
    values: list[object] = list(range(1, 41))
    values[5], values[6], values[39] = "", "NA", "null"
    data = reconstruct(written(tmp_path, [row("A", i, value) for i, value in enumerate(values)]))
    assert [5, 8] not in windows(data.train)
    assert [4, 5] in windows(data.train)
    assert [8, 9] in windows(data.train)
    assert windows(data.test) == [[35 + i, 36 + i] for i in range(4)]
    assert data.source.notes == ("3 rows with a missing value, in no window",)


def test_companies_with_few_training_days_are_excluded_and_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "MIN_TRAINING_DAYS", 10)
    rows = [row("A", i, 1 + i) for i in range(20)] + [row("B", i, 1) for i in range(5, 20)]
    data = reconstruct(written(tmp_path, rows))
    assert data.symbols == ("", "A")
    assert data.source.notes == ("left out, with fewer than 10 training days: B",)
    assert 2 not in data.test.line  # type: ignore[operator]
    with pytest.raises(DataError, match="no company has 10 training days"):
        reconstruct(written(tmp_path, rows), symbols=("B",), start=day(7))
    assert reconstruct(written(tmp_path, rows), split="report").symbols == ("", "A", "B")


def test_symbols_start_and_end_select_rows(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, [row(s, i, 1 + i) for s in ("AA", "AB", "C") for i in range(60)])
    data = reconstruct(path, symbols=("C", " AA "), start=day(20), end=day(39))
    assert data.symbols == ("", "AA", "C")
    assert windows(data.train)[0] == [21, 22]
    assert windows(data.test)[-1] == [39, 40]
    assert "40 rows of 2 companies" in data.source.text


# Rejected input -----------------------------------------------------------------------------------------------------


OPTIONS: dict[str, tuple[dict[str, Any], type[LstmAeError], str]] = {
    "unknown symbol": ({"symbols": ("APPL",)}, ConfigError, "'APPL', which is not a company of .*AAPL, B"),
    "start": ({"start": "2023-02-29"}, ConfigError, "--start must be a day .* '2023-02-29'"),
    "end": ({"end": "yesterday"}, ConfigError, "--end must be a day .* 'yesterday'"),
    "start after end": ({"start": "2020-01-05", "end": "2020-01-04"}, DataError, "no rows .* --start, --end"),
    "no day": ({"start": "2030-01-01"}, DataError, "no rows .* goes from 2020-01-01 to 2020-01-20"),
    "one day": ({"start": "2020-01-20"}, DataError, "no company has 2 training days"),
    "window too long": ({"window": 10}, DataError, "validation split holds no window of 10 rows .* Lower --window"),
    "window far too long": ({"window": 10_000}, DataError, "training split holds no window"),
    "shuffled, too long": ({"window": 30, "split": "report"}, DataError, "training split holds no window of 30"),
    "no such file": ({"data": "/nowhere/x.csv"}, DataError, "'/nowhere/x.csv' does not exist"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_invalid_price_options_are_rejected(case: str, tmp_path: pathlib.Path) -> None:
    choices, kind, pattern = OPTIONS[case]
    path = written(tmp_path, [row(s, i, 1 + i) for s in ("AAPL", "B") for i in range(20)])
    with pytest.raises(kind, match=pattern) as caught:
        reconstruct(path, **choices) if "data" not in choices else load_prices(Snp(**choices))
    options = {flag_name(field.name) for field in declared_options(Snp)}
    assert set(re.findall(r"--[a-z][a-z-]*", str(caught.value))) <= options


# Data sources -------------------------------------------------------------------------------------------------------


def test_shipped_prices_have_expected_splits_and_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "MIN_TRAINING_DAYS", 250)
    data = load_prices(Snp())
    assert data.symbols == ("", "AAPL", "GOOG", "IBM", "MSFT")
    assert data.source.notes == ("left out, with fewer than 250 training days: FB",)
    assert data.source.license == "public domain"
    assert "shipped with the package" in data.source.text
    assert [split.samples for split in parts(data)] == [7914, 1840, 1844]
    assert data.train.span == 31
    whole = read_prices(Snp(inputs="ohlcv"))
    assert whole.values.shape == (12_154, 5)
    assert not prices.find_gap_rows(whole).any()
    assert not np.isnan(whole.values).any()


def test_shipped_prices_match_the_documented_hashes() -> None:
    folder = importlib.resources.files("lstm_ae.data")
    packed = (folder / "stocks.csv.gz").read_bytes()
    told = (folder / "stocks.md").read_text(encoding="utf-8")
    assert hashlib.sha256(packed).hexdigest() in told
    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() in told
    assert packed[4:8] == bytes(4), "the time in the gzip header is 0"


def test_prices_load_from_data_directory_of_environment(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSTMAE_DATA_DIR", str(tmp_path))
    data = load_prices(Snp())
    assert "shipped" in data.source.text
    rows = "\n".join([HEAD, *(row("A", i, 1 + i) for i in range(300))])
    (tmp_path / "snp500.csv.gz").write_bytes(gzip.compress(rows.encode()))
    data = load_prices(Snp())
    assert str(tmp_path) in data.source.text
    assert data.source.license == "MIT (CNuge/kaggle-code)"
    assert data.source.notes == ()
    monkeypatch.setenv("LSTMAE_DATA_DIR", "")
    monkeypatch.chdir(tmp_path)
    assert "shipped" in load_prices(Snp()).source.text, "a file of this name in the working directory is not read"
    own = load_prices(Snp(data=written(tmp_path, rows.split("\n")[1:])))
    assert own.source.license == "as given by the file's owner"
    assert own.source.sha256 == data.source.sha256


@pytest.mark.parametrize(
    ("step", "weekdays", "expected"),
    [
        (1, True, ["2017-01-02", "2017-01-03"]),
        (1, False, ["2016-12-31", "2017-01-01"]),
        (7, True, ["2017-01-06", "2017-01-13"]),
    ],
)
def test_next_days_are_those_of_the_week_that_the_company_has(step: int, weekdays: bool, expected: list[str]) -> None:
    days = np.arange(np.datetime64("2015-01-02"), np.datetime64("2016-12-31"), np.timedelta64(step, "D"))
    days = days[np.is_busday(days)] if weekdays else days
    line = np.ones(len(days), np.int32)
    split = Split(np.ones((len(days), 1), np.float32), np.arange(1), 1, line=line, time=days.astype("datetime64[ns]"))
    assert next_days(split, len(days) - 1, 2).astype(str).tolist() == expected


@pytest.mark.parametrize("seed", range(20))
def test_gaps_are_missing_trading_days_and_long_pauses(seed: int) -> None:
    """Compare with a plain loop."""
    random = np.random.default_rng(seed)
    # A company has nearly all days, many, or so few that pauses are long.
    shares = random.choice([0.97, 0.6, 0.1], size=1 + seed % 4)
    days = [np.flatnonzero(random.random(60) < share).tolist() or [seed] for share in shares]
    index = pd.DatetimeIndex([np.datetime64("2024-01-01") + np.timedelta64(day, "D") for own in days for day in own])
    places = np.repeat(np.arange(len(days), dtype=np.int32), list(map(len, days)))
    series = RowCodes(("symbol",), places, tuple(map(str, range(len(days)))))
    panel = panel_from_rows(np.ones((len(index), 1)), ["close"], index, series=series)

    def traded(day: int) -> bool:
        listed = sum(own[0] <= day <= own[-1] for own in days)
        return 0 < listed <= 2 * sum(day in own for own in days)

    expected = []
    for own in days:
        expected.append(False)
        for early, late in itertools.pairwise(own):
            expected.append(late - early > 10 or any(map(traded, range(early + 1, late))))
    assert prices.find_gap_rows(panel).tolist() == expected
