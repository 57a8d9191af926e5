"""Runs on tables of which parts are computed: their models are functions that show which windows are in a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from lstm_ae.apply.classify import RunClassifier
from lstm_ae.apply.encode import RunAutoencoder
from lstm_ae.apply.forecast import RunForecaster
from lstm_ae.config import Series
from lstm_ae.data.preparation import SeriesScales
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.sliding import sliding_windows, sum_windows
from lstm_ae.models.sliding import SlidingAutoencoder

WINDOW = 3
SCALES = SeriesScales(fixed_scale())


class FunctionRollout(NamedTuple):
    """Rollout of a function that reads the known covariates of the horizon only."""

    forecast: Callable[..., Any]

    def __call__(self, past: Any, lines: Any, steps: int, *, known: Any = None, size: int | None = None) -> Any:
        return self.forecast(past, lines, steps, known=known, size=size)

    def read_steps(self, steps: int) -> int:
        return steps


def config_of(**options: Any) -> Series:
    fixed = {"window": WINDOW, "freq": "1min", "max_gap": 2, "value_cols": ("value 0",), "time_col": "time"}
    return Series(**fixed | options)


def summarize(windows: Any) -> Any:
    """Return `(windows, 2)` numbers that depend on all windows of the batch, so that a test notices another batch."""
    filled = np.nan_to_num(windows)
    own = (filled * np.arange(1, WINDOW + 1)[:, None]).sum(axis=(1, 2))
    return np.c_[own, own + filled.sum()].astype(np.float32)


def autoencoder_of(**options: Any) -> RunAutoencoder:
    def rebuild(rows: Any) -> Any:
        windows = sliding_windows(rows, WINDOW)
        return sum_windows(np.nan_to_num(windows) * np.float32(0.5) + summarize(windows)[:, None, 1:])

    def encode(rows: Any) -> Any:
        return summarize(sliding_windows(rows, WINDOW))

    sliding = SlidingAutoencoder(WINDOW, 1, 2, encode, None, rebuild, rebuild)  # type: ignore[arg-type]
    return RunAutoencoder(config_of(**options), SCALES, mock.Mock(), sliding)


def classifier_of(**options: Any) -> RunClassifier:
    def probabilities(windows: Any) -> Any:
        sums = summarize(windows)
        return np.exp(sums - sums.max(axis=1, keepdims=True))

    config = config_of(task="classify", label_col="label", classes=("calm", "wild"), **options)
    return RunClassifier(config, SCALES, probabilities)


def forecaster_of(**options: Any) -> RunForecaster:
    def rollout(past: Any, lines: Any, steps: int, *, known: Any = None, size: int | None = None) -> Any:
        ahead = summarize(past)[:, :1, None] * np.arange(1, steps + 1)[:, None]
        return ahead.astype(np.float32) + (0 if known is None else known)

    config = config_of(task="forecast", horizon=2, **options)
    features = len(config.value_cols)
    quantiles = np.sort(np.random.default_rng(0).normal(size=(features, 2, 199)), axis=2)
    return RunForecaster(config, SCALES, FunctionRollout(rollout), quantiles, (None,) * features, 0)  # type: ignore[arg-type]
