"""Apply a run to a data set in parts: plan, compute, resume, and merge the events of a detection.

The directory of the results contains

- a directory such as `scores/`, a Parquet data set with the partitions of the data,
- `events.parquet`: the events of all series, if anomalies are detected,
- `parts/`: for each part a digest of everything that its results depend on, and the rows of its events.

A part is complete if its file in `parts/` exists with the digest of the current data; this file is written last. The
files of other parts are removed, and computed again if the data still has the part. So a killed command resumes, a
changed or added file only costs its own parts and their neighbors, and no results of earlier data remain.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lstm_ae.apply.detection_output import EVENT_COLUMNS
from lstm_ae.apply.part_detection import (
    EventPiece,
    PartDetector,
    count_piece_rows,
    merge_events,
    piece_arrays,
    unpack_piece,
)
from lstm_ae.apply.partition import (
    PartScan,
    PartSource,
    PartTask,
    find_contexts,
    load_record,
    move_borders,
    order_parts,
)
from lstm_ae.data.dataset import DatasetFile, divide_file
from lstm_ae.distributed.jobs import PartJob, PartOutcome, RunTask
from lstm_ae.errors import Code, DataError, LstmAeError
from lstm_ae.files import claimed_folder, sync
from lstm_ae.json_types import JsonObject
from lstm_ae.run import open_run
from lstm_ae.workers.jobs import Executor, run_jobs

# File that identifies the command in its directory.
ABOUT = "dataset.json"

# File in the directory for errors of the processes.
LOG = "workers.log"

# Rows of events that are in memory at a time, unless a single series has more.
EVENT_ROWS = 200_000


PartExecutor = Executor[PartJob, PartOutcome]


class FailedPart(NamedTuple):
    """Part that has no results, and why.

    Args:
        name: the file and, if it has several parts, the rows.
        reason: why it has no results.
    """

    name: str
    reason: str


class DatasetResult(NamedTuple):
    """Result of a run on a data set.

    Args:
        directory: where the results are.
        parts: number of parts that are complete.
        reused: number of them that were complete before.
        rows: rows of the results.
        results: rows with a result.
        events: number of events; None if there is no detection.
        skipped: series without a forecast; None if there is no forecast.
        failed: parts without results.
        memory: largest memory of a process that computed a part, in bytes; 0 if no part was computed.
    """

    directory: Path
    parts: int
    reused: int
    rows: int
    results: int
    events: int | None
    skipped: int | None
    failed: list[FailedPart]
    memory: int = 0


Report = Callable[[int, int], None]


@contextmanager
def open_output(directory: Path, data: str, task: RunTask) -> Iterator[None]:
    """Lock the directory of the results and check that it belongs to the same command.

    Args:
        directory: the directory of the results.
        data: path or pattern of the data set. The results of another one are not removed.
        task: what is applied.

    Raises:
        ConfigError: another process writes to it, or it belongs to another command.
    """
    about = open_run(task.run, "series").about()
    claimed = {
        "run": str(Path(task.run).resolve()),
        "created": str(about["created"]),
        "data": os.path.abspath(data),
        "task": task.task,
        "reading": dict(task.reading),
        "options": dict(task.options),
    }
    with claimed_folder(directory, ABOUT, claimed, results="parts", log=LOG):
        yield


class _Part(NamedTuple):
    """Part of a data set.

    Args:
        file: the file.
        source: its rows.
        name: path of its results within those of the data set, without the suffix.
        several: whether the file has several parts.
    """

    file: DatasetFile
    source: PartSource
    name: str
    several: bool

    @property
    def title(self) -> str:
        """The file and, if it has several parts, the rows, for messages."""
        rows = self.source.rows
        return f"{self.file.name}, rows {rows.start + 1:,} to {rows.stop:,}" if self.several else self.file.name


def apply_to_dataset(
    files: Sequence[DatasetFile],
    task: PartTask,
    executor: PartExecutor,
    directory: Path,
    report: Report = lambda done, of: None,
    lost: Callable[[str, str], None] = lambda name, how: None,
    *,
    stop: bool = True,
) -> DatasetResult:
    """Apply a run to a data set, or resume.

    Args:
        files: the files of the data set.
        task: what is computed.
        executor: runs the jobs.
        directory: the directory of the results, see `open_output`.
        report: called with the number of complete parts and the number of all.
        lost: called with the title of a part whose process died, and how.
        stop: whether to stop the executor at the end and after an exception.

    Raises:
        ConfigError, DataError: no file can be read, or parts overlap in time.
        LstmAeError: processes die, so that no part can be read or completed.
    """
    failed: dict[str, str] = {}
    crashes: list[str] = []
    memory = 0

    def give_up(number: int, reason: str) -> PartOutcome:
        crashes.append(reason)
        return PartOutcome(number, error=reason)

    try:
        parts = _divide(files, failed)
        scans = _scan(parts, executor, failed, lost, give_up)
        parts = [part for part in parts if part.name in scans]
        # One move is enough unless a file has more rows within an hour than a part.
        moved = _move_borders(parts, scans)
        if changed := [part for part in moved if part not in parts]:
            again = _scan(changed, executor, failed, lost, give_up)
            parts = [part for part in moved if part not in changed or part.name in again]
            scans |= again
        if not parts and crashes:
            # This is no error of the data, so that the directory and the log remain.
            raise LstmAeError(
                f"No file of the data set could be read: {crashes[0]}. Pass fewer --jobs, or remove the cause, and "
                "resume with the same command",
                code=Code.SYSTEM,
            )
        if not parts:
            raise DataError(
                f"No file of the data set can be read; the first: {next(iter(failed.values()))}"
                if failed
                else "The data set has no rows. Pass files with rows",
                code=Code.FILE_UNREADABLE,
            )
        contexts = find_contexts(task, [part.source for part in parts], [scans[part.name] for part in parts])
        fingerprints = {part.source.path: _fingerprint(part.source.path) for part in parts}
        jobs = []
        for number, (part, context) in enumerate(zip(parts, contexts, strict=True)):
            inputs = [[*source, fingerprints[source.path]] for source in (*context.before, part.source, *context.after)]
            digest = hashlib.sha256(json.dumps([inputs, dict(context.series)], default=dict).encode()).hexdigest()
            output = directory / task.folder / f"{part.name}.parquet"
            kept = directory / "parts" / f"{part.name}.npz"
            jobs.append(PartJob(number, part.source, context, str(output.absolute()), str(kept.absolute()), digest))
        # The record of each complete part, by its number.
        records = {job.number: record for job in jobs if (record := _read_record(job)) is not None}
        _remove_stale(directory, task.folder, {parts[number].name for number in records})
        waiting = [job for job in jobs if job.number not in records]
        reused = done = len(records)
        for outcome in run_jobs(waiting, executor, lambda number: parts[number].title, lost, give_up):
            done += 1
            report(done, len(jobs))
            memory = max(memory, outcome.memory)
            if outcome.error:
                failed[parts[outcome.number].title] = outcome.error
            elif (record := _read_record(jobs[outcome.number])) is not None:
                records[outcome.number] = record
    finally:
        if stop:
            executor.stop()
    events = None
    if isinstance(task, PartDetector):
        spans = [scans[part.name] for part in parts]
        events = _write_events(task, directory / "events.parquet", jobs, spans, records)
    return DatasetResult(
        directory,
        len(records),
        reused,
        sum(record["rows"] for record in records.values()),
        sum(record["results"] for record in records.values()),
        events,
        sum(record.get("skipped", 0) for record in records.values()) if task.folder == "forecasts" else None,
        [FailedPart(name, reason) for name, reason in failed.items()],
        memory,
    )


def _divide(files: Sequence[DatasetFile], failed: dict[str, str]) -> list[_Part]:
    parts: dict[str, _Part] = {}
    for file in files:
        try:
            ranges = divide_file(file)
        except DataError as error:
            if error.code is Code.MISSING_PACKAGE:
                raise
            failed[file.name] = str(error)
            continue
        stem = file.name.removesuffix(".parquet")
        for number, rows in enumerate(ranges):
            several = len(ranges) > 1
            name = f"{stem}.{number:05}" if several else stem
            part = _Part(file, PartSource(file.path, rows), name, several)
            other = parts.setdefault(name, part)
            if other is not part:
                raise DataError(
                    f"The results of {other.title!r} and {part.title!r} have the same path, {f'{name}.parquet'!r}. "
                    "Rename one of the files",
                    code=Code.OUTPUT_EXISTS,
                )
    return list(parts.values())


def _move_borders(parts: Sequence[_Part], scans: Mapping[str, PartScan]) -> list[_Part]:
    """Return the parts with the borders of `move_borders`, without those that have no rows left."""
    moved = move_borders([part.source for part in parts], [scans[part.name] for part in parts])
    return [
        part._replace(source=source)
        for part, source in zip(parts, moved, strict=True)
        if source.rows.start < source.rows.stop
    ]


def _scan(
    parts: Sequence[_Part],
    executor: PartExecutor,
    failed: dict[str, str],
    lost: Callable[[str, str], None],
    give_up: Callable[[int, str], PartOutcome],
) -> dict[str, PartScan]:
    jobs = [PartJob(number, part.source) for number, part in enumerate(parts)]
    scans = {}
    for outcome in run_jobs(jobs, executor, lambda number: parts[number].title, lost, give_up):
        part = parts[outcome.number]
        if outcome.scan is None:
            failed[part.title] = outcome.error
        else:
            scans[part.name] = outcome.scan
    return scans


def _fingerprint(path: str) -> list[int]:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def _read_record(job: PartJob) -> JsonObject | None:
    """Return the metadata of a complete part; None if its results do not exist or are those of other data."""
    if not Path(job.record).exists():
        return None
    try:
        record = load_record(Path(job.record), ())[0]
        complete = record["digest"] == job.digest and (not record["rows"] or Path(job.output).exists())
    except (DataError, KeyError):
        return None
    return record if complete else None


def _remove_stale(directory: Path, folder: str, complete: Set[str]) -> None:
    """Remove the results of all but the complete parts, and the events, which are written again at the end.

    A killed command leaves results without the file in `parts/`, and the parts of a file that has changed may have
    other names.
    """
    (directory / "events.parquet").unlink(missing_ok=True)
    for place, suffix in ((directory / "parts", ".npz"), (directory / folder, ".parquet")):
        for path in list(place.rglob(f"*{suffix}")):
            if path.relative_to(place).as_posix().removesuffix(suffix) not in complete:
                path.unlink()


def _write_events(
    detector: PartDetector,
    path: Path,
    jobs: Sequence[PartJob],
    scans: Sequence[PartScan],
    records: Mapping[int, JsonObject],
) -> int:
    """Write the events of all series in their order in the data set, and return their number.

    The series are merged in groups, so that the memory does not grow with the number of events.

    Args:
        detector: the detector.
        path: the file.
        jobs, scans: all parts in the order of the data set.
        records: the record of each complete part, by its number.
    """
    import pyarrow
    import pyarrow.parquet

    parts = order_parts(scans, timed=detector.config.time_col is not None)
    complete = {name: [k for k in numbers if k in records] for name, numbers in parts.items()}
    complete = {name: numbers for name, numbers in complete.items() if numbers}
    several = [("series", pyarrow.string())] if detector.config.id_col else []
    kinds = {"score": pyarrow.float64(), "p": pyarrow.float64(), "provisional": pyarrow.bool_()}
    schema = pyarrow.schema([*several, *((name, kinds.get(name, pyarrow.string())) for name in EVENT_COLUMNS)])
    count, temporary = 0, path.with_name(f".{path.name}.part")
    with pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
        for names in _group(complete, lambda name: sum(count_piece_rows(records[k], name) for k in complete[name])):
            pieces: dict[str, dict[int, EventPiece]] = {name: {} for name in names}
            for number in sorted({number for name in names for number in complete[name]}):
                record, held = records[number], [name for name in names if name in records[number]["series"]]
                wanted = [each for name in held for each in piece_arrays(record, name)]
                arrays = load_record(Path(jobs[number].record), wanted)[1]
                for name in held:
                    pieces[name][number] = unpack_piece(record, arrays, name)
            events = []
            for name, found in pieces.items():
                ordered = []
                for before, number in zip([None, *parts[name]], parts[name], strict=False):
                    if number in found:
                        # An event cannot cross a part without results.
                        continues = found[number].continues and before in found
                        ordered.append(found[number]._replace(continues=continues))
                events += merge_events(detector, name, ordered)
            writer.write_table(pyarrow.Table.from_pylist(events, schema))
            count += len(events)
    sync(temporary)
    temporary.replace(path)
    return count


def _group(names: Iterable[str], size: Callable[[str], int]) -> Iterator[list[str]]:
    """Yield groups of series with at most `EVENT_ROWS` rows of events each, or of a single series."""
    group, total = [], 0  # type: list[str], int
    for name in names:
        rows = size(name)
        if group and total + rows > EVENT_ROWS:
            yield group
            group, total = [], 0
        group.append(name)
        total += rows
    yield group
