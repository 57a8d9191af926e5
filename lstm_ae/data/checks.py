"""Check a table for errors, with options that fix them, and for conditions that deserve a warning."""

import collections
import csv
import io
import itertools
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Float32Array, Int64Array
from lstm_ae.config import Reading
from lstm_ae.config.options import declared_options, flag_name
from lstm_ae.config.reading import UNITS, TimeStep
from lstm_ae.data.anomaly_labels import are_anomaly_labels
from lstm_ae.data.grid import (
    MAX_MISSING_SHARE,
    DuplicateTimes,
    Gaps,
    common_gaps,
    common_step,
    describe_time,
    even_step,
    find_duplicate_times,
    find_gaps,
    grid_slots,
    missing_share,
    repeats_autumn_hour,
    run_starts,
)
from lstm_ae.data.measurements import Measurements, Progress, read_measurements
from lstm_ae.data.number_notation import MISSING_WORDS
from lstm_ae.data.padding import original_rows, pad_segments
from lstm_ae.data.preparation import PreparedTable, cut_windows, prepare_for_any_task, scale_line_names
from lstm_ae.data.scaling import Scale, describe_unknown_series, find_scale_lines
from lstm_ae.data.season import MAX_DEFAULT_WINDOW, choose_coarser_step
from lstm_ae.data.split import PARTS, required_parts
from lstm_ae.data.timestamps import CLOCK_HEADING, TIME_HEADING
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError
from lstm_ae.formatting import format_count, format_heading, format_names, quote

# Numbers that data loggers commonly write for missing values.
COMMON_SENTINELS = (
    "-9999", "-999", "-99", "-99999", "9999", "99999", "999999", "65535", "32767", "-32768", "2147483647",
    "-2147483648", "4294967295", "1e20", "1e30", "-1e20", "-1e30",
)  # fmt: skip

# Smallest distance of a sentinel from the other values of the column, in terms of their spread: for a common sentinel,
# for any other number, and for one that occurs only once or twice.
COMMON_SENTINEL_DISTANCE, SENTINEL_DISTANCE, RARE_SENTINEL_DISTANCE = 3, 10, 1_000

# Headings of label columns with any content, and words in headings of columns of 0 and 1 that mark anomalies.
LABEL_HEADING = re.compile(r"(is_?)?(anomal(y|ous)|outlier|label|class|target)s?", re.IGNORECASE)

ANOMALY_HEADING = re.compile(
    r"(^|[\W_])(anomal(y|ous|ies)|outliers?|labels?|fail(s|ed|ures?)?|fault(s|y)?|defect(s|ive)?|broken|break(down|age)s?|"
    r"attack(s|ed)?|intrusions?|events?|alarms?|ground_?truth|machine_?status)($|[\W_\d])",
    re.IGNORECASE,
)

# A column of 0 and 1 is a label if at most this share of rows has a 1 and the runs of 1 have at least this mean length.
MAX_ANOMALY_SHARE, MIN_ANOMALY_RUN = 0.1, 3

# Smallest number of rows for a running total, and largest number of resets per series.
MIN_TOTAL_ROWS, MAX_TOTAL_RESETS = 30, 2


def find_sentinels(table: Measurements) -> dict[str, list[str]]:
    """Return by column the numbers, as text, that probably represent missing values.

    They are far from all other values, and occur repeatedly or are extremely far.
    """
    found = {}
    for name, column in zip(table.layout.values, table.values.T, strict=True):
        if numbers := _find_column_sentinels(column[~np.isnan(column)]):
            found[name] = numbers
    return found


def _find_column_sentinels(values: Float32Array) -> list[str]:
    known = {float(np.float32(text)): text for text in COMMON_SENTINELS}
    found: list[str] = []
    while len(values):
        for extreme in (float(values.min()), float(values.max())):
            rest, text = values[values != extreme], known.get(extreme)
            times = len(values) - len(rest)
            # Zero often means off, and a frequent number or one of a few distinct numbers is a state.
            if extreme == 0 or len(rest) < MIN_TOTAL_ROWS or times > len(rest):
                continue
            away = max(float(rest.min()) - extreme, extreme - float(rest.max()))
            # A rare number may be a valid value unless it is so far away that the others seem equal.
            away /= (
                RARE_SENTINEL_DISTANCE
                if times < (2 if text else 3)
                else COMMON_SENTINEL_DISTANCE
                if text
                else SENTINEL_DISTANCE
            )
            if not 0 < float(rest.std(dtype=np.float64)) < away or np.ptp(np.quantile(rest, [0.25, 0.75])) >= away:
                continue
            if text is None and (5 * times > len(rest) or len(np.unique(rest)) < 10):
                continue
            found.append(text or np.format_float_positional(np.float32(extreme), trim="-"))
            values = rest
            break
        else:
            break
    return found


def describe_sentinels(table: Measurements) -> str:
    """Return a description of the columns with probable sentinels for missing values; "" if there are none."""
    found = find_sentinels(table)
    if not found:
        return ""
    told = []
    for name, numbers in list(found.items())[:10]:
        column = table.values[:, table.layout.values.index(name)]
        rows = [f"{text} ({format_count(int((column == np.float32(text)).sum()), 'row')})" for text in numbers]
        told.append(f"{quote(name)} {', '.join(rows)}")
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    return (
        f"Far from all other values are of {'; of '.join(told)}{more}; where that stands for a missing value, name it "
        f"with --missing={','.join(list_sentinels(found))}"
    )


def list_sentinels(found: dict[str, list[str]]) -> list[str]:
    """Return the distinct numbers of `find_sentinels`.

    >>> list_sentinels({"flow": ["-999"], "level": ["-999", "9999"]})
    ['-999', '9999']
    """
    return list(dict.fromkeys(text for numbers in found.values() for text in numbers))


def find_label_columns(config: Reading, table: Measurements) -> dict[str, str]:
    """Return the modeled columns that probably hold labels, with the reason for each.

    The result is empty if the columns to model are configured.
    """
    names = table.layout.values
    if config.value_cols or len(names) < 2:
        return {}
    found = {}
    for name, column in zip(names, table.values.T, strict=True):
        held = column[~np.isnan(column)]
        one = held == 1
        binary = bool(one.any() and not one.all() and (one | (held == 0)).all())
        runs = int(np.count_nonzero(np.diff(one.astype(np.int8), prepend=0) > 0))
        if (LABEL_HEADING.fullmatch(name.strip()) and not (config.forecasts and not binary)) or (
            binary and ANOMALY_HEADING.search(name.strip())
        ):
            found[name] = "its name says that it is a label"
        elif binary and one.mean() <= MAX_ANOMALY_SHARE and one.sum() >= MIN_ANOMALY_RUN * runs:
            found[name] = "it holds 0 and 1 alone, and 1 rarely and in stretches, as labels do"
    return found


def describe_label_columns(config: Reading, table: Measurements) -> str:
    """Return a description of modeled columns that are probably labels; "" if there are none."""
    found = find_label_columns(config, table)
    told = [f"{quote(name)} is modelled as a value, though {why}" for name, why in list(found.items())[:3]]
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    solved = "name it with --label-col, or " if table.layout.label is None else ""
    return f"{'; '.join(told)}{more}; {solved}leave it out with --value-cols" if told else ""


def find_totals(table: Measurements) -> list[str]:
    """Return the columns of running totals: they rise in many rows and never fall except at resets."""
    found = []
    for name, column in zip(table.layout.values, table.values.T, strict=True):
        held = np.flatnonzero(~np.isnan(column))
        if len(held) < MIN_TOTAL_ROWS:
            continue
        series = table.series[held]
        first = run_starts(series)
        change = np.diff(column[held].astype(np.float64))[~first[1:]]
        rises, falls = change[change > 0], change[change < 0]
        width = float(column[held].max()) - float(column[held].min())
        if (
            len(rises) >= max(10, len(change) / 10)
            and rises.max() < 0.5 * rises.sum()
            # A reset loses most of the accumulated total.
            and len(falls) <= MAX_TOTAL_RESETS * int(first.sum())
            and (falls < -0.5 * width / (1 + MAX_TOTAL_RESETS)).all()
        ):
            found.append(name)
    return found


def describe_totals(table: Measurements, counters: list[str]) -> str:
    """Return a description of modeled running totals, except for counters; "" if there are none."""
    names = [name for name in find_totals(table) if name not in counters]
    if not names:
        return ""
    verbs = "never falls" if len(names) == 1 else "never fall"
    whose = "is modelled as a value" if len(names) == 1 else "are modelled as values"
    return (
        f"{format_names([quote(name) for name in names])} {verbs}, unless to begin anew, as running totals "
        f"do, and {whose}: "
        "later rows lie beyond all that a training sees; give the differences from row to row, or leave it out with "
        "--value-cols"
    )


def describe_constants(prepared: PreparedTable, besides: Collection[str] = ()) -> str:
    """Return a description of columns that are constant in the training part only; "" if there are none.

    Args:
        besides: columns to omit, because another warning covers them.
    """
    values = prepared.grid.values
    train = prepared.part == 0
    names = []
    for name, column in zip(prepared.table.layout.values, values.T, strict=True):
        held, own = column[~np.isnan(column)], column[train & ~np.isnan(column)]
        if name not in besides and len(own) and own.min() == own.max() and held.min() < held.max():
            names.append(name)
    if not names:
        return ""
    return (
        f"{format_names([quote(name) for name in names])} {'has' if len(names) == 1 else 'have'} one value "
        "in the training "
        "part and others later: any change counts, the more the smaller its unit; leave it out with --value-cols, or "
        "give another --split"
    )


# Topics of the warnings, with which the notes of a training begin.
WARNING_TOPICS = (
    "missing rows",
    "season",
    "scale",
    "counters",
    "digits",
    "totals",
    "far values",
    "labels",
    "constants",
    "series",
    "columns",
)

# Smallest share of missing rows or values for a warning.
LARGE_MISSING_SHARE = 0.2

# Distance from the training values, in standard deviations or ranges, beyond which a value is far.
FAR_DEVIATIONS = 4

# Ratio between the spread of all series and that of one series beyond which its variation is hardly visible: if a scale
# per series is possible, and if it is not.
UNEQUAL_SCALE_RATIO, UNKNOWN_SERIES_SCALE_RATIO = 3, 10

# Headings of counters, which rise in every row, though not necessarily by the same amount.
COUNTER_HEADING = re.compile(
    r"((row|line|record|sample|reading|scan|seq(uence)?|step|obs(ervation)?)?[ _-]*"
    r"(id|index|idx|no\.?|nr\.?|num(ber)?|#)|counter)"
    r"|(t|time([ _-]?step)?|elapsed([ _-]?time)?|uptime|seconds)([ _-]*(s|sec|seconds|ms|min|h)|\s*[\[(].*[\])])?",
    re.IGNORECASE,
)

# Smallest number of rows for a counter.
MIN_COUNTER_ROWS = 10


def collect_table_warnings(config: Reading, prepared: PreparedTable) -> dict[str, str]:
    """Return the warnings about a table to train on, by topic."""
    table = prepared.table
    said = (
        describe_missing_rows(prepared),
        "; ".join(finding.text for finding in check_season_length(config, prepared)),
        describe_unequal_scales(config, prepared)
        or describe_unknown_series(scale_line_names(config, prepared), table.ids),
        describe_counters(table),
        describe_lost_precision(table),
        describe_totals(table, find_counters(table)),
        describe_sentinels(table),
        describe_label_columns(config, table),
        describe_constants(prepared, find_label_columns(config, table)),
        describe_interleaved_series(table),
        describe_excluded_columns(config, table),
    )
    return {name: words for name, words in zip(WARNING_TOPICS, said, strict=True) if words}


def describe_lookahead(data: Data, window: int) -> str:
    """Return a warning if training rows are later than forecasts of the test part; "" otherwise.

    This happens if each series is divided within its own time range.

    Args:
        window: input steps before a forecast.
    """
    train, test = data.train, data.test
    if train.time is None or test.time is None:
        return ""
    known = train.time[train.starts + train.span - 1].max()
    early = int((test.time[test.starts + window] < known).sum())
    if not early:
        return ""
    verb = "forecasts" if early == 1 else "forecast"
    return (
        f"{early:,} of {format_count(test.samples, 'test window')} {verb} what is earlier than training "
        "rows of other series; "
        "series backtest divides all series at the same times"
    )


def describe_excluded_columns(config: Reading, table: Measurements) -> str:
    """Return a description of the columns left out because they are not numeric, with the reasons.

    The result is "" if there are none, or the columns to model are configured.
    """
    layout = table.layout
    roles = {layout.time, layout.clock, *layout.ids, layout.label, *layout.values}
    names: dict[str, list[str]] = {}
    for name, reason in {} if config.value_cols else layout.texts.items():
        if name not in roles:
            names.setdefault(reason, []).append(quote(name))
    told = [
        f"{format_names(columns)} {reason if len(columns) == 1 else reason.replace('holds', 'hold', 1)} and "
        f"{'is' if len(columns) == 1 else 'are'} left out"
        for reason, columns in names.items()
    ]
    return "; ".join(told[:10]) + (f"; and others in {len(told) - 10} more ways" if len(told) > 10 else "")


def describe_missing_steps(share: float, step: TimeStep) -> str:
    """Return a description of the share of steps without a row."""
    return f"{'Over 99%' if share > 0.99 else f'{share:.0%}'} of the steps of {step} have no row"


def describe_counters(table: Measurements) -> str:
    """Return a description of modeled counters; "" if there are none."""
    names = find_counters(table)
    if not names:
        return ""
    verbs = "rises in every row, as a counter or elapsed time does, and is modelled as a value"
    if len(names) > 1:
        verbs = "rise in every row, as counters or elapsed time do, and are modelled as values"
    return f"{format_names([quote(name) for name in names])} {verbs}"


def describe_interleaved_series(table: Measurements) -> str:
    """Return a description of the columns that probably identify interleaved series; "" if there are none."""
    if not table.layout.woven:
        return ""
    names = " and ".join(map(quote, table.layout.woven[0]))
    return (
        f"Rows with one value of {names} follow one another far more evenly than all together, as where "
        "several series are mixed; tell them apart with --id-col"
    )


def describe_lost_precision(table: Measurements) -> str:
    """Return a description of the columns whose variation is too small for float32; "" if there are none.

    float32 has about seven digits, so variation below 1e-5 of the values is largely lost.
    """
    lost = []
    for name, column in zip(table.layout.values, table.values.T, strict=True):
        held = column[~np.isnan(column)]
        if not len(held):
            continue
        lowest, highest = float(held.min()), float(held.max())
        span, size = highest - lowest, max(abs(lowest), abs(highest))
        if 0 < span < 1e-5 * size:
            lost.append(f"{quote(name)} varies by {span:.2g} around {size:.7g}")
    if not lost:
        return ""
    return f"{format_names(lost)}, of which 32 bits lose digits; subtract the level from the values"


def collect_new_table_warnings(
    prepared: PreparedTable, scale: Scale | None = None, symbols: Sequence[str] = ()
) -> list[str]:
    """Return the warnings about a table to which a trained model is applied.

    Args:
        scale: scale of the run; None to omit warnings about values.
        symbols: names of the lines of its scale per series.
    """
    words = [
        describe_step_change(prepared),
        describe_missing_units(prepared.table),
        describe_missing_rows(prepared),
        describe_unknown_series(symbols, prepared.table.ids),
    ]
    # A range of 1 means that there is no scale.
    if scale is not None and scale.together.kind == "fixed" and not np.array_equal(scale.range[0], [1]):
        words.append(describe_range_change(prepared, scale, symbols))
    return [text for text in words if text]


def describe_step_change(prepared: PreparedTable) -> str:
    """Return a warning if rows are commonly further apart than the step of the run; "" otherwise."""
    step, own = prepared.grid.step, common_step(prepared.table)
    if not step.size or own.size < 1.5 * step.size:
        return ""
    return (
        f"The rows of {prepared.table.name} are {own} apart, and the run was trained on a row every {step}; give rows "
        f"every {step}, or a run trained with --freq {own}"
    )


def describe_missing_units(table: Measurements) -> str:
    """Return a description of the columns without a unit that had one in the run; "" if there are none."""
    unitless = table.layout.unitless
    if not unitless:
        return ""
    columns = [f"{format_heading(name)} (trained on {quote(unit)})" for name, unit in unitless.items()]
    return (
        f"The numbers of {format_names(columns)} have no unit in {table.name} and are taken for the same. Convert "
        "them if they are not"
    )


def describe_range_change(prepared: PreparedTable, scale: Scale, symbols: Sequence[str] = ()) -> str:
    """Return a description of the columns that are mostly far outside the training range; "" if there are none.

    By Chebyshev's inequality, at most 1/16 of any values lie four standard deviations from their mean, and none lie
    four ranges from their minimum.
    """
    far, table = [], prepared.table
    values = scale.levelled(table.values, find_scale_lines(symbols, table.ids)[table.series])
    for name, column, offset, width in zip(table.layout.values, values.T, scale.offset[0], scale.range[0], strict=True):
        held = column[~np.isnan(column)]
        if (
            len(held)
            and (share := float((np.abs(held - offset) > FAR_DEVIATIONS * width).mean())) > LARGE_MISSING_SHARE
        ):
            far.append(f"{quote(name)} in {share:.0%} of the rows")
    return (
        f"Far from what they were in the training part are {format_names(far)}; scores there say that "
        "alone. Train again on "
        "rows like these, or on the differences of values that keep rising"
        if far
        else ""
    )


def describe_missing_rows(prepared: PreparedTable) -> str:
    """Return a description of the missing rows and of the windows lost to gaps; "" if they are few."""
    grid, span = prepared.grid, prepared.window + prepared.horizon
    own = original_rows(grid)
    said, share = [], 1 - float(grid.known[own].mean())
    if share > LARGE_MISSING_SHARE:
        said.append(f"{share:.1%} of the steps of {grid.step} have no row; they are taken for missing")
    there = grid.valued & own
    runs, wholes = (np.unique(numbers[there], return_counts=True)[1] for numbers in (grid.segment, grid.series))
    windows, most = (int(np.maximum(lengths - span + 1, 0).sum()) for lengths in (runs, wholes))
    if most and (lost := 1 - windows / most) > LARGE_MISSING_SHARE:
        gaps = f"{format_count(len(runs) - len(wholes), 'gap')} of more than {format_count(prepared.max_gap, 'step')}"
        said.append(f"no window crosses {gaps}, which costs {lost:.1%} of the windows")
    return "; ".join(said)


def describe_unequal_scales(config: Reading, prepared: PreparedTable) -> str:
    """Return a warning if some series vary far less than all together but share their scale; "" otherwise."""
    grid, ids = prepared.grid, prepared.table.ids
    if len(ids) < 2 or config.scale not in ("standard", "minmax"):
        return ""
    rows = prepared.part == 0
    series = grid.series[rows]
    small: set[int] = set()
    apart = UNEQUAL_SCALE_RATIO if allows_scale_by_series(config, prepared.table) else UNKNOWN_SERIES_SCALE_RATIO
    worst, example = float(apart), ""
    for name, values in zip(prepared.table.layout.values, grid.values[rows].T.astype(np.float64), strict=True):
        held = ~np.isnan(values)
        if not held.any():
            continue
        values, of = values[held] - values[held].mean(), series[held]
        counts = np.maximum(np.bincount(of, minlength=len(ids)), 1)
        centre = np.bincount(of, values, len(ids)) / counts
        own = np.sqrt(np.bincount(of, np.square(values - centre[of]), len(ids)) / counts)
        together = float(values.std())
        # A constant series is not visible at any scale.
        times = np.divide(together, own, out=np.zeros(len(ids)), where=own > 1e-9 * together)
        small |= set(np.flatnonzero(times > apart).tolist())
        if times.max() > worst:
            worst, which = float(times.max()), int(times.argmax())
            example = (
                f"{format_heading(ids[which])} varies by {own[which]:.3g} in {format_heading(name)}, "
                f"all together by {together:.3g}"
            )
    if not small:
        return ""
    return (
        f"{len(small):,} of {len(ids):,} series are small beside the others and share one scale with them, so that "
        f"little is seen in them ({example}); "
        + (
            "train with --scale series"
            if allows_scale_by_series(config, prepared.table)
            else "train groups of like size apart, or with --scale window"
        )
    )


def allows_scale_by_series(config: Reading, table: Measurements) -> bool:
    """Return whether each series may have a scale of its own.

    It may not if whole series are held out, as for classification and a split by series.
    """
    classified = getattr(config, "task", "") == "classify" or not (
        config.forecasts or are_anomaly_labels(table.classes)
    )
    return config.split_by != "series" and not classified


def find_counters(table: Measurements) -> list[str]:
    """Return the columns that rise in every row of each series.

    They rise evenly, in proportion to time, or have the heading of a counter.
    """
    found = []
    for k, name in enumerate(table.layout.values):
        held = np.flatnonzero(~np.isnan(table.values[:, k]))
        first = run_starts(table.series[held])[1:]
        values = table.values[held, k].astype(np.float64)
        rise, rows, apart = (np.diff(numbers)[~first] for numbers in (values, held, table.times[held]))
        if len(rise) < MIN_COUNTER_ROWS - 1:
            continue
        # The rounding error of float32 is tolerated.
        loose = 2 * float(np.finfo(np.float32).eps) * float(np.abs(values).max())
        if (rise > 0).all() and (
            COUNTER_HEADING.fullmatch(name.strip())
            or np.ptp(rise / rows) <= 0.01 * (rise / rows).mean() + loose
            or ((apart > 0).all() and (abs(rise - apart * (rise.sum() / apart.sum())) <= 0.01 * rise + loose).all())
        ):
            found.append(name)
    return found


# Largest number of distinct words that may all represent missing values; more are probably text.
MAX_MISSING_WORDS = 20

# Largest share of rows too close to another for them to be treated as exceptions in a regular table.
MAX_STRAY_SHARE = 0.02


class Finding(NamedTuple):
    """Result of a check that the user should know.

    Args:
        text: one sentence.
        fatal: whether it must be fixed before training.
        fixes: options, by field of the configuration, that fix it; the best first.
    """

    text: str
    fatal: bool
    fixes: tuple[Mapping[str, Any], ...] = ()


class ColumnSummary(NamedTuple):
    """Statistics of a modeled column over the rows of the table; `missing` is the share of missing values."""

    name: str
    minimum: float
    mean: float
    maximum: float
    missing: float


def combine_fixes(config: Reading, findings: Sequence[Finding]) -> Mapping[str, Any]:
    """Return the best fix of each finding in one, without those that conflict with earlier ones."""
    fixes: list[Mapping[str, Any]] = []
    for finding in findings:
        more = [*fixes, *finding.fixes[:1]]
        with suppress(ConfigError):
            apply_fix(config, _merge_fixes(more))
            fixes = more
    return _merge_fixes(fixes)


def _merge_fixes(fixes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    merged = {name: value for fix in reversed(fixes) for name, value in fix.items()}
    if words := [word for fix in fixes for word in fix.get("missing", ())]:
        merged["missing"] = tuple(dict.fromkeys(words))
    lists = [set(fix["value_cols"]) for fix in fixes if "value_cols" in fix]
    if lists:
        taken = {*merged.get("id_col", ()), merged.get("label_col")}
        kept = [name for name in merged["value_cols"] if name not in taken and all(name in names for names in lists)]
        # If no column would be left, none of these fixes is applied.
        merged = (
            {**merged, "value_cols": tuple(kept)} if kept else {k: v for k, v in merged.items() if k != "value_cols"}
        )
    return merged


def apply_fix(config: Reading, fix: Mapping[str, Any]) -> Reading:
    """Return the configuration with these fields changed.

    Raises:
        ConfigError: if the changed configuration is not valid.
    """
    return type(config).from_dict({**config.to_dict(), **fix})


def format_options(values: Mapping[str, Any]) -> str:
    """Return the command-line options that set fields of the configuration, quoted for a shell."""
    repeated = {field.name for field in declared_options(Reading) if field.option.repeated}
    words = []
    for name, value in values.items():
        if isinstance(value, list | tuple):
            texts = [str(item) for item in value] if name in repeated else [_format_csv_line(value)]
        else:
            texts = [str(value)]
        # A value that begins with "-" needs an equals sign so that it is not parsed as an option.
        words += [f"{flag_name(name)}{'=' if text.startswith('-') else ' '}{shlex.quote(text)}" for text in texts]
    return " ".join(words)


def _format_csv_line(items: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(items)
    return text.getvalue()


def check_cells(table: Measurements, config: Reading) -> list[Finding]:
    """Return a finding for each kind of cells that are not numbers, with the distinct values."""
    values, found = set(table.layout.values), []
    key = lambda cells: (cells.column not in values, cells.problem.text)  # noqa: E731
    for _, group in itertools.groupby(sorted(table.bad, key=key), key):
        columns = list(group)
        first, words = min(columns, key=lambda cells: cells.row), collections.Counter[str]()
        for cells in columns:
            words.update(cells.words)
        problem, names = first.problem, {cells.column for cells in columns}
        told = [f"{quote(word)[:60]} ({format_count(times, 'cell')})" for word, times in words.most_common()]
        text = (
            f"{format_names(told)} in {format_names([quote(cells.column)[:60] for cells in columns])}, the "
            f"first in {table.place} "
            f"{first.row}: such a cell {problem.text}"
        )
        fixes: list[Mapping[str, Any]] = [{name: value} for name, value in problem.option.items()]
        if problem.word and len(words) <= MAX_MISSING_WORDS and names <= values:
            fixes.append({"missing": (*config.missing, *words)})
        if rest := tuple(name for name in table.layout.values if name not in names):
            fixes.append({"value_cols": rest})
        found.append(Finding(text if fixes else f"{text}. {problem.advice}", True, tuple(fixes)))
    return found


def check_duplicates(
    table: Measurements, step: TimeStep, clash: DuplicateTimes | None, config: Reading
) -> list[Finding]:
    """Return a finding if rows have the same time or share a grid position."""
    if clash is None:
        return []
    first, second = (f"{table.place} {table.lines[row]}" for row in (clash.first, clash.second))
    rows, when = format_count(clash.rows, "row"), describe_time(table, clash.second)
    if config.duplicates != "error":
        return [Finding(f"{rows} met others in time; of those {config.duplicates} was kept", False)]
    fixes: list[Mapping[str, Any]] = [{"id_col": ids} for ids in table.layout.apart[:2]]
    if table.layout.clocks:
        fixes = [{"clock_col": table.layout.clocks[0]}, *fixes]
    last: list[Mapping[str, Any]] = [{"duplicates": "mean"}]
    if clash.same_time:
        text = f"{rows} with the time of another: {first} and {second} are both at {when}"
        if repeats_autumn_hour(table, grid_slots(table, step)):
            # Two different hours must not be averaged, and only the user knows the time zone.
            last = []
            other = f", though not in {config.time_zone}" if config.time_zone else ""
            text += (
                f", in an hour that daylight saving repeats{other}: give --time-zone ZONE, the zone of these clocks, "
                "such as Europe/London or America/New_York"
            )
        fixes = [*_suggest_clock_columns(table), *fixes]
    else:
        text = f"{rows} too near for a step of {step}: {second} is only {step.resized(clash.apart)} after {first}"
        gap = np.diff(table.times)
        finer = step.resized(int(gap[(gap > 0) & ~run_starts(table.series)[1:]].min()))
        places = grid_slots(table, finer)
        last = last if missing_share(table, grid_slots(table, step)) <= MAX_MISSING_SHARE else []
        if find_duplicate_times(table, places) is None and missing_share(table, places) <= MAX_MISSING_SHARE:
            fixes.append({"freq": str(finer)})
        elif even_step(table) != step:
            fixes += suggest_time_fixes(table, step, config)
        if clash.rows <= MAX_STRAY_SHARE * len(table.times):
            fixes, last = [*last, *fixes], []
    return [Finding(text, True, (*fixes, *last))]


def suggest_time_fixes(table: Measurements, step: TimeStep, config: Reading) -> list[Mapping[str, Any]]:
    """Return options that read a table whose rows do not fit the step, the best first."""
    even = even_step(table)
    return [
        *([{"freq": str(even), "duplicates": _merge_rule(config)}] if even not in (None, step) else []),
        {"freq": "rows"},
    ]


def _suggest_clock_columns(table: Measurements) -> list[Mapping[str, Any]]:
    """Return fixes with number columns that may hold the hours of repeated dates."""
    if (table.times % UNITS["d"]).any() or not table.layout.dated or table.layout.clock:
        return []
    return [
        {"clock_col": name}
        for name, values in zip(table.layout.values, table.values.T, strict=True)
        if CLOCK_HEADING.fullmatch(name.strip())
        and ((values >= 0) & (values < 24) & (values == np.round(values))).all()
    ]


def check_windows(prepared: PreparedTable, windows: tuple[int, int, int], config: Reading) -> list[Finding]:
    """Return a finding if a required part holds no window."""
    wanted = [PARTS[place] for place in required_parts(config)]
    empty = [name for name, held in zip(wanted, windows, strict=False) if not held]
    if not empty:
        return []
    rows = [
        f"{format_count(int((prepared.part == place).sum()), 'row')} for {name}" for place, name in enumerate(wanted)
    ]
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
            changed = apply_fix(config, fix | {"window": window, "duplicates": _duplicate_rule(config)})
            found = prepare_for_any_task(changed, prepared.table)
            found = pad_segments(found, "segments") if changed.may_pad else found
            if all(cut_windows(found, changed)[place].samples for place in required_parts(config)):
                fixes.append(fix if window == config.window else fix | {"window": found.window})
                break
    return [Finding(text if fixes else f"{text}. More rows are needed, or another --split", True, tuple(fixes))]


def _duplicate_rule(config: Reading) -> str:
    return "first" if config.duplicates == "error" else config.duplicates


def check_times(table: Measurements, step: TimeStep, config: Reading) -> list[Finding]:
    """Return findings about the order of rows: equal times, unsorted rows, or interleaved series."""
    found, layout = [], table.layout
    if layout.time is not None and step == TimeStep() and config.step is None:
        fixes: list[Mapping[str, Any]] = [{"clock_col": name} for name in layout.clocks[:1]]
        fixes += [{"id_col": ids} for ids in layout.apart[:1]]
        of = " of a series" if len(table.ids) > 1 else ""
        text = f"No two rows{of} differ in time; they are taken as they follow, as with --freq rows"
        found.append(Finding(text, False, (*fixes, {"freq": "rows"})))
    if text := describe_interleaved_series(table):
        found.append(Finding(text, False, tuple({"id_col": ids} for ids in table.layout.woven[:2])))
    if table.unsorted:
        found.append(
            Finding(f"{format_count(table.unsorted, 'row')} stood after a later one; rows are sorted by time", False)
        )
    return found


def check_sparse_grid(table: Measurements, step: TimeStep, places: Int64Array, config: Reading) -> list[Finding]:
    """Return a finding, with other steps as fixes, if most steps have no row."""
    share = missing_share(table, places)
    if share <= MAX_MISSING_SHARE:
        return []
    return [Finding(describe_missing_steps(share, step), True, tuple(suggest_time_fixes(table, step, config)))]


def check_gaps(
    table: Measurements, step: TimeStep, gaps: Gaps, prepared: PreparedTable, config: Reading
) -> list[Finding]:
    """Return findings about missing rows and about gaps that no window crosses."""
    found = []
    share = gaps.rows / max(gaps.rows + len(table.lines), 1)
    # Common gaps, such as weekends, may be short enough to be crossed.
    crossed = any(gap <= prepared.max_gap for gap in common_gaps(table, grid_slots(table, step), 1))
    if share > LARGE_MISSING_SHARE:
        why = "; they are taken for missing" if crossed else ", as if rows had no regular step"
        fixes = () if crossed else tuple(suggest_time_fixes(table, step, config))
        found.append(Finding(describe_missing_steps(share, step) + why, False, fixes))
    if (crossed or share <= LARGE_MISSING_SHARE) and gaps.longest > prepared.max_gap:
        without = f", {format_count(gaps.empty, 'row')} without any value among them" if gaps.empty else ""
        text = (
            f"No window crosses {format_count(gaps.long, 'gap')} of more than "
            f"{format_count(prepared.max_gap, 'step')}{without}; the "
            f"longest is of {gaps.longest:,} after {describe_time(table, gaps.before)}"
        )
        fill: tuple[Mapping[str, Any], ...] = ({"max_gap": gaps.longest},) if gaps.longest <= prepared.window else ()
        found.append(Finding(text, False, fill))
    return found


def check_season_length(config: Reading, prepared: PreparedTable) -> list[Finding]:
    """Return a finding if a season is longer than the longest default window, with options for a window of a season."""
    usual, step = prepared.usual, prepared.grid.step
    if usual is None or usual.long is None:
        return []
    season, fixes = usual.long, []
    if wider := choose_coarser_step(step, season):
        fix: dict[str, Any] = {"freq": str(wider), "duplicates": _merge_rule(config)}
        steps = season * step.nanoseconds // wider.nanoseconds
        # Parts that hold only one season have a shorter default window, whatever the step.
        default = config.window is None and _window_after_fix(config, prepared.table, fix) >= steps
        fixes.append(fix if default else fix | {"window": steps})
    fixes = [fix for fix in (*fixes, {"window": season}) if _window_after_fix(config, prepared.table, fix)]
    rows = f" ({TimeStep(season * step.nanoseconds)})" if step.nanoseconds else ""
    text = (
        f"{usual.column or 'The values'} repeat{'s' * bool(usual.column)} after {season:,} steps{rows}, more than the "
        f"{MAX_DEFAULT_WINDOW} of a default window. "
    )
    if not fixes:
        text += "Not every part holds a window of one; give more rows, or another --split"
    else:
        text += f"Add {', or '.join(map(format_options, fixes))}"
    return [Finding(text, False, tuple(fixes[:1]))]


def _window_after_fix(config: Reading, table: Measurements, fix: Mapping[str, Any]) -> int:
    """Return the window length with a fix, or 0 if a required part would hold no window."""
    changed = apply_fix(config, {"duplicates": _duplicate_rule(config), **fix})
    found = prepare_for_any_task(changed, table)
    parts = cut_windows(found, changed)
    return found.window if all(parts[place].samples for place in required_parts(changed)) else 0


def _merge_rule(config: Reading) -> str:
    """Return the rule of `--duplicates` for rows that share a position at a coarser step."""
    return "mean" if config.duplicates == "error" else config.duplicates


def check_series(config: Reading, prepared: PreparedTable) -> list[Finding]:
    """Return a finding if series are too small for their common scale, or lack a scale of their own."""
    if unknown := describe_unknown_series(scale_line_names(config, prepared), prepared.table.ids):
        return [Finding(unknown, False)]
    text = describe_unequal_scales(config, prepared)
    fixes: tuple[Mapping[str, Any], ...] = (
        ({"scale": "series"},) if allows_scale_by_series(config, prepared.table) else ()
    )
    if fixes and not np.isnan(prepared.grid.values).any():
        fixes += ({"scale": "window"},)
    return [Finding(text, False, fixes)] if text else []


def check_columns(prepared: PreparedTable, features: tuple[ColumnSummary, ...], config: Reading) -> list[Finding]:
    """Return findings about constant, counting, incomplete, imprecise, label, and text columns."""
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
        text = f"{format_names([quote(name) for name in constant])}{digits} {verbs} nothing"
        found.append(Finding(text, False, without(constant)))
    if counters := find_counters(table):
        fixes = without(counters)
        if fixes and table.layout.time is None and TIME_HEADING.search(counters[0]):
            fixes += ({"time_col": counters[0], "time_unit": "s"},)
        found.append(Finding(describe_counters(table), False, fixes))
    rare = [feature for feature in features if feature.missing > LARGE_MISSING_SHARE]
    if rare:
        shares = [f"{quote(feature.name)} ({feature.missing:.0%})" for feature in rare]
        text = f"Values are missing in many rows of {format_names(shares)}"
        if len(rare) == 1:
            text = f"{quote(rare[0].name)} is missing in {rare[0].missing:.0%} of the rows"
        found.append(Finding(text, False, without([feature.name for feature in rare])))
    if text := describe_lost_precision(table):
        found.append(Finding(text, False))
    if text := describe_totals(table, counters):
        found.append(Finding(text, False))
    if text := describe_sentinels(table):
        found.append(Finding(text, False, ({"missing": (*config.missing, *list_sentinels(find_sentinels(table)))},)))
    if text := describe_label_columns(config, table):
        names = list(find_label_columns(config, table))
        fixes = without(names)
        if table.layout.label is None:
            others_too = fixes[0] if fixes and len(names) > 1 else {}
            fixes = ({"label_col": names[0], **others_too}, *fixes)
        found.append(Finding(text, False, fixes))
    if text := describe_constants(prepared, find_label_columns(config, table)):
        found.append(Finding(text, False))
    if odd := [name for name in table.classes if name.lower() in MISSING_WORDS]:
        verbs = "is a class" if len(odd) == 1 else "are classes"
        text = (
            f"{format_names([quote(name) for name in odd])} {verbs}; where that stands for no label, "
            "name it with --missing"
        )
        found.append(Finding(text, False, ({"missing": (*config.missing, *odd)},)))
    if not (config.forecasts or are_anomaly_labels(table.classes)):
        text = (
            f"{quote(table.layout.label)} holds classes for --task classify; to find anomalies it must hold 0 and 1, 1 "
            "for a row known to be one, or be left out"
        )
        found.append(Finding(text, False))
    if text := describe_excluded_columns(config, table):
        found.append(Finding(text, False))
    return found


class TableInspection(NamedTuple):
    """Content of a table and the findings about it.

    Args:
        table: the table as read.
        step, gaps, clash: time step, gaps, and duplicate times.
        features: statistics of the columns to model.
        others: kind of each of the other columns.
        prepared: the table on its grid and divided.
        windows: number of windows in each of `PARTS`.
        findings: findings, fatal ones first.
    """

    table: Measurements
    step: TimeStep
    gaps: Gaps
    clash: DuplicateTimes | None
    features: tuple[ColumnSummary, ...]
    others: Mapping[str, str]
    prepared: PreparedTable
    windows: tuple[int, int, int]
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """True if a model can be trained on the table as it is."""
        return not any(finding.fatal for finding in self.findings)


def inspect_table(config: Reading, progress: Progress | None = None) -> TableInspection:
    """Read a table and return its content and all findings.

    Raises:
        ConfigError, DataError: if the table cannot be inspected, as in `read_measurements` and `prepare_table`.
    """
    table = read_measurements(config, progress, lenient=True)
    step = config.step or common_step(table)
    places = grid_slots(table, step, follow=config.duplicates == "error")
    clash = find_duplicate_times(table, places)
    # The inspection continues in spite of duplicates, to report other problems as well.
    lenient = config if clash is None or config.duplicates != "error" else apply_fix(config, {"duplicates": "first"})
    prepared = prepare_for_any_task(lenient, table)
    filled = pad_segments(prepared, "segments") if config.may_pad else prepared
    train, validation, test = cut_windows(filled, config)
    windows = (train.samples, validation.samples, test.samples)
    features = _summarize_columns(table)
    gaps = find_gaps(table, places, prepared.max_gap)
    layout = table.layout
    roles = {layout.time, layout.clock, *layout.ids, layout.label, *layout.values}
    others = {name: layout.kinds[name] for name in layout.names if name not in roles}
    # If another step is advised, gaps and windows at this step are not informative.
    near = clash is not None and not clash.same_time and config.duplicates == "error"
    uneven = check_sparse_grid(table, step, places, config)
    findings = [
        *check_cells(table, config),
        *check_duplicates(table, step, clash, config),
        *(uneven if not near else []),
        *([] if uneven else check_windows(prepared, windows, config)),
        *check_times(table, step, config),
        *([] if near or uneven else check_gaps(table, step, gaps, prepared, config)),
        *check_season_length(config, prepared),
        *check_columns(prepared, features, config),
        *check_series(config, prepared),
    ]
    findings.sort(key=lambda finding: not finding.fatal)
    return TableInspection(table, step, gaps, clash, features, others, prepared, windows, tuple(findings))


def _summarize_columns(table: Measurements) -> tuple[ColumnSummary, ...]:
    found = []
    for k, name in enumerate(table.layout.values):
        values = table.values[:, k]
        missing = float(np.isnan(values).mean())
        mean = float(np.nanmean(values, dtype=np.float64))
        found.append(ColumnSummary(name, float(np.nanmin(values)), mean, float(np.nanmax(values)), missing))
    return tuple(found)
