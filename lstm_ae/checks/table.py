"""Inspect a table for `lstmae series check`, and warn of a table to train on or to apply a trained model to.

`inspect_table` applies all `RULES`. A training warns of the findings of `TRAINING_TOPICS`, and a run that is applied to
another table of those in `collect_new_table_warnings`.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from lstm_ae.checks.rules import LARGE_MISSING_SHARE, RULES, CheckedTable, Finding, check_missing_rows, holds_classes
from lstm_ae.classification.labels import choose_division
from lstm_ae.config import Reading
from lstm_ae.data.grid import common_step, find_duplicate_times, grid_slots
from lstm_ae.data.preparation import PreparedTable, choose_step, prepare_table
from lstm_ae.data.scaling import Scale, SeriesScales, describe_unknown_series
from lstm_ae.data.table_reader import Progress, read_panel
from lstm_ae.data.windows import Data
from lstm_ae.formatting import format_count, format_names, quote
from lstm_ae.json_types import JsonMapping

# Topics that a training warns of, in notes that begin with the topic.
TRAINING_TOPICS = ("missing rows", "scale", "far values", "labels", "constants", "identifiers", "columns")


def collect_table_warnings(config: Reading, prepared: PreparedTable) -> dict[str, str]:
    """Return the warnings about a table to train on, by topic."""
    checked = CheckedTable(config, prepared.table, prepared)
    texts = {topic: "; ".join(finding.text for finding in RULES[topic](checked)) for topic in TRAINING_TOPICS}
    return {topic: text for topic, text in texts.items() if text}


def describe_lookahead(data: Data, window: int, *, test_table: bool) -> str:
    """Return a warning if training rows are later than forecasts of the test split; "" otherwise.

    Training rows are later if each series is divided within its own time range.

    Args:
        window: input steps before a forecast.
        test_table: whether the test split is a table of its own.
    """
    train, test = data.train, data.test
    if train.time is None or test.time is None:
        return ""
    known = train.time[train.starts + train.span - 1].max()
    early = int((test.time[test.starts + window] < known).sum())
    if not early:
        return ""
    text = f"{early:,} of {format_count(test.samples, 'test window')} forecast rows that are earlier than training rows"
    if test_table:
        return f"{text}; pass a table of later rows to --test"
    return f"{text} of other series; series backtest divides all series at the same times"


def collect_new_table_warnings(
    prepared: PreparedTable, scale: Scale | None = None, symbols: Sequence[str] = ()
) -> list[str]:
    """Return the warnings about a table to which a trained model is applied.

    Args:
        scale: scale of the run; None to omit warnings about values.
        symbols: names of the lines of its scale per series.
    """
    checked = CheckedTable(Reading(), prepared.table, prepared)
    words = [
        describe_step_change(prepared),
        "; ".join(finding.text for finding in check_missing_rows(checked)),
        describe_unknown_series(symbols, prepared.table.ids),
    ]
    if scale is not None and scale.ranged:
        words.append(describe_range_change(prepared, scale, symbols))
    return [text for text in words if text]


def describe_step_change(prepared: PreparedTable) -> str:
    """Return a warning if rows are commonly further apart than the step of the run; "" otherwise."""
    step, common = prepared.step, common_step(prepared.table)
    if not step.size or common.size < 1.5 * step.size:
        return ""
    return (
        f"The rows of {prepared.table.name} are {common.text} apart, and the run was trained on a row every "
        f"{step.text}. Pass rows every {step.text}, or a run trained with --freq {common}"
    )


def describe_range_change(prepared: PreparedTable, scale: Scale, symbols: Sequence[str]) -> str:
    """Return a description of the columns that are mostly far outside the training range; "" if there are none."""
    far, grid = [], prepared.grid
    values = SeriesScales(scale, symbols).to_common(grid).values
    for name, column, beyond in zip(grid.layout.values, values.T, scale.far(values).T, strict=True):
        present = ~np.isnan(column)
        if present.any() and (share := float(beyond[present].mean())) > LARGE_MISSING_SHARE:
            far.append(f"{quote(name)} in {share:.0%} of the rows")
    if not far:
        return ""
    return (
        f"Far outside the training range: {format_names(far)}; scores mainly reflect this drift. Train again on rows "
        "like these, or on the differences of values that keep rising"
    )


def inspect_table(config: Reading, progress: Progress | None = None) -> CheckedTable:
    """Read a table and return it with all findings: problems first, then notes with a fix, then other notes.

    Raises:
        ConfigError, DataError: if the table cannot be inspected, as in `read_panel` and `prepare_table`.
    """
    table = read_panel(config, progress, use="check")
    lenient = config
    if config.duplicates == "error" and find_duplicate_times(table, grid_slots(table, choose_step(config, table))):
        # The inspection continues in spite of duplicates, to report other problems as well.
        lenient = dataclasses.replace(config, duplicates="first")
    settings: JsonMapping = {}
    inferred: Mapping[str, str] = {}
    known = table
    if holds_classes(config, table):
        settings, known, inferred, _ = choose_division(lenient, table)
    prepared = prepare_table(dataclasses.replace(lenient, **settings), known)
    prepared = prepared._replace(inferred={**prepared.inferred, **inferred})
    checked = CheckedTable(dataclasses.replace(config, **settings), table, prepared)
    findings: list[Finding] = []
    for topic, rule in RULES.items():
        # If another step is advised, windows and missing rows at this step are not informative.
        if topic not in ("windows", "missing rows") or not any(finding.topic == "times" for finding in findings):
            findings += [finding._replace(topic=topic) for finding in rule(checked)]
    checked.findings = tuple(sorted(findings, key=lambda finding: (not finding.fatal, not finding.fixes)))
    return checked
