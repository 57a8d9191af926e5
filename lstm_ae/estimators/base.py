"""What the estimators share: parameters to a config, rows to measurements, a run in memory."""

# X is what scikit-learn calls the rows.
# ruff: noqa: N803, N806

import random
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from lstm_ae import experiment
from lstm_ae.config import Series
from lstm_ae.config.reading import TimeStep
from lstm_ae.data.checks import ABOUT
from lstm_ae.data.frames import RowCodes, measurements_from_rows, to_table_rows
from lstm_ae.data.measurements import Measurements
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.series_scales import describe_unknown_series
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.estimators.packed import RunFiles, read_run_files
from lstm_ae.estimators.several import default_column_names, series_by_scale
from lstm_ae.formatting import format_epoch
from lstm_ae.run import Run
from lstm_ae.studies.series.defaults import complete_from_table, whole_table

Numbers = NDArray[Any]
Frame = Any  # an array for an array, of pandas for what is of pandas

# What the data and the kind of estimator decide.
SETTLED = ("task", "data", "time_col", "clock_col", "value_cols", "id_col", "label_col", "columns", "seed", "classes")


class Estimator(BaseEstimator):
    """What all estimators share: parameters to a config, rows to measurements, a run in memory."""

    # What is fitted, and the tasks whose runs serve as well.
    _task: ClassVar[str]
    _reads: ClassVar[tuple[str, ...]]
    # Options of a run that are for several series, which one that is fitted to one series does not have.
    _of_several: ClassVar[tuple[str, ...]] = ("split_by", "short")
    scale: Any
    random_state: Any
    options: Mapping[str, Any] | None

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on rows `(rows, features)` that follow one another in time; `y` is ignored.

        With `scale="series"` on rows of several series, each of which is divided for itself.

        The first 70 % are trained on, the next 15 % choose the best epoch and the last 15 % are measured, see
        `metrics_`; other shares by `options={"split": "0.8,0.1,0.1"}`. Warns of many missing rows, of columns that
        count, of values that lose digits, and of a loss that became NaN after a good epoch, whose weights are kept.

        Raises:
            ConfigError: a parameter is out of its range.
            DataError: there are too few rows, a column is empty, or two rows have the same time.
            Diverged: the loss became NaN before any epoch was good.
        """
        series = series_by_scale(X, self.scale)
        config = self._config(id_col=() if series is None else series.columns)
        return self._train(config, self._measurements(X, reset=True, series=series))

    def _train(self, config: Series, table: Measurements) -> Self:
        if table.layout.time is None and config.step not in (None, TimeStep()):
            raise ConfigError(
                f"options names freq {config.freq!r}, and X has no times. Give a frame with an index of times, or "
                "leave freq out"
            )
        settled = complete_from_table(config, table)
        for note in settled.data.source.notes:
            if note.partition(": ")[0] in ABOUT:
                warnings.warn(note, UserWarning, stacklevel=3)  # told of the line that calls `fit`
        with tempfile.TemporaryDirectory() as place, _undisturbed():
            run, command = Run(Path(place) / "run"), f"{type(self).__name__}.fit"
            try:
                experiment.train(settled.config, settled.data, out=run.directory, command=command, figures=False)
            except DivergedError as error:
                # The error's own words name options of the command, and a folder that is gone by then.
                why = str(error).partition(" (")[0]
                if not run.finished:
                    raise DivergedError(f"{why}; no epoch was good. Give a lower learning_rate") from None
                epoch = format_epoch(run.metrics()["training"]["best_epoch"])
                warnings.warn(
                    f"{why}; the weights are those of {epoch}. Give a lower learning_rate",
                    ConvergenceWarning,
                    stacklevel=3,
                )
            return self._keep(read_run_files(run.directory))

    def save(self, path: str | Path) -> Path:
        """Write the run into a new or empty directory, for `load` and for the commands; returns where."""
        check_is_fitted(self)
        return self._packed.unpack(Path(path)).directory

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The estimator of a run that `save` or `lstmae series train` has written.

        Raises:
            ConfigError, DataError: there is no such run, it is unfinished or damaged, or of another study.
        """
        packed = read_run_files(path)
        if packed.config.task not in cls._reads:
            raise DataError(
                f"{str(path)!r} is a run of --task {packed.config.task}; fit a new {cls.__name__}, or train one by "
                f"lstmae series train --task {cls._task}"
            )
        # A step that was found is no wish: it is found in other rows anew.
        asked = replace(packed.config, freq=None) if packed.freq_found else packed.config
        loaded, names = cls(**cls._parameters(asked)), asked.value_cols
        loaded.n_features_in_ = len(names)
        if names != default_column_names(len(names)):
            loaded.feature_names_in_ = np.array(names, object)
        return loaded._keep(packed)

    def export(self, path: str | Path) -> Path:
        """Write the model as a SavedModel that needs none of this package, at `path/1`, or the next number.

        An endpoint for each thing that the model can do, as `lstmae export` says. Returns where it is.
        """
        check_is_fitted(self)
        from lstm_ae.export.saved_model import export_run

        with self._packed.opened() as run:
            return export_run(run, Path(path)).directory

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _config(self, **decided: Any) -> Series:
        """The config of the parameters; `decided` are fields that the rows decide."""
        values = {name: plain(value) for name, value in self.get_params().items()}
        options = {name: plain(value) for name, value in (values.pop("options") or {}).items()}
        state = values.pop("random_state")
        for name in options:
            if name in values:
                raise ConfigError(f"options names {name!r}, a parameter of its own. Give {name}=... instead")
            if name in SETTLED:
                raise ConfigError(f"options names {name!r}, which the rows or random_state decide. Leave it out")
        seed = state if isinstance(state, int) else int(check_random_state(state).randint(2**31))
        return Series.from_dict(values | options | {"task": self._task, "seed": seed} | decided)

    @classmethod
    def _parameters(cls, config: Series) -> dict[str, Any]:
        """The parameters that lead to a config, or to what of it means something for what is fitted here."""
        values, usual = Series.merge(config.to_dict(), {"task": cls._task}).to_dict(), Series().to_dict()
        own = set(cls._get_param_names()) - {"random_state", "options"}
        rest = [name for name in values if name not in own and name not in (*SETTLED, *cls._of_several)]
        options = {name: values[name] for name in rest if values[name] != usual[name]}
        return {name: values[name] for name in own} | {"random_state": config.seed, "options": options or None}

    def _keep(self, packed: RunFiles) -> Self:
        self._packed = packed
        self.window_ = packed.config.window
        self.metrics_ = packed.metrics
        return self

    def _measurements(
        self, X: Any, *, reset: bool, series: RowCodes | None = None, labels: RowCodes | None = None
    ) -> Measurements:
        if isinstance(X, pd.Series):
            X = X.to_frame()
        if isinstance(X, pd.DataFrame) and not X.columns.is_unique:
            twice = X.columns[X.columns.duplicated()][0]
            raise DataError(f"X has more than one column called {twice!r}. Give each a name of its own")
        least = 2 if reset else 1
        values = validate_data(
            self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=least
        )
        huge = np.argwhere(np.abs(values) > np.finfo(np.float32).max)
        if len(huge):
            row, column = huge[0]
            raise DataError(
                f"X, row {row}, column {column}: {values[row, column]:g} is too large for single precision. Divide the "
                "column by a power of ten"
            )
        names = getattr(self, "feature_names_in_", default_column_names(values.shape[1]))
        index = X.index if isinstance(X, pd.DataFrame) else None
        if isinstance(index, pd.MultiIndex):
            if series is None:
                raise DataError(
                    "X has an index of several levels, as several series do, and one is fitted at a time. Give one, "
                    'with a plain index, or scale="series"; lstmae series train --id-col takes many at one scale'
                )
            index = index.get_level_values(-1)
        return measurements_from_rows(values, list(names), index, series=series, labels=labels)

    def _prepared(self, X: Any) -> PreparedTable:
        """New rows on the grid of those that were fitted."""
        check_is_fitted(self)
        config = self._packed.config
        table = self._measurements(X, reset=False, series=series_by_scale(X, config.scale))
        if unknown := describe_unknown_series(self._packed.symbols, table.ids):
            warnings.warn(unknown, UserWarning, stacklevel=3)
        if table.layout.time is None:
            config = replace(config, freq="rows")
        return whole_table(config, table)

    def _rows(self, prepared: PreparedTable, found: Numbers, X: Any, names: Any) -> Frame:
        """Rows of the grid as rows of X: a frame or, of `(rows,)`, a series of pandas where X is of pandas."""
        rows = to_table_rows(prepared, found)
        if not isinstance(X, pd.DataFrame | pd.Series):
            return rows
        if rows.ndim == 1:
            return pd.Series(rows, X.index, name=names)
        return pd.DataFrame(rows, X.index, columns=names)


def plain(value: Any) -> Any:
    """A number of numpy, as a search over parameters tries them, as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The training seeds the generators of the whole process; those who draw from them go on where they were."""
    before, own = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(own)
