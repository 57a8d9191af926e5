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

from lstm_ae.arrays import BoolArray, Int64Array
from lstm_ae.config import PRICES, Snp
from lstm_ae.config.options import flag_name
from lstm_ae.config.reading import TimeStep
from lstm_ae.config.snp import READING_OPTIONS
from lstm_ae.data.columns import Covariates
from lstm_ae.data.grid import MAX_PAUSE_DAYS, find_duplicate_times, grid_slots, infer_calendar
from lstm_ae.data.leakage import describe_leaks, find_leaks
from lstm_ae.data.panel import Panel, number_runs, run_starts, sort_rows
from lstm_ae.data.preparation import PreparedTable, cut_windows
from lstm_ae.data.scaling import Scale, company_scale, find_scale_lines, fixed_scale, log_scale
from lstm_ae.data.split import SPLITS, TEST, TRAINING_END, VALIDATION_END, SplitRule, split_by_date
from lstm_ae.data.table_reader import read_panel
from lstm_ae.data.time_zones import DAY
from lstm_ae.data.windows import (
    Data,
    Source,
    Split,
    hash_arrays,
    require_samples,
)
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, format_names, quote

# Lower end, upper limit, and description of the values of a column. In 32 bits, 1e-50 is 0.
SMALLEST_PRICE = float(np.finfo(np.float32).smallest_subnormal)
PRICE_RULE = (SMALLEST_PRICE, 1e9, "a price must be above 0 in 32 bits and below 1e+09")
VALUE_RULES = dict.fromkeys(PRICES, PRICE_RULE) | {"volume": (0, 1e15, "a volume must be 0 or more and below 1e+15")}

# Smallest number of training days of a company.
MIN_TRAINING_DAYS = 250

SHIPPED_NAME = "stocks.csv.gz, shipped with the package"

DATA_FILE = "snp500.csv.gz"
LICENSES = {DATA_FILE: "MIT (CNuge/kaggle-code)"}

LEAKY_SPLIT = "windows were shuffled before they were divided: most days of a test window are in training windows too"

LEAKY_SCALE = "the scale was fitted on all days, including those of validation and test"


def read_prices(config: Snp) -> Panel:
    """Read the prices in `config.data`, in `snp500.csv.gz` of the directory `LSTMAE_DATA_DIR`, or in the shipped file.

    Raises:
        ConfigError: if an option does not fit the file.
        DataError: if `read_panel` refuses the table, or a day, a price, a volume, or a symbol is not valid, or a
            company has a day twice.
    """
    notes: tuple[str, ...] = ()
    path, folder = config.data, os.environ.get("LSTMAE_DATA_DIR", "")
    if path is None and folder:
        path = os.path.join(folder, DATA_FILE)
        if not os.path.exists(path):
            path, notes = None, (f"LSTMAE_DATA_DIR ({quote(folder)}) has no {DATA_FILE}; the shipped file was read",)
    if path is None:
        with importlib.resources.as_file(importlib.resources.files("lstm_ae.data") / "stocks.csv.gz") as shipped:
            table = read_panel(dataclasses.replace(config.reading, data=str(shipped)))
        table = table._replace(name=SHIPPED_NAME, licence="public domain")
    else:
        table = read_panel(dataclasses.replace(config.reading, data=path))
        table = table._replace(licence=LICENSES.get(pathlib.Path(path).name, table.licence))
    return _build_prices(table._replace(notes=notes), config.fields)


def _build_prices(table: Panel, needed: Sequence[str]) -> Panel:
    """Return the rows by symbol in alphabetical order and by day, divided where trading days are missing."""
    values = tuple(column.lower() for column in table.layout.values)
    if missing := [field for field in needed if field not in values]:
        prices = [price for price in PRICES if price in values]
        advice = f", or model {prices[-1]} alone: --field {prices[-1]} without --inputs" if prices else ""
        raise DataError(
            f"{table.name} has no value of {', '.join(missing)}. Add what is missing{advice}", code=Code.TABLE_HEADER
        )
    table = table._replace(layout=table.layout._replace(values=values))
    _require_valid_rows(table)
    symbols, places = np.unique(table.ids, return_inverse=True)
    order = sort_rows(places.astype(np.int32)[table.series], table.times)
    table = table if order.rows is None else table.take(order.rows)
    table = table._replace(ids=tuple(symbols.tolist()), series=order.series, segment=order.series, times=order.times)
    if again := find_duplicate_times(table, table.times):
        raise DataError(
            f"{table.where(again.second)}: {table.ids[table.series[again.second]]} on {table.days[again.second]} is "
            f"also on {table.place} {table.lines[again.first]}. Remove one row",
            code=Code.TIME_ORDER,
        )
    inferred = table.layout.inferred.items()
    notes = [*table.notes, *(f"{flag_name(name)}: {text}" for name, text in inferred if name in READING_OPTIONS)]
    begins = run_starts(table.series) | (np.diff(grid_slots(table, infer_calendar(table)), prepend=0) > 1)
    return table._replace(segment=np.cumsum(begins, dtype=np.int32) - 1, notes=tuple(notes))


def _require_valid_rows(table: Panel) -> None:
    """Raise `DataError` if a symbol is not valid, a time is not a day, or a value is out of its range."""
    for code, name in enumerate(table.ids):
        # A cell that starts like a formula would become one when results are opened in a spreadsheet.
        if not name.isprintable() or len(name) > 40 or name[0] in "=+-@":
            row = table.first_in_file(table.series == code)
            raise DataError(
                f"{table.where(row)}, column {format_names(list(map(repr, table.layout.ids)))}: a symbol must have 1 "
                f"to 40 characters and not start with =, +, -, or @. Received: {quote(name)}. Correct it",
                code=Code.CELL_VALUE,
            )
    dated, timed = table.layout.dated, table.times % DAY > 0
    if not dated or timed.any():
        row = table.first_in_file(timed) if dated else 0
        raise DataError(
            f"{table.where(row)}, column {table.layout.time!r}: prices are daily, so this must be a day. Write "
            "YYYY-MM-DD, or name another column with --time-col",
            code=Code.TIME_VALUE,
        )
    for column, value in zip(table.layout.values, table.values.T, strict=True):
        low, limit, rule = VALUE_RULES[column]
        wrong = (value < low) | (value >= limit)
        if wrong.any():
            row = table.first_in_file(wrong)
            raise DataError(
                f"{table.where(row)}, column {column!r}: {rule}. Received: {value[row]:g}. Correct it, or leave "
                "the cell empty if it is unknown",
                code=Code.CELL_VALUE,
            )


def select_prices(config: Snp, panel: Panel) -> Panel:
    """Return the rows of the companies and days that the configuration selects.

    Raises:
        ConfigError: if a day or a symbol is not valid.
        DataError: if no row is selected.
    """
    first, last = (_parse_day(flag, text) for flag, text in (("--start", config.start), ("--end", config.end)))
    if first >= last:
        raise ConfigError(f"--start must be before --end. Received: --start {first}, --end {last}")
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
    return panel.take(rows)


def _parse_day(flag: str, text: str) -> np.datetime64:
    """Return the day of an option; without one, a day before the first (`--start`) or after the last one (`--end`)."""
    if not text:
        return np.datetime64("0001-01-01" if flag == "--start" else "9999-12-31")
    with suppress(ValueError):
        if str(datetime.date.fromisoformat(text)) == text:
            return np.datetime64(text)
    raise ConfigError(f"{flag} must be a day written YYYY-MM-DD. Received: {text[:40]!r}")


def _describe_excluded_companies(panel: Panel, days: Int64Array, enough: BoolArray) -> list[str]:
    """Return a note about companies without enough training days.

    Args:
        days: `(companies,)` number of training days.
        enough: `(companies,)` whether these are enough.

    Raises:
        DataError: if no company has enough.
    """
    present = np.unique(panel.series)
    short = [i for i in present if not enough[i]]
    if not short:
        return []
    if len(short) == len(present):
        most = max(short, key=lambda i: days[i])
        raise DataError(
            f"{panel.name}: no company has {MIN_TRAINING_DAYS} training days; {panel.ids[most]} has the "
            f"most, {days[most]}. Pass more days with --data, widen --start and --end, or choose other --symbols",
            code=Code.TOO_FEW_ROWS,
        )
    named = format_names([f"{panel.ids[i]} ({days[i]})" for i in short])
    return [
        f"{format_count(len(short), 'company')} with fewer than {MIN_TRAINING_DAYS} training days left out: {named}"
    ]


def find_gap_rows(panel: Panel) -> BoolArray:
    """Return a mask of the rows with a gap between them and the row before in their series."""
    found: BoolArray = run_starts(panel.segment) & ~run_starts(panel.series)
    return found


def format_field_names(fields: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the fields with their units.

    >>> format_field_names(["close", "volume"])
    ('close (USD)', 'volume (shares)')
    """
    return tuple(f"{field} ({'shares' if field == 'volume' else 'USD'})" for field in fields)


def load(config: Snp) -> Data:
    """Return the price data of a configuration, with the price to model as the first feature.

    With `--split time`, the first 70% of the days are training, the next 15% validation, and the rest test; each split
    has only its own rows. With `--split report`, the splits share all rows and differ in their windows.

    Raises:
        ConfigError: if a symbol or a date is not valid.
        DataError: if the file is not valid or has too few days.
    """
    return prepare_prices(config, read_prices(config))


def prepare_prices(config: Snp, panel: Panel, rule: SplitRule = split_by_date) -> Data:
    """Return the data made of a file's rows, see `load`.

    Args:
        rule: function that returns the split of each row; not used with `--split report`.

    Raises:
        ConfigError, DataError: as in `load`.
    """
    panel = select_prices(config, panel)
    split = rule(panel) if config.split == "time" else np.zeros(len(panel.days), np.int8)
    panel, split = panel.take(split >= 0), split[split >= 0]
    complete = ~np.isnan(panel.columns(config.fields)).any(axis=1)
    days = np.bincount(panel.series[(split == 0) & complete], minlength=len(panel.ids))
    enough = days >= MIN_TRAINING_DAYS
    notes = [*panel.notes, *_describe_excluded_companies(panel, days, enough)]
    keep = enough[panel.series]
    symbols = ("", *(panel.ids[i] for i in np.unique(panel.series[keep & complete])))
    span = config.window + (config.goal == "predict")
    data = _cut_prices(config, panel.take(keep), split[keep], span, symbols, notes)
    if config.split == "report":
        train, validation, test = _shuffle_split(data.train, config)
        data = data._replace(train=train, validation=validation, test=test)
    # A scale is fitted to windows, so their number is checked first.
    why = f" ({'; '.join(data.source.notes)})" if data.source.notes else ""
    require_samples(
        data, f"Lower --window (now {config.window}), pass more days with --data, or widen --start and --end{why}"
    )
    data = data._replace(scale=_choose_scale(config, data))
    leaks = find_leaks(data, config.window, targets=1) if config.goal == "predict" else []
    leaky = (
        LEAKY_SPLIT if config.split == "report" else "",
        LEAKY_SCALE if config.scaling == "report" else "",
        describe_leaks(leaks, config.fields),
    )
    return data._replace(source=data.source._replace(leaky="; ".join(filter(None, leaky))))


def load_new_prices(config: Snp, scale: Scale, known: Sequence[str], until: np.datetime64) -> Data:
    """Return rows to forecast from with a trained model, all in `test`; training and validation have no windows.

    For companies that the model was trained on, only the days after `until` are forecast, from the window before them.

    Args:
        config: configuration of the trained model with other `data`.
        scale: scale of the trained model.
        known: symbols of the lines of its scale. Other companies get lines beyond its end, which are "unknown".
        until: last day used for training or model selection.

    Raises:
        DataError: if the file is not valid or has no window.
    """
    panel = read_prices(config)
    trained_on = np.isin(panel.ids, known)
    ends = np.full(len(panel.ids), np.datetime64("0001-01-01", "D"))
    np.maximum.at(ends, panel.series, panel.days)
    old = trained_on & (ends < until - np.timedelta64(MAX_PAUSE_DAYS, "D"))
    notes = list(panel.notes)
    if (trained_on[panel.series] & (panel.days <= until)).any():
        notes.append(f"days up to {until} of companies it was trained on not forecast again")
    panel = panel.take(~old[panel.series])
    symbols = tuple(dict.fromkeys((*(known or ("",)), *panel.ids)))
    data = _cut_prices(config, panel, np.full(len(panel.days), TEST, np.int8), config.window, symbols, notes)
    if not data.test.samples:
        raise DataError(
            f"{panel.name}: no company has {config.window} consecutive days, which the model reads",
            code=Code.TOO_FEW_ROWS,
        )
    test = data.test.recut(config.window + 1)
    assert test.time is not None
    seen = np.isin(symbols, known)[test.lines()] & (test.time[test.starts + config.window] <= until)
    return data._replace(test=test.select(~seen), scale=scale)


def _cut_prices(
    config: Snp, panel: Panel, split: NDArray[np.int8], span: int, symbols: Sequence[str], notes: Sequence[str]
) -> Data:
    """Return the windows of the complete rows of each split, without a scale; a window begins within its split.

    Args:
        symbols: name of every line of the scale table, which has all companies with a complete row.

    Raises:
        DataError: if there is no complete row.
    """
    values = panel.columns(config.fields)
    missing = np.asarray(np.isnan(values).any(axis=1))
    if missing.all():
        raise DataError(
            f"{panel.name}: no day of these companies has a value of {' and '.join(config.fields)}. Pass more "
            "days with --data, or widen --start and --end",
            code=Code.EMPTY_COLUMN,
        )
    if config.fields[-1] == "volume":
        # The model uses the logarithm of the volume.
        values[:, -1] = np.maximum(values[:, -1], 1)
    described = _describe_rows(panel, missing, config.fields)
    # A missing row divides its segment, and is removed.
    segment = number_runs(panel.segment, np.cumsum(missing))[~missing]
    panel, split, values = panel.take(~missing), split[~missing], values[~missing]
    grid = panel._replace(segment=segment, values=values, layout=panel.layout._replace(values=config.fields))
    prepared = PreparedTable(grid, grid, split, range(len(SPLITS)), TimeStep(), 0, window=span)
    line = find_scale_lines(symbols, panel.ids)
    train, validation, test = (
        each._replace(line=line[each.group], time=np.asarray(each.time, "datetime64[D]"))
        for each in cut_windows(prepared, dataclasses.replace(config.reading, stride=config.stride))
    )
    lines = line[panel.series]
    windowless = np.setdiff1d(lines, np.concatenate([each.lines() for each in (train, validation, test)]))
    if without := [symbols[line] for line in windowless]:
        described.append(
            f"{format_count(len(without), 'company')} without {span} consecutive days: {format_names(without)}"
        )
    names = np.frombuffer("\n".join(symbols).encode(), np.uint8)
    source = Source(
        f"{panel.name}: {', '.join(config.fields)} of {format_count(len(np.unique(lines)), 'company')}, "
        f"{len(panel.days):,} rows, {panel.days.min()} to {panel.days.max()}",
        hash_arrays(values, lines, panel.days.astype(np.int64), find_gap_rows(panel), names),
        panel.licence,
        (*notes, *described),
    )
    others, features = Covariates(len(config.fields) - 1), format_field_names(config.fields)
    return Data(train, validation, test, fixed_scale(), source, tuple(symbols), features, others)


def _describe_rows(panel: Panel, missing: BoolArray, fields: Sequence[str]) -> list[str]:
    """Return notes on rows without a value of one of the fields, which a mask selects, and on gaps."""
    notes = []
    if missing.any():
        notes.append(f"{format_count(int(missing.sum()), 'missing value')} of {' or '.join(fields)}, in no window")
    if (gap := find_gap_rows(panel)).any():
        names = [panel.ids[i] for i in np.unique(panel.series[gap])]
        notes.append(
            f"{format_count(int(gap.sum()), 'gap')} in the days of {format_count(len(names), 'company')} "
            f"({format_names(names)}), crossed by no window"
        )
    return notes


def _shuffle_split(whole: Split, config: Snp) -> tuple[Split, Split, Split]:
    """Return the windows of a split of all rows, shuffled and divided; only training windows have the stride."""
    whole, thinned = whole.recut(whole.span), whole
    order = np.random.default_rng(config.seed).permutation(whole.starts)
    ends = [len(order) * TRAINING_END // 100, len(order) * VALIDATION_END // 100]
    train, validation, test = (np.sort(starts) for starts in np.split(order, ends))
    train = np.intersect1d(train, thinned.starts, assume_unique=True)
    return whole._replace(starts=train), whole._replace(starts=validation), whole._replace(starts=test)


def _choose_scale(config: Snp, data: Data) -> Scale:
    """Return the scale; if the splits share their rows, it is fitted on the rows of training windows only."""
    train, companies = data.train, len(data.symbols) - 1
    if config.scaling == "none":
        return fixed_scale()
    if config.scaling == "report":
        values, lines = (np.concatenate([getattr(part, name) for part in data[:3]]) for name in ("series", "line"))
        return company_scale(values, lines, companies)
    rows = np.arange(len(train.series))
    if config.split == "report":
        rows = np.unique(train.starts[:, None] + np.arange(train.span))
    if config.scaling == "log":
        return log_scale(train.series[rows], train.segment_ids()[rows], volume=config.fields[-1] == "volume")
    assert train.line is not None
    return company_scale(train.series[rows], train.line[rows], companies)
