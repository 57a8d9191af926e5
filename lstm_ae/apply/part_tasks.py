"""Encode, reconstruct, classify, and forecast the rows of a part of a table; load the task of a run."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lstm_ae.apply.classify import RunClassifier, classify_windows, load_classifier, name_probabilities
from lstm_ae.apply.encode import RunAutoencoder, encode_table, load_autoencoder, name_codes, reconstruct_table
from lstm_ae.apply.forecast import (
    RunForecaster,
    count_steps,
    empty_forecast,
    find_last_windows,
    forecast_columns,
    forecast_table,
    load_forecaster,
    require_levels,
)
from lstm_ae.apply.part_detection import load_part_detector
from lstm_ae.apply.partition import WHOLE_SERIES, PartContext, PartTask, PlacedRows, Reach, TaskResult
from lstm_ae.arrays import Float32Array
from lstm_ae.config import Series
from lstm_ae.data.padding import pad_segments
from lstm_ae.data.panel import run_bounds
from lstm_ae.data.preparation import PreparedTable, split_plan
from lstm_ae.data.sliding import sliding_windows, window_blocks, window_segments
from lstm_ae.json_types import JsonMapping
from lstm_ae.model_store import ModelStore
from lstm_ae.studies.series.defaults import require_complete_windows
from lstm_ae.table_files import TableColumns


@dataclasses.dataclass(frozen=True)
class PartEncoder(PartTask):
    """The code of the window that ends with each row.

    Args:
        autoencoder: the autoencoder of a run. Its kernels compute all windows, because results for equal rows must be
            equal.
    """

    folder = "codes"
    noun = "code"

    autoencoder: RunAutoencoder

    @property
    def config(self) -> Series:
        """The settings of the run."""
        return self.autoencoder.config

    @property
    def reach(self) -> Reach:
        """Positions that the codes depend on."""
        return self.reach_of_windows(self.autoencoder.sliding.features, causal=True)

    def compute(self, rows: PlacedRows) -> TaskResult:
        """Return the code of each row, NaN where no window ends."""
        prepared = self.regularize(rows, pad=True)
        require_complete_windows(self.config, prepared)
        with threadpool_limits(1, user_api="blas"):
            codes = encode_table(self.autoencoder, prepared, rows.positions(prepared.grid))
        return _rows_result(rows, prepared, codes, name_codes)

    def empty_columns(self) -> TableColumns:
        """Return the columns of the codes without rows."""
        return name_codes(np.zeros((0, self.autoencoder.sliding.code), np.float32))


@dataclasses.dataclass(frozen=True)
class PartReconstructor(PartEncoder):
    """The reconstruction of each row, the mean over all windows with the row."""

    folder = "reconstructions"
    noun = "reconstructed row"

    @property
    def reach(self) -> Reach:
        """Positions that the reconstructions depend on."""
        return self.reach_of_windows(self.autoencoder.sliding.features)

    def compute(self, rows: PlacedRows) -> TaskResult:
        """Return the reconstructed values of each row, NaN where no window contains it."""
        prepared = self.regularize(rows, pad=True)
        require_complete_windows(self.config, prepared)
        with threadpool_limits(1, user_api="blas"):
            values = reconstruct_table(self.autoencoder, prepared, rows.positions(prepared.grid))
        return _rows_result(rows, prepared, values, self._name_columns)

    def empty_columns(self) -> TableColumns:
        """Return the columns of the reconstructions without rows."""
        return self._name_columns(np.zeros((0, len(self.config.value_cols)), np.float32))

    def _name_columns(self, values: Float32Array) -> TableColumns:
        return dict(zip(self.config.value_cols, values.T, strict=True))


@dataclasses.dataclass(frozen=True)
class PartClassifier(PartTask):
    """The class of the window that ends with each row, or of the series if it is one window.

    Args:
        classifier: the classifier of a run.
    """

    folder = "classes"
    noun = "classified row"

    classifier: RunClassifier

    @property
    def config(self) -> Series:
        """The settings of the run."""
        return self.classifier.config

    @property
    def by_series(self) -> bool:
        """Whether a series that is one window has one class."""
        return self.config.split_by == "series" and bool(self.config.id_col)

    @property
    def reach(self) -> Reach:
        """Positions that the classes depend on."""
        if self.by_series:
            return Reach(WHOLE_SERIES, WHOLE_SERIES)
        return self.reach_of_windows(len(self.config.value_cols), causal=True)

    def compute(self, rows: PlacedRows) -> TaskResult:
        """Return the class and the probability of each class for each row, empty and NaN where there is none."""
        prepared = self.regularize(rows)
        if self.by_series and self.config.may_pad:
            prepared = pad_segments(prepared)
        require_complete_windows(self.config, prepared)
        grid, window, position = prepared.grid, prepared.window, rows.positions(prepared.grid)
        by_row = np.full((len(grid.series), len(self.config.classes)), np.nan, np.float32)
        windows = np.zeros(len(grid.ids), np.int64)
        last: dict[int, Float32Array] = {}
        valued = grid.valued
        for first, end in window_segments(grid.segment, window):
            if not valued[first]:
                continue
            for block in window_blocks(first, end, window, grid.values.shape[1], int(position[first])):
                found = classify_windows(self.classifier, sliding_windows(grid.values[block], window))
                by_row[block.start + window - 1 : block.stop] = found
                code = int(grid.series[first])
                windows[code] += len(found)
                last[code] = found[-1]
        for code in np.flatnonzero(windows == 1).tolist() if self.by_series else ():
            by_row[grid.series == code] = last[code]
        return _rows_result(rows, prepared, by_row, lambda own: name_probabilities(self.config.classes, own))

    def empty_columns(self) -> TableColumns:
        """Return the columns of the classes without rows."""
        return _type_text(name_probabilities(self.config.classes, np.zeros((0, len(self.config.classes)), np.float32)))


@dataclasses.dataclass(frozen=True)
class PartForecaster(PartTask):
    """The forecast of each series that ends in the part.

    Args:
        forecaster: the forecaster of a run.
        horizon: steps to forecast; None for those of the run.
        levels: levels of the prediction intervals in percent.
    """

    folder = "forecasts"
    noun = "forecast step"
    by_row = False

    forecaster: RunForecaster
    horizon: int | None = None
    levels: tuple[int, ...] = ()

    @property
    def config(self) -> Series:
        """The settings of the run."""
        return self.forecaster.config

    @property
    def reach(self) -> Reach:
        """Positions before a part that the forecasts depend on.

        A plan of known covariates may be of any length, any row may hold the value of a static column, and any row
        may show on which day of the month rows are.
        """
        if self.config.known_future or self.config.static_cols or self.step.months:
            return Reach(WHOLE_SERIES, 0)
        before = self.forecaster.recent_steps if self.levels else self.window
        return Reach(before - 1 + 2 * (self.max_gap + 1), 0)

    def is_needed(self, context: PartContext) -> bool:
        """Return whether a series ends in the part."""
        return not all(place.more for place in context.series.values())

    def compute(self, rows: PlacedRows) -> TaskResult:
        """Return a row for each step of each series that ends in the part with a complete window.

        Each series is computed on its own, because the last bit may depend on the other series of a batch.
        """
        table = rows.table
        ending = {int(table.series[first]) for first, end in run_bounds(table.series) if rows.own[end - 1]}
        ending &= {code for code, name in enumerate(table.ids) if name in rows.ends}
        # Numbers instead of lines say which rows are left.
        observed, plan = split_plan(table._replace(lines=np.arange(len(table.lines), dtype=np.int32)))
        kept = observed.lines.astype(np.int64)
        placed = rows._replace(table=table.take(kept), places=rows.places[kept], own=rows.own[kept])
        prepared = self.regularize(placed)
        if plan is not None:
            prepared = prepared._replace(plan=table.take(plan.lines.astype(np.int64)))
        last = find_last_windows(prepared)
        last = last[np.isin(prepared.grid.series[last], list(ending))]
        meta = {"skipped": len(ending) - len(last)}
        if not len(last):
            return TaskResult({}, meta=meta)
        with threadpool_limits(1, user_api="blas"):
            forecast = forecast_table(
                self.forecaster, prepared, horizon=self.horizon, levels=self.levels, last=last, size=1
            )
        columns = forecast_columns(forecast)
        return TaskResult(columns, results=len(columns["step"]), meta=meta)

    def empty_columns(self) -> TableColumns:
        """Return the columns of the forecasts without rows."""
        return _type_text(forecast_columns(empty_forecast(self.forecaster, horizon=self.horizon, levels=self.levels)))


def _type_text(columns: TableColumns) -> TableColumns:
    """Return columns without rows with arrays of text in place of lists, which have no type."""
    return {name: np.zeros(0, str) if isinstance(values, list) else values for name, values in columns.items()}


def _rows_result(
    rows: PlacedRows, prepared: PreparedTable, found: Float32Array, name: Callable[[Float32Array], Any]
) -> TaskResult:
    """Return results `(grid rows, columns)` as those of the rows of the part."""
    own = found[rows.grid_rows(prepared.grid)]
    return TaskResult(name(own), rows.key_columns, int((~np.isnan(own)).any(axis=1).sum()))


def _load_encoder(run: ModelStore, reading: JsonMapping | None = None) -> PartEncoder:
    return PartEncoder(load_autoencoder(run, reading, repeated=True))


def _load_reconstructor(run: ModelStore, reading: JsonMapping | None = None) -> PartReconstructor:
    return PartReconstructor(load_autoencoder(run, reading, repeated=True))


def _load_classifier(run: ModelStore, reading: JsonMapping | None = None) -> PartClassifier:
    return PartClassifier(load_classifier(run, reading))


def _load_forecaster(
    run: ModelStore, reading: JsonMapping | None = None, *, horizon: int | None = None, levels: Sequence[int] = ()
) -> PartForecaster:
    forecaster = load_forecaster(run, reading)
    count_steps(forecaster.config, horizon)
    return PartForecaster(forecaster, horizon, require_levels(levels))


LOADERS: Mapping[str, Callable[..., PartTask]] = {
    "detect": load_part_detector,
    "encode": _load_encoder,
    "reconstruct": _load_reconstructor,
    "classify": _load_classifier,
    "forecast": _load_forecaster,
}
