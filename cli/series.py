"""`lstmae series`: check a table, and write an example; the other commands are in modules of their own."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import Reading, Series
from lstm_ae.config.options import declared_options, flag_name
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, format_heading, format_names, quote

from . import search, series_classification, series_detection, series_encoding, series_forecasting
from .console import Console
from .options import GivenOptions, NewTable, command, named

if TYPE_CHECKING:
    from lstm_ae.checks.rules import CheckedTable
    from lstm_ae.json_types import JsonObject

app = typer.Typer(name="series")


@command(app, "check", "lstmae series check pump.csv", Reading, hide=("data",))
def check(
    data: NewTable,
    *,
    given: GivenOptions,
    console: Console,
) -> None:
    """Describe a table, how it is read and cut into windows, and its problems."""
    from lstm_ae.checks.table import inspect_table

    config = given.config(Reading, data=data)
    bar = console.progress()
    try:
        inspection = inspect_table(config, bar.reading)
    except DataError as error:
        bar.clear()
        console.document(
            {"data": data, "usable": False, "problems": [{"text": str(error), "fatal": True, "fixes": []}]}
        )
        raise
    bar.clear()
    _show_inspection(inspection, config, console)
    console.document(_inspection_document(inspection, config))
    if not inspection.usable:
        raise DataError(_format_verdict(inspection), code=Code.CELL_VALUE)


@command(app, "example", "lstmae series example load.csv --task forecast")
def example(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="CSV file to write.")],
    *,
    task: Annotated[
        str,
        named("anomaly|forecast|classify", "Task: a pump with failures, electric load, or walks."),
    ] = "anomaly",
    seed: Annotated[int, named("<int>", "Seed of the noise.", min=0)] = 0,
    console: Console,
) -> None:
    """Write a synthetic table to try the other commands."""
    from lstm_ae.data.synthetic import EXAMPLES
    from lstm_ae.files import write
    from lstm_ae.table_files import table

    if path.suffix != ".csv" or path.exists():
        raise ConfigError(f"FILE must be new and end in .csv. Received: {str(path)!r}", code=Code.OUTPUT_EXISTS)
    if task not in EXAMPLES:
        raise ConfigError(f"--task must be one of {', '.join(EXAMPLES)}. Received: {task[:40]!r}")
    make, words = EXAMPLES[task]
    columns = make(seed)
    cells = [column.astype(str) if column.dtype.kind == "M" else column for column in columns.values()]
    rows = list(zip(*cells, strict=True))
    write(path, table(list(columns), rows))
    console.show(f"{path}: {len(rows):,} rows of {words}")
    console.document({"file": path, "rows": len(rows)})


series_detection.register(app)
series_encoding.register(app)
series_forecasting.register(app)
series_classification.register(app)
search.register(app, "series", Series)


def _format_verdict(inspection: "CheckedTable") -> str:
    """Return the number of problems and what to do."""
    number = sum(finding.fatal for finding in inspection.findings)
    problems, first = format_count(number, "problem"), "it" if number == 1 else "the first one"
    return f"{inspection.table.name} has {problems}, listed above. Fix {first} and check again"


def _show_inspection(inspection: "CheckedTable", config: Reading, console: Console) -> None:
    from lstm_ae.data.split import SPLITS, required_splits

    table, prepared = inspection.table, inspection.prepared
    console.show(
        f"{table.name}: {format_count(len(table.lines), 'row')}"
        + (f" of {len(table.ids):,} series" if table.layout.ids else "")
    )
    if table.layout.time is not None:
        console.show(_describe_times(inspection, config))
    if classes := _count_labels(inspection):
        rows = [f"{format_heading(name) or '(no label)'} ({number:,})" for name, number in classes.items()]
        console.show(f"{quote(table.layout.label)}: {format_names(rows)}")
    console.show("")
    console.table(
        ["column", "minimum", "mean", "maximum", "missing"],
        [
            (format_heading(name), *map(_drop_decimals, numbers), f"{missing:.2%}" if missing else "0")
            for name, *numbers, missing in inspection.summaries
        ],
    )
    console.show("")
    splits = SPLITS[: len(required_splits(config))]
    console.table(
        ["split", "rows", f"windows of {prepared.window}" + (f" + {prepared.horizon}" if prepared.horizon else "")],
        [(name, int((prepared.split == k).sum()), inspection.windows[k]) for k, name in enumerate(splits)],
    )
    if prepared.inferred:
        console.show("\nInferred settings (override with the option shown):")
        fields = {field.name for field in declared_options(Reading)}
        names = {name: flag_name(name) if name in fields else "" for name in prepared.inferred}
        width = max(map(len, names.values()))
        for name, words in prepared.inferred.items():
            console.show(f"  {names[name].ljust(width)}  {words}")
    _show_findings(inspection, console)


def _describe_times(inspection: "CheckedTable", config: Reading) -> str:
    """Return the range and step of the times, and how many rows are missing or duplicate."""
    layout, gap_counts, clash = inspection.table.layout, inspection.gaps, inspection.clash
    first, last = _time_range(inspection)
    gaps, duplicates = "no gaps", "no duplicates"
    if gap_counts.number:
        steps = format_count(gap_counts.steps, "step")
        gaps = f"{format_count(gap_counts.number, 'gap')} with a total of {steps} without a value"
    if clash:
        conflict = "with a duplicate timestamp" if clash.same_time else "too close to another"
        duplicates = f"{format_count(clash.rows, 'row')} {conflict}"
    step = inspection.prepared.step
    steps = f"a row every {step.text}" if step.size or step.months else "one step per row"
    clock = " UTC" if layout.dated and (layout.aware or config.time_zone) else ""
    return f"{quote(layout.time)}: {first} to {last}{clock}, {steps}; {gaps}, {duplicates}"


def _show_findings(inspection: "CheckedTable", console: Console) -> None:
    """Show each finding with the options to try."""
    from lstm_ae.checks.rules import format_options

    for finding in inspection.findings:
        console.show(f"\n{'Problem' if finding.fatal else 'Note'}: {finding.text}.")
        options = [line for line in map(format_options, finding.fixes) if line.isprintable()]
        if any(line not in finding.text for line in options):
            console.show(f"  Add {', or '.join(options)}")
    if inspection.usable:  # otherwise the error of the command says what to do
        console.show("\nThis table can be used.")


def _time_range(inspection: "CheckedTable") -> tuple[str | float, str | float]:
    from lstm_ae.data.time_zones import format_time

    table = inspection.table
    low, high = int(table.times.min()), int(table.times.max())
    if table.layout.time is None:
        return low, high
    zone = None if table.layout.dated else table.zone
    return format_time(low, zone), format_time(high, zone)


def _drop_decimals(number: float) -> float:
    """Return a whole number as an integer, so that it is shown without decimals."""
    return int(number) if number == round(number) and abs(number) < 1e9 else number


def _count_labels(inspection: "CheckedTable") -> dict[str, int]:
    """Return the number of rows of each label; rows without a label have the empty name."""
    labels = () if inspection.table.labels is None else inspection.table.labels.tolist()
    counts = Counter(labels)
    return {name: counts[k] for k, name in enumerate(("", *inspection.table.classes), -1) if counts[k]}


def _inspection_document(inspection: "CheckedTable", config: Reading) -> "JsonObject":
    from lstm_ae.checks.rules import format_options
    from lstm_ae.data.split import SPLITS

    table, prepared, clash, gaps = inspection.table, inspection.prepared, inspection.clash, inspection.gaps
    first, last = _time_range(inspection)
    return {
        "data": config.data,
        "usable": inspection.usable,
        "rows": len(table.lines),
        "series": len(table.ids),
        "time": {
            "column": table.layout.time,
            "first": first,
            "last": last,
            "frequency": str(inspection.prepared.step),
            "unsorted": table.unsorted,
            "duplicates": clash.rows if clash and clash.same_time else 0,
            "too_near": clash.rows if clash and not clash.same_time else 0,
            "gaps": gaps.number,
            "missing_steps": gaps.steps,
            "longest_gap": gaps.longest,
        },
        "columns": [each._asdict() | {"constant": each.minimum == each.maximum} for each in inspection.summaries],
        "others": dict(inspection.table.layout.others),
        "classes": _count_labels(inspection),
        "window": prepared.window,
        "horizon": prepared.horizon,
        "max_gap": prepared.max_gap,
        "splits": {
            name: {"rows": int((prepared.split == k).sum()), "windows": inspection.windows[k]}
            for k, name in enumerate(SPLITS)
        },
        "inferred": dict(prepared.inferred),
        "problems": [
            finding._asdict() | {"fixes": list(map(format_options, finding.fixes))} for finding in inspection.findings
        ],
    }
