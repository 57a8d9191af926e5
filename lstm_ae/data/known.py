"""Rows known to be anomalies, of which nothing is learned."""

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.flags import flags_of
from lstm_ae.data.series import Prepared


def known_anomalies(prepared: Prepared) -> NDArray[np.bool_]:
    """Which rows of the grid are known to be anomalies, `(rows,)`; so are missing rows between two of them."""
    positive = [place for place, flag in enumerate(flags_of(prepared.table.classes)) if flag == 1]
    grid = prepared.grid
    if grid.labels is None:
        return np.zeros(len(grid.times), bool)
    labels = np.isin(grid.labels, positive)
    # Missing rows have known ones of their segment on both sides.
    known = np.flatnonzero(grid.known)
    after = np.cumsum(grid.known)
    before, behind = known[np.maximum(after - 1, 0)], known[np.minimum(after, len(known) - 1)]
    found: NDArray[np.bool_] = labels | (~grid.known & labels[before] & labels[behind])
    return found


def left_to_the_test(prepared: Prepared) -> Prepared:
    """Rows known to be anomalies in the test part, so that no window of training and validation holds one."""
    moved = known_anomalies(prepared) & (prepared.part < 2)
    if not moved.any():
        return prepared
    part = np.where(moved, np.int8(2), prepared.part)
    rows = f"{int(moved.sum()):,} rows known to be anomalies are in no window of training and validation"
    return prepared._replace(part=part, inferred={**prepared.inferred, "label_col": rows})
