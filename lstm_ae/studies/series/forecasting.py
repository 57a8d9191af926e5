"""What follows a window of anyone's own table, beside what its last value and its last season say."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lstm_ae.config import Series
from lstm_ae.data.windows import Data
from lstm_ae.evaluation import Evaluation
from lstm_ae.forecasting.table_baselines import TableBaselines, fit_table_baselines, persistence
from lstm_ae.forecasting.table_metrics import (
    LEVELS,
    error_quantiles,
    judge_table,
    past_steps,
    prediction_intervals,
    skill_by_column,
    table_errors,
    table_metrics,
)
from lstm_ae.plots import base, table_forecasts
from lstm_ae.run import Run
from lstm_ae.studies import History, evaluated_parts, history_columns


def build(config: Series, data: Data) -> Any:
    """A forecaster from `past` `(batch, window, features)` to `future` `(batch, horizon, features)`, in own units."""
    from lstm_ae.models.forecaster import horizon_forecaster
    from lstm_ae.models.initializers import set_initial_values
    from lstm_ae.models.scaling import in_own_units

    assert config.window is not None
    assert config.horizon is not None
    fitted = fit_table_baselines(data, config.window)
    network = horizon_forecaster(
        config,
        steps=config.window,
        horizon=config.horizon,
        features=data.train.features,
        missing=data.train.missing,
        regression=None if fitted.weights is None else (fitted.weights, fitted.bias),
    )
    return in_own_units(set_initial_values(network, config, config.window), data.scale)


def evaluate(model: Any, data: Data, judged_by: Run | None = None) -> Evaluation:
    """Errors of the forecasts beside those of the last value, the last season and a linear regression."""
    fitted, spread = _beside(model, data, judged_by)
    metrics, verdicts, by_part = {}, {}, {}
    for part, split in evaluated_parts(data, judged_by).items():
        # The intervals are counted on validation, and judged by what they were not counted on.
        found = table_errors(model, data, split, fitted, spread if part == "test" else None)
        by_part[part] = skill_by_column(found, data.feature_names, fitted.seasons)
        metrics[part], verdicts[part] = table_metrics(found), judge_table(found, data.feature_names)
    return Evaluation(metrics, verdicts, (fitted, spread), by_part)


def _beside(model: Any, data: Data, judged_by: Run | None) -> tuple[TableBaselines, Any]:
    """The baselines, and the errors that intervals are made of."""
    fitted = fit_table_baselines(data, past_steps(model), refit=judged_by is not None)
    return fitted, judged_by.spread()[0] if judged_by else error_quantiles(model, data, fitted)


def keep(run: Run, config: Series, model: Any, data: Data, evaluation: Evaluation) -> dict[str, Any]:
    """Write how far forecasts were off on validation, which intervals rest on, and the baselines to compare with."""
    fitted, spread = evaluation.kept
    run.write_spread(spread, data.scale)
    run.write_regression(fitted)
    # Those that differ: the config cannot tell them.
    return {"seasons": list(data.seasons)} if len(set(data.seasons)) > 1 else {}


def figures(model: Any, data: Data, history: History, judged_by: Run | None = None) -> dict[str, Figure]:
    """Forecasts after test windows beside what came, the skill by step ahead, and the loss over the epochs."""
    from lstm_ae.models.inference import model_inputs

    steps = past_steps(model)
    fitted, spread = _beside(model, data, judged_by)
    split = data.latest
    found = table_errors(model, data, split, fitted)
    index = np.unique(np.linspace(0, split.samples - 1, 3).astype(np.int64))
    window, lines = split.windows(index), split.companies(index)
    past, truth = window[:, :steps, 0], window[:, steps:, 0]
    said = np.asarray(model(model_inputs(model, window[:, :steps], lines))["future"])
    scaled = data.scale.scaled(said, window[:, :steps], lines)
    ends = {
        level: prediction_intervals(data.scale, scaled, window[:, :steps], spread, level, lines) for level in LEVELS
    }
    naive = next(iter(fitted.said(data.scale.scaled(window, window, lines)[:, :steps]).values()))
    naive = data.scale.own(naive, window, lines)
    rows = split.starts[index][:, None] + np.arange(split.span)
    when = rows if split.time is None else split.time[rows]
    drawn = table_forecasts.forecasts(
        when[:, :steps],
        past,
        when[:, steps:],
        said[..., 0],
        naive[..., 0],
        baseline=found.naive,
        truth=truth,
        intervals={level: (low[..., 0], high[..., 0]) for level, (low, high) in ends.items()},
        names=[""] * len(index),
        zone=UTC,
        quantities=[data.feature_names[0]] * len(index),
    )
    return {
        "forecasts": drawn,
        "skill_by_step": table_forecasts.by_step(found.by_step, found.naive),
        "loss": base.curves(history_columns(history), [base.HistoryPanel("loss", "MSE (scaled)", "log")]),
    }


def predict(model: Any, data: Data) -> dict[str, Sequence[Any]]:
    """The forecast after test windows a horizon apart, beside what came and the last value, column by column."""
    from lstm_ae.models.inference import model_inputs

    steps = past_steps(model)
    split = data.latest._replace(starts=data.latest.starts[:: data.latest.span - steps])
    window = split.windows()
    said = np.asarray(model(model_inputs(model, window[:, :steps], split.companies()))["future"])
    naive = persistence(window[:, :steps], said.shape[1])
    samples, horizon, features = said.shape
    table: dict[str, Sequence[Any]] = {
        "sample": np.repeat(np.arange(samples), horizon).tolist(),
        "step": np.tile(np.arange(1, horizon + 1), samples).tolist(),
    }
    for k, name in enumerate(data.feature_names[:features]):
        table[name] = list(window[:, steps:, k].ravel())
        table[f"{name} forecast"] = list(said[..., k].ravel())
        table[f"{name} persistence"] = list(naive[..., k].ravel())
    return table
