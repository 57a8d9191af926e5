"""`lstmae series train --fleet`: one model for each series of a table."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_ae.config import Series
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, format_duration, format_heading
from lstm_ae.training.observer import ProgressObserver

from .backend import import_tensorflow
from .console import Console, ProgressCounter
from .errors import Interrupted

if TYPE_CHECKING:
    from lstm_ae.json_types import JsonObject

# Series without a model that are shown without --verbose.
MAX_SHOWN_FAILURES = 10


def train_fleet(config: Series, out: Path | None, console: Console) -> None:
    """Train one model for each series of a table, and show how many are better than the common model."""
    from lstm_ae.data.table_reader import read_panel
    from lstm_ae.fleets.training import require_fleet_options

    if out is None:
        raise ConfigError("--fleet needs --out, the directory of the fleet", code=Code.MISSING_OPTION)
    require_fleet_options(config)
    with console.progress() as bar:
        table = read_panel(config, bar.reading)
    console.say(f"data: {table.name}: {format_count(len(table.lines), 'row')} of {len(table.ids):,} series")
    import_tensorflow(console)
    from lstm_ae.fleets.training import train_fleet
    from lstm_ae.run import command_line

    bar, counter = console.progress(), ProgressCounter(console, "series")
    try:
        result = train_fleet(
            config,
            table,
            out,
            command=command_line(),
            observer=ProgressObserver(bar),
            report=counter,
        )
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; finished models are kept. Resume with the same command") from None
    finally:
        bar.clear()
        counter.clear()
    trained = [row for row in result.rows if "failure" not in row]
    failed = [row for row in result.rows if "failure" in row]
    shown = failed if console.verbose else failed[:MAX_SHOWN_FAILURES]
    for row in shown:
        console.say(f"no model: {format_heading(row['series'])}: {row['failure']}")
    if len(failed) > len(shown):
        console.say(f"no model: {len(failed) - len(shown):,} more series (see --verbose, or the table)")
    again = f", {result.reused:,} of them before" if result.reused else ""
    console.show(f"{len(trained):,} of {len(result.rows):,} series have a model{again}")
    for part in ("validation", "test"):
        if text := _compare(trained, part):
            console.show(text)
    if new := len(trained) - result.reused:
        console.say(f"{format_count(new, 'model')} in {format_duration(result.seconds)}")
    console.show(f"table: {result.fleet.table}")
    if config.task == "anomaly":
        console.say(f"next: lstmae series detect {out} DATA")
    console.document({"fleet": str(out), "table": str(result.fleet.table), "series": result.rows})
    if not trained:
        raise DataError("No series has a model; see the reasons above", code=Code.TOO_FEW_ROWS)


def _compare(rows: "Sequence[JsonObject]", part: str) -> str:
    """Return how the errors of the models compare with those of the common model; "" without errors."""
    pairs = [(row[f"{part}_error"], row[f"common_{part}_error"]) for row in rows]
    pairs = [(own, common) for own, common in pairs if own is not None and common]
    if not pairs:
        return ""
    better = sum(own < common for own, common in pairs)
    median = statistics.median(own / common for own, common in pairs)
    chosen = "; the epoch was chosen on it" * (part == "validation")
    return (
        f"{part}: own models beat the common model in {better:,} of {len(pairs):,} series, "
        f"median error {median:.3f} of the common one{chosen}"
    )
