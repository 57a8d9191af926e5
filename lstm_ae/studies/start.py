"""Decide whether a trained forecaster or classifier replaces the fitted linear model that it starts at.

The epoch, and the share of the correction, are those with the smallest loss on validation, which finds some improvement
by chance. So the network replaces its start only if the test of the verdicts confirms the improvement there.
"""

from lstm_ae.config import Config, Snp
from lstm_ae.data.windows import Data
from lstm_ae.evaluation import Verdict
from lstm_ae.forecasting.baselines import PriceBaselines, TableBaselines
from lstm_ae.forecasting.metrics import ForecastErrors, judge_forecasts, past_steps, price_errors, table_errors
from lstm_ae.models.network import Network
from lstm_ae.significance import compare_classifiers
from lstm_ae.studies.series.classification import probabilities
from lstm_ae.studies.snp.forecasting import forecast_one_day

START = "linear start"

# Improvements on fewer validation windows without overlap do not hold on later rows.
MIN_WINDOWS = 20


def compare_with_start(config: Config, data: Data, model: Network, start: Network) -> Verdict:
    """Compare a trained model with its untrained start on the validation split.

    Args:
        config: config of a model that starts at a linear model.
        data: data of the training.
        model: the trained model.
        start: the untrained model.
    """
    split = data.validation
    if "label" in model.outputs:
        disjoint = split.disjoint_samples()
        ours, theirs = (probabilities(each, split).argmax(axis=1) == split.label for each in (model, start))
        return compare_classifiers(ours[disjoint], theirs[disjoint], name=START, what="windows")
    errors = _validation_errors(config, data, model)
    squared = errors.squared | {START: _validation_errors(config, data, start).squared[""]}
    return judge_forecasts(errors._replace(squared=squared, by_feature={}), against=START)


def _validation_errors(config: Config, data: Data, model: Network) -> ForecastErrors:
    split = data.validation
    if isinstance(config, Snp):
        return price_errors(forecast_one_day(model, split.span - 1), data, split, PriceBaselines()).at()
    steps = past_steps(model)
    return table_errors(model, data, split, TableBaselines((), split.span - steps, None))


def replaces_start(comparison: Verdict) -> bool:
    """Return whether a model replaces its linear start after this comparison of both."""
    return comparison.outcome == "beats" and comparison.windows >= MIN_WINDOWS


def describe_kept_start(comparison: Verdict) -> str:
    """Return a sentence that says why a model is its linear start."""
    found = f"{comparison.shown_p}, {comparison.windows:,} windows without overlap"
    if comparison.windows < MIN_WINDOWS:
        why = f"validation is too short for a comparison with the network ({found}; at least {MIN_WINDOWS})"
    else:
        why = f"the network was not significantly better on validation ({found})"
    return f"The model is its linear start: {why}"
