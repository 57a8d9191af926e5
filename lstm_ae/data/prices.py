"""Stock prices as windows: chosen, split by date, then scaled.

A window holds consecutive trading days of one company. It never reaches over a missing value, a missing day or the
border of a split; what is dropped for that is counted in the notes.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Snp
from lstm_ae.data import selection
from lstm_ae.data.leakage import describe_leaks, find_leaks
from lstm_ae.data.quotes import Quotes, read_quotes
from lstm_ae.data.scaling import Scale, fixed, logarithms, min_max_per_company, per_window
from lstm_ae.data.selection import take
from lstm_ae.data.windows import OPEN, Data, Source, Split, fingerprint, require_samples, window_starts
from lstm_ae.errors import DataError
from lstm_ae.words import count, listed

TRAIN, VALIDATION = 70, 85  # percent of the days after which a part ends

LEAKY_SPLIT = "windows were shuffled before they were divided: most days of a test window stand in training windows too"
LEAKY_SCALE = "the scale was fitted on all days, those of validation and test as well"

Parts = Callable[[Quotes], NDArray[np.int32]]
"""From rows to their part: 0 training, 1 validation, 2 test, -1 none."""


def load(config: Snp) -> Data:
    """Read what `config` asks for, `(rows, features)` float32 a split, the price to model first.

    `--split time` gives the first 70 % of the days to training, the next 15 % to validation and the rest to test;
    each split holds its own rows only. With `--split report` all three share their rows and differ in their windows.

    Raises:
        ConfigError: an unknown symbol, a date that is none.
        DataError: a file that cannot be used, or too few days.
    """
    return prepare(config, read_quotes(config.data, config.fields))


def describe_future(config: Snp, data: Data) -> str:
    """Describe inputs that probably contain the future of the price to model; "" where there is none."""
    leaks = find_leaks(data, config.window, targets=1, known=OPEN if config.with_open else None)
    return describe_leaks(leaks, config.fields)


def holds_more(config: Snp) -> bool:
    """Whether a file has companies, or days after the last one, that a config leaves out of it."""
    limited = config.end or config.symbols
    return bool(limited) and bool(selection.hidden(config, read_quotes(config.data, config.fields)).any())


def by_date(quotes: Quotes) -> NDArray[np.int32]:
    """The days of all companies are divided together."""
    days, at = np.unique(quotes.day, return_inverse=True)
    ends = [len(days) * TRAIN // 100, len(days) * VALIDATION // 100]
    return np.searchsorted(ends, at, side="right").astype(np.int32)


def prepare(config: Snp, quotes: Quotes, parts: Parts = by_date, *, held_out: bool = False) -> Data:
    """What `load` makes of a file's rows.

    Args:
        parts: which rows belong where, except with `--split report`.
        held_out: whether companies without any training day stay.
    """
    fields = config.fields
    quotes = selection.asked(config, quotes)
    quotes, opens, late = selection.opened(quotes) if config.with_open else (quotes, {}, [])
    part = parts(quotes) if config.split == "time" else np.zeros(len(quotes.day), np.int32)
    quotes, part = selection.used(quotes, part)
    missing = selection.missing(quotes, fields)
    days = np.bincount(quotes.company[(part == 0) & ~missing], minlength=len(quotes.symbols))
    enough = (days >= selection.MIN_TRAINING_DAYS) | (held_out & (days == 0))
    notes = [*quotes.notes, *selection.left_out(quotes, days, enough), *selection.told_opens(opens), *late]
    keep = enough[quotes.company]
    quotes, part, missing = take(quotes, keep), part[keep], missing[keep]

    span = config.window + (config.goal == "predict")
    segment = selection.segments(quotes, part, missing, span, " or ".join(fields), notes)
    notes += [*selection.swapped(quotes), *selection.spaced(quotes)]
    quotes, part = take(quotes, ~missing), part[~missing]
    kept, place = np.unique(quotes.company, return_inverse=True)
    company = (place + 1).astype(np.int32)
    symbols = ("", *(quotes.symbols[i] for i in kept))
    series = selection.series_of(quotes, fields)
    whole = Split(series, window_starts(segment, span), span, segment, company, quotes.day)
    if none := sorted({symbols[line] for line in np.setdiff1d(company, company[whole.starts])}):
        notes.append(f"{count(len(none), 'company')} without {span} days in a row: {listed(none)}")
    splits = _by_date(whole, part, config) if config.split == "time" else _shuffled(whole, config)
    scale, leaky = _scale(config, whole, splits[0], len(kept))
    if config.split == "report":
        leaky = "; ".join(filter(None, (LEAKY_SPLIT, leaky)))
    source = _source(quotes, fields, series, company, symbols, notes, leaky)
    data = Data(*splits, scale, source, symbols, selection.names_of(fields), opens=opens)
    if config.goal == "predict" and (future := describe_future(config, data)):
        data = data._replace(source=source._replace(leaky="; ".join(filter(None, (leaky, future)))))
    advice = f"Lower --window (now {config.window}), give more days with --data, or widen --start and --end"
    if config.validate_after:
        advice = f"Lower --validate-after (now {config.validate_after}). {advice}"
    why = f" ({'; '.join(notes)})" if quotes.gap.any() else ""
    return require_samples(data, advice + why)


def fresh(config: Snp, scale: Scale, known: Sequence[str], until: np.datetime64) -> Data:
    """Rows that a trained model is to forecast from, all of them in `test`; training and validation are empty.

    Of companies that it was trained on only the days after `until` are forecast, and the window before them read.

    Args:
        config: the trained model's, but for its `data`.
        scale: the trained model's.
        known: the symbols of its scale's lines. Other companies get lines past its end, which are "unknown".
        until: the last day that it was fitted to or chosen by.

    Raises:
        DataError: a file that cannot be used, or no window in it.
    """
    quotes = read_quotes(config.data, config.fields)
    quotes, opens, late = selection.opened(quotes) if config.with_open else (quotes, {}, [])
    fields, notes = config.fields, [*quotes.notes, *selection.told_opens(opens), *late]
    seen = selection.seen(quotes, known, until, config.window)
    if seen.any():
        notes.append(f"{count(int(seen.sum()), 'row')} up to {until} of companies it was trained on not forecast again")
    quotes = take(quotes, ~seen)
    missing, part = selection.missing(quotes, fields), np.zeros(len(quotes.day), np.int32)
    segment = selection.segments(quotes, part, missing, config.window, " or ".join(fields), notes)
    notes += [*selection.swapped(quotes), *selection.spaced(quotes)]
    quotes = take(quotes, ~missing)
    symbols = tuple(dict.fromkeys((*(known or ("",)), *quotes.symbols)))
    lines = np.array([symbols.index(symbol) for symbol in quotes.symbols], np.int32)
    company = lines[quotes.company]
    series = selection.series_of(quotes, fields)
    whole = Split(series, window_starts(segment, config.window), config.window, segment, company, quotes.day)
    short = np.setdiff1d(company, company[whole.starts])
    if len(short):
        named = listed([symbols[line] for line in short])
        notes.append(f"{count(len(short), 'company')} with fewer than {config.window} days in a row left out: {named}")
    if not whole.samples:
        raise DataError(f"{quotes.name}: no company has {config.window} days in a row, which the model reads")
    source = _source(quotes, fields, series, company, symbols, notes, "")
    empty = whole._replace(starts=whole.starts[:0])
    test = whole.recut(config.window + 1)
    return Data(empty, empty, test, scale, source, symbols, selection.names_of(fields), opens=opens)


def _source(
    quotes: Quotes,
    fields: Sequence[str],
    series: NDArray[np.float32],
    company: NDArray[np.int32],
    symbols: Sequence[str],
    notes: Sequence[str],
    leaky: str,
) -> Source:
    names = np.frombuffer("\n".join(symbols).encode(), np.uint8)
    return Source(
        f"{quotes.name}: {', '.join(fields)} of {count(len(np.unique(company)), 'company')}, {len(series):,} rows, "
        f"{quotes.day.min()} to {quotes.day.max()}",
        fingerprint(series, company, quotes.day.astype(np.int64), quotes.gap, names),
        quotes.licence,
        tuple(notes),
        leaky,
    )


def _by_date(whole: Split, part: NDArray[np.int32], config: Snp) -> tuple[Split, Split, Split]:
    def split(number: int, stride: int) -> Split:
        rows = part == number
        own = [None if array is None else array[rows] for array in (whole.segment, whole.company, whole.time)]
        part_of = whole._replace(series=whole.series[rows], segment=own[0], company=own[1], time=own[2])
        return part_of.recut(whole.span, stride)

    validation, later = split(1, 1), max((config.validate_after or 0) - config.window, 0)
    judged = validation.starts[np.isin(validation.starts - later, validation.recut(whole.span + later).starts)]
    return split(0, config.stride), validation._replace(starts=judged), split(2, 1)


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
