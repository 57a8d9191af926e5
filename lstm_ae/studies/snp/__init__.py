"""The stock price study: reconstruction or forecasts of prices."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from lstm_ae.checks.leakage import describe_leaks, find_leaks
from lstm_ae.config import Snp
from lstm_ae.data.panel import Panel
from lstm_ae.data.prices import load_prices
from lstm_ae.data.split import SplitRule, split_by_date
from lstm_ae.data.windows import Data
from lstm_ae.evaluation import Evaluation, Metric, Metrics
from lstm_ae.forecasting.baselines import fit_joint_regression
from lstm_ae.model_store import History
from lstm_ae.models.network import Network
from lstm_ae.plots import base, prices
from lstm_ae.plots.lines import comparison
from lstm_ae.studies import draw_history, evaluated_splits
from lstm_ae.studies.reconstruction import measure_reconstruction
from lstm_ae.studies.series import forecasting as series_forecasting
from lstm_ae.studies.snp.forecasting import all_days_metrics, fit_artifacts, forecasts, latest_windows, quantity_label
from lstm_ae.table_files import TableColumns

if TYPE_CHECKING:
    import keras

__all__ = ["build", "describe", "evaluate", "figures", "fit_artifacts", "load", "predict"]

MAX_SHOWN = 20


def load(config: Snp, panel: Panel | None = None, rule: SplitRule = split_by_date) -> Data:
    """Return the data of `load_prices`, with the input of a forecaster that contains the future marked as leaky."""
    data = load_prices(config, panel, rule)
    if config.goal == "reconstruct":
        return data
    return data.annotate(leaky=(describe_leaks(find_leaks(data, config.window, targets=1), config.fields),))


def build(config: Snp, data: Data) -> "keras.Model":
    """Build a forecaster from `past` to `future`, or an autoencoder from `sequence` to `reconstruction`."""
    from lstm_ae.models.autoencoder import autoencoder
    from lstm_ae.models.forecaster import step_forecaster

    if config.goal == "reconstruct":
        return autoencoder(config, steps=config.window, features=data.train.features)
    typical = 1.0 if data.scale.kind == "log" else typical_change(data)
    start = fit_joint_regression(data, config.window, 1) if config.starts_linear else None
    return step_forecaster(config, typical=typical, link=start and start[:2])


def typical_change(data: Data) -> float:
    """Return the standard deviation of one-step changes in scaled values, over evenly spaced training windows."""
    split = data.train.thin(4096)
    window = split.windows()[:, :-1]
    _, span = data.scale.of(window, split.lines())
    return float(np.std(np.diff(window, axis=1) / span, dtype=np.float64)) or 1.0


def evaluate(model: Network, data: Data) -> Evaluation:
    """Evaluate forecasts or reconstructions with their baselines."""
    if forecasts(model):
        evaluation = series_forecasting.evaluate(model, data, prices=True)
        splits = evaluated_splits(data).items()
        return evaluation._replace(
            metrics={name: all_days_metrics(model, data, split) | evaluation.metrics[name] for name, split in splits}
        )
    metrics: Metrics = {}
    for name, split in evaluated_splits(data).items():
        mse, (mae, constant) = measure_reconstruction(
            model,
            data,
            split,
            lambda batch: abs(batch.outputs["reconstruction"] - batch.window),
            lambda batch: abs(batch.window.mean(axis=1, keepdims=True) - batch.window),
        )
        absolute = Metric(mae, "USD", {"mean of the window": constant})
        metrics[name] = {"reconstruction_mse": mse, "reconstruction_mae": absolute}
    return Evaluation(metrics)


def figures(model: Network, data: Data, history: History) -> dict[str, Figure]:
    """Draw the last test window of companies, the forecasts of its last day, and the loss."""
    from lstm_ae.models.inference import model_inputs

    split = latest_windows(data.test).select(slice(MAX_SHOWN))
    window, lines, names, dates = split.windows(), split.lines(), data.series_names(split), split.days
    loss, quantity = draw_history(history), quantity_label(data)
    if not forecasts(model):
        outputs = model(model_inputs(model.inputs, window, lines))["reconstruction"][..., 0]
        drawing = comparison(dates[:2], window[:2, :, 0], outputs[:2], names[:2], quantity=quantity)
        return {"reconstruction": drawing, "loss": loss}
    past, truth = window[:, :-1], window[:, 1:, 0]
    future, naive = model(model_inputs(model.inputs, past, lines, window[:, -1:]))["future"][..., 0], past[..., 0]
    drawn = {"last_day": prices.last_days(names, truth[:, -1], future[:, -1], naive[:, -1]), "loss": loss}
    if future.shape[1] > 1:
        days = dates[:, 1:]
        drawn["windows"] = prices.windows(days, truth, future, names, quantity=quantity)
        place = names.index("AAPL") if "AAPL" in names else 0
        one = slice(place, place + 1)
        drawn["window"] = comparison(
            days[one], truth[one], future[one], names[one], naive=naive[one], quantity=quantity
        )
    return drawn


def describe(config: Snp, data: Data) -> dict[str, Figure]:
    """Draw the prices of the first two companies with the boundaries of the splits."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    if data.train.series is data.test.series:
        splits = {"": data.train}
    days, lines, values = (
        np.concatenate([getattr(split, name) for split in splits.values()]) for name in ("time", "line", "series")
    )
    companies = len(data.symbols) - 1
    by_company = [lines == line for line in range(1, min(companies, 2) + 1)]
    figure = prices.history(
        [days[rows] for rows in by_company],
        [values[rows, 0] for rows in by_company],
        list(data.symbols[1:3]),
        quantity=quantity_label(data),
        boundaries=[(name, split.time.min()) for name, split in splits.items() if name and split.time is not None],
    )
    return {"prices": base.with_title(figure, f"The first 2 of {companies} companies") if companies > 2 else figure}


def predict(model: Network, data: Data) -> TableColumns:
    """Return the reconstruction of the last day of every test window."""
    from lstm_ae.models.inference import predict_split

    split = data.test
    outputs = [batch.outputs["reconstruction"][:, -1, 0] for batch in predict_split(model, split)]
    return {
        "symbol": data.series_names(split),
        "date": split.days[:, -1].astype(str).tolist(),
        "actual": list(split.windows()[:, -1, 0]),
        "reconstruction": list(np.concatenate(outputs)),
    }
