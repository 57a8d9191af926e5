"""Comparison of runs: the options in which they differ, and their measures."""

from collections.abc import Sequence
from typing import NamedTuple

from lstm_ae.evaluation import NOMINAL
from lstm_ae.report.facts import MeasuredValue, RunFacts

# Runs that differ in one of these options are evaluated on different data or tasks.
_SAME_TASK = {
    "goal",
    "field",
    "split",
    "symbols",
    "start",
    "end",
    "window",
    "read",
    "sequences",
    # Options of tables: the rows, their split, and the measured task.
    "task",
    "horizon",
    "normal",
    "split_by",
    "freq",
    "max_gap",
    "missing",
    "duplicates",
    "time_col",
    "value_cols",
    "id_col",
    "label_col",
    "classes",
}

# Runs that differ in one of these options have scaled errors in different units.
_SAME_SCALE = ("scale", "target", "inputs")


class ComparisonRow(NamedTuple):
    """Row of a table of runs.

    Args:
        name: the option or the measure.
        unit: unit of the values; "" for none.
        values: one value per run; None if the run has none.
        best: indices of the best values; empty if all are equal or not comparable.
        measure: the measure without its split; "" for other rows.
    """

    name: str
    unit: str
    values: tuple[float | str | None, ...]
    best: tuple[int, ...] = ()
    measure: str = ""


class RunComparison(NamedTuple):
    """Comparison of runs.

    Args:
        names: names of the runs.
        options: the options that all runs have and that differ, with their values as typed.
        measures: the measures by split and name, then the cost of the trainings.
        note: why the results are not comparable; "" if they are.
    """

    names: tuple[str, ...]
    options: tuple[ComparisonRow, ...]
    measures: tuple[ComparisonRow, ...]
    note: str


def compare_runs(runs: Sequence[RunFacts]) -> RunComparison:
    """Compare two or more runs."""
    values = [_values(run) for run in runs]
    # Options that only one study has cannot be compared.
    names = [name for name in values[0] if all(name in row for row in values)]
    options = [ComparisonRow(name, "", tuple(row[name] for row in values)) for name in names]
    differing = [row for row in options if len(set(row.values)) > 1]
    note = _note(runs, {row.name for row in differing})
    same_task = not note
    same_scale = same_task and not any(row.name in _SAME_SCALE for row in differing)
    tables = [{(m.split, m.name): m for m in run.measures} for run in runs]
    keys = dict.fromkeys(key for table in tables for key in table)
    measures = [_row(key, [table.get(key) for table in tables], same_task, same_scale) for key in keys]
    for name, key in (("epochs trained", "epochs"), ("training seconds", "seconds"), ("parameters", "parameters")):
        measures.append(ComparisonRow(name, "", tuple(run.metrics["training"][key] for run in runs)))
    return RunComparison(tuple(run.name for run in runs), tuple(differing), tuple(measures), note)


def _values(run: RunFacts) -> dict[str, str]:
    """Return a run's options, its study, and whether it is leaky."""
    values = {"study": run.about["task"], "leaky": run.about["data"]["leaky"] or "-"}
    return values | {option.name: option.value for option in run.options}


def _note(runs: Sequence[RunFacts], differing: set[str]) -> str:
    if "study" in differing:
        return "The results are not comparable: the runs are of different studies."
    if len({run.about["data"]["sha256"] for run in runs}) > 1:
        return "The results are not comparable: the runs were trained on different data."
    if "leaky" in differing:
        return "The results are not comparable: only some of the runs are leaky."
    if options := sorted(differing.intersection(_SAME_TASK)):
        names = ", ".join(name.replace("_", " ") for name in options)
        return f"The results are not comparable: the runs solve different tasks ({names})."
    return ""


def _row(
    key: tuple[str, str], measures: Sequence[MeasuredValue | None], same_task: bool, same_scale: bool
) -> ComparisonRow:
    split, name = key
    measured = [measure for measure in measures if measure]
    values = tuple(measure.value if measure else None for measure in measures)
    first, numbers = measured[0], [value for value in values if value is not None]
    comparable = (same_scale if first.unit == "scaled" else same_task) and NOMINAL not in first.baselines
    same = len({(measure.unit, measure.higher_is_better) for measure in measured}) == 1
    best: tuple[int, ...] = ()
    if comparable and same and len(set(numbers)) > 1:
        top = max(numbers) if first.higher_is_better else min(numbers)
        best = tuple(index for index, value in enumerate(values) if value == top)
    return ComparisonRow(f"{split}: {name.replace('_', ' ')}", first.unit if same else "", values, best, name)
