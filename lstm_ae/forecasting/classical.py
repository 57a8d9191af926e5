"""Exponential smoothing and Theta baselines, fitted to each company with statsforecast (extra `[baselines]`).

Both select their form on all days before the test split (Hyndman et al. 2002; Fiorucci et al. 2016) and are then
updated from day to day without refitting.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, Float64Array
from lstm_ae.data.windows import Data, Split
from lstm_ae.errors import ConfigError
from lstm_ae.installation import install_hint

# Maps the values of --baselines to the class names in statsforecast.
CLASSICAL_MODELS = {"ets": "AutoETS", "theta": "AutoTheta"}


def classical_changes(names: Sequence[str], data: Data, split: Split, given: int, ahead: int) -> dict[str, Array]:
    """Forecast the samples of a test split with each classical model.

    Args:
        names: Keys of `CLASSICAL_MODELS`.
        data: The data set.
        split: Rows of `data.test`, in samples of `given` + `ahead` days.
        given, ahead: Days read and days forecast.

    Returns:
        `(samples, ahead)` scaled changes from the last known value, by statsforecast's name of the model.

    Raises:
        ConfigError: If statsforecast is not installed, the split is not by time, or each window has its own scale.
    """
    try:
        import statsforecast.models as models
    except ImportError:
        raise ConfigError(f"--baselines needs statsforecast: {install_hint('baselines')}") from None
    if data.train.series is data.test.series:
        raise ConfigError("--baselines needs a split by time. Received: --split report")
    if data.scale.kind == "window":
        raise ConfigError("--baselines needs a scale of whole series. Received: --scale window")
    said = {CLASSICAL_MODELS[name]: np.zeros((split.samples, ahead)) for name in names}
    assert split.company is not None
    assert split.time is not None
    origins = split.starts + given - 1
    for line in np.unique(split.company[split.starts]):
        days, series = _company_series(data, line)
        samples = np.flatnonzero(split.company[split.starts] == line)
        ends = np.searchsorted(days, split.time[origins[samples]]) + 1
        first = int(np.searchsorted(days, data.test.time.min()))  # type: ignore[union-attr]
        for name, table in said.items():
            fitted = getattr(models, name)(season_length=1).fit(series[:first])
            for sample, end in zip(samples, ends, strict=True):
                table[sample] = fitted.forward(series[:end], h=ahead)["mean"] - series[end - 1]
    return said


def _company_series(data: Data, line: int) -> tuple[NDArray[np.datetime64], Float64Array]:
    """Return the days and the scaled values of a company over all splits."""
    pieces = []
    for part in data[:3]:
        assert part.company is not None
        assert part.time is not None
        rows = part.company == line
        scaled = data.scale.scaled(part.series[rows][:, None], part.series[rows][:, None], part.company[rows])
        pieces.append((part.time[rows], scaled[:, 0, 0].astype(np.float64)))
    days, values = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return days, values
