"""`lstmae series train --fleet`, and `series detect` with a fleet: one model for each series of a table."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_ae.config import Series
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, format_heading, format_names
from lstm_ae.parallel import Engine
from lstm_ae.training.observer import ProgressObserver

from .backend import import_tensorflow, show_library_log
from .console import Console, JobCounter
from .errors import resumable
from .results import show_events, show_failures, show_files

if TYPE_CHECKING:
    from lstm_ae.fleets.detection import FleetDetection
    from lstm_ae.json_types import JsonMapping, JsonObject

# A model that keeps the weights of the common model differs from it by rounding.
TIED = 1e-5


def train_fleet(config: Series, out: Path | None, engine: Engine, console: Console) -> None:
    """Train one model for each series of a table, and show how many are better than the common model."""
    from lstm_ae.data.table_reader import read_panel
    from lstm_ae.fleets.training import require_fleet_options

    if out is None:
        raise ConfigError("--fleet needs --out, the directory of the fleet", code=Code.MISSING_OPTION)
    require_fleet_options(config)
    engine.require()  # The common model is trained before a cluster is used.
    with console.progress() as bar:
        table = read_panel(config, bar.reading)
    console.say(f"data: {table.name}: {format_count(len(table.lines), 'row')} of {len(table.ids):,} series")
    import_tensorflow(console)
    from lstm_ae.fleets.directory import Fleet
    from lstm_ae.fleets.training import train_fleet
    from lstm_ae.run import command_line

    counter, fleet = JobCounter(console, "training", "models"), Fleet(out)
    with resumable("finished models", "Resume with the same command", counter.clear):
        rows = train_fleet(config, table, fleet, command_line(), ProgressObserver(counter.bar), engine, counter)
    trained = [row for row in rows if "failure" not in row]
    reasons = [(format_heading(row["series"]), row["failure"]) for row in rows if "failure" in row]
    show_failures("no model", reasons, "more series (see --verbose, or the table)", console)
    console.show(f"{len(trained):,} of {len(rows):,} series have a model")
    for split in ("validation", "test"):
        if text := compare_with_common(trained, split):
            console.show(text)
    console.show(f"table: {fleet.table}")
    if config.task == "anomaly":
        console.say(f"next: lstmae series detect {out} DATA")
    console.document({"fleet": out, "table": fleet.table, "series": rows})
    if not trained:
        raise DataError("No series has a model; see the reasons above", code=Code.TOO_FEW_ROWS)


def compare_with_common(rows: "Sequence[JsonObject]", split: str) -> str:
    """Return how the errors of the models compare with those of the common model; "" without errors.

    Args:
        rows: rows of the table of a fleet.
        split: name of the split, "validation" or "test".
    """
    pairs = [(row[f"{split}_error"], row[f"common_{split}_error"]) for row in rows]
    pairs = [(own, common) for own, common in pairs if own is not None and common]
    if not pairs:
        return ""
    better = sum(own < common * (1 - TIED) for own, common in pairs)
    tied = sum(abs(own - common) <= common * TIED for own, common in pairs)
    median = statistics.median(own / common for own, common in pairs)
    chosen = "; the epoch was chosen on it" if split == "validation" else ""
    return (
        f"{split}: own models beat the common model in {better:,} of {len(pairs):,} series"
        f"{f' and equal it in {tied:,}' if tied else ''}, median error {median:.3f} of the common one{chosen}"
    )


def detect_in_fleet(
    run: Path,
    data: str,
    engine: Engine,
    console: Console,
    reading: "JsonMapping",
    *,
    events: Path | None,
    scores: Path | None,
    rule: str | None,
) -> None:
    """Detect anomalies in each series of a table with its own model, and write the events and the scores."""
    from lstm_ae.apply.detection_output import event_table
    from lstm_ae.apply.run_table import TableRequest
    from lstm_ae.fleets.detection import FleetDetector, detect_in_fleet
    from lstm_ae.fleets.directory import Fleet
    from lstm_ae.table_files import write_table

    show_library_log(console)
    if Path(data).is_dir():
        raise ConfigError(
            f"{data!r} is a data set of several files, and a fleet reads one table. Pass one file",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    engine.require()  # Reading the table may take long.
    fleet, detector = Fleet(run), FleetDetector(rule, reading, scores is not None)
    counter, bar = JobCounter(console, "scoring", "series"), console.progress()
    try:
        request = TableRequest(data, reading=reading, progress=bar.reading)
        detection = detect_in_fleet(fleet, request, detector, engine, counter)
    finally:
        bar.clear()
        counter.clear()
    notes = [(format_names([*map(format_heading, names)]), text) for text, names in detection.warnings.items()]
    show_failures("note", notes, "more (see --verbose, or --json)", console)
    reasons = [(format_heading(series), failure) for series, failure in detection.failed.items()]
    show_failures("not scored", reasons, "more series (see --verbose, or --json)", console)
    if not detection.scored:
        raise DataError(f"No series of {data} has scores; see the notes above", code=Code.SERIES_NAME)
    # Without a file, the events are stored in the fleet, as those of a run are stored in the run.
    if events is None and scores is None:
        events = fleet.directory / "events.csv"
    files = {}
    if events is not None:
        files["events"] = write_table(events, event_table(detection.events, several=True))
    if scores is not None:
        files["scores"] = write_table(scores, detection.scores())
    show_events(detection.events, _describe_fleet(detection), console)
    show_files(console, files)
    console.document(detection.to_json() | files)


def _describe_fleet(detection: "FleetDetection") -> list[str]:
    """Return lines about the events, the thresholds, and the expected false alarms of all series."""
    from lstm_ae.apply.detection_output import describe_excess, describe_unscored, format_expected

    record, values = detection.to_json(), [result.threshold for result in detection.scored]
    events, rows = format_count(len(detection.events), "event"), format_count(record["rows"], "row")
    shared = ", shared by the series of the fleet" if any(rule.startswith("budget") for rule in detection.rules) else ""
    return [
        f"{events} in {rows} of {len(values):,} series",
        f"thresholds {min(values):.4g} to {max(values):.4g}, {' or '.join(detection.rules)}{shared}",
        f"false alarms expected in as many normal rows of the fleet: {format_expected(detection.expected.expected)}",
        *describe_excess(len(detection.events), detection.expected, detection.suppressed),
        *describe_unscored(record["unscored_rows"]),
    ]
