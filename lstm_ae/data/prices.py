"""Stock prices as windows: chosen, split by date, then scaled.

A window holds consecutive trading days of one company. It never reaches over a missing value, a missing day or the
border of a split; what is dropped for that is counted in the notes.
"""

import datetime
import difflib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Snp
from lstm_ae.data.quotes import Quotes, parse_date, read_quotes
from lstm_ae.data.scaling import Scale, fixed, logarithms, min_max_per_company, per_window
from lstm_ae.data.windows import Data, Source, Split, fingerprint, require_samples, window_starts
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.options import flag

MIN_TRAINING_DAYS = 250
TRAIN, VALIDATION = 70, 85  # percent of the days after which a part ends

Flags = NDArray[np.bool_]

LEAKY_SPLIT = "windows were shuffled before they were divided: most days of a test window stand in training windows too"
LEAKY_SCALE = "the scale was fitted on all days, those of validation and test as well"


def load(config: Snp) -> Data:
    """Read what `config` asks for, `(rows, features)` float32 a split, the price to model first.

    `--split time` gives the first 70 % of the days to training, the next 15 % to validation and the rest to test;
    each split holds its own rows only. With `--split report` all three share their rows and differ in their windows.

    Raises:
        ConfigError: an unknown symbol, a date that is none.
        DataError: a file that cannot be used, or too few days.
    """
    first, last = _date(config, "start"), _date(config, "end")
    if first and last and first >= last:
        raise ConfigError(f"--start must be before --end. Received: --start {first}, --end {last}")
    quotes = read_quotes(config.data)
    fields = config.fields

    rows = _chosen(quotes, config.symbols, first, last)
    quotes = _take(quotes, rows)
    part = _part(quotes.day) if config.split == "time" else np.zeros(len(quotes.day), np.int32)
    missing = np.logical_or.reduce([np.isnan(quotes.values[field]) for field in fields])
    days = np.bincount(quotes.company[(part == 0) & ~missing], minlength=len(quotes.symbols))
    notes = [*quotes.notes, *_left_out(quotes, days)]
    keep = (days >= MIN_TRAINING_DAYS)[quotes.company]
    quotes, part, missing = _take(quotes, keep), part[keep], missing[keep]

    span = config.window + (config.goal == "predict")
    segment = _segments(quotes, part, missing, span, " or ".join(fields), notes)
    swapped = quotes.values["high"] < quotes.values["low"]
    if swapped.any():
        at = int(swapped.argmax())
        example = f"{quotes.symbols[quotes.company[at]]} on {quotes.day[at]}"
        notes.append(f"{_count(int(swapped.sum()), 'row')} with high below low, kept ({example})")

    quotes, part = _take(quotes, ~missing), part[~missing]
    kept, place = np.unique(quotes.company, return_inverse=True)
    company = (place + 1).astype(np.int32)
    symbols = ("", *(quotes.symbols[i] for i in kept))
    # Its logarithm is used, and a day without trade has none.
    quotes.values["volume"] = np.maximum(quotes.values["volume"], 1)
    series = np.stack([quotes.values[field] for field in fields], axis=1).astype(np.float32)
    whole = Split(series, window_starts(segment, span), span, segment, company, quotes.day)
    splits = _by_date(whole, part, config.stride) if config.split == "time" else _shuffled(whole, config)
    scale, leaky = _scale(config, whole, splits[0], len(kept))
    if config.split == "report":
        leaky = "; ".join(filter(None, (LEAKY_SPLIT, leaky)))
    names = np.frombuffer("\n".join(symbols).encode(), np.uint8)
    source = Source(
        f"{quotes.name}: {', '.join(fields)} of {_count(len(kept), 'company')}, {len(series):,} rows, "
        f"{quotes.day.min()} to {quotes.day.max()}",
        fingerprint(series, company, quotes.day.astype(np.int64), quotes.gap, names),
        quotes.licence,
        tuple(notes),
        leaky,
    )
    feature_names = tuple(f"{field} ({'shares' if field == 'volume' else 'USD'})" for field in fields)
    data = Data(*splits, scale, source, symbols, feature_names)
    return require_samples(
        data, f"Lower --window (now {config.window}), give more days with --data, or widen --start and --end"
    )


def _date(config: Snp, name: str) -> datetime.date | None:
    value = getattr(config, name)
    day = parse_date(value)
    if value and day is None:
        raise ConfigError(f"{flag(name)} must be a day written YYYY-MM-DD. Received: {value[:40]!r}")
    return day


def _take(quotes: Quotes, rows: Flags) -> Quotes:
    values = {field: values[rows] for field, values in quotes.values.items()}
    return quotes._replace(company=quotes.company[rows], day=quotes.day[rows], values=values, gap=quotes.gap[rows])


def _chosen(quotes: Quotes, symbols: tuple[str, ...], first: datetime.date | None, last: datetime.date | None) -> Flags:
    """The rows of the wanted companies and days."""
    wanted = {symbol.strip().upper(): symbol for symbol in symbols}
    for name, given in wanted.items():
        if name not in quotes.symbols:
            near = difflib.get_close_matches(name, quotes.symbols, 3)
            hint = "Did you mean " + ", ".join(near) + "?" if near else "It holds " + _listed(quotes.symbols)
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


def _part(day: NDArray[np.datetime64]) -> NDArray[np.int32]:
    """0 for rows of training days, 1 for validation, 2 for test; the days of all companies are divided together."""
    days, at = np.unique(day, return_inverse=True)
    ends = [len(days) * TRAIN // 100, len(days) * VALIDATION // 100]
    return np.searchsorted(ends, at, side="right").astype(np.int32)


def _left_out(quotes: Quotes, days: NDArray[np.int64]) -> list[str]:
    """A note about companies with too few training days, `(companies,)`; `DataError` where none has enough."""
    present = np.unique(quotes.company)
    short = [i for i in present if days[i] < MIN_TRAINING_DAYS]
    if not short:
        return []
    if len(short) == len(present):
        most = max(short, key=lambda i: days[i])
        raise DataError(
            f"{quotes.name}: no company has {MIN_TRAINING_DAYS} training days; {quotes.symbols[most]} has the most, "
            f"{days[most]}. Give more days with --data, widen --start and --end, or choose other --symbols"
        )
    named = _listed([f"{quotes.symbols[i]} ({days[i]})" for i in short])
    return [f"{_count(len(short), 'company')} with fewer than {MIN_TRAINING_DAYS} training days left out: {named}"]


def _segments(
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
        lost = f"{_count(windows[0] - windows[1], 'window')} that would touch them dropped"
        notes.append(f"{_count(int(missing.sum()), 'missing value')} of {field}: {lost}")
    if quotes.gap.any():
        where = np.unique(quotes.company[quotes.gap])
        named = _listed([quotes.symbols[i] for i in where])
        gaps = f"{_count(int(quotes.gap.sum()), 'gap')} in the days of {_count(len(where), 'company')} ({named})"
        notes.append(f"{gaps}: {_count(windows[1] - windows[2], 'window')} that would cross them dropped")
    return steps[-1]


def _ids(breaks: Flags) -> NDArray[np.int32]:
    return np.cumsum(breaks, dtype=np.int32)


def _count(number: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _by_date(whole: Split, part: NDArray[np.int32], stride: int) -> tuple[Split, Split, Split]:
    def split(number: int, stride: int) -> Split:
        rows = part == number
        own = [None if array is None else array[rows] for array in (whole.segment, whole.company, whole.time)]
        part_of = whole._replace(series=whole.series[rows], segment=own[0], company=own[1], time=own[2])
        return part_of.recut(whole.span, stride)

    return split(0, stride), split(1, 1), split(2, 1)


def _shuffled(whole: Split, config: Snp) -> tuple[Split, Split, Split]:
    order = np.random.default_rng(config.seed).permutation(whole.starts)
    ends = [len(order) * TRAIN // 100, len(order) * VALIDATION // 100]
    train, validation, test = (np.sort(starts) for starts in np.split(order, ends))
    train = np.intersect1d(train, whole.recut(whole.span, config.stride).starts, assume_unique=True)
    return whole._replace(starts=train), whole._replace(starts=validation), whole._replace(starts=test)


def _scale(config: Snp, whole: Split, train: Split, companies: int) -> tuple[Scale, str]:
    """The scale, and why it flatters; rows of windows of the training part alone decide where the split has no days."""
    if config.scaling == "none":
        return fixed(), ""
    if config.scaling == "window":
        return per_window(whole.features), ""
    fitted = whole if config.scaling == "report" else train
    series, company, segment = fitted.series, fitted.company, fitted.segment_ids()
    assert company is not None
    if config.scaling == "report":
        return min_max_per_company(series, company, companies), LEAKY_SCALE
    if config.split == "report":
        covered = np.zeros(len(series) + 1, np.int64)
        np.add.at(covered, train.starts, 1)
        np.add.at(covered, train.starts + train.span, -1)
        rows = np.cumsum(covered)[:-1] > 0
        series, company, segment = series[rows], company[rows], segment[rows]
    if config.scaling == "log":
        return logarithms(series, segment, volume=config.fields[-1] == "volume"), ""
    return min_max_per_company(series, company, companies), ""
