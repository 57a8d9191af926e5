"""Show the results of a command, and check where they can be written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_ae.errors import Code, ConfigError
from lstm_ae.formatting import format_best_epochs, format_count, format_heading, format_measure, format_skill

from .console import Console

if TYPE_CHECKING:
    from lstm_ae.evaluation import Verdict
    from lstm_ae.experiment import RunWithData
    from lstm_ae.json_types import JsonMapping
    from lstm_ae.run import Run
    from lstm_ae.table_files import TableColumns

TABLE_SUFFIXES = (".csv", ".parquet")

# Columns whose skills are shown without --verbose.
MAX_SHOWN_COLUMNS = 5

# Events that are shown without --verbose.
MAX_SHOWN_EVENTS = 10

# Failures that are shown without --verbose.
MAX_SHOWN_FAILURES = 10

# Rows of a forecast that are shown, and columns without --verbose.
MAX_SHOWN_ROWS, MAX_FORECAST_COLUMNS = 3, 5

# The first metrics of a result; a split without them begins with its own first metrics.
KEY_METRICS = ("accuracy", "macro_f1", "skill", "mae", "forecast_mae", "coverage_80", "reconstruction_mse")
MAX_KEY_METRICS = 3


def show_metrics(console: Console, metrics: "JsonMapping", leaky: str, comparison: Sequence[str] = ()) -> None:
    """Show the verdict and the key metrics of the last split, notes, and a leakage warning.

    With `--verbose`, all metrics, skills by column, and verdicts of all splits follow.

    Args:
        console: the output.
        metrics: content of a `metrics.json`.
        leaky: description of the leakage; "" for none.
        comparison: lines that explain the verdict.
    """
    from lstm_ae.run import measured_splits

    splits, verdicts = measured_splits(metrics), metrics.get("verdict", {})
    for split, measures in list(splits.items())[-1:]:
        if split in verdicts:
            console.show(f"Verdict on {split}: {verdicts[split]['text']}")
        for line in comparison:
            console.show(line)
        names = [name for name in KEY_METRICS if name in measures] or list(measures)
        texts = {name: _format_metric(name, measures[name]) for name in names[:MAX_KEY_METRICS]}
        width = max(map(len, texts), default=0)
        for name, text in texts.items():
            console.show(f"{split} {name:<{width}}  {text}")
        _show_columns(console, metrics.get("columns", {}).get(split, {}))
    for note in metrics.get("notes", ()):
        console.show(f"Note: {note}.")
    if leaky:
        console.show(f"LEAKY: {leaky}")
    if not console.verbose:
        return
    rows = [
        (
            *(split, name, format_measure(name, metric["value"]), metric["unit"] or "-"),
            _format_baselines(name, metric, "  ") or "-",
        )
        for split, measures in splits.items()
        for name, metric in measures.items()
    ]
    console.table(["split", "measure", "value", "unit", "baseline"], rows)
    for split in list(splits)[:-1]:
        if split in verdicts:
            console.show(f"Verdict on {split}: {verdicts[split]['text']}")


def _format_metric(name: str, metric: "JsonMapping") -> str:
    """Return a metric with its unit and its baselines."""
    unit = f" {metric['unit']}" if metric["unit"] else ""
    baselines = _format_baselines(name, metric, ", ")
    return f"{format_measure(name, metric['value'])}{unit}" + (f"  ({baselines})" if baselines else "")


def _format_baselines(name: str, metric: "JsonMapping", separator: str) -> str:
    return separator.join(f"{other} {format_measure(name, value)}" for other, value in metric["baselines"].items())


def show_verdicts(console: Console, verdicts: Mapping[str, "Verdict"], naive: str) -> None:
    """Show the verdicts of a backtest on the best baseline, on the naive one, and on persistence."""
    names = [name for name in dict.fromkeys((next(iter(verdicts)), naive, "persistence")) if name in verdicts]
    console.show(f"Verdict over all folds: {'; '.join(str(verdicts[name]) for name in names)}")


def _show_columns(console: Console, columns: "JsonMapping") -> None:
    """Show a table of the skill of a forecast by column, of the first columns without `--verbose`."""
    rows = [
        (
            format_heading(name),
            *(format_skill(skill[each]) for each in ("skill", "linear", "others")),
            skill["baseline"],
        )
        for name, skill in columns.items()
    ]
    if rows:
        shown = rows if console.verbose else rows[:MAX_SHOWN_COLUMNS]
        console.show(f"Skill by column, {len(shown):,} of {len(rows):,}:")
        console.table(["column", "skill", "linear regression", "all other columns", "baseline"], shown)


def require_png(figure: Path) -> None:
    """Raise `ConfigError` if a figure cannot be written to a path."""
    if figure.suffix.lower() != ".png" or figure.is_dir():
        raise ConfigError(f"--figure must be a file that ends in .png. Received: {str(figure)!r}")


def require_table(name: str, path: Path, data: str | None = None) -> None:
    """Raise `ConfigError` if a table cannot be written to a path, or would overwrite the table that is read.

    Args:
        name: the option that gives the path.
        path: the path.
        data: the table that the command reads; None or "-" for no file.
    """
    if path.suffix not in TABLE_SUFFIXES:
        raise ConfigError(f"{name} must end in .csv or .parquet. Received: {str(path)!r}")
    if data is not None and path.exists() and Path(data).exists() and path.samefile(data):
        raise ConfigError(
            f"{name} would overwrite the table {data!r}. Pass another path", code=Code.CONFLICTING_OPTIONS
        )


def show_note(remarks: Sequence[str], console: Console) -> None:
    """Print notes about a table."""
    for text in remarks:
        console.say(f"note: {text}")


def show_failures(label: str, failures: Sequence[tuple[str, str]], more: str, console: Console) -> None:
    """Show why some names have no result, and how many more there are.

    Args:
        label: the missing result, such as "no model".
        failures: names and reasons.
        more: the words after the number of further failures.
        console: shows all of them with `--verbose`.
    """
    shown = failures if console.verbose else failures[:MAX_SHOWN_FAILURES]
    for name, reason in shown:
        console.say(f"{label}: {name}: {reason}")
    if len(failures) > len(shown):
        console.say(f"{label}: {len(failures) - len(shown):,} {more}")


def show_events(events: "Sequence[JsonMapping]", lines: Sequence[str], console: Console) -> None:
    """Show the strongest events in the order of the table, and lines about all of them.

    Args:
        events: facts of the events, see `lstm_ae.apply.detection_output.event_facts`.
        lines: the numbers of events and rows first.
        console: the output.
    """
    rows = [{**event, "end": f"{event['end']} (provisional)"} if event["provisional"] else event for event in events]
    if rows:
        console.show(f"Anomalies found: {lines[0]}")
        # The strongest ones if there are many, in the order of their times.
        limit = len(rows) if console.verbose else MAX_SHOWN_EVENTS
        weakest = sorted((row["score"] for row in rows), reverse=True)[:limit][-1]
        names = [name for name in rows[0] if name not in ("peak", "provisional", "causes")]
        shown = [tuple(row[name] for name in names) for row in rows if row["score"] >= weakest]
        if len(rows) > limit:
            console.show(f"The {limit} events with the highest scores (all are in the file of events):")
        console.table(names, shown)
    else:
        console.show(f"No anomaly found.\n{lines[0]}")
    for line in lines[1:]:
        console.show(line)


def show_rows(columns: "TableColumns", console: Console) -> None:
    """Show the first rows of a forecast, with all columns if `--verbose` is given."""
    rows = len(next(iter(columns.values())))
    shown = range(min(rows, MAX_SHOWN_ROWS))
    names = list(columns) if console.verbose else list(columns)[:MAX_FORECAST_COLUMNS]
    if rows > len(shown) or len(names) < len(columns):
        console.show(f"First {len(shown)} of {rows:,} rows, {len(names)} of {len(columns)} columns:")
    console.table(names, [tuple(_to_python(columns[name][row]) for name in names) for row in shown])


def _to_python(cell: object) -> object:
    return cell.item() if hasattr(cell, "item") else cell


def show_files(console: Console, files: Mapping[str, Path]) -> None:
    """Show the paths of files."""
    width = max(len(name) for name in files) + 1
    for name, path in files.items():
        console.show(f"{name + ':':<{width}} {path}")


def show_training(console: Console, run: "Run") -> None:
    """Show the result of a training."""
    metrics, leaky = run.metrics(), run.about()["data"]["leaky"]
    show_metrics(console, metrics, leaky)
    training = metrics["training"]
    reason = f" ({training['stopped']})" if training["stopped"] else ""
    best = f"weights of {format_best_epochs(training)}, {training['parameters']:,} parameters"
    console.show(f"{format_count(training['epochs'], 'epoch')} in {training['seconds']:.0f} s{reason}, {best}")
    if "note" in training:
        console.show(training["note"])
    show_files(console, {"run": run.directory, "figures": run.directory / "figures"})
    console.document({"run": run.directory, "metrics": metrics, "leaky": leaky})


def show_predictions(opened: "RunWithData", console: Console) -> None:
    """Write a table of predictions into the run; show the metrics and the files."""
    path = opened.run.write_table("predictions", opened.task.predict(opened.model, opened.data))
    metrics, leaky = opened.run.metrics(), opened.data.source.leaky
    show_metrics(console, metrics, leaky)
    files = {"predictions": path, "figures": opened.run.directory / "figures", "run": opened.run.directory}
    show_files(console, files)
    console.document({"metrics": metrics, "leaky": leaky, **files})
