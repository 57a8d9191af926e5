"""What a table holds and what is wrong with it, before anything is trained."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lstm_ae.config import Reading
from lstm_ae.config.reading import Step
from lstm_ae.data.cadence import Clash, Gaps, clash_of, common_step, gaps_of, slots
from lstm_ae.data.findings import (
    Feature,
    Finding,
    bad_cells,
    changed_by,
    in_columns,
    in_length,
    in_series,
    in_steps,
    in_time,
    mostly_missing,
    no_windows,
    rows_that_meet,
)
from lstm_ae.data.known import prepare_any
from lstm_ae.data.measurements import Measurements, Progress, read_measurements
from lstm_ae.data.padding import padded
from lstm_ae.data.series import Prepared, windows_of


class Inspection(NamedTuple):
    """What a table holds.

    Args:
        table: as it was read.
        step, gaps, clash: of its rows in time.
        features: the columns to model.
        others: the other columns, with what they hold.
        prepared: on its grid and divided.
        windows: how many each of `PARTS` holds.
        findings: what is wrong, the worst first.
    """

    table: Measurements
    step: Step
    gaps: Gaps
    clash: Clash | None
    features: tuple[Feature, ...]
    others: Mapping[str, str]
    prepared: Prepared
    windows: tuple[int, int, int]
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether a model can be trained on it as it is."""
        return not any(finding.fatal for finding in self.findings)


def inspect(config: Reading, progress: Progress | None = None) -> Inspection:
    """Read a table and look for what is wrong with it.

    Raises:
        ConfigError, DataError: what leaves nothing to be looked at, as `read_measurements` and `prepare` say.
    """
    table = read_measurements(config, progress, lenient=True)
    step = config.step or common_step(table)
    places = slots(table, step, follow=config.duplicates == "error")
    clash = clash_of(table, places)
    # What is wrong otherwise is told as well.
    lenient = config if clash is None or config.duplicates != "error" else changed_by(config, {"duplicates": "first"})
    prepared = prepare_any(lenient, table)
    filled = padded(prepared, "segments") if config.may_pad else prepared
    train, validation, test = windows_of(filled, config)
    windows = (train.samples, validation.samples, test.samples)
    features = _features(table)
    gaps = gaps_of(table, places, prepared.max_gap)
    layout = table.layout
    roles = {layout.time, layout.clock, *layout.ids, layout.label, *layout.values}
    others = {name: layout.kinds[name] for name in layout.names if name not in roles}
    # Where the advice is another grid, gaps and windows of this one say nothing.
    near = clash is not None and not clash.same_time and config.duplicates == "error"
    uneven = mostly_missing(table, step, places, config)
    findings = [
        *bad_cells(table, config),
        *rows_that_meet(table, step, clash, config),
        *(uneven if not near else []),
        *([] if uneven else no_windows(prepared, windows, config)),
        *in_time(table, step, config),
        *([] if near or uneven else in_steps(table, step, gaps, prepared, config)),
        *in_length(prepared),
        *in_columns(prepared, features, config),
        *in_series(config, prepared),
    ]
    findings.sort(key=lambda finding: not finding.fatal)
    return Inspection(table, step, gaps, clash, features, others, prepared, windows, tuple(findings))


def _features(table: Measurements) -> tuple[Feature, ...]:
    found = []
    for k, name in enumerate(table.layout.values):
        values = table.values[:, k]
        missing = float(np.isnan(values).mean())
        mean = float(np.nanmean(values, dtype=np.float64))
        found.append(Feature(name, float(np.nanmin(values)), mean, float(np.nanmax(values)), missing))
    return tuple(found)
