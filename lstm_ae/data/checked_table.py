"""Find the facts about a table that its checks need, each once."""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Float32Array, Int64Array
from lstm_ae.config import Reading
from lstm_ae.data.anomaly_labels import are_anomaly_labels
from lstm_ae.data.findings import Finding, Fix
from lstm_ae.data.grid import DuplicateTimes, Gaps, find_duplicate_times, find_gaps, grid_slots
from lstm_ae.data.padding import pad_segments
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import PreparedTable, choose_step, cut_windows

# Headings of label columns with any content, and words in headings of columns of 0 and 1 that mark anomalies.
LABEL_HEADING = re.compile(r"(is_?)?(anomal(y|ous)|outlier|label|class|target)s?", re.IGNORECASE)

ANOMALY_HEADING = re.compile(
    r"(^|[\W_])(anomal(y|ous|ies)|outliers?|labels?|fail(s|ed|ures?)?|fault(s|y)?|defect(s|ive)?|broken|break(down|age)s?|"
    r"attack(s|ed)?|intrusions?|events?|alarms?|ground_?truth|machine_?status)($|[\W_\d])",
    re.IGNORECASE,
)

# Smallest share of missing rows or values for a warning.
LARGE_MISSING_SHARE = 0.2


class ColumnSummary(NamedTuple):
    """Statistics of a modeled column over the rows of the table; `missing` is the share of missing values."""

    name: str
    minimum: float
    mean: float
    maximum: float
    missing: float


class CheckedTable:
    """Table with the facts that several rules need.

    Args:
        config: configuration with which the table was read.
        table: the table as read.
        prepared: the table on its grid and divided; None to check only its times until it is set.

    Attributes:
        findings: findings about the table, once it is checked.
    """

    prepared: PreparedTable
    findings: tuple[Finding, ...] = ()

    def __init__(self, config: Reading, table: Panel, prepared: PreparedTable | None = None) -> None:
        self.config, self.table = config, table
        self.step = prepared.step if prepared else choose_step(config, table)
        if prepared:
            self.prepared = prepared

    @functools.cached_property
    def places(self) -> Int64Array:
        """Grid position of each row, `(rows,)`."""
        return grid_slots(self.table, self.step, follow=self.config.duplicates == "error")

    @functools.cached_property
    def clash(self) -> DuplicateTimes | None:
        """Rows that share a grid position."""
        return find_duplicate_times(self.table, self.places)

    @functools.cached_property
    def gaps(self) -> Gaps:
        """Gaps within series."""
        return find_gaps(self.table, self.places, self.prepared.max_gap)

    @functools.cached_property
    def windows(self) -> tuple[int, int, int]:
        """Number of windows in each split."""
        return count_windows(self.config, self.prepared)

    @functools.cached_property
    def columns(self) -> dict[str, Float32Array]:
        """Values of each modeled column that are not missing, in rows with an observed value."""
        panel = self.prepared.table
        columns = zip(panel.layout.values, panel.values.T, strict=True)
        found = {name: column[~np.isnan(column)] for name, column in columns}
        return {name: values for name, values in found.items() if len(values)}

    @functools.cached_property
    def summaries(self) -> tuple[ColumnSummary, ...]:
        """Statistics of each modeled column."""
        rows = len(self.prepared.table.values)
        return tuple(
            ColumnSummary(
                name,
                float(values.min()),
                float(values.mean(dtype=np.float64)),
                float(values.max()),
                1 - len(values) / rows,
            )
            for name, values in self.columns.items()
        )

    @functools.cached_property
    def labels(self) -> list[str]:
        """Modeled columns that probably hold labels."""
        return find_label_columns(self.config, self.prepared.table)

    @property
    def others(self) -> dict[str, str]:
        """Kind of each column that has no role."""
        layout = self.table.layout
        roles = {layout.time, *layout.ids, layout.label, *layout.values}
        return {name: layout.kinds[name] for name in layout.names if name not in roles}

    @property
    def usable(self) -> bool:
        """True if a model can be trained on the table as it is."""
        return not any(finding.fatal for finding in self.findings)

    def without(self, names: Sequence[str]) -> tuple[Fix, ...]:
        """Return the fix that models all columns but these; none if at most labels would be left."""
        rest = tuple(name for name in self.table.layout.targets if name not in names)
        return ({"value_cols": rest},) if set(rest) - set(self.labels) else ()


def holds_classes(config: Reading, table: Panel) -> bool:
    """Return whether the labels of a table are classes, and not marks of anomalies."""
    if getattr(config, "task", "") == "classify":
        return True
    return not config.forecasts and len(table.classes) > 1 and not are_anomaly_labels(table.classes)


def count_windows(config: Reading, prepared: PreparedTable) -> tuple[int, int, int]:
    """Return the number of windows in each of `SPLITS`, with short segments padded as configured."""
    if config.may_pad:
        prepared = pad_segments(prepared, "series" if holds_classes(config, prepared.table) else "segments")
    train, validation, test = cut_windows(prepared, config)
    return train.samples, validation.samples, test.samples


def find_label_columns(config: Reading, table: Panel) -> list[str]:
    """Return the modeled columns that have the heading of labels.

    Configured columns are among them only if they hold nothing but 0 and 1.
    """
    found = []
    for name, column in zip(table.layout.targets, table.values.T, strict=False):
        present = column[~np.isnan(column)]
        binary = bool(np.isin(present, (0, 1)).all()) and len(present) > 0 and present.min() < present.max()
        eligible = binary or not (config.value_cols or config.forecasts)
        if (eligible and LABEL_HEADING.fullmatch(name.strip())) or (binary and ANOMALY_HEADING.search(name.strip())):
            found.append(name)
    return found if len(table.layout.values) > 1 else []
