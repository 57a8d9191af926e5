"""Rows known to be anomalies, of which nothing is learned."""

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.data.dividing import longest_run, parts_wanted
from lstm_ae.data.flags import are_flags, flagged, flags_of
from lstm_ae.data.grid import Grid
from lstm_ae.data.measurements import Measurements
from lstm_ae.data.series import Prepared, prepare
from lstm_ae.words import count


def known_anomalies(table: Measurements, grid: Grid) -> NDArray[np.bool_]:
    """Which rows of the grid are known to be anomalies, `(rows,)`; so are missing rows between two of them."""
    positive = [place for place, flag in enumerate(flags_of(table.classes)) if flag == 1]
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
    moved = known_anomalies(prepared.table, prepared.grid) & (prepared.part < 2)
    if not moved.any():
        return prepared
    part = np.where(moved, np.int8(2), prepared.part)
    one = moved.sum() == 1
    rows = (
        f"{count(int(moved.sum()), 'row')} known to be {'an anomaly is' if one else 'anomalies are'} in no window of "
    )
    rows += "training and validation"
    return prepared._replace(part=part, inferred={**prepared.inferred, "label_col": rows})


def prepare_normal(config: Reading, table: Measurements) -> Prepared:
    """As `prepare`, for a model of what is normal: rows known to be anomalies are left to the test.

    Where no usual window is left beside them, it is shorter.

    Raises:
        ConfigError: labels that are not 0 and 1; or as `prepare` says.
        DataError: as `prepare` says.
    """
    table = flagged(table)
    prepared = left_to_the_test(prepare(config, table, hidden=lambda grid: known_anomalies(table, grid)))
    longest = longest_run(prepared.grid, prepared.part, parts_wanted(config))
    if config.window is not None or config.may_pad or not 4 <= longest < prepared.window:
        return prepared
    window = longest // 2
    words = f"{window} steps, half the longest run of rows without a known anomaly that every part has"
    return prepared._replace(window=window, inferred={**prepared.inferred, "window": words})


def prepare_any(config: Reading, table: Measurements) -> Prepared:
    """As a training prepares a table whose task nobody told: to forecast, to find anomalies, or else to classify."""
    normal = not config.forecasts and are_flags(table.classes)
    return prepare_normal(config, table) if normal else prepare(config, table)
