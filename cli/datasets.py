"""Apply a run to a Parquet data set in parts, in several processes: shared by the commands with `--engine`."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count
from lstm_ae.workers.engine import ALL_ENGINES, Engine

from .backend import silence_stderr
from .console import Console, ProgressCounter
from .errors import Interrupted
from .options import EngineOptions, refuse_options
from .results import show_failures
from .training import open_table_run

if TYPE_CHECKING:
    from lstm_ae.apply.partition import PartTask
    from lstm_ae.distributed.dataset import DatasetResult
    from lstm_ae.json_types import JsonMapping


def process_dataset(
    task: str,
    run: str,
    data: str,
    engine_options: EngineOptions,
    out: Path | None,
    console: Console,
    reading: "JsonMapping",
    refused: Mapping[str, object],
    **options: Any,
) -> None:
    """Apply a run to a data set and write the results to a directory.

    Args:
        task: what is computed, a key of `lstm_ae.apply.part_tasks.LOADERS`.
        run: the run.
        data: path or pattern of the data set.
        engine_options: where the parts are processed.
        out: the directory.
        console: shows progress and the result.
        reading: reading options that differ from the run's.
        refused: options that do not apply to data sets, by name; None or False if they are not given.
        options: further arguments of the loader.
    """
    refuse_options(refused, "a data set, whose results are in --out", " or --engine")
    engine = Engine(engine_options.engine or "local", engine_options.jobs, engine_options.address, ALL_ENGINES)
    if out is None:
        raise ConfigError("--engine needs --out, the directory for the results", code=Code.MISSING_OPTION)
    if out.is_file() or (out.suffix in (".csv", ".parquet") and not out.exists()):
        raise ConfigError(
            f"With --engine, --out is a directory, and {str(out)!r} is a file or named like one. Pass a directory",
            code=Code.OUTPUT_EXISTS,
        )
    engine.require()
    opened = open_table_run(run, console)
    from lstm_ae.data.dataset import find_files
    from lstm_ae.distributed.dataset import LOG, apply_to_dataset, open_output
    from lstm_ae.distributed.jobs import RunTask, run_part

    files = find_files(data, out)
    applied = RunTask(str(opened.directory.absolute()), task, dict(reading), options)
    loaded = applied.open()
    counter = ProgressCounter(console, "parts")
    try:
        with open_output(out, data, applied):
            with silence_stderr(console):  # Ray and Spark print advice.
                executor = engine.start(applied, log=out / LOG, run=partial(run_part, loaded))
            console.say(f"{task}: {format_count(len(files), 'file')}, {executor.processes} at once")
            result = apply_to_dataset(
                files,
                loaded,
                executor,
                out,
                counter,
                lambda name, how: console.say(f"{name}: its process died ({how}); another one takes over"),
            )
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; complete parts are kept. Resume with the same command") from None
    finally:
        counter.clear()
    _show_result(result, loaded, console)


def _show_result(result: "DatasetResult", task: "PartTask", console: Console) -> None:
    """Show the failed parts, the numbers of results, and where they are; raise if a part failed or none has results."""
    from lstm_ae.apply.part_detection import PartDetector

    show_failures("no results", result.failed, "more of the parts (see --verbose)", console)
    of = "" if result.skipped is not None else f" of {format_count(result.rows, 'row')}"
    events = "" if result.events is None else f"{format_count(result.events, 'event')} in "
    console.show(f"{events}{format_count(result.results, task.noun)}{of}")
    if result.skipped:
        console.show(f"{result.skipped:,} series left out, without a complete window at their end")
    again = f", {result.reused:,} of them complete before" if result.reused else ""
    console.show(f"{format_count(result.parts, 'part')} in {result.directory / task.folder}{again}")
    if result.events is not None:
        console.show(f"events: {result.directory / 'events.parquet'}")
    document = {
        **{name: value for name, value in result._asdict().items() if value is not None},
        "directory": str(result.directory),
        "failed": [part._asdict() for part in result.failed],
    }
    if isinstance(task, PartDetector):
        document["threshold"] = task.threshold.value
    console.document(document)
    if result.failed:
        have, first = "has" if len(result.failed) == 1 else "have", result.failed[0]
        raise DataError(
            f"{format_count(len(result.failed), 'part')} of the data set {have} no results; the first: {first.name}: "
            f"{first.reason}",
            code=Code.FILE_UNREADABLE,
        )
    if not result.results:
        where = "" if task.by_row else " at the end of a series"
        gap = format_count(task.max_gap, "step")
        raise DataError(
            f"The data set has no complete window{where}: {task.window:,} rows without a gap of more than {gap}. "
            "Pass more rows of each series",
            code=Code.TOO_FEW_ROWS,
        )
