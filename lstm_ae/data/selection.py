"""Which rows of a file of prices are used, and what is left out and why, told in notes."""

import datetime
import difflib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import PRICES, Snp
from lstm_ae.data.quotes import MAX_PAUSE, Quotes, parse_date
from lstm_ae.data.windows import Opening, fingerprint, window_starts
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.options import flag
from lstm_ae.words import count, listed

MIN_TRAINING_DAYS = 250
# Rows that are usually so far apart are no days.
SPACED = np.timedelta64(5, "D")

Flags = NDArray[np.bool_]


def asked(config: Snp, quotes: Quotes) -> Quotes:
    """The rows of the companies and days that a config asks for."""
    first, last = _date(config, "start"), _date(config, "end")
    if first and last and first >= last:
        raise ConfigError(f"--start must be before --end. Received: --start {first}, --end {last}")
    return take(quotes, _chosen(quotes, config.symbols, first, last))


def _date(config: Snp, name: str) -> datetime.date | None:
    value = getattr(config, name)
    day = parse_date(value)
    if value and day is None:
        raise ConfigError(f"{flag(name)} must be a day written YYYY-MM-DD. Received: {value[:40]!r}")
    return day


def take(quotes: Quotes, rows: Flags) -> Quotes:
    """The rows of these flags."""
    values = {field: values[rows] for field, values in quotes.values.items()}
    return quotes._replace(company=quotes.company[rows], day=quotes.day[rows], values=values, gap=quotes.gap[rows])


def opened(quotes: Quotes) -> tuple[Quotes, dict[str, Opening], list[str]]:
    """The rows of whole days, what is known of days that have just opened, and a note on those that nothing is made of.

    Such a day is a company's last row, if of its prices it has the open alone. It must follow a whole day.
    """
    last = np.r_[quotes.company[1:] != quotes.company[:-1], True]
    missing = {name: np.isnan(quotes.values[name]) for name in PRICES if name in quotes.values}
    unknown = np.logical_and.reduce([flags for name, flags in missing.items() if name != "open"])
    flags = last & unknown & ~missing["open"]
    whole = ~np.logical_or.reduce(list(missing.values()))
    follows = ~quotes.gap & np.r_[False, whole[:-1] & (quotes.company[1:] == quotes.company[:-1])]
    found = {
        quotes.symbols[quotes.company[row]]: Opening(quotes.day[row], float(quotes.values["open"][row]))
        for row in np.flatnonzero(flags & follows)
    }
    left = [quotes.symbols[i] for i in quotes.company[flags & ~follows]]
    notes = [f"the open of {count(len(left), 'company')} follows no whole day: {listed(left)}"] if left else []
    return take(quotes, ~flags), found, notes


def told_opens(opens: Mapping[str, Opening]) -> list[str]:
    """A note about days that have just opened."""
    if not opens:
        return []
    latest = max(opening.day for opening in opens.values())
    return [f"the open of a day to forecast is known of {count(len(opens), 'company')}, the latest of {latest}"]


def hidden(config: Snp, quotes: Quotes) -> Flags:
    """The rows that a config's companies and last day leave out; its first day does not matter here."""
    last = _date(config, "end")
    later = quotes.day > np.datetime64(last) if last else np.zeros(len(quotes.day), bool)
    return later | (~_chosen(quotes, config.symbols, None, None) if config.symbols else False)


def used(quotes: Quotes, part: NDArray[np.int32]) -> tuple[Quotes, NDArray[np.int32]]:
    """The rows of a part, and their part; a gap stays one where the row that it was found at is of none (-1)."""
    keep = part >= 0
    crossed = np.cumsum(quotes.gap)
    left, company = crossed[keep], quotes.company[keep]
    quotes = take(quotes, keep)
    gap = np.zeros(len(left), bool)
    gap[1:] = (left[1:] > left[:-1]) & (company[1:] == company[:-1])
    return quotes._replace(gap=gap | quotes.gap), part[keep]


def _chosen(quotes: Quotes, symbols: tuple[str, ...], first: datetime.date | None, last: datetime.date | None) -> Flags:
    """The rows of the wanted companies and days."""
    wanted = {symbol.strip().upper(): symbol for symbol in symbols}
    for name, given in wanted.items():
        if name not in quotes.symbols:
            near = difflib.get_close_matches(name, quotes.symbols, 3)
            hint = "Did you mean " + ", ".join(near) + "?" if near else "It holds " + listed(quotes.symbols)
            raise ConfigError(f"--symbols names {given[:40]!r}, no company of {quotes.name}. {hint}")
    rows = np.isin(quotes.company, [i for i, name in enumerate(quotes.symbols) if not wanted or name in wanted])
    if first:
        rows &= quotes.day >= np.datetime64(first)
    if last:
        rows &= quotes.day <= np.datetime64(last)
    if not rows.any():
        raise DataError(
            f"{quotes.name} holds no rows of these companies from {first or 'its start'} to {last or 'its end'}: "
            f"it goes from {quotes.day.min()} to {quotes.day.max()}. Change --start, --end or --symbols"
        )
    return rows


def left_out(quotes: Quotes, days: NDArray[np.int64], enough: Flags) -> list[str]:
    """A note about companies without enough training days, `(companies,)` each; `DataError` where none has enough."""
    present = np.unique(quotes.company)
    short = [i for i in present if not enough[i]]
    if not short:
        return []
    if len(short) == len(present):
        most = max(short, key=lambda i: days[i])
        raise DataError(
            f"{quotes.name}: no company has {MIN_TRAINING_DAYS} training days; {quotes.symbols[most]} has the most, "
            f"{days[most]}. Give more days with --data, widen --start and --end, or choose other --symbols"
        )
    named = listed([f"{quotes.symbols[i]} ({days[i]})" for i in short])
    return [f"{count(len(short), 'company')} with fewer than {MIN_TRAINING_DAYS} training days left out: {named}"]


def segments(
    quotes: Quotes, part: NDArray[np.int32], missing: Flags, span: int, field: str, notes: list[str]
) -> NDArray[np.int32]:
    """Segment of each row that is not missing; what missing values and gaps cost is added to the notes."""
    change = np.ones(len(part), bool)
    change[1:] = (quotes.company[1:] != quotes.company[:-1]) | (part[1:] != part[:-1])
    # A missing row starts a segment that the rows after it go on with; then it is taken out.
    holes, keep = change | missing, ~missing
    steps = [_ids(change), _ids(holes)[keep], _ids(holes | quotes.gap)[keep]]
    windows = [len(window_starts(segment, span)) for segment in steps]
    if missing.any():
        lost = f"{count(windows[0] - windows[1], 'window')} that would touch them dropped"
        notes.append(f"{count(int(missing.sum()), 'missing value')} of {field}: {lost}")
    if quotes.gap.any():
        where = np.unique(quotes.company[quotes.gap])
        named = listed([quotes.symbols[i] for i in where])
        gaps = f"{count(int(quotes.gap.sum()), 'gap')} in the days of {count(len(where), 'company')} ({named})"
        notes.append(f"{gaps}: {count(windows[1] - windows[2], 'window')} that would cross them dropped")
    return steps[-1]


def _ids(breaks: Flags) -> NDArray[np.int32]:
    return np.cumsum(breaks, dtype=np.int32)


def missing(quotes: Quotes, fields: Sequence[str]) -> Flags:
    """The rows in which one of the fields has no value."""
    found: Flags = np.logical_or.reduce([np.isnan(quotes.values[field]) for field in fields])
    return found


def fingerprint_of(quotes: Quotes) -> str:
    """sha256 of all rows."""
    names = np.frombuffer("\n".join(quotes.symbols).encode(), np.uint8)
    values = [quotes.values[name] for name in sorted(quotes.values)]
    return fingerprint(names, quotes.company, quotes.day.astype(np.int64), *values)


def seen(quotes: Quotes, known: Sequence[str], until: np.datetime64, window: int) -> Flags:
    """Rows of known companies up to a day, but for the last `window` of them, which later days are forecast from.

    Those too where a company's rows end long before that day.
    """
    of_known = np.array([symbol in known for symbol in quotes.symbols])[quotes.company]
    before = of_known & (quotes.day <= until)
    left = np.bincount(quotes.company[before], minlength=len(quotes.symbols))[quotes.company]
    first = np.r_[True, quotes.company[1:] != quotes.company[:-1]]
    place = np.arange(len(before)) - np.maximum.accumulate(np.where(first, np.arange(len(before)), 0))
    ends = np.full(len(quotes.symbols), np.datetime64("0001-01-01", "D"))
    np.maximum.at(ends, quotes.company, quotes.day)
    found: Flags = before & ((place < left - window) | (ends < until - MAX_PAUSE)[quotes.company])
    return found


def spaced(quotes: Quotes) -> list[str]:
    """Notes about companies whose rows are no days, but weeks for instance."""
    within = quotes.company[1:] == quotes.company[:-1]
    step, company = np.diff(quotes.day)[within], quotes.company[1:][within]
    usual = {number: np.median(step[company == number]) for number in np.unique(company)}
    notes = []
    for apart in sorted({days for days in usual.values() if days >= SPACED}):
        names = [quotes.symbols[number] for number, days in usual.items() if days == apart]
        days = apart.astype(int)
        notes.append(
            f"rows {days} days apart, which count as days here: {count(len(names), 'company')} ({listed(names)})"
        )
    return notes


def swapped(quotes: Quotes) -> list[str]:
    """A note about rows whose high is below their low."""
    if not {"high", "low"} <= set(quotes.values):
        return []
    rows = quotes.values["high"] < quotes.values["low"]
    if not rows.any():
        return []
    at = int(rows.argmax())
    example = f"{quotes.symbols[quotes.company[at]]} on {quotes.day[at]}"
    return [f"{count(int(rows.sum()), 'row')} with high below low, kept ({example})"]


def series_of(quotes: Quotes, fields: Sequence[str]) -> NDArray[np.float32]:
    """The fields' values, `(rows, features)`."""
    # Of a volume the logarithm is used, and a day without trade has none.
    columns = [np.maximum(quotes.values[field], 1) if field == "volume" else quotes.values[field] for field in fields]
    return np.stack(columns, axis=1).astype(np.float32)


def names_of(fields: Sequence[str]) -> tuple[str, ...]:
    """The fields with their units."""
    return tuple(f"{field} ({'shares' if field == 'volume' else 'USD'})" for field in fields)
