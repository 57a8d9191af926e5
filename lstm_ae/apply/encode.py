"""Encode and reconstruct a table row by row with a trained run."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.data.frames import map_to_table_rows, row_id_columns
from lstm_ae.data.grid import Grid
from lstm_ae.data.measurements import Progress
from lstm_ae.data.padding import original_rows
from lstm_ae.data.preparation import PreparedTable, SeriesScales
from lstm_ae.detection.calibration import BATCH, Adding, score_rows, window_blocks, window_segments
from lstm_ae.detection.scores import mean_errors
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.models.sliding import SlidingAutoencoder, empty_windows, slide
from lstm_ae.run import Run
from lstm_ae.studies.series import defaults


def encode_rows(halves: SlidingAutoencoder, grid: Grid) -> Float32Array:
    """Return the code of the window that ends with each row.

    Returns:
        `(rows, code)` float32; NaN where the window would begin before its segment or contains no value.
    """
    found, window = np.full((len(grid.values), halves.code), np.nan, np.float32), halves.window
    for first, end in window_segments(grid.segment, window):
        for place in window_blocks(first, end, window):
            rows = grid.values[place]
            nothing = empty_windows(rows, window)[:, None]
            found[place.start + window - 1 : place.stop] = np.where(nothing, np.float32(np.nan), halves.encode(rows))
    return found


def decode_rows(halves: SlidingAutoencoder, codes: Array, segment: Array) -> Float32Array:
    """Reconstruct rows from codes in the layout of `encode_rows`.

    Args:
        halves: The encoder and decoder.
        codes: `(rows, code)`.
        segment: `(rows,)` the segment of each row.

    Returns:
        `(rows, features)` float32, the mean over all windows that contain the row.

    Raises:
        ConfigError: If the model scales each window by its own range.
    """
    decode = halves.decode
    if decode is None:
        raise ConfigError(
            "Codes of a model with --scale window do not tell the size of what they stand for; reconstruct the rows "
            "themselves, or train with --scale standard"
        )
    found = np.full((len(codes), halves.features), np.nan, np.float32)
    for first, end in window_segments(segment, halves.window):
        ends = range(first + halves.window - 1, end, BATCH)
        found[first:end] = mean_errors(decode(codes[start : min(start + BATCH, end)]) for start in ends)
    return found


def reconstruct_rows(halves: SlidingAutoencoder, grid: Grid) -> Float32Array:
    """Reconstruct every row, including missing values.

    Returns:
        `(rows, features)` float32; NaN where no window contains the row.
    """
    rows = score_rows(halves.rebuild, grid.values, grid.segment, halves.window, smooth=1)
    return rows.astype(np.float32)


def mean_squared_error(errors: Adding, grid: Grid, window: int) -> float:
    """Return the mean squared error over all windows in scaled values, as in the run's test metrics.

    Args:
        errors: Function that returns the window errors of a block of rows, for the model or a baseline.
        grid: The rows.
        window: Rows per window.

    Raises:
        DataError: If no window contains a value.
    """
    total = count = 0.0
    for first, end in window_segments(grid.segment, window):
        for place in window_blocks(first, end, window):
            added = errors(grid.values[place])
            total, count = total + added.sums.sum(), count + added.counts.sum()
    if not count:
        raise DataError(f"No window of {window} rows holds a value, so there is no error to tell; give other rows")
    return float(total / count)


class OpenTable(NamedTuple):
    """A table on its time grid with the autoencoder of a run and the scales of its series."""

    prepared: PreparedTable
    halves: SlidingAutoencoder
    levels: SeriesScales

    def reconstruction(self) -> Float32Array:
        """Return the reconstruction of every grid row, `(rows, features)`, in the table's units."""
        rows = reconstruct_rows(self.halves, self.levels.to_common(self.prepared).grid)
        return self.levels.from_common(self.prepared, rows)


def open_table(
    run: Run, data: str, progress: Progress | None = None, *, reading: Mapping[str, Any] | None = None
) -> OpenTable:
    """Read a table with a run's settings and load the run's autoencoder.

    Args:
        run: A finished anomaly detection or reconstruction run.
        data: The table, with the columns of the training table in any order.
        reading: Reading options that differ from the run's, see `settling.read_as`.

    Raises:
        ConfigError, DataError: If the run is unfinished or damaged, or the table cannot be read with these options.
    """
    from lstm_ae.models.scaling import series_scales_of

    config = defaults.config_of(run, "anomaly", "reconstruct")
    model = run.model()
    halves = slide(model, config.scale)
    config = dataclasses.replace(defaults.read_with_run_config(config, reading), data=data, label_col=None)
    prepared = defaults.read_labelled_table(config, progress)
    return OpenTable(prepared, halves, series_scales_of(model, run.symbols))


def code_columns(opened: OpenTable) -> dict[str, Any]:
    """Return series, time, and code (`code0`, `code1`, ...) as table columns.

    The code of a row belongs to the window that ends with it; NaN where there is none.
    """
    codes = map_to_table_rows(
        opened.prepared, encode_rows(opened.halves, opened.levels.to_common(opened.prepared).grid)
    )
    return row_id_columns(opened.prepared) | {f"code{place}": codes[:, place] for place in range(opened.halves.code)}


def reconstruction_columns(opened: OpenTable) -> dict[str, Any]:
    """Return series, time, and the reconstructed values as table columns.

    Each value column keeps its name. Missing values are reconstructed too; NaN where no window contains the row.
    """
    rows = map_to_table_rows(opened.prepared, opened.reconstruction())
    names = opened.prepared.table.layout.values
    return row_id_columns(opened.prepared) | {name: rows[:, place] for place, name in enumerate(names)}


def reconstruction_figure(opened: OpenTable) -> Figure:
    """Plot the columns of the first series and their reconstruction."""
    from lstm_ae.plots.anomalies import MAX_COLUMNS, reconstruction

    grid, table = opened.prepared.grid, opened.prepared.table
    rows = (grid.series == grid.series[0]) & original_rows(grid)
    names, told = table.layout.values, []
    if len(table.ids) > 1:
        told.append(f"{table.ids[grid.series[0]]}, the first of {len(table.ids):,} series")
    if len(names) > MAX_COLUMNS:
        told.append(f"the first {MAX_COLUMNS} of {len(names):,} columns")
    return reconstruction(
        table.axis(grid.times[rows]),
        grid.values[rows],
        opened.reconstruction()[rows],
        names=names,
        zone=table.clock,
        title="; ".join(told),
    )
