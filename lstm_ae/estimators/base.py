"""Base class of the estimators."""

# scikit-learn's name of the data is X.
# ruff: noqa: N803, N806

import random
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from lstm_ae import experiment
from lstm_ae.apply.run_table import prepare_run_table
from lstm_ae.arrays import Array
from lstm_ae.checks.table import TRAINING_TOPICS, collect_new_table_warnings
from lstm_ae.config import Series
from lstm_ae.config.reading import COVARIATES, TimeStep
from lstm_ae.data.frames import RowCodes, describe_text_times, map_to_table_rows, panel_from_rows
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.errors import Code, ConfigError, DataError, DivergedError, LstmAeError
from lstm_ae.estimators.inputs import TableLike, default_column_names, series_by_scale
from lstm_ae.formatting import format_best_epochs
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.model_store import FittedModel
from lstm_ae.run import config_record, open_run, save_run
from lstm_ae.startup import load_tensorflow
from lstm_ae.studies.series.defaults import complete_from_table

Frame = Any  # An array if X is an array, otherwise a pandas object.

# Options that follow from the data or from the estimator.
DERIVED_OPTIONS = (
    "task",
    "data",
    "test",
    "time_col",
    "value_cols",
    "id_col",
    "label_col",
    "columns",
    "seed",
    "classes",
)


_SERIES_OPTION = re.compile(r"--id-col((,| with) the column that identifies the series)?")

_OPTION = re.compile(r"(?<!\S)--([a-z][a-z0-9-]*)")
# Options of commands that are arguments of methods.
_METHOD_OPTIONS = ("adapt",)


@dataclass(kw_only=True, eq=False, repr=False)
class Estimator(BaseEstimator):
    """Base class of the estimators: parameters, conversion of X, and the fitted model in memory.

    The estimators are dataclasses, so that the constructor, the defaults, and `get_params` follow from the fields.
    """

    # The task of a fitted run, and the tasks of runs that `load` accepts.
    _task: ClassVar[str]
    _accepted_tasks: ClassVar[tuple[str, ...]]

    # Input that identifies the series instead of --id-col.
    _series_input: ClassVar[str] = 'scale="series" and an index of series and times'

    window: int | None = Series.window
    units: int = Series.units
    epochs: int = Series.epochs
    learning_rate: float = Series.learning_rate
    batch_size: int | None = Series.batch_size
    scale: str = Series.scale
    stride: int = Series.stride
    random_state: int | np.random.RandomState | None = Series.seed
    options: JsonMapping | None = None

    def fit(self, X: TableLike, y: ArrayLike | None = None) -> Self:
        """Train on the rows of a table in temporal order.

        The first 70% of the rows are the training split, the next 15% the validation split, which selects the best
        epoch, and the last 15% the test split; see `metrics_`. Pass `options={"split": "0.8,0.1,0.1"}` for other
        shares. With `scale="series"` each series is split separately.

        Args:
            X: `(rows, features)` consecutive time steps.
            y: ignored.

        Returns:
            The fitted estimator.

        Warns:
            UserWarning: many rows are missing, a column is a counter, values lose digits, or the index has times as
                text.
            ConvergenceWarning: the loss became NaN after an epoch whose weights are used.

        Raises:
            ConfigError: a parameter is out of its range.
            DataError: there are too few rows, a column is empty, or two rows have the same time.
            DivergedError: the loss became NaN before any epoch succeeded.
        """
        series = series_by_scale(X, self.scale)
        config = self._config(id_col=() if series is None else series.columns)
        return self._train(config, self._panel(X, reset=True, series=series))

    def _train(self, config: Series, table: Panel) -> Self:
        if table.layout.time is None and config.step not in (None, TimeStep()):
            raise ConfigError(
                f"options has freq {config.freq!r}, but X has no times. Pass a frame with an index of times or remove "
                "freq.",
                code=Code.MISSING_OPTION,
            )
        with self._naming_parameters():
            completed = complete_from_table(config, table)
        for note in completed.data.source.notes:
            if note.partition(": ")[0] in TRAINING_TOPICS:
                warnings.warn(note, UserWarning, stacklevel=3)  # The warning names the line that calls `fit`.
        config, data, name = completed.config, completed.data, f"{type(self).__name__}.fit"
        with _preserve_random_state():
            record = config_record(config, data.source, data.symbols, name)
            fitted, result = experiment.train_model(config, data, record=record, name=name)
            reason = result.stopped[:1].upper() + result.stopped[1:]
            if fitted is None:
                raise DivergedError(f"{reason}; no epoch succeeded. Pass a lower learning_rate.")
        if result.diverged:
            epoch = format_best_epochs(fitted.metrics()["training"])
            warnings.warn(
                f"{reason}; the estimator has the weights of {epoch}. Pass a lower learning_rate.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self._set_fitted(fitted)

    def save(self, path: str | Path) -> Path:
        """Write the run to a directory for `load` and for the commands.

        Args:
            path: a new or empty directory.

        Returns:
            The directory.
        """
        check_is_fitted(self)
        return save_run(self._fitted, Path(path)).directory

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the estimator of a run written by `save` or `lstmae series train`.

        Args:
            path: directory of the run.

        Raises:
            ConfigError: the run is of another study or version.
            DataError: there is no run, or it is unfinished, damaged, or of another task.
        """
        fitted = open_run(path, "series").read()
        config = _table_config(fitted)
        if config.task not in cls._accepted_tasks:
            raise DataError(
                f"{str(path)!r} is a run of --task {config.task}. Fit a new {cls.__name__}, or train one with "
                f"lstmae series train --task {cls._task}.",
                code=Code.RUN_MISMATCH,
            )
        # An inferred sampling interval is inferred again if the estimator is fitted to other rows.
        notes = fitted.about()["data"]["notes"]
        if config.time_col is None or any(note.startswith("freq: ") for note in notes):
            config = replace(config, freq=None)
        loaded, names = cls(**cls._parameters(config)), (*config.value_cols, *config.covariates)
        loaded.n_features_in_ = len(names)
        if {*names} != {*default_column_names(len(names))}:
            loaded.feature_names_in_ = np.array(names, object)
        return loaded._set_fitted(fitted)

    def export(self, path: str | Path) -> Path:
        """Write the model as a SavedModel that does not need this package.

        The endpoints are those of `lstmae export`.

        Args:
            path: directory of the versions.

        Returns:
            The directory of the new version: `path/1` or the next number.
        """
        check_is_fitted(self)
        load_tensorflow()
        from lstm_ae.export.saved_model import export_run

        return export_run(self._fitted, Path(path)).directory

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _config(self, **derived: Any) -> Series:
        """Return the config of the parameters.

        Args:
            derived: options that follow from the data.
        """
        values = {name: python_value(value) for name, value in self.get_params().items()}
        options = {name: python_value(value) for name, value in self._options().items()}
        state = values.pop("random_state")
        del values["options"]
        for name in options:
            if name in values or name in DERIVED_OPTIONS:
                raise ConfigError(
                    f"options has {name!r}, which is a parameter or follows from the data. Remove it.",
                    code=Code.OPTION_NOT_APPLICABLE,
                )
        seed = state if isinstance(state, int) else int(check_random_state(state).randint(2**31))
        with self._naming_parameters():
            return Series.from_dict(values | options | {"task": self._task, "seed": seed} | derived)

    def _options(self) -> JsonMapping:
        if not isinstance(self.options, Mapping | None):
            raise ConfigError(f"options must be a dict of values by name. Received: {self.options!r}")
        return self.options or {}

    @contextmanager
    def _naming_parameters(self) -> Iterator[None]:
        """Replace command-line options in error messages by parameters, such as `batch_size` or `options["freq"]`."""
        try:
            yield
        except LstmAeError as error:
            # The text from the first command on is a command to run, which keeps its options.
            text, *command = re.split(r"(?=\blstmae )", str(error), maxsplit=1)
            text = _SERIES_OPTION.sub(self._series_input, text).replace("another --label-col", "another y")
            error.args = ("".join([_OPTION.sub(self._parameter_of_option, text), *command]),)
            raise

    def _parameter_of_option(self, match: re.Match[str]) -> str:
        name = match[1].replace("-", "_")
        if name == "seed":
            return "random_state"
        if name in (*self._get_param_names(), *_METHOD_OPTIONS):
            return name
        return match[0] if name in DERIVED_OPTIONS or not hasattr(Series, name) else f'options["{name}"]'

    @classmethod
    def _parameters(cls, config: Series) -> JsonObject:
        """Return the parameters of a config that apply to this estimator."""
        values, defaults = Series.merge(config.to_dict(), {"task": cls._task}).to_dict(), Series().to_dict()
        parameters = {name: values.pop(name) for name in cls._get_param_names() if name in values}
        options = {
            name: value for name, value in values.items() if name not in DERIVED_OPTIONS and value != defaults[name]
        }
        return parameters | {"random_state": config.seed, "options": options or None}

    def _set_fitted(self, fitted: FittedModel) -> Self:
        self._fitted = fitted
        self.window_ = self._fitted_config.window
        self.metrics_ = fitted.metrics()
        return self

    @property
    def _fitted_config(self) -> Series:
        return _table_config(self._fitted)

    def _panel(
        self, X: TableLike, *, reset: bool, series: RowCodes | None = None, labels: RowCodes | None = None
    ) -> Panel:
        if isinstance(X, pd.Series):
            X = X.to_frame()
        if isinstance(X, pd.DataFrame) and not X.columns.is_unique:
            duplicate = X.columns[X.columns.duplicated()][0]
            raise DataError(f"X has more than one column {duplicate!r}. Rename all but one.", code=Code.ARRAY_INPUT)
        past, future, static = (tuple(getattr(self, name, ())) for name in COVARIATES)
        known = (*future, *static)
        if (past or known) and not reset and isinstance(X, pd.DataFrame) and hasattr(self, "feature_names_in_"):
            # A run stores its columns in the order of their roles.
            names = self.feature_names_in_
            X = X[names] if {*names} == {*X.columns} else X
        min_rows = 2 if reset else 1
        values = validate_data(
            self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=min_rows
        )
        huge = np.argwhere(np.abs(values) > np.finfo(np.float32).max)
        if len(huge):
            row, column = huge[0]
            raise DataError(
                f"X, row {row}, column {column}: {values[row, column]:g} is too large for single precision. Divide the "
                "column by a power of ten.",
                code=Code.ARRAY_INPUT,
            )
        names = getattr(self, "feature_names_in_", default_column_names(values.shape[1]))
        index = X.index if isinstance(X, pd.DataFrame) else None
        if isinstance(index, pd.MultiIndex):
            if series is None:
                raise DataError(
                    "X has several series (an index of several levels), but the estimator fits one. Pass one series "
                    'with a single index level, or scale="series". lstmae series train --id-col fits several series '
                    "with one scale.",
                    code=Code.ARRAY_INPUT,
                )
            index = index.get_level_values(-1)
        if index is not None and (text := describe_text_times(index)):
            warnings.warn(text, UserWarning, stacklevel=3)
        return panel_from_rows(values, list(names), index, series=series, labels=labels, past=past, known=known)

    def _prepare(self, X: TableLike, labels: RowCodes | None = None) -> PreparedTable:
        """Return new rows, perhaps with labels, on the time grid of the fitted ones."""
        check_is_fitted(self)
        config = self._fitted_config
        table = self._panel(X, reset=False, series=series_by_scale(X, config.scale), labels=labels)
        with self._naming_parameters():
            prepared = prepare_run_table(config, table)
        for text in collect_new_table_warnings(prepared, symbols=self._fitted.symbols):
            warnings.warn(text, UserWarning, stacklevel=3)
        return prepared

    def _to_rows(self, prepared: PreparedTable, values: Array, X: TableLike, names: Any) -> Frame:
        """Return values on the grid as rows of X.

        Args:
            prepared: the grid.
            values: `(grid rows,)` or `(grid rows, columns)`.
            X: the data passed by the caller.
            names: name of the pandas series or names of the columns.

        Returns:
            An array, or a pandas series or frame with the index of X if X is a pandas object.
        """
        rows = map_to_table_rows(prepared, values)
        if not isinstance(X, pd.DataFrame | pd.Series):
            return rows
        if rows.ndim == 1:
            return pd.Series(rows, X.index, name=names)
        return pd.DataFrame(rows, X.index, columns=names)


def _table_config(fitted: FittedModel) -> Series:
    config = fitted.config()
    assert isinstance(config, Series)
    return config


def python_value(value: Any) -> Any:
    """Return a NumPy scalar, as parameter searches pass them, as a Python value; other values are unchanged."""
    return value.item() if isinstance(value, np.generic) else value


@contextmanager
def _preserve_random_state() -> Iterator[None]:
    """Restore the global random states of Python and NumPy at the end, because training seeds them."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
