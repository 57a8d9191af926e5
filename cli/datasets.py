"""Detect anomalies in a Parquet data set in groups of series, in several processes: `series detect --out`."""

from pathlib import Path
from typing import TYPE_CHECKING

from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count

from .console import Console, JobCounter
from .errors import resumable
from .options import EngineOptions, refuse_options
from .results import show_failures
from .training import open_finished_run

if TYPE_CHECKING:
    from lstm_ae.apply.dataset import DatasetResult
    from lstm_ae.json_types import JsonMapping


def require_table_file(data: str, engine_options: EngineOptions) -> None:
    """Refuse a data set, and the options of its detection, without `--out`."""
    if Path(data).is_dir():
        raise ConfigError(
            f"{data!r} is a data set of several files. Add --out DIR, or pass one file", code=Code.MISSING_OPTION
        )
    refuse_options(engine_options.given, "a single table", ", or add --out DIR to detect in a data set")


def detect_in_dataset(
    run: str,
    data: str,
    engine_options: EngineOptions,
    out: Path,
    console: Console,
    reading: "JsonMapping",
    *,
    rule: str | None,
) -> None:
    """Detect anomalies in a data set and write the results to a directory.

    Args:
        run: the run.
        data: path of the data set.
        engine_options: where the groups are processed.
        out: the directory.
        console: shows progress and the result.
        reading: reading options that differ from the run's.
        rule: the threshold rule; None for that of the run.
    """
    engine = engine_options.choose()
    if out.is_file() or (out.suffix in (".csv", ".parquet") and not out.exists()):
        raise ConfigError(
            f"--out is a directory, and {str(out)!r} is a file or named like one. Pass a directory",
            code=Code.OUTPUT_EXISTS,
        )
    engine.require()
    opened = open_finished_run(run, console)
    from lstm_ae.apply import dataset
    from lstm_ae.data.dataset import find_files

    files = find_files(data, out)
    detection = dataset.DatasetDetection(str(opened.directory.absolute()), str(out.absolute()), dict(reading), rule)
    detector = detection.open()
    threshold = detector.normal.threshold(detector.rule(rule)).value
    counter = JobCounter(console, "scoring", "groups of series")
    with (
        resumable("complete groups", "Resume with the same command", counter.clear),
        dataset.open_output(out, detection, data),
    ):
        result = dataset.detect_in_dataset(detection, files, engine, counter)
    _show_result(result, threshold, out, console)


def _show_result(result: "DatasetResult", threshold: float, out: Path, console: Console) -> None:
    """Show the failures, the numbers, and where the results are; raise if a group failed or no row has a score."""
    show_failures("no results", result.failed, "more groups of series (see --verbose)", console)
    console.show(
        f"{format_count(result.events, 'event')} in {format_count(result.results, 'scored row')} of "
        f"{format_count(result.rows, 'row')}"
    )
    earlier = f", {result.reused:,} of them reused" if result.reused else ""
    console.show(f"{format_count(result.groups, 'group')} of series in {out / 'scores'} and {out / 'events'}{earlier}")
    failed = [{"series": series, "reason": reason} for series, reason in result.failed]
    console.document({**result._asdict(), "failed": failed, "directory": out, "threshold": threshold})
    if result.failed:
        series, reason = result.failed[0]
        raise DataError(
            f"{format_count(len(result.failed), 'group')} of series without results; the first: {series}: {reason}",
            code=Code.FILE_UNREADABLE,
        )
    if not result.results:
        raise DataError("The data set has no complete window. Pass more rows of each series", code=Code.TOO_FEW_ROWS)
