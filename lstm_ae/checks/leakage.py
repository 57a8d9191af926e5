"""Detect leakage: columns that contain the next value of another column.

A model that reads such a column has a forecast that is almost perfect but useless in practice. For each column, two
regressions predict the next value: one on the column's own past, and one on that past and a single value of another
column. If only the second is nearly exact, the other column probably contains the future.

If one value of the other column is sufficient by itself, the values do not show which of the two columns was shifted. A
feature that repeats another column later, an outlet behind its inlet, and a value behind its setpoint look the same as
a column shifted into the past. The former are far more common in tables, where such a pair is no leak.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray
from lstm_ae.data.windows import Data, Split, evenly_spaced
from lstm_ae.formatting import format_skill

# Largest error of a leak, as a share of the smaller of the errors of the own-past regression and of persistence.
MAX_LEAK_ERROR = 0.1
# Largest number of past steps to read, of windows to fit or evaluate on, and of columns to compare.
MAX_STEPS, MAX_WINDOWS, MAX_COLUMNS = 10, 1_000, 500
# Largest number of past values of all columns together; tables with many columns use fewer steps.
MAX_PAST_VALUES = 500
# Smallest number of windows to fit on and of windows to evaluate on.
MIN_FIT_WINDOWS, MIN_TEST_WINDOWS = 30, 10


class Leak(NamedTuple):
    """Column that probably contains the future of another column.

    Args:
        source, target: indices of the two columns.
        skill: skill over persistence of the regression on the target's own past and one value of the source.
        own_skill: skill over persistence of the regression on the target's own past alone.
    """

    source: int
    target: int
    skill: float
    own_skill: float


def find_leaks(
    data: Data,
    window: int,
    *,
    targets: int | None = None,
    columns: int | None = None,
    copies: bool = True,
) -> list[Leak]:
    """Find columns that predict another column's next value almost perfectly although its own past does not.

    The regressions are fitted on the training split and evaluated on the validation and test splits.

    Args:
        window: steps of a window; the step after them is predicted.
        targets: number of leading columns that are forecast; None for all.
        columns: number of leading columns that may contain the future; None for all.
        copies: whether a column is a leak if one of its values is sufficient by itself.

    Returns:
        At most one leak per target, sorted by skill in descending order.
    """
    steps = max(min(MAX_STEPS, window, MAX_PAST_VALUES // data.train.features), 1)
    width = min(MAX_COLUMNS, columns or MAX_COLUMNS)
    train = _sample_rows([data.train], window, steps, width)
    test = _sample_rows([data.validation, data.test], window, steps, width)
    number = train.following.shape[1]
    if number == 1:
        return []
    leaks = [_find_leak(train, test, target, copies=copies) for target in range(min(number, targets or number))]
    return sorted((leak for leak in leaks if leak), key=lambda leak: -leak.skill)


def describe_leaks(leaks: Sequence[Leak], names: Sequence[str]) -> str:
    """Return a description of the clearest leak that names the columns, or "" if there are none."""
    if not leaks:
        return ""
    leak = leaks[0]
    more = f", and {len(leaks) - 1} more columns" if len(leaks) > 1 else ""
    return (
        f"{names[leak.source]} probably contains the future: one step ahead, {names[leak.target]} follows from it "
        f"almost perfectly (skill {format_skill(leak.skill)}; from its own past {format_skill(leak.own_skill)}){more}. "
        f"Leave {names[leak.source]} out unless it is known at that time"
    )


class _LeakSamples(NamedTuple):
    """Rows to predict and the values before them.

    Args:
        past: `(rows, steps, columns)` float64, the most recent step first. A missing value is replaced by the value
            before it, or by 0 if there is none.
        complete: `(rows, columns)` bool, True where `past` needed no 0 as a replacement.
        following: `(rows, columns)` values of the rows to predict, NaN where missing.
    """

    past: Array
    complete: BoolArray
    following: Array

    def keep(self, rows: BoolArray) -> "_LeakSamples":
        """Return the samples of a mask."""
        return _LeakSamples(*(values[rows] for values in self))


def _sample_rows(splits: Sequence[Split], window: int, steps: int, width: int) -> _LeakSamples:
    """Return samples of the first `width` columns that are spread evenly over the splits."""
    pieces = []
    for split in splits:
        rows = split.starts[evenly_spaced(split.samples, MAX_WINDOWS // len(splits))] + window
        values = split.series[rows[:, None] - np.arange(steps + 1), :width].astype(np.float64)
        following, past = values[:, 0], values[:, 1:]
        for step in range(steps - 2, -1, -1):
            past[:, step] = np.where(np.isnan(past[:, step]), past[:, step + 1], past[:, step])
        complete = np.all(~np.isnan(past), axis=1)
        pieces.append(_LeakSamples(np.nan_to_num(past), complete, following))
    return _LeakSamples(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))


def _find_leak(train: _LeakSamples, test: _LeakSamples, target: int, *, copies: bool) -> Leak | None:
    """Return the leak into a target column, or None if there is none."""
    from sklearn.linear_model import LinearRegression

    train, test = (each.keep(each.complete[:, target] & ~np.isnan(each.following[:, target])) for each in (train, test))
    if len(train.past) < MIN_FIT_WINDOWS or len(test.past) < MIN_TEST_WINDOWS:
        return None
    own, following = train.past[..., target], train.following[:, target]
    candidates = train.past.reshape(len(own), -1)
    both = np.c_[following, candidates] - np.r_[following.mean(), candidates.mean(axis=0)]
    # Parts of the target and the candidates that the own past does not explain. Tiny ones are float32 rounding errors.
    residuals = both - LinearRegression().fit(own, both).predict(own)
    squares, unexplained = (np.einsum("ij,ij->j", values, values) for values in (both, residuals))
    real = unexplained > 1e-10 * squares
    if not real[0]:
        return None
    real[1 + target :: train.past.shape[2]] = False
    explained = np.zeros(len(unexplained))
    np.divide(np.square(residuals[:, 0] @ residuals), unexplained[0] * unexplained, out=explained, where=real)
    best = int(explained[1:].argmax())
    if explained[1:][best] < 1 - MAX_LEAK_ERROR:
        return None
    step, source = divmod(best, train.past.shape[2])

    def error(steps: int, further: tuple[int, ...]) -> float:
        """Return the mean squared test error from the last steps of the own past and from columns at the step."""
        design, design_test = (
            np.c_[each.past[:, :steps, target], each.past[:, step, further]] for each in (train, test)
        )
        predicted = LinearRegression().fit(design, following).predict(design_test)
        return float(np.mean((predicted - test.following[:, target]) ** 2))

    own_error, leak_error = error(own.shape[1], ()), error(own.shape[1], (source,))
    persistence = float(np.mean((test.past[:, 0, target] - test.following[:, target]) ** 2))
    limit = MAX_LEAK_ERROR * min(own_error, persistence)
    # A constant target cannot be forecast better than by persistence.
    if persistence == 0 or leak_error > limit or (not copies and error(0, (source,)) <= limit):
        return None
    return Leak(source, target, 1 - leak_error / persistence, 1 - own_error / persistence)
