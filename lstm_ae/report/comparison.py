"""Several runs side by side: the options in which they differ, and their measures."""

from collections.abc import Sequence
from typing import NamedTuple

from lstm_ae.report.facts import WANTED, MeasuredValue, RunFacts

# Runs whose values of these differ are not measured on the same things, or, for scaled values, not in the same unit.
_SAME = {
    *("goal", "field", "split", "symbols", "start", "end", "window", "with_open", "read", "sequences"),
    # Of tables: which rows there are, how they are divided, and what is measured on them.
    *("task", "horizon", "normal", "split_by", "freq", "max_gap", "missing", "duplicates", "short"),
    *("time_col", "value_cols", "id_col", "label_col", "classes"),
}

_SAME_SCALE = ("scale", "target", "inputs")


class ComparisonRow(NamedTuple):
    """One line of a table of runs.

    Args:
        name: what it is.
        unit: of the values; "" for none.
        values: one a run; None where it has none.
        best: the places of the best ones; none where they are equal or do not compare.
    """

    name: str
    unit: str
    values: tuple[float | str | None, ...]
    best: tuple[int, ...] = ()


class RunComparison(NamedTuple):
    """Runs beside one another.

    Args:
        names: the runs'.
        options: those that differ, of those that all have; values as they are typed.
        measures: by part of the data and measure; then what the trainings took.
        note: what keeps the results from being compared; "" where nothing does.
    """

    names: tuple[str, ...]
    options: tuple[ComparisonRow, ...]
    measures: tuple[ComparisonRow, ...]
    note: str


def compare_runs(runs: Sequence[RunFacts]) -> RunComparison:
    """Two or more runs beside one another."""
    values = [_values(run) for run in runs]
    # What only one study has says nothing of another.
    known = [row for row in values if row]
    names = [name for name in next(iter(known), {}) if all(name in row for row in known)]
    options = [ComparisonRow(name, "", tuple(row.get(name) for row in values)) for name in names]
    differing = [row for row in options if len(set(row.values)) > 1]
    note = _note(runs, {row.name for row in differing})
    alike = not note
    scaled = alike and not any(row.name in _SAME_SCALE for row in differing)
    tables = [{(m.part, m.name): m for m in run.measures} for run in runs]
    keys = dict.fromkeys(key for table in tables for key in table)
    measures = [_row(key, [table.get(key) for table in tables], alike, scaled) for key in keys]
    took = (("epochs trained", "epochs"), ("training seconds", "seconds"), ("parameters", "parameters"))
    for name, key in took:
        found = tuple(getattr(run.training, key) if run.training else None for run in runs)
        measures.append(ComparisonRow(name, "", found))
    return RunComparison(tuple(run.name for run in runs), tuple(differing), tuple(measures), note)


def _values(run: RunFacts) -> dict[str, str]:
    """A run's options, and the other things that decide its results."""
    asked = {"study": run.asked.task, "leaky": run.asked.leaky or "-"} if run.asked else {}
    return asked | {choice.name: choice.value for choice in run.choices}


def _note(runs: Sequence[RunFacts], differing: set[str]) -> str:
    hashes = {run.asked.sha256 if run.asked else None for run in runs}
    if "study" in differing or None in hashes:
        return "The runs are not of one study, so their results do not compare."
    if len(hashes) > 1:
        return "The runs were not trained on the same data, so their results do not compare."
    if "leaky" in differing:
        return "Some of the runs are leaky, and others are not, so their results do not compare."
    if other := sorted(differing.intersection(_SAME)):
        words = ", ".join(name.replace("_", " ") for name in other)
        return f"The runs do not solve the same task ({words}), so their results do not compare."
    return ""


def _row(key: tuple[str, str], measures: Sequence[MeasuredValue | None], alike: bool, scaled: bool) -> ComparisonRow:
    part, name = key
    known = [measure for measure in measures if measure]
    values = tuple(measure.value if measure else None for measure in measures)
    first, numbers = known[0], [value for value in values if value is not None]
    comparable = (scaled if first.unit == "scaled" else alike) and WANTED not in first.baselines
    same = len({(measure.unit, measure.higher_is_better) for measure in known}) == 1
    best: tuple[int, ...] = ()
    if comparable and same and len(set(numbers)) > 1:
        top = max(numbers) if first.higher_is_better else min(numbers)
        best = tuple(place for place, value in enumerate(values) if value == top)
    return ComparisonRow(f"{part}: {name.replace('_', ' ')}", first.unit if same else "", values, best)
