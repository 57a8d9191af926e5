"""Anyone's own table: to which class a window belongs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lstm_ae.classification.baselines import NAME, fit_logistic_regression, log_loss
from lstm_ae.config import Series
from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import Evaluation, Metric, Verdict
from lstm_ae.formatting import format_heading
from lstm_ae.plots import base
from lstm_ae.plots import classes as drawings
from lstm_ae.run import Run
from lstm_ae.significance import compare_classifiers
from lstm_ae.studies import History, evaluated_parts, history_columns

Numbers = NDArray[Any]


def build(config: Series, data: Data) -> Any:
    """A classifier from `sequence` `(batch, window, features)`, in the table's units, to `label` `(batch, classes)`."""
    from lstm_ae.models.classifier import pooled_classifier
    from lstm_ae.models.initializers import set_initial_values
    from lstm_ae.models.scaling import in_own_units

    steps, features = data.train.span, data.train.features
    network = pooled_classifier(
        config,
        steps=steps,
        features=features,
        classes=len(data.classes),
        missing=data.train.missing,
        fill=data.usual,
    )
    return in_own_units(set_initial_values(network, config, steps), data.scale)


def evaluate(model: Any, data: Data, judged_by: Run | None = None) -> Evaluation:
    """Accuracy, macro-F1 and log loss beside the most frequent class and logistic regression, and McNemar's test.

    Windows that share rows are no independent samples: the test is on windows side by side alone.
    """
    assert data.train.label is not None
    counts = np.bincount(data.train.label, minlength=len(data.classes))
    frequent, shares = int(counts.argmax()), counts / counts.sum()
    # On training windows alone, whatever the model has learned from: validation chooses its penalty.
    regression = fit_logistic_regression(data)
    metrics, verdicts = {}, {}
    for part, split in evaluated_parts(data, judged_by).items():
        linear = np.concatenate([regression.probabilities(split.windows(index)) for index in split.batches()])
        metrics[part], judged = compare(
            split, probabilities(model, split), linear, frequent=frequent, name=data.classes[frequent], shares=shares
        )
        assert judged is not None
        verdicts[part] = judged
    return Evaluation(metrics, verdicts, regression)


def keep(run: Run, config: Series, model: Any, data: Data, evaluation: Evaluation) -> dict[str, Any]:
    """Write the logistic regression, to stand beside the classes of other tables."""
    run.write_logistic(evaluation.kept)
    return {}


def compare(
    split: Split, ours: Numbers, linear: Numbers | None, *, frequent: int, name: str, shares: Numbers | None
) -> tuple[dict[str, Metric], Verdict | None]:
    """Measures of labelled windows beside those of the baselines, and the verdict on the most accurate of these.

    Args:
        ours, linear: `(samples, classes)` probabilities of the model and of logistic regression; where the latter is
            None, the strongest baseline is not known and there is no verdict.
        frequent, name: the place and the name of the class that is always answered by the first baseline.
        shares: `(classes,)` how frequent each is in training, to be said of every window; None leaves that out.
    """
    truth = split.label
    assert truth is not None
    always = f"always {format_heading(name)}"
    answers = {"": ours.argmax(axis=1), always: np.full(len(truth), frequent)}
    if linear is not None:
        answers[NAME] = linear.argmax(axis=1)
    right = {key: float(np.mean(said == truth)) for key, said in answers.items()}
    f1 = {key: macro_f1(truth, said) for key, said in answers.items()}
    loss = {"": log_loss(ours, truth)}
    if shares is not None:
        loss["class shares"] = log_loss(np.tile(shares, (len(truth), 1)), truth)
    if linear is not None:
        loss[NAME] = log_loss(linear, truth)
    metrics = {
        "accuracy": _metric(right, higher_is_better=True),
        "macro_f1": _metric(f1, higher_is_better=True),
        "log_loss": _metric(loss, higher_is_better=False),
    }
    if linear is None:
        return metrics, None
    apart = split.apart()
    what = "windows" if len(apart) == split.samples else "windows that share no row"
    best = max((NAME, always), key=right.__getitem__)
    return metrics, compare_classifiers(
        (answers[""] == truth)[apart], (answers[best] == truth)[apart], name=best, what=what
    )


def _metric(found: dict[str, float], *, higher_is_better: bool) -> Metric:
    """The model's own, under "", beside its baselines."""
    return Metric(found.pop(""), "", found, higher_is_better)


def macro_f1(truth: Numbers, said: Numbers) -> float:
    """The mean of the F1 of all classes that there are or that were answered."""
    from sklearn.metrics import f1_score

    return float(f1_score(truth, said, average="macro", zero_division=0))


def probabilities(model: Any, split: Split) -> NDArray[np.float32]:
    """What the model says of every window of a split, `(samples, classes)`."""
    from lstm_ae.models.inference import predict_split

    return np.concatenate([batch.outputs["label"] for batch in predict_split(model, split)])


def figures(model: Any, data: Data, history: History, judged_by: Run | None = None) -> dict[str, Figure]:
    """On the test part what is taken for what and what a probability is worth; loss and accuracy over the epochs."""
    said, truth = probabilities(model, data.latest), data.latest.label
    assert truth is not None
    confusion = np.zeros((len(data.classes),) * 2, np.int64)
    np.add.at(confusion, (truth, said.argmax(axis=1)), 1)
    panels = [
        base.HistoryPanel("loss", "Cross-entropy", "log"),
        base.HistoryPanel("label_accuracy", "Accuracy", "percent"),
    ]
    return {
        "confusion": drawings.confusion(confusion, data.classes),
        "trust": drawings.reliability(said, truth, data.classes),
        "curves": base.curves(history_columns(history), panels),
    }


def predict(model: Any, data: Data) -> dict[str, Sequence[Any]]:
    """Every test window by its last row's time, or its number: the label, the class that is answered, its probability.

    Where the table has several series, windows come in their order.
    """
    split = data.latest
    assert split.label is not None
    said = probabilities(model, split)
    last = split.starts + split.span - 1
    table: dict[str, Sequence[Any]] = {"window": list(range(split.samples))}
    if split.time is not None:
        table["time"] = [str(moment) for moment in split.time[last].astype("datetime64[ns]")]
    return table | {
        "label": [data.classes[place] for place in split.label],
        "class": [data.classes[place] for place in said.argmax(axis=1)],
        "probability": list(said.max(axis=1)),
    }
