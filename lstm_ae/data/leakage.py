"""Leakage: columns that hold what another column is only one step later.

A model that reads such a column forecasts almost perfectly, and worthlessly. Each column is predicted one step ahead
from its own past, and from that and one value of another column. Where only the latter is nearly right, the other
column probably contains the future.

Where one value of the other column tells all by itself, the values do not show which column is the odd one: a feature
that repeats the other column later, an outlet behind its inlet, and a value behind its setpoint look like a column that
was shifted into the past. The former are far more common in tables, so such a pair is a lag and no leak there.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.windows import Data, Split
from lstm_ae.formatting import format_count, format_names, format_skill

Numbers = NDArray[Any]

# An error is almost none if it is at most this share of what a column's own past, and its last value, leave.
MAX_LEAK_ERROR = 0.1
# Steps of the past that are looked at, windows that are fitted and judged on, and columns that are compared.
MAX_STEPS, MAX_WINDOWS, MAX_COLUMNS = 10, 1_000, 500
# Past values of all columns together, at most: of many columns fewer steps are looked at.
MAX_PAST_VALUES = 500
# Windows that a fit needs, and that it is judged on, at least.
MIN_FIT_WINDOWS, MIN_TEST_WINDOWS = 30, 10
# Findings that are described.
MAX_DESCRIBED_LEAKS = 3


class Leak(NamedTuple):
    """A column that probably contains the future of another.

    Args:
        source, target: numbers of the two columns.
        skill: over the last value, of the regression on the target's own past and one value of the source.
        own: of that on the target's own past alone.
        lag: steps that the target follows the source, where one value of the source alone tells it almost perfectly; 0
            where it takes the target's own past as well. At least 1, also of a column that is known one row ahead.
    """

    source: int
    target: int
    skill: float
    own: float
    lag: int = 0


def find_leaks(data: Data, given: int, *, targets: int | None = None, known: int | None = None) -> list[Leak]:
    """Find columns that tell another one's next value almost perfectly, where its own past does not.

    The regressions are fitted on the training split and judged on validation and test.

    Args:
        given: steps of a window; the next one is what is predicted.
        targets: only the first so many columns are forecast; None for all.
        known: the column whose next value is known as well, such as the open of the day to forecast.

    Returns:
        One leak a target at most, the most nearly perfect first.
    """
    steps = max(min(MAX_STEPS, given, MAX_PAST_VALUES // data.train.features), 1)
    fitted = _sample_rows([data.train], given, steps, known)
    judged = _sample_rows([data.validation, data.test], given, steps, known)
    columns = fitted.following.shape[1]
    if len(fitted.following) < MIN_FIT_WINDOWS or len(judged.following) < MIN_TEST_WINDOWS or columns == 1:
        return []
    candidates = fitted.past.reshape(len(fitted.past), -1)
    candidates = candidates - candidates.mean(axis=0)
    found = [_find_leak(fitted, judged, candidates, target) for target in range(min(columns, targets or columns))]
    return sorted((leak for leak in found if leak), key=lambda leak: -leak.skill)


def describe_leaks(leaks: Sequence[Leak], names: Sequence[str]) -> str:
    """Describe leaks for people, by the names of the columns; "" where there is none."""
    said = [
        f"{names[leak.source]} probably contains the future: one step ahead, {names[leak.target]} follows from it "
        f"almost perfectly (skill {format_skill(leak.skill)}; from its own past {format_skill(leak.own)})"
        for leak in leaks[:MAX_DESCRIBED_LEAKS]
    ]
    if not said:
        return ""
    more = f", and {len(leaks) - MAX_DESCRIBED_LEAKS} columns more" if len(leaks) > MAX_DESCRIBED_LEAKS else ""
    sources = list(dict.fromkeys(names[leak.source] for leak in leaks[:MAX_DESCRIBED_LEAKS]))
    return f"{'; '.join(said)}{more}. Leave {' and '.join(sources)} out unless known at that time"


def describe_lags(lags: Sequence[Leak], names: Sequence[str]) -> str:
    """Describe columns that follow others with a lag, by the names of the columns; "" where there is none."""
    said = [
        f"{names[lag.target]} follows {names[lag.source]} {format_count(lag.lag, 'step')} later (skill "
        f"{format_skill(lag.skill)}; from its own past {format_skill(lag.own)})"
        for lag in lags[:MAX_DESCRIBED_LEAKS]
    ]
    if not said:
        return ""
    more = f", and {len(lags) - MAX_DESCRIBED_LEAKS} columns more" if len(lags) > MAX_DESCRIBED_LEAKS else ""
    targets = format_names([names[lag.target] for lag in lags[:MAX_DESCRIBED_LEAKS]])
    sources = list(dict.fromkeys(names[lag.source] for lag in lags[:MAX_DESCRIBED_LEAKS]))
    return (
        f"{'; '.join(said)}{more}. Forecasts of {targets} are easy and raise the skill over all columns; see the skill "
        f"by column, and check that {format_names(sources)} {'is' if len(sources) == 1 else 'are'} known at that time"
    )


class _LeakSamples(NamedTuple):
    """Rows to predict, and what came before them.

    Args:
        past: `(rows, 1 + steps, columns)`, the last step first; before it the row itself, of the column that is known,
            and of others the last value again. A missing value is the one before it, or 0.
        whole: `(rows, columns)`, whether nothing is missing then.
        following: `(rows, columns)`, NaN where missing.
    """

    past: Numbers
    whole: NDArray[np.bool_]
    following: Numbers


def _sample_rows(splits: Sequence[Split], given: int, steps: int, known: int | None) -> _LeakSamples:
    """Samples spread evenly over some splits."""
    pieces = []
    for split in splits:
        index = np.unique(np.linspace(0, max(split.samples - 1, 0), MAX_WINDOWS // len(splits)).astype(np.int64))
        rows = split.starts[index[: split.samples]] + given
        past = split.series[rows[:, None] - np.arange(steps + 1), :MAX_COLUMNS].astype(np.float64)
        following = past[:, 0].copy()
        past[:, 0, np.arange(past.shape[2]) != (-1 if known is None else known)] = np.nan
        for step in range(steps - 1, -1, -1):
            past[:, step] = np.where(np.isnan(past[:, step]), past[:, step + 1], past[:, step])
        whole = np.all(~np.isnan(past), axis=1)
        pieces.append(_LeakSamples(np.nan_to_num(past), whole, following))
    return _LeakSamples(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))


def _find_leak(fitted: _LeakSamples, judged: _LeakSamples, candidates: Numbers, target: int) -> Leak | None:
    """The leak into a column, if there is one.

    Args:
        candidates: `(rows, (1 + steps) * columns)`, the past of all columns without its means.
    """
    usable, usable_judged = (each.whole[:, target] & ~np.isnan(each.following[:, target]) for each in (fitted, judged))
    if usable.sum() < MIN_FIT_WINDOWS or usable_judged.sum() < MIN_TEST_WINDOWS:
        return None
    columns = fitted.following.shape[1]
    known = candidates if usable.all() else candidates[usable]
    best = _choose_candidate(
        _own_past_features(fitted, target)[usable], fitted.following[usable, target], known, target, columns
    )
    if best is None:
        return None
    step, source = divmod(best, columns)
    came = judged.following[usable_judged, target]

    def error(past: int, further: tuple[int, ...]) -> float:
        """Of the regression on so many of the columns of `_own_past_features`, and on further columns."""
        design, design_judged = (
            np.c_[_own_past_features(each, target)[:, :past], each.past[:, step, further]] for each in (fitted, judged)
        )
        weights = np.linalg.lstsq(design[usable], fitted.following[usable, target], rcond=None)[0]
        return float(np.mean((design_judged[usable_judged] @ weights - came) ** 2))

    steps = fitted.past.shape[1]
    before, after = error(steps, ()), error(steps, (source,))
    still = float(np.mean((judged.past[usable_judged, 1, target] - came) ** 2))
    # Nothing is forecast of a column that stands still.
    if still == 0 or after > MAX_LEAK_ERROR * min(before, still):
        return None
    alone = error(1, (source,)) <= MAX_LEAK_ERROR * min(before, still)
    return Leak(source, target, 1 - after / still, 1 - before / still, max(step, 1) if alone else 0)


def _own_past_features(samples: _LeakSamples, target: int) -> Numbers:
    """A constant, the last value of a column, and what the values before differ from it."""
    values = samples.past[:, 1:, target]
    own: Numbers = np.c_[np.ones(len(values)), values[:, :1], values[:, 1:] - values[:, :1]]
    return own


def _choose_candidate(own: Numbers, following: Numbers, candidates: Numbers, target: int, columns: int) -> int | None:
    """The candidate of another column that explains most of what a column's own past leaves.

    None where none explains nearly all.
    """
    # Scaled, so that what rounding leaves is told from what is there.
    basis = np.linalg.qr(own / np.maximum(abs(own).max(axis=0), 1e-300))[0]
    centered = following - following.mean()
    left = centered - basis @ (basis.T @ centered)
    squares = np.einsum("ij,ij->j", candidates, candidates)
    rest = squares - np.square(basis.T @ candidates).sum(axis=0)
    # Single precision holds no more of a value, so what is left is rounding.
    real = rest > 1e-10 * squares
    real[target::columns] = False
    if not left @ left > 1e-10 * (centered @ centered):
        return None
    explained = np.zeros(len(rest))
    np.divide(np.square(left @ candidates), (left @ left) * rest, out=explained, where=real)
    best = int(explained.argmax())
    return best if explained[best] >= 1 - MAX_LEAK_ERROR else None
