"""What a forecast of anyone's own table has to beat: its last value, its last season, and a linear regression.

All work on scaled windows `(samples, steps, features)` with NaN where a value is missing, and say every step of a
horizon, `(samples, horizon, features)`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.cadence import starts_of
from lstm_ae.data.windows import Data, Split, joined

Numbers = NDArray[Any]

# Windows that are fitted and chosen on, spread evenly over their part, and the values that these may hold.
FITTED, CHOSEN, VALUES = 20_000, 2_000, 20_000_000
# Values that may be compared to find a season.
COMPARED = 1_000_000_000
# The last steps of a window that the regression reads, at most.
READ = 1024
# Penalties of the regression, in multiples of its windows; the one with the smallest error on validation is taken.
PENALTIES = (1e-6, 1e-4, 1e-2, 1e-1)
# A season saves so much of the error of the last value, or it is none; and of that of any season whose multiple it is,
# or it is that one.
GAIN = 0.02


class Seasonal(NamedTuple):
    """Fitted predictors.

    Args:
        seasons: of each feature, steps after which its values repeat; None where the last value says as much.
        weights: `(last steps, horizon)` of the regression, one for all features, of values relative to the last
            known one; None without a regression.
        bias: `(horizon,)`.
    """

    seasons: tuple[int | None, ...]
    weights: Numbers | None
    bias: Numbers

    def said(self, past: Numbers) -> dict[str, Numbers]:
        """The forecast of each predictor by name, the one to beat first."""
        horizon = len(self.bias)
        found = {"persistence": persistence(past, horizon)}
        if any(self.seasons):
            found = {name_of(self.seasons): seasonal(past, horizon, self.seasons)} | found
        if self.weights is None:
            return found
        level = last_known(past)
        relative = np.nan_to_num(past[:, -len(self.weights) :] - level)
        linear = np.einsum("nsf,sh->nhf", relative, self.weights, optimize=True) + self.bias[:, None]
        return found | {"linear regression": level + linear}


def last_known(past: Numbers) -> Numbers:
    """The last value of each feature that is there, `(samples, 1, features)`; 0 where none is."""
    there = ~np.isnan(past)
    place = past.shape[1] - 1 - there[:, ::-1].argmax(axis=1, keepdims=True)
    last: Numbers = np.nan_to_num(np.take_along_axis(past, place, axis=1))
    return last


def persistence(past: Numbers, horizon: int) -> Numbers:
    """The last known value, for every step."""
    return np.repeat(last_known(past), horizon, axis=1)


def repeated(past: Numbers, horizon: int, season: int) -> Numbers:
    """The last season over again; a value that is missing in it is the last known one."""
    again = past[:, past.shape[1] - season + np.arange(horizon) % season]
    return np.where(np.isnan(again), last_known(past), again)


def seasonal(past: Numbers, horizon: int, seasons: Sequence[int | None]) -> Numbers:
    """The last season of each feature over again, or its last known value where it has none."""
    said = persistence(past, horizon)
    for season in {season for season in seasons if season}:
        places = [place for place, of in enumerate(seasons) if of == season]
        said[..., places] = repeated(past[..., places], horizon, season)
    return said


def name_of(seasons: Sequence[int | None]) -> str:
    """What the baseline to beat is called."""
    if not any(seasons):
        return "persistence"
    return f"season of {seasons[0]} steps" if len(set(seasons)) == 1 else "season by column"


def find_seasons(data: Data, steps: int) -> tuple[int | None, ...]:
    """For each feature the steps, at most a window's, after which repetition forecasts validation windows best.

    None where that is hardly better than the last value. Of several features each has its own, and only where what was
    found in the earlier half of these windows is better in the later one too: of hundreds of seasons some are better by
    chance, in one of many columns nearly always.

    Args:
        steps: of the window; the others of a sample are the horizon.
    """
    values = steps * (data.validation.span - steps) * data.validation.features
    most = min(max(COMPARED // values, 20), CHOSEN)
    window = scaled_windows(data, data.validation, most, steps)
    past, truth = window[:, :steps], window[:, steps:]
    later = _later(data.validation, _spread(data.validation, most))
    parts = (~later, later) if past.shape[2] > 1 else (slice(None),) * 2
    tried = []
    for season in (None, *range(2, steps + 1)):
        said = seasonal(past, truth.shape[1], [season] * past.shape[2])
        tried.append([_by_feature(said[part], truth[part]) for part in parts])
    found, judged = np.moveaxis(np.array(tried), 1, 0)
    # Places 1, 2, ... are seasons of 2, 3, ... steps.
    places = [_best(errors, gains) for errors, gains in zip(found.T, judged.T, strict=True)]
    return tuple(place + 1 if place else None for place in places)


def _best(errors: Numbers, judged: Numbers) -> int:
    """The place of the least error; or that of a season whose multiple it is, or of none, of which it saves too little.

    What it saves is told by `judged`, the errors in other windows.
    """
    if not np.isfinite(errors).any():
        return 0
    best = int(np.nanargmin(errors))
    shorter = [place for place in range(1, best) if (best + 1) % (place + 1) == 0]
    best = next((place for place in shorter if not judged[best] < (1 - GAIN) * judged[place]), best)
    return best if judged[best] < (1 - GAIN) * judged[0] else 0


def _later(split: Split, index: Numbers) -> NDArray[np.bool_]:
    """Which of some samples are of the later half of those in their segment; of segments with one, every second is."""
    first = starts_of(split.segment_ids()[split.starts[index]])
    number = np.cumsum(first) - 1
    size = np.bincount(number)[number]
    place = np.arange(len(index)) - np.flatnonzero(first)[number]
    later: NDArray[np.bool_] = np.where(size > 1, 2 * place >= size, number % 2 == 1)
    return later


def fit(data: Data, steps: int, *, refit: bool = False) -> Seasonal:
    """Fit the regression on the training part; validation chooses its penalty. The seasons are the data's.

    Args:
        refit: fit once more on train and validation together, as the model was.
    """
    judged = scaled_windows(data, data.validation, CHOSEN, steps)
    past, truth = judged[:, :steps], judged[:, steps:]
    tried = _fitted(data, steps, PENALTIES)
    errors = [_mse(found.said(past)["linear regression"], truth) for found in tried]
    best = min(range(len(tried)), key=errors.__getitem__)
    return _fitted(joined(data), steps, PENALTIES[best : best + 1])[0] if refit else tried[best]


def _fitted(data: Data, steps: int, penalties: Sequence[float]) -> list[Seasonal]:
    """One for each penalty, all the same where the training part tells nothing."""
    from sklearn.linear_model import Ridge

    rows, changes = _regression(scaled_windows(data, data.train, FITTED, steps), steps)
    if not len(rows):
        weights, bias = np.zeros((rows.shape[1], changes.shape[1]), np.float32), np.zeros(changes.shape[1], np.float32)
        return [Seasonal(data.seasons, weights, bias)] * len(penalties)
    fits = [Ridge(penalty * len(rows), solver="cholesky").fit(rows, changes) for penalty in penalties]
    return [
        Seasonal(data.seasons, ridge.coef_.T.astype(np.float32), ridge.intercept_.astype(np.float32)) for ridge in fits
    ]


def scaled_windows(data: Data, split: Split, most: int, steps: int) -> Numbers:
    """So many samples, spread evenly over a part, scaled; `steps` of each are its window."""
    index = _spread(split, most)
    window = split.windows(index)
    scaled: Numbers = data.scale.scaled(window, window[:, :steps], split.companies(index))
    return scaled


def _spread(split: Split, most: int) -> Numbers:
    most = min(most, max(VALUES // (split.span * split.features), 20))
    return np.unique(np.linspace(0, split.samples - 1, most).astype(np.int64))


def _regression(windows: Numbers, steps: int) -> tuple[Numbers, Numbers]:
    """Each feature of each window: `(rows, steps)` and `(rows, horizon)`, both relative.

    Windows that have their whole future; where fewer than half do, as of business days, all that know some of it, in
    which a missing value is the one before it.
    """
    past, future = windows[:, :steps], windows[:, steps:]
    level = last_known(past)
    kept, some = ~np.isnan(future).any(axis=1), ~np.isnan(future).all(axis=1)
    if 2 * kept.sum() < some.sum():
        kept, future = some, _carried(level, future)
    rows, changes = (np.moveaxis(values - level, 1, 2)[kept] for values in (past[:, -READ:], future))
    return np.nan_to_num(rows).astype(np.float64), changes.astype(np.float64)


def _carried(level: Numbers, future: Numbers) -> Numbers:
    """Steps `(samples, horizon, features)` whose missing values are the last known ones, at first the level."""
    values = np.concatenate([level, future], axis=1)
    place = np.where(np.isnan(values), 0, np.arange(values.shape[1])[:, None])
    filled: Numbers = np.take_along_axis(values, np.maximum.accumulate(place, axis=1), axis=1)[:, 1:]
    return filled


def _mse(said: Numbers, truth: Numbers) -> float:
    """The mean squared error over what is there; NaN where nothing is."""
    error = np.square(said - truth, dtype=np.float64)
    there = ~np.isnan(error)
    return float(error[there].mean()) if there.any() else float("nan")


def _by_feature(said: Numbers, truth: Numbers) -> Numbers:
    """The same of each feature, `(features,)`."""
    error = np.square(said - truth, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        means: Numbers = np.nansum(error, axis=(0, 1)) / (~np.isnan(error)).sum(axis=(0, 1))
    return means
