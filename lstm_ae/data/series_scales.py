"""Convert series that have scales of their own to a common level.

Machines, meters, and shops in one table differ in level and size. With one scale per series, code that works on rows of
a single scale works on all series once they are leveled: their scaled values, and so all errors, stay the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Float32Array
from lstm_ae.data.preparation import PreparedTable, find_scale_lines
from lstm_ae.data.scaling import Scale
from lstm_ae.errors import DataError
from lstm_ae.formatting import format_heading, format_names


class SeriesScales(NamedTuple):
    """Scale and the names of the series that have a line in it.

    Args:
        names: name of every line, the first "" (unknown); empty if series have no scales of their own.
    """

    scale: Scale
    names: Sequence[str] = ()

    def lines(self, prepared: PreparedTable) -> NDArray[np.int32]:
        """Return the scale line of each grid row, `(rows,)` int32; series are matched by name.

        Raises:
            DataError: if the number of names and of scale lines differ.
        """
        if self.scale.kind == "series" and len(self.names) != len(self.scale.offset):
            raise DataError(
                f"The run names {len(self.names)} series and its scale has {len(self.scale.offset)}, so its "
                "config.json is damaged; restore it, or train a new run"
            )
        return find_scale_lines(self.names, prepared.table.ids)[prepared.grid.series]

    def levelled(self, prepared: PreparedTable) -> PreparedTable:
        """Return the table with all series at the common level; unchanged if series have no scales of their own."""
        if self.scale.kind != "series":
            return prepared
        values = self.scale.levelled(prepared.grid.values, self.lines(prepared))
        return prepared._replace(grid=prepared.grid._replace(values=values))

    def unlevelled(self, prepared: PreparedTable, rows: Float32Array) -> Float32Array:
        """Return leveled rows of the table's grid in their original units."""
        return self.scale.unlevelled(rows, self.lines(prepared))


def describe_unknown_series(names: Sequence[str], ids: Sequence[str]) -> str:
    """Return a description of the series without a scale of their own; "" if there are none."""
    known = set(names[1:])
    without = [name for name in ids if name not in known] if names else []
    if not without:
        return ""
    return (
        f"{len(without):,} of {len(ids):,} series had too few values in the training part, or none, for a scale of "
        "their own, and are scaled as all together are, so that what is found or forecast in them says little: "
        f"{format_names([format_heading(name) for name in without])}"
    )
