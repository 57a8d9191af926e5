"""Autoencoder of the windows of a table."""

# scikit-learn's name of the data is X.
# ruff: noqa: N803

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from lstm_ae.apply import encode
from lstm_ae.apply.evaluate import evaluate_reconstruction, find_components
from lstm_ae.arrays import Array
from lstm_ae.config import Series
from lstm_ae.estimators.base import Estimator, Frame
from lstm_ae.estimators.inputs import TableLike
from lstm_ae.json_types import JsonObject


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceAutoencoder(TransformerMixin, Estimator):
    """LSTM autoencoder that encodes each window of rows as a latent vector (code).

    Args:
        window: rows of a window; None infers a season by autocorrelation, else a day, else 30 rows.
        code: size of the code; None for 16, but at most a third of the values of a window.
        units: hidden units of each LSTM layer.
        epochs: largest number of epochs.
        learning_rate: initial learning rate.
        batch_size: batch size; None for 128, or less if there are few windows.
        scale: "standard", "minmax", "none", "window" for the range of each window, or "series" for the mean and the
            standard deviation of each series. With "series", X is a frame with an index of series and times.
        stride: rows between the starts of two training windows. It does not affect scores and codes.
        random_state: seed of the training; None or a `RandomState` draws one.
        options: further options of `lstmae series train` by name, such as `{"layers": 2, "patience": 3}`.

    Attributes:
        window_: rows of a window.
        metrics_: measures of the training, with PCA of the same code size as baseline.
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, if all are strings.

    >>> rows = np.sin(np.arange(200) / 2)[:, None]
    >>> model = SequenceAutoencoder(window=8, code=2, units=4, epochs=2).fit(rows)
    >>> model.transform(rows).shape, model.reconstruct(rows).shape
    ((200, 2), (200, 1))
    """

    _task = "reconstruct"
    _accepted_tasks = ("reconstruct", "anomaly")

    code: int | None = Series.code

    def transform(self, X: TableLike) -> Frame:
        """Return the code of the window that ends at each row.

        A code does not depend on later rows, so it can be a feature for forecasting or classification.

        Args:
            X: `(rows, features)`.

        Returns:
            `(rows, code)` float32. The first `window_ - 1` rows, also after a long gap, are NaN.
        """
        prepared = self._prepare(X)
        return self._to_rows(prepared, encode.encode_table(self._loaded, prepared), X, self.get_feature_names_out())

    def reconstruct(self, X: TableLike) -> Frame:
        """Return the reconstruction of every row, including missing values.

        Args:
            X: `(rows, features)`.

        Returns:
            `(rows, features)` float32, the mean over windows that contain the row; NaN if there is none.
        """
        prepared = self._prepare(X)
        rows = encode.reconstruct_table(self._loaded, prepared)
        return self._to_rows(prepared, rows, X, list(self._fitted_config.value_cols))

    def evaluate(self, X: TableLike) -> JsonObject:
        """Return the error of the reconstructions of all windows of X, with that of the baseline and the verdict.

        It is the evaluation of `lstmae series evaluate`.

        Args:
            X: `(rows, features)`, which the autoencoder was not fitted to.

        Returns:
            Measures under "new data" and the verdict under "verdict", in the form of `metrics_`.

        Raises:
            DataError: no window of X has a value.
        """
        return evaluate_reconstruction(self._loaded, self._prepare(X), find_components(self._fitted)).as_json()

    def score(self, X: TableLike, y: ArrayLike | None = None) -> float:
        """Return the negative mean squared error of the reconstructions of all windows, in scaled values.

        Args:
            X: `(rows, features)`.
            y: ignored.
        """
        (metrics,) = evaluate_reconstruction(self._loaded, self._prepare(X), None).metrics.values()
        return -metrics["reconstruction_mse"].value

    def get_feature_names_out(self, input_features: object = None) -> Array:
        """Return the names of the columns of a code: code0, code1, ...

        Args:
            input_features: ignored.
        """
        check_is_fitted(self)
        return np.array([f"code{number}" for number in range(self._loaded.sliding.code)], object)

    @property
    def _loaded(self) -> encode.RunAutoencoder:
        return self._fitted.load(encode.load_autoencoder)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
