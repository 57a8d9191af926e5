"""Daily prices of companies from a file: read, checked, sorted, and their gaps found."""

import datetime
import importlib.resources
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import PRICES
from lstm_ae.data.table import Table, Text, read_csv
from lstm_ae.errors import DataError
from lstm_ae.words import shown

MAX_PRICE = 1e9
MAX_VOLUME = 1e15
MAX_PAUSE = np.timedelta64(10, "D")
# The share of the calendar's days from which on a company has a calendar of its own, if it has rows of so many days.
LACKING, YEAR = 0.02, 250

DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
SHIPPED = "stocks.csv.gz, shipped with the package"
LICENCES = {"snp500.csv.gz": "MIT (CNuge/kaggle-code)"}


class Quotes(NamedTuple):
    """All rows of a file, by company in alphabetical order, then by day.

    Args:
        name: the file, for people.
        licence: of the data.
        notes: about where they were found.
        symbols: names of the companies, upper case.
        company: `(rows,)` int32, places in `symbols`.
        day: `(rows,)` datetime64[D].
        values: `(rows,)` float64 for each of `PRICES` and for "volume" that the file has; NaN where missing.
        gap: `(rows,)` bool, True where days are missing between a row and the company's row before it.
    """

    name: str
    licence: str
    notes: tuple[str, ...]
    symbols: tuple[str, ...]
    company: NDArray[np.int32]
    day: NDArray[np.datetime64]
    values: dict[str, NDArray[np.float64]]
    gap: NDArray[np.bool_]


def read_quotes(path: str | None, fields: Sequence[str] = (*PRICES, "volume")) -> Quotes:
    """Read `path`, else `snp500.csv.gz` in the directory `LSTMAE_DATA_DIR`, else the file of the package.

    Args:
        path: a CSV with the columns symbol, date and some of the prices and the volume.
        fields: the columns that must be there besides symbol and date.

    Raises:
        DataError: a table that `read_csv` refuses, a date that is none, a price that is not above 0, a repeated day.
    """
    notes: tuple[str, ...] = ()
    folder = os.environ.get("LSTMAE_DATA_DIR", "")
    if path is None and folder:
        found = os.path.join(folder, "snp500.csv.gz")
        if os.path.exists(found):
            path = found
        else:
            notes = (f"LSTMAE_DATA_DIR ({shown(folder)}) holds no snp500.csv.gz; the shipped file was read",)
    if path is not None:
        licence = LICENCES.get(pathlib.Path(path).name, "as given by the file's owner")
        return _checked(_read(path, fields), shown(path), licence, notes)
    with importlib.resources.as_file(importlib.resources.files("lstm_ae.data") / "stocks.csv.gz") as shipped:
        return _checked(_read(shipped, fields), SHIPPED, "public domain", notes)


def _read(path: str | os.PathLike[str], fields: Sequence[str]) -> Table:
    # Kaggle's own file calls the symbol "Name".
    aliases = {"symbol": ("ticker", "name")}
    table = read_csv(path, text=("symbol", "date"), numbers=(), optional=(*PRICES, "volume"), aliases=aliases)
    if lacking := [field for field in fields if field not in table.numbers]:
        prices = [price for price in PRICES if price in table.numbers]
        advice = f", or model {prices[-1]} alone: --field {prices[-1]} without --inputs" if prices else ""
        raise DataError(f"{table.name}: the header lacks {', '.join(lacking)}. Add what is missing{advice}")
    return table


def _checked(table: Table, name: str, licence: str, notes: tuple[str, ...]) -> Quotes:
    for column in PRICES:
        if column not in table.numbers:
            continue
        value = table.numbers[column]
        # As float32, which is how prices are kept: 1e-50 would become 0.
        wrong = (value.astype(np.float32) <= 0) | (value >= MAX_PRICE)
        if wrong.any():
            row = int(wrong.argmax())
            rule = f"a price must be above 0 and below {MAX_PRICE:g}. Received: {value[row]:g}"
            raise table.error(row, f"column {column!r}: {rule}. Correct it, or leave the cell empty if it is unknown")
    volume = table.numbers.get("volume", np.empty(0))
    wrong = (volume < 0) | (volume >= MAX_VOLUME)
    if wrong.any():
        row = int(wrong.argmax())
        rule = f"a volume must be 0 or more and below {MAX_VOLUME:g}. Received: {volume[row]:g}"
        raise table.error(row, f"column 'volume': {rule}. Correct it, or leave the cell empty if it is unknown")
    days = _days(table)
    symbols, company = _companies(table)
    order = np.lexsort((table.lines, days, company))
    company, days = company[order], days[order]
    same = company[1:] == company[:-1]
    repeated = np.flatnonzero(same & (days[1:] == days[:-1]))
    if len(repeated):
        at = min(repeated, key=lambda i: table.lines[order[i + 1]])
        first, second = order[at], order[at + 1]
        raise table.error(
            second,
            f"{symbols[company[at]]} on {days[at]} stands on line {table.lines[first]} already. Remove one of the two",
        )
    values = {column: numbers[order] for column, numbers in table.numbers.items()}
    gap, apart = _gaps(company, days)
    if len(apart):
        named = ", ".join(symbols[i] for i in apart[:10]) + (f" and {len(apart) - 10} more" if len(apart) > 10 else "")
        days_of = f"{named} {'has' if len(apart) == 1 else 'have'} a calendar unlike that of most here"
        notes += (f"{days_of}: only pauses of more than {MAX_PAUSE.astype(int)} days are gaps there",)
    return Quotes(name, licence, notes, symbols, company, days, values, gap)


def _first_row(text: Text, code: int) -> int:
    return int((text.codes == code).argmax())


def _days(table: Table) -> NDArray[np.datetime64]:
    text = table.text["date"]
    days = []
    for code, value in enumerate(text.values):
        # Codes are given in the order of the rows, so the first bad value is the one on the earliest line.
        day = parse_date(value)
        if day is None:
            rule = "must be a day of the calendar, written YYYY-MM-DD, without time or zone"
            raise table.error(_first_row(text, code), f"column 'date' {rule}. Received: {shown(value)}. Correct it")
        days.append(day)
    return np.array(days, "datetime64[D]")[text.codes]


def parse_date(value: str) -> datetime.date | None:
    """The day that `YYYY-MM-DD` names; None where it names none."""
    try:
        return datetime.date.fromisoformat(value) if DATE.fullmatch(value) else None
    except ValueError:
        return None


def _companies(table: Table) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    text = table.text["symbol"]
    names = [value.upper() for value in text.values]
    for code, value in enumerate(names):
        # A cell that starts like a formula would become one wherever results are opened in a spreadsheet.
        if not value or not value.isprintable() or len(value) > 40 or value[0] in "=+-@":
            rule = "must be a name of 1 to 40 characters that does not start with =, +, - or @. Received:"
            raise table.error(_first_row(text, code), f"column 'symbol' {rule} {shown(value)}. Correct it")
    symbols = tuple(sorted(set(names)))
    place = {symbol: i for i, symbol in enumerate(symbols)}
    return symbols, np.array([place[value] for value in names], np.int32)[text.codes]


def _gaps(company: NDArray[np.int32], day: NDArray[np.datetime64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Where a day of the calendar, or more than `MAX_PAUSE`, lies between a row and the one before.

    The calendar is the file's own: days on which at least half of the companies listed then have a row. A company is
    listed from its first to its last row.

    Returns:
        The gaps, `(rows,)`, and the companies that have a calendar of their own, as a stock has beside currencies: they
        lack too many days for those to be missing.
    """
    days, at = np.unique(day, return_inverse=True)
    first = np.flatnonzero(np.r_[True, company[1:] != company[:-1]])
    last = np.r_[first[1:], len(company)] - 1
    change = np.bincount(at[first], minlength=len(days) + 1) - np.bincount(at[last] + 1, minlength=len(days) + 1)
    listed = np.cumsum(change)[:-1]
    traded = 2 * np.bincount(at, minlength=len(days)) >= listed
    before = np.r_[0, np.cumsum(traded)]  # calendar days before each day
    pause, lacking = np.zeros(len(company), bool), np.zeros(len(company), np.int64)
    pause[1:], lacking[1:] = day[1:] - day[:-1] > MAX_PAUSE, before[at[1:]] - before[at[:-1] + 1]
    pause[first], lacking[first] = False, 0
    lacked = np.add.reduceat(np.where(pause, 0, lacking), first)
    own = (lacked > LACKING * (before[at[last] + 1] - before[at[first]])) & (last - first >= YEAR)
    gap = pause | ((lacking > 0) & ~own[company])
    return gap, np.flatnonzero(own)
