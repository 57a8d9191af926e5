"""Stock prices: windows, splits, scales, dropped rows, and rejected input, with hand-computed values."""

import datetime
import gzip
import hashlib
import importlib.resources
import itertools
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from lstm_ae.config import Snp
from lstm_ae.config.options import declared_options, flag_name
from lstm_ae.data import prices
from lstm_ae.data.prices import load, read_prices
from lstm_ae.data.windows import Data, Split
from lstm_ae.errors import ConfigError, DataError, LstmAeError
from lstm_ae.studies.snp.forecasting import next_days

HEAD = "symbol,date,open,high,low,close,volume"
DATA_DIR = os.environ.get("LSTMAE_DATA_DIR", "")
SNP500 = pathlib.Path(DATA_DIR) / "snp500.csv.gz"
needs_snp500 = pytest.mark.skipif(
    not (DATA_DIR and SNP500.exists()), reason="LSTMAE_DATA_DIR is unset or holds no snp500.csv.gz"
)


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


def ten_days(symbol: str, start: float = 10) -> list[str]:
    return [row(symbol, i, start + i) for i in range(10)]


def reconstruct(path: str, **choices: Any) -> Data:
    return load(Snp(**{"data": path, "goal": "reconstruct", "window": 2, **choices}))


def windows(split: Split) -> list[list[float]]:
    cut: list[list[float]] = split.windows()[:, :, 0].tolist()
    return cut


def parts(data: Data) -> Iterator[Split]:
    return iter((data.train, data.validation, data.test))


# Hand-computed values -----------------------------------------------------------------------------------------------


def test_time_split_divides_the_windows_of_each_company(tmp_path: pathlib.Path) -> None:
    """Twenty days of two companies: 14 for training, 3 for validation, 3 for test."""
    rows = [row(symbol, i, base + i) for symbol, base in (("B", 50), ("A", 10)) for i in range(20)]
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
    assert data.validation.time.tolist() == [datetime.date.fromisoformat(day(i)) for i in (14, 15, 16)] * 2
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
    data = load(Snp(data=written(tmp_path, [row("A", i, 1 + i) for i in range(20)]), window=2))
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
    assert data.source.notes == ("3 missing values of high, in no window",)


def test_missing_calendar_day_is_a_gap(tmp_path: pathlib.Path) -> None:
    rows = [row(s, i, 1 + i) for s in "ABC" for i in range(20) if (s, i) != ("B", 4)]
    data = reconstruct(written(tmp_path, rows))
    assert [4, 6] not in windows(data.train)
    assert windows(data.train).count([3, 4]) == 3
    assert data.source.notes == ("1 gap in the days of 1 company (B), crossed by no window",)
    assert reconstruct(written(tmp_path, rows), symbols=("B",)).source.notes == data.source.notes


def test_pause_of_more_than_10_days_is_a_gap(tmp_path: pathlib.Path) -> None:
    numbers = [*range(5), *range(14, 20), *range(30, 40)]  # a pause of 10 days, then one of 11
    data = reconstruct(written(tmp_path, [row("A", i, 1 + i) for i in numbers]))
    assert [5, 15] in windows(data.train)
    assert [20, 31] not in windows(data.train)
    assert data.source.notes == ("1 gap in the days of 1 company (A), crossed by no window",)


def test_companies_with_few_training_days_are_excluded_and_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "MIN_TRAINING_DAYS", 10)
    rows = [row("A", i, 1 + i) for i in range(20)] + [row("B", i, 1) for i in range(5, 20)]
    data = reconstruct(written(tmp_path, rows))
    assert data.symbols == ("", "A")
    assert data.source.notes == ("1 company with fewer than 10 training days left out: B (9)",)
    assert 2 not in data.test.line  # type: ignore[operator]
    with pytest.raises(DataError, match="no company has 10 training days; B has the most, 9"):
        reconstruct(written(tmp_path, rows), symbols=("B",), start=day(7))
    assert reconstruct(written(tmp_path, rows), split="report").symbols == ("", "A", "B")


def test_symbols_start_and_end_select_rows(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, [row(s, i, 1 + i) for s in ("AA", "AB", "C") for i in range(60)])
    data = reconstruct(path, symbols=("C", " AA "), start=day(20), end=day(39))
    assert data.symbols == ("", "AA", "C")
    assert windows(data.train)[0] == [21, 22]
    assert windows(data.test)[-1] == [39, 40]
    assert day(20) in data.source.text
    assert "2 companies" in data.source.text


# Rejected input -----------------------------------------------------------------------------------------------------


OPTIONS: dict[str, tuple[dict[str, Any], type[LstmAeError], str]] = {
    "unknown symbol": ({"symbols": ("APPL",)}, ConfigError, "'APPL', which is not a company of .*AAPL, B"),
    "start": ({"start": "2023-02-29"}, ConfigError, "--start must be a day .* '2023-02-29'"),
    "end": ({"end": "yesterday"}, ConfigError, "--end must be a day .* 'yesterday'"),
    "start after end": ({"start": "2020-01-05", "end": "2020-01-04"}, ConfigError, "--start must be before --end"),
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
        reconstruct(path, **choices) if "data" not in choices else load(Snp(**choices))
    options = {flag_name(field.name) for field in declared_options(Snp)}
    assert set(re.findall(r"--[a-z][a-z-]*", str(caught.value))) <= options


def test_error_names_the_first_duplicate_day(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, [*ten_days("B"), *ten_days("A"), row("B", 5, 1), row("A", 5, 1)])
    with pytest.raises(DataError, match=r"line 23: A on 2020-01-06 .* line 17\b"):
        reconstruct(path)


def test_prices_with_only_missing_values_are_rejected(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"has no value of high\. .*--field close"):
        reconstruct(written(tmp_path, [row("A", i, "") for i in range(20)]))
    rows = [row("A", i, "") for i in range(20)] + [row("B", i, 1) for i in range(20)]
    with pytest.raises(DataError, match="no company has 2 training days"):
        reconstruct(written(tmp_path, rows), symbols=("A",))


@pytest.mark.parametrize("scale", ["log", "company", "report", "none"])
@pytest.mark.parametrize("split", ["time", "report"])
def test_prices_without_consecutive_complete_days_are_rejected(split: str, scale: str, tmp_path: pathlib.Path) -> None:
    choices: dict[str, Any] = {"window": 2, "field": "close", "last_day_only": True, "split": split, "scale": scale}
    alone = written(tmp_path, [f"A,{day(i)},{'' if i % 2 else 1 + i}" for i in range(20)], "symbol,date,close")
    with pytest.raises(DataError, match="The training split holds no window of 3 rows"):
        load(Snp(data=alone, **choices))


# Data sources -------------------------------------------------------------------------------------------------------


def test_shipped_prices_have_expected_splits_and_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "MIN_TRAINING_DAYS", 250)
    data = load(Snp())
    assert data.symbols == ("", "AAPL", "GOOG", "IBM", "MSFT")
    assert data.source.notes == ("1 company with fewer than 250 training days left out: FB (0)",)
    assert data.source.licence == "public domain"
    assert "shipped with the package" in data.source.text
    assert [split.samples for split in parts(data)] == [7914, 1840, 1844]
    assert data.train.span == 31
    whole = read_prices(Snp())
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
    data = load(Snp())
    assert "shipped" in data.source.text
    assert any("has no snp500.csv.gz" in note for note in data.source.notes)
    rows = "\n".join([HEAD, *(row("A", i, 1 + i) for i in range(300))])
    (tmp_path / "snp500.csv.gz").write_bytes(gzip.compress(rows.encode()))
    data = load(Snp())
    assert str(tmp_path) in data.source.text
    assert data.source.licence == "MIT (CNuge/kaggle-code)"
    assert data.source.notes == ()
    own = load(Snp(data=written(tmp_path, rows.split("\n")[1:])))
    assert own.source.licence == "as given by the file's owner"
    assert own.source.sha256 == data.source.sha256


@needs_snp500
@pytest.mark.exhaustive
def test_snp500_has_expected_splits_and_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "MIN_TRAINING_DAYS", 250)
    data = load(Snp(data=str(SNP500), field="open"))
    assert len(data.symbols) == 493
    assert [split.samples for split in parts(data)] == [413_236, 78_228, 78_228]  # counted by a plain loop as well
    assert any(note.startswith("13 companies with fewer than 250 training days") for note in data.source.notes)
    whole = read_prices(Snp(data=str(SNP500)))
    assert len(whole.days) == 619_040
    assert whole.layout.values == ("open", "high", "low", "close", "volume")
    assert np.isnan(whole.values).sum(axis=0).tolist() == [11, 8, 8, 0, 0]


def test_next_days_of_weekly_prices_are_a_week_apart(tmp_path: pathlib.Path) -> None:
    fridays = np.arange(np.datetime64("2015-01-02"), np.datetime64("2017-01-01"), np.timedelta64(7, "D"))
    lines = [f"WEEK,{day},1,{2 + k % 3},1,1,5" for k, day in enumerate(fridays)]
    data = reconstruct(written(tmp_path, lines))
    after = next_days(data.test, len(data.test.series) - 1, 3).astype(str).tolist()
    assert after == ["2017-01-06", "2017-01-13", "2017-01-20"]


def test_stock_among_assets_traded_daily_keeps_its_windows(tmp_path: pathlib.Path) -> None:
    """The weekends and holidays of the stock are not gaps; a pause of two weeks is one."""
    every = np.arange(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
    weekdays = every[np.is_busday(every)]
    stock = np.delete(weekdays, [*range(40, 700, 20), *range(500, 512)])
    rows = [f"{day},{50 + k % 7},{51 + k % 7},{49 + k % 7},{50 + k % 7},1000" for k, day in enumerate(every)]
    lines = [f"BTC,{row}" for row in rows]
    lines += [f"AAPL,{rows[k]}" for k in np.flatnonzero(np.isin(every, stock))]
    path = tmp_path / "both.csv"
    path.write_text("\n".join(["symbol,date,open,high,low,close,volume", *lines]) + "\n")
    data = load(Snp(data=str(path)))
    assert "1 gap in the days of 1 company (AAPL), crossed by no window" in data.source.notes
    train = data.train
    assert train.line is not None
    held = np.bincount(train.line[train.starts], minlength=3)
    assert held[data.symbols.index("AAPL")] > 400
    last = [int(np.flatnonzero(train.line == line)[-1]) for line in (1, 2)]
    assert data.symbols[1:] == ("AAPL", "BTC")
    assert train.time is not None
    for row, on in zip(last, (np.busday_offset, lambda day, count, roll: day + count), strict=True):
        expected = on(train.time[row], np.arange(1, 6), roll="backward")
        assert next_days(train, row, 5).tolist() == expected.tolist()
