"""Synthetic prices, prepared for forecasts, random links, and networks with a constant output."""

from typing import Any

import numpy as np

from lstm_ae.config import Snp
from lstm_ae.data.columns import Covariates
from lstm_ae.data.scaling import Scale, fixed_scale
from lstm_ae.data.windows import Data, Source, Split, window_starts
from lstm_ae.forecasting.baselines import fit_baselines
from lstm_ae.forecasting.metrics import forecast_errors

MONDAY = np.datetime64("2024-01-01")


def panel(series: np.ndarray, span: int, start: int = 0) -> Split:
    """Return prices of one company on working days."""
    days = np.busday_offset(MONDAY, np.arange(start, start + len(series)))
    segment = np.zeros(len(series), np.int32)
    values = series.reshape(len(series), -1).astype(np.float32)
    return Split(values, window_starts(segment, span), span, segment, segment + 1, days)


def data_of(
    series: np.ndarray, span: int, names: tuple[str, ...] = ("high (USD)",), scale: Scale | None = None
) -> Data:
    first, second = len(series) * 6 // 10, len(series) * 8 // 10
    parts = [panel(series[a:b], span, a) for a, b in ((0, first), (first, second), (second, len(series)))]
    covariates = Covariates(len(names) - 1)
    return Data(*parts, scale or fixed_scale(), Source("made", "", "CC0"), ("", "A"), names, covariates)


def found_of(series, way, scale=None, calibration=None, test=None):
    data = data_of(np.asarray(series, float), way.steps + way.horizon, scale=scale)
    fitted = fit_baselines(data, way.steps, way.horizon, joint=True)
    return data, forecast_errors(way, data, test or data.test, fitted, calibration, in_own_units=True, each_step=True)


def random_link(config: Snp, days: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the random coefficients of a regression of the last days."""
    random = np.random.default_rng(seed)
    features = len(config.fields)
    inputs = days * features
    return random.normal(0, 0.2, (inputs, features)), random.normal(0, 0.2, features)


def constant_output(network: Any, layer: str, value: float) -> Any:
    """Make the last dense layer of a network return `value` for every input."""
    dense = network.get_layer(layer)
    kernel, bias = dense.get_weights()
    dense.set_weights([np.zeros_like(kernel), np.full_like(bias, value)])
    return network
