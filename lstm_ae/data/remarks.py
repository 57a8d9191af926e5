"""What is worth a word about a table that can be used: missing rows, series that share a scale, columns that count."""

import re
from collections.abc import Sequence

import numpy as np

from lstm_ae.config import Reading
from lstm_ae.config.reading import Step
from lstm_ae.data.cadence import common_step, starts_of
from lstm_ae.data.flags import are_flags
from lstm_ae.data.levels import of_unknown_series
from lstm_ae.data.measurements import Measurements
from lstm_ae.data.padding import own_rows
from lstm_ae.data.scales import lines_of
from lstm_ae.data.scaling import Scale
from lstm_ae.data.season import LONGEST, coarser
from lstm_ae.data.series import Prepared, names_of
from lstm_ae.data.suspects import marks, of_constants, of_marks, of_sentinels, of_totals
from lstm_ae.data.windows import Data
from lstm_ae.words import count, heading, listed, shown

# What remarks are about, as the notes of a training begin.
ABOUT = (
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
# The share of missing rows or values that is worth a word.
MANY = 0.2
# How many deviations, or ranges, a value lies from those of the training part to be far.
FAR = 4
# How many times less a series varies than all together until it is hardly seen beside them, and until that is told of
# where no series may have a scale of its own.
APART, HELD_OUT = 3, 10
# Headings of columns that count, whose values rise in every row if not by as much.
COUNTERS = re.compile(
    r"((row|line|record|sample|reading|scan|seq(uence)?|step|obs(ervation)?)?[ _-]*"
    r"(id|index|idx|no\.?|nr\.?|num(ber)?|#)|counter)"
    r"|(t|time([ _-]?step)?|elapsed([ _-]?time)?|uptime|seconds)([ _-]*(s|sec|seconds|ms|min|h)|\s*[\[(].*[\])])?",
    re.IGNORECASE,
)
# Rows that tell a counter from values that rise by chance.
ENOUGH = 10


def remarks(config: Reading, prepared: Prepared) -> dict[str, str]:
    """About a table to train on, by what they are about."""
    table = prepared.table
    said = (
        filled(prepared),
        of_long_season(prepared),
        of_unlike_size(config, prepared) or of_unknown_series(names_of(config, prepared), table.ids),
        of_counters(table),
        of_lost_digits(table),
        of_totals(table, counting(table)),
        of_sentinels(table),
        of_marks(config, table),
        of_constants(prepared, marks(config, table)),
        of_woven(table),
        of_left_out(config, table),
    )
    return {name: words for name, words in zip(ABOUT, said, strict=True) if words}


def looking_ahead(data: Data, window: int) -> str:
    """That training holds what comes later than forecasts of the test part; "" where it does not.

    Series that are divided each in its own time do not end their training at one time.

    Args:
        window: steps before a forecast.
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
        f"{early:,} of {count(test.samples, 'test window')} {verb} what is earlier than training rows of other series; "
        "series backtest divides all series at the same times"
    )


def of_long_season(prepared: Prepared) -> str:
    """Return the season that no default window holds and what to do about it; "" where there is none."""
    usual = prepared.usual
    if usual is None or usual.long is None:
        return ""
    length, rows, step = usual.long, "", prepared.grid.step
    if step.nanoseconds:
        rows = f" ({Step(length * step.nanoseconds)})"
    wider = coarser(step, length)
    return (
        f"{usual.column or 'The values'} repeat{'s' * bool(usual.column)} after {length:,} steps{rows}, more than the "
        f"{LONGEST} of a default window. "
        + (f"Aggregate with --freq {wider} --duplicates mean, or give" if wider else "Give")
        + f" --window {length}"
    )


def of_left_out(config: Reading, table: Measurements) -> str:
    """Return which columns are left out as they are not of numbers, and why; "" where none is, or values are named."""
    layout = table.layout
    roles = {layout.time, layout.clock, *layout.ids, layout.label, *layout.values}
    names: dict[str, list[str]] = {}
    for name, reason in {} if config.value_cols else layout.texts.items():
        if name not in roles:
            names.setdefault(reason, []).append(shown(name))
    told = [
        f"{listed(columns)} {reason if len(columns) == 1 else reason.replace('holds', 'hold', 1)} and "
        f"{'is' if len(columns) == 1 else 'are'} left out"
        for reason, columns in names.items()
    ]
    return "; ".join(told[:10]) + (f"; and others in {len(told) - 10} more ways" if len(told) > 10 else "")


def of_missing_steps(share: float, step: Step) -> str:
    """Return which share of the steps has no row."""
    return f"{'Over 99%' if share > 0.99 else f'{share:.0%}'} of the steps of {step} have no row"


def of_counters(table: Measurements) -> str:
    """Which columns count, and are modelled as values; "" where none does."""
    names = counting(table)
    if not names:
        return ""
    verbs = "rises in every row, as a counter or elapsed time does, and is modelled as a value"
    if len(names) > 1:
        verbs = "rise in every row, as counters or elapsed time do, and are modelled as values"
    return f"{listed([shown(name) for name in names])} {verbs}"


def of_woven(table: Measurements) -> str:
    """Which column tells series apart whose rows alternate in time, though they are taken for one; "" where none."""
    if not table.layout.woven:
        return ""
    names = " and ".join(map(shown, table.layout.woven[0]))
    return (
        f"Rows with one value of {names} follow one another far more evenly than all together, as where "
        "several series are mixed; tell them apart with --id-col"
    )


def of_lost_digits(table: Measurements) -> str:
    """Return which columns vary so little for their size that 32 bits, of about seven digits, do not hold how; "" where
    none does."""
    lost = []
    for name, column in zip(table.layout.values, table.values.T, strict=True):
        held = column[~np.isnan(column)]
        if not len(held):
            continue
        lowest, highest = float(held.min()), float(held.max())
        span, size = highest - lowest, max(abs(lowest), abs(highest))
        if 0 < span < 1e-5 * size:
            lost.append(f"{shown(name)} varies by {span:.2g} around {size:.7g}")
    if not lost:
        return ""
    return f"{listed(lost)}, of which 32 bits lose digits; subtract the level from the values"


def of_another(prepared: Prepared, scale: Scale | None = None, symbols: Sequence[str] = ()) -> list[str]:
    """About a table that comes after the one that a run was trained on.

    Args:
        scale: what its values had; None tells nothing of values.
        symbols: names of its series that had a scale of their own.
    """
    words = [of_another_step(prepared), filled(prepared), of_unknown_series(symbols, prepared.table.ids)]
    if scale is not None and scale.together.kind == "fixed" and not np.array_equal(scale.range[0], [1]):  # of no scale
        words.append(of_another_range(prepared, scale, symbols))
    return [text for text in words if text]


def of_another_step(prepared: Prepared) -> str:
    """Whether rows are commonly further apart than on the grid; "" where they are not."""
    step, own = prepared.grid.step, common_step(prepared.table)
    if not step.size or own.size < 1.5 * step.size:
        return ""
    return (
        f"The rows of {prepared.table.name} are {own} apart, and the run was trained on a row every {step}; give rows "
        f"every {step}, or a run trained with --freq {own}"
    )


def of_another_range(prepared: Prepared, scale: Scale, symbols: Sequence[str] = ()) -> str:
    """Which columns are mostly beyond what a training can have seen much of; "" where none is.

    No more than a sixteenth of any numbers lies four deviations from their mean, and none that many ranges.
    """
    far, table = [], prepared.table
    values = scale.levelled(table.values, lines_of(symbols, table.ids)[table.series])
    for name, column, offset, width in zip(table.layout.values, values.T, scale.offset[0], scale.range[0], strict=True):
        held = column[~np.isnan(column)]
        if len(held) and (share := float((np.abs(held - offset) > FAR * width).mean())) > MANY:
            far.append(f"{shown(name)} in {share:.0%} of the rows")
    return (
        f"Far from what they were in the training part are {listed(far)}; scores there say that alone. Train again on "
        "rows like these, or on the differences of values that keep rising"
        if far
        else ""
    )


def filled(prepared: Prepared) -> str:
    """How many rows of the grid the table does not have, and windows that gaps cost; "" where they are not many."""
    grid, span = prepared.grid, prepared.window + prepared.horizon
    own = own_rows(grid)
    said, share = [], 1 - float(grid.known[own].mean())
    if share > MANY:
        said.append(f"{share:.1%} of the steps of {grid.step} have no row; they are taken for missing")
    there = grid.valued & own
    runs, wholes = (np.unique(numbers[there], return_counts=True)[1] for numbers in (grid.segment, grid.series))
    windows, most = (int(np.maximum(lengths - span + 1, 0).sum()) for lengths in (runs, wholes))
    if most and (lost := 1 - windows / most) > MANY:
        gaps = f"{count(len(runs) - len(wholes), 'gap')} of more than {count(prepared.max_gap, 'step')}"
        said.append(f"no window crosses {gaps}, which costs {lost:.1%} of the windows")
    return "; ".join(said)


def of_unlike_size(config: Reading, prepared: Prepared) -> str:
    """Whether some series vary far less than all together, whose scale they share; "" where none does."""
    grid, ids = prepared.grid, prepared.table.ids
    if len(ids) < 2 or config.scale not in ("standard", "minmax"):
        return ""
    rows = prepared.part == 0
    series = grid.series[rows]
    small: set[int] = set()
    apart = APART if may_scale_each(config, prepared.table) else HELD_OUT
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
        # One that never varies is small at any scale.
        times = np.divide(together, own, out=np.zeros(len(ids)), where=own > 1e-9 * together)
        small |= set(np.flatnonzero(times > apart).tolist())
        if times.max() > worst:
            worst, which = float(times.max()), int(times.argmax())
            example = (
                f"{heading(ids[which])} varies by {own[which]:.3g} in {heading(name)}, all together by {together:.3g}"
            )
    if not small:
        return ""
    return (
        f"{len(small):,} of {len(ids):,} series are small beside the others and share one scale with them, so that "
        f"little is seen in them ({example}); "
        + (
            "train with --scale series"
            if may_scale_each(config, prepared.table)
            else "train groups of like size apart, or with --scale window"
        )
    )


def may_scale_each(config: Reading, table: Measurements) -> bool:
    """Whether each series may have a scale; of those that are classified or divided as wholes, some are held out."""
    classified = getattr(config, "task", "") == "classify" or not (config.forecasts or are_flags(table.classes))
    return config.split_by != "series" and not classified


def counting(table: Measurements) -> list[str]:
    """The columns of values that rise in every row of each series: evenly, or in time, or as their heading says."""
    found = []
    for k, name in enumerate(table.layout.values):
        held = np.flatnonzero(~np.isnan(table.values[:, k]))
        first = starts_of(table.series[held])[1:]
        values = table.values[held, k].astype(np.float64)
        rise, rows, apart = (np.diff(numbers)[~first] for numbers in (values, held, table.times[held]))
        if len(rise) < ENOUGH - 1:
            continue
        # What 32 bits leave of a value is no better.
        loose = 2 * float(np.finfo(np.float32).eps) * float(np.abs(values).max())
        if (rise > 0).all() and (
            COUNTERS.fullmatch(name.strip())
            or np.ptp(rise / rows) <= 0.01 * (rise / rows).mean() + loose
            or ((apart > 0).all() and (abs(rise - apart * (rise.sum() / apart.sum())) <= 0.01 * rise + loose).all())
        ):
            found.append(name)
    return found
