"""`lstmae series train --fleet`, and `series detect` with a fleet: one model for each series of a table."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lstm_ae.config import Series
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, format_duration, format_heading, format_names
from lstm_ae.parallel import Engine
from lstm_ae.training.observer import ProgressObserver

from .backend import import_tensorflow, show_library_log
from .console import Console, JobCounter
from .errors import Interrupted
from .results import MAX_SHOWN_FAILURES, show_events, show_failures, show_files, show_note

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
    from lstm_ae.fleets.training import train_fleet
    from lstm_ae.run import command_line

    counter = JobCounter(console, "training", "models")
    try:
        result = train_fleet(
            config,
            table,
            out,
            command=command_line(),
            observer=ProgressObserver(counter.bar),
            engine=engine,
            jobs_observer=counter,
        )
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; finished models are kept. Resume with the same command") from None
    finally:
        counter.clear()
    trained = [row for row in result.rows if "failure" not in row]
    failed = [row for row in result.rows if "failure" in row]
    reasons = [(format_heading(row["series"]), row["failure"]) for row in failed]
    show_failures("no model", reasons, "more series (see --verbose, or the table)", console)
    again = f", {result.reused:,} of them before" if result.reused else ""
    console.show(f"{len(trained):,} of {len(result.rows):,} series have a model{again}")
    for part in ("validation", "test"):
        if text := compare_with_common(trained, part):
            console.show(text)
    if new := len(trained) - result.reused:
        console.say(f"{format_count(new, 'model')} in {format_duration(result.seconds)}")
    console.show(f"table: {result.fleet.table}")
    if config.task == "anomaly":
        console.say(f"next: lstmae series detect {out} DATA")
    console.document({"fleet": str(out), "table": str(result.fleet.table), "series": result.rows})
    if not trained:
        raise DataError("No series has a model; see the reasons above", code=Code.TOO_FEW_ROWS)


def compare_with_common(rows: "Sequence[JsonObject]", part: str) -> str:
    """Return how the errors of the models compare with those of the common model; "" without errors.

    Args:
        rows: rows of the table of a fleet.
        part: name of the split, "validation" or "test".
    """
    pairs = [(row[f"{part}_error"], row[f"common_{part}_error"]) for row in rows]
    pairs = [(own, common) for own, common in pairs if own is not None and common]
    if not pairs:
        return ""
    better = sum(own < common * (1 - TIED) for own, common in pairs)
    tied = sum(abs(own - common) <= common * TIED for own, common in pairs)
    median = statistics.median(own / common for own, common in pairs)
    chosen = "; the epoch was chosen on it" * (part == "validation")
    return (
        f"{part}: own models beat the common model in {better:,} of {len(pairs):,} series"
        f"{f' and equal it in {tied:,}' if tied else ''}, median error {median:.3f} of the common one{chosen}"
    )


class DetectionRequest(NamedTuple):
    """Detection with a fleet, as its options request it."""

    fleet: str
    data: str
    threshold: str | None
    events: Path | None
    scores: Path | None
    online: bool
    adapt: int | None


def detect_in_fleet(request: DetectionRequest, engine: Engine, console: Console, reading: "JsonMapping") -> None:
    """Detect anomalies in each series of a table with its own model, and write the events and the scores."""
    from lstm_ae.apply.detection_output import event_table
    from lstm_ae.apply.run_table import TableRequest
    from lstm_ae.data.dataset import is_dataset
    from lstm_ae.fleets.detection import detect_series, read_fleet_table, summarize_detections
    from lstm_ae.fleets.directory import Fleet
    from lstm_ae.table_files import write_table

    show_library_log(console)
    if is_dataset(request.data):
        raise ConfigError(
            f"{request.data!r} is a data set of several files, and a fleet reads one table. Pass one file",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    engine.require()  # Reading the table may take long.
    fleet = Fleet(Path(request.fleet))
    with console.progress() as bar:
        table = read_fleet_table(fleet, TableRequest(request.data, reading=reading, progress=bar.reading))
    counter = JobCounter(console, "scoring", "series")
    try:
        results = detect_series(
            fleet,
            table,
            rule=request.threshold,
            online=request.online,
            adapt=request.adapt,
            reading=reading,
            scores=request.scores is not None,
            engine=engine,
            observer=counter,
        )
        found = summarize_detections(results)
    finally:
        counter.clear()
    show_note(_describe_series(found), console)
    reasons = [(format_heading(series), failure) for series, failure in found.failed.items()]
    show_failures("not scored", reasons, "more series (see --verbose, or --json)", console)
    if not found.thresholds:
        raise DataError(f"No series of {table.name} has scores; see the notes above", code=Code.SERIES_NAME)
    show_events(found.events, _describe_fleet(found), console)
    columns = event_table(found.events, several=True)
    # Without a file, the events are stored in the fleet, as those of a run are stored in the run.
    events = request.events
    if events is None and request.scores is None:
        events = fleet.directory / "events.csv"
    files = {}
    if events is not None:
        files["events"] = write_table(events, columns)
    if request.scores is not None:
        files["scores"] = write_table(request.scores, found.scores)
    show_files(console, files)
    console.document(found.to_json() | {name: str(path) for name, path in files.items()})


def _list(names: Sequence[str]) -> str:
    return format_names([format_heading(name) for name in names])


def _describe_series(found: "FleetDetection") -> list[str]:
    """Return notes on the series without scores, and on those whose scores need care."""
    groups = (
        (found.unknown, "are unknown to the fleet and have no scores"),
        (found.trained_on, "have rows that their models were trained or selected on; results on them are optimistic"),
        (found.shifted, "have drifted outside the training range; their last scores mainly reflect the drift"),
        (
            found.without_tail,
            "have normal scores that no tail fits, so that their thresholds are among the highest of these scores and "
            "may allow more false alarms than their share of the budget",
        ),
    )
    notes = [f"{len(names):,} of {found.series:,} series {text}: {_list(names)}" for names, text in groups if names]
    for number, (text, names) in enumerate(found.warnings.items()):
        if number == MAX_SHOWN_FAILURES:
            notes.append(f"{len(found.warnings) - number:,} more warnings (see --json)")
            break
        notes.append(f"{_list(names)}: {text}")
    return notes


def _describe_fleet(found: "FleetDetection") -> list[str]:
    """Return lines about the events, the thresholds, and the expected false alarms of all series."""
    from lstm_ae.apply.detection_output import describe_unscored, format_expected

    series, values = len(found.thresholds), found.thresholds.values()
    shared = ", shared by the series of the fleet" if any(rule.startswith("budget") for rule in found.rules) else ""
    lines = [
        f"{format_count(len(found.events), 'event')} in {format_count(found.rows, 'row')} of {series:,} series",
        f"thresholds {min(values):.4g} to {max(values):.4g}, {' or '.join(found.rules)}{shared}",
        f"false alarms expected in as many normal rows of the fleet: {format_expected(found.expected.expected)}",
    ]
    return [*lines, *describe_unscored(found.unscored)]
