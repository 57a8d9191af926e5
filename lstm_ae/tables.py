"""A table in, a table out: by a trained run the code of every row, or every row given back, as the file has them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lstm_ae.data.frames import in_rows_of, names_of_rows
from lstm_ae.data.levels import Levels
from lstm_ae.data.measurements import Progress
from lstm_ae.data.padding import own_rows
from lstm_ae.data.series import Prepared
from lstm_ae.encoding import encoded, reconstructed
from lstm_ae.halves import Halves, halves_of
from lstm_ae.run import Run
from lstm_ae.tasks.series import settling


class Opened(NamedTuple):
    """A table on its grid, and the model that reads it levelled."""

    prepared: Prepared
    halves: Halves
    levels: Levels

    def given_back(self) -> NDArray[np.float32]:
        """Every row of the grid as the model gives it back, `(rows, features)`, in the table's units."""
        rows = reconstructed(self.halves, self.levels.levelled(self.prepared).grid)
        return self.levels.unlevelled(self.prepared, rows)


def open_table(
    run: Run, data: str, progress: Progress | None = None, *, reading: Mapping[str, Any] | None = None
) -> Opened:
    """Read a table as a run's config says.

    Args:
        data: the table, with the columns of the one that the run was trained on, in any order.
        reading: how the table is written where that differs from the run's own, see `settling.read_as`.

    Raises:
        ConfigError, DataError: the run is unfinished or damaged, or the table cannot be read so.
    """
    from lstm_ae.models.scaling import levels_of

    config = settling.config_of(run, "anomaly", "reconstruct")
    model = run.model()
    halves = halves_of(model, config.scale)
    config = dataclasses.replace(settling.read_as(config, reading), data=data, label_col=None)
    prepared = settling.table_of(config, progress)
    return Opened(prepared, halves, levels_of(model, run.symbols))


def code_columns(opened: Opened) -> dict[str, Any]:
    """Series, time, and the code of the window that ends with each row: code0, code1, ...; NaN where there is none."""
    codes = in_rows_of(opened.prepared, encoded(opened.halves, opened.levels.levelled(opened.prepared).grid))
    return names_of_rows(opened.prepared) | {f"code{place}": codes[:, place] for place in range(opened.halves.code)}


def reconstruction_columns(opened: Opened) -> dict[str, Any]:
    """Series, time, and every value given back under its own name, missing ones too; NaN where no window holds it."""
    rows = in_rows_of(opened.prepared, opened.given_back())
    names = opened.prepared.table.layout.values
    return names_of_rows(opened.prepared) | {name: rows[:, place] for place, name in enumerate(names)}


def figure(opened: Opened) -> Figure:
    """The columns and what is given back of them; of several series the first."""
    from lstm_ae.figures.anomalies import MOST, given_back

    grid, table = opened.prepared.grid, opened.prepared.table
    rows = (grid.series == grid.series[0]) & own_rows(grid)
    names, told = table.layout.values, []
    if len(table.ids) > 1:
        told.append(f"{table.ids[grid.series[0]]}, the first of {len(table.ids):,} series")
    if len(names) > MOST:
        told.append(f"the first {MOST} of {len(names):,} columns")
    return given_back(
        table.axis(grid.times[rows]),
        grid.values[rows],
        opened.given_back()[rows],
        names=names,
        zone=table.clock,
        title="; ".join(told),
    )
