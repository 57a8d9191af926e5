"""What is wrong with a table, each with the options that solve it."""

import collections
import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.config import Reading
from lstm_ae.config.reading import UNITS, Step
from lstm_ae.data.cadence import (
    MOST_MISSING,
    Clash,
    Gaps,
    clash_of,
    common_gaps,
    even_step,
    missing_share,
    moment,
    repeats_hour,
    slots,
    starts_of,
)
from lstm_ae.data.clocks import CLOCKS
from lstm_ae.data.dividing import PARTS, parts_wanted
from lstm_ae.data.flags import are_flags
from lstm_ae.data.forms import NAMES
from lstm_ae.data.instants import Times
from lstm_ae.data.known import prepare_any
from lstm_ae.data.levels import of_unknown_series
from lstm_ae.data.measurements import Measurements
from lstm_ae.data.notation import MISSING
from lstm_ae.data.padding import padded
from lstm_ae.data.remarks import (
    MANY,
    counting,
    may_scale_each,
    of_counters,
    of_left_out,
    of_long_season,
    of_lost_digits,
    of_missing_steps,
    of_unlike_size,
    of_woven,
)
from lstm_ae.data.season import coarser
from lstm_ae.data.series import Prepared, names_of, windows_of
from lstm_ae.data.suspects import marks, missing_of, of_constants, of_marks, of_sentinels, of_totals, sentinels
from lstm_ae.errors import ConfigError
from lstm_ae.words import count, listed, shown

# Different words that may all stand for a missing value; more are the text of a column that is none of numbers.
WORDS = 20
# Rows of a regular table that come too near to another, at most: so few are stray ones.
STRAY = 0.02


class Finding(NamedTuple):
    """Something that its reader should know.

    Args:
        text: one sentence.
        fatal: whether nothing can be trained before it is solved.
        fixes: options, by field of the config, that solve it; the best first.
    """

    text: str
    fatal: bool
    fixes: tuple[Mapping[str, Any], ...] = ()


class Feature(NamedTuple):
    """One column that is modelled, over the rows of the table."""

    name: str
    minimum: float
    mean: float
    maximum: float
    missing: float


def together(config: Reading, findings: Sequence[Finding]) -> Mapping[str, Any]:
    """The best fix of each finding, all at once, but for those that are refused beside the ones before them."""
    fixes: list[Mapping[str, Any]] = []
    for finding in findings:
        more = [*fixes, *finding.fixes[:1]]
        with suppress(ConfigError):
            changed_by(config, _merged(more))
            fixes = more
    return _merged(fixes)


def _merged(fixes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    merged = {name: value for fix in reversed(fixes) for name, value in fix.items()}
    if words := [word for fix in fixes for word in fix.get("missing", ())]:
        merged["missing"] = tuple(dict.fromkeys(words))
    lists = [set(fix["value_cols"]) for fix in fixes if "value_cols" in fix]
    if lists:
        taken = {*merged.get("id_col", ()), merged.get("label_col")}
        kept = [name for name in merged["value_cols"] if name not in taken and all(name in names for names in lists)]
        # Where nothing would be left, none of these is followed.
        merged = (
            {**merged, "value_cols": tuple(kept)} if kept else {k: v for k, v in merged.items() if k != "value_cols"}
        )
    return merged


def changed_by(config: Reading, fix: Mapping[str, Any]) -> Reading:
    """The same choices with these fields changed."""
    return type(config).from_dict({**config.to_dict(), **fix})


def bad_cells(table: Measurements, config: Reading) -> list[Finding]:
    """Return the cells that are no numbers: one finding for all that have the same problem, with their words."""
    values, found = set(table.layout.values), []
    key = lambda cells: (cells.column not in values, cells.problem.text)  # noqa: E731
    for _, group in itertools.groupby(sorted(table.bad, key=key), key):
        columns = list(group)
        first, words = min(columns, key=lambda cells: cells.row), collections.Counter[str]()
        for cells in columns:
            words.update(cells.words)
        problem, names = first.problem, {cells.column for cells in columns}
        told = [f"{shown(word)[:60]} ({count(times, 'cell')})" for word, times in words.most_common()]
        text = (
            f"{listed(told)} in {listed([shown(cells.column)[:60] for cells in columns])}, the first in {table.place} "
            f"{first.row}: such a cell {problem.text}"
        )
        fixes: list[Mapping[str, Any]] = [{name: value} for name, value in problem.option.items()]
        if problem.word and len(words) <= WORDS and names <= values:
            fixes.append({"missing": (*config.missing, *words)})
        if rest := tuple(name for name in table.layout.values if name not in names):
            fixes.append({"value_cols": rest})
        found.append(Finding(text if fixes else f"{text}. {problem.advice}", True, tuple(fixes)))
    return found


def rows_that_meet(table: Measurements, step: Step, clash: Clash | None, config: Reading) -> list[Finding]:
    """Rows at the same time, or so near that they meet on the grid."""
    if clash is None:
        return []
    first, second = (f"{table.place} {table.lines[row]}" for row in (clash.first, clash.second))
    rows, when = count(clash.rows, "row"), moment(table, clash.second)
    if config.duplicates != "error":
        return [Finding(f"{rows} met others in time; of those {config.duplicates} was kept", False)]
    fixes: list[Mapping[str, Any]] = [{"id_col": ids} for ids in table.layout.apart[:2]]
    if table.layout.clocks:
        fixes = [{"clock_col": table.layout.clocks[0]}, *fixes]
    last: list[Mapping[str, Any]] = [{"duplicates": "mean"}]
    if clash.same_time:
        text = f"{rows} with the time of another: {first} and {second} are both at {when}"
        if repeats_hour(table, slots(table, step)):
            # Of two hours there is no mean, and which zone it is nobody but their owner knows.
            last = []
            other = f", though not in {config.time_zone}" if config.time_zone else ""
            text += (
                f", in an hour that daylight saving repeats{other}: give --time-zone ZONE, the zone of these clocks, "
                "such as Europe/London or America/New_York"
            )
        fixes = [*_hours(table), *fixes]
    else:
        text = f"{rows} too near for a step of {step}: {second} is only {step.resized(clash.apart)} after {first}"
        gap = np.diff(table.times)
        finer = step.resized(int(gap[(gap > 0) & ~starts_of(table.series)[1:]].min()))
        places = slots(table, finer)
        last = last if missing_share(table, slots(table, step)) <= MOST_MISSING else []
        if clash_of(table, places) is None and missing_share(table, places) <= MOST_MISSING:
            fixes.append({"freq": str(finer)})
        elif even_step(table) != step:
            fixes += even_ways(table, step, config)
        if clash.rows <= STRAY * len(table.times):
            fixes, last = [*last, *fixes], []
    return [Finding(text, True, (*fixes, *last))]


def even_ways(table: Measurements, step: Step, config: Reading) -> list[Mapping[str, Any]]:
    """Return the options that read a table whose rows do not follow at a step, the best first."""
    even = even_step(table)
    rule = "mean" if config.duplicates == "error" else config.duplicates
    return [*([{"freq": str(even), "duplicates": rule}] if even not in (None, step) else []), {"freq": "rows"}]


def _hours(table: Measurements) -> list[Mapping[str, Any]]:
    """Columns of numbers that may be the hours of days whose dates repeat."""
    if (table.times % UNITS["d"]).any() or not table.layout.dated or table.layout.clock:
        return []
    return [
        {"clock_col": name}
        for name, values in zip(table.layout.values, table.values.T, strict=True)
        if CLOCKS.fullmatch(name.strip()) and ((values >= 0) & (values < 24) & (values == np.round(values))).all()
    ]


def no_windows(prepared: Prepared, windows: tuple[int, int, int], config: Reading) -> list[Finding]:
    """Parts that hold no window."""
    wanted = [PARTS[place] for place in parts_wanted(config)]
    empty = [name for name, held in zip(wanted, windows, strict=False) if not held]
    if not empty:
        return []
    rows = [f"{count(int((prepared.part == place).sum()), 'row')} for {name}" for place, name in enumerate(wanted)]
    span = f"window of {prepared.window} steps" + (f" and {prepared.horizon} ahead" if prepared.horizon else "")
    held = f"The {' and '.join(empty)} part{'s hold' if len(empty) > 1 else ' holds'} no {span}"
    runs = np.unique(prepared.grid.segment[prepared.grid.valued], return_counts=True)[1]
    text = (
        f"{held if len(empty) < len(wanted) else f'No part holds a {span}'}: there are "
        f"{', '.join(rows)}, and at most {runs.max(initial=0):,} without a long gap"
    )
    if known := prepared.inferred.get("label_col"):
        text += f"; {known}, but in those of --task classify"
    fixes: list[Mapping[str, Any]] = []
    tries: list[dict[str, Any]] = [{}]
    if len(prepared.table.ids) >= len(PARTS) and "series" not in (config.split_by, config.scale):
        tries.insert(0, {"split_by": "series"})
    if len(runs) > len(prepared.table.ids):
        tries.append({"freq": "rows"})
    for fix in tries:
        for window in (config.window, None):
            changed = changed_by(config, fix | {"window": window, "duplicates": _kept(config)})
            found = prepare_any(changed, prepared.table)
            found = padded(found, "segments") if changed.may_pad else found
            if all(windows_of(found, changed)[place].samples for place in parts_wanted(config)):
                fixes.append(fix if window == config.window else fix | {"window": found.window})
                break
    return [Finding(text if fixes else f"{text}. More rows are needed, or another --split", True, tuple(fixes))]


def _kept(config: Reading) -> str:
    return "first" if config.duplicates == "error" else config.duplicates


def in_time(table: Measurements, step: Step, config: Reading) -> list[Finding]:
    """Return what is odd about the order of rows: all of one time, out of order, or of several series."""
    found, layout = [], table.layout
    if layout.time is not None and step == Step() and config.step is None:
        fixes: list[Mapping[str, Any]] = [{"clock_col": name} for name in layout.clocks[:1]]
        fixes += [{"id_col": ids} for ids in layout.apart[:1]]
        of = " of a series" if len(table.ids) > 1 else ""
        text = f"No two rows{of} differ in time; they are taken as they follow, as with --freq rows"
        found.append(Finding(text, False, (*fixes, {"freq": "rows"})))
    if text := of_woven(table):
        found.append(Finding(text, False, tuple({"id_col": ids} for ids in table.layout.woven[:2])))
    if table.unsorted:
        found.append(Finding(f"{count(table.unsorted, 'row')} stood after a later one; rows are sorted by time", False))
    return found


def mostly_missing(table: Measurements, step: Step, places: Times, config: Reading) -> list[Finding]:
    """Return that most steps have no row, and other steps."""
    share = missing_share(table, places)
    if share <= MOST_MISSING:
        return []
    return [Finding(of_missing_steps(share, step), True, tuple(even_ways(table, step, config)))]


def in_steps(table: Measurements, step: Step, gaps: Gaps, prepared: Prepared, config: Reading) -> list[Finding]:
    """Return how many steps have no row, and the gaps that no window crosses."""
    found = []
    share = gaps.rows / max(gaps.rows + len(table.lines), 1)
    # As weekends may be.
    crossed = any(gap <= prepared.max_gap for gap in common_gaps(table, slots(table, step), 1))
    if share > MANY:
        why = "; they are taken for missing" if crossed else ", as if rows had no regular step"
        fixes = () if crossed else tuple(even_ways(table, step, config))
        found.append(Finding(of_missing_steps(share, step) + why, False, fixes))
    if (crossed or share <= MANY) and gaps.longest > prepared.max_gap:
        without = f", {count(gaps.empty, 'row')} without any value among them" if gaps.empty else ""
        text = (
            f"No window crosses {count(gaps.long, 'gap')} of more than {count(prepared.max_gap, 'step')}{without}; the "
            f"longest is of {gaps.longest:,} after {moment(table, gaps.before)}"
        )
        fill: tuple[Mapping[str, Any], ...] = ({"max_gap": gaps.longest},) if gaps.longest <= prepared.window else ()
        found.append(Finding(text, False, fill))
    return found


def in_length(prepared: Prepared) -> list[Finding]:
    """A season that is longer than a default window."""
    text = of_long_season(prepared)
    if not text or prepared.usual is None or prepared.usual.long is None:
        return []
    wider = coarser(prepared.grid.step, prepared.usual.long)
    fix = {"freq": str(wider), "duplicates": "mean"} if wider else {"window": prepared.usual.long}
    return [Finding(text, False, (fix,))]


def in_series(config: Reading, prepared: Prepared) -> list[Finding]:
    """Series that are too small for the scale that they share, or have none of their own though they should."""
    if unknown := of_unknown_series(names_of(config, prepared), prepared.table.ids):
        return [Finding(unknown, False)]
    text = of_unlike_size(config, prepared)
    fixes: tuple[Mapping[str, Any], ...] = ({"scale": "series"},) if may_scale_each(config, prepared.table) else ()
    if fixes and not np.isnan(prepared.grid.values).any():
        fixes += ({"scale": "window"},)
    return [Finding(text, False, fixes)] if text else []


def in_columns(prepared: Prepared, features: tuple[Feature, ...], config: Reading) -> list[Finding]:
    """Columns that are constant, that count, are often missing, too finely graded, labels or text."""
    table = prepared.table
    found = []

    def without(names: list[str]) -> tuple[Mapping[str, Any], ...]:
        named = set(names)
        rest = tuple(feature.name for feature in features if feature.name not in named)
        return ({"value_cols": rest},) if rest else ()

    constant = [feature.name for feature in features if feature.minimum == feature.maximum]
    if constant:
        verbs = "has one value in all rows and tells" if len(constant) == 1 else "have one value each and tell"
        large = any(feature.minimum == feature.maximum and abs(feature.maximum) >= 1e5 for feature in features)
        digits = ", to the seven digits of 32 bits," if large else ""
        text = f"{listed([shown(name) for name in constant])}{digits} {verbs} nothing"
        found.append(Finding(text, False, without(constant)))
    if counters := counting(table):
        fixes = without(counters)
        if fixes and table.layout.time is None and NAMES.search(counters[0]):
            fixes += ({"time_col": counters[0], "time_unit": "s"},)
        found.append(Finding(of_counters(table), False, fixes))
    rare = [feature for feature in features if feature.missing > MANY]
    if rare:
        shares = [f"{shown(feature.name)} ({feature.missing:.0%})" for feature in rare]
        text = f"Values are missing in many rows of {listed(shares)}"
        if len(rare) == 1:
            text = f"{shown(rare[0].name)} is missing in {rare[0].missing:.0%} of the rows"
        found.append(Finding(text, False, without([feature.name for feature in rare])))
    if text := of_lost_digits(table):
        found.append(Finding(text, False))
    if text := of_totals(table, counters):
        found.append(Finding(text, False))
    if text := of_sentinels(table):
        found.append(Finding(text, False, ({"missing": (*config.missing, *missing_of(sentinels(table)))},)))
    if text := of_marks(config, table):
        names = list(marks(config, table))
        fixes = without(names)
        if table.layout.label is None:
            others_too = fixes[0] if fixes and len(names) > 1 else {}
            fixes = ({"label_col": names[0], **others_too}, *fixes)
        found.append(Finding(text, False, fixes))
    if text := of_constants(prepared, marks(config, table)):
        found.append(Finding(text, False))
    if odd := [name for name in table.classes if name.lower() in MISSING]:
        verbs = "is a class" if len(odd) == 1 else "are classes"
        text = (
            f"{listed([shown(name) for name in odd])} {verbs}; where that stands for no label, name it with --missing"
        )
        found.append(Finding(text, False, ({"missing": (*config.missing, *odd)},)))
    if not (config.forecasts or are_flags(table.classes)):
        text = (
            f"{shown(table.layout.label)} holds classes for --task classify; to find anomalies it must hold 0 and 1, 1 "
            "for a row known to be one, or be left out"
        )
        found.append(Finding(text, False))
    if text := of_left_out(config, table):
        found.append(Finding(text, False))
    return found
