"""All series of a table at one level, where each has a scale of its own.

Machines, meters and shops in one table differ in level and size. With a scale for each, what works on rows of one scale
works on all of them once they are levelled: their scaled values, and so all errors, stay the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.preparation import PreparedTable, find_scale_lines
from lstm_ae.data.scaling import Floats, Scale
from lstm_ae.errors import DataError
from lstm_ae.formatting import format_heading, format_names


class SeriesScales(NamedTuple):
    """A scale, and the names of the series that it has lines for.

    Args:
        names: of every line, "" the first; empty where series have no scale of their own.
    """

    scale: Scale
    names: Sequence[str] = ()

    def lines(self, prepared: PreparedTable) -> NDArray[np.int32]:
        """The line of each row of the grid, `(rows,)`: series are told by their names, not by their places.

        Raises `DataError` where the names are not those of the scale.
        """
        if self.scale.kind == "series" and len(self.names) != len(self.scale.offset):
            raise DataError(
                f"The run names {len(self.names)} series and its scale has {len(self.scale.offset)}, so its "
                "config.json is damaged; restore it, or train a new run"
            )
        return find_scale_lines(self.names, prepared.table.ids)[prepared.grid.series]

    def levelled(self, prepared: PreparedTable) -> PreparedTable:
        """The table with all series at the level of all together; itself where they have none of their own."""
        if self.scale.kind != "series":
            return prepared
        values = self.scale.levelled(prepared.grid.values, self.lines(prepared))
        return prepared._replace(grid=prepared.grid._replace(values=values))

    def unlevelled(self, prepared: PreparedTable, rows: Floats) -> Floats:
        """Rows of the table's grid, levelled, in their own units."""
        return self.scale.unlevelled(rows, self.lines(prepared))


def describe_unknown_series(names: Sequence[str], ids: Sequence[str]) -> str:
    """Which series have no scale of their own; "" where all have one, or none is to."""
    known = set(names[1:])
    without = [name for name in ids if name not in known] if names else []
    if not without:
        return ""
    return (
        f"{len(without):,} of {len(ids):,} series had too few values in the training part, or none, for a scale of "
        "their own, and are scaled as all together are, so that what is found or forecast in them says little: "
        f"{format_names([format_heading(name) for name in without])}"
    )
