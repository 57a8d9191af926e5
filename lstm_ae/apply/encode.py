"""Encode and reconstruct a table row by row with a trained run."""

from dataclasses import dataclass

import numpy as np

from lstm_ae.apply.run_table import LoadedRun, run_config, slide_run
from lstm_ae.arrays import Float32Array
from lstm_ae.data.frames import map_to_table_rows, row_id_columns
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.detection.row_means import mean_stride, mean_windows, sum_windows, window_blocks, window_segments
from lstm_ae.json_types import JsonMapping
from lstm_ae.model_store import ModelStore
from lstm_ae.models.network import Network
from lstm_ae.models.sliding import SlidingAutoencoder, empty_windows
from lstm_ae.table_files import TableColumns


@dataclass(frozen=True)
class RunAutoencoder(LoadedRun):
    """The autoencoder of a run.

    Args:
        network: The model, which maps windows in the table's units to their reconstructions.
        sliding: The encoder and decoder for the windows at every row.
    """

    network: Network
    sliding: SlidingAutoencoder


def load_autoencoder(run: ModelStore, reading: JsonMapping | None = None) -> RunAutoencoder:
    """Load the autoencoder of a run.

    Args:
        run: A finished anomaly detection or reconstruction run.
        reading: Reading options of the tables that differ from the run's.

    Raises:
        ConfigError, DataError: If the run is unfinished or damaged, or has another task.
    """
    config = run_config(run, "anomaly", "reconstruct", reading=reading)
    network = run.network()
    return RunAutoencoder(config, network.series_scales(run.symbols), network, slide_run(run, config))


def encode_table(autoencoder: RunAutoencoder, prepared: PreparedTable) -> Float32Array:
    """Return the code of the window that ends with each row of a table.

    Args:
        autoencoder: The autoencoder of a run.
        prepared: The table on its time grid.

    Returns:
        `(rows, code)` float32; NaN where the window would begin before its segment or contains no value.
    """
    sliding, grid = autoencoder.sliding, autoencoder.scales.to_common(prepared.grid)
    codes, window = np.full((len(grid.values), sliding.code), np.nan, np.float32), sliding.window
    for first, end in window_segments(grid.segment, window):
        for place in window_blocks(first, end, window, sliding.features):
            rows = grid.values[place]
            empty = empty_windows(rows, window)[:, None]
            codes[place.start + window - 1 : place.stop] = np.where(empty, np.float32(np.nan), sliding.encode(rows))
    return codes


def reconstruct_table(autoencoder: RunAutoencoder, prepared: PreparedTable) -> Float32Array:
    """Reconstruct every row of a table, including missing values.

    Args:
        autoencoder: The autoencoder of a run.
        prepared: The table on its time grid.

    Returns:
        `(rows, features)` float32 in the table's units; NaN where no window contains the row.
    """
    sliding, grid = autoencoder.sliding, autoencoder.scales.to_common(prepared.grid)
    window, rows = sliding.window, np.full(grid.values.shape, np.nan, np.float32)
    stride = mean_stride(window)
    for first, end in window_segments(grid.segment, window):
        blocks = window_blocks(first, end, window, sliding.features, stride)
        rows[first:end] = mean_windows(
            sum_windows(sliding.rebuild(grid.values[block], stride), stride, block.start) for block in blocks
        )
    return autoencoder.scales.from_common(prepared.grid, rows)


def code_columns(autoencoder: RunAutoencoder, prepared: PreparedTable) -> TableColumns:
    """Return series, time, and code (`code0`, `code1`, ...) as table columns.

    The code of a row belongs to the window that ends with it; NaN where there is none.
    """
    codes = map_to_table_rows(prepared, encode_table(autoencoder, prepared))
    return row_id_columns(prepared) | {f"code{place}": codes[:, place] for place in range(codes.shape[1])}


def reconstruction_columns(autoencoder: RunAutoencoder, prepared: PreparedTable) -> TableColumns:
    """Return series, time, and the reconstructed values as table columns.

    Each value column keeps its name. Missing values are reconstructed too; NaN where no window contains the row.
    """
    rows = map_to_table_rows(prepared, reconstruct_table(autoencoder, prepared))
    names = prepared.table.layout.values
    return row_id_columns(prepared) | {name: rows[:, place] for place, name in enumerate(names)}
