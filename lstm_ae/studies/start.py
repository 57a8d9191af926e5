"""Decide whether a trained forecaster or classifier replaces the fitted linear model that it starts at.

The epoch and the share of the correction are those with the smallest loss on validation, which improves somewhat by
chance. The network therefore replaces its start only if the test of the verdicts confirms the improvement: for
forecasts on validation, for classes out of fold, since few series are in the validation split of a small data set.
"""

import warnings
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import BoolArray
from lstm_ae.data.windows import Data, Split, join_training
from lstm_ae.evaluation import Verdict
from lstm_ae.forecasting.baselines import Baselines
from lstm_ae.forecasting.intervals import forecast_method
from lstm_ae.forecasting.metrics import ForecastErrors, forecast_errors, judge_forecasts
from lstm_ae.models.network import Network
from lstm_ae.studies.series.classification import probabilities

START = "linear start"

# Improvements on fewer windows without overlap do not hold on later rows.
MIN_WINDOWS = 20

# Number of folds of a classifier, and the remark of the comparison on them.
FOLDS, OUT_OF_FOLD = 5, "out of fold"


def compare_with_start(data: Data, model: Network, start: Network) -> Verdict:
    """Compare a trained forecaster with its untrained start on the validation split.

    Args:
        data: data of the training.
        model: the trained model.
        start: the untrained model.
    """
    errors = _validation_errors(data, model)
    squared = errors.squared | {START: _validation_errors(data, start).squared[""]}
    return judge_forecasts(errors._replace(squared=squared, by_feature={}), against=START)


def _validation_errors(data: Data, model: Network) -> ForecastErrors:
    method = forecast_method(model, data.validation.span)
    return forecast_errors(method, data, data.validation, Baselines((), method.horizon))


class ClassifierFold(NamedTuple):
    """Fold of the training and validation windows of a classifier.

    Args:
        data: data whose training split is the windows of the other folds; one of these selects the regression.
        test: windows of the fold without overlap.
    """

    data: Data
    test: Split


def divide_into_folds(data: Data) -> list[ClassifierFold]:
    """Divide the training and validation windows of a classifier into folds that share no row.

    Each series is in one fold. Fewer series than folds are divided into blocks of time instead, and windows that reach
    into the next block are in no fold. There are no folds if a block holds no window. Folds are omitted if they, or the
    fold that selects their regression, hold no window, or if the remaining windows are all of one class.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    split = join_training(data).train
    first, last, label = split.starts, split.starts + split.span - 1, split.label
    assert label is not None
    group = split.segment_ids() if split.group is None else split.group
    if len(np.unique(group[first])) < FOLDS:
        bounds = first[np.arange(1, FOLDS) * split.samples // FOLDS]
        group = np.searchsorted(bounds, np.arange(len(split.series)), side="right")
    whole = np.flatnonzero(group[first] == group[last])
    if len(np.unique(group[first[whole]])) < FOLDS:
        return []
    stratified = np.bincount(label[whole]).max() >= FOLDS
    divide = (StratifiedGroupKFold if stratified else GroupKFold)(FOLDS, shuffle=True, random_state=0)
    fold = np.full(split.samples, -1)
    with warnings.catch_warnings():
        # Classes of fewer windows than folds are in some of the folds only.
        warnings.simplefilter("ignore")
        for number, (_, test) in enumerate(divide.split(whole, label[whole], group[first[whole]])):
            fold[whole[test]] = number
    disjoint = np.zeros(split.samples, bool)
    disjoint[split.disjoint_samples()] = True
    folds = []
    for number in range(FOLDS):
        selecting, test = fold == (number + 1) % FOLDS, disjoint & (fold == number)
        training = (fold >= 0) & (fold != number)
        fitting = training & ~selecting
        if test.any() and selecting.any() and len(np.unique(label[fitting])) > 1:
            separate = data._replace(train=split.select(fitting), validation=split.select(selecting))
            joined = separate._replace(train=split.select(training), separate=separate)
            folds.append(ClassifierFold(joined, split.select(test)))
    return folds


def find_correct(model: Network, split: Split) -> BoolArray:
    """Return whether a classifier is correct in each window of a split, `(samples,)`."""
    correct: BoolArray = probabilities(model, split).argmax(axis=1) == split.label
    return correct


def replaces_start(comparison: Verdict) -> bool:
    """Return whether a model replaces its linear start after this comparison of both."""
    return comparison.outcome == "beats" and comparison.windows >= MIN_WINDOWS


def describe_kept_start(comparison: Verdict) -> str:
    """Return a sentence that says why a model is its linear start."""
    evidence = f"{comparison.shown_p}, {comparison.windows:,} windows without overlap"
    where = comparison.remark or "on validation"
    if comparison.windows < MIN_WINDOWS:
        why = (
            f"there are too few windows {where} for a comparison with the network ({evidence}; at least {MIN_WINDOWS})"
        )
    else:
        why = f"the network was not significantly better {where} ({evidence})"
    return f"The model is its linear start: {why}"
