"""Classes of rows, or of whole series."""

# X is what scikit-learn calls the rows.
# ruff: noqa: N803

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from lstm_ae.apply.classify import class_of_rows, classify_prepared
from lstm_ae.config import Series
from lstm_ae.data.frames import RowCodes
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.estimators.base import Estimator, Frame
from lstm_ae.estimators.packed import RunFiles
from lstm_ae.estimators.several import column_names, series_of, unused_name


class SequenceClassifier(ClassifierMixin, Estimator):
    """Classes of rows that follow one another in time, or of whole series, by an LSTM network.

    A row's class is that of the window that ends with it. With `groups`, or a frame with an index of series and times,
    there are several series; where each of many has one class throughout, whole series are told apart: a window is a
    series, and all of its rows get its class, but in a series that is longer than the window.

    In a cross-validation such an index tells the series with nothing more to do. `groups` go to the splitter alone in
    scikit-learn, by `cross_val_score(model, X, y, groups=groups)`, and the rows would be taken for one series. For the
    model to have them as well:

        sklearn.set_config(enable_metadata_routing=True)
        model = SequenceClassifier().set_fit_request(groups=True).set_score_request(groups=True)
        cross_val_score(model, X, y, params={"groups": groups}, cv=GroupKFold(4))

    Args:
        window: rows that are read; None takes the longest series where whole series are told apart, else finds a
            season by autocorrelation, else takes a day, else 30.
        units: hidden units of each LSTM layer.
        bidirectional: whether windows are read in both directions.
        epochs, learning_rate, batch_size: of the training; batches of None are of 128, of few windows smaller.
        scale: "standard", "minmax", "none", or "window" for each window's own range.
        stride: rows between the starts of two training windows; rows are always classified one by one.
        random_state: a seed makes the training repeatable; None or a `RandomState` draws one.
        options: further choices of `lstmae series train` by name, as in `{"layers": 2, "split_by": "series"}`.

    Attributes:
        classes_: the classes, in order. Of a loaded run they are numbers where all of their names are.
        window_: rows of a window.
        metrics_: what the training measured, logistic regression on the same windows beside it.
        n_features_in_, feature_names_in_: columns that were fitted; the names only where all are strings.

    >>> turn = np.arange(400) / 2
    >>> fast = turn >= 100
    >>> rows = np.sin(np.where(fast, 3, 1) * turn)[:, None]
    >>> y = np.where(fast, "fast", "slow")
    >>> groups = np.arange(400) // 10
    >>> found = SequenceClassifier(units=4, epochs=2).fit(rows, y, groups=groups)
    >>> found.window_, found.classes_.tolist(), found.predict_proba(rows, groups=groups).shape
    (10, ['fast', 'slow'], (400, 2))
    """

    _task = "classify"
    _reads = ("classify",)
    _of_several = ()

    def __init__(
        self,
        *,
        window: int | None = Series.window,
        units: int = Series.units,
        bidirectional: bool = Series.bidirectional,
        epochs: int = Series.epochs,
        learning_rate: float = Series.learning_rate,
        batch_size: int | None = Series.batch_size,
        scale: str = Series.scale,
        stride: int = Series.stride,
        random_state: Any = Series.seed,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.window = window
        self.units = units
        self.bidirectional = bidirectional
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.scale = scale
        self.stride = stride
        self.random_state = random_state
        self.options = options

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> Self:
        """Train on rows `(rows, features)` and the class of each.

        Series are divided, as wholes or in time: the first part is trained on, the next chooses the best epoch and the
        last is measured, see `metrics_`. Warns as the other estimators do, and of series of unlike size.

        Args:
            y: `(rows,)` classes; None or NaN where one is not known.
            groups: `(rows,)` the series of each row; None takes all levels but the last of a `MultiIndex`, else one
                series. Cross-validations pass it only where they are asked to, see above.

        Raises:
            ConfigError: a parameter is out of its range.
            DataError: there are too few rows, or one class alone; a column is empty; two rows have the same time.
            Diverged: the loss became NaN before any epoch was good.
        """
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None. Give each row's class"
            )
        check_consistent_length(X, y)
        places, classes = _classes(y)
        series, taken = series_of(X, groups), column_names(X)
        if series is not None:
            taken += series.columns
        labels = RowCodes((unused_name("label", taken),), places, _names(classes))
        if series is None and (self.options or {}).get("split_by") == "series":
            raise ConfigError('options names "split_by": "series", which needs groups. Give the series of each row')
        table = self._measurements(X, reset=True, series=series, labels=labels)
        self._train(self._config(label_col=labels.columns[0], id_col=table.layout.ids), table)
        self.classes_ = classes
        return self

    def predict(self, X: Any, *, groups: Any = None) -> Frame:
        """The most probable class of each row, `(rows,)`; `groups` as in `fit`."""
        said = self._said(X, groups)
        found = self.classes_[said.argmax(axis=1)]
        return pd.Series(found, X.index, name="class") if isinstance(X, pd.DataFrame | pd.Series) else found

    def predict_proba(self, X: Any, *, groups: Any = None) -> NDArray[np.float32]:
        """The probabilities of all classes, `(rows, classes)` float32; `groups` as in `fit`.

        An array for a frame too, as scikit-learn's scorers want it: a column a class, in the order of `classes_`.
        Of the window that ends with each row; where it begins before its series, the rows before it count as missing.
        Where whole series are told apart, of the row's series, if that is no longer than the window. All classes are
        alike where a window holds no value.
        """
        return self._said(X, groups)

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None) -> float:
        """The share of rows that are named rightly, of those whose class is known."""
        known = ~pd.isna(pd.Series(np.asarray(y, object).ravel()))
        weight = None if sample_weight is None else np.asarray(sample_weight)[known]
        found = np.asarray(self.predict(X, groups=groups))
        truth = np.asarray(pd.Series(np.asarray(y, object).ravel())[known].infer_objects())
        return float(accuracy_score(truth, found[known], sample_weight=weight))

    def _said(self, X: Any, groups: Any) -> NDArray[np.float32]:
        check_is_fitted(self)
        table = self._measurements(X, reset=False, series=series_of(X, groups))
        said = class_of_rows(classify_prepared(self._packed.classifier, table, every_row=True))
        return np.where(np.isnan(said), np.float32(1 / len(self.classes_)), said)

    def _keep(self, packed: RunFiles) -> Self:
        super()._keep(packed)
        self.classes_ = _typed(packed.config.classes)
        return self


def _classes(y: Any) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Each row's place among the classes, -1 where it is not known, and the classes."""
    target = column_or_1d(y, warn=True)
    known = ~np.asarray(pd.isna(target))
    values = target[known]
    if values.dtype == object:
        values = pd.Series(values).infer_objects().to_numpy()
    if not len(values):
        raise DataError("y names no class of any row. Give the class of some")
    if values.dtype.kind == "f" and np.isinf(values).any():
        row = int(np.flatnonzero(known)[np.isinf(values).argmax()])
        raise DataError(f"y, row {row}: infinity is no class. Write None where a class is not known")
    check_classification_targets(values)
    classes, inverse = np.unique(values, return_inverse=True)
    places = np.full(len(target), -1, np.int32)
    places[known] = inverse
    return places, classes


def _names(classes: NDArray[Any]) -> tuple[str, ...]:
    return tuple(map(str, classes.tolist()))


def _typed(names: tuple[str, ...]) -> NDArray[Any]:
    """Classes by their names in a run: whole numbers, numbers or truth values where all read so, else text."""
    kinds: tuple[tuple[type, Any], ...] = ((int, int), (float, float), (bool, {"False": False, "True": True}.get))
    for kind, read in kinds:
        try:
            classes: NDArray[Any] = np.array([read(name) for name in names], kind)
        except ValueError:
            continue
        if _names(classes) == names:
            return classes
    return np.array(names, object)
