"""Classification of the windows of a table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.classification.baselines import WindowRegression, fit_baselines, fit_link, log_loss
from lstm_ae.config import Series
from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import Evaluation, Metric, Verdict
from lstm_ae.formatting import format_heading
from lstm_ae.model_store import History
from lstm_ae.models.network import Network
from lstm_ae.significance import compare_classifiers
from lstm_ae.studies import FittedArtifacts, draw_history, evaluated_splits
from lstm_ae.studies.series.defaults import load

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

__all__ = ["build", "evaluate", "figures", "fit_artifacts", "load"]


def build(config: Series, data: Data) -> "keras.Model":
    """Build a classifier from `sequence` `(batch, window, features)` to probabilities `label` `(batch, classes)`."""
    from lstm_ae.models.classifier import pooled_classifier

    steps, features = data.train.span, data.train.features
    return pooled_classifier(
        config,
        steps=steps,
        features=features,
        classes=len(data.classes),
        missing=data.train.missing,
        fill=data.scaled_means,
        link=fit_link(data) if config.link == "baseline" else None,
    )


def evaluate(model: Network, data: Data) -> Evaluation:
    """Evaluate accuracy, macro-F1, and log loss with those of the baselines, and apply McNemar's test.

    The baselines are the most frequent class and the logistic regressions. The test uses non-overlapping windows only,
    since windows that share rows are not independent.
    """
    assert data.train.label is not None
    counts = np.bincount(data.train.label, minlength=len(data.classes))
    frequent, shares = int(counts.argmax()), counts / counts.sum()
    regressions = fit_baselines(data)
    metrics, verdicts = {}, {}
    for name, split in evaluated_splits(data).items():
        metrics[name], verdict = compare(
            split,
            probabilities(model, split),
            baseline_probabilities(regressions, split),
            frequent=frequent,
            name=data.classes[frequent],
            shares=shares,
        )
        assert verdict is not None
        verdicts[name] = verdict
    return Evaluation(metrics, verdicts, regressions)


def fit_artifacts(config: Series, model: Network, data: Data, evaluation: Evaluation) -> FittedArtifacts:
    """Return the logistic regressions, the baselines on other tables."""
    return FittedArtifacts(evaluation.fitted)


def baseline_probabilities(regressions: Sequence[WindowRegression], split: Split) -> dict[str, Array]:
    """Return the class probabilities of every window of a split, `(samples, classes)`, by name of the baseline."""
    return {
        regression.name: np.concatenate([regression.probabilities(split.windows(index)) for index in split.batches()])
        for regression in regressions
    }


def compare(
    split: Split, model: Array, baselines: Mapping[str, Array], *, frequent: int, name: str, shares: Array | None
) -> tuple[dict[str, Metric], Verdict | None]:
    """Return metrics of labeled windows with those of the baselines, and the verdict against the most accurate one.

    Args:
        split: labeled windows.
        model: `(samples, classes)` probabilities of the model.
        baselines: `(samples, classes)` probabilities of the fitted baselines by name; empty for no verdict, since the
            strongest baseline is unknown then.
        frequent: index of the most frequent class.
        name: name of the most frequent class.
        shares: `(classes,)` frequencies in training, a baseline of the log loss; None to omit it.
    """
    truth = split.label
    assert truth is not None
    always = f"always {format_heading(name)}"
    predictions = {"": model.argmax(axis=1), always: np.full(len(truth), frequent)}
    predictions |= {key: probability.argmax(axis=1) for key, probability in baselines.items()}
    accuracy = {key: float(np.mean(predicted == truth)) for key, predicted in predictions.items()}
    f1 = {key: macro_f1(truth, predicted) for key, predicted in predictions.items()}
    loss = {"": log_loss(model, truth)}
    if shares is not None:
        loss["class shares"] = log_loss(np.tile(shares, (len(truth), 1)), truth)
    loss |= {key: log_loss(probability, truth) for key, probability in baselines.items()}
    metrics = {
        "accuracy": _metric(accuracy, higher_is_better=True),
        "macro_f1": _metric(f1, higher_is_better=True),
        "log_loss": _metric(loss, higher_is_better=False),
    }
    if not baselines:
        return metrics, None
    disjoint = split.disjoint_samples()
    what = "windows" if len(disjoint) == split.samples else "non-overlapping windows"
    best = max((*baselines, always), key=accuracy.__getitem__)
    return metrics, compare_classifiers(
        (predictions[""] == truth)[disjoint], (predictions[best] == truth)[disjoint], name=best, what=what
    )


def _metric(values: dict[str, float], *, higher_is_better: bool) -> Metric:
    """Return a metric of the model, whose value has the key "", with its baselines."""
    return Metric(values.pop(""), "", values, higher_is_better)


def macro_f1(truth: Array, predicted: Array) -> float:
    """Return the mean F1 score over all classes among the labels or the predictions.

    >>> round(macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1])), 4)
    0.6667
    """
    from sklearn.metrics import f1_score

    return float(f1_score(truth, predicted, average="macro", zero_division=0))


def probabilities(model: Network, split: Split) -> Float32Array:
    """Return the model's class probabilities of every window of a split, `(samples, classes)`."""
    from lstm_ae.models.inference import predict_split

    return np.concatenate([batch.outputs["label"] for batch in predict_split(model, split)])


def figures(model: Network, data: Data, history: History) -> dict[str, "Figure"]:
    """Draw the confusion matrix of the test split, and loss and accuracy by epoch."""
    from sklearn.metrics import confusion_matrix

    from lstm_ae.plots import classes as plots
    from lstm_ae.plots.base import HistoryPanel

    predicted, truth = probabilities(model, data.latest), data.latest.label
    assert truth is not None
    confusion = confusion_matrix(truth, predicted.argmax(axis=1), labels=range(len(data.classes)))
    panels = HistoryPanel("loss", "Cross-entropy", "log"), HistoryPanel("label_accuracy", "Accuracy", "percent")
    return {"confusion": plots.confusion(confusion, data.classes), "curves": draw_history(history, *panels)}
