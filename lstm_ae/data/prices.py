"""Read stock prices, and select, split, scale, and cut them into windows."""

import dataclasses
import datetime
import importlib.resources
import os
import pathlib
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.config import Snp
from lstm_ae.config.options import flag_name
from lstm_ae.config.reading import TimeStep
from lstm_ae.config.snp import READING_OPTIONS
from lstm_ae.data.columns import Covariates
from lstm_ae.data.grid import find_duplicate_times
from lstm_ae.data.panel import Panel, number_runs, run_starts
from lstm_ae.data.preparation import PreparedTable, cut_windows
from lstm_ae.data.scaling import Scale, company_scale, find_scale_lines, fixed_scale, log_scale
from lstm_ae.data.split import SPLITS, TEST, SplitRule, split_by_date, split_ends
from lstm_ae.data.table_reader import read_panel
from lstm_ae.data.time_zones import DAY
from lstm_ae.data.windows import Data, Source, Split, hash_arrays, require_samples
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_names, quote

# Smallest number of rows that show on which days of the week a company has rows.
MIN_WEEKDAY_ROWS = 20

# Smallest number of training days of a company, and largest number of days between two rows without a gap.
MIN_TRAINING_DAYS, MAX_PAUSE_DAYS = 250, 10

# Lower end, upper limit, and description of the values of a column. In 32 bits, 1e-50 is 0.
SMALLEST_PRICE = float(np.finfo(np.float32).smallest_subnormal)
PRICE_RULE = (SMALLEST_PRICE, 1e9, "a price must be above 0 in 32 bits and below 1e+09")
VOLUME_RULE = (0.0, 1e15, "a volume must be 0 or more and below 1e+15")

SHIPPED_NAME, SHIPPED_LICENSE = "stocks.csv.gz, shipped with the package", "public domain"

DATA_FILE, DATA_LICENSE = "snp500.csv.gz", "MIT (CNuge/kaggle-code)"

LEAKY_SPLIT = "windows were shuffled before they were divided: most days of a test window are in training windows too"

LEAKY_SCALE = "the scale was fitted on all days, including those of validation and test"


def read_prices(config: Snp) -> Panel:
    """Read the prices in `config.data`, in `snp500.csv.gz` of the directory `LSTMAE_DATA_DIR`, or in the shipped file.

    Returns:
        The rows by symbol and day, with the values that the model reads, divided where trading days are missing.

    Raises:
        ConfigError: if an option does not fit the file.
        DataError: if `read_panel` refuses the table, or a day, a price, a volume, or a symbol is not valid, or a
            company has a day twice.
    """
    folder = os.environ.get("LSTMAE_DATA_DIR", "")
    path = config.data or os.path.join(folder, DATA_FILE)
    if config.data or (folder and os.path.exists(path)):
        table = read_panel(dataclasses.replace(config.reading, data=path))
        table = table._replace(license=DATA_LICENSE) if pathlib.Path(path).name == DATA_FILE else table
    else:
        with importlib.resources.as_file(importlib.resources.files("lstm_ae.data") / "stocks.csv.gz") as shipped:
            table = read_panel(dataclasses.replace(config.reading, data=str(shipped)))
        table = table._replace(name=SHIPPED_NAME, license=SHIPPED_LICENSE)
    _require_valid_rows(table)
    if again := find_duplicate_times(table, table.times):
        raise DataError(
            f"{table.where(again.second)}: {table.ids[table.series[again.second]]} on {table.days[again.second]} is "
            f"also on {table.place} {table.lines[again.first]}. Remove one row",
            code=Code.TIME_ORDER,
        )
    inferred = table.layout.inferred.items()
    return table._replace(
        layout=table.layout._replace(values=tuple(column.lower() for column in table.layout.values)),
        segment=number_runs(table.series, np.cumsum(find_gap_rows(table))),
        notes=tuple(f"{flag_name(name)}: {text}" for name, text in inferred if name in READING_OPTIONS),
    )


def _require_valid_rows(table: Panel) -> None:
    """Raise `DataError` if a symbol is not valid, a time is not a day, or a value is out of its range."""

    def refuse(wrong: BoolArray, column: str | None, cells: Array, rule: str, code: Code = Code.CELL_VALUE) -> None:
        if wrong.any():
            row = table.first_in_file(wrong)
            where = f"{table.where(row)}, column {column!r}"
            raise DataError(f"{where}: {rule}. Received: {cells[row]}. Correct it", code=code)

    # A cell that starts like a formula would become one when results are opened in a spreadsheet.
    valid = np.array([name.isprintable() and len(name) <= 40 and name[0] not in "=+-@" for name in table.ids])
    names = np.array([quote(name) for name in table.ids])[table.series]
    rule = "a symbol must have 1 to 40 characters and not start with =, +, -, or @"
    refuse(~valid[table.series], format_names(table.layout.ids), names, rule)
    timed = (table.times % DAY > 0) | (not table.layout.dated)
    rule = "prices are daily, so this must be a day. Write YYYY-MM-DD"
    refuse(timed, table.layout.time, table.times, rule, Code.TIME_VALUE)
    for column, values in zip(table.layout.values, table.values.T, strict=True):
        low, limit, rule = VOLUME_RULE if column.lower() == "volume" else PRICE_RULE
        refuse((values < low) | (values >= limit), column, values, rule)


def find_gap_rows(panel: Panel) -> BoolArray:
    """Return a mask of the rows that follow a gap: missing trading days of their company, or a long pause.

    A trading day is one on which at least half of the listed companies have a row. A company is listed from its first
    to its last row.
    """
    days, at = np.unique(panel.times, return_inverse=True)
    first = run_starts(panel.series)
    ends = np.r_[np.flatnonzero(first)[1:], len(at)] - 1
    change = np.bincount(at[first], minlength=len(days) + 1) - np.bincount(at[ends] + 1, minlength=len(days) + 1)
    traded = 2 * np.bincount(at, minlength=len(days)) >= np.cumsum(change)[:-1]
    trading_days = np.cumsum(traded)
    missing: Int64Array = trading_days[at][1:] - traded[at][1:] - trading_days[at][:-1]
    gaps: BoolArray = ~first & np.r_[False, (missing > 0) | (np.diff(panel.times) > MAX_PAUSE_DAYS * DAY)]
    return gaps


def next_days(split: Split, row: int, count: int) -> NDArray[np.datetime64]:
    """Return the next `count` days of a row's company, on the days of the week that at least 5% of its rows have.

    With few rows, these are Monday to Friday. Holidays are ignored.
    """
    assert split.line is not None
    assert split.time is not None
    days = split.time[: row + 1][split.line[: row + 1] == split.line[row]].astype("datetime64[D]")
    # 1970-01-01 was a Thursday.
    rows = np.bincount((days.astype(np.int64) + 3) % 7, minlength=7)
    traded = 20 * rows >= len(days) if len(days) >= MIN_WEEKDAY_ROWS else np.arange(7) < 5
    return np.busday_offset(days[-1], np.arange(1, count + 1), roll="backward", weekmask=traded)


def select_prices(config: Snp, panel: Panel) -> Panel:
    """Return the rows of the companies and days that the configuration selects, with the names of these companies.

    Raises:
        ConfigError: if a day or a symbol is not valid.
        DataError: if no row is selected.
    """
    first, last = _parse_day("--start", config.start or "0001-01-01"), _parse_day("--end", config.end or "9999-12-31")
    selected = {symbol.strip() for symbol in config.symbols}
    if unknown := selected.difference(panel.ids):
        raise ConfigError(
            f"--symbols names {quote(min(unknown))[:40]}, which is not a company of {panel.name}. Its companies are "
            f"{format_names(panel.ids)}; write the symbol in the same case",
            code=Code.UNKNOWN_NAME,
        )
    rows = np.array([not selected or name in selected for name in panel.ids])[panel.series]
    rows &= (panel.days >= first) & (panel.days <= last)
    if not rows.any():
        raise DataError(
            f"{panel.name} holds no rows of these companies and days: it goes from {panel.days.min()} to "
            f"{panel.days.max()}. Change --start, --end or --symbols",
            code=Code.TOO_FEW_ROWS,
        )
    chosen = panel.take(rows)
    present, series = np.unique(chosen.series, return_inverse=True)
    return chosen._replace(ids=tuple(panel.ids[place] for place in present), series=series.astype(np.int32))


def _parse_day(flag: str, text: str) -> np.datetime64:
    with suppress(ValueError):
        if str(datetime.date.fromisoformat(text)) == text:
            return np.datetime64(text)
    raise ConfigError(f"{flag} must be a day written YYYY-MM-DD. Received: {text[:40]!r}")


def load_prices(config: Snp, panel: Panel | None = None, rule: SplitRule = split_by_date) -> Data:
    """Return the price data of a configuration, with the price to model as the first feature.

    With `--split time`, the first 70% of the days are training, the next 15% validation, and the rest test; each split
    has only its own rows. With `--split report`, the splits share all rows and differ in their windows.

    Args:
        panel: the rows of the file; None to read it.
        rule: function that returns the split of each row; not used with `--split report`.

    Raises:
        ConfigError: if a symbol or a date is not valid.
        DataError: if the file is not valid or has too few days.
    """
    panel = select_prices(config, read_prices(config) if panel is None else panel)
    split = rule(panel) if config.split == "time" else np.zeros(len(panel.days), np.int8)
    panel, split = panel.take(split >= 0), split[split >= 0]
    complete = ~np.isnan(panel.columns(config.fields)).any(axis=1)
    days = np.bincount(panel.series[(split == 0) & complete], minlength=len(panel.ids))
    enough = days >= MIN_TRAINING_DAYS
    if not enough.any():
        raise DataError(
            f"{panel.name}: no company has {MIN_TRAINING_DAYS} training days. Pass more days with --data, widen "
            "--start and --end, or choose other --symbols",
            code=Code.TOO_FEW_ROWS,
        )
    keep = enough[panel.series]
    if short := [panel.ids[place] for place in np.unique(panel.series[~keep])]:
        note = f"left out, with fewer than {MIN_TRAINING_DAYS} training days: {format_names(short)}"
        panel = panel._replace(notes=(*panel.notes, note))
    symbols = ("", *(panel.ids[place] for place in np.unique(panel.series[keep])))
    span = config.window + (config.goal == "predict")
    data = _cut_prices(config, panel.take(keep), split[keep], span, symbols)
    if config.split == "report":
        train, validation, test = _shuffle_split(data.train, config)
        data = data._replace(train=train, validation=validation, test=test)
    # A scale is fitted to windows, so their number is checked first.
    why = f" ({'; '.join(data.source.notes)})" if data.source.notes else ""
    require_samples(
        data, f"Lower --window (now {config.window}), pass more days with --data, or widen --start and --end{why}"
    )
    leaky = LEAKY_SPLIT if config.split == "report" else "", LEAKY_SCALE if config.scaling == "report" else ""
    return data._replace(scale=_choose_scale(config, data)).annotate(leaky=leaky)


def load_new_prices(config: Snp, scale: Scale, known: Sequence[str], period: tuple[int, int] | None = None) -> Data:
    """Return rows to forecast from with a trained model, all in `test`; training and validation have no windows.

    Args:
        config: configuration of the trained model with other `data`.
        scale: scale of the trained model.
        known: symbols of the lines of its scale. Other companies get lines beyond its end, which are "unknown".
        period: first and last time that it was trained or selected on, nanoseconds since 1970.

    Raises:
        DataError: if the file is not valid or has no window.
    """
    panel = read_prices(config)
    if period and ((panel.times >= period[0]) & (panel.times <= period[1])).any():
        note = "days overlap the training period; results may be optimistic. Evaluate on later days"
        panel = panel._replace(notes=(*panel.notes, note))
    symbols = tuple(dict.fromkeys((*(known or ("",)), *panel.ids)))
    data = _cut_prices(config, panel, np.full(len(panel.days), TEST, np.int8), config.window, symbols)
    if not data.test.samples:
        raise DataError(
            f"{panel.name}: no company has {config.window} consecutive days, which the model reads",
            code=Code.TOO_FEW_ROWS,
        )
    return data._replace(test=data.test.recut(config.window + 1), scale=scale)


def _cut_prices(config: Snp, panel: Panel, split: NDArray[np.int8], span: int, symbols: Sequence[str]) -> Data:
    """Return the windows of the complete rows of each split, without a scale; a window begins within its split.

    Args:
        symbols: name of every line of the scale table, which has all companies of the panel.
    """
    values = panel.columns(config.fields)
    missing = np.asarray(np.isnan(values).any(axis=1))
    if config.fields[-1] == "volume":
        # The model uses the logarithm of the volume.
        values[:, -1] = np.maximum(values[:, -1], 1)
    features = tuple(f"{field} ({'shares' if field == 'volume' else 'USD'})" for field in config.fields)
    # A missing row divides its segment, and is removed.
    segment = number_runs(panel.segment, np.cumsum(missing))
    grid = panel._replace(segment=segment, values=values, layout=panel.layout._replace(values=features)).take(~missing)
    prepared = PreparedTable(grid, grid, split[~missing], range(len(SPLITS)), TimeStep(), 0, window=span)
    line = find_scale_lines(symbols, panel.ids)
    train, validation, test = (
        each._replace(line=line[each.group])
        for each in cut_windows(prepared, dataclasses.replace(config.reading, stride=config.stride))
    )
    notes = panel.notes
    if missing.any():
        notes = (*notes, f"{missing.sum():,} rows with a missing value, in no window")
    text = f"{panel.name}: {', '.join(config.fields)}, {len(grid.lines):,} rows of {len(symbols) - 1:,} companies"
    names = np.frombuffer("\n".join(symbols).encode(), np.uint8)
    gaps = run_starts(grid.segment) & ~run_starts(grid.series)
    digest = hash_arrays(grid.values, line[grid.series], grid.days.astype(np.int64), gaps, names)
    source = Source(text, digest, panel.license, notes)
    others = Covariates(len(config.fields) - 1)
    return Data(train, validation, test, fixed_scale(), source, tuple(symbols), features, others)


def _shuffle_split(whole: Split, config: Snp) -> tuple[Split, Split, Split]:
    """Return the windows of a split of all rows, shuffled and divided; only training windows have the stride."""
    whole, thinned = whole.recut(whole.span), whole
    order = np.random.default_rng(config.seed).permutation(whole.starts)
    train, validation, test = (np.sort(starts) for starts in np.split(order, split_ends(len(order))))
    train = np.intersect1d(train, thinned.starts, assume_unique=True)
    return whole._replace(starts=train), whole._replace(starts=validation), whole._replace(starts=test)


def _choose_scale(config: Snp, data: Data) -> Scale:
    """Return the scale; if the splits share their rows, it is fitted on the rows of training windows only."""
    train, companies = data.train, len(data.symbols) - 1
    if config.scaling == "none":
        return fixed_scale()
    if config.scaling == "report":
        values, lines = (np.concatenate([getattr(split, name) for split in data[:3]]) for name in ("series", "line"))
        return company_scale(values, lines, companies)
    rows = np.arange(len(train.series))
    if config.split == "report":
        rows = np.unique(train.rows())
    if config.scaling == "log":
        return log_scale(train.series[rows], train.segment_ids()[rows], volume=config.fields[-1] == "volume")
    assert train.line is not None
    return company_scale(train.series[rows], train.line[rows], companies)
