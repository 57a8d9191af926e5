"""Detect anomalies in a Parquet data set in groups of whole series, and resume.

The directory of the results contains `scores/` and `events/`, Parquet data sets with a file for each group. The name of
a file is a digest of the series of the group and of the files that hold their rows, and the file of the scores is
written last: a group is complete if that file exists. A killed command therefore resumes, and a changed file affects
the groups of its series only.
"""

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstm_ae.apply.detect import RunDetector, detect, load_detector
from lstm_ae.apply.detection_output import event_facts, row_columns
from lstm_ae.apply.run_table import prepare_run_table, read_run_arrow, refuse_output_names
from lstm_ae.data.dataset import DatasetFile
from lstm_ae.data.frames import map_to_table_rows
from lstm_ae.data.panel import Panel
from lstm_ae.data.panel_reader import to_texts
from lstm_ae.data.parquet import iterate_rows
from lstm_ae.detection.events import EVENT_COLUMNS
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.files import write
from lstm_ae.formatting import format_count, quote
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.parallel import NO_OBSERVER, Engine, JobEnd, JobObserver, end_without_results, run_jobs
from lstm_ae.run import open_run
from lstm_ae.startup import limit_cores
from lstm_ae.table_files import TableColumns
from lstm_ae.workdir import Workdir

if TYPE_CHECKING:
    import pyarrow

# Rows of a group, unless a single series has more, so that the memory of a process does not depend on the data set.
GROUP_ROWS = 200_000

# Key of the number of scored rows in the metadata of a file of scores.
SCORED = b"scored"

# Cells of the columns that identify a series.
SeriesKey = tuple[str, ...]


class SeriesGroup(NamedTuple):
    """Series whose rows one process reads and scores.

    Args:
        number: number of the group.
        series: the series.
        files: files that hold their rows.
        name: name of the files of the results.
    """

    number: int
    series: tuple[SeriesKey, ...]
    files: tuple[DatasetFile, ...]
    name: str

    @property
    def title(self) -> str:
        """The series, for messages."""
        more = len(self.series) - 1
        first = quote(",".join(self.series[0])) if self.series[0] else "all rows"
        return f"{first} and {format_count(more, 'other')}" if more else first


class DatasetDetection(NamedTuple):
    """A detection in a data set.

    Args:
        run: absolute path of the run.
        directory: absolute path of the directory of the results.
        reading: reading options that differ from the run's.
        rule: the threshold rule; None for that of the run.
    """

    run: str
    directory: str
    reading: JsonMapping = {}
    rule: str | None = None

    def open(self) -> RunDetector:
        """Load the run; its kernels compute all windows, so that results do not depend on earlier groups."""
        return load_detector(open_run(self.run, "series"), self.reading, streaming=True)

    def prepare(self, threads: int) -> None:
        """Limit the threads of the kernels, of BLAS, and of pyarrow in a new process."""
        import pyarrow

        limit_cores(threads)
        pyarrow.set_cpu_count(threads)

    def load(self) -> Callable[[SeriesGroup], JobEnd]:
        """Return the function that scores a group."""
        return partial(score_group, self, self.open())

    def path(self, folder: str, name: str) -> Path:
        """Return the file of the results of a group in `scores` or `events`."""
        return Path(self.directory, folder, f"{name}.parquet")


class DatasetResult(NamedTuple):
    """Result of a detection in a data set.

    Args:
        groups: number of groups that are complete.
        reused: number of them that were complete before.
        rows: rows of the complete groups.
        results: rows with a score.
        events: number of events.
        failed: why groups have no results, by their series.
    """

    groups: int
    reused: int
    rows: int
    results: int
    events: int
    failed: list[tuple[str, str]]


class DatasetDirectory(Workdir):
    """Directory of the scores of a data set."""

    ABOUT = "dataset.json"


def open_output(directory: Path, detection: DatasetDetection, data: str) -> AbstractContextManager[None]:
    """Return a context that locks the directory of the results and checks that it belongs to the same command.

    Args:
        directory: the directory.
        detection: the detection.
        data: path of the data set. The results of another one are not removed.

    Raises:
        ConfigError: another process writes to it, or it belongs to another command.
    """
    about = {
        **detection._asdict(),
        "created": str(open_run(detection.run, "series").about()["created"]),
        "data": os.path.abspath(data),
        "reading": dict(detection.reading),
    }
    del about["directory"]
    return DatasetDirectory(directory).claim(about)


def detect_in_dataset(
    detection: DatasetDetection,
    files: Sequence[DatasetFile],
    engine: Engine,
    observer: JobObserver = NO_OBSERVER,
) -> DatasetResult:
    """Detect anomalies in a data set, or resume.

    Args:
        detection: the detection.
        files: the files of the data set.
        engine: where the groups are scored.
        observer: called for the groups that are not complete; it counts the others as ended.

    Raises:
        DataError: a file cannot be read, or has no column that identifies its series.
        LstmAeError: processes die, so that no group can be completed.
    """
    groups = plan_groups(files, detection.open().config.id_col)
    complete = {group.number for group in groups if _count_rows(detection, group) is not None}
    for folder in ("scores", "events"):
        names = {groups[number].name for number in complete}
        for path in Path(detection.directory, folder).glob("*.parquet"):
            if path.stem not in names:
                path.unlink()
    waiting = [group for group in groups if group.number not in complete]
    ends = run_jobs(detection, waiting, len(waiting), end_without_results, engine, observer, completed=len(complete))
    failed = [(groups[end.number].title, end.failure) for end in ends if end.failure]
    counts = [count for group in groups if (count := _count_rows(detection, group)) is not None]
    rows, results, events = (sum(column) for column in zip((0, 0, 0), *counts, strict=True))
    return DatasetResult(len(counts), len(complete), rows, results, events, failed)


def plan_groups(files: Sequence[DatasetFile], ids: Sequence[str]) -> list[SeriesGroup]:
    """Return the groups of the series in a data set.

    Args:
        files: the files.
        ids: columns that identify a series; without any, all rows are one series.

    Raises:
        DataError: a file cannot be read, or has no such column, or no file has rows.
    """
    rows, places = Counter[SeriesKey](), dict[SeriesKey, list[int]]()
    for number, file in enumerate(files):
        for key, count in _count_series(file, ids).items():
            rows[key] += count
            places.setdefault(key, []).append(number)
    if not rows:
        raise DataError("The data set has no rows. Pass files with rows", code=Code.EMPTY_COLUMN)
    keys_by_group, total = list[list[SeriesKey]](), 0
    for key, count in rows.items():
        total += count
        # Series that begin in other files are most likely in other partitions.
        if not keys_by_group or total > GROUP_ROWS or places[key][0] != places[keys_by_group[-1][0]][0]:
            keys_by_group.append([])
            total = count
        keys_by_group[-1].append(key)
    marks = [[file.name, (status := os.stat(file.path)).st_size, status.st_mtime_ns] for file in files]
    groups = []
    for number, series in enumerate(keys_by_group):
        numbers = sorted({place for key in series for place in places[key]})
        content = json.dumps([series, [marks[place] for place in numbers]])
        name = hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:16]
        groups.append(SeriesGroup(number, tuple(series), tuple(files[place] for place in numbers), name))
    return groups


def _count_series(file: DatasetFile, ids: Sequence[str]) -> Counter[SeriesKey]:
    counts = Counter[SeriesKey]()
    for batch in iterate_rows(file.path, file.keys, ids):
        if missing := [name for name in ids if name not in batch.schema.names]:
            raise DataError(
                f"{file.name} has no column {quote(missing[0])}, which identifies its series. Name the columns with "
                "--id-col",
                code=Code.UNKNOWN_NAME,
            )
        counts.update(_series_keys(batch, ids))
    return counts


def _series_keys(batch: "pyarrow.RecordBatch", ids: Sequence[str]) -> list[SeriesKey]:
    """Return the series of each row."""
    cells = [to_texts(batch.column(name)) for name in ids]
    return list(zip(*cells, strict=True)) if ids else [()] * batch.num_rows


def read_group(group: SeriesGroup, ids: Sequence[str], columns: Sequence[str]) -> "pyarrow.Table":
    """Return columns of all rows of the series of a group, in the order of the files.

    Raises:
        DataError: a file cannot be read, or the files have other types of a column.
    """
    import pyarrow

    group_keys, tables = set(group.series), []
    for file in group.files:
        for batch in iterate_rows(file.path, file.keys, columns):
            mask = pyarrow.array([key in group_keys for key in _series_keys(batch, ids)])
            tables.append(pyarrow.Table.from_batches([batch]).filter(mask))
    try:
        return pyarrow.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    except pyarrow.ArrowException as error:
        raise DataError(
            f"The files of {group.title} cannot be joined ({' '.join(str(error).split())[:120]}). Write their columns "
            "with the same types",
            code=Code.FILE_FORMAT,
        ) from None


def score_panel(detector: RunDetector, table: Panel, rule: str | None = None) -> tuple[TableColumns, list[JsonObject]]:
    """Score the rows of whole series; scores do not depend on the other series.

    Args:
        detector: the detector of a run.
        table: all rows of the series.
        rule: the threshold rule; None for the detector's own rule.

    Returns:
        `row_columns` for each row, in the order in which the rows were read, with NaN for rows in no complete window;
        and the facts of the events, which name the series if the table has columns that identify one.

    Raises:
        ConfigError, DataError: rows have the same time, or values are missing where none may be.
    """
    names = detector.config.value_cols
    try:
        detection = detect(detector, prepare_run_table(detector.config, table), rule)
    except DataError as error:
        if error.code is not Code.TOO_FEW_ROWS:
            raise
        none = np.full(len(table.lines), np.nan)
        errors = {f"error {name}": none for name in names} if len(names) > 1 else {}
        return {"score": none, "p": none, "anomaly": np.isfinite(none), "final_score": none} | errors, []
    places = map_to_table_rows(detection.prepared, np.arange(len(detection.final)))
    columns: TableColumns = {name: values[places] for name, values in row_columns(detection).items()}
    return columns, event_facts(detection, named=bool(detector.config.id_col))


def score_group(detection: DatasetDetection, detector: RunDetector, group: SeriesGroup) -> JobEnd:
    """Score a group and write its scores and events. The end of a group that cannot be read has a failure."""
    import pyarrow

    config = detector.config
    keys = [name for name in dict.fromkeys((*config.id_col, config.time_col)) if name is not None]
    try:
        table = read_group(group, config.id_col, list(dict.fromkeys((*keys, *config.value_cols))))
        panel = read_run_arrow(config, table, group.title)
        columns, events = score_panel(detector, panel, detection.rule)
        refuse_output_names(keys, columns)
    except (ConfigError, DataError) as error:
        return end_without_results(group, str(error))
    several = [("series", pyarrow.string())] if config.id_col else []
    kinds = {"score": pyarrow.float64(), "p": pyarrow.float64(), "provisional": pyarrow.bool_()}
    schema = pyarrow.schema([*several, *((name, kinds.get(name, pyarrow.string())) for name in EVENT_COLUMNS)])
    _write(detection.path("events", group.name), pyarrow.Table.from_pylist(events, schema))
    scores = table.select(keys)
    for name, values in columns.items():
        scores = scores.append_column(name, pyarrow.array(values))
    scored = int(np.isfinite(columns["score"]).sum())
    _write(detection.path("scores", group.name), scores.replace_schema_metadata({SCORED: str(scored)}))
    return JobEnd(group.number)


def _write(path: Path, table: "pyarrow.Table") -> None:
    import pyarrow.parquet

    content = io.BytesIO()
    pyarrow.parquet.write_table(table, content)
    write(path, content.getvalue())


def _count_rows(detection: DatasetDetection, group: SeriesGroup) -> tuple[int, int, int] | None:
    """Return the rows, scored rows, and events of a group; None if it is not complete."""
    import pyarrow
    import pyarrow.parquet

    try:
        scores, events = (
            pyarrow.parquet.read_metadata(detection.path(folder, group.name)) for folder in ("scores", "events")
        )
        return scores.num_rows, int(scores.metadata[SCORED]), events.num_rows
    except (FileNotFoundError, pyarrow.ArrowException, KeyError):
        return None
