"""Classifier of rows or of whole series."""

# scikit-learn's name of the data is X.
# ruff: noqa: N803, N806

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from lstm_ae.apply.classify import classify_table, load_classifier, row_probabilities
from lstm_ae.apply.evaluate import evaluate_classes, find_regressions
from lstm_ae.arrays import Array, Float32Array
from lstm_ae.config import Series
from lstm_ae.data.frames import RowCodes
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.estimators.base import Estimator, Frame
from lstm_ae.estimators.inputs import TableLike, flatten_samples, name_labels
from lstm_ae.formatting import format_names
from lstm_ae.json_types import JsonObject
from lstm_ae.model_store import FittedModel


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceClassifier(ClassifierMixin, Estimator):
    """LSTM classifier of the rows of a table or of whole series.

    The class of a row is the class of the window that ends at it. There are several series if X is a frame with an
    index of series and times. If each of many series has a single class, whole series are classified: a window is a
    series, and all of its rows have its class, unless the series is longer than the window.

    An array `(samples, steps, channels)`, the axes of Keras, has one class per sample. aeon and sktime order axes as
    `(cases, channels, time points)`: pass `X.transpose(0, 2, 1)`.

    Args:
        window: rows of a window; None for the longest series if whole series are classified, otherwise infers a season
            by autocorrelation, else a day, else 30 rows.
        units: hidden units of each LSTM layer.
        bidirectional: whether to read windows in both directions.
        epochs: largest number of epochs.
        learning_rate: initial learning rate.
        batch_size: batch size; None for 128, or less if there are few windows.
        scale: "standard", "minmax", "none", or "window" for the range of each window.
        stride: rows between the starts of two training windows. It does not affect predictions.
        random_state: seed of the training; None or a `RandomState` draws one.
        seeds: networks to train and average, with consecutive seeds from `random_state`; None for 3 if the
            training is short, and otherwise 1. Pass 1 to compare settings.
        options: further options of `lstmae series train` by name, such as `{"layers": 2, "split_by": "series"}`.

    Attributes:
        classes_: the classes in order. The classes of a loaded run are numbers if all of their names are.
        window_: rows of a window.
        metrics_: measures of the training, with logistic regression on the same windows as baseline.
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, if all are strings.

    >>> import pandas as pd
    >>> t = np.arange(400) / 2
    >>> fast = t >= 100
    >>> rows = np.sin(np.where(fast, 3, 1) * t)[:, None]
    >>> y = np.where(fast, "fast", "slow")
    >>> index = pd.MultiIndex.from_arrays([np.arange(400) // 10, np.arange(400)], names=["pass", "step"])
    >>> frame = pd.DataFrame(rows, index, columns=["level"])
    >>> model = SequenceClassifier(units=4, epochs=2).fit(frame, y)
    >>> model.window_, model.classes_.tolist(), model.predict_proba(frame).shape
    (10, ['fast', 'slow'], (400, 2))
    """

    _task = "classify"
    _accepted_tasks = ("classify",)
    _series_input = "an index of series and times"

    bidirectional: bool = Series.bidirectional
    seeds: int | None = Series.seeds

    def fit(self, X: TableLike, y: ArrayLike | None = None) -> Self:
        """Train on the rows of a table and their classes.

        The data is split into training, validation, and test splits by whole series or by time. The validation split
        selects the best epoch; see `metrics_`.

        Args:
            X: `(rows, features)` consecutive time steps, or `(samples, steps, channels)`.
            y: `(rows,)` or `(samples,)` classes; None or NaN for an unlabeled one.

        Returns:
            The fitted estimator.

        Warns:
            UserWarning: as the other estimators, and if the series have very different sizes.
            ConvergenceWarning: the loss became NaN after an epoch whose weights are used.

        Raises:
            ConfigError: a parameter is out of its range.
            DataError: there are too few rows or only one class, a column is empty, or two rows have the same time.
            DivergedError: the loss became NaN before any epoch succeeded.
        """
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None. Pass the class of each row."
            )
        check_consistent_length(X, y)
        X, series, steps = flatten_samples(X)
        labels, classes = _encode_classes(X, _repeat(y, steps), series)
        table = self._panel(X, reset=True, series=series, labels=labels)
        window = steps if self.window is None else self.window
        derived = {"split_by": self._options().get("split_by") or "series", "window": window} if steps else {}
        config = self._config(label_col=labels.columns[0], id_col=table.layout.ids, **derived)
        _require_whole_samples(steps, config.window)
        self._train(config, table)
        self.classes_ = classes
        return self

    def predict(self, X: TableLike) -> Frame:
        """Return the most probable class of each row or sample.

        Args:
            X: `(rows, features)` or `(samples, steps, channels)`.

        Returns:
            `(rows,)` or `(samples,)` classes.
        """
        best = self.predict_proba(X).argmax(axis=1)
        classes = self.classes_[best]
        return pd.Series(classes, X.index, name="class") if isinstance(X, pd.DataFrame | pd.Series) else classes

    def predict_proba(self, X: TableLike) -> Float32Array:
        """Return the probabilities of all classes.

        They are those of the window that ends at the row. The part of a window before the start of its series counts
        as missing. If whole series are classified, they are those of the row's series, unless it is longer than the
        window. All classes have the same probability if a window has no value, and with `scale="window"`, which allows
        no missing values, for the rows before the end of the first window of a series.

        Args:
            X: `(rows, features)` or `(samples, steps, channels)`.

        Returns:
            `(rows, classes)` or `(samples, classes)` float32, columns in the order of `classes_`; an array also for a
            frame, as scikit-learn's scorers require.
        """
        X, series, steps = self._flatten(X)
        table = self._panel(X, reset=False, series=series)
        with self._naming_parameters():
            classified = classify_table(self._fitted.load(load_classifier), table, every_row=True)
        step = steps or 1
        probabilities = row_probabilities(classified)[step - 1 :: step]
        return np.where(np.isnan(probabilities), np.float32(1 / len(self.classes_)), probabilities)

    def evaluate(self, X: TableLike, y: ArrayLike) -> JsonObject:
        """Return the metrics of the predicted classes of labeled windows of X, with the baselines and the verdict.

        It is the evaluation of `lstmae series evaluate`, on the windows that X has. `score` also counts the rows before
        the end of the first window, and rows of classes that the classifier does not know, as errors.

        Args:
            X: `(rows, features)` or `(samples, steps, channels)`, which the classifier was not fitted to.
            y: `(rows,)` or `(samples,)` classes; None or NaN for an unlabeled one.

        Returns:
            Accuracy, macro-F1, and log loss under "new data" and the verdict under "verdict", in the form of
            `metrics_`.

        Warns:
            UserWarning: y has classes that the classifier does not know.

        Raises:
            DataError: no window has the label of a class.
        """
        check_consistent_length(X, y)
        X, series, steps = self._flatten(X)
        labels, _ = _encode_classes(X, _repeat(y, steps), series)
        table = self._panel(X, reset=False, series=series, labels=labels)
        with self._naming_parameters():
            classified = classify_table(self._fitted.load(load_classifier), table)
        if classified.unknown:
            names = format_names(classified.unknown)
            text = f"Rows of classes that the classifier does not know are not counted: {names}"
            warnings.warn(text, UserWarning, stacklevel=2)
        return evaluate_classes(classified, find_regressions(self._fitted), "y", "Pass labels of its classes").as_json()

    def score(
        self,
        X: TableLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Return the accuracy over the labeled rows or samples.

        Args:
            X: `(rows, features)` or `(samples, steps, channels)`.
            y: `(rows,)` or `(samples,)` classes; None or NaN for an unlabeled one.
            sample_weight: `(rows,)` or `(samples,)` weights.
        """
        target = pd.Series(np.asarray(y, object).ravel())
        labeled = target.notna()
        weight = None if sample_weight is None else np.asarray(sample_weight)[labeled]
        predicted = np.asarray(self.predict(X))
        truth = np.asarray(target[labeled].infer_objects())
        return float(accuracy_score(truth, predicted[labeled], sample_weight=weight))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _flatten(self, X: Any) -> tuple[Any, RowCodes | None, int]:
        """Return the rows of samples to classify, see `flatten_samples`."""
        check_is_fitted(self)
        rows, series, steps = flatten_samples(X)
        _require_whole_samples(steps, self.window_)
        return rows, series, steps

    def _set_fitted(self, fitted: FittedModel) -> Self:
        super()._set_fitted(fitted)
        self.classes_ = _parse_classes(self._fitted_config.classes)
        return self


def _require_whole_samples(steps: int, window: int | None) -> None:
    if window is not None and steps > window:
        raise ConfigError(f"Samples of {steps} steps need a window of at least {steps}. The window has {window} steps.")


def _repeat(y: ArrayLike, steps: int) -> ArrayLike:
    """Return the classes of the rows of samples; y unchanged with 0 steps."""
    return np.repeat(column_or_1d(y, warn=True), steps) if steps else y


def _encode_classes(X: TableLike, y: ArrayLike | None, series: RowCodes | None) -> tuple[RowCodes, Array]:
    """Return the class of each row, and the classes."""
    target = column_or_1d(y, warn=True)
    labeled = ~np.asarray(pd.isna(target))
    values = target[labeled]
    if values.dtype == object:
        values = pd.Series(values).infer_objects().to_numpy()
    if not len(values):
        raise DataError("y contains no labels. Label at least one row.", code=Code.LABELS)
    infinite = np.isinf(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    for invalid, noun in ((infinite, "infinity"), (values.astype(str) == "", "an empty text")):
        if invalid.any():
            row = int(np.flatnonzero(labeled)[invalid.argmax()])
            raise DataError(f"y, row {row}: {noun} is not a class. Use None for an unlabeled row.", code=Code.LABELS)
    check_classification_targets(values)
    classes, inverse = np.unique(values, return_inverse=True)
    codes = np.full(len(target), -1, np.int32)
    codes[labeled] = inverse
    return name_labels(X, series, codes, _class_names(classes)), classes


def _class_names(classes: Array) -> tuple[str, ...]:
    return tuple(map(str, classes.tolist()))


def _parse_classes(names: tuple[str, ...]) -> Array:
    """Return the classes of a run from their names: integers, floats, or booleans if all can be parsed, else text."""
    kinds: tuple[tuple[type, Any], ...] = ((int, int), (float, float), (bool, {"False": False, "True": True}.get))
    for kind, parse in kinds:
        try:
            classes: Array = np.array([parse(name) for name in names], kind)
        except ValueError:
            continue
        if _class_names(classes) == names:
            return classes
    return np.array(names, object)
